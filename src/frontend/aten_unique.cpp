// Values without their repetitions.
#include <numeric>

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

// Results that were not asked for are empty; of parts of an axis PyTorch gives all.
Expected<Arg> results_of(Call& call, Value* values, Value* number, Value* lengths) {
  TAPER_TRY(call.build.status());
  const bool along = call.schema.name != "_unique" && call.schema.name != "_unique2" && call.given("dim");
  const bool counts = call.schema.name == "_unique" ? false : along || call.flag("return_counts");
  const auto wanted = [&](bool flag, Value* value) {
    return flag ? value : full(call.build, {0}, Arg(Dim(0)), DType::i64);
  };
  return fresh_list({values, wanted(along || call.flag("return_inverse"), number), wanted(counts, lengths)});
}

// One axis put in front, or from there back to its place.
Value* move_axis(Builder& build, Value* x, std::size_t from, std::size_t to) {
  if (x == nullptr || from == to) return x;
  std::vector<std::int64_t> order(x->type.shape.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  order.erase(order.begin() + static_cast<std::ptrdiff_t>(from));
  order.insert(order.begin() + static_cast<std::ptrdiff_t>(to), static_cast<std::int64_t>(from));
  return permute(build, x, std::move(order));
}

// Parts of an axis as rows of a matrix, and back: other axes become columns.
struct Parts {
  Value* rows = nullptr;
  std::size_t axis = 0;
  Shape shape;  // of the whole, with the axis in front
};
Expected<Parts> parts_along(Call& call) {
  Value* x = call.tensor("self");
  if (x == nullptr || x->type.shape.empty()) return fail("parts along an axis of a number, which has none");
  Parts parts;
  TAPER_ASSIGN(parts.axis, axis_of(call.integer("dim"), x->type.shape.size()));
  if (x->type.dtype == DType::boolean) x = cast(call.build, x, DType::u8);
  x = move_axis(call.build, x, parts.axis, 0);
  parts.shape = shape_of(x);
  const Dim columns = element_count(Shape(parts.shape.begin() + 1, parts.shape.end()));
  if (columns.constant().value_or(0) < 1 || *columns.constant() > kMostColumns)
    return fail_with_hint(fmt::format("parts of {} elements are compared, expected a known number of them, at most {}",
                                      columns.text(), kMostColumns),
                          "give what tells the parts apart in fewer elements, one number for each part at best");
  parts.rows = reshape(call.build, x, {parts.shape[0], columns});
  TAPER_TRY(call.build.status());
  return parts;
}
Value* joined_parts(Builder& build, const Parts& parts, Value* rows, DType dtype) {
  if (rows == nullptr) return nullptr;
  Shape shape = parts.shape;
  shape[0] = rows->type.shape[0];
  return move_axis(build, reshape(build, cast(build, rows, dtype), shape), 0, parts.axis);
}

Expected<Arg> unique_rows(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(const Parts parts, parts_along(call));
  const Ordered sorted = rows_in_order(build, parts.rows);
  const Runs runs = runs_in(call.context, sorted.rows);
  TAPER_TRY(build.status());
  const DType dtype = call.tensor("self")->type.dtype;
  return results_of(call, joined_parts(build, parts, runs.values, dtype),
                    put_in_order(build, sorted.order, runs.number), runs.lengths);
}

Expected<Arg> unique_consecutive(Call& call) {
  Value* x = call.tensor("self");
  if (call.given("dim")) {
    TAPER_ASSIGN(const Parts parts, parts_along(call));
    const Runs runs = runs_in(call.context, parts.rows);
    TAPER_TRY(call.build.status());
    return results_of(call, joined_parts(call.build, parts, runs.values, x->type.dtype), runs.number, runs.lengths);
  }
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
  Value* number = put_in_order(build, sorted[1], runs.number);
  return results_of(call, cast(build, runs.values, dtype), reshape(build, number, shape_of(x)), runs.lengths);
}

}  // namespace

std::vector<Overload> unique_overloads() {
  return {
      {"unique_consecutive(Tensor self, bool return_inverse=False, bool return_counts=False, int? dim=None) -> "
       "(Tensor, Tensor, Tensor)",
       unique_consecutive},
      {"unique_dim(Tensor self, int dim, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> "
       "(Tensor, Tensor, Tensor)",
       unique_rows},
      {"_unique2(Tensor self, bool sorted=True, bool return_inverse=False, bool return_counts=False) -> "
       "(Tensor, Tensor, Tensor)",
       unique},
      {"_unique(Tensor self, bool sorted=True, bool return_inverse=False) -> (Tensor, Tensor)", unique},
  };
}

}  // namespace taper::aten
