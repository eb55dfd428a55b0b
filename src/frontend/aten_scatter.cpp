// Entries written to places that integers name.
#include <algorithm>
#include <numeric>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// x with updates at the places of `index` along an axis; numbers count as vectors.
Expected<Arg> scattered(Call& call, Value* updates, std::string reduction) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* index = call.tensor("index");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const bool scalar = x->type.shape.empty();
  if (scalar) x = unsqueeze(build, x, 0);
  if (shape_of(index).empty()) index = unsqueeze(build, index, 0);
  if (shape_of(updates).empty()) updates = unsqueeze(build, updates, 0);
  TAPER_TRY(build.status());
  // Updates may be larger than the index: the rest is not written.
  const Shape wanted = shape_of(index);
  if (shape_of(updates).size() != wanted.size())
    return fail("an index of {} for {}", type_text(index->type), type_text(updates->type));
  for (std::size_t i = 0; i < wanted.size(); ++i) updates = slice(build, updates, i, 0, wanted[i]);
  Value* y = build("scatter_elements", {x, index, updates},
                   {{"dim", static_cast<std::int64_t>(axis)}, {"reduction", std::move(reduction)}});
  return fresh(scalar ? squeeze(build, y, 0) : y);
}

Value* source(Call& call) {
  return cast(call.build, call.tensor("src"), call.place("self")->type().dtype);
}

Value* filled(Call& call) {
  const Shape shape = call.place("index")->type().shape;
  return full(call.build, shape, call.arg("value"), call.place("self")->type().dtype);
}

// PyTorch's words for what happens to entries that meet.
Expected<std::string> reduction_named(const std::string& name) {
  if (name == "add" || name == "sum") return "add";
  if (name == "multiply" || name == "prod") return "mul";
  if (name == "amax") return "max";
  if (name == "amin") return "min";
  return fail("reduction '{}' is not known", name);
}

// What changes nothing when it is reduced with.
double neutral_of(std::string_view reduction) {
  return reduction == "add" ? 0 : reduction == "mul" ? 1 : reduction == "max" ? -3.4e38 : 3.4e38;
}

// What `reduction` starts from where the entries that were there don't count: those that are written to become what
// changes nothing.
Status clear_written(Call& call, std::string_view reduction) {
  Value* x = call.tensor("self");
  Value* start = full(call.build, call.place("index")->type().shape, Arg(neutral_of(reduction)), x->type.dtype);
  TAPER_ASSIGN(Arg cleared, scattered(call, start, "none"));
  TAPER_TRY(call.build.status());
  call.args[0] = cleared;
  return {};
}

// How many entries are written to each place.
Expected<Value*> written_counts(Call& call) {
  const Arg self = call.args[0];
  const Type& type = call.place("self")->type();
  call.args[0] = fresh(full(call.build, type.shape, Arg(0.0), type.dtype));
  Value* ones = full(call.build, call.place("index")->type().shape, Arg(1.0), type.dtype);
  TAPER_ASSIGN(const Arg counts, scattered(call, ones, "add"));
  TAPER_TRY(call.build.status());
  call.args[0] = counts;
  Value* result = call.tensor("self");
  call.args[0] = self;
  return result;
}

Expected<Arg> scatter_reduce(Call& call) {
  const std::string& name = call.text("reduce");
  const bool averages = name == "mean", includes = !call.given("include_self") || call.flag("include_self");
  TAPER_ASSIGN(std::string reduction, reduction_named(averages ? "sum" : name));
  Value* counts = nullptr;
  if (averages) {
    TAPER_ASSIGN(counts, written_counts(call));
  }
  if (!includes) TAPER_TRY(clear_written(call, reduction));
  TAPER_ASSIGN(Arg reduced, scattered(call, source(call), std::move(reduction)));
  if (!averages) return reduced;
  Builder& build = call.build;
  const DType dtype = call.place("self")->type().dtype;
  Value* one = number(build, Arg(Dim(1)), dtype);
  counts = includes ? build("add", {counts, one}) : build("maximum", {counts, one});
  TAPER_TRY(build.status());
  call.args[0] = reduced;
  return fresh(build(is_floating(dtype) ? "div" : "floor_divide", {call.tensor("self"), counts}));
}

// Whole entries of an axis: the index names the axis' positions.
Expected<Arg> along_axis(Call& call, Value* values, std::string_view reduction) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* index = call.tensor("index");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  if (x->type.shape.empty()) return fail("an axis of a number");
  if (index->type.shape.empty()) index = unsqueeze(build, index, 0);
  Integers dims = all_axes(x->type.shape.size());
  std::rotate(dims.begin(), dims.begin() + static_cast<std::ptrdiff_t>(axis),
              dims.begin() + static_cast<std::ptrdiff_t>(axis) + 1);
  Integers back = dims;
  for (std::size_t i = 0; i < dims.size(); ++i) back[static_cast<std::size_t>(dims[i])] = static_cast<std::int64_t>(i);
  Shape put = x->type.shape;
  TAPER_TRY(build.status());
  put[axis] = shape_of(index)[0];
  values = permute(build, expand(build, cast(build, values, x->type.dtype), put), dims);
  Value* y = build("scatter_nd", {permute(build, x, dims), unsqueeze(build, cast(build, index, DType::i64), 1), values},
                   {{"reduction", std::string(reduction)}});
  return fresh(permute(build, y, back));
}

Expected<Arg> index_add(Call& call) {
  Value* values = call.tensor("source");
  if (constant_integer(call.arg("alpha")) != 1)
    values = call.build("mul", {values, number(call.build, call.arg("alpha"), values->type.dtype)});
  return along_axis(call, values, "add");
}

// As scatter_reduce, for whole entries of an axis.
Expected<Arg> index_reduce(Call& call) {
  Builder& build = call.build;
  const std::string& name = call.text("reduce");
  const bool averages = name == "mean", includes = call.flag("include_self");
  TAPER_ASSIGN(const std::string reduction, reduction_named(averages ? "sum" : name));
  const Type type = call.place("self")->type();
  if (!is_floating(type.dtype)) return fail("entries of {}, expected floats", type_text(type));
  if (!includes) {
    TAPER_ASSIGN(call.args[0], along_axis(call, number(build, neutral_of(reduction), type.dtype), "none"));
    TAPER_TRY(build.status());
  }
  TAPER_ASSIGN(Arg reduced, along_axis(call, call.tensor("source"), reduction));
  if (!averages) return reduced;
  TAPER_TRY(build.status());
  call.args[0] = fresh(full(build, type.shape, Arg(includes ? 1.0 : 0.0), type.dtype));
  TAPER_ASSIGN(call.args[0], along_axis(call, number(build, 1.0, type.dtype), "add"));
  Value* counts = build("maximum", {call.tensor("self"), number(build, 1.0, type.dtype)});
  call.args[0] = reduced;
  return fresh(build("div", {call.tensor("self"), counts}));
}

Expected<Arg> index_copy(Call& call) {
  return along_axis(call, call.tensor("source"), "none");
}

Expected<Arg> index_fill(Call& call) {
  const Arg& value = call.arg("value");
  const DType dtype = call.place("self")->type().dtype;
  return along_axis(call, value.as<TensorPtr>() != nullptr ? call.tensor("value") : number(call.build, value, dtype),
                    "none");
}

// The entries of `source` in order, where the mask is true: the k-th true place takes entry k.
Expected<Arg> masked_scatter(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* mask = expand(build, cast(build, call.tensor("mask"), DType::boolean), x->type.shape);
  Value* values = cast(build, call.tensor("source"), x->type.dtype);
  const Dim count = element_count(x->type.shape);
  Value* order = build("cumsum", {cast(build, reshape(build, mask, {count}), DType::i64)}, {{"dim", std::int64_t{0}}});
  order = build("maximum", {build("sub", {order, integer_number(build, 1)}), integer_number(build, 0)});
  // A place behind the last entry is not true. There may be none at all, but an entry is looked up.
  Dim entries = element_count(shape_of(values));
  values = reshape(build, values, {entries});
  if (known_less_equal(call.context, 1, entries) != true) {
    values = concat(build, {values, full(build, {1}, Arg(Dim(0)), x->type.dtype)}, 0);
    entries = entries + Dim(1);
  }
  Value* last = number(build, Arg(entries - Dim(1)), DType::i64);
  Value* picked = build("gather", {values, build("minimum", {order, last})}, {{"dim", std::int64_t{0}}});
  return fresh(build("where", {mask, reshape(build, picked, x->type.shape), x}));
}

}  // namespace

std::vector<Overload> scatter_overloads() {
  return {
      {"scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
       [](Call& call) { return scattered(call, source(call), "none"); }},
      {"scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
       [](Call& call) { return scattered(call, filled(call), "none"); }},
      {"scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         TAPER_ASSIGN(std::string reduction, reduction_named(call.text("reduce")));
         return scattered(call, source(call), std::move(reduction));
       }},
      {"scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         TAPER_ASSIGN(std::string reduction, reduction_named(call.text("reduce")));
         return scattered(call, filled(call), std::move(reduction));
       }},
      {"scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
       [](Call& call) { return scattered(call, source(call), "add"); }},
      {"scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True) -> "
       "Tensor",
       scatter_reduce},
      {"index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor", index_add},
      {"index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True) -> "
       "Tensor",
       index_reduce},
      {"index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor", index_copy},
      {"index_fill.int_Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor", index_fill},
      {"index_fill.int_Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor", index_fill},
      {"masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor", masked_scatter},
  };
}

}  // namespace taper::aten
