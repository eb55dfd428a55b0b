// What is known of entries that the file computes: exporters write sizes as arithmetic, also of real numbers.
#include <algorithm>
#include <cmath>

#include "base/ratio.h"
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

constexpr int kMostFollowed = 64;  // that are looked through for one entry

std::optional<Fraction> entry_within(const Value* vector, std::int64_t i, int& budget);

std::optional<Fraction> reduced(const Dim& over, const Dim& under) {
  if (under.is(0) || over.overflowed() || under.overflowed()) return std::nullopt;
  if (const auto exact = divide_exactly(over, under)) return Fraction{*exact, 1};
  return Fraction{over, under};
}

// Whether it is 0 or more whatever the sizes are.
bool is_sum_of_sizes(const Dim& dim) {
  return std::ranges::all_of(dim.terms(), [](const Dim::Term& term) { return term.coefficient > 0; });
}

// Decimals stand for fractions, where no size times one is rounded to another whole number.
std::optional<Fraction> fraction_of(double value) {
  constexpr double kMost = 1e15;  // doubles hold these exactly
  if (value == std::floor(value) && std::abs(value) <= kMost) return Fraction{Dim(static_cast<std::int64_t>(value)), 1};
  const auto rounded = static_cast<float>(value);
  const auto ratio = simple_ratio(rounded);
  if (!ratio || first_missed_size(rounded, *ratio)) return std::nullopt;
  return Fraction{Dim(ratio->over), Dim(ratio->under)};
}

std::optional<Fraction> constant_entry(const Tensor& tensor, std::int64_t i) {
  const std::int64_t count = tensor.element_count();
  if (count < 1 || (count > 1 && i >= count)) return std::nullopt;
  return fraction_of(to_double(tensor).at(static_cast<std::size_t>(count == 1 ? 0 : i)));
}

std::optional<Fraction> joined_entry(const Node& concat, std::int64_t i, int& budget) {
  for (const Value* part : concat.operands) {
    const auto length = part->type.shape.size() == 1 ? part->type.shape[0].constant() : std::nullopt;
    if (!length) return std::nullopt;
    if (i < *length) return entry_within(part, i, budget);
    i -= *length;
  }
  return std::nullopt;
}

std::optional<Fraction> computed_entry(const Node& node, std::int64_t i, int& budget) {
  const auto a = entry_within(node.operands[0], i, budget);
  const auto b = a ? entry_within(node.operands[1], i, budget) : std::nullopt;
  if (!b) return std::nullopt;
  if (node.op == "mul") return reduced(a->over * b->over, a->under * b->under);
  if (node.op == "div") return reduced(a->over * b->under, a->under * b->over);
  if (a->under != b->under) return std::nullopt;
  return reduced(node.op == "add" ? a->over + b->over : a->over - b->over, a->under);
}

// What exporters write: sizes of -1 are replaced by 1.
std::optional<Fraction> replaced_entry(const Node& node, std::int64_t i, int& budget) {
  const Node* test = node.operands[0]->producer;
  if (test == nullptr || test->op != "equal" || test->operands[0] != node.operands[2]) return std::nullopt;
  const auto size = entry_within(node.operands[2], i, budget);
  const auto replaced = entry_within(test->operands[1], i, budget);
  if (!size || !replaced || !(size->over - replaced->over).constant()) return std::nullopt;
  return size->over == replaced->over ? entry_within(node.operands[1], i, budget) : size;
}

std::optional<Fraction> rounded_entry(const Node& node, std::int64_t i, int& budget) {
  const auto x = entry_within(node.operands[0], i, budget);
  if (!x || x->under.is(1)) return x;
  // Casts cut off towards zero.
  if (node.op == "cast" && (is_floating(node.results[0]->type.dtype) || !is_sum_of_sizes(x->over)))
    return is_floating(node.results[0]->type.dtype) ? x : std::nullopt;
  return reduced(node.op == "ceil" ? ceil_divide(x->over, x->under) : floor_divide(x->over, x->under), 1);
}

std::optional<Fraction> entry_within(const Value* vector, std::int64_t i, int& budget) {
  if (vector == nullptr || --budget < 0) return std::nullopt;
  if (const Tensor* tensor = constant_of(vector)) return constant_entry(*tensor, i);
  const Node* node = vector->producer;
  if (node == nullptr) return std::nullopt;
  const std::string& op = node->op;
  if (op == "full") return fraction_of(node->attrs.real("value"));
  if (op == "sizes") {
    const auto& sizes = node->attrs.get<Shape>("sizes");
    const auto at = static_cast<std::size_t>(sizes.size() == 1 ? 0 : i);
    return at < sizes.size() ? std::optional(Fraction{sizes[at], 1}) : std::nullopt;
  }
  const bool moves = op == "reshape" || op == "unsqueeze" || op == "squeeze";
  if (moves && element_count(vector->type.shape).is(1)) return entry_within(node->operands[0], 0, budget);
  if (op == "concat") return joined_entry(*node, i, budget);
  const bool divides = op == "div" && is_floating(vector->type.dtype);  // integers would be rounded
  if (divides || op == "mul" || op == "add" || op == "sub") return computed_entry(*node, i, budget);
  if (op == "where") return replaced_entry(*node, i, budget);
  if (op == "cast" || op == "floor" || op == "ceil") return rounded_entry(*node, i, budget);
  return std::nullopt;
}

}  // namespace

std::optional<Fraction> real_entry_of(const Value* vector, std::int64_t i) {
  int budget = kMostFollowed;
  return entry_within(vector, i, budget);
}

std::optional<Dim> entry_of(const Value* vector, std::int64_t i) {
  if (vector == nullptr || is_floating(vector->type.dtype)) return std::nullopt;
  const auto entry = real_entry_of(vector, i);
  return entry && entry->under.is(1) ? std::optional(entry->over) : std::nullopt;
}

}  // namespace taper::onnx_reader
