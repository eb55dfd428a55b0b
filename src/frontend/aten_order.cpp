// Sorting, the largest entries, cumulative sums.
#include <limits>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

Expected<Arg> top_k(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  if (x->type.shape.empty()) return fresh_list({x, integer_number(build, 0)});
  const auto results = build.call("topk", {x},
                                  {{"k", Shape{call.size("k")}},
                                   {"dim", static_cast<std::int64_t>(axis)},
                                   {"largest", call.flag("largest")},
                                   {"sorted", call.flag("sorted")}});
  return fresh_list({results[0], results[1]});
}

struct Sorted {
  Value* values;
  Value* indices;
};

Sorted sorted(Builder& build, Value* x, std::size_t axis, bool descending, bool stable) {
  if (shape_of(x).empty()) return {x, integer_number(build, 0)};
  const auto results = build.call(
      "sort", {x}, {{"dim", static_cast<std::int64_t>(axis)}, {"descending", descending}, {"stable", stable}});
  return {results[0], results[1]};
}

Expected<Arg> sort(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const Sorted found = sorted(call.build, x, axis, call.flag("descending"), call.flag("stable"));
  return fresh_list({found.values, found.indices});
}

Expected<Arg> sort_first_axis(Call& call) {
  return fresh(sorted(call.build, call.tensor("self"), 0, false, false).values);
}

Expected<Arg> argsort(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  return fresh(sorted(call.build, x, axis, call.flag("descending"), call.flag("stable")).indices);
}

// The entry of rank `index` along an axis, and its position; or, if that counts first, an entry that is NaN.
Expected<Arg> ranked(Call& call, Value* x, std::size_t axis, const Dim& index, bool keepdim, bool nan_first = false) {
  Builder& build = call.build;
  const Sorted found = sorted(build, x, axis, false, true);
  if (shape_of(x).empty()) return fresh_list({found.values, found.indices});
  const auto dim = static_cast<std::int64_t>(axis);
  const auto pick = [&](Value* from) {
    if (const auto known = index.constant()) {
      Value* entry = build("select", {from}, {{"dim", dim}, {"index", *known}});
      return keepdim ? unsqueeze(build, entry, dim) : entry;
    }
    Value* entry = slice(build, from, axis, index, index + Dim(1));
    return keepdim ? entry : squeeze(build, entry, dim);
  };
  Value* values = pick(found.values);
  Value* indices = pick(found.indices);
  if (nan_first && values != nullptr && is_floating(values->type.dtype)) {
    Value* missing = has_nan(build, x, axis, keepdim);
    Value* first =
        build("argmax", {cast(build, build("is_nan", {x}), DType::f32)}, {{"dim", dim}, {"keepdim", keepdim}});
    Value* nan = number(build, std::numeric_limits<double>::quiet_NaN(), values->type.dtype);
    values = build("where", {missing, nan, values});
    indices = build("where", {missing, first, indices});
  }
  return fresh_list({values, indices});
}

// The lower one of two in the middle.
Expected<Arg> median(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const Dim size = x->type.shape.empty() ? Dim(1) : x->type.shape[axis];
  if (size.constant().value_or(1) < 1) return fail("a median over {} entries", size.text());
  return ranked(call, x, axis, floor_divide(size - Dim(1), 2), call.flag("keepdim"), true);
}

Expected<Arg> median_of_all(Call& call) {
  Value* x = call.tensor("self");
  const Dim count = element_count(x->type.shape);
  if (count.constant().value_or(1) < 1) return fail("a median of {}", type_text(x->type));
  TAPER_ASSIGN(Arg both,
               ranked(call, reshape(call.build, x, {count}), 0, floor_divide(count - Dim(1), 2), false, true));
  return both.as<Arg::List>()->front();
}

Expected<Arg> kth_value(Call& call) {
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const std::int64_t k = call.integer("k");
  if (k < 1) return fail("k is {}, expected at least 1", k);
  return ranked(call, x, axis, k - 1, call.flag("keepdim"));
}

Value* cumulative(Builder& build, std::string_view row, Value* x, std::size_t axis) {
  if (shape_of(x).empty()) return x;
  return build(row, {x}, {{"dim", static_cast<std::int64_t>(axis)}});
}

Expected<Arg> cumulative(Call& call) {
  Value* x = call.tensor("self");
  const DType own = is_floating(x->type.dtype) ? x->type.dtype : DType::i64;
  x = cast(call.build, x, call.dtype("dtype").value_or(own));
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape_of(x).size()));
  return fresh(cumulative(call.build, call.overload.row, x, axis));
}

// ln of the sums of exp: of each entry and those before it, as rows of a square, shifted by the largest of its row. The
// largest of all would leave nothing of what lies far below it.
Expected<Arg> log_cumulative_sum(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  if (x->type.shape.empty()) return fresh(x);
  const std::size_t last = x->type.shape.size() - 1;
  Value* moved = transpose(build, x, axis, last);
  Value* index = arange(build, 0, 1, shape_of(moved).back(), DType::i64);
  Value* before = build("less_equal", {index, unsqueeze(build, index, 1)});
  Value* row = unsqueeze(build, moved, static_cast<std::int64_t>(last));
  Value* none = number(build, -std::numeric_limits<double>::infinity(), DType::f32);
  Value* rows = build("where", {before, row, none});
  Value* largest = reduce(build, "amax", rows, {-1}, true);
  Value* shift = build("where", {build("is_inf", {largest}), number(build, 0.0, DType::f32), largest});
  Value* sums = reduce(build, "sum", build("exp", {build("sub", {rows, shift})}), {-1}, true);
  Value* logarithms = build("squeeze", {build("add", {build("log", {sums}), shift})}, {{"dims", Integers{-1}}});
  return fresh(transpose(build, logarithms, axis, last));
}

// x[i + 1] - x[i]
Expected<Arg> differences(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const std::int64_t order = call.integer("n");
  if (order < 0 || order > 16) return fail("differences of order {}", order);
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  if (order > 0 && (call.given("prepend") || call.given("append"))) {
    std::vector<Value*> parts = call.promoted({"prepend", "self", "append"}, Promotion::common);
    std::erase(parts, nullptr);
    x = concat(build, std::move(parts), axis);
  }
  for (std::int64_t i = 0; i < order; ++i) {
    if (x == nullptr || axis >= x->type.shape.size()) return fail("differences of a number");
    const Dim size = x->type.shape[axis];
    x = build("sub", {slice(build, x, axis, 1, size), slice(build, x, axis, 0, size - Dim(1))});
  }
  return fresh(x);
}

}  // namespace

std::vector<Overload> order_overloads() {
  return {
      {"topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor "
       "indices)",
       top_k},
      {"sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)", sort},
      {"sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor "
       "indices)",
       sort},
      {"msort(Tensor self) -> Tensor", sort_first_axis},
      {"argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor", argsort},
      {"argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor", argsort},
      {"median(Tensor self) -> Tensor", median_of_all},
      {"median.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)", median},
      {"kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)", kth_value},
      {.schema = "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
       .build = cumulative,
       .row = "cumsum"},
      {.schema = "cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
       .build = cumulative,
       .row = "cumprod"},
      {"logcumsumexp(Tensor self, int dim) -> Tensor", log_cumulative_sum},
      {"diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor", differences},
  };
}

}  // namespace taper::aten
