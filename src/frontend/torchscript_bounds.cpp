#include "frontend/torchscript_bounds.h"

#include <algorithm>
#include <cmath>

#include "frontend/aten_table.h"
#include "frontend/torchscript_regions.h"

namespace taper::torchscript {
namespace {

class BoundFinder {
 public:
  explicit BoundFinder(const aten::Context& context) : context_(context) {}

  Bounds of(const Region& region, const taper::Value* value) {
    if (value == nullptr || is_floating(value->type.dtype) || --budget_ < 0) return {};
    if (const auto known = aten::known_integers(value); known && known->size() == 1)
      return {known->front(), known->front()};
    if (const auto found = region.ranges.find(value); found != region.ranges.end())
      return {found->second.first, found->second.second};
    for (const Capture& capture : region.captures)
      if (capture.input == value || capture.initial == value)
        return region.outer ? of(*region.outer, capture.outer_value) : Bounds{};
    const Node* node = value->producer;
    return node ? of_node(region, *node) : Bounds{};
  }

 private:
  Bounds of_node(const Region& region, const Node& node) {
    const auto operand = [&](std::size_t i) { return of(region, node.operands[i]); };
    const std::string_view op = node.op;
    constexpr std::string_view kMoves[] = {"reshape", "select",  "squeeze", "unsqueeze", "expand",
                                           "permute", "flatten", "slice",   "gather",    "dynamic_slice"};
    if (std::ranges::find(kMoves, op) != std::end(kMoves)) return operand(0);
    if (op == "cast")
      return is_floating(node.operands[0]->type.dtype) || node.operands[0]->type.dtype == DType::boolean ? Bounds{}
                                                                                                         : operand(0);
    if (op == "add" || op == "sub") return sum(operand(0), operand(1), op == "sub");
    if (op == "mul") return product(operand(0), operand(1));
    if (op == "minimum" || op == "maximum") return extreme(operand(0), operand(1), op == "minimum");
    if (op == "clamp") return clamped(operand(0), node);
    if (op == "where") {
      const Bounds a = operand(1), b = operand(2);
      Bounds both;
      if (a.least && b.least) both.least = aten::smaller(context_, *a.least, *b.least);
      if (a.most && b.most) both.most = aten::larger(context_, *a.most, *b.most);
      return both;
    }
    if (op == "floor_divide" || op == "remainder") return quotient(operand(0), operand(1), op == "remainder");
    if (op == "argmax" || op == "argmin") return place(node);
    return {};
  }

  static Bounds negated(const Bounds& a) {
    Bounds out;
    if (a.most) out.least = Dim(0) - *a.most;
    if (a.least) out.most = Dim(0) - *a.least;
    return out;
  }
  static Bounds sum(const Bounds& a, const Bounds& other, bool subtracts) {
    const Bounds b = subtracts ? negated(other) : other;
    Bounds out;
    if (a.least && b.least) out.least = *a.least + *b.least;
    if (a.most && b.most) out.most = *a.most + *b.most;
    return out;
  }
  static std::optional<std::int64_t> number(const Bounds& a) {
    return a.least && a.most && *a.least == *a.most ? a.least->constant() : std::nullopt;
  }
  static Bounds product(const Bounds& a, const Bounds& b) {
    const bool second = number(b).has_value();
    const auto factor = second ? number(b) : number(a);
    if (!factor) return {};
    const Bounds& other = second ? a : b;
    Bounds out;
    if (other.least) out.least = *other.least * Dim(*factor);
    if (other.most) out.most = *other.most * Dim(*factor);
    if (*factor < 0) std::swap(out.least, out.most);
    return out;
  }
  Bounds extreme(const Bounds& a, const Bounds& b, bool smallest) const {
    const auto both = [&](const std::optional<Dim>& p, const std::optional<Dim>& q) -> std::optional<Dim> {
      if (!p || !q) return std::nullopt;
      return smallest ? aten::smaller(context_, *p, *q) : aten::larger(context_, *p, *q);
    };
    // One of the two bounds is enough on one side.
    Bounds out{both(a.least, b.least), both(a.most, b.most)};
    if (smallest && !out.most) out.most = a.most ? a.most : b.most;
    if (!smallest && !out.least) out.least = a.least ? a.least : b.least;
    return out;
  }
  Bounds clamped(const Bounds& x, const Node& node) const {
    Bounds limits;
    constexpr double kLargest = 1e15;
    if (const double least = node.attrs.real("min"); std::abs(least) < kLargest)
      limits.least = limits.most = Dim(static_cast<std::int64_t>(least));
    Bounds out = limits.least ? extreme(x, limits, false) : x;
    limits = {};
    if (const double most = node.attrs.real("max"); std::abs(most) < kLargest)
      limits.least = limits.most = Dim(static_cast<std::int64_t>(most));
    return limits.most ? extreme(out, limits, true) : out;
  }
  static Bounds quotient(const Bounds& a, const Bounds& b, bool remainder) {
    const auto divisor = number(b);
    if (!divisor || *divisor <= 0) return {};
    if (remainder) return {Dim(0), Dim(*divisor - 1)};
    Bounds out;
    if (a.least) out.least = floor_divide(*a.least, Dim(*divisor));
    if (a.most) out.most = floor_divide(*a.most, Dim(*divisor));
    return out;
  }
  static Bounds place(const Node& node) {
    const Shape& shape = node.operands[0]->type.shape;
    const auto* dim = node.attrs.find("dim");
    const auto* axis = dim ? std::get_if<std::int64_t>(dim) : nullptr;
    if (axis == nullptr || shape.empty()) return {};
    const auto rank = static_cast<std::int64_t>(shape.size());
    const std::int64_t at = *axis < 0 ? *axis + rank : *axis;
    if (at < 0 || at >= rank) return {};
    return {Dim(0), shape[static_cast<std::size_t>(at)] - Dim(1)};
  }

  const aten::Context& context_;
  int budget_ = 300;
};

}  // namespace

Bounds bounds_of(const Region& region, const taper::Value* value) {
  return BoundFinder(region.context).of(region, value);
}

bool surely_within(const aten::Context& context, const Dim& a, const Dim& b) {
  if (aten::known_less_equal(context, a, b) == true) return true;
  // c * (x // c) <= x
  Dim larger = 0;
  for (const Dim::Term& term : a.terms()) {
    const auto function = term.symbols.size() == 1 ? dim_function(term.symbols[0]) : std::nullopt;
    const auto divisor = function && function->name == "floor_div" ? function->b.constant() : std::nullopt;
    Dim part = term.coefficient;
    if (divisor && *divisor > 0 && term.coefficient > 0 && term.coefficient % *divisor == 0) {
      part = Dim(term.coefficient / *divisor) * function->a;
    } else {
      for (const std::string& symbol : term.symbols) {
        const auto factor = Dim::parse(symbol);
        if (!factor) return false;
        part = part * *factor;
      }
    }
    larger = larger + part;
  }
  return aten::known_less_equal(context, larger, b) == true;
}

}  // namespace taper::torchscript
