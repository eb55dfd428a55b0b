// Comparisons, logic, and choosing by conditions.
#include <limits>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

using enum Promotion;

Expected<Arg> is_finite(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (!is_floating(x->type.dtype)) return fresh(full(build, x->type.shape, Arg(true), DType::boolean));
  return fresh(build("logical_not", {build("logical_or", {build("is_nan", {x}), build("is_inf", {x})})}));
}

// Integers are neither infinite nor NaN.
Expected<Arg> float_test(Call& call) {
  Value* x = call.tensor("self");
  if (is_floating(x->type.dtype)) return fresh(call.build(call.overload.row, {x}));
  return fresh(full(call.build, x->type.shape, Arg(false), DType::boolean));
}

Expected<Arg> is_infinity(Call& call, std::string_view side) {
  Builder& build = call.build;
  Value* x = call.promoted({"self"}, floating)[0];
  return fresh(build("logical_and", {build("is_inf", {x}), build(side, {x, number(build, 0.0, DType::f32)})}));
}

Expected<Arg> where(Call& call) {
  const auto x = call.promoted({"self", "other"}, common);
  return fresh(call.build("where", {cast(call.build, call.tensor("condition"), DType::boolean), x[0], x[1]}));
}

// The value in the places that the mask names; the dtype is that of the tensor.
Expected<Arg> masked_fill(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Arg& given = call.arg("value");
  Value* value = given.as<TensorPtr>() != nullptr ? cast(build, call.tensor("value"), x->type.dtype)
                                                  : number(build, given, x->type.dtype);
  return fresh(build("where", {cast(build, call.tensor("mask"), DType::boolean), value, x}));
}

// |a - b| <= atol + rtol |b|
Expected<Arg> is_close(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "other"}, floating);
  Value* allowed = build("add", {number(build, call.real("atol"), DType::f32),
                                 build("mul", {number(build, call.real("rtol"), DType::f32), build("abs", {x[1]})})});
  Value* close = build("less_equal", {build("abs", {build("sub", x)}), allowed});
  return fresh(build("logical_or", {close, build("equal", x)}));
}

// 1 for x > 0, 0 for x < 0, values at 0
Expected<Arg> heaviside(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"self", "values"}, common);
  if (x[0] == nullptr) return fresh(nullptr);
  Value* zero = number(build, 0.0, x[0]->type.dtype);
  Value* step = cast(build, build("greater", {x[0], zero}), x[0]->type.dtype);
  return fresh(build("where", {build("equal", {x[0], zero}), x[1], step}));
}

}  // namespace

std::vector<Overload> compare_overloads() {
  return {
      {.schema = "eq.Tensor(Tensor self, Tensor other) -> Tensor", .row = "equal", .promotion = common},
      {.schema = "eq.Scalar(Tensor self, Scalar other) -> Tensor", .row = "equal", .promotion = common},
      {.schema = "ne.Tensor(Tensor self, Tensor other) -> Tensor", .row = "not_equal", .promotion = common},
      {.schema = "ne.Scalar(Tensor self, Scalar other) -> Tensor", .row = "not_equal", .promotion = common},
      {.schema = "lt.Tensor(Tensor self, Tensor other) -> Tensor", .row = "less", .promotion = common},
      {.schema = "lt.Scalar(Tensor self, Scalar other) -> Tensor", .row = "less", .promotion = common},
      {.schema = "le.Tensor(Tensor self, Tensor other) -> Tensor", .row = "less_equal", .promotion = common},
      {.schema = "le.Scalar(Tensor self, Scalar other) -> Tensor", .row = "less_equal", .promotion = common},
      {.schema = "gt.Tensor(Tensor self, Tensor other) -> Tensor", .row = "greater", .promotion = common},
      {.schema = "gt.Scalar(Tensor self, Scalar other) -> Tensor", .row = "greater", .promotion = common},
      {.schema = "ge.Tensor(Tensor self, Tensor other) -> Tensor", .row = "greater_equal", .promotion = common},
      {.schema = "ge.Scalar(Tensor self, Scalar other) -> Tensor", .row = "greater_equal", .promotion = common},
      {.schema = "logical_and(Tensor self, Tensor other) -> Tensor", .row = "logical_and", .promotion = boolean},
      {.schema = "logical_or(Tensor self, Tensor other) -> Tensor", .row = "logical_or", .promotion = boolean},
      {.schema = "logical_xor(Tensor self, Tensor other) -> Tensor", .row = "logical_xor", .promotion = boolean},
      {.schema = "logical_not(Tensor self) -> Tensor", .row = "logical_not", .promotion = boolean},
      {.schema = "isnan(Tensor self) -> Tensor", .build = float_test, .row = "is_nan"},
      {.schema = "isinf(Tensor self) -> Tensor", .build = float_test, .row = "is_inf"},
      {"isfinite(Tensor self) -> Tensor", is_finite},
      {"isposinf(Tensor self) -> Tensor", [](Call& call) { return is_infinity(call, "greater"); }},
      {"isneginf(Tensor self) -> Tensor", [](Call& call) { return is_infinity(call, "less"); }},
      {"signbit(Tensor self) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         Value* x = call.tensor("self");
         return fresh(call.build("less", {x, number(call.build, 0.0, x->type.dtype)}));
       }},
      {"where.self(Tensor condition, Tensor self, Tensor other) -> Tensor", where},
      {"where.ScalarSelf(Tensor condition, Scalar self, Tensor other) -> Tensor", where},
      {"where.ScalarOther(Tensor condition, Tensor self, Scalar other) -> Tensor", where},
      {"where.Scalar(Tensor condition, Scalar self, Scalar other) -> Tensor", where},
      {"masked_fill.Scalar(Tensor self, Tensor mask, Scalar value) -> Tensor", masked_fill},
      {"masked_fill.Tensor(Tensor self, Tensor mask, Tensor value) -> Tensor", masked_fill},
      {"isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
       is_close},
      {"heaviside(Tensor self, Tensor values) -> Tensor", heaviside},
  };
}

}  // namespace taper::aten
