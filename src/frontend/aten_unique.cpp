// Values without their repetitions.
#include "frontend/aten_counts.h"

namespace taper::aten {
namespace {

Value* flat(Builder& build, Value* x) {
  return x == nullptr ? nullptr : reshape(build, x, {element_count(x->type.shape)});
}

// Runs of equal entries of a vector.
struct Runs {
  Value* values = nullptr;   // of each
  Value* number = nullptr;   // for each entry the run that it lies in
  Value* lengths = nullptr;  // of each
};
Runs runs_of(Context& context, Value* x) {
  Builder& build = context.build;
  if (x == nullptr) return {};
  const Dim size = x->type.shape[0];
  const Attrs along = {{"dim", std::int64_t{0}}};
  // An entry unlike the one before it; the first one has none.
  Value* place = arange(build, 0, 1, size, DType::i64);
  Value* before = build("maximum", {build("sub", {place, integer_number(build, 1)}), integer_number(build, 0)});
  Value* begins = build("logical_or", {build("equal", {place, integer_number(build, 0)}),
                                       build("not_equal", {x, build("gather", {x, before}, along)})});
  Value* starts = places_of(context, begins);
  if (starts == nullptr) return {};
  const Dim count = starts->type.shape[0];
  starts = reshape(build, starts, {count});
  Runs runs;
  runs.values = build("gather", {x, starts}, along);
  runs.number = build("sub", {build("cumsum", {cast(build, begins, DType::i64)}, along), integer_number(build, 1)});
  Value* bounds = concat(build, {starts, size_vector(build, {size})}, 0);
  if (bounds != nullptr) runs.lengths = build("sub", {slice(build, bounds, 0, 1, count + Dim(1)), starts});
  return runs;
}

Expected<Arg> results_of(Call& call, Value* values, Value* number, Value* lengths) {
  TAPER_TRY(call.build.status());
  return fresh_list({values, number, lengths});
}

Expected<Arg> unique_consecutive(Call& call) {
  if (call.given("dim")) return fail("rows without repetitions (dim) are not read, only those of all elements");
  Value* x = call.tensor("self");
  const Runs runs = runs_of(call.context, flat(call.build, x));
  return results_of(call, runs.values, reshape(call.build, runs.number, shape_of(x)), runs.lengths);
}

Expected<Arg> unique(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const DType dtype = x->type.dtype;
  Value* entries = flat(build, dtype == DType::boolean ? cast(build, x, DType::u8) : x);
  if (entries == nullptr) return fail("no tensor");
  const std::vector<Value*> sorted = build.call("sort", {entries}, {{"dim", std::int64_t{0}}});
  const Runs runs = runs_of(call.context, sorted[0]);
  TAPER_TRY(build.status());
  Value* number =
      build("scatter_elements", {build("zeros_like", {sorted[1]}), sorted[1], runs.number}, {{"dim", std::int64_t{0}}});
  return results_of(call, cast(build, runs.values, dtype), reshape(build, number, shape_of(x)), runs.lengths);
}

}  // namespace

std::vector<Overload> unique_overloads() {
  return {
      {"unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> "
       "(Tensor, Tensor, Tensor)",
       unique_consecutive},
      {"_unique2(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> "
       "(Tensor, Tensor, Tensor)",
       unique},
      {"_unique(Tensor self, bool sorted=True, bool return_inverse=False) -> (Tensor, Tensor)", unique},
  };
}

}  // namespace taper::aten
