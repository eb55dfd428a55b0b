// Operators that join values along an axis, and that cut them into equal parts.
#include "ops/families.h"
#include "ops/merged_axes.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

bool joins_few_axes(const Node& node) {
  return !has_more_axes(node, kMostJoinedAxes);
}
bool joins_many_axes(const Node& node, Target target) {
  return target == Target::tflite && !joins_few_axes(node);
}

// Entries start <= i < start + length of an axis, where they lie.
Tensor slice_view(const Tensor& x, std::size_t axis, std::int64_t start, std::int64_t length) {
  Tensor out = x;
  out.shape[axis] = length;
  if (out.element_count() == 0) return out;
  const auto offset = static_cast<std::size_t>(start * x.strides[axis]) * size_of(x.dtype);
  out.storage = x.storage.sub(offset, x.storage.view.size() - offset);
  return out;
}

// ---------------------------------------------------------------------------------------------------- concat and split

Expected<std::vector<Type>> infer_concat(const InferCall& call) {
  if (call.operands.empty()) return fail("nothing to join");
  Shape shape = call.shape(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), shape.size()));
  for (std::size_t i = 1; i < call.operands.size(); ++i) {
    const Shape& other = call.shape(i);
    if (other.size() != shape.size())
      return fail("shapes {} and {} have different ranks", shape_text(shape), shape_text(other));
    for (std::size_t k = 0; k < shape.size(); ++k)
      if (k != axis && other[k] != shape[k])
        return fail("shapes {} and {} differ outside of axis {}", shape_text(shape), shape_text(other), axis);
    shape[axis] = shape[axis] + other[axis];
  }
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Expected<std::vector<Array>> eval_concat(const EvalCall& call) {
  std::vector<std::int64_t> shape = call.operand(0).shape;
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), shape.size()));
  for (std::size_t i = 1; i < call.operands.size(); ++i) shape[axis] += call.operand(i).shape[axis];
  Array out = make_array(call.operand(0).dtype, shape);
  const AxisView whole = axis_view(shape, axis);
  std::int64_t at = 0;
  for (const Array* part : call.operands) {
    const std::int64_t run = part->shape[axis] * whole.inner;
    for (std::int64_t o = 0; o < whole.outer; ++o)
      std::copy_n(part->values.begin() + o * run, run, out.values.begin() + o * whole.size * whole.inner + at);
    at += run;
  }
  return std::vector{std::move(out)};
}

Op concat() {
  using Options = tflite::ConcatenationOptionsT;
  return {
      .name = "concat",
      .doc = "the operands one after another along axis `dim`",
      .operands = {"xs*"},
      .attrs = {{"dim", AttrKind::integer}},
      .infer = infer_concat,
      .eval = eval_concat,
      // Along the first axis the parts follow one another.
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        std::vector<std::int64_t> shape = operands[0]->shape;
        if (*normalize_axis(attrs.integer("dim"), shape.size()) != 0) return {};
        shape[0] = 0;
        std::vector<std::byte> bytes;
        for (const Tensor* part : operands) {
          const std::size_t at = bytes.size();
          bytes.resize(at + static_cast<std::size_t>(part->byte_count()));
          convert_elements(*part, part->dtype, std::span(bytes).subspan(at));
          shape[0] += part->shape[0];
        }
        return {make_tensor(operands[0]->dtype, std::move(shape), std::move(bytes))};
      },
      .on_bases = axis_on_bases,
      .expands_if = joins_many_axes,
      .expand_tflite = call_around_axis,
      .onnx = {.op_type = "Concat", .inputs = {operands_from(0)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::CONCATENATION,
                 .since = "1.5.0",
                 .inputs = {operands_from(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::axis, "dim"}),
                 .dtypes = tflite_moved_dtypes("1.5.0"),
                 .fits = joins_few_axes},
      .tensorflow = {.op = "ConcatV2", .inputs = {operands_from(0), attr_tensor("dim")}, .count = "N"},
      .examples = {{{f32({2, 3}), f32({2, 4})}, {{"dim", std::int64_t{1}}}},
                   {{f32({1, 3}), f32({2, 3}), f32({1, 3})}, {{"dim", std::int64_t{0}}}},
                   {{f32({2, 1, 2, 1, 2, 2, 3}), f32({2, 1, 2, 3, 2, 2, 3})}, {{"dim", std::int64_t{3}}}}},
  };
}

Expected<std::vector<Type>> infer_split(const InferCall& call) {
  const std::int64_t parts = call.attrs.integer("parts");
  Type type = call.type(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), type.shape.size()));
  const auto size = parts > 0 && parts < 65536 ? divide_exactly(type.shape[axis], Dim(parts)) : std::nullopt;
  if (!size) return fail("axis {} of {} does not split into {} equal parts", axis, shape_text(type.shape), parts);
  type.shape[axis] = *size;
  return std::vector<Type>(static_cast<std::size_t>(parts), type);
}

Expected<std::vector<Array>> eval_split(const EvalCall& call) {
  const Array& x = call.operand(0);
  const std::int64_t parts = call.attrs.integer("parts");
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  const AxisView view = axis_view(x.shape, axis);
  const std::int64_t run = view.size / parts * view.inner;
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = view.size / parts;
  std::vector<Array> out;
  for (std::int64_t part = 0; part < parts; ++part) {
    out.push_back(make_array(x.dtype, shape));
    for (std::int64_t o = 0; o < view.outer; ++o)
      std::copy_n(x.values.begin() + o * view.size * view.inner + part * run, run, out.back().values.begin() + o * run);
  }
  return out;
}

Op split() {
  using Options = tflite::SplitOptionsT;
  return {
      .name = "split",
      .doc = "x cut into `parts` equal parts along axis `dim`",
      .operands = {"x"},
      .attrs = {{"dim", AttrKind::integer}, {"parts", AttrKind::integer}},
      .infer = infer_split,
      .eval = eval_split,
      .rearrange = [](std::span<const Tensor* const> operands, const Attrs& attrs) -> std::vector<Tensor> {
        const std::size_t axis = *normalize_axis(attrs.integer("dim"), operands[0]->shape.size());
        const std::int64_t parts = attrs.integer("parts");
        const std::int64_t size = operands[0]->shape[axis] / parts;
        std::vector<Tensor> out;
        out.reserve(static_cast<std::size_t>(parts));
        for (std::int64_t part = 0; part < parts; ++part)
          out.push_back(slice_view(*operands[0], axis, part * size, size));
        return out;
      },
      .on_bases = axis_on_bases,
      .expands_if = joins_many_axes,
      .expand_tflite = call_around_axis,
      .onnx = {.op_type = "Split", .inputs = {operand(0)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::SPLIT,
                 .since = "1.5.0",
                 .inputs = {attr_tensor("dim"), operand(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::num_splits, "parts"}),
                 .dtypes = {{DType::f32, {1, "1.5.0"}},
                            {DType::i64, {1, "1.5.0"}},
                            {DType::i32, {1, "1.5.0"}},
                            {DType::i16, {1, "1.5.0"}},
                            {DType::i8, {1, "1.5.0"}},
                            {DType::u8, {1, "1.5.0"}}},
                 .fits = joins_few_axes},
      .tensorflow = {.op = "Split", .inputs = {attr_tensor("dim"), operand(0)}, .attrs = {{"num_split", "parts"}}},
      .examples = {{{f32({2, 6})}, {{"dim", std::int64_t{1}}, {"parts", std::int64_t{3}}}},
                   {{f32({2, 1, 2, 1, 2, 6, 3})}, {{"dim", std::int64_t{-2}}, {"parts", std::int64_t{2}}}}},
  };
}

}  // namespace

std::vector<Op> joining_ops() {
  return {concat(), split()};
}

}  // namespace taper
