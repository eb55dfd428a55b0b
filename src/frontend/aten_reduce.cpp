// Sums, means, extremes, norms over axes.
#include <cmath>
#include <limits>

#include "frontend/aten_table.h"
#include "ops/rules.h"

namespace taper::aten {
namespace {

using enum Promotion;

// The tensor in the dtype that the sum of its elements has: integers and flags add up to int64.
Value* summand(Call& call, std::string_view name = "self") {
  Value* x = call.tensor(name);
  const DType own = is_floating(x->type.dtype) ? x->type.dtype : DType::i64;
  return cast(call.build, x, call.dtype("dtype").value_or(own));
}

Expected<Arg> sum(Call& call) {
  Value* x = summand(call);
  TAPER_ASSIGN(Integers dims, call.axes("dim", shape_of(x).size()));
  return fresh(reduce(call.build, call.overload.row, x, std::move(dims), call.flag("keepdim")));
}

// How many entries there are along axes.
Dim entries_along(const Value* x, const Integers& dims) {
  Dim count = 1;
  for (const std::int64_t dim : dims) count = count * shape_of(x)[static_cast<std::size_t>(dim)];
  return count;
}

// Of nothing it is NaN, which not all runtimes' means are.
Value* mean_along(const Context& context, Value* x, Integers dims, bool keepdim) {
  const Dim count = x == nullptr ? Dim(1) : entries_along(x, dims);
  if (!may_be_nothing(context, count)) return reduce(context.build, "mean", x, std::move(dims), keepdim);
  Value* sum = reduce(context.build, "sum", x, std::move(dims), keepdim);
  return context.build("div", {sum, number(context.build, Arg(count), x->type.dtype)});
}

Expected<Arg> mean(Call& call) {
  Value* x = call.tensor("self");
  if (const auto dtype = call.dtype("dtype")) x = cast(call.build, x, *dtype);
  if (x != nullptr && !is_floating(x->type.dtype)) return fail("a mean of {}", type_text(x->type));
  TAPER_ASSIGN(Integers dims, call.axes("dim", shape_of(x).size()));
  const bool keepdim = call.flag("keepdim");
  return fresh(mean_along(call.context, x, std::move(dims), keepdim));
}

Expected<Arg> product(Call& call) {
  Value* x = summand(call);
  Integers dims = all_axes(shape_of(x).size());
  if (call.given("dim") && !dims.empty()) {
    TAPER_ASSIGN(const std::size_t axis, call.axis("dim", dims.size()));
    dims = {static_cast<std::int64_t>(axis)};
  }
  return fresh(reduce(call.build, "prod", x, std::move(dims), call.flag("keepdim")));
}

Expected<Arg> extreme(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(Integers dims, call.axes("dim", x->type.shape.size()));
  return fresh(reduce(call.build, call.overload.row, x, std::move(dims), call.flag("keepdim")));
}

Expected<Arg> any_or_all(Call& call) {
  Value* x = cast(call.build, call.tensor("self"), DType::boolean);
  TAPER_ASSIGN(Integers dims, call.axes("dim", shape_of(x).size()));
  return fresh(reduce(call.build, call.overload.row, x, std::move(dims), call.flag("keepdim")));
}

Value* arg_extreme(Builder& build, std::string_view row, Value* x, std::size_t axis, bool keepdim) {
  if (shape_of(x).empty()) return integer_number(build, 0);
  if (x->type.dtype == DType::boolean) x = cast(build, x, DType::i32);
  return build(row, {x}, {{"dim", static_cast<std::int64_t>(axis)}, {"keepdim", keepdim}});
}

// Without an axis the tensor counts as a vector.
Expected<Arg> arg_extreme(Call& call) {
  Value* x = call.tensor("self");
  const std::string_view row = call.overload.row;
  const std::size_t rank = x->type.shape.size();
  if (!call.given("dim")) {
    Value* flat = reshape(call.build, x, {element_count(x->type.shape)});
    Value* index = arg_extreme(call.build, row, flat, 0, false);
    return fresh(call.flag("keepdim") ? reshape(call.build, index, Shape(rank, Dim(1))) : index);
  }
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", rank));
  return fresh(arg_extreme(call.build, row, x, axis, call.flag("keepdim")));
}

// Values and their positions.
Expected<Arg> extreme_along(Call& call, std::string_view values, std::string_view positions) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const bool keepdim = call.flag("keepdim");
  if (x->type.shape.empty()) return fresh_list({x, integer_number(call.build, 0)});
  return fresh_list({reduce(call.build, values, x, {static_cast<std::int64_t>(axis)}, keepdim),
                     arg_extreme(call.build, positions, x, axis, keepdim)});
}

Expected<Arg> both_extremes(Call& call) {
  Value* x = call.tensor("self");
  Integers dims = all_axes(x->type.shape.size());
  if (call.given("dim") && !dims.empty()) {
    TAPER_ASSIGN(const std::size_t axis, call.axis("dim", dims.size()));
    dims = {static_cast<std::int64_t>(axis)};
  }
  return fresh_list({reduce(call.build, "amin", x, dims, call.flag("keepdim")),
                     reduce(call.build, "amax", x, dims, call.flag("keepdim"))});
}

// ------------------------------------------------------------------------------------------------------------ variance

struct Moments {
  Value* mean;
  Value* variance;
};

// sum (x - mean)^2 / (n - correction)
Expected<Moments> moments(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (!is_floating(x->type.dtype)) return fail("a variance of {}", type_text(x->type));
  TAPER_ASSIGN(const Integers dims, call.axes("dim", x->type.shape.size()));
  double correction = call.real_or("correction", 1);
  if (call.given("unbiased")) correction = call.flag("unbiased") ? 1 : 0;
  const bool keepdim = call.flag("keepdim");
  Value* mean = mean_along(call.context, x, dims, true);
  Value* squares = build("squared_difference", {x, mean});
  Value* variance = nullptr;
  if (correction == 0) {
    variance = mean_along(call.context, squares, dims, keepdim);
  } else {
    const Dim count = entries_along(x, dims);
    Value* sum = reduce(build, "sum", squares, dims, keepdim);
    Value* divisor = nullptr;
    if (const auto known = count.constant())
      divisor = number(build, std::max(0.0, static_cast<double>(*known) - correction), DType::f32);
    else
      divisor = build("sub", {number(build, Arg(count), DType::f32), number(build, correction, DType::f32)});
    if (may_be_nothing(call.context, count)) divisor = build("maximum", {divisor, number(build, 0.0, DType::f32)});
    variance = build("div", {sum, divisor});
  }
  if (!keepdim && !dims.empty()) mean = build("squeeze", {mean}, {{"dims", dims}});
  return Moments{mean, variance};
}

Expected<Arg> variance(Call& call) {
  TAPER_ASSIGN(const Moments found, moments(call));
  return fresh(found.variance);
}
Expected<Arg> deviation(Call& call) {
  TAPER_ASSIGN(const Moments found, moments(call));
  return fresh(call.build("sqrt", {found.variance}));
}
Expected<Arg> variance_and_mean(Call& call) {
  TAPER_ASSIGN(const Moments found, moments(call));
  return fresh_list({found.variance, found.mean});
}
Expected<Arg> deviation_and_mean(Call& call) {
  TAPER_ASSIGN(const Moments found, moments(call));
  return fresh_list({call.build("sqrt", {found.variance}), found.mean});
}

// --------------------------------------------------------------------------------------------------------------- norms

}  // namespace

Value* vector_norm(Builder& build, Value* x, double order, const Integers& dims, bool keepdim) {
  if (x == nullptr) return nullptr;
  if (order == 2) return build("sqrt", {reduce(build, "sum", build("mul", {x, x}), dims, keepdim)});
  Value* size = build("abs", {x});
  if (std::isinf(order)) return reduce(build, order > 0 ? "amax" : "amin", size, dims, keepdim);
  if (order == 1) return reduce(build, "sum", size, dims, keepdim);
  if (order == 0)
    return reduce(build, "sum", cast(build, cast(build, x, DType::boolean), x->type.dtype), dims, keepdim);
  Value* powers = build("pow", {size, number(build, order, DType::f32)});
  return build("pow", {reduce(build, "sum", powers, dims, keepdim), number(build, 1 / order, DType::f32)});
}

namespace {

Expected<Arg> norm_by(Call& call, std::string_view order) {
  Value* x = call.tensor("self");
  if (const auto dtype = call.dtype("dtype")) x = cast(call.build, x, *dtype);
  TAPER_ASSIGN(const Integers dims, call.axes("dim", shape_of(x).size()));
  return fresh(vector_norm(call.build, x, call.real_or(order, 2), dims, call.flag("keepdim")));
}

// Of matrices only the norm that is one of vectors, too.
Expected<Arg> linalg_norm(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const Integers dims, call.axes("dim", x->type.shape.size()));
  if (dims.size() > 1 && call.given("ord")) return fail("a norm of matrices of order {}", call.real("ord"));
  return norm_by(call, "ord");
}

// Of matrices: the root of the sum of squares, or the extreme sum of sizes of a column or a row.
Expected<Arg> matrix_norm(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (const auto dtype = call.dtype("dtype")) x = cast(build, x, *dtype);
  Integers dims = call.integers("dim");
  const bool keepdim = call.flag("keepdim");
  if (dims.size() != 2) return fail("{} axes of matrices", dims.size());
  for (std::int64_t& dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dim, shape_of(x).size()));
    dim = static_cast<std::int64_t>(axis);
  }
  if (dims[0] == dims[1]) return fail("an axis is named twice");
  if (const auto* name = call.arg("ord").as<std::string>()) {
    if (*name != "fro") return fail("a norm of matrices of order '{}'", *name);
    return fresh(vector_norm(build, x, 2, {std::min(dims[0], dims[1]), std::max(dims[0], dims[1])}, keepdim));
  }
  const double order = call.real("ord");
  if (std::abs(order) != 1 && !std::isinf(order)) return fail("a norm of matrices of order {}", order);
  const bool by_column = std::abs(order) == 1;
  const std::int64_t summed = by_column ? dims[0] : dims[1], other = by_column ? dims[1] : dims[0];
  Value* sums = reduce(build, "sum", build("abs", {x}), {summed}, true);
  Value* y = reduce(build, order > 0 ? "amax" : "amin", sums, {other}, true);
  if (!keepdim) y = build("squeeze", {y}, {{"dims", Integers{std::min(summed, other), std::max(summed, other)}}});
  return fresh(y);
}

// ||a - b||_p
Expected<Arg> distance(Call& call) {
  const auto x = call.promoted({"self", "other"}, floating);
  Value* difference = call.build("sub", x);
  return fresh(vector_norm(call.build, difference, call.real_or("p", 2), all_axes(shape_of(difference).size()), false));
}

// ln sum exp x, kept from overflowing by the largest
Expected<Arg> log_sum_exp(Call& call) {
  Builder& build = call.build;
  Value* x = call.promoted({"self"}, floating)[0];
  TAPER_ASSIGN(const Integers dims, call.axes("dim", shape_of(x).size()));
  const bool keepdim = call.flag("keepdim");
  Value* largest = reduce(build, "amax", x, dims, true);
  // Where all are -inf, or one is inf, the difference with the largest would be NaN.
  Value* shift = build("where", {build("is_inf", {largest}), number(build, 0.0, DType::f32), largest});
  Value* sum = reduce(build, "sum", build("exp", {build("sub", {x, shift})}), dims, keepdim);
  if (!keepdim && !dims.empty()) shift = build("squeeze", {shift}, {{"dims", dims}});
  return fresh(build("add", {build("log", {sum}), shift}));
}

Expected<Arg> count_nonzero(Call& call) {
  Value* x = cast(call.build, cast(call.build, call.tensor("self"), DType::boolean), DType::i64);
  TAPER_ASSIGN(const Integers dims, call.axes("dim", shape_of(x).size()));
  return fresh(reduce(call.build, "sum", x, dims, false));
}

Value* without_nan(Builder& build, Value* x) {
  if (x == nullptr || !is_floating(x->type.dtype)) return x;
  return build("where", {build("is_nan", {x}), number(build, 0.0, x->type.dtype), x});
}

Expected<Arg> nan_sum(Call& call) {
  Value* x = without_nan(call.build, summand(call));
  TAPER_ASSIGN(const Integers dims, call.axes("dim", shape_of(x).size()));
  return fresh(reduce(call.build, "sum", x, dims, call.flag("keepdim")));
}

// The distance of entries of two tensors along the last axis: ||a - b + eps||_p
Expected<Arg> pairwise_distance(Call& call) {
  Builder& build = call.build;
  const auto x = call.promoted({"x1", "x2"}, common);
  Value* difference = build("add", {build("sub", x), number(build, call.real("eps"), DType::f32)});
  if (difference == nullptr || difference->type.shape.empty()) return fail("a distance of numbers");
  const auto last = static_cast<std::int64_t>(difference->type.shape.size()) - 1;
  return fresh(vector_norm(build, difference, call.real("p"), {last}, call.flag("keepdim")));
}

// sum a b / (max(||a||, eps) max(||b||, eps))
Expected<Arg> cosine_similarity(Call& call) {
  Builder& build = call.build;
  auto x = call.promoted({"x1", "x2"}, common);
  TAPER_TRY(build.status());
  const auto shape = broadcast(shape_of(x[0]), shape_of(x[1]));
  if (!shape) return std::unexpected(shape.error());
  for (Value*& operand : x) operand = expand(build, operand, *shape);
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape->size()));
  Value* eps = number(build, call.real("eps"), DType::f32);
  const auto unit = [&](Value* v) {
    return build("div",
                 {v, build("maximum", {vector_norm(build, v, 2, {static_cast<std::int64_t>(axis)}, true), eps})});
  };
  return fresh(reduce(build, "sum", build("mul", {unit(x[0]), unit(x[1])}), {static_cast<std::int64_t>(axis)}, false));
}

}  // namespace

std::vector<Overload> reduce_overloads() {
  return {
      {.schema = "sum(Tensor self, *, ScalarType? dtype=None) -> Tensor", .build = sum, .row = "sum"},
      {.schema = "sum.dim_IntList(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
       .build = sum,
       .row = "sum"},
      {"nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor", nan_sum},
      {"mean(Tensor self, *, ScalarType? dtype=None) -> Tensor", mean},
      {"mean.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor", mean},
      {"prod(Tensor self, *, ScalarType? dtype=None) -> Tensor", product},
      {"prod.dim_int(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor", product},
      {.schema = "amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor", .build = extreme, .row = "amax"},
      {.schema = "amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor", .build = extreme, .row = "amin"},
      {.schema = "max(Tensor self) -> Tensor", .build = extreme, .row = "amax"},
      {.schema = "min(Tensor self) -> Tensor", .build = extreme, .row = "amin"},
      {"max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
       [](Call& call) { return extreme_along(call, "amax", "argmax"); }},
      {"min.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
       [](Call& call) { return extreme_along(call, "amin", "argmin"); }},
      {"aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)", both_extremes},
      {.schema = "argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
       .build = arg_extreme,
       .row = "argmax"},
      {.schema = "argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
       .build = arg_extreme,
       .row = "argmin"},
      {.schema = "any(Tensor self) -> Tensor", .build = any_or_all, .row = "any"},
      {.schema = "any.dim(Tensor self, int dim, bool keepdim=False) -> Tensor", .build = any_or_all, .row = "any"},
      {.schema = "any.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
       .build = any_or_all,
       .row = "any"},
      {.schema = "all(Tensor self) -> Tensor", .build = any_or_all, .row = "all"},
      {.schema = "all.dim(Tensor self, int dim, bool keepdim=False) -> Tensor", .build = any_or_all, .row = "all"},
      {.schema = "all.dims(Tensor self, int[]? dim=None, bool keepdim=False) -> Tensor",
       .build = any_or_all,
       .row = "all"},
      {"var(Tensor self, bool unbiased=True) -> Tensor", variance},
      {"var.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor", variance},
      {"var.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
       variance},
      {"std(Tensor self, bool unbiased=True) -> Tensor", deviation},
      {"std.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> Tensor", deviation},
      {"std.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> Tensor",
       deviation},
      {"var_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)", variance_and_mean},
      {"var_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
       variance_and_mean},
      {"var_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor, "
       "Tensor)",
       variance_and_mean},
      {"std_mean(Tensor self, bool unbiased=True) -> (Tensor, Tensor)", deviation_and_mean},
      {"std_mean.dim(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> (Tensor, Tensor)",
       deviation_and_mean},
      {"std_mean.correction(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> (Tensor, "
       "Tensor)",
       deviation_and_mean},
      {"norm.Scalar(Tensor self, Scalar p=2) -> Tensor", [](Call& call) { return norm_by(call, "p"); }},
      {"norm.ScalarOpt_dim(Tensor self, Scalar? p, int[1] dim, bool keepdim=False) -> Tensor",
       [](Call& call) { return norm_by(call, "p"); }},
      {"norm.ScalarOpt_dim_dtype(Tensor self, Scalar? p, int[1] dim, bool keepdim, *, ScalarType dtype) -> Tensor",
       [](Call& call) { return norm_by(call, "p"); }},
      {"norm.ScalarOpt_dtype(Tensor self, Scalar? p, *, ScalarType dtype) -> Tensor",
       [](Call& call) { return norm_by(call, "p"); }},
      {"linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) "
       "-> Tensor",
       [](Call& call) { return norm_by(call, "ord"); }},
      {"linalg_norm(Tensor self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> "
       "Tensor",
       linalg_norm},
      {"linalg_matrix_norm(Tensor self, Scalar ord, int[] dim=[-2,-1], bool keepdim=False, *, ScalarType? dtype=None) "
       "-> Tensor",
       matrix_norm},
      {"linalg_matrix_norm.str_ord(Tensor self, str ord='fro', int[] dim=[-2,-1], bool keepdim=False, *, ScalarType? "
       "dtype=None) -> Tensor",
       matrix_norm},
      {"dist(Tensor self, Tensor other, Scalar p=2) -> Tensor", distance},
      {"frobenius_norm.dim(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
       [](Call& call) { return norm_by(call, "p"); }},
      {"logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor", log_sum_exp},
      {"special_logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor", log_sum_exp},
      {"count_nonzero(Tensor self, int? dim=None) -> Tensor", count_nonzero},
      {"count_nonzero.dim_IntList(Tensor self, int[] dim) -> Tensor", count_nonzero},
      {"pairwise_distance(Tensor x1, Tensor x2, float p=2, float eps=1e-06, bool keepdim=False) -> Tensor",
       pairwise_distance},
      {"cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor", cosine_similarity},
  };
}

}  // namespace taper::aten
