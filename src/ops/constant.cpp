// Values from nothing: constants, filled tensors.
#include "ops/families.h"
#include "ops/rules.h"

namespace taper {

std::vector<Op> constant_ops() {
  std::vector<Op> rows;
  rows.push_back({
      .name = "constant",
      .doc = "value",
      .attrs = {{"value", AttrKind::tensor}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const auto& value = call.attrs.get<Tensor>("value");
        return std::vector{Type{value.dtype, to_shape(value.shape)}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        return std::vector{to_array(call.attrs.get<Tensor>("value"))};
      },
      .is_constant = true,
  });
  rows.push_back({
      .name = "zeros_like",
      .doc = "0 for each element of x, whatever x holds (NaN included)",
      .operands = {"x"},
      .infer = same_as_first,
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        return map_elements(call.operand(0), [](double) { return 0.0; });
      },
      .per_step = true,
      // x - x would give NaN for infinities: the shape alone must count.
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        const Type& type = node.results[0]->type;
        Value* zeros = build("constant_of_shape", {build("shape_of", {operands[0]})}, {{"shape", type.shape}});
        return {type.dtype == DType::f32 ? zeros : build("cast", {zeros}, {{"to", type.dtype}})};
      },
      .tflite = {.builtin = tflite::BuiltinOperator::ZEROS_LIKE,
                 .since = "1.12.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<tflite::ZerosLikeOptionsT>()},
      .tensorflow = {.op = "ZerosLike", .result = "y", .inputs = {operand(0)}},
      .examples = {{{{DType::f32, {2, 3}}}}, {{{DType::i64, {2, 3}}}}},
  });
  rows.push_back({
      .name = "constant_of_shape",
      .doc = "0.0 in the shape that the int64 vector `sizes` holds, which is `shape`",
      .operands = {"sizes"},
      .attrs = {{"shape", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const auto& shape = call.attrs.get<Shape>("shape");
        const Type sizes = {DType::i64, {Dim(static_cast<std::int64_t>(shape.size()))}};
        if (call.type(0) != sizes)
          return fail("sizes are {}, expected {} for shape {}", type_text(call.type(0)), type_text(sizes),
                      shape_text(shape));
        return std::vector{Type{DType::f32, shape}};
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<std::int64_t> shape, evaluate(call.attrs.get<Shape>("shape"), call.bindings));
        if (!std::ranges::equal(shape, call.operand(0).values,
                                [](std::int64_t size, double given) { return static_cast<double>(size) == given; }))
          return fail("sizes are [{}], expected {}", fmt::join(call.operand(0).values, ", "),
                      shape_text(std::span(shape)));
        TAPER_ASSIGN([[maybe_unused]] const std::int64_t count, checked_element_count(shape));
        return std::vector{make_array(DType::f32, shape)};
      },
      .onnx = {.op_type = "ConstantOfShape", .inputs = {operand(0)}},
      .examples = {{{{DType::i64, {2}}}, {{"shape", Shape{3, 3}}}, 3, 3}},
  });
  return rows;
}

}  // namespace taper
