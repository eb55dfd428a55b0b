#include "ops/unsigned.h"

#include <algorithm>
#include <array>

#include "ops/formula.h"
#include "ops/table.h"

namespace taper {
namespace {

constexpr double kSign = -9223372036854775808.0;  // -2^63, the bit that is the sign of int64

using SignedForm = std::vector<Value*> (*)(Builder& build, const Node& node, std::span<Value* const> operands);

Attrs with_signed_dtypes(Attrs attrs) {
  for (const auto& [name, attr] : Attrs(attrs))
    if (const auto* dtype = std::get_if<DType>(&attr); dtype != nullptr && *dtype == DType::u64)
      attrs.set(name, DType::i64);
  return attrs;
}

// What moves bits, or computes modulo 2^64, knows no sign.
std::vector<Value*> same(Builder& build, const Node& node, std::span<Value* const> operands) {
  return build.call(node.op, {operands.begin(), operands.end()}, with_signed_dtypes(node.attrs), node.results[0]->name);
}

// x - 2^63 modulo 2^64: numbers in the order in which the unsigned ones are.
Expr in_order(const Expr& x) {
  return x + kSign;
}

// What compares numbers, and may give one of them.
std::vector<Value*> ordered(Builder& build, const Node& node, std::span<Value* const> operands) {
  std::vector<Value*> given(operands.begin(), operands.end());
  for (std::size_t i = 0; i < given.size(); ++i)
    if (node.operands[i] != nullptr && node.operands[i]->type.dtype == DType::u64)
      given[i] = in_order({&build, given[i]}).value;
  std::vector<Value*> results = same(build, node, given);
  for (std::size_t i = 0; i < node.results.size() && i < results.size(); ++i)
    if (node.results[i]->type.dtype == DType::u64) results[i] = in_order({&build, results[i]}).value;
  return results;
}

Expr at_least(const Expr& a, const Expr& b) {
  return apply("greater_equal", in_order(a), in_order(b));
}

// What combines numbers compares them for the largest and the smallest alone.
std::vector<Value*> scattered(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::string& reduction = node.attrs.text("reduction");
  return reduction == "max" || reduction == "min" ? ordered(build, node, operands) : same(build, node, operands);
}

// floor(x / 2) of x as it is without a sign.
Expr half_of(const Expr& x) {
  const Expr half = apply("floor_divide", x, 2.0);
  return where(apply("less", x, 0.0), half - kSign, half);
}

// floor(a / b). For b < 2^63 the quotient of floor(a / 2), doubled, is right or too small by 1.
Expr quotient_of(const Expr& a, const Expr& b) {
  const Expr is_large = apply("less", b, 0.0);
  const Expr divisor = where(is_large, b.number(1), b);
  const Expr quotient = apply("floor_divide", half_of(a), divisor) * 2;
  const Expr missed = cast(at_least(a - quotient * divisor, divisor), DType::i64);
  return where(is_large, cast(at_least(a, b), DType::i64), quotient + missed);
}

Expr rest_of(const Expr& a, const Expr& b) {
  return a - quotient_of(a, b) * b;
}

// Shifted by one, there is no sign any more.
Expr shifted_right_of(const Expr& a, const Expr& b) {
  const Expr by = where(apply("less", b, 1.0), b.number(0), b - 1);
  return where(apply("less", b, 1.0), a, apply("shift_right", half_of(a), by));
}

// Halves keep the last bit, so that they are rounded as the whole is.
Expr as_float(const Expr& x, DType dtype) {
  if (dtype != DType::f32 && dtype != DType::f64) return cast(as_float(x, DType::f32), dtype);
  const Expr odd = apply("remainder", x, 2.0);
  const Expr half = half_of(x);
  const Expr sticky = where(apply("equal", apply("remainder", half, 2.0), 0.0), half + odd, half);
  return where(apply("less", x, 0.0), cast(sticky, dtype) * 2, cast(x, dtype));
}

Expr from_float(const Expr& x) {
  const Expr is_large = apply("greater_equal", x, -kSign);
  const Expr small = where(is_large, x.number(0), x), rest = where(is_large, x + kSign, x.number(0));
  return where(is_large, cast(rest, DType::i64) + kSign, cast(small, DType::i64));
}

std::vector<Value*> signed_cast(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Expr x{&build, operands[0]};
  const DType from = node.operands[0]->type.dtype, to = node.attrs.get<DType>("to");
  if (from != DType::u64) return {is_floating(from) ? from_float(x).value : cast(x, DType::i64).value};
  if (to == DType::boolean) return {apply("not_equal", x, 0.0).value};
  if (is_floating(to)) return {as_float(x, to).value};
  return {cast(x, to == DType::u64 ? DType::i64 : to).value};
}

std::vector<Value*> unchanged(Builder&, const Node&, std::span<Value* const> operands) {
  return {operands[0]};
}

struct SignedRow {
  std::string_view op;
  SignedForm form;
};

constexpr std::array kSignedRows = {
    SignedRow{"abs", unchanged},
    SignedRow{"add", same},
    SignedRow{"all", same},
    SignedRow{"amax", ordered},
    SignedRow{"amin", ordered},
    SignedRow{"any", same},
    SignedRow{"arange", same},
    SignedRow{"argmax", ordered},
    SignedRow{"argmin", ordered},
    SignedRow{"bitwise_and", same},
    SignedRow{"bitwise_not", same},
    SignedRow{"bitwise_or", same},
    SignedRow{"bitwise_xor", same},
    SignedRow{"cast", signed_cast},
    SignedRow{"counted_topk", ordered},
    SignedRow{"cumprod", same},
    SignedRow{"cumsum", same},
    SignedRow{"depth_to_space", same},
    SignedRow{"dynamic_slice", same},
    SignedRow{"equal", same},
    SignedRow{"expand_to", same},
    SignedRow{"flip", same},
    SignedRow{"floor_divide", expand_as<quotient_of>},
    SignedRow{"fmod", expand_as<rest_of>},
    SignedRow{"full", same},
    SignedRow{"gather", same},
    SignedRow{"gather_elements", same},
    SignedRow{"gather_nd", same},
    SignedRow{"greater", ordered},
    SignedRow{"greater_equal", ordered},
    SignedRow{"less", ordered},
    SignedRow{"less_equal", ordered},
    SignedRow{"matmul", same},
    SignedRow{"maximum", ordered},
    SignedRow{"minimum", ordered},
    SignedRow{"mul", same},
    SignedRow{"narrow", same},
    SignedRow{"narrow_to", same},
    SignedRow{"neg", same},
    SignedRow{"nonzero", same},
    SignedRow{"nonzero_by_axis", same},
    SignedRow{"not_equal", same},
    SignedRow{"one_hot", same},
    SignedRow{"pad", same},
    SignedRow{"pad_with", same},
    SignedRow{"mirror_pad", same},
    SignedRow{"pow", same},
    SignedRow{"prod", same},
    SignedRow{"remainder", expand_as<rest_of>},
    SignedRow{"reshape_to", same},
    SignedRow{"scatter_nd", scattered},
    SignedRow{"scatter_sum", same},
    SignedRow{"shift_left", same},
    SignedRow{"shift_right", expand_as<shifted_right_of>},
    SignedRow{"slice", same},
    SignedRow{"sort", ordered},
    SignedRow{"space_to_depth", same},
    SignedRow{"squared_difference", same},
    SignedRow{"sub", same},
    SignedRow{"sum", same},
    SignedRow{"tile", same},
    SignedRow{"top_entries", ordered},
    SignedRow{"topk", ordered},
    SignedRow{"tril", same},
    SignedRow{"triu", same},
    SignedRow{"trunc_divide", expand_as<quotient_of>},
    SignedRow{"update_slice", same},
    SignedRow{"where", same},
    SignedRow{"zeros_like", same},
};

SignedForm signed_form(const Node& node) {
  const auto found = std::ranges::find(kSignedRows, node.op, &SignedRow::op);
  if (found != kSignedRows.end()) return found->form;
  const Op& op = op_of(node);
  return op.rearrange != nullptr || op.axes_of_x != nullptr ? same : nullptr;
}

}  // namespace

bool has_signed_form(const Node& node) {
  return !op_of(node).is_constant && node.op != "bitcast" && node.regions.empty() && signed_form(node) != nullptr;
}

std::vector<Value*> call_on_signed(Builder& build, const Node& node, std::span<Value* const> operands) {
  return signed_form(node)(build, node, operands);
}

}  // namespace taper
