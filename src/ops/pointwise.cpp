#include "ops/pointwise.h"

namespace taper {
namespace {

Expected<Shape> broadcast_operands(const InferCall& call) {
  TAPER_TRY(check_one_dtype(call));
  return broadcast(call.shape(0), call.shape(1));
}

}  // namespace

Expected<std::vector<Type>> infer_binary(const InferCall& call) {
  TAPER_ASSIGN(Shape shape, broadcast_operands(call));
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Expected<std::vector<Type>> infer_comparison(const InferCall& call) {
  TAPER_ASSIGN(Shape shape, broadcast_operands(call));
  return std::vector{Type{DType::boolean, std::move(shape)}};
}

Expected<std::vector<Type>> infer_floating(const InferCall& call) {
  if (!is_floating(call.type(0).dtype))
    return fail("x is {}, expected floating numbers", info(call.type(0).dtype).name);
  return same_as_first(call);
}

bool takes_floats(const Node& node) {
  return is_floating(node.operands[0]->type.dtype);
}

bool takes_booleans(const Node& node) {
  return node.operands[0]->type.dtype == DType::boolean;
}

std::vector<DType> number_dtypes() {
  return {DType::f64, DType::f32, DType::f16, DType::i64, DType::i32, DType::i16, DType::i8, DType::u8};
}

std::vector<TfliteDType> tflite_number_dtypes(std::string_view since) {
  return {{DType::f32, {1, since}}, {DType::i32, {1, since}}, {DType::i64, {1, since}}};
}

std::vector<TfliteDType> tflite_moved_dtypes(std::string_view since, std::initializer_list<DType> without) {
  std::vector<TfliteDType> dtypes;
  for (const DType dtype : {DType::f32, DType::i64, DType::i32, DType::i16, DType::i8, DType::u8, DType::boolean})
    if (std::ranges::find(without, dtype) == without.end()) dtypes.push_back({dtype, {1, since}});
  return dtypes;
}

Op unary(std::string_view name, std::string_view doc, EvalFn eval) {
  return {.name = name,
          .doc = doc,
          .operands = {"x"},
          .infer = same_as_first,
          .eval = eval,
          .per_step = true,
          .on_bases = elements_on_bases,
          .examples = {{{f32({2, 3, 4})}}}};
}

Op binary(std::string_view name, std::string_view doc, EvalFn eval) {
  return {.name = name,
          .doc = doc,
          .operands = {"a", "b"},
          .infer = infer_binary,
          .eval = eval,
          .per_step = true,
          .on_bases = elements_on_bases,
          .broadcasts = true,
          .examples = {{{f32({2, 3}), f32({2, 3})}}, {{f32({2, 3, 4}), f32({4})}}, {{f32({2, 1}), f32({1, 5})}}}};
}

namespace {
// To TFLite's kernels integers of 8 and 16 bits are quantised numbers, which need scales.
bool has_plain_numbers(const Node& node) {
  const DType dtype = node.operands[0]->type.dtype;
  return is_floating(dtype) || dtype == DType::i32 || dtype == DType::i64 || dtype == DType::boolean;
}
}  // namespace

Op spelled(Op op, std::string_view onnx, std::string_view tensorflow, std::optional<tflite::BuiltinOperator> builtin,
           std::string_view since, TfliteOptions options) {
  std::vector<SpelledInput> inputs;
  inputs.reserve(op.operands.size());
  for (std::size_t i = 0; i < op.operands.size(); ++i) inputs.push_back(operand(i));
  if (!onnx.empty()) op.onnx = {.op_type = onnx, .inputs = inputs};
  if (!tensorflow.empty())
    op.tensorflow = {.op = tensorflow, .result = inputs.size() == 1 ? "y" : "z", .inputs = inputs};
  if (builtin) op.tflite = {.builtin = builtin, .since = since, .inputs = inputs, .options = std::move(options)};
  if (builtin && inputs.size() == 2) op.tflite.fits = has_plain_numbers;
  return op;
}

Example example_of(std::vector<Type> operands, double low, double high, Attrs attrs) {
  return {.operands = std::move(operands), .attrs = std::move(attrs), .low = low, .high = high};
}

Type i64(const std::vector<std::int64_t>& sizes) {
  return {DType::i64, to_shape(sizes)};
}
Type i32(const std::vector<std::int64_t>& sizes) {
  return {DType::i32, to_shape(sizes)};
}
Type boolean(const std::vector<std::int64_t>& sizes) {
  return {DType::boolean, to_shape(sizes)};
}

}  // namespace taper
