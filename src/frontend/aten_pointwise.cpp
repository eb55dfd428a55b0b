// Arithmetic element by element.
#include <cmath>
#include <numbers>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

using enum Promotion;

// Integers are their own floor, ceiling and the like.
Expected<Arg> rounding(Call& call) {
  Value* x = call.tensor("self");
  return is_floating(x->type.dtype) ? fresh(call.build(call.overload.row, {x})) : fresh(x);
}

// a + alpha * b and a - alpha * b
Expected<Arg> add_scaled(Call& call, std::string_view row, Value* a, Value* b) {
  const Arg& alpha = call.arg("alpha");
  if (a == nullptr || b == nullptr) return fresh(nullptr);
  if (const auto* dim = alpha.as<Dim>(); dim == nullptr || !dim->is(1))
    b = call.build("mul", {b, number(call.build, alpha, b->type.dtype)});
  // bool + bool is "or".
  if (a->type.dtype == DType::boolean) return fresh(call.build("logical_or", {a, b}));
  return fresh(call.build(row, {a, b}));
}

Expected<Arg> add(Call& call) {
  const auto operands = call.promoted({"self", "other"}, common);
  return add_scaled(call, "add", operands[0], operands[1]);
}

Expected<Arg> subtract(Call& call) {
  const auto operands = call.promoted({"self", "other"}, common);
  return add_scaled(call, "sub", operands[0], operands[1]);
}

Expected<Arg> reverse_subtract(Call& call) {
  const auto operands = call.promoted({"self", "other"}, common);
  return add_scaled(call, "sub", operands[1], operands[0]);
}

Expected<Arg> multiply(Call& call) {
  const auto x = call.promoted({"self", "other"}, common);
  const bool flags = x[0] != nullptr && x[0]->type.dtype == DType::boolean;
  return fresh(call.build(flags ? "logical_and" : "mul", x));
}

// Divisions of floats, rounded.
Value* floor_quotient(Builder& build, Value* a, Value* b) {
  const bool floating = a != nullptr && is_floating(a->type.dtype);
  return floating ? build("floor", {build("div", {a, b})}) : build("floor_divide", {a, b});
}

Expected<Arg> divide(Call& call) {
  const std::string mode = call.given("rounding_mode") ? call.text("rounding_mode") : "";
  const auto x = call.promoted({"self", "other"}, mode.empty() ? floating : common);
  if (mode.empty()) return fresh(call.build("div", x));
  if (mode == "floor") return fresh(floor_quotient(call.build, x[0], x[1]));
  if (mode != "trunc") return fail("rounding mode '{}', expected floor or trunc", mode);
  const bool is_real = x[0] != nullptr && is_floating(x[0]->type.dtype);
  return fresh(is_real ? call.build("trunc", {call.build("div", x)}) : call.build("trunc_divide", x));
}

Expected<Arg> floor_division(Call& call) {
  const auto x = call.promoted({"self", "other"}, common);
  return fresh(floor_quotient(call.build, x[0], x[1]));
}

Expected<Arg> power(Call& call) {
  const auto x = call.promoted({"self", "exponent"}, common);
  const Arg& exponent = call.arg("exponent");
  const auto* real = exponent.as<double>();
  const auto integer = constant_integer(exponent);
  const bool floats = x[0] != nullptr && is_floating(x[0]->type.dtype);
  // The powers that people write.
  if (integer == 1) return fresh(x[0]);
  if (integer == 2 || (real != nullptr && *real == 2)) return fresh(call.build("mul", {x[0], x[0]}));
  if (integer == 3 || (real != nullptr && *real == 3))
    return fresh(call.build("mul", {call.build("mul", {x[0], x[0]}), x[0]}));
  if (floats && real != nullptr && *real == 0.5) return fresh(call.build("sqrt", {x[0]}));
  if (floats && real != nullptr && *real == -0.5) return fresh(call.build("rsqrt", {x[0]}));
  if (floats && (integer == -1 || (real != nullptr && *real == -1))) return fresh(call.build("reciprocal", {x[0]}));
  return fresh(call.build("pow", x));
}

Expected<Arg> square(Call& call) {
  Value* x = call.tensor("self");
  return fresh(call.build("mul", {x, x}));
}

Value* to_floating(Call& call, std::string_view name) {
  return call.promoted({name}, floating)[0];
}

// x * factor for floats.
Expected<Arg> scaled(Call& call, double factor) {
  Value* x = to_floating(call, "self");
  return fresh(call.build("mul", {x, number(call.build, factor, DType::f32)}));
}

Expected<Arg> exp2(Call& call) {
  Value* x = to_floating(call, "self");
  return fresh(call.build("exp", {call.build("mul", {x, number(call.build, std::numbers::ln2, DType::f32)})}));
}

Expected<Arg> log10(Call& call) {
  Value* x = call.build("log", {to_floating(call, "self")});
  return fresh(call.build("mul", {x, number(call.build, std::numbers::log10e, DType::f32)}));
}

Expected<Arg> fraction(Call& call) {
  Value* x = call.tensor("self");
  return fresh(call.build("sub", {x, call.build("trunc", {x})}));
}

// ln(x / (1 - x)), with x kept within [eps, 1 - eps]
Expected<Arg> logit(Call& call) {
  Builder& build = call.build;
  Value* x = to_floating(call, "self");
  if (call.given("eps")) x = build("clamp", {x}, {{"min", call.real("eps")}, {"max", 1 - call.real("eps")}});
  Value* rest = build("sub", {number(build, 1.0, DType::f32), x});
  return fresh(build("log", {build("div", {x, rest})}));
}

// sqrt(a^2 + b^2)
Expected<Arg> hypot(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, common);
  Value* a = build("abs", {x[0]});
  Value* b = build("abs", {x[1]});
  // Of the ratio of the smaller to the larger one, whose square neither overflows nor vanishes.
  Value* larger = build("maximum", {build("maximum", {a, b}), number(build, 1e-37, DType::f32)});
  Value* ratio = build("div", {build("minimum", {a, b}), larger});
  Value* root = build("sqrt", {build("add", {number(build, 1.0, DType::f32), build("mul", {ratio, ratio})})});
  return fresh(build("mul", {build("maximum", {a, b}), root}));
}

// x * ln(y), 0 where x is 0
Expected<Arg> xlogy(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, floating);
  Value* zero = number(build, 0.0, DType::f32);
  return fresh(build("where", {build("equal", {x[0], zero}), zero, build("mul", {x[0], build("log", {x[1]})})}));
}

// The logarithm, by `base`, of the sum of its powers: max + log(1 + base^-|a - b|); two infinities of one sign are
// their own sum.
Expected<Arg> log_add_exp(Call& call, double base) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, floating);
  const double log = std::log(base);
  const auto scaled = [&](Value* value, double factor) {
    return factor == 1 ? value : build("mul", {value, number(build, factor, DType::f32)});
  };
  Value* distance = build("abs", {build("sub", x)});
  distance = build("where", {build("equal", x), number(build, 0.0, DType::f32), distance});
  Value* rest = build("log1p", {build("exp", {scaled(distance, -log)})});
  return fresh(build("add", {build("maximum", x), scaled(rest, 1 / log)}));
}

// |a| with the sign of b
Expected<Arg> copysign(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, floating);
  Value* size = build("abs", {x[0]});
  Value* negative = build("less", {x[1], number(build, 0.0, DType::f32)});
  return fresh(build("where", {negative, build("neg", {size}), size}));
}

// self + value * tensor1 * tensor2, or / tensor2
Expected<Arg> add_product(Call& call, std::string_view row) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "tensor1", "tensor2"}, row == "div" ? floating : common);
  Value* product = build(row, {x[1], x[2]});
  const auto* dim = call.arg("value").as<Dim>();
  if (product != nullptr && (dim == nullptr || !dim->is(1)))
    product = build("mul", {product, number(build, call.arg("value"), product->type.dtype)});
  return fresh(build("add", {x[0], product}));
}

// self + weight * (end - self)
Expected<Arg> lerp(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "end", "weight"}, common);
  return fresh(build("add", {x[0], build("mul", {x[2], build("sub", {x[1], x[0]})})}));
}

Expected<Arg> nan_to_num(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (!is_floating(x->type.dtype)) return fresh(x);
  constexpr double kLargest = 3.4028234663852886e38;
  const auto constant = [&](std::string_view name, double fallback) {
    return number(build, call.real_or(name, fallback), DType::f32);
  };
  Value* numbers = build("where", {build("is_nan", {x}), constant("nan", 0), x});
  Value* zero = number(build, 0.0, DType::f32);
  Value* infinite = build("is_inf", {numbers});
  Value* bound =
      build("where", {build("less", {numbers, zero}), constant("neginf", -kLargest), constant("posinf", kLargest)});
  return fresh(build("where", {infinite, bound, numbers}));
}

Expected<Arg> clamp(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "min", "max"}, common);
  if (x[1] == nullptr && x[2] == nullptr) return fail("has neither a least nor a largest value");
  const bool floats = x[0] != nullptr && is_floating(x[0]->type.dtype);
  const auto numeric = [&](std::string_view name) {
    const Arg& bound = call.arg(name);
    return bound.is_none() || bound.as<double>() != nullptr || constant_integer(bound).has_value();
  };
  if (floats && numeric("min") && numeric("max")) {
    const double infinity = std::numeric_limits<double>::infinity();
    return fresh(
        build("clamp", {x[0]}, {{"min", call.real_or("min", -infinity)}, {"max", call.real_or("max", infinity)}}));
  }
  Value* y = x[1] != nullptr ? build("maximum", {x[0], x[1]}) : x[0];
  return fresh(x[2] != nullptr ? build("minimum", {y, x[2]}) : y);
}

// Decimals are kept by a power of ten.
Expected<Arg> round_decimals(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const std::int64_t decimals = call.integer("decimals");
  if (!is_floating(x->type.dtype)) return fresh(x);
  if (decimals == 0) return fresh(build("round", {x}));
  Value* factor = number(build, std::pow(10.0, static_cast<double>(std::abs(decimals))), DType::f32);
  const auto [up, down] = decimals > 0 ? std::pair("mul", "div") : std::pair("div", "mul");
  return fresh(build(down, {build("round", {build(up, {x, factor})}), factor}));
}

// sin(pi x) / (pi x), 1 at 0
Expected<Arg> sinc(Call& call) {
  Builder& build = call.build;
  Value* x = to_floating(call, "self");
  Value* angle = build("mul", {x, number(build, std::numbers::pi, DType::f32)});
  Value* zero = number(build, 0.0, DType::f32);
  Value* one = number(build, 1.0, DType::f32);
  Value* at_zero = build("equal", {x, zero});
  Value* divisor = build("where", {at_zero, one, angle});
  return fresh(build("where", {at_zero, one, build("div", {build("sin", {angle}), divisor})}));
}

Expected<Arg> unchanged(Call& call) {
  return call.arg("self");
}

}  // namespace

std::vector<Overload> pointwise_overloads() {
  std::vector<Overload> rows;
  const auto unary = [&](std::string_view schema, std::string_view row, Promotion promotion) {
    rows.push_back({.schema = schema, .row = row, .promotion = promotion});
  };
  unary("sin(Tensor self) -> Tensor", "sin", floating);
  unary("cos(Tensor self) -> Tensor", "cos", floating);
  unary("tan(Tensor self) -> Tensor", "tan", floating);
  unary("asin(Tensor self) -> Tensor", "asin", floating);
  unary("acos(Tensor self) -> Tensor", "acos", floating);
  unary("atan(Tensor self) -> Tensor", "atan", floating);
  unary("sinh(Tensor self) -> Tensor", "sinh", floating);
  unary("cosh(Tensor self) -> Tensor", "cosh", floating);
  unary("asinh(Tensor self) -> Tensor", "asinh", floating);
  unary("acosh(Tensor self) -> Tensor", "acosh", floating);
  unary("atanh(Tensor self) -> Tensor", "atanh", floating);
  unary("exp(Tensor self) -> Tensor", "exp", floating);
  unary("expm1(Tensor self) -> Tensor", "expm1", floating);
  unary("log(Tensor self) -> Tensor", "log", floating);
  unary("log1p(Tensor self) -> Tensor", "log1p", floating);
  unary("log2(Tensor self) -> Tensor", "log2", floating);
  unary("sqrt(Tensor self) -> Tensor", "sqrt", floating);
  unary("rsqrt(Tensor self) -> Tensor", "rsqrt", floating);
  unary("reciprocal(Tensor self) -> Tensor", "reciprocal", floating);
  unary("erf(Tensor self) -> Tensor", "erf", floating);
  unary("erfc(Tensor self) -> Tensor", "erfc", floating);
  unary("special_erf(Tensor self) -> Tensor", "erf", floating);
  unary("special_erfc(Tensor self) -> Tensor", "erfc", floating);
  unary("special_expm1(Tensor self) -> Tensor", "expm1", floating);
  unary("special_log1p(Tensor self) -> Tensor", "log1p", floating);
  unary("neg(Tensor self) -> Tensor", "neg", none);
  unary("abs(Tensor self) -> Tensor", "abs", none);
  unary("sign(Tensor self) -> Tensor", "sign", none);
  unary("sgn(Tensor self) -> Tensor", "sign", none);
  unary("bitwise_not(Tensor self) -> Tensor", "bitwise_not", none);
  unary("atan2(Tensor self, Tensor other) -> Tensor", "atan2", floating);
  unary("maximum(Tensor self, Tensor other) -> Tensor", "maximum", common);
  unary("minimum(Tensor self, Tensor other) -> Tensor", "minimum", common);
  unary("max.other(Tensor self, Tensor other) -> Tensor", "maximum", common);
  unary("min.other(Tensor self, Tensor other) -> Tensor", "minimum", common);
  unary("fmax(Tensor self, Tensor other) -> Tensor", "maximum", common);
  unary("fmin(Tensor self, Tensor other) -> Tensor", "minimum", common);
  unary("remainder.Tensor(Tensor self, Tensor other) -> Tensor", "remainder", common);
  unary("remainder.Scalar(Tensor self, Scalar other) -> Tensor", "remainder", common);
  unary("remainder.Scalar_Tensor(Scalar self, Tensor other) -> Tensor", "remainder", common);
  unary("fmod.Tensor(Tensor self, Tensor other) -> Tensor", "fmod", common);
  unary("fmod.Scalar(Tensor self, Scalar other) -> Tensor", "fmod", common);
  unary("bitwise_and.Tensor(Tensor self, Tensor other) -> Tensor", "bitwise_and", common);
  unary("bitwise_and.Scalar(Tensor self, Scalar other) -> Tensor", "bitwise_and", common);
  unary("bitwise_and.Scalar_Tensor(Scalar self, Tensor other) -> Tensor", "bitwise_and", common);
  unary("bitwise_or.Tensor(Tensor self, Tensor other) -> Tensor", "bitwise_or", common);
  unary("bitwise_or.Scalar(Tensor self, Scalar other) -> Tensor", "bitwise_or", common);
  unary("bitwise_or.Scalar_Tensor(Scalar self, Tensor other) -> Tensor", "bitwise_or", common);
  unary("bitwise_xor.Tensor(Tensor self, Tensor other) -> Tensor", "bitwise_xor", common);
  unary("bitwise_xor.Scalar(Tensor self, Scalar other) -> Tensor", "bitwise_xor", common);
  unary("bitwise_xor.Scalar_Tensor(Scalar self, Tensor other) -> Tensor", "bitwise_xor", common);
  unary("bitwise_left_shift.Tensor(Tensor self, Tensor other) -> Tensor", "shift_left", common);
  unary("bitwise_left_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor", "shift_left", common);
  unary("bitwise_left_shift.Scalar_Tensor(Scalar self, Tensor other) -> Tensor", "shift_left", common);
  unary("__lshift__.Tensor(Tensor self, Tensor other) -> Tensor", "shift_left", common);
  unary("__lshift__.Scalar(Tensor self, Scalar other) -> Tensor", "shift_left", common);
  unary("__rshift__.Tensor(Tensor self, Tensor other) -> Tensor", "shift_right", common);
  unary("__rshift__.Scalar(Tensor self, Scalar other) -> Tensor", "shift_right", common);
  unary("bitwise_right_shift.Tensor(Tensor self, Tensor other) -> Tensor", "shift_right", common);
  unary("bitwise_right_shift.Tensor_Scalar(Tensor self, Scalar other) -> Tensor", "shift_right", common);
  unary("bitwise_right_shift.Scalar_Tensor(Scalar self, Tensor other) -> Tensor", "shift_right", common);
  for (const auto& [schema, row] :
       {std::pair("floor(Tensor self) -> Tensor", "floor"), std::pair("ceil(Tensor self) -> Tensor", "ceil"),
        std::pair("trunc(Tensor self) -> Tensor", "trunc"), std::pair("round(Tensor self) -> Tensor", "round")})
    rows.push_back({.schema = schema, .build = rounding, .row = row});

  const std::vector<Overload> built = {
      {"add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor", add},
      {"add.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor", add},
      {"sub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor", subtract},
      {"sub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor", subtract},
      {"rsub.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor", reverse_subtract},
      {"rsub.Scalar(Tensor self, Scalar other, Scalar alpha=1) -> Tensor", reverse_subtract},
      {"mul.Tensor(Tensor self, Tensor other) -> Tensor", multiply},
      {"mul.Scalar(Tensor self, Scalar other) -> Tensor", multiply},
      {"div.Tensor(Tensor self, Tensor other) -> Tensor", divide},
      {"div.Scalar(Tensor self, Scalar other) -> Tensor", divide},
      {"div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor", divide},
      {"div.Scalar_mode(Tensor self, Scalar other, *, str? rounding_mode) -> Tensor", divide},
      {"floor_divide(Tensor self, Tensor other) -> Tensor", floor_division},
      {"floor_divide.Scalar(Tensor self, Scalar other) -> Tensor", floor_division},
      {"pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor", power},
      {"pow.Tensor_Tensor(Tensor self, Tensor exponent) -> Tensor", power},
      {"pow.Scalar(Scalar self, Tensor exponent) -> Tensor", power},
      {"float_power.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor", power},
      {"square(Tensor self) -> Tensor", square},
      {"exp2(Tensor self) -> Tensor", exp2},
      {"special_exp2(Tensor self) -> Tensor", exp2},
      {"log10(Tensor self) -> Tensor", log10},
      {"frac(Tensor self) -> Tensor", fraction},
      {"logit(Tensor self, float? eps=None) -> Tensor", logit},
      {"special_logit(Tensor self, float? eps=None) -> Tensor", logit},
      {"hypot(Tensor self, Tensor other) -> Tensor", hypot},
      {"xlogy.Tensor(Tensor self, Tensor other) -> Tensor", xlogy},
      {"xlogy.Scalar_Other(Tensor self, Scalar other) -> Tensor", xlogy},
      {"xlogy.Scalar_Self(Scalar self, Tensor other) -> Tensor", xlogy},
      {"logaddexp(Tensor self, Tensor other) -> Tensor", [](Call& call) { return log_add_exp(call, std::numbers::e); }},
      {"logaddexp2(Tensor self, Tensor other) -> Tensor", [](Call& call) { return log_add_exp(call, 2); }},
      {"copysign.Tensor(Tensor self, Tensor other) -> Tensor", copysign},
      {"copysign.Scalar(Tensor self, Scalar other) -> Tensor", copysign},
      {"addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
       [](Call& call) { return add_product(call, "mul"); }},
      {"addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
       [](Call& call) { return add_product(call, "div"); }},
      {"lerp.Scalar(Tensor self, Tensor end, Scalar weight) -> Tensor", lerp},
      {"lerp.Tensor(Tensor self, Tensor end, Tensor weight) -> Tensor", lerp},
      {"nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor", nan_to_num},
      {"clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor", clamp},
      {"clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor", clamp},
      {"clamp_min(Tensor self, Scalar min) -> Tensor", clamp},
      {"clamp_min.Tensor(Tensor self, Tensor min) -> Tensor", clamp},
      {"clamp_max(Tensor self, Scalar max) -> Tensor", clamp},
      {"clamp_max.Tensor(Tensor self, Tensor max) -> Tensor", clamp},
      {"round.decimals(Tensor self, *, int decimals) -> Tensor", round_decimals},
      {"sinc(Tensor self) -> Tensor", sinc},
      {"deg2rad(Tensor self) -> Tensor", [](Call& call) { return scaled(call, std::numbers::pi / 180); }},
      {"rad2deg(Tensor self) -> Tensor", [](Call& call) { return scaled(call, 180 / std::numbers::pi); }},
      {"positive(Tensor self) -> Tensor", unchanged},
      {"real(Tensor self) -> Tensor", unchanged},
      {"conj(Tensor self) -> Tensor", unchanged},
      {"_conj(Tensor self) -> Tensor", unchanged},
      {"resolve_conj(Tensor self) -> Tensor", unchanged},
      {"resolve_neg(Tensor self) -> Tensor", unchanged},
  };
  rows.insert(rows.end(), built.begin(), built.end());
  return rows;
}

}  // namespace taper::aten
