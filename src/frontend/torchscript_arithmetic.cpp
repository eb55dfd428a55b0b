// Numbers, sizes and lists that programs of TorchScript compute with and compare.
#include <algorithm>
#include <cmath>

#include "formats/text.h"
#include "frontend/aten_table.h"
#include "frontend/torchscript_builtins.h"
#include "frontend/torchscript_sizes.h"

namespace taper::torchscript {

namespace {

// What holds for sizes if no symbol is 0 or 1.
aten::Context without_small_sizes(const aten::Context& context, const Dim& a, const Dim& b) {
  aten::Context general{context.build, context.symbols, {}};
  for (const Dim* dim : {&a, &b})
    for (const std::string& symbol : symbols_of(*dim)) {
      if (context.counted.contains(symbol)) continue;  // masks may pick nothing
      SymbolRange& range = general.symbols.try_emplace(symbol).first->second;
      range.least = std::max<std::int64_t>(range.least, 2);
    }
  return general;
}

std::optional<bool> compare_sizes(const aten::Context& context, std::string_view op, const Dim& a, const Dim& b) {
  if (op == "lt") return aten::known_less(context, a, b);
  if (op == "gt") return aten::known_less(context, b, a);
  if (op == "le") return aten::known_less_equal(context, a, b);
  if (op == "ge") return aten::known_less_equal(context, b, a);
  std::optional<bool> equal;
  if (const auto difference = (a - b).constant()) equal = *difference == 0;
  if (aten::known_less(context, a, b) == true || aten::known_less(context, b, a) == true) equal = false;
  if (equal && op == "ne") return !*equal;
  return equal;
}

// How a comparison is written, and the row that it is.
struct Comparison {
  std::string_view op, sign, row;
};
const Comparison& comparison(std::string_view op) {
  static constexpr Comparison kComparisons[] = {
      {"lt", "<", "less"},           {"le", "<=", "less_equal"}, {"gt", ">", "greater"},
      {"ge", ">=", "greater_equal"}, {"eq", "==", "equal"},      {"ne", "!=", "not_equal"},
  };
  return *std::ranges::find(kComparisons, op, &Comparison::op);
}

Value compare_sizes_or_ask(const aten::Context& context, std::string_view op, const Dim& a, const Dim& b) {
  if (const auto known = compare_sizes(context, op, a, b)) return *known;
  const auto value = [row = comparison(op).row, a, b](Builder& build) {
    return build(row, {aten::number(build, aten::Arg(a), DType::i64), aten::number(build, aten::Arg(b), DType::i64)});
  };
  return Undecided{fmt::format("{} {} {}", a.text(), comparison(op).sign, b.text()),
                   compare_sizes(without_small_sizes(context, a, b), op, a, b),
                   value,
                   flag_of({comparison(op).op, a, b}),
                   {{comparison(op).op, a, b}},
                   {inverse_of({comparison(op).op, a, b})}};
}

}  // namespace

Made Builtins::compare() const {
  const Value& a = at(0);
  const Value& b = at(1);
  if (a.tensor() || b.tensor()) return std::nullopt;
  const bool equality = name == "eq" || name == "ne";
  const Dim* x = a.as<Dim>();
  const Dim* y = b.as<Dim>();
  if (x && y) return compare_sizes_or_ask(context(), name, *x, *y);
  if (a.number() && b.number()) {
    const double p = *a.number();
    const double q = *b.number();
    if (name == "lt") return p < q;
    if (name == "le") return p <= q;
    if (name == "gt") return p > q;
    if (name == "ge") return p >= q;
    return (p == q) == (name == "eq");
  }
  if (const auto* s = a.as<std::string>(); s && b.as<std::string>() && !equality) {
    const int order = s->compare(*b.as<std::string>());
    if (name == "lt") return order < 0;
    if (name == "le") return order <= 0;
    return name == "gt" ? order > 0 : order >= 0;
  }
  if (!equality) return error(fmt::format("{} and {} are compared", describe(a), describe(b)));
  if (a.items() && b.items() && a.items()->size() == b.items()->size()) {
    // Sizes, one by one.
    Value all = true;
    for (std::size_t i = 0; i < a.items()->size(); ++i) {
      TAPER_ASSIGN(Value same, again("eq", {{"", (*a.items())[i]}, {"", (*b.items())[i]}}));
      TAPER_ASSIGN(all, again("__and__", {{"", all}, {"", std::move(same)}}));
    }
    if (name == "eq") return all;
    return again("__not__", {{"", all}});
  }
  const auto same = same_value(a, b);
  if (!same) return error(fmt::format("whether {} equals {} is not known", describe(a), describe(b)));
  return *same == (name == "eq");
}

namespace {

// Where one of the two is a list of a number of items that is not known.
Made on_open_lists(Builtins& call) {
  const Value& a = call.at(0);
  const Value& b = call.at(1);
  if (List* list = growing_list(a); list && call.name == "add_" && b.items()) {
    TAPER_TRY(call.may_change(a));
    list->items.insert(list->items.end(), b.items()->begin(), b.items()->end());
    return a;
  }
  if (call.name == "add") {
    if (const List* list = growing_list(a); list && b.items()) return call.longer(*list, *b.items(), false);
    if (const List* list = growing_list(b); list && a.items()) return call.longer(*list, *a.items(), true);
    if (a.stack() || b.stack()) return join_lists(call);
  }
  if (list_of(a) && call.name == "mul" && !b.integer() && (b.as<Dim>() || b.tensor())) return call.repeated(a, b);
  return std::nullopt;
}

// Numbers of which the running program knows one.
Made on_running_numbers(const Builtins& call) {
  const Value& a = call.at(0);
  const Value& b = call.at(1);
  const std::string_view name = call.name;
  const bool number = (!a.tensor() || a.tensor()->is_number) && (!b.tensor() || b.tensor()->is_number);
  if (!number) return std::nullopt;
  if (name == "floordiv") return call.again("floor_divide", call.args);
  if ((name == "min" || name == "max") && call.count() == 2)
    return call.again(name == "min" ? "minimum" : "maximum", call.args);
  if (name == "__round_to_zero_floordiv")
    return call.again("div", {{"", a}, {"", b}, {"rounding_mode", std::string("trunc")}});
  return std::nullopt;
}

// A list joined with another one, or repeated.
Made on_lists(Builtins& call) {
  const Value& a = call.at(0);
  const Value& b = call.at(1);
  if (call.name == "min" || call.name == "max" || call.count() < 2) return fold_list(call);
  if ((call.name == "add" || call.name == "add_") && b.items()) {
    std::vector<Value> joined = *a.items();
    joined.insert(joined.end(), b.items()->begin(), b.items()->end());
    if (const auto* list_a = list_of(a); list_a && call.name == "add_") {
      TAPER_TRY(call.may_change(a));
      call.charge(joined.size());
      (*list_a)->items = std::move(joined);
      return a;
    }
    const bool in_front = b.items()->empty() && !a.items()->empty();
    Value made = call.list(std::move(joined));
    (*made.as<std::shared_ptr<List>>())->grew_in_front = in_front;
    return made;
  }
  if (call.name == "mul" && b.integer()) {
    const std::int64_t times = std::max<std::int64_t>(*b.integer(), 0);
    if (times > (1 << 20) || times * static_cast<std::int64_t>(a.items()->size()) > (1 << 20))
      return call.error("a list is repeated too often");
    std::vector<Value> repeated;
    for (std::int64_t i = 0; i < times; ++i) repeated.insert(repeated.end(), a.items()->begin(), a.items()->end());
    return call.list(std::move(repeated));
  }
  return fold_list(call);
}

// Bools count as integers.
Made on_bools(const Builtins& call) {
  std::vector<Argument> whole = call.args;
  for (Argument& argument : whole)
    if (const bool* flag = argument.value.as<bool>()) argument.value = Dim(*flag ? 1 : 0);
  return call.again(call.name, std::move(whole));
}

// Two integers, or one.
Made on_sizes(const Builtins& call, const Dim& x, const Dim* y) {
  const std::string_view name = call.name;
  const auto bounded = [&](Dim size) -> Made {
    if (size.overflowed()) return call.error("a size overflows 64 bits");
    return Value(std::move(size));
  };
  if (name == "neg") return bounded(Dim(0) - x);
  if (name == "abs" && x.constant()) return bounded(*x.constant() < 0 ? Dim(0) - x : x);
  if (y == nullptr) return std::nullopt;
  if (name == "add" || name == "sub") {
    const Dim* alpha = call.at(2, "alpha").as<Dim>();
    const Dim scaled = alpha ? *y * *alpha : *y;
    return bounded(name == "add" ? x + scaled : x - scaled);
  }
  if (name == "mul") return bounded(x * *y);
  if (name == "min") return bounded(aten::smaller(call.context(), x, *y));
  if (name == "max") return bounded(aten::larger(call.context(), x, *y));
  if (name == "floordiv" || name == "floor_divide" || name == "remainder" || name == "__round_to_zero_floordiv") {
    if (y->is(0)) return call.error("an integer is divided by 0");
    if (name == "remainder") return bounded(floor_remainder(x, *y));
    if (name == "__round_to_zero_floordiv" && x.constant() && y->constant() && *y->constant() != -1)
      return Dim(*x.constant() / *y->constant());
    return bounded(floor_divide(x, *y));
  }
  if (name == "pow" && y->constant() && *y->constant() >= 0 && *y->constant() <= 64) {
    Dim power(1);
    for (std::int64_t i = 0; i < *y->constant(); ++i) power = power * x;
    return bounded(std::move(power));
  }
  return std::nullopt;
}

// Two real numbers, or one.
Made on_numbers(const Builtins& call, double p, double q) {
  const std::string_view name = call.name;
  if (name == "neg") return -p;
  if (name == "abs") return std::abs(p);
  if (name == "add") return p + q * call.at(2, "alpha").number().value_or(1);
  if (name == "sub") return p - q * call.at(2, "alpha").number().value_or(1);
  if (name == "mul") return p * q;
  if (name == "div" && q != 0) return p / q;
  if ((name == "floordiv" || name == "floor_divide") && q != 0) return std::floor(p / q);
  if (name == "remainder" && q != 0) return p - q * std::floor(p / q);
  if (name == "pow") return std::pow(p, q);
  if (name == "min") return std::min(p, q);
  if (name == "max") return std::max(p, q);
  if (q == 0) return call.error("a number is divided by 0");
  return std::nullopt;
}

}  // namespace

Made Builtins::arithmetic() {
  const Value& a = at(0);
  const Value& b = at(1);
  TAPER_ASSIGN(std::optional<Value> made, on_open_lists(*this));
  if (made) return made;
  if (a.tensor() || b.tensor()) return on_running_numbers(*this);
  if (a.items()) return on_lists(*this);
  if (const auto* text = a.as<std::string>(); text && name == "add" && b.as<std::string>()) {
    if (text->size() > 100000) return error("a text grows too long");
    return *text + *b.as<std::string>();
  }
  if (a.as<bool>() || b.as<bool>()) return on_bools(*this);
  const Dim* x = a.as<Dim>();
  const Dim* y = b.as<Dim>();
  const bool is_unary = name == "neg" || name == "abs";
  if (x && (y || is_unary)) {
    TAPER_ASSIGN(made, on_sizes(*this, *x, y));
    if (made) return made;
  }
  if (a.number() && (b.number() || is_unary)) {
    TAPER_ASSIGN(made, on_numbers(*this, *a.number(), b.number().value_or(0)));
    if (made) return made;
  }
  // A symbolic size among real numbers: the running program computes.
  if ((x || a.number()) && (y || b.number())) {
    TAPER_ASSIGN(Value real, run.to_number(a, "float"));
    if (real.tensor()) return again(name, {{"", std::move(real)}, {"", b}});
    TAPER_ASSIGN(Value other, run.to_number(b, "float"));
    if (other.tensor()) return again(name, {{"", a}, {"", std::move(other)}});
  }
  return std::nullopt;
}

Made Builtins::real_function() const {
  if (const Dim* size = at(0).as<Dim>(); size && !size->constant()) {
    TAPER_ASSIGN(Value real, run.to_number(at(0), "float"));
    return again(name, {{"", std::move(real)}});
  }
  const auto x = at(0).number();
  if (!x || count() != 1) return std::nullopt;
  if (name == "sqrt") return std::sqrt(*x);
  if (name == "exp") return std::exp(*x);
  if (name == "log") return std::log(*x);
  if (name == "log2") return std::log2(*x);
  if (name == "sin") return std::sin(*x);
  if (name == "cos") return std::cos(*x);
  if (name == "tanh") return std::tanh(*x);
  if (name == "isnan") return std::isnan(*x);
  if (name == "isinf") return std::isinf(*x);
  return std::isfinite(*x);
}

}  // namespace taper::torchscript
