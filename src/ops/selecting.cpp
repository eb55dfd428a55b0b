// Operators that choose elements by their values: how many there are is only known once they ran.
#include "ops/families.h"
#include "ops/indices.h"

namespace taper {
namespace {

using tflite::BuiltinOperator;

// ------------------------------------------------------------------------------------------------------------- nonzero

Expected<std::vector<Type>> infer_nonzero(const InferCall& call) {
  if (call.type(0).dtype != DType::boolean || call.shape(0).empty())
    return fail("x is {}, expected bool of at least one axis", type_text(call.type(0)));
  TAPER_ASSIGN(const Dim count, one_size(call.attrs, "count"));
  return std::vector{Type{DType::i64, {count, static_cast<std::int64_t>(call.shape(0).size())}}};
}

Expected<std::vector<Array>> eval_nonzero(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Integers strides = row_major_strides(x.shape);
  Array out{DType::i64, {0, static_cast<std::int64_t>(x.shape.size())}, {}};
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    if (x.values[i] == 0) continue;
    ++out.shape[0];
    for (std::size_t axis = 0; axis < x.shape.size(); ++axis)
      out.values.push_back(static_cast<double>(static_cast<std::int64_t>(i) / strides[axis] % x.shape[axis]));
  }
  return std::vector{std::move(out)};
}

// The graph of a file doesn't name how many there are: once for each operand.
Status name_count(std::span<Value* const> operands, Attrs& attrs) {
  attrs.set("count", Shape{Dim::symbol(fmt::format("count{}", operands[0]->id))});
  return {};
}

Op nonzero() {
  return {
      .name = "nonzero",
      .doc =
          "the places of the elements of x that are true, in order, a row of indices each; `count` names their number",
      .operands = {"x"},
      .attrs = {{"count", AttrKind::shape}},
      .infer = infer_nonzero,
      .eval = eval_nonzero,
      .measures_sizes = true,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        return {build("permute", {build("nonzero_by_axis", {operands[0]}, node.attrs)}, {{"dims", Integers{1, 0}}})};
      },
      .tflite = {.builtin = BuiltinOperator::WHERE,
                 .since = "1.14.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<tflite::WhereOptionsT>(),
                 .read_operands = name_count},
      .tensorflow =
          {.op = "Where", .result = "index", .inputs = {operand(0)}, .types = {{"T"}}, .read_operands = name_count},
      .examples = {{{{DType::boolean, {5}}}, {{"count", Shape{Dim::symbol("n")}}}},
                   {{{DType::boolean, {3, 4}}}, {{"count", Shape{Dim::symbol("n")}}}}},
  };
}

// The form that ONNX has.
Op nonzero_by_axis() {
  return {
      .name = "nonzero_by_axis",
      .doc = "the places of the elements of x that are true, a row for each axis; `count` names their number",
      .operands = {"x"},
      .attrs = {{"count", AttrKind::shape}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN(std::vector<Type> types, infer_nonzero(call));
        std::swap(types[0].shape[0], types[0].shape[1]);
        return types;
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        TAPER_ASSIGN(const std::vector<Array> rows, eval_nonzero(call));
        const std::int64_t count = rows[0].shape[0], rank = rows[0].shape[1];
        Array out = make_array(DType::i64, {rank, count});
        for (std::int64_t i = 0; i < count; ++i)
          for (std::int64_t axis = 0; axis < rank; ++axis)
            out.values[static_cast<std::size_t>(axis * count + i)] =
                rows[0].values[static_cast<std::size_t>(i * rank + axis)];
        return std::vector{std::move(out)};
      },
      .measures_sizes = true,
      .onnx = {.op_type = "NonZero", .inputs = {operand(0)}},
  };
}

}  // namespace

std::vector<Op> selecting_ops() {
  return {nonzero(), nonzero_by_axis()};
}

}  // namespace taper
