// Sizes that a file computes from elements: measured when it runs.
#include "frontend/onnx_importer.h"
#include "frontend/padding.h"

namespace taper::onnx_reader {
namespace {

// The value of which a number is only another shape or width, so that one number is measured once.
Value* source_of(Value* number) {
  while (number != nullptr && number->producer != nullptr && element_count(number->type.shape).is(1)) {
    const Node& node = *number->producer;
    const bool moves =
        node.op == "reshape" || node.op == "unsqueeze" || node.op == "squeeze" || node.op == "select" ||
        (node.op == "cast" && number->type.dtype == DType::i64 && !is_floating(node.operands[0]->type.dtype));
    if (!moves || !element_count(node.operands[0]->type.shape).is(1)) break;
    number = node.operands[0];
  }
  return number;
}

}  // namespace

Value* measured_range(Call& call, Value* number) {
  number = source_of(number);
  number = call.cast(call.reshape(number, Shape{}), DType::i64);
  if (call.failed()) return nullptr;
  const Graph& graph = call.build.graph();
  if (Value* known = call.importer.measured().find(graph, number)) return known;
  call.importer.want(number);  // known now it would be better
  Value* range = counted_range(call.build, number, call.importer.fresh_count(graph));
  call.importer.measured().add(number, range);
  return range;
}

std::optional<Shape> measured_sizes(Call& call, std::size_t i, bool* measures, bool of_inputs) {
  Value* vector = call.x(i);
  if (vector != nullptr && (of_inputs || vector->producer != nullptr) && vector->type.shape.empty())
    vector = call.reshape(vector, {Dim(1)});
  if (call.failed() || vector->type.shape.size() != 1) return std::nullopt;
  if (!of_inputs && vector->producer == nullptr) return std::nullopt;
  const auto rank = vector->type.shape[0].constant();
  if (!rank || *rank > static_cast<std::int64_t>(kMaxRank)) return std::nullopt;
  Shape sizes;
  for (std::int64_t k = 0; k < *rank; ++k) {
    if (const auto number = entry_of(call.importer, vector, k)) {
      sizes.emplace_back(*number);
      continue;
    }
    const Value* range = measured_range(call, call.build("select", {vector}, {{"dim", std::int64_t{0}}, {"index", k}}));
    if (range == nullptr) return std::nullopt;
    if (measures != nullptr) *measures = true;
    sizes.push_back(range->type.shape[0]);
  }
  return sizes;
}

std::optional<Shape> operand_sizes(Call& call, std::size_t i, bool of_inputs) {
  if (auto known = call.known_if_any(i)) return known->elements;
  if (call.failed()) return std::nullopt;
  if (auto measured = measured_sizes(call, i, nullptr, of_inputs)) return measured;
  if (!call.failed()) call.known(i);
  return std::nullopt;
}

Value* computed_slice(Call& call, Value* x, std::int64_t axis, Value* from, Value* to, std::int64_t step) {
  Value* whole = size_as_number(call.build, x->type.shape[static_cast<std::size_t>(axis)], DType::i64);
  // Places count from the end where they are negative, and are kept within the axis.
  const auto place = [&](Value* given) {
    given = call.cast(call.reshape(given, Shape{}), DType::i64);
    Value* counted = call.build("where", {call.binary("less", given, 0.0), call.binary("add", given, whole), given});
    return call.binary("minimum", call.binary("maximum", counted, 0.0), whole);
  };
  Value* places = call.build("range", {place(from), place(to), call.number(static_cast<double>(step), DType::i64)},
                             {{"length", Shape{call.importer.fresh_count(call.build.graph())}}});
  return call.build("gather", {x, places}, {{"dim", axis}});
}

Value* nonzero_places(Call& call, Value* x) {
  if (call.failed()) return nullptr;
  return places_where(call.build, call.importer.measured(), call.cast(x, DType::boolean),
                      [&](const Dim&) { return call.importer.fresh_count(call.build.graph()); });
}

}  // namespace taper::onnx_reader
