// What is known of entries that the file computes: exporters write sizes as arithmetic, also of real numbers.
#include <bit>
#include <cmath>
#include <utility>

#include "base/ratio.h"
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

constexpr int kMostFollowed = 64;  // that are looked through for one entry

// Floats hold few fractions: what the file computes with them differs from the fraction by how it came about.
enum class Rounding {
  none,      // the float is the fraction
  quotient,  // rounded once, which reaches no whole number that the fraction doesn't
  decimal,   // the constant stands for the fraction
  product,   // of a size with such a constant: its whole part is that of the fraction
};
struct Entry {
  Fraction value;
  Rounding rounding = Rounding::none;
};

std::optional<Entry> whole(Dim size) {
  if (size.overflowed()) return std::nullopt;
  return Entry{{std::move(size), 1}};
}

// Decimals stand for fractions, where no size times one is rounded to another whole number.
std::optional<Entry> fraction_of(double value, DType dtype) {
  constexpr double kMost = 1e15;  // doubles hold these exactly
  if (value == std::floor(value) && std::abs(value) <= kMost) return whole(static_cast<std::int64_t>(value));
  const auto known = [](const auto number) -> std::optional<Ratio> {
    const auto ratio = simple_ratio(number);
    return ratio && !first_missed_size(number, *ratio) ? ratio : std::nullopt;
  };
  const auto ratio = dtype == DType::f64 ? known(value) : known(static_cast<float>(value));
  if (!ratio) return std::nullopt;
  const bool is_exact = std::has_single_bit(static_cast<std::uint64_t>(ratio->under));
  return Entry{{Dim(ratio->over), Dim(ratio->under)}, is_exact ? Rounding::none : Rounding::decimal};
}

std::optional<Entry> constant_entry(const Tensor& tensor, std::int64_t i) {
  const std::int64_t count = tensor.element_count();
  if (count < 1 || i < 0 || (count > 1 && i >= count)) return std::nullopt;
  return fraction_of(to_double(tensor).at(static_cast<std::size_t>(count == 1 ? 0 : i)), tensor.dtype);
}

// The types in which files compute with sizes, which hold those that there are.
bool holds_sizes(DType dtype) {
  return dtype == DType::i32 || dtype == DType::i64 || dtype == DType::f32 || dtype == DType::f64;
}

// Follows an entry to what it is made of, as far as a budget goes.
class Follower {
 public:
  explicit Follower(const Importer& importer) : importer_(importer) {}

  std::optional<Entry> entry(const Value* vector, std::int64_t i);

 private:
  std::optional<Entry> joined(const Node& concat, std::int64_t i);
  std::optional<Entry> computed(const Node& node, std::int64_t i);
  std::optional<Entry> replaced(const Node& node, std::int64_t i);
  std::optional<Entry> rounded(const Node& node, std::int64_t i);
  std::optional<Entry> quotient(const Fraction& a, const Fraction& b) const;

  const Importer& importer_;
  int budget_ = kMostFollowed;
};

std::optional<Entry> Follower::joined(const Node& concat, std::int64_t i) {
  for (const Value* part : concat.operands) {
    const auto length = part->type.shape.size() == 1 ? part->type.shape[0].constant() : std::nullopt;
    if (!length) return std::nullopt;
    if (i < *length) return entry(part, i);
    i -= *length;
  }
  return std::nullopt;
}

// Of floats that are the fractions.
std::optional<Entry> Follower::quotient(const Fraction& a, const Fraction& b) const {
  Dim over = a.over * b.under, under = a.under * b.over;
  if (const auto number = under.constant(); number && *number < 0) over = Dim(0) - over, under = Dim(0) - under;
  // What may be 0 or less divides as numbers do, which no fraction says.
  if (over.overflowed() || under.overflowed() || !surely_at_most(importer_, 1, under)) return std::nullopt;
  if (const auto exact = divide_exactly(over, under)) return whole(*exact);
  const std::int64_t divisor = under.constant().value_or(0);
  const bool is_exact = divisor > 0 && std::has_single_bit(static_cast<std::uint64_t>(divisor));
  return Entry{{over, under}, is_exact ? Rounding::none : Rounding::quotient};
}

std::optional<Entry> Follower::computed(const Node& node, std::int64_t i) {
  if (!holds_sizes(node.results[0]->type.dtype)) return std::nullopt;
  auto a = entry(node.operands[0], i);
  auto b = a ? entry(node.operands[1], i) : std::nullopt;
  if (!b) return std::nullopt;
  if (node.op == "mul" && a->rounding == Rounding::decimal) std::swap(a, b);
  const Fraction &x = a->value, &y = b->value;
  if (a->rounding != Rounding::none) return std::nullopt;
  if (node.op == "mul" && b->rounding == Rounding::decimal) {
    if (!x.under.is(1) || !surely_at_most(importer_, 0, x.over) || (x.over * y.over).overflowed()) return std::nullopt;
    return Entry{{x.over * y.over, y.under}, Rounding::product};
  }
  if (b->rounding != Rounding::none) return std::nullopt;
  if (node.op == "div") return quotient(x, y);
  if (node.op == "mul") return quotient({x.over * y.over, x.under * y.under}, {1, 1});
  if (x.under != y.under) return std::nullopt;
  return quotient({node.op == "add" ? x.over + y.over : x.over - y.over, x.under}, {1, 1});
}

// What exporters write: sizes of -1 are replaced by 1.
std::optional<Entry> Follower::replaced(const Node& node, std::int64_t i) {
  const Node* test = node.operands[0]->producer;
  if (test == nullptr || test->op != "equal" || test->operands[0] != node.operands[2]) return std::nullopt;
  const auto size = entry(node.operands[2], i);
  const auto sought = size ? entry(test->operands[1], i) : std::nullopt;
  if (!sought || size->rounding != Rounding::none || sought->rounding != Rounding::none) return std::nullopt;
  const Fraction &a = size->value, &b = sought->value;
  if (!a.under.is(1) || !b.under.is(1) || !(a.over - b.over).constant()) return std::nullopt;
  return a.over == b.over ? entry(node.operands[1], i) : size;
}

std::optional<Entry> Follower::rounded(const Node& node, std::int64_t i) {
  const DType from = node.operands[0]->type.dtype, to = node.results[0]->type.dtype;
  if (!holds_sizes(from) || !holds_sizes(to)) return std::nullopt;
  const auto x = entry(node.operands[0], i);
  if (!x || (x->rounding == Rounding::none && x->value.under.is(1))) return x;
  const auto& [over, under] = x->value;
  const bool casts = node.op == "cast";
  if (casts && is_floating(to)) return x->rounding == Rounding::none || from == to ? x : std::nullopt;
  if (node.op == "ceil")
    return x->rounding == Rounding::none || x->rounding == Rounding::quotient ? whole(ceil_divide(over, under))
                                                                              : std::nullopt;
  // Casts cut off towards zero.
  if (casts && !surely_at_most(importer_, 0, over)) return std::nullopt;
  return whole(floor_divide(over, under));
}

std::optional<Entry> Follower::entry(const Value* vector, std::int64_t i) {
  if (vector == nullptr || --budget_ < 0) return std::nullopt;
  if (const Tensor* tensor = constant_of(vector)) return constant_entry(*tensor, i);
  const Node* node = vector->producer;
  if (node == nullptr) return std::nullopt;
  const std::string& op = node->op;
  if (op == "full") return fraction_of(node->attrs.real("value"), vector->type.dtype);
  if (op == "sizes") {
    const auto& sizes = node->attrs.get<Shape>("sizes");
    const auto at = static_cast<std::size_t>(sizes.size() == 1 ? 0 : i);
    return at < sizes.size() ? whole(sizes[at]) : std::nullopt;
  }
  const bool moves = op == "reshape" || op == "unsqueeze" || op == "squeeze";
  if (moves && element_count(vector->type.shape).is(1)) return entry(node->operands[0], 0);
  if (op == "concat") return joined(*node, i);
  const bool divides = op == "div" && is_floating(vector->type.dtype);  // integers would be rounded
  if (divides || op == "mul" || op == "add" || op == "sub") return computed(*node, i);
  if (op == "where") return replaced(*node, i);
  if (op == "cast" || op == "floor" || op == "ceil") return rounded(*node, i);
  return std::nullopt;
}

}  // namespace

std::optional<Fraction> real_entry_of(const Importer& importer, const Value* vector, std::int64_t i) {
  const auto entry = Follower(importer).entry(vector, i);
  return entry ? std::optional(entry->value) : std::nullopt;
}

std::optional<Dim> entry_of(const Importer& importer, const Value* vector, std::int64_t i) {
  if (vector == nullptr || is_floating(vector->type.dtype)) return std::nullopt;
  const auto entry = Follower(importer).entry(vector, i);
  const bool is_whole = entry && entry->rounding == Rounding::none && entry->value.under.is(1);
  return is_whole ? std::optional(entry->value.over) : std::nullopt;
}

}  // namespace taper::onnx_reader
