// Integers that programs compute with: sizes as symbols, and small tensors made of them.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "base/ratio.h"
#include "frontend/aten_cut.h"
#include "ops/table.h"

namespace taper::aten {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Products of bounds: 0 * infinity is 0, since the infinite one stands for some number.
double times(double a, double b) {
  return a == 0 || b == 0 ? 0 : a * b;
}

Interval multiply(Interval a, Interval b) {
  const std::array products = {times(a.least, b.least), times(a.least, b.most), times(a.most, b.least),
                               times(a.most, b.most)};
  return {std::ranges::min(products), std::ranges::max(products)};
}

Interval range_of_factor(const Context& context, const std::string& factor, int depth);

// Quotients by numbers as fractions: floor_div(a, n) is (a - r) / n for some 0 <= r < n. So what stands beside them
// cancels: the range of -L - 8 floor_div(-L, 8) is that of its rest, 0 to 7.
class FractionRange {
 public:
  FractionRange(const Context& context, int depth) : context_(context), depth_(depth) {}

  Interval of(const Dim& size) {
    add(size, 1);
    Interval sum = rest_;
    for (const auto& [symbols, factor] : terms_) {
      if (std::abs(factor) < kCancelled) continue;
      Interval product{factor, factor};
      for (const std::string& symbol : symbols) product = multiply(product, range_of_factor(context_, symbol, depth_));
      sum = {sum.least + product.least, sum.most + product.most};
    }
    return {std::ceil(sum.least - kNothing), std::floor(sum.most + kNothing)};  // sizes are integers
  }

 private:
  static constexpr double kNothing = 1e-6, kCancelled = 1e-12;

  void add(const Dim& size, double factor) {
    for (const Dim::Term& term : size.terms()) {
      const double product = factor * static_cast<double>(term.coefficient);
      const auto function =
          term.symbols.size() == 1 && budget_-- > 0 ? dim_function(term.symbols[0]) : std::optional<DimFunction>();
      const auto divisor = function && function->name == "floor_div" ? function->b.constant() : std::nullopt;
      if (!divisor || *divisor <= 0) {
        terms_[term.symbols] += product;
        continue;
      }
      const auto under = static_cast<double>(*divisor);
      const double most_left = -product * (under - 1) / under;
      rest_ = {rest_.least + std::min(0.0, most_left), rest_.most + std::max(0.0, most_left)};
      add(function->a, product / under);
    }
  }

  const Context& context_;
  int depth_;
  int budget_ = 64;  // factors looked at
  std::map<std::vector<std::string>, double> terms_;
  Interval rest_{0, 0};
};

bool has_quotients(const Dim& size) {
  return std::ranges::any_of(size.terms(), [](const Dim::Term& term) {
    return term.symbols.size() == 1 && term.symbols[0].starts_with("floor_div(");
  });
}

Interval range_of_dim(const Context& context, const Dim& size, int depth) {
  Interval sum{0, 0};
  if (size.overflowed() || depth > 8) return {-kInfinity, kInfinity};
  for (const Dim::Term& term : size.terms()) {
    Interval product{static_cast<double>(term.coefficient), static_cast<double>(term.coefficient)};
    for (const std::string& factor : term.symbols)
      product = multiply(product, range_of_factor(context, factor, depth + 1));
    sum = {sum.least + product.least, sum.most + product.most};
  }
  if (!has_quotients(size)) return sum;
  const Interval narrow = FractionRange(context, depth + 1).of(size);
  return {std::max(sum.least, narrow.least), std::min(sum.most, narrow.most)};
}

Interval range_of_factor(const Context& context, const std::string& factor, int depth) {
  if (const auto function = dim_function(factor)) {
    const Interval a = range_of_dim(context, function->a, depth);
    const Interval b = range_of_dim(context, function->b, depth);
    if (function->name == "max") return {std::max(a.least, b.least), std::max(a.most, b.most)};
    if (function->name == "min") return {std::min(a.least, b.least), std::min(a.most, b.most)};
    if (function->name == "floor_div" && b.least > 0) {
      const auto quotient = [](double x, double y) { return std::isinf(y) ? (x < 0 ? -1.0 : 0.0) : std::floor(x / y); };
      return {std::min(quotient(a.least, b.least), quotient(a.least, b.most)),
              std::max(quotient(a.most, b.least), quotient(a.most, b.most))};
    }
    return {-kInfinity, kInfinity};
  }
  const auto found = context.symbols.find(factor);
  if (found == context.symbols.end()) return {1, kInfinity};
  const SymbolRange& range = found->second;
  const bool open = range.most == SymbolRange::kOpen;
  return {static_cast<double>(range.least), open ? kInfinity : static_cast<double>(range.most)};
}

}  // namespace

Interval range_of(const Context& context, const Dim& size) {
  return range_of_dim(context, size, 0);
}

std::optional<bool> known_less_equal(const Context& context, const Dim& a, const Dim& b) {
  const Interval difference = range_of(context, a - b);
  if (difference.most <= 0) return true;
  if (difference.least > 0) return false;
  if (range_of(context, context.counts->at_most(a - b)).most <= 0) return true;
  // Against a maximum or minimum: each of its parts may decide.
  const auto always = [&](const Dim& x, const Dim& y) {
    return range_of(context, x - y).most <= 0 || range_of(context, context.counts->at_most(x - y)).most <= 0;
  };
  if (const auto f = as_function(a); f && f->name == "min" && (always(f->a, b) || always(f->b, b))) return true;
  if (const auto f = as_function(a); f && f->name == "max" && always(f->a, b) && always(f->b, b)) return true;
  if (const auto f = as_function(b); f && f->name == "max" && (always(a, f->a) || always(a, f->b))) return true;
  if (const auto f = as_function(b); f && f->name == "min" && always(a, f->a) && always(a, f->b)) return true;
  return std::nullopt;
}

std::optional<bool> known_less(const Context& context, const Dim& a, const Dim& b) {
  const auto reverse = known_less_equal(context, b, a);
  return reverse ? std::optional(!*reverse) : std::nullopt;
}

Dim smaller(const Context& context, const Dim& a, const Dim& b) {
  // What no size reaches, which int32 can't say either: the end of a range without one.
  constexpr std::int64_t kBeyondSizes = std::numeric_limits<std::int32_t>::max();
  if (a.constant().value_or(0) >= kBeyondSizes && !b.constant()) return b;
  if (b.constant().value_or(0) >= kBeyondSizes && !a.constant()) return a;
  if (known_less_equal(context, a, b) == true) return a;
  if (known_less_equal(context, b, a) == true) return b;
  return dim_min(a, b);
}

Dim larger(const Context& context, const Dim& a, const Dim& b) {
  if (known_less_equal(context, a, b) == true) return b;
  if (known_less_equal(context, b, a) == true) return a;
  return dim_max(a, b);
}

Dim position_from_start(const Context& context, const Dim& position, const Dim& size) {
  if (const auto is_negative = known_less(context, position, 0)) return *is_negative ? position + size : position;
  if ((position + size).is(0)) return 0;                              // all of the axis, also where it has no entries
  const Dim is_negative = dim_min(dim_max(Dim(0) - position, 0), 1);  // 1 or 0
  return position + size * is_negative;
}

Dim clamp_position(const Context& context, const Dim& position, const Dim& size) {
  const Dim place = larger(context, position_from_start(context, position, size), 0);
  return known_less_equal(context, position, size) == true ? place : smaller(context, place, size);
}

std::optional<std::int64_t> constant_integer(const Arg& arg) {
  const Dim* dim = arg.as<Dim>();
  return dim != nullptr ? dim->constant() : std::nullopt;
}

// ---------------------------------------------------------------------------------------------------- tensors of sizes

namespace {

constexpr std::int64_t kMostElements = 4096;

// Follows values to what they are made of, as far as a budget goes.
struct Folder {
  int budget = 1000;

  std::optional<Array> constant(const Value* value, int depth) {
    if (value == nullptr || value->producer == nullptr || depth > 100 || --budget < 0) return std::nullopt;
    if (const taper::Tensor* tensor = constant_of(value))
      return tensor->element_count() <= kMostElements ? std::optional(to_array(*tensor)) : std::nullopt;
    const auto sizes = constant_sizes(value->type.shape);
    if (!sizes) return std::nullopt;
    const auto count = checked_element_count(*sizes);
    if (!count || *count > kMostElements) return std::nullopt;
    const Node& node = *value->producer;
    const Op* op = find_op(node.op);
    if (op == nullptr || op->eval == nullptr || !node.regions.empty()) return std::nullopt;
    std::vector<Array> arrays;
    arrays.reserve(node.operands.size());
    std::vector<const Array*> operands;
    for (const Value* operand : node.operands) {
      if (operand == nullptr) {
        operands.push_back(nullptr);
        continue;
      }
      auto array = constant(operand, depth + 1);
      if (!array) return std::nullopt;
      arrays.push_back(std::move(*array));
      operands.push_back(&arrays.back());
    }
    const auto results = op->eval({operands, node.attrs, node.regions, {}});
    if (!results || value->index >= results->size()) return std::nullopt;
    return to_array(to_tensor((*results)[value->index]));
  }

  using Dims = std::optional<std::vector<Dim>>;

  // Element by element, where both have as many or one of them has one.
  template <class F>
  Dims zip(const Dims& a, const Dims& b, F f) {
    if (!a || !b || a->empty() || b->empty()) return std::nullopt;
    const std::size_t count = std::max(a->size(), b->size());
    if ((a->size() != count && a->size() != 1) || (b->size() != count && b->size() != 1)) return std::nullopt;
    std::vector<Dim> out;
    for (std::size_t i = 0; i < count; ++i) {
      std::optional<Dim> entry = f((*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
      if (!entry || entry->overflowed()) return std::nullopt;
      out.push_back(std::move(*entry));
    }
    return out;
  }

  // Whether a sum of sizes takes nothing away.
  static bool is_never_negative(const Dim& sum) {
    return std::ranges::all_of(sum.terms(), [](const Dim::Term& term) { return term.coefficient >= 0; });
  }

  // An entry of the first part of joined vectors, or of their first entries; what is behind need not be known.
  Dims selected_of_joined(const Node& select, int depth) {
    const Node* joined = select.operands[0]->producer;
    if (joined != nullptr && joined->op == "slice" && joined->attrs.integer("start") == 0)
      joined = joined->operands[0]->producer;
    if (joined == nullptr || joined->op != "concat") return std::nullopt;
    const auto first = dims(joined->operands[0], depth + 1);
    const std::int64_t index = select.attrs.integer("index");
    if (!first || index < 0 || static_cast<std::size_t>(index) >= first->size()) return std::nullopt;
    return std::vector{(*first)[static_cast<std::size_t>(index)]};
  }

  // Products and quotients of sizes and constants, which are no integers, rounded by `op`.
  Dims rounded_part(std::string_view op, const Value* real, int depth) {
    while (real->producer != nullptr && is_floating(real->type.dtype) &&
           (real->producer->op == "cast" || real->producer->op == "reshape") && ++depth < 100)
      real = real->producer->operands[0];
    if (real->producer == nullptr || !is_floating(real->type.dtype)) return std::nullopt;
    const std::span<Value* const> operands = real->producer->operands;
    if (real->producer->op == "div")  // exact in float32 for all sizes that there are
      return zip(dims(operands[0], depth + 1), dims(operands[1], depth + 1),
                 [&](const Dim& a, const Dim& b) -> std::optional<Dim> {
                   if (b.constant().value_or(0) < 1 || (op == "trunc" && !is_never_negative(a))) return std::nullopt;
                   return op == "ceil" ? ceil_divide(a, b) : floor_divide(a, b);
                 });
    if (real->producer->op != "mul" || op == "ceil") return std::nullopt;
    for (const bool first : {true, false}) {
      const auto scale = constant(operands[first ? 0 : 1], depth + 1);
      if (!scale || scale->values.size() != 1) continue;
      const auto factor = static_cast<float>(scale->values[0]);
      const auto ratio = simple_ratio(factor);
      if (!ratio || first_missed_size(factor, *ratio)) return std::nullopt;
      return zip(dims(operands[first ? 1 : 0], depth + 1), std::vector{Dim(ratio->over)},
                 [&](const Dim& size, const Dim& over) -> std::optional<Dim> {
                   if (op == "trunc" && !is_never_negative(size)) return std::nullopt;
                   return floor_divide(size * over, Dim(ratio->under));
                 });
    }
    return std::nullopt;
  }

  Dims symbolic(const Node& node, int depth) {
    const auto operand = [&](std::size_t i) -> Dims {
      return i < node.operands.size() ? dims(node.operands[i], depth + 1) : std::nullopt;
    };
    const std::string& op = node.op;
    using Maybe = std::optional<Dim>;
    if (op == "sizes") return node.attrs.get<Shape>("sizes");
    if (op == "shape_of") return shape_of(node.operands[0]);
    const bool to_integer = op == "cast" && !is_floating(node.results[0]->type.dtype);
    if (op == "floor" || op == "ceil" || op == "trunc" || to_integer)
      if (auto rounded = rounded_part(to_integer ? "trunc" : op, node.operands[0], depth)) return rounded;
    if (op == "cast" || op == "reshape" || op == "unsqueeze" || op == "squeeze" || op == "floor" || op == "ceil" ||
        op == "trunc" || op == "round")
      return operand(0);
    if (op == "add") return zip(operand(0), operand(1), [](const Dim& a, const Dim& b) -> Maybe { return a + b; });
    if (op == "sub") return zip(operand(0), operand(1), [](const Dim& a, const Dim& b) -> Maybe { return a - b; });
    if (op == "mul") return zip(operand(0), operand(1), [](const Dim& a, const Dim& b) -> Maybe { return a * b; });
    if (op == "maximum")
      return zip(operand(0), operand(1), [](const Dim& a, const Dim& b) -> Maybe { return dim_max(a, b); });
    if (op == "minimum")
      return zip(operand(0), operand(1), [](const Dim& a, const Dim& b) -> Maybe { return dim_min(a, b); });
    if (op == "div") return zip(operand(0), operand(1), divide_exactly);
    if (op == "floor_divide" || op == "remainder" || op == "trunc_divide")
      return zip(operand(0), operand(1), [&](const Dim& a, const Dim& b) -> Maybe {
        if (b.is(0)) return std::nullopt;
        return op == "remainder" ? floor_remainder(a, b) : floor_divide(a, b);
      });
    if (op == "neg") {
      const Dims zero = std::vector<Dim>{Dim(0)};
      return zip(zero, operand(0), [](const Dim& a, const Dim& b) -> Maybe { return a - b; });
    }
    if (op == "concat") {
      if (node.results[0]->type.shape.size() != 1) return std::nullopt;
      std::vector<Dim> joined;
      for (std::size_t i = 0; i < node.operands.size(); ++i) {
        const auto part = operand(i);
        if (!part || joined.size() + part->size() > kMostElements) return std::nullopt;
        joined.insert(joined.end(), part->begin(), part->end());
      }
      return joined;
    }
    if (op == "select" && shape_of(node.operands[0]).size() == 1) {
      const auto whole = operand(0);
      if (!whole) return selected_of_joined(node, depth);
      std::int64_t index = node.attrs.integer("index");
      if (index < 0) index += static_cast<std::int64_t>(whole->size());
      if (index < 0 || static_cast<std::size_t>(index) >= whole->size()) return std::nullopt;
      return std::vector{(*whole)[static_cast<std::size_t>(index)]};
    }
    return std::nullopt;
  }

  Dims dims(const Value* value, int depth) {
    if (value == nullptr || value->producer == nullptr || depth > 100 || --budget < 0) return std::nullopt;
    if (const taper::Tensor* tensor = constant_of(value)) {
      if (tensor->element_count() > kMostElements) return std::nullopt;
      std::vector<Dim> out;
      for (const double element : to_double(converted(*tensor, DType::f64))) {
        if (element != std::trunc(element) || std::abs(element) > 9e15) return std::nullopt;
        out.emplace_back(static_cast<std::int64_t>(element));
      }
      return out;
    }
    return symbolic(*value->producer, depth);
  }
};

}  // namespace

std::optional<Array> constant_value(const Value* value) {
  Folder folder;
  return folder.constant(value, 0);
}

std::optional<std::vector<Dim>> known_integers(const Value* value) {
  if (value == nullptr || is_floating(value->type.dtype)) return std::nullopt;
  Folder folder;
  if (const auto array = folder.constant(value, 0)) {
    std::vector<Dim> out;
    for (const double element : array->values) out.emplace_back(static_cast<std::int64_t>(element));
    return out;
  }
  return Folder{}.dims(value, 0);
}

std::optional<Dim> rounded_size(std::string_view op, const Value* number) {
  if (number == nullptr || !is_floating(number->type.dtype)) return std::nullopt;
  Folder folder;
  auto whole = folder.dims(number, 0);
  if (!whole) whole = folder.rounded_part(op, number, 0);
  return whole && whole->size() == 1 ? std::optional(whole->front()) : std::nullopt;
}

// ------------------------------------------------------------------------------------------------- operators on sizes

namespace {

Expected<Arg> undecided(std::string_view name, const Dim& a, const Dim& b) {
  return fail("whether {} {} {} is not decided by what is known of the sizes", a.text(), name, b.text());
}

Expected<Arg> compare(const Context& context, std::string_view name, const Dim& a, const Dim& b) {
  const auto decide = [](std::optional<bool> known, bool negate) {
    return known ? std::optional(*known != negate) : std::nullopt;
  };
  std::optional<bool> known;
  if (name == "le") known = known_less_equal(context, a, b);
  if (name == "ge") known = known_less_equal(context, b, a);
  if (name == "lt") known = known_less(context, a, b);
  if (name == "gt") known = known_less(context, b, a);
  if (name == "eq" || name == "ne") {
    if (a == b) known = true;
    if (known_less(context, a, b) == true || known_less(context, b, a) == true) known = false;
    known = decide(known, name == "ne");
  }
  if (!known) return undecided(name, a, b);
  return Arg(*known);
}

bool is_comparison(std::string_view name) {
  return name == "le" || name == "ge" || name == "lt" || name == "gt" || name == "eq" || name == "ne";
}

// Numbers of Python, as far as a program computes with them before it runs.
Expected<Arg> real_operator(std::string_view name, std::span<const double> x) {
  const auto whole = [](double value) -> Expected<Arg> {
    if (!(std::abs(value) < 9e18)) return fail("{} is no integer", value);
    return Arg(Dim(static_cast<std::int64_t>(value)));
  };
  if (x.size() == 2) {
    const double a = x[0], b = x[1];
    if (name == "add") return Arg(a + b);
    if (name == "sub") return Arg(a - b);
    if (name == "mul") return Arg(a * b);
    if (name == "pow") return Arg(std::pow(a, b));
    if (name == "max") return Arg(std::max(a, b));
    if (name == "min") return Arg(std::min(a, b));
    if (is_comparison(name))
      return Arg(name == "le"   ? a <= b
                 : name == "ge" ? a >= b
                 : name == "lt" ? a < b
                 : name == "gt" ? a > b
                                : (a == b) == (name == "eq"));
    if (b == 0) return fail("a division by 0");
    if (name == "truediv") return Arg(a / b);
    if (name == "floordiv") return Arg(std::floor(a / b));
    if (name == "mod") return Arg(a - b * std::floor(a / b));
  }
  if (x.size() == 1) {
    if (name == "neg") return Arg(-x[0]);
    if (name == "abs") return Arg(std::abs(x[0]));
    if (name == "sqrt") return Arg(std::sqrt(x[0]));
    if (name == "float") return Arg(x[0]);
    if (name == "floor") return whole(std::floor(x[0]));
    if (name == "ceil") return whole(std::ceil(x[0]));
    if (name == "trunc" || name == "int") return whole(std::trunc(x[0]));
    if (name == "round") return whole(std::nearbyint(x[0]));
  }
  return fail("operator {} does not take {} numbers", name, x.size());
}

Expected<Arg> integer_operator(const Context& context, std::string_view name, const Dim& a, const Dim& b) {
  if (is_comparison(name)) return compare(context, name, a, b);
  if (name == "add") return Arg(a + b);
  if (name == "sub") return Arg(a - b);
  if (name == "mul") return Arg(a * b);
  if (name == "max") return Arg(larger(context, a, b));
  if (name == "min") return Arg(smaller(context, a, b));
  if (name == "pow") {
    const auto exponent = b.constant();
    if (!exponent || *exponent < 0 || *exponent > 62) return fail("a power with exponent {}", b.text());
    Dim power = 1;
    for (std::int64_t i = 0; i < *exponent; ++i) power = power * a;
    return Arg(std::move(power));
  }
  if (b.is(0)) return fail("a division by 0");
  if (name == "floordiv") return Arg(floor_divide(a, b));
  if (name == "mod") return Arg(floor_remainder(a, b));
  if (name == "truediv") {
    if (a.constant() && b.constant())
      return Arg(static_cast<double>(*a.constant()) / static_cast<double>(*b.constant()));
    if (const auto exact = divide_exactly(a, b)) return Arg(*exact);
    return fail("the quotient of {} and {} is no integer expression", a.text(), b.text());
  }
  return fail("operator {} does not take two integers", name);
}

// The one name for what Python and PyTorch call differently.
std::optional<std::string_view> size_operator(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 26> kOperators = {{
      {"add", "add"},     {"sub", "sub"},         {"mul", "mul"},     {"floordiv", "floordiv"},
      {"mod", "mod"},     {"truediv", "truediv"}, {"neg", "neg"},     {"abs", "abs"},
      {"pow", "pow"},     {"max", "max"},         {"min", "min"},     {"sym_max", "max"},
      {"sym_min", "min"}, {"eq", "eq"},           {"ne", "ne"},       {"lt", "lt"},
      {"le", "le"},       {"gt", "gt"},           {"ge", "ge"},       {"sym_float", "float"},
      {"sym_int", "int"}, {"trunc", "trunc"},     {"floor", "floor"}, {"ceil", "ceil"},
      {"round", "round"}, {"sym_sqrt", "sqrt"},
  }};
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kLogic = {{
      {"and_", "and"},
      {"or_", "or"},
      {"not_", "not"},
      {"sym_not", "not"},
      {"sym_sum", "sum"},
      {"int", "int"},
      {"float", "float"},
      {"sqrt", "sqrt"},
      {"sym_ite", "ite"},
      {"bool", "bool"},
  }};
  if (name.starts_with('_') && !name.ends_with('_')) name.remove_prefix(1);  // _sym_sqrt
  using Pair = std::pair<std::string_view, std::string_view>;
  if (const auto* found = std::ranges::find(kOperators, name, &Pair::first); found != kOperators.end())
    return found->second;
  if (const auto* found = std::ranges::find(kLogic, name, &Pair::first); found != kLogic.end()) return found->second;
  return std::nullopt;
}

// A number as an integer, where it is one: 2.0 is 2.
std::optional<Dim> as_integer(const Arg& arg) {
  if (const Dim* dim = arg.as<Dim>()) return *dim;
  if (const bool* flag = arg.as<bool>()) return Dim(*flag ? 1 : 0);
  const double* real = arg.as<double>();
  if (real == nullptr || *real != std::trunc(*real) || std::abs(*real) > 9e15) return std::nullopt;
  return Dim(static_cast<std::int64_t>(*real));
}

Expected<Arg> call_size_operator(const Context& context, std::string_view name, std::span<const Arg> arguments) {
  if (name == "sum") {
    const auto* list = arguments.size() == 1 ? arguments[0].as<Arg::List>() : nullptr;
    Dim sum = 0;
    for (const Arg& entry : list != nullptr ? std::span<const Arg>(*list) : arguments) {
      const Dim* dim = entry.as<Dim>();
      if (dim == nullptr) return fail("a sum of what is no integer");
      sum = sum + *dim;
    }
    return Arg(std::move(sum));
  }
  if (name == "ite" && arguments.size() == 3 && arguments[0].as<bool>() != nullptr)
    return *arguments[0].as<bool>() ? arguments[1] : arguments[2];
  if (name == "and" || name == "or" || name == "not" || name == "bool") {
    std::vector<bool> flags;
    for (const Arg& argument : arguments) {
      const auto integer = as_integer(argument);
      const auto known = integer ? compare(context, "ne", *integer, 0) : fail("operator {} on what is no flag", name);
      if (!known) return known;
      flags.push_back(*known->as<bool>());
    }
    if (flags.size() == 1 && name == "bool") return Arg(flags[0] ? true : false);
    if (flags.size() == 1 && name == "not") return Arg(flags[0] ? false : true);
    if (flags.size() != 2) return fail("operator {} does not take {} flags", name, flags.size());
    return Arg(name == "and" ? flags[0] && flags[1] : flags[0] || flags[1]);
  }
  bool any_symbol = false, any_real = false;
  std::vector<double> reals;
  std::vector<Dim> integers;
  for (const Arg& argument : arguments) {
    const auto integer = as_integer(argument);
    any_symbol |= integer && !integer->constant();
    any_real |= argument.as<double>() != nullptr;
    if (integer) integers.push_back(*integer);
    if (const double* real = argument.as<double>())
      reals.push_back(*real);
    else if (integer && integer->constant())
      reals.push_back(static_cast<double>(*integer->constant()));
    else if (!integer)
      return fail("operator {} on what is no number", name);
  }
  if (!any_symbol && (any_real || name == "float" || name == "sqrt" || arguments.size() == 1)) {
    if (!any_real && integers.size() == 1) {
      if (name == "neg") return Arg(Dim(0) - integers[0]);
      if (name == "abs") return Arg(larger(context, integers[0], Dim(0) - integers[0]));
      if (name != "float" && name != "sqrt") return Arg(integers[0]);
    }
    return real_operator(name, reals);
  }
  // A symbol with a number that is no integer has no value that shapes could hold.
  if (integers.size() != arguments.size())
    return fail("operator {} takes a symbolic size and a number that is no integer", name);
  if (integers.size() == 2) return integer_operator(context, name, integers[0], integers[1]);
  if (integers.size() != 1) return fail("operator {} does not take {} arguments", name, integers.size());
  if (name == "neg") return Arg(Dim(0) - integers[0]);
  if (name == "abs") {
    if (known_less_equal(context, 0, integers[0]) == true) return Arg(integers[0]);
    return fail("the sign of {} is not decided by what is known of the sizes", integers[0].text());
  }
  if (name == "sqrt") return fail("the root of {} is no integer expression", integers[0].text());
  return Arg(integers[0]);
}

// A number that is computed from sizes when the program runs, such as the root of a length; null if it can't be.
Value* computed_number(const Context& context, std::string_view name, std::span<const Arg> arguments) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kRows = {{{"add", "add"},
                                                                                   {"sub", "sub"},
                                                                                   {"mul", "mul"},
                                                                                   {"truediv", "div"},
                                                                                   {"pow", "pow"},
                                                                                   {"neg", "neg"},
                                                                                   {"sqrt", "sqrt"}}};
  const auto* row = std::ranges::find(kRows, name, &std::pair<std::string_view, std::string_view>::first);
  if (row == kRows.end() || arguments.size() != (name == "neg" || name == "sqrt" ? 1u : 2u)) return nullptr;
  std::vector<Value*> operands;
  for (const Arg& argument : arguments) {
    const auto* tensor = argument.as<TensorPtr>();
    Value* operand =
        tensor != nullptr ? (*tensor)->content(context.build) : number(context.build, argument, DType::f32);
    if (operand == nullptr || operand->type != Type{DType::f32, {}}) return nullptr;
    operands.push_back(operand);
  }
  return context.build(row->second, std::move(operands));
}

}  // namespace

std::optional<std::string> note_on_scaled_sizes(double scale) {
  const auto ratio = simple_ratio(scale);
  const auto missed = ratio ? first_missed_size(scale, *ratio) : std::nullopt;
  if (!missed) return std::nullopt;
  const std::int64_t taken = *missed * ratio->over / ratio->under;
  return fmt::format(
      "a size of {} times {} is taken as {}, which PyTorch's rounding makes {}; some larger sizes are one more, too",
      *missed, scale, taken, taken - 1);
}

Expected<Dim> scaled_size(Context& context, const Dim& size, double scale) {
  if (const auto known = size.constant()) {
    const double scaled = std::floor(static_cast<double>(*known) * scale);
    if (!(scaled >= 0 && scaled < 1e9)) return fail("size {} scaled by {}", *known, scale);
    return Dim(static_cast<std::int64_t>(scaled));
  }
  if (const auto ratio = simple_ratio(scale)) {
    if (auto note = note_on_scaled_sizes(scale)) warn_once(context, std::move(*note));
    return floor_divide(size * Dim(ratio->over), Dim(ratio->under));
  }
  return fail_with_hint(fmt::format("size {} scaled by {}, which is no simple fraction", size.text(), scale),
                        "give the size as a number");
}

std::optional<Expected<Arg>> call_on_sizes(const Context& context, std::string_view name,
                                           std::span<const Arg> arguments) {
  const auto known = size_operator(name);
  if (!known) return std::nullopt;
  auto result = call_size_operator(context, *known, arguments);
  const auto* number = arguments.size() == 1 ? arguments[0].as<TensorPtr>() : nullptr;
  if (const bool rounds = *known == "floor" || *known == "ceil" || *known == "trunc" || *known == "int";
      rounds && number != nullptr)
    if (auto size = rounded_size(*known == "int" ? "trunc" : *known, (*number)->content(context.build)))
      return Arg(std::move(*size));
  if (!result)
    if (Value* computed = computed_number(context, *known, arguments)) return fresh(computed);
  if (result)
    if (const Dim* dim = result->as<Dim>(); dim != nullptr && dim->overflowed())
      return fail("operator {}: a size overflows 64 bits", name);
  return result;
}

}  // namespace taper::aten
