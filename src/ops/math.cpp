// Mathematical functions of single elements.
#include <array>
#include <cmath>
#include <numbers>

#include "ops/families.h"
#include "ops/pointwise.h"

namespace taper {
namespace {

using tflite::BuiltinOperator;

constexpr double kPi = std::numbers::pi;
constexpr double kLn2 = std::numbers::ln2;

// A function of floating numbers: what it is, what each target calls it, and what it is elsewhere.
struct Function {
  std::string_view name, doc;
  EvalFn eval;
  std::string_view onnx = {}, tensorflow = {};
  std::optional<BuiltinOperator> builtin = std::nullopt;
  std::string_view since = {};
  ExpandFn expand = nullptr;
  double low = -2, high = 2;  // where the examples lie
};

Op function_row(const Function& f) {
  Op op = spelled(unary(f.name, f.doc, f.eval), f.onnx, f.tensorflow, f.builtin, f.since);
  op.infer = infer_floating;
  op.expand = f.expand;
  op.examples = {{{f32({2, 3, 4})}, {}, f.low, f.high}};
  return op;
}

// ------------------------------------------------------------------------------------------------------------ formulas

// Targets without inverse functions have the angle of a point.
Expr asin_of(Expr x) {
  return apply("atan2", x, apply("sqrt", (1.0 - x) * (x + 1)));
}
Expr acos_of(Expr x) {
  return apply("atan2", apply("sqrt", (1.0 - x) * (x + 1)), x);
}

// Near 0, ln(1 + x) would be off by the rounding of 1 + x; and XNNPACK's logarithm has an error of 1e-7 there, however
// small it is itself.
Expr log1p_of(Expr x) {
  const Expr near = log1p_near_zero(apply("clamp", x, Attrs{{"min", -0.5}, {"max", 1.0}}));
  return where(apply("less", apply("abs", x - 0.25), 0.75), near, apply("log", x + 1));
}

// 1 - erf x cancels where erf x is near 1, which t exp(-x^2 + p(t)) with t = 1 / (1 + |x| / 2) does not (Numerical
// Recipes, 6.2: a fractional error below 1.2e-7 everywhere); on the other side it is 2 less that.
Expr erfc_of(Expr x) {
  constexpr double kCoefficients[] = {-1.26551223, 1.00002368,  0.37409196, 0.09678418,  -0.18628806,
                                      0.27886807,  -1.13520398, 1.48851587, -0.82215223, 0.17087277};
  const Expr size = apply("abs", x);
  const Expr t = 1.0 / (size * 0.5 + 1);
  const Expr tail = t * apply("exp", polynomial(t, kCoefficients) - size * size);
  return where(apply("less", x, 0.0), 2.0 - tail, tail);
}

// exp(x) - 1 cancels near 0, where 2 t / (1 - t) with t = tanh(x / 2) does not.
Expr expm1_of(Expr x) {
  const Expr t = apply("tanh", apply("maximum", apply("minimum", x, 1.0), -1.0) * 0.5);
  return where(apply("less", apply("abs", x), 0.5), t * 2 / (1.0 - t), apply("exp", x) - 1);
}

// The same for (exp(x) - exp(-x)) / 2 and 2 t / (1 - t^2).
Expr sinh_of(Expr x) {
  const Expr t = apply("tanh", apply("maximum", apply("minimum", x, 1.0), -1.0) * 0.5);
  const Expr far = (apply("exp", x) - apply("exp", -x)) * 0.5;
  return where(apply("less", apply("abs", x), 1.0), t * 2 / (1.0 - t * t), far);
}
Expr cosh_of(Expr x) {
  return (apply("exp", x) + apply("exp", -x)) * 0.5;
}

// sign(x) ln(|x| + sqrt(x^2 + 1)), without the cancellation near 0 and without x^2 where it would overflow.
Expr asinh_of(Expr x) {
  const Expr size = apply("abs", x);
  const Expr inner = apply("minimum", size, 1e8);
  const Expr near = apply("log1p", inner + inner * inner / (apply("sqrt", inner * inner + 1) + 1));
  return apply("sign", x) * where(apply("less", size, 1e8), near, apply("log", size) + kLn2);
}
Expr acosh_of(Expr x) {
  const Expr over = x - 1;
  return apply("log1p", over + apply("sqrt", over * (x + 1)));
}
Expr atanh_of(Expr x) {
  return apply("log1p", x * 2 / (1.0 - x)) * 0.5;
}

Expr trunc_of(Expr x) {
  return apply("sign", x) * apply("floor", apply("abs", x));
}

// Below 0, or the zero that has a sign: its inverse is below 0.
Expr has_minus(Expr x) {
  return apply("logical_or", apply("less", x, 0.0), apply("less", 1.0 / x, 0.0));
}

// The smaller coordinate over the larger one is at most 1; the rest is symmetry.
Expr atan2_of(Expr y, Expr x) {
  const Expr height = apply("abs", y), width = apply("abs", x);
  const Expr larger = apply("maximum", apply("maximum", height, width), 1e-37);
  const Expr flat = apply("atan", apply("minimum", height, width) / larger);
  const Expr upper = where(apply("greater", height, width), kPi / 2 - flat, flat);
  const Expr half = where(has_minus(x), kPi - upper, upper);
  return where(has_minus(y), -half, half);
}

double sign(double x) {
  return x > 0 ? 1 : x < 0 ? -1 : 0;
}

// ---------------------------------------------------------------------------------------------------------------- rows

#define TAPER_FUNCTION(expression) eval_unary<[](double x) { return expression; }>

const std::vector<Function>& functions() {
  static const std::vector<Function> rows = {
      {"reciprocal",
       "1 / x",
       TAPER_FUNCTION(1 / x),
       "Reciprocal",
       "Reciprocal",
       {},
       {},
       expand_as<[](Expr x) { return 1.0 / x; }>,
       0.5,
       4},
      {"sin", "sin x", TAPER_FUNCTION(std::sin(x)), "Sin", "Sin", BuiltinOperator::SIN, "1.9.0"},
      {"cos", "cos x", TAPER_FUNCTION(std::cos(x)), "Cos", "Cos", BuiltinOperator::COS, "1.14.0"},
      {"tan",
       "tan x",
       TAPER_FUNCTION(std::tan(x)),
       "Tan",
       "Tan",
       {},
       {},
       expand_as<[](Expr x) { return apply("sin", x) / apply("cos", x); }>,
       -1.2,
       1.2},
      {"asin",
       "the angle within [-pi/2, pi/2] whose sine is x",
       TAPER_FUNCTION(std::asin(x)),
       "Asin",
       "Asin",
       {},
       {},
       expand_as<asin_of>,
       -0.99,  // beyond it the last bit of x is many of the angle
       0.99},
      {"acos",
       "the angle within [0, pi] whose cosine is x",
       TAPER_FUNCTION(std::acos(x)),
       "Acos",
       "Acos",
       {},
       {},
       expand_as<acos_of>,
       -0.99,  // beyond it the last bit of x is many of the angle
       0.99},
      {"atan",
       "the angle within (-pi/2, pi/2) whose tangent is x",
       TAPER_FUNCTION(std::atan(x)),
       "Atan",
       "Atan",
       {},
       {},
       expand_as<[](Expr x) { return apply("atan2", x, apply("zeros_like", x) + 1); }>},
      {"sinh", "(exp(x) - exp(-x)) / 2", TAPER_FUNCTION(std::sinh(x)), "Sinh", "Sinh", {}, {}, expand_as<sinh_of>},
      {"cosh", "(exp(x) + exp(-x)) / 2", TAPER_FUNCTION(std::cosh(x)), "Cosh", "Cosh", {}, {}, expand_as<cosh_of>},
      {"asinh", "ln(x + sqrt(x^2 + 1))", TAPER_FUNCTION(std::asinh(x)), "Asinh", "Asinh", {}, {}, expand_as<asinh_of>},
      {"acosh",
       "ln(x + sqrt(x^2 - 1))",
       TAPER_FUNCTION(std::acosh(x)),
       "Acosh",
       "Acosh",
       {},
       {},
       expand_as<acosh_of>,
       1.1,
       5},
      {"atanh",
       "ln((1 + x) / (1 - x)) / 2",
       TAPER_FUNCTION(std::atanh(x)),
       "Atanh",
       "Atanh",
       {},
       {},
       expand_as<atanh_of>,
       -0.9,
       0.9},
      {"log1p",
       "ln(1 + x), also near 0",
       TAPER_FUNCTION(std::log1p(x)),
       {},
       "Log1p",
       {},
       {},
       expand_as<log1p_of>,
       -0.9,
       4},
      {"expm1", "exp(x) - 1, also near 0", TAPER_FUNCTION(std::expm1(x)), {}, "Expm1", {}, {}, expand_as<expm1_of>},
      {"log2",
       "log2 x",
       TAPER_FUNCTION(std::log2(x)),
       {},
       {},
       {},
       {},
       expand_as<[](Expr x) { return apply("log", x) * (1 / kLn2); }>,
       0.1,
       4},
      {"erfc", "1 - erf x", TAPER_FUNCTION(std::erfc(x)), {}, "Erfc", {}, {}, expand_as<erfc_of>},
  };
  return rows;
}

// Functions that give integers, which leave integers as they are.
Op rounding(Op op, ExpandFn expand) {
  op.onnx.fits = op.tflite.fits = op.tensorflow.fits = takes_floats;
  op.expand = expand;
  op.examples = {{{f32({2, 3, 4})}, {}, -4, 4}, {{i64({2, 3})}, {}, -4, 4}};
  return op;
}

std::vector<Value*> expand_integers(Builder& build, const Node& node, std::span<Value* const> operands) {
  return {takes_floats(node) ? build(node.op, {operands[0]}) : operands[0]};
}

Expected<std::vector<Type>> infer_predicate(const InferCall& call) {
  TAPER_TRY(infer_floating(call));
  return std::vector{Type{DType::boolean, call.shape(0)}};
}

Op predicate(Op op, ExpandFn expand) {
  op.infer = infer_predicate;
  op.expand = expand;
  return op;
}

}  // namespace

std::vector<Op> math_ops() {
  std::vector<Op> rows;
  const auto row = [&rows](Op op) { rows.push_back(std::move(op)); };
  for (const Function& function : functions()) row(function_row(function));

  row(rounding(spelled(unary("ceil", "the smallest integer >= x", TAPER_FUNCTION(std::ceil(x))), "Ceil", "Ceil",
                       BuiltinOperator::CEIL, "1.14.0"),
               expand_integers));
  row(rounding(spelled(unary("floor", "the largest integer <= x", TAPER_FUNCTION(std::floor(x))), "Floor", "Floor",
                       BuiltinOperator::FLOOR, "1.9.0"),
               expand_integers));
  row(rounding(spelled(unary("round", "the nearest integer, the even one of two", TAPER_FUNCTION(std::nearbyint(x))),
                       "Round", "Round", BuiltinOperator::ROUND, "1.14.0"),
               expand_integers));
  row(rounding(unary("trunc", "x without its fraction", TAPER_FUNCTION(std::trunc(x))),
               expand_as<[](Expr x) { return is_floating(x.dtype()) ? trunc_of(x) : x; }>));

  Op sign_row = spelled(unary("sign", "-1, 0 or 1", TAPER_FUNCTION(sign(x))), "Sign", "Sign", BuiltinOperator::SIGN,
                        "2.11.0", tflite_options<tflite::SignOptionsT>());
  sign_row.tensorflow.dtypes = {DType::f64, DType::f32, DType::f16, DType::i64, DType::i32, DType::i16, DType::i8};
  sign_row.tflite.dtypes = {{DType::f32, {1, "2.11.0"}}, {DType::i32, {2, "2.12.0"}}};
  sign_row.expand = expand_as<[](Expr x) {
    return cast(apply("greater", x, 0.0), x.dtype()) - cast(apply("less", x, 0.0), x.dtype());
  }>;
  sign_row.examples = {{{f32({2, 3, 4})}}, example_of({i64({2, 3})}, -3, 3), example_of({i32({2, 3})}, -3, 3)};
  row(std::move(sign_row));

  row(predicate(
      spelled(unary("is_nan", "whether x is no number", eval_predicate<[](double x) { return std::isnan(x); }>),
              "IsNaN", "IsNan"),
      expand_as<[](Expr x) { return apply("not_equal", x, x); }>));
  Op is_inf = predicate(
      spelled(unary("is_inf", "whether x is infinite", eval_predicate<[](double x) { return std::isinf(x); }>), "IsInf",
              "IsInf"),
      expand_as<[](Expr x) { return apply("equal", apply("abs", x), std::numeric_limits<double>::infinity()); }>);
  is_inf.onnx.dtypes = {DType::f64, DType::f32};
  row(std::move(is_inf));

  Op atan2 = spelled(binary("atan2", "the angle of the point (b, a) within [-pi, pi]",
                            eval_binary<[](double a, double b) { return std::atan2(a, b); }>),
                     "", "Atan2", BuiltinOperator::ATAN2, "2.10.0", tflite_options<tflite::ATan2OptionsT>());
  atan2.expand = expand_as<atan2_of>;
  // TFLite's kernel does not broadcast.
  atan2.tflite.fits = [](const Node& node) { return node.operands[0]->type.shape == node.operands[1]->type.shape; };
  atan2.expand_tflite =
      expand_as<[](Expr y, Expr x) { return apply("atan2", y + apply("zeros_like", x), x + apply("zeros_like", y)); }>;
  row(std::move(atan2));
  return rows;
}

#undef TAPER_FUNCTION

}  // namespace taper
