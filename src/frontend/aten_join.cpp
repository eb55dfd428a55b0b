// Joining, repeating and reordering entries.
#include <algorithm>

#include "frontend/aten_counts.h"
#include "ops/rules.h"

namespace taper::aten {
namespace {

// Tensors of a list in their common dtype.
std::vector<Value*> promoted_list(Call& call, std::string_view name) {
  std::vector<Value*> values = call.tensors(name);
  const auto* list = call.arg(name).as<Arg::List>();
  if (list == nullptr) return values;
  const DType common = result_type(*list);
  for (Value*& value : values) value = cast(call.build, value, common);
  return values;
}

Expected<Arg> joined(Call& call, std::vector<Value*> parts, std::int64_t dim) {
  // An empty vector joins anything, by an old habit.
  if (parts.size() > 1 && std::ranges::any_of(parts, [](Value* part) { return shape_of(part).size() > 1; }))
    std::erase_if(parts, [](Value* part) { return shape_of(part) == Shape{Dim(0)}; });
  if (parts.empty()) return fail("nothing to join");
  TAPER_ASSIGN(const std::size_t axis, axis_of(dim, shape_of(parts[0]).size()));
  return fresh(concat(call.build, std::move(parts), axis));
}

Expected<Arg> cat(Call& call) {
  return joined(call, promoted_list(call, "tensors"), call.integer("dim"));
}

Expected<Arg> stack(Call& call) {
  std::vector<Value*> parts = promoted_list(call, "tensors");
  if (parts.empty()) return fail("nothing to join");
  TAPER_ASSIGN(const std::size_t axis, axis_of(call.integer("dim"), shape_of(parts[0]).size() + 1));
  for (Value*& part : parts) part = unsqueeze(call.build, part, static_cast<std::int64_t>(axis));
  TAPER_TRY(call.build.status());
  return fresh(concat(call.build, std::move(parts), axis));
}

// The list with each tensor at least of a rank; new axes of size 1 stand at the front, or as columns do.
std::vector<Value*> of_rank(Builder& build, std::vector<Value*> parts, std::size_t rank, bool columns) {
  for (Value*& part : parts)
    while (part != nullptr && shape_of(part).size() < rank)
      part = unsqueeze(build, part, columns && shape_of(part).size() == 1 ? 1 : 0);
  return parts;
}

Expected<Arg> stack_columns(Call& call) {
  std::vector<Value*> parts = of_rank(call.build, promoted_list(call, "tensors"), 1, false);
  const bool vectors = !parts.empty() && shape_of(parts[0]).size() == 1;
  return joined(call, std::move(parts), vectors ? 0 : 1);
}

Expected<Arg> stack_rows(Call& call) {
  return joined(call, of_rank(call.build, promoted_list(call, "tensors"), 2, false), 0);
}

Expected<Arg> column_stack(Call& call) {
  return joined(call, of_rank(call.build, promoted_list(call, "tensors"), 2, true), 1);
}

Expected<Arg> stack_depth(Call& call) {
  std::vector<Value*> parts = of_rank(call.build, promoted_list(call, "tensors"), 2, false);
  for (Value*& part : parts)
    if (shape_of(part).size() == 2) part = unsqueeze(call.build, part, 2);
  return joined(call, std::move(parts), 2);
}

// ------------------------------------------------------------------------------------------------------------
// repeating

Expected<Arg> repeat_by(Call& call, Shape repeats) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Shape from = x->type.shape;
  while (from.size() < repeats.size()) from.insert(from.begin(), Dim(1));
  if (from.size() != repeats.size())
    return fail("{} repeats of a tensor of rank {}", repeats.size(), x->type.shape.size());
  x = reshape(build, x, from);
  if (const auto constants = constant_sizes(repeats)) {
    if (std::ranges::all_of(*constants, [](std::int64_t times) { return times == 1; })) return fresh(x);
    return fresh(build("tile", {x}, {{"repeats", *constants}}));
  }
  // Each axis becomes two, of which the first is expanded.
  Shape apart, wide, out;
  for (std::size_t i = 0; i < from.size(); ++i) {
    apart.insert(apart.end(), {Dim(1), from[i]});
    wide.insert(wide.end(), {repeats[i], from[i]});
    out.push_back(repeats[i] * from[i]);
  }
  return fresh(reshape(build, expand(build, reshape(build, x, apart), wide), out));
}

Expected<Arg> tile(Call& call) {
  Shape repeats = call.sizes("dims");
  while (repeats.size() < call.place("self")->type().shape.size()) repeats.insert(repeats.begin(), Dim(1));
  return repeat_by(call, std::move(repeats));
}

// For each place of the result the entry that stands there, where entry i is repeated repeats[i] times.
Expected<Value*> repeated_entries(Call& call, Value* repeats) {
  constexpr std::int64_t kMost = 1 << 24;
  Builder& build = call.build;
  if (shape_of(repeats).size() != 1) return fail("repeats {}, expected a vector", type_text(repeats->type));
  if (const auto known = constant_value(repeats)) {
    std::vector<std::int64_t> entries;
    for (std::size_t i = 0; i < known->values.size(); ++i) {
      if (!(known->values[i] >= 0 && static_cast<double>(entries.size()) + known->values[i] <= kMost))
        return fail("an entry is repeated {} times", known->values[i]);
      entries.insert(entries.end(), static_cast<std::size_t>(known->values[i]), static_cast<std::int64_t>(i));
    }
    return integer_vector(build, entries);
  }
  Value* whole = cast(build, repeats, DType::i64);
  TAPER_TRY(build.status());
  const Dim length = call.given("output_size") ? call.size("output_size")
                                               : measured_size(call.context, reduce(build, "sum", whole, {0}, false));
  TAPER_TRY(build.status());
  // As many entries as end at or before the place.
  Value* ends = build("cumsum", {whole}, {{"dim", std::int64_t{0}}});
  Value* place = unsqueeze(build, arange(build, 0, 1, length, DType::i64), 1);
  Value* entries = reduce(build, "sum", cast(build, build("less_equal", {ends, place}), DType::i64), {1}, false);
  // Repeats with another sum are an error in PyTorch; here the last entry stands for what is missing.
  return build("minimum", {entries, number(build, Arg(shape_of(repeats)[0] - Dim(1)), DType::i64)});
}

// Each entry of an axis so many times in a row.
Expected<Arg> repeat_interleave(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Dim repeats = call.arg("repeats").as<Dim>() != nullptr ? call.size("repeats") : Dim(1);
  if (!call.given("dim")) x = reshape(build, x, {element_count(x->type.shape)});
  TAPER_TRY(build.status());
  const Shape from = x->type.shape;
  TAPER_ASSIGN(const std::size_t axis, axis_of(call.integer_or("dim", 0), from.size()));
  if (from.empty()) return fail("the entries of a number");
  if (call.arg("repeats").as<TensorPtr>() != nullptr) {
    Value* tensor = call.tensor("repeats");
    const auto known = known_integers(tensor);
    const bool equal =
        known && !known->empty() && std::ranges::all_of(*known, [&](const Dim& n) { return n == known->front(); });
    if (!equal) {
      TAPER_ASSIGN(Value * entries, repeated_entries(call, tensor));
      return fresh(build("gather", {x, entries}, {{"dim", static_cast<std::int64_t>(axis)}}));
    }
    repeats = known->front();
  }
  const auto at = static_cast<std::ptrdiff_t>(axis) + 1;
  Shape wide = from, out = from;
  wide.insert(wide.begin() + at, repeats);
  out[axis] = from[axis] * repeats;
  return fresh(reshape(build, expand(build, unsqueeze(build, x, at), wide), out));
}

// -----------------------------------------------------------------------------------------------------------
// reordering

Expected<Arg> flip_axes(Call& call, const Integers& dims) {
  Value* x = call.tensor("self");
  Integers axes;
  for (const std::int64_t dim : dims) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dim, x->type.shape.size()));
    axes.push_back(static_cast<std::int64_t>(axis));
  }
  if (axes.empty() || x->type.shape.empty()) return fresh(x);
  return fresh(call.build("flip", {x}, {{"dims", axes}}));
}

// Entries move towards the end by `shift`; those that fall off come in at the front.
Value* roll_axis(const Context& context, Value* x, std::size_t axis, const Dim& shift) {
  if (x == nullptr) return nullptr;
  Builder& build = context.build;
  const Dim& size = x->type.shape[axis];
  Dim start = size - shift;  // the entry that comes first
  if (const auto known = size.constant(), by = shift.constant(); known && by) {
    if (*known == 0) return x;
    start = ((-*by % *known) + *known) % *known;
  } else if (known_less_equal(context, shift, size) != true ||
             known_less_equal(context, Dim(0) - shift, size) != true) {
    // Perhaps more than once around.
    Value* entries = build("sub", {arange(build, 0, 1, size, DType::i64), size_vector(build, {shift})});
    Value* wrapped = build("remainder", {entries, size_vector(build, {size})});
    return build("gather", {x, wrapped}, {{"dim", static_cast<std::int64_t>(axis)}});
  } else if (known_less_equal(context, shift, 0) == true) {
    start = Dim(0) - shift;
  }
  if (start.is(0) || start == size) return x;
  return concat(build, {slice(build, x, axis, start, size), slice(build, x, axis, 0, start)}, axis);
}

Expected<Arg> roll(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Shape shifts = call.sizes("shifts");
  const Integers dims = call.integers("dims");
  if (dims.empty()) {
    if (shifts.size() != 1) return fail("{} shifts of a vector", shifts.size());
    Value* flat = roll_axis(call.context, reshape(build, x, {element_count(x->type.shape)}), 0, shifts[0]);
    return fresh(reshape(build, flat, x->type.shape));
  }
  if (dims.size() != shifts.size()) return fail("{} shifts of {} axes", shifts.size(), dims.size());
  const std::size_t rank = x->type.shape.size();
  if (rank == 0) return fresh(x);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    TAPER_ASSIGN(const std::size_t axis, axis_of(dims[i], rank));
    x = roll_axis(call.context, x, axis, shifts[i]);
  }
  return fresh(x);
}

// A quarter turn: transposed, then flipped.
Expected<Arg> rotate(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Integers dims = call.integers("dims");
  const std::size_t rank = x->type.shape.size();
  if (dims.size() != 2) return fail("a turn in {} axes", dims.size());
  TAPER_ASSIGN(const std::size_t a, axis_of(dims[0], rank));
  TAPER_ASSIGN(const std::size_t b, axis_of(dims[1], rank));
  if (rank < 2 || a == b) return fail("a turn of axes {} and {}", dims[0], dims[1]);
  const std::int64_t turns = ((call.integer("k") % 4) + 4) % 4;
  const auto flip = [&](Value* v, std::initializer_list<std::size_t> axes) {
    Integers flipped;
    for (const std::size_t axis : axes) flipped.push_back(static_cast<std::int64_t>(axis));
    return build("flip", {v}, {{"dims", flipped}});
  };
  if (turns == 1) return fresh(transpose(build, flip(x, {b}), a, b));
  if (turns == 2) return fresh(flip(x, {a, b}));
  if (turns == 3) return fresh(flip(transpose(build, x, a, b), {b}));
  return fresh(x);
}

Expected<Arg> triangle(Call& call) {
  return fresh(call.build(call.overload.row, {call.tensor("self")}, {{"diagonal", call.integer("diagonal")}}));
}

Expected<Arg> mesh_grid(Call& call) {
  Builder& build = call.build;
  std::vector<Value*> parts = call.tensors("tensors");
  const bool columns_first = call.text("indexing") == "xy" && parts.size() > 1;
  if (columns_first) std::swap(parts[0], parts[1]);
  Shape shape;
  for (Value* part : parts) {
    if (shape_of(part).size() > 1) return fail("a grid of {}", type_text(part->type));
    shape.push_back(shape_of(part).empty() ? Dim(1) : shape_of(part)[0]);
  }
  std::vector<Value*> grids;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Shape along(parts.size(), Dim(1));
    along[i] = shape[i];
    grids.push_back(expand(build, reshape(build, parts[i], along), shape));
  }
  if (columns_first) std::swap(grids[0], grids[1]);
  return fresh_list(grids);
}

// All pairs, triples, ... of the entries of vectors, a row each.
Expected<Arg> cartesian_product(Call& call) {
  Builder& build = call.build;
  std::vector<Value*> parts = promoted_list(call, "tensors");
  TAPER_TRY(build.status());
  Shape shape;
  for (const Value* part : parts) {
    if (shape_of(part).size() != 1) return fail("a product with {}, expected vectors", type_text(part->type));
    shape.push_back(shape_of(part)[0]);
  }
  if (parts.empty()) return fail("nothing to combine");
  if (parts.size() == 1) return fresh(parts[0]);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Shape along(parts.size(), Dim(1));
    along[i] = shape[i];
    parts[i] = reshape(build, expand(build, reshape(build, parts[i], along), shape), {element_count(shape), 1});
  }
  return fresh(concat(build, std::move(parts), 1));
}

Expected<Shape> common_shape(const std::vector<Value*>& values) {
  Shape shape;
  for (Value* value : values) {
    TAPER_ASSIGN(shape, broadcast(shape, shape_of(value)));
  }
  return shape;
}

Expected<Arg> broadcast_tensors(Call& call) {
  std::vector<Value*> values = call.tensors("tensors");
  TAPER_ASSIGN(const Shape shape, common_shape(values));
  for (Value*& value : values) value = expand(call.build, value, shape);
  return fresh_list(values);
}

Expected<Arg> at_least_rank(Call& call, std::size_t rank) {
  Value* x = call.tensor("self");
  const std::size_t own = x->type.shape.size();
  if (rank >= 3 && own == 2) return fresh(unsqueeze(call.build, x, 2));
  if (rank >= 3 && own == 1) return fresh(unsqueeze(call.build, unsqueeze(call.build, x, 0), 2));
  for (std::size_t i = own; i < rank; ++i) x = unsqueeze(call.build, x, 0);
  return fresh(x);
}

}  // namespace

std::vector<Overload> join_overloads() {
  return {
      {"cat(Tensor[] tensors, int dim=0) -> Tensor", cat},
      {"stack(Tensor[] tensors, int dim=0) -> Tensor", stack},
      {"_stack(Tensor[] tensors, int dim=0) -> Tensor", stack},
      {"hstack(Tensor[] tensors) -> Tensor", stack_columns},
      {"vstack(Tensor[] tensors) -> Tensor", stack_rows},
      {"dstack(Tensor[] tensors) -> Tensor", stack_depth},
      {"column_stack(Tensor[] tensors) -> Tensor", column_stack},
      {"repeat(Tensor self, SymInt[] repeats) -> Tensor",
       [](Call& call) { return repeat_by(call, call.sizes("repeats")); }},
      {"tile(Tensor self, SymInt[] dims) -> Tensor", tile},
      {"repeat_interleave.self_int(Tensor self, SymInt repeats, int? dim=None, *, SymInt? output_size=None) -> Tensor",
       repeat_interleave},
      {"repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, SymInt? output_size=None) -> "
       "Tensor",
       repeat_interleave},
      {"repeat_interleave.Tensor(Tensor repeats, *, SymInt? output_size=None) -> Tensor",
       [](Call& call) -> Expected<Arg> {
         TAPER_ASSIGN(Value * entries, repeated_entries(call, call.tensor("repeats")));
         return fresh(entries);
       }},
      {"flip(Tensor self, int[] dims) -> Tensor", [](Call& call) { return flip_axes(call, call.integers("dims")); }},
      {"fliplr(Tensor self) -> Tensor", [](Call& call) { return flip_axes(call, {1}); }},
      {"flipud(Tensor self) -> Tensor", [](Call& call) { return flip_axes(call, {0}); }},
      {"roll(Tensor self, SymInt[1] shifts, int[1] dims=[]) -> Tensor", roll},
      {"rot90(Tensor self, int k=1, int[] dims=[0,1]) -> Tensor", rotate},
      {.schema = "tril(Tensor self, int diagonal=0) -> Tensor", .build = triangle, .row = "tril"},
      {.schema = "triu(Tensor self, int diagonal=0) -> Tensor", .build = triangle, .row = "triu"},
      {"meshgrid(Tensor[] tensors) -> Tensor[]", mesh_grid},
      {"meshgrid.indexing(Tensor[] tensors, *, str indexing) -> Tensor[]", mesh_grid},
      {"cartesian_prod(Tensor[] tensors) -> Tensor", cartesian_product},
      {"broadcast_tensors(Tensor[] tensors) -> Tensor[]", broadcast_tensors},
      {"atleast_1d(Tensor self) -> Tensor", [](Call& call) { return at_least_rank(call, 1); }},
      {"atleast_2d(Tensor self) -> Tensor", [](Call& call) { return at_least_rank(call, 2); }},
      {"atleast_3d(Tensor self) -> Tensor", [](Call& call) { return at_least_rank(call, 3); }},
  };
}

}  // namespace taper::aten
