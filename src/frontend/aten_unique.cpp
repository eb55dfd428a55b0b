// Values without their repetitions.
#include "frontend/aten_counts.h"

namespace taper::aten {
namespace {

Value* flat(Builder& build, Value* x) {
  return x == nullptr ? nullptr : reshape(build, x, {element_count(x->type.shape)});
}

Runs runs_in(Context& context, Value* x) {
  Builder& build = context.build;
  Value* begins = run_begins(build, x);
  Value* starts = places_of(context, begins);
  if (starts != nullptr) starts = reshape(build, starts, {starts->type.shape[0]});
  return runs_of(build, x, begins, starts);
}

// Results that were not asked for are empty.
Expected<Arg> results_of(Call& call, Value* values, Value* number, Value* lengths) {
  TAPER_TRY(call.build.status());
  const bool counts = call.schema.name == "_unique" ? false : call.flag("return_counts");
  const auto wanted = [&](bool flag, Value* value) {
    return flag ? value : full(call.build, {0}, Arg(Dim(0)), DType::i64);
  };
  return fresh_list({values, wanted(call.flag("return_inverse"), number), wanted(counts, lengths)});
}

Expected<Arg> unique_consecutive(Call& call) {
  if (call.given("dim")) return fail("rows without repetitions (dim) are not read, only those of all elements");
  Value* x = call.tensor("self");
  const Runs runs = runs_in(call.context, flat(call.build, x));
  return results_of(call, runs.values, reshape(call.build, runs.number, shape_of(x)), runs.lengths);
}

Expected<Arg> unique(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const DType dtype = x->type.dtype;
  Value* entries = flat(build, dtype == DType::boolean ? cast(build, x, DType::u8) : x);
  if (entries == nullptr) return fail("no tensor");
  const std::vector<Value*> sorted = build.call("sort", {entries}, {{"dim", std::int64_t{0}}});
  const Runs runs = runs_in(call.context, sorted[0]);
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
