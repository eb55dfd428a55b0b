#include "ops/formula.h"

#include <array>

namespace taper {

Expr Expr::number(double x) const {
  const auto bytes = std::as_bytes(std::span(&x, 1));
  return {build, build->constant(converted(make_tensor(DType::f64, {}, {bytes.begin(), bytes.end()}), dtype()))};
}

Expr apply(std::string_view op, const Expr& a, Attrs attrs) {
  return {a.build, (*a.build)(op, {a.value}, std::move(attrs))};
}

Expr apply(std::string_view op, const Expr& a, const Expr& b) {
  return {a.build, (*a.build)(op, {a.value, b.value})};
}

Expr where(const Expr& condition, const Expr& a, const Expr& b) {
  return {a.build, (*a.build)("where", {condition.value, a.value, b.value})};
}

Expr cast(const Expr& a, DType dtype) {
  return a.dtype() == dtype ? a : apply("cast", a, Attrs{{"to", dtype}});
}

Expr polynomial(const Expr& x, std::span<const double> coefficients) {
  Expr sum = x.number(coefficients.back());
  for (std::size_t i = coefficients.size() - 1; i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

// With s = x / (x + 2) it is 2 artanh s = s p(s^2), p fitted for s^2 <= 1/9 with a relative error below 1e-9.
Expr log1p_near_zero(const Expr& x) {
  constexpr double kCoefficients[] = {2.0, 0.66666680574, 0.39998710156, 0.28620207310, 0.2139856070, 0.2439390719};
  const Expr s = x / (x + 2);
  return s * polynomial(s * s, kCoefficients);
}

std::vector<Value*> call_as(DType dtype, Builder& build, const Node& node, std::span<Value* const> operands) {
  std::vector<Value*> cast_operands;
  for (Value* operand : operands)
    cast_operands.push_back(operand == nullptr ? nullptr : cast({&build, operand}, dtype).value);
  std::vector<Value*> results = build.call(node.op, std::move(cast_operands), node.attrs);
  for (std::size_t i = 0; i < node.results.size(); ++i)
    results[i] = cast({&build, results[i]}, node.results[i]->type.dtype).value;
  return results;
}

}  // namespace taper
