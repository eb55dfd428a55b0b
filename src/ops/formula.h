// Expansions written as formulas: `x / (apply("abs", x) + 1)`.
#pragma once

#include <type_traits>
#include <vector>

#include "ops/builder.h"
#include "ops/op.h"

namespace taper {

// A value of a graph under construction. Numbers beside it become constants of its dtype.
struct Expr {
  Builder* build;
  Value* value;

  Expr number(double x) const;
  DType dtype() const { return value == nullptr ? DType::f32 : value->type.dtype; }
};

Expr apply(std::string_view op, const Expr& a, Attrs attrs = {});
Expr apply(std::string_view op, const Expr& a, const Expr& b);
inline Expr apply(std::string_view op, const Expr& a, double b) {
  return apply(op, a, a.number(b));
}
// a where the condition holds, b elsewhere.
Expr where(const Expr& condition, const Expr& a, const Expr& b);
inline Expr where(const Expr& condition, const Expr& a, double b) {
  return where(condition, a, a.number(b));
}
// The same if it has that dtype already.
Expr cast(const Expr& a, DType dtype);

inline Expr operator+(const Expr& a, const Expr& b) {
  return apply("add", a, b);
}
inline Expr operator-(const Expr& a, const Expr& b) {
  return apply("sub", a, b);
}
inline Expr operator*(const Expr& a, const Expr& b) {
  return apply("mul", a, b);
}
inline Expr operator/(const Expr& a, const Expr& b) {
  return apply("div", a, b);
}
inline Expr operator+(const Expr& a, double b) {
  return a + a.number(b);
}
inline Expr operator-(const Expr& a, double b) {
  return a - a.number(b);
}
inline Expr operator*(const Expr& a, double b) {
  return a * a.number(b);
}
inline Expr operator/(const Expr& a, double b) {
  return a / a.number(b);
}
inline Expr operator-(double a, const Expr& b) {
  return b.number(a) - b;
}
inline Expr operator/(double a, const Expr& b) {
  return b.number(a) / b;
}
inline Expr operator-(const Expr& a) {
  return apply("neg", a);
}

// c[0] + c[1] x + c[2] x^2 + ..., by Horner's rule.
Expr polynomial(const Expr& x, std::span<const double> coefficients);

// ln(1 + x) for -1/2 <= x <= 1, to the last digits also near 0, where kernels of the logarithm are not.
Expr log1p_near_zero(const Expr& x);

// The expansion that a formula is: F(x), F(x, attrs), F(a, b) or F(a, b, attrs).
template <auto F>
std::vector<Value*> expand_as(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Expr a{&build, operands[0]};
  using Function = decltype(F);
  if constexpr (std::is_invocable_v<Function, Expr>)
    return {F(a).value};
  else if constexpr (std::is_invocable_v<Function, Expr, const Attrs&>)
    return {F(a, node.attrs).value};
  else if constexpr (std::is_invocable_v<Function, Expr, Expr>)
    return {F(a, Expr{&build, operands[1]}).value};
  else
    return {F(a, Expr{&build, operands[1]}, node.attrs).value};
}

// The call with its operands as `dtype`, and its results cast back to the dtypes they have.
std::vector<Value*> call_as(DType dtype, Builder& build, const Node& node, std::span<Value* const> operands);
// That for calls on one dtype, others as they are.
template <DType from, DType to>
std::vector<Value*> expand_cast(Builder& build, const Node& node, std::span<Value* const> operands) {
  const DType dtype = node.operands[0]->type.dtype;
  return call_as(dtype == from ? to : dtype, build, node, operands);
}

}  // namespace taper
