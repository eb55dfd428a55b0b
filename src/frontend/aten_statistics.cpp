// Ranks of entries: quantiles, medians, running extremes, histograms.
#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

Value* real(Builder& build, double value) {
  return number(build, value, DType::f32);
}

// --------------------------------------------------------------------------------------------------- running extremes

// The largest or smallest entry up to each one, and the last place where it stands: runs of entries that are looked at
// double, and those that would begin before the first one begin there.
Expected<Arg> running_extreme(Call& call, std::string_view keeps) {
  Builder& build = call.build;
  Value* values = call.tensor("self");
  const Shape shape = values->type.shape;
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return fresh_list({values, integer_number(build, 0)});
  const Attrs along = {{"dim", static_cast<std::int64_t>(axis)}};
  const double most = std::min(range_of(call.context, shape[axis]).most, 2147483648.0);
  Shape line(shape.size(), Dim(1));
  line[axis] = shape[axis];
  Value* place = arange(build, 0, 1, shape[axis], DType::i32);
  Value* indices = expand(build, reshape(build, arange(build, 0, 1, shape[axis], DType::i64), line), shape);
  for (std::int64_t run = 1; static_cast<double>(run) < most && !build.failed(); run *= 2) {
    Value* from = build("sub", {place, integer_number(build, run, DType::i32)});
    from = build("maximum", {from, integer_number(build, 0, DType::i32)});
    Value* earlier = build("gather", {values, from}, along);
    Value* keep = build(keeps, {values, earlier});
    // NaN is more than all, the last one most: it compares with nothing, so that earlier ones stay.
    if (values != nullptr && is_floating(values->type.dtype))
      keep = build("logical_or", {keep, build("is_nan", {values})});
    indices = build("where", {keep, indices, build("gather", {indices, from}, along)});
    values = build("where", {keep, values, earlier});
  }
  return fresh_list({values, indices});
}

// ----------------------------------------------------------------------------------------------------------- quantiles

// The tensor with the axis that counts as its last one; all axes as one if none is named.
struct Ranked {
  Value* x;
  std::size_t axis;  // that it was
  std::size_t rank;  // of the tensor
  bool of_all;
};
Expected<Ranked> ranked_axis(Call& call) {
  Builder& build = call.build;
  Value* x = call.promoted({"self"}, Promotion::floating)[0];
  TAPER_TRY(build.status());
  const Shape& shape = x->type.shape;
  if (!call.given("dim")) return Ranked{reshape(build, x, {element_count(shape)}), 0, shape.size(), true};
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", shape.size()));
  if (shape.empty()) return Ranked{unsqueeze(build, x, 0), 0, 0, true};
  return Ranked{transpose(build, x, axis, shape.size() - 1), axis, shape.size(), false};
}

// [..., Q], or [..., 1], as PyTorch has it: the quantiles in front, the axis dropped or of size 1 in its place.
Value* in_pytorchs_order(Call& call, Value* y, const Ranked& ranked, bool is_vector) {
  Builder& build = call.build;
  if (y == nullptr) return y;
  const std::size_t last = shape_of(y).size() - 1;
  Value* kept = y;
  Integers dims = all_axes(last + 1);
  std::rotate(dims.begin(), dims.end() - 1, dims.end());
  kept = permute(build, y, dims);  // [Q, ...], the axis that was swapped with the last one being where it was
  Shape shape = shape_of(kept);
  if (ranked.of_all) {
    shape.assign(1, shape[0]);
    if (call.flag("keepdim")) shape.insert(shape.end(), ranked.rank, Dim(1));
    kept = reshape(build, kept, shape);
  } else {
    // [Q, axes before, the former last one in the place of the axis, axes between]: moved back, then a 1 in its place.
    kept = unsqueeze(build, kept, static_cast<std::int64_t>(last) + 1);
    kept = transpose(build, kept, ranked.axis + 1, ranked.rank);
    if (!call.flag("keepdim")) kept = squeeze(build, kept, static_cast<std::int64_t>(ranked.axis) + 1);
  }
  return is_vector ? kept : squeeze(build, kept, 0);
}

// Entries of the sorted last axis at ranks that may lie between two. `pick` gives those at whole ranks.
template <class Pick>
Expected<Value*> between_ranks(Call& call, Value* rank, Pick pick) {
  Builder& build = call.build;
  const std::string mode = call.given("interpolation") ? call.text("interpolation") : "linear";
  if (mode == "lower") return pick(build("floor", {rank}));
  if (mode == "higher") return pick(build("ceil", {rank}));
  if (mode == "nearest") return pick(build("round", {rank}));
  if (mode != "linear" && mode != "midpoint") return fail("interpolation '{}' is not known", mode);
  Value* floor = build("floor", {rank});
  Value* below = pick(floor);
  Value* above = pick(build("ceil", {rank}));
  Value* share = mode == "midpoint" ? real(build, 0.5) : build("sub", {rank, floor});
  return build("add", {below, build("mul", {build("sub", {above, below}), share})});
}

// q (n - 1), in float32 as PyTorch has it.
Value* rank_of(Builder& build, Value* q, const Dim& size) {
  const auto fractions = constant_value(q);
  const auto count = size.constant();
  if (!fractions || !count) return build("mul", {q, number(build, Arg(size - Dim(1)), DType::f32)});
  std::vector<float> ranks;
  for (const double fraction : fractions->values)
    ranks.push_back(static_cast<float>(fraction) * static_cast<float>(*count - 1));
  return build.constant(tensor_f32({static_cast<std::int64_t>(ranks.size())}, ranks), "ranks");
}

Expected<Arg> quantile(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Ranked ranked, ranked_axis(call));
  Value* q = cast(build, call.tensor("q"), DType::f32);
  const bool is_vector = !shape_of(q).empty();
  if (shape_of(q).size() > 1) return fail("quantiles {}, expected a number or a vector", type_text(q->type));
  if (!is_vector) q = reshape(build, q, {Dim(1)});
  TAPER_TRY(build.status());
  const auto last = static_cast<std::int64_t>(shape_of(ranked.x).size()) - 1;
  const Dim size = shape_of(ranked.x).back();
  Value* sorted = build("sort", {ranked.x}, {{"dim", last}, {"descending", false}, {"stable", false}});
  TAPER_ASSIGN(Value * y, between_ranks(call, rank_of(build, q, size), [&](Value* rank) {
                 return build("gather", {sorted, cast(build, rank, DType::i32)}, {{"dim", last}});
               }));
  // A row with NaN has no ranks.
  y = build("where", {has_nan(build, ranked.x, static_cast<std::size_t>(last), true), real(build, kUnknown), y});
  return fresh(in_pytorchs_order(call, y, ranked, is_vector));
}

// Those that are no numbers are sorted behind the others and don't count.
struct Numbers {
  Value* sorted;
  Value* positions;  // of the sorted ones
  Value* count;      // [..., 1]
};
Numbers sorted_numbers(Builder& build, Value* x) {
  const auto last = static_cast<std::int64_t>(shape_of(x).size()) - 1;
  Value* missing = build("is_nan", {x});
  Value* filled = build("where", {missing, real(build, std::numeric_limits<double>::infinity()), x});
  Value* there = cast(build, build("logical_not", {missing}), DType::f32);
  const auto sorted = build.call("sort", {filled}, {{"dim", last}, {"descending", false}, {"stable", true}});
  return {sorted[0], sorted[1], reduce(build, "sum", there, {last}, true)};
}

Expected<Arg> quantile_of_numbers(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Ranked ranked, ranked_axis(call));
  Value* q = cast(build, call.tensor("q"), DType::f32);
  const bool is_vector = !shape_of(q).empty();
  if (!is_vector) q = reshape(build, q, {Dim(1)});
  TAPER_TRY(build.status());
  const auto last = static_cast<std::int64_t>(shape_of(ranked.x).size()) - 1;
  const Numbers numbers = sorted_numbers(build, ranked.x);
  Value* rank = build("maximum", {build("sub", {numbers.count, real(build, 1)}), real(build, 0)});
  rank = build("mul", {rank, q});  // [..., Q]
  TAPER_ASSIGN(Value * y, between_ranks(call, rank, [&](Value* whole) {
                 return build("gather_elements", {numbers.sorted, cast(build, whole, DType::i64)}, {{"dim", last}});
               }));
  y = build("where", {build("equal", {numbers.count, real(build, 0)}), real(build, kUnknown), y});
  return fresh(in_pytorchs_order(call, y, ranked, is_vector));
}

// The lower one of two in the middle, and its position.
Expected<Arg> median_of_numbers(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Ranked ranked, ranked_axis(call));
  const auto last = static_cast<std::int64_t>(shape_of(ranked.x).size()) - 1;
  const Numbers numbers = sorted_numbers(build, ranked.x);
  Value* middle = build("mul", {build("sub", {numbers.count, real(build, 1)}), real(build, 0.5)});
  middle = build("floor", {build("maximum", {middle, real(build, 0)})});
  const auto pick = [&](Value* from) {
    return build("gather_elements", {from, cast(build, middle, DType::i64)}, {{"dim", last}});
  };
  Value* values =
      build("where", {build("equal", {numbers.count, real(build, 0)}), real(build, kUnknown), pick(numbers.sorted)});
  values = in_pytorchs_order(call, values, ranked, false);
  if (!call.given("dim")) return fresh(values);
  return fresh_list({values, in_pytorchs_order(call, pick(numbers.positions), ranked, false)});
}

// ---------------------------------------------------------------------------------------------------------- histograms

// How many entries fall into each of equal bins between two bounds; without bounds, between the least and the largest.
Expected<Arg> histogram(Call& call) {
  constexpr std::int64_t kMostBins = 1 << 16;
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const std::int64_t bins = call.integer("bins");
  const double least = call.real("min"), most = call.real("max");
  if (bins < 1 || bins > kMostBins || least > most) return fail("{} bins from {} to {}", bins, least, most);
  x = reshape(build, cast(build, x, DType::f32), {element_count(x->type.shape)});
  Value* low = real(build, least);
  Value* high = real(build, most);
  if (least == most) {
    low = reduce(build, "amin", x, {0}, false);
    high = reduce(build, "amax", x, {0}, false);
    Value* apart = cast(build, build("equal", {low, high}), DType::f32);  // 1 where all are equal
    low = build("sub", {low, apart});
    high = build("add", {high, apart});
  }
  Value* count = real(build, static_cast<double>(bins));
  Value* place = build("div", {build("mul", {build("sub", {x, low}), count}), build("sub", {high, low})});
  place = build("minimum", {build("floor", {place}), real(build, static_cast<double>(bins - 1))});
  Value* inside = build("logical_and", {build("greater_equal", {x, low}), build("less_equal", {x, high})});
  Value* matches = build("equal", {unsqueeze(build, place, 1), arange(build, 0, 1, bins, DType::f32)});
  Value* counted = cast(build, build("logical_and", {matches, unsqueeze(build, inside, 1)}), DType::f32);
  return fresh(reduce(build, "sum", counted, {0}, false));
}

}  // namespace

std::vector<Overload> statistics_overloads() {
  constexpr std::string_view kQuantiles[] = {
      "quantile(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> Tensor",
      "quantile.scalar(Tensor self, float q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> "
      "Tensor"};
  constexpr std::string_view kQuantilesOfNumbers[] = {
      "nanquantile(Tensor self, Tensor q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> Tensor",
      "nanquantile.scalar(Tensor self, float q, int? dim=None, bool keepdim=False, *, str interpolation='linear') -> "
      "Tensor"};
  std::vector<Overload> rows = {
      {"cummax(Tensor self, int dim) -> (Tensor values, Tensor indices)",
       [](Call& call) { return running_extreme(call, "greater_equal"); }},
      {"cummin(Tensor self, int dim) -> (Tensor values, Tensor indices)",
       [](Call& call) { return running_extreme(call, "less_equal"); }},
      {"nanmedian(Tensor self) -> Tensor", median_of_numbers},
      {"nanmedian.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)", median_of_numbers},
      {"histc(Tensor self, int bins=100, Scalar min=0, Scalar max=0) -> Tensor", histogram},
  };
  for (const std::string_view schema : kQuantiles) rows.push_back({schema, quantile});
  for (const std::string_view schema : kQuantilesOfNumbers) rows.push_back({schema, quantile_of_numbers});
  return rows;
}

}  // namespace taper::aten
