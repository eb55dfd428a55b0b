// Sizes that a file computes from elements: measured when it runs.
#include <cmath>

#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

constexpr int kMostNodes = 64;  // that are looked through for one size

std::optional<std::int64_t> whole_number(double value) {
  constexpr double kMost = 1e15;  // doubles hold these exactly
  return std::abs(value) <= kMost ? std::optional(static_cast<std::int64_t>(value)) : std::nullopt;
}

// Entry `i` of a vector of integers, as far as its making shows a number.
std::optional<std::int64_t> entry_within(const Value* vector, std::int64_t i, int& budget) {
  if (vector == nullptr || --budget < 0) return std::nullopt;
  if (const Tensor* tensor = constant_of(vector)) {
    const std::int64_t count = tensor->element_count();
    if (count < 1 || (count > 1 && i >= count) || is_floating(tensor->dtype)) return std::nullopt;
    return whole_number(to_double(*tensor).at(static_cast<std::size_t>(count == 1 ? 0 : i)));
  }
  const Node* node = vector->producer;
  if (node == nullptr) return std::nullopt;
  if (node->op == "cast") return entry_within(node->operands[0], i, budget);
  if (node->op == "full") return whole_number(node->attrs.real("value"));
  if (node->op == "concat") {
    for (const Value* part : node->operands) {
      const auto length = part->type.shape.size() == 1 ? part->type.shape[0].constant() : std::nullopt;
      if (!length) return std::nullopt;
      if (i < *length) return entry_within(part, i, budget);
      i -= *length;
    }
    return std::nullopt;
  }
  if (node->op == "mul") {
    const auto a = entry_within(node->operands[0], i, budget);
    const auto b = a ? entry_within(node->operands[1], i, budget) : std::nullopt;
    return b ? whole_number(static_cast<double>(*a) * static_cast<double>(*b)) : std::nullopt;
  }
  // What exporters write: sizes of -1 are replaced by 1.
  if (node->op == "where") {
    const Node* test = node->operands[0]->producer;
    if (test == nullptr || test->op != "equal" || test->operands[0] != node->operands[2]) return std::nullopt;
    const auto size = entry_within(node->operands[2], i, budget);
    const auto replaced = entry_within(test->operands[1], i, budget);
    if (!size || !replaced) return std::nullopt;
    return *size == *replaced ? entry_within(node->operands[1], i, budget) : size;
  }
  return std::nullopt;
}

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

std::optional<Shape> measured_sizes(Call& call, std::size_t i) {
  Value* vector = call.x(i);
  if (call.failed() || vector->producer == nullptr || vector->type.shape.size() != 1) return std::nullopt;
  const auto rank = vector->type.shape[0].constant();
  if (!rank || *rank > static_cast<std::int64_t>(kMaxRank)) return std::nullopt;
  Shape sizes;
  for (std::int64_t k = 0; k < *rank; ++k) {
    if (const auto number = entry_of(vector, k)) {
      sizes.emplace_back(*number);
      continue;
    }
    const Value* range = measured_range(call, call.build("select", {vector}, {{"dim", std::int64_t{0}}, {"index", k}}));
    if (range == nullptr) return std::nullopt;
    sizes.push_back(range->type.shape[0]);
  }
  call.importer.assume(fmt::format("the sizes that '{}' computes are numbers of elements, not -1 for what is left",
                                   call.node.input(static_cast<int>(i))));
  return sizes;
}

Value* computed_slice(Call& call, Value* x, std::int64_t axis, Value* from, Value* to, std::int64_t step) {
  Slot length;
  const Dim size = x->type.shape[static_cast<std::size_t>(axis)];
  length.known = std::make_shared<Known>(Known{DType::i64, {}, {size}});
  Value* whole = call.importer.materialize(call.build, length);
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

std::optional<std::int64_t> entry_of(const Value* vector, std::int64_t i) {
  int budget = kMostNodes;
  return entry_within(vector, i, budget);
}

}  // namespace taper::onnx_reader
