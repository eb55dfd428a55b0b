// Functions of mathematics that no target has: formulas good to float32.
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numbers>
#include <vector>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

using std::numbers::pi;

// Arithmetic on float32 values, read as its formula.
class Formula {
 public:
  explicit Formula(Builder& build) : build_(build) {}

  Value* real(double value) { return number(build_, value, DType::f32); }
  Value* of(std::string_view row, Value* x) { return build_(row, {x}); }
  Value* add(Value* a, Value* b) { return build_("add", {a, b}); }
  Value* add(Value* a, double b) { return add(a, real(b)); }
  Value* sub(Value* a, Value* b) { return build_("sub", {a, b}); }
  Value* sub(double a, Value* b) { return sub(real(a), b); }
  Value* mul(Value* a, Value* b) { return build_("mul", {a, b}); }
  Value* mul(Value* a, double b) { return mul(a, real(b)); }
  Value* div(Value* a, Value* b) { return build_("div", {a, b}); }
  Value* div(double a, Value* b) { return div(real(a), b); }
  Value* at_least(Value* x, double least) { return build_("maximum", {x, real(least)}); }
  Value* less(Value* a, double b) { return build_("less", {a, real(b)}); }
  Value* equal(Value* a, double b) { return build_("equal", {a, real(b)}); }
  Value* where(Value* condition, Value* a, Value* b) { return build_("where", {condition, a, b}); }

  // c0 + x (c1 + x (c2 + ...))
  Value* polynomial(Value* x, std::initializer_list<double> coefficients) {
    Value* y = nullptr;
    for (auto c = std::rbegin(coefficients); c != std::rend(coefficients); ++c)
      y = y == nullptr ? real(*c) : add(mul(y, x), *c);
    return y;
  }

 private:
  Builder& build_;
};

Value* operand(Call& call, std::size_t i = 0) {
  return call.promoted({call.schema.parameters[i].name}, Promotion::floating)[0];
}

using Function = Value* (*)(Formula& f, Value* x);
template <Function function>
Expected<Arg> elementwise(Call& call) {
  Formula f(call.build);
  return fresh(function(f, operand(call)));
}

// --------------------------------------------------------------------------------------------------------------- gamma

// The distance of x from the nearest integer, for functions that repeat.
Value* beside_integer(Formula& f, Value* x) {
  return f.sub(x, f.of("round", x));
}

// Lanczos' approximation for z >= 1/2: error below 2e-10.
Value* log_gamma_of_positive(Formula& f, Value* z) {
  Value* shifted = f.add(z, 5.5);
  Value* series = f.real(1.000000000190015);
  double shift = 1;
  for (const double c : {76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155,
                         0.1208650973866179e-2, -0.5395239384953e-5})
    series = f.add(series, f.div(c, f.add(z, shift++)));
  Value* log = f.of("log", f.div(f.mul(series, std::sqrt(2 * pi)), z));
  return f.add(f.sub(f.mul(f.add(z, 0.5), f.of("log", shifted)), shifted), log);
}

// ln |gamma(x)|; below 1/2 by gamma(x) gamma(1 - x) = pi / sin(pi x)
Value* log_gamma(Formula& f, Value* x) {
  Value* low = f.less(x, 0.5);
  Value* positive = log_gamma_of_positive(f, f.where(low, f.sub(1, x), x));
  Value* sine = f.of("abs", f.of("sin", f.mul(beside_integer(f, x), pi)));
  return f.where(low, f.sub(f.of("log", f.div(pi, sine)), positive), positive);
}

// d ln gamma / dx: its expansion at infinity, six steps of psi(z) = psi(z + 1) - 1 / z, and below 1/2
// psi(x) = psi(1 - x) - pi / tan(pi x).
Value* digamma(Formula& f, Value* x) {
  constexpr int kSteps = 6;
  Value* low = f.less(x, 0.5);
  Value* z = f.where(low, f.sub(1, x), x);
  Value* far = f.add(z, kSteps);
  Value* square = f.div(1, f.mul(far, far));
  Value* tail = f.mul(square, f.polynomial(square, {1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240}));
  Value* y = f.sub(f.sub(f.of("log", far), f.div(0.5, far)), tail);
  for (int k = 0; k < kSteps; ++k) y = f.sub(y, f.div(1, f.add(z, k)));
  Value* beside = beside_integer(f, x);
  Value* reflected = f.sub(y, f.div(pi, f.of("tan", f.mul(beside, pi))));
  // There is no value at negative integers.
  reflected = f.where(f.equal(beside, 0), f.where(f.less(x, 0), f.real(std::nan("")), reflected), reflected);
  return f.where(low, reflected, y);
}

// d^n cot(pi x) / dx^n as a polynomial in c = cot(pi x): p' is -pi (1 + c^2) dp/dc.
std::vector<double> cotangent_derivative(std::int64_t n) {
  std::vector<double> p = {0, 1};
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<double> next(p.size() + 1, 0);
    for (std::size_t k = 1; k < p.size(); ++k)
      for (const std::size_t power : {k - 1, k + 1}) next[power] -= pi * static_cast<double>(k) * p[k];
    p = std::move(next);
  }
  return p;
}

// The n-th derivative of digamma, (-1)^(n + 1) n! sum 1 / (x + k)^(n + 1): the first terms, and what Euler and
// Maclaurin say of the rest. Below 1/2 psi_n(x) = (-1)^n psi_n(1 - x) - pi d^n cot(pi x) / dx^n.
Expected<Arg> polygamma(Call& call) {
  constexpr std::int64_t kMost = 8;
  constexpr int kTerms = 8;
  const std::int64_t n = call.integer("n");
  if (n < 0 || n > kMost) return fail("derivative {} of digamma, 0 to {} are read", n, kMost);
  Formula f(call.build);
  Value* x = operand(call, 1);
  if (n == 0) return fresh(digamma(f, x));
  const auto s = static_cast<double>(n + 1);
  const auto power = [&](Value* base) { return call.build("pow", {base, f.real(-s)}); };
  Value* low = f.less(x, 0.5);
  Value* z = f.where(low, f.sub(1, x), x);
  Value* sum = power(z);
  for (int k = 1; k < kTerms; ++k) sum = f.add(sum, power(f.add(z, k)));
  Value* far = f.add(z, kTerms);
  Value* square = f.div(1, f.mul(far, far));
  // 1 / (s - 1) + 1 / (2 a) + s / (12 a^2) - ..., times a^(1 - s)
  const double second = -s * (s + 1) * (s + 2) / 720, third = second * (s + 3) * (s + 4) * -720 / 30240;
  Value* tail =
      f.add(f.mul(far, f.add(f.mul(square, f.polynomial(square, {s / 12, second, third})), 1 / (s - 1))), 0.5);
  sum = f.add(sum, f.mul(power(far), tail));
  const double sign = n % 2 == 0 ? -1 : 1;
  Value* y = f.mul(sum, sign * std::tgamma(s));
  Value* cotangent = f.div(1, f.of("tan", f.mul(beside_integer(f, x), pi)));
  const std::vector<double> derivative = cotangent_derivative(n);
  Value* turned = nullptr;
  for (std::size_t k = derivative.size(); k-- > 0;)
    turned = turned == nullptr ? f.real(derivative[k]) : f.add(f.mul(turned, cotangent), derivative[k]);
  return fresh(f.where(low, f.sub(f.mul(y, -sign), f.mul(turned, pi)), y));
}

// The sum of ln gamma(x - j / 2) for j < p, and p (p - 1) / 4 ln pi
Expected<Arg> log_gamma_of_many(Call& call) {
  constexpr std::int64_t kMost = 64;
  const std::int64_t p = call.integer("p");
  if (p < 1 || p > kMost) return fail("p is {}, expected 1 to {}", p, kMost);
  Formula f(call.build);
  Value* x = operand(call);
  const auto terms = static_cast<double>(p);
  Value* y = f.real(terms * (terms - 1) / 4 * std::log(pi));
  for (std::int64_t j = 0; j < p; ++j) y = f.add(log_gamma(f, f.add(x, -0.5 * static_cast<double>(j))), y);
  return fresh(y);
}

// ---------------------------------------------------------------------------------------------------- the error
// function

// x with erf of it being y, by 1 - y^2 (M. Giles, Approximating the erfinv function): error below 4e-7.
Value* inverse_error_of(Formula& f, Value* y, Value* rest) {
  Value* w = f.of("neg", f.of("log", rest));
  Value* middle = f.polynomial(f.add(w, -2.5), {1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087,
                                                -4.39150654e-06, -3.5233877e-06, 3.43273939e-07, 2.81022636e-08});
  Value* tail = f.polynomial(f.add(f.of("sqrt", f.at_least(w, 5)), -3),
                             {2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844,
                              0.00134934322, 0.000100950558, -0.000200214257});
  Value* x = f.mul(f.where(f.less(w, 5), middle, tail), y);
  Value* infinite = f.mul(y, std::numeric_limits<double>::infinity());
  Value* known = f.where(f.equal(rest, 0), infinite, x);
  return f.where(f.less(rest, 0), f.real(std::nan("")), known);
}

Value* inverse_error(Formula& f, Value* y) {
  return inverse_error_of(f, y, f.mul(f.sub(1, y), f.add(y, 1)));
}

// The normal distribution's quantile: sqrt(2) erfinv(2 p - 1), where 1 - (2 p - 1)^2 = 4 p (1 - p)
Value* normal_quantile(Formula& f, Value* p) {
  Value* rest = f.mul(f.mul(p, f.sub(1, p)), 4);
  return f.mul(inverse_error_of(f, f.add(f.mul(p, 2), -1), rest), std::numbers::sqrt2);
}

Value* normal_probability(Formula& f, Value* x) {
  return f.mul(f.of("erfc", f.mul(x, -1 / std::numbers::sqrt2)), 0.5);
}

// ln(exp(x^2) erfc(x)) for x >= 0 (W. Press et al., Numerical Recipes): error below 1.2e-7.
Value* log_scaled_error_of_positive(Formula& f, Value* x) {
  Value* t = f.div(1, f.add(f.mul(x, 0.5), 1));
  return f.add(f.of("log", t), f.polynomial(t, {-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806,
                                                0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277}));
}

// exp(x^2) erfc(x), below 0 2 exp(x^2) less that of -x
Value* scaled_error(Formula& f, Value* x) {
  Value* size = f.of("abs", x);
  Value* positive = f.of("exp", log_scaled_error_of_positive(f, size));
  Value* negative = f.sub(f.mul(f.of("exp", f.mul(x, x)), 2), positive);
  return f.where(f.less(x, 0), negative, positive);
}

// ln of normal_probability, whose own value is 0 far below 0
Value* log_normal_probability(Formula& f, Value* x) {
  Value* low = f.less(x, -1);
  Value* size = f.at_least(f.mul(x, -1 / std::numbers::sqrt2), 0);
  Value* far = f.sub(f.add(log_scaled_error_of_positive(f, size), -std::numbers::ln2), f.mul(size, size));
  Value* near = f.of("log1p", f.mul(f.of("erfc", f.mul(f.where(low, f.real(0), x), 1 / std::numbers::sqrt2)), -0.5));
  return f.where(low, far, near);
}

// ---------------------------------------------------------------------------------------------------------------
// Bessel

constexpr double kNear = 3.75;  // where the expansions of M. Abramowitz and I. Stegun, 9.8, meet

// I_0, or exp(-|x|) I_0
template <bool scaled>
Value* bessel_0(Formula& f, Value* x) {
  Value* size = f.of("abs", x);
  Value* ratio = f.mul(x, 1 / kNear);
  Value* near =
      f.polynomial(f.mul(ratio, ratio), {1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813});
  Value* large = f.at_least(size, kNear);
  Value* far = f.div(f.polynomial(f.div(kNear, large), {0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281,
                                                        -0.02057706, 0.02635537, -0.01647633, 0.00392377}),
                     f.of("sqrt", large));
  if (scaled)
    near = f.mul(near, f.of("exp", f.of("neg", size)));
  else
    far = f.mul(far, f.of("exp", large));
  return f.where(f.less(size, kNear), near, far);
}

// I_1, or exp(-|x|) I_1
template <bool scaled>
Value* bessel_1(Formula& f, Value* x) {
  Value* size = f.of("abs", x);
  Value* ratio = f.mul(x, 1 / kNear);
  Value* near = f.mul(x, f.polynomial(f.mul(ratio, ratio),
                                      {0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411}));
  Value* large = f.at_least(size, kNear);
  Value* far = f.div(f.polynomial(f.div(kNear, large), {0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555,
                                                        0.02282967, -0.02895312, 0.01787654, -0.00420059}),
                     f.of("sqrt", large));
  far = f.mul(far, f.of("sign", x));
  if (scaled)
    near = f.mul(near, f.of("exp", f.of("neg", size)));
  else
    far = f.mul(far, f.of("exp", large));
  return f.where(f.less(size, kNear), near, far);
}

// ------------------------------------------------------------------------------------------------------- two operands

// x ln(1 + y), 0 where x is 0
Expected<Arg> x_log_1p_y(Call& call) {
  Formula f(call.build);
  const auto x = call.promoted({"self", "other"}, Promotion::floating);
  return fresh(f.where(f.equal(x[0], 0), f.real(0), f.mul(x[0], f.of("log1p", x[1]))));
}

// x 2^n
Expected<Arg> by_power_of_two(Call& call) {
  Formula f(call.build);
  const auto x = call.promoted({"self", "other"}, Promotion::floating);
  return fresh(f.mul(x[0], call.build("pow", {f.real(2), x[1]})));
}

}  // namespace

std::vector<Overload> special_overloads() {
  return {
      {"lgamma(Tensor self) -> Tensor", elementwise<log_gamma>},
      {"digamma(Tensor self) -> Tensor", elementwise<digamma>},
      {"polygamma(int n, Tensor self) -> Tensor", polygamma},
      {"mvlgamma(Tensor self, int p) -> Tensor", log_gamma_of_many},
      {"erfinv(Tensor self) -> Tensor", elementwise<inverse_error>},
      {"special_ndtri(Tensor self) -> Tensor", elementwise<normal_quantile>},
      {"special_ndtr(Tensor self) -> Tensor", elementwise<normal_probability>},
      {"special_log_ndtr(Tensor self) -> Tensor", elementwise<log_normal_probability>},
      {"special_erfcx(Tensor self) -> Tensor", elementwise<scaled_error>},
      {"i0(Tensor self) -> Tensor", elementwise<bessel_0<false>>},
      {"special_i0e(Tensor self) -> Tensor", elementwise<bessel_0<true>>},
      {"special_i1(Tensor self) -> Tensor", elementwise<bessel_1<false>>},
      {"special_i1e(Tensor self) -> Tensor", elementwise<bessel_1<true>>},
      {"special_xlog1py(Tensor self, Tensor other) -> Tensor", x_log_1p_y},
      {"special_xlog1py.self_scalar(Scalar self, Tensor other) -> Tensor", x_log_1p_y},
      {"special_xlog1py.other_scalar(Tensor self, Scalar other) -> Tensor", x_log_1p_y},
      {"ldexp.Tensor(Tensor self, Tensor other) -> Tensor", by_power_of_two},
  };
}

}  // namespace taper::aten
