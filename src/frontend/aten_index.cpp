// Entries picked by integers.
#include <algorithm>

#include "frontend/aten_counts.h"
#include "frontend/aten_packed.h"
#include "ops/rules.h"

namespace taper::aten {
namespace {

// Whether no integer of the value is below 0, as far as its making shows within a budget of values looked at.
bool is_never_negative(const Value* value, int& budget) {
  if (value == nullptr || value->producer == nullptr || --budget < 0) return false;
  if (value->type.dtype == DType::boolean || value->type.dtype == DType::u8) return true;
  const Node& node = *value->producer;
  const auto operand = [&](std::size_t i) {
    return i < node.operands.size() && is_never_negative(node.operands[i], budget);
  };
  const auto all_from = [&](std::size_t first) {
    for (std::size_t i = first; i < node.operands.size(); ++i)
      if (!operand(i)) return false;
    return node.operands.size() > first;
  };
  const auto is_one_of = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, std::string_view(node.op)) != names.end();
  };
  if (constant_of(value) != nullptr) {
    const auto known = constant_value(value);
    return known && std::ranges::none_of(known->values, [](double i) { return i < 0; });
  }
  if (is_one_of({"argmax", "argmin", "shape_of", "sizes", "abs", "one_hot", "nonzero"})) return true;
  if (is_one_of({"topk", "sort"})) return value->index == 1;
  if (node.op == "arange") {
    const auto start = node.attrs.get<Shape>("start")[0].constant();
    return start && *start >= 0 && node.attrs.integer("step") >= 0;
  }
  // Moved, or the data of a lookup; a cast of floats may start below 0 as well.
  if (is_one_of({"cast", "reshape", "expand", "unsqueeze", "squeeze", "permute", "slice", "select", "gather",
                 "gather_nd", "gather_elements", "floor_divide", "trunc_divide", "shift_right", "cumsum", "amax",
                 "amin", "sum"}))
    return operand(0) && (!is_one_of({"floor_divide", "trunc_divide"}) || operand(1));
  if (is_one_of({"add", "mul", "minimum", "concat", "stack"})) return all_from(0);
  if (is_one_of({"maximum", "bitwise_and"})) return operand(0) || operand(1);
  if (node.op == "remainder") return operand(1);  // it has the divisor's sign
  if (node.op == "where") return all_from(1);
  return false;
}

// Negative integers count from the end. What can't be negative costs no comparison.
Value* positions(Builder& build, Value* index, const Dim& size) {
  constexpr int kMostValues = 64;
  int budget = kMostValues;
  if (index == nullptr || is_never_negative(index, budget)) return index;
  const auto known = constant_value(index);
  if (known && std::ranges::none_of(known->values, [](double i) { return i < 0; })) return index;
  Value* wrapped = build("add", {index, number(build, Arg(size), index->type.dtype)});
  Value* negative = build("less", {index, integer_number(build, 0, index->type.dtype)});
  return build("where", {negative, wrapped, index});
}

Expected<Arg> embedding(Call& call) {
  return fresh(call.build("gather", {call.tensor("weight"), call.tensor("indices")}, {{"dim", std::int64_t{0}}}));
}

Expected<Arg> index_select(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* index = call.tensor("index");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  if (x->type.shape.empty()) return fresh(x);
  if (index->type.shape.empty()) index = unsqueeze(build, index, 0);
  if (Value* before = put_back(x, axis, index)) return fresh(before);
  return fresh(build("gather", {x, index}, {{"dim", static_cast<std::int64_t>(axis)}}));
}

Expected<Arg> gather(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* index = call.tensor("index");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  const bool scalar = index->type.shape.empty();
  if (x->type.shape.empty()) x = unsqueeze(build, x, 0);
  if (scalar) index = unsqueeze(build, index, 0);
  Value* y = build("gather_elements", {x, index}, {{"dim", static_cast<std::int64_t>(axis)}});
  return fresh(scalar ? squeeze(build, y, 0) : y);
}

// Entries that one index per position picks along an axis; without an axis of the flattened tensor.
Expected<Arg> take_along(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* index = call.tensor("indices");
  if (!call.given("dim")) {
    const auto flat = [&](Value* v) { return reshape(build, v, {element_count(shape_of(v))}); };
    return fresh(build("gather", {flat(x), flat(index)}, {{"dim", std::int64_t{0}}}));
  }
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", x->type.shape.size()));
  // The other axes broadcast.
  Shape from = x->type.shape, to = index->type.shape;
  if (from.size() != to.size() || from.empty()) return fail("ranks {} and {}", from.size(), to.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (i == axis) continue;
    if (from[i].is(1)) from[i] = to[i];
    if (to[i].is(1)) to[i] = from[i];
  }
  return fresh(build("gather_elements", {expand(build, x, from), expand(build, index, to)},
                     {{"dim", static_cast<std::int64_t>(axis)}}));
}

Expected<Arg> take(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Dim count = element_count(x->type.shape);
  Value* index = positions(build, call.tensor("index"), count);
  return fresh(build("gather", {reshape(build, x, {count}), index}, {{"dim", std::int64_t{0}}}));
}

// ------------------------------------------------------------------------------------------------------- index.Tensor

// The column of an axis of the places where a mask is true.
Value* column_of(Builder& build, Value* places, std::size_t axis) {
  const Shape& shape = shape_of(places);
  if (shape[1].is(1)) return reshape(build, places, {shape[0]});
  return build("select", {places}, {{"dim", std::int64_t{1}}, {"index", static_cast<std::int64_t>(axis)}});
}

// A mask is the positions where it is true.
std::vector<Value*> as_positions(Call& call, Value* index) {
  Builder& build = call.build;
  if (index->type.dtype != DType::boolean && index->type.dtype != DType::u8) return {index};
  const std::size_t rank = index->type.shape.size();
  std::vector<Value*> out;
  if (const auto known = constant_value(index)) {
    std::vector<Integers> found(rank);
    for (std::size_t i = 0; i < known->values.size(); ++i) {
      if (known->values[i] == 0) continue;
      std::int64_t rest = static_cast<std::int64_t>(i);
      for (std::size_t axis = rank; axis-- > 0; rest /= known->shape[axis])
        found[axis].push_back(rest % known->shape[axis]);
    }
    for (const Integers& axis : found) out.push_back(integer_vector(build, axis));
    return out;
  }
  Value* places = places_of(call.context, cast(build, index, DType::boolean));
  for (std::size_t axis = 0; places != nullptr && axis < rank; ++axis) out.push_back(column_of(build, places, axis));
  return out;
}

// One index per axis of `rank`, null where the axis is taken whole.
Expected<std::vector<Value*>> indices_of(Call& call, const Shape& shape) {
  std::vector<Value*> out;
  for (Value* index : call.tensors("indices")) {
    if (index == nullptr) {
      out.push_back(nullptr);
      continue;
    }
    for (Value* part : as_positions(call, index)) {
      if (out.size() >= shape.size()) return fail("more indices than the {} axes", shape.size());
      out.push_back(positions(call.build, part, shape[out.size()]));
    }
  }
  if (out.size() > shape.size()) return fail("{} indices for {} axes", out.size(), shape.size());
  out.resize(shape.size(), nullptr);
  TAPER_TRY(call.build.status());
  return out;
}

// Where the indexed axes go: the order that brings them to the front, and where their result stands.
struct Layout {
  Integers order;         // indexed axes, then the others
  std::size_t count = 0;  // indexed axes
  std::size_t place = 0;  // of the axes of the index in the result
};
Layout layout_of(const std::vector<Value*>& indices) {
  Layout layout;
  Integers others;
  bool adjacent = true;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] == nullptr) {
      others.push_back(static_cast<std::int64_t>(i));
      continue;
    }
    if (layout.count > 0 && indices[i - 1] == nullptr) adjacent = false;
    if (layout.count == 0) layout.place = i;
    layout.order.push_back(static_cast<std::int64_t>(i));
    ++layout.count;
  }
  if (!adjacent) layout.place = 0;
  layout.order.insert(layout.order.end(), others.begin(), others.end());
  return layout;
}

// The value whose columns, all of them in order, the indices are; null if they are no such.
Value* whole_places(const std::vector<Value*>& indices) {
  Value* places = nullptr;
  std::int64_t column = 0;
  for (Value* index : indices) {
    if (index == nullptr) continue;
    const Node* node = index->producer;
    if (node == nullptr || node->op != "select" || node->operands[0]->producer == nullptr) return nullptr;
    if (node->operands[0]->producer->op != "nonzero" || node->attrs.integer("dim") != 1) return nullptr;
    if (node->attrs.integer("index") != column++ || (places != nullptr && places != node->operands[0])) return nullptr;
    places = node->operands[0];
  }
  return places != nullptr && places->type.shape[1].is(column) ? places : nullptr;
}

// The indices side by side in a new last axis, each of the common shape.
Expected<Value*> joined_indices(Builder& build, const std::vector<Value*>& indices, Shape& common) {
  if (Value* places = whole_places(indices)) {
    common = {places->type.shape[0]};
    return places;
  }
  for (Value* index : indices)
    if (index != nullptr) {
      TAPER_ASSIGN(common, broadcast(common, shape_of(index)));
    }
  std::vector<Value*> parts;
  for (Value* index : indices)
    if (index != nullptr)
      parts.push_back(unsqueeze(build, expand(build, cast(build, index, DType::i64), common),
                                static_cast<std::int64_t>(common.size())));
  TAPER_TRY(build.status());
  return concat(build, std::move(parts), common.size());
}

// The axes of the index, which stand first, moved to where PyTorch has them.
Value* moved_index_axes(Builder& build, Value* x, std::size_t index_axes, std::size_t place) {
  if (x == nullptr || place == 0) return x;
  const std::size_t rank = x->type.shape.size();
  Integers dims;
  for (std::size_t i = 0; i < place; ++i) dims.push_back(static_cast<std::int64_t>(index_axes + i));
  for (std::size_t i = 0; i < index_axes; ++i) dims.push_back(static_cast<std::int64_t>(i));
  for (std::size_t i = index_axes + place; i < rank; ++i) dims.push_back(static_cast<std::int64_t>(i));
  return permute(build, x, dims);
}

Expected<Arg> index(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (const auto given = call.tensors("indices"); given.size() == 1)
    if (Value* before = put_back(x, 0, given[0])) return fresh(before);
  TAPER_ASSIGN(const std::vector<Value*> indices, indices_of(call, x->type.shape));
  const Layout layout = layout_of(indices);
  if (layout.count == 0) return fresh(x);
  if (layout.count == 1) {
    Value* one = *std::ranges::find_if(indices, [](Value* entry) { return entry != nullptr; });
    return fresh(build("gather", {x, one}, {{"dim", layout.order[0]}}));
  }
  Shape common;
  TAPER_ASSIGN(Value * joined, joined_indices(build, indices, common));
  Value* y = build("gather_nd", {permute(build, x, layout.order), joined});
  return fresh(moved_index_axes(build, y, common.size(), layout.place));
}

// A mask and one value choose by element.
Expected<std::optional<Arg>> masked_put(Call& call, Value* x) {
  const auto masks = call.tensors("indices");
  Value* value = call.tensor("values");
  if (masks.size() != 1 || masks[0] == nullptr || masks[0]->type.dtype != DType::boolean) return std::nullopt;
  if (constant_value(masks[0]) || !element_count(value->type.shape).is(1)) return std::nullopt;
  Builder& build = call.build;
  Shape mask = masks[0]->type.shape;
  mask.resize(x->type.shape.size(), Dim(1));
  Value* one = cast(build, reshape(build, value, {}), x->type.dtype);
  Value* wide = reshape(build, masks[0], mask);
  if (call.flag("accumulate")) one = build("add", {x, one});
  return std::optional(fresh(build("where", {wide, one, x})));
}

Expected<Arg> index_put(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const auto masked, masked_put(call, x));
  if (masked) return *masked;
  TAPER_ASSIGN(const std::vector<Value*> indices, indices_of(call, x->type.shape));
  const Layout layout = layout_of(indices);
  Value* values = cast(build, call.tensor("values"), x->type.dtype);
  const bool accumulate = call.flag("accumulate");
  if (layout.count == 0) {
    values = expand(build, values, x->type.shape);
    return fresh(accumulate ? build("add", {x, values}) : values);
  }
  Shape common;
  TAPER_ASSIGN(Value * joined, joined_indices(build, indices, common));
  Value* base = permute(build, x, layout.order);
  TAPER_TRY(build.status());
  // The shape of what is put, in PyTorch's order, and from there with the index axes first.
  Shape put;
  for (std::size_t i = layout.count; i < layout.order.size(); ++i) put.push_back(shape_of(base)[i]);
  put.insert(put.begin() + static_cast<std::ptrdiff_t>(layout.place), common.begin(), common.end());
  values = expand(build, values, put);
  Integers first;
  for (std::size_t i = 0; i < common.size(); ++i) first.push_back(static_cast<std::int64_t>(layout.place + i));
  for (std::size_t i = 0; i < put.size(); ++i)
    if (i < layout.place || i >= layout.place + common.size()) first.push_back(static_cast<std::int64_t>(i));
  values = permute(build, values, first);
  const std::string reduction = accumulate ? "add" : "none";
  Value* y = build("scatter_nd", {base, joined, values}, {{"reduction", reduction}});
  Integers back(layout.order.size());
  for (std::size_t i = 0; i < back.size(); ++i)
    back[static_cast<std::size_t>(layout.order[i])] = static_cast<std::int64_t>(i);
  return fresh(permute(build, y, back));
}

// The places where x is not zero, a row of indices each.
Value* nonzero_places(Call& call, Value* x) {
  Builder& build = call.build;
  Value* mask = cast(build, x, DType::boolean);
  if (mask == nullptr) return nullptr;
  if (!constant_value(mask)) return places_of(call.context, mask);
  std::vector<Value*> columns;
  for (Value* column : as_positions(call, mask)) columns.push_back(unsqueeze(build, column, 1));
  return concat(build, std::move(columns), 1);
}

Expected<Arg> masked_select(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const Shape shape, broadcast(x->type.shape, call.tensor("mask")->type.shape));
  Value* mask = expand(build, call.tensor("mask"), shape);
  x = expand(build, x, shape);
  if (shape.empty()) {
    mask = unsqueeze(build, mask, 0);
    x = unsqueeze(build, x, 0);
  }
  return fresh(build("gather_nd", {x, nonzero_places(call, mask)}));
}

Expected<Arg> nonzero(Call& call) {
  Builder& build = call.build;
  const bool is_where = call.schema.name == "where", by_axis = is_where || call.schema.name == "nonzero_numpy";
  Value* x = call.tensor(is_where ? "condition" : "self");
  if (const std::size_t rank = x->type.shape.size(); rank == 0) {
    // One row without indices if the number is not zero; as lists, it is a vector of one entry.
    x = unsqueeze(build, x, 0);
    if (!by_axis) return fresh(slice(build, nonzero_places(call, x), 1, 0, 0));
  }
  Value* places = nonzero_places(call, x);
  TAPER_TRY(build.status());
  if (!by_axis) return fresh(places);
  std::vector<Value*> columns;
  for (std::size_t axis = 0; axis < x->type.shape.size(); ++axis) columns.push_back(column_of(build, places, axis));
  return fresh_list(columns);
}

// The positions of the first `size` entries that are not zero, a row each; where there are fewer, `fill_value`.
Expected<Arg> static_nonzero(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Shape shape = shape_of(x);
  const Dim count = element_count(shape), size = call.size("size");
  const auto whole = [&](const Dim& dim) { return number(build, Arg(dim), DType::i64); };
  if (shape.empty()) return fail("positions in a number");
  Value* found = cast(build, reshape(build, cast(build, x, DType::boolean), {count}), DType::i64);
  Value* order = build("sub", {build("cumsum", {found}, {{"dim", std::int64_t{0}}}), whole(1)});
  // What isn't wanted goes behind the last row, to be cut off.
  Value* wanted = build("logical_and", {cast(build, found, DType::boolean), build("less", {order, whole(size)})});
  Value* places = build("where", {wanted, order, expand(build, whole(size), {count})});
  Value* positions =
      build("scatter_elements",
            {full(build, {size + 1}, Arg(Dim(-1)), DType::i64), places, arange(build, 0, 1, count, DType::i64)},
            {{"dim", std::int64_t{0}}, {"reduction", std::string("none")}});
  Value* rest = slice(build, positions, 0, 0, size);
  Value* missing = build("less", {rest, whole(0)});
  std::vector<Value*> columns;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    Value* column = axis == 0 ? rest : build("remainder", {rest, whole(shape[axis])});
    column = build("where", {missing, whole(call.integer("fill_value")), column});
    columns.insert(columns.begin(), unsqueeze(build, column, 1));
    if (axis > 0) rest = build("floor_divide", {rest, whole(shape[axis])});
  }
  return fresh(concat(build, std::move(columns), 1));
}

// Whether each entry is 0, 1, ... , in a new last axis of so many classes.
Value* is_class(Builder& build, Value* x, const Dim& classes) {
  if (x == nullptr) return nullptr;
  Value* apart = unsqueeze(build, x, static_cast<std::int64_t>(x->type.shape.size()));
  return build("equal", {apart, arange(build, 0, 1, classes, x->type.dtype)});
}

// One more than the largest entry, but not below `least`.
Dim measured_classes(Call& call, Value* x, std::int64_t least) {
  Builder& build = call.build;
  Value* most = reduce(build, "amax", reshape(build, x, {element_count(shape_of(x))}), {0}, false);
  most = build("add", {cast(build, most, DType::i64), integer_number(build, 1)});
  return measured_size(call.context, build("maximum", {most, integer_number(build, least)}));
}

Expected<Arg> one_hot(Call& call) {
  const std::int64_t depth = call.integer("num_classes");
  Value* x = call.tensor("self");
  std::int64_t classes = depth;
  if (depth < 0) {
    const auto known = constant_value(x);
    if (!known || known->values.empty())
      return fresh(cast(call.build, is_class(call.build, x, measured_classes(call, x, 1)), DType::i64));
    classes = static_cast<std::int64_t>(std::ranges::max(known->values)) + 1;
  }
  return fresh(call.build("one_hot", {x}, {{"depth", classes}, {"dtype", DType::i64}}));
}

// How often each class comes in a vector, or the sum of the weights there.
Expected<Arg> bincount(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  if (shape_of(x).size() != 1) return fail("entries {}, expected a vector", type_text(x->type));
  const auto minlength = call.size("minlength").constant();
  if (!minlength) return fail("a least number of classes that is open");
  const Dim classes = measured_classes(call, x, *minlength);
  Value* found = is_class(build, x, classes);
  TAPER_TRY(build.status());
  if (!call.given("weights")) return fresh(reduce(build, "sum", cast(build, found, DType::i64), {0}, false));
  Value* weights = cast(build, call.tensor("weights"), DType::f32);
  Value* parts = build("where", {found, unsqueeze(build, weights, 1), number(build, 0.0, DType::f32)});
  return fresh(reduce(build, "sum", parts, {0}, false));
}

// Bags of one length, which follow one another in a vector of indices.
struct EqualBags {
  Dim count, length;
};
std::optional<EqualBags> equal_bags(const Value* offsets, std::int64_t extra, const Dim& total) {
  const Dim count = shape_of(offsets)[0] - Dim(extra);
  const Node* node = offsets->producer;
  if (node != nullptr && node->op == "arange" && node->attrs.get<Shape>("start")[0].is(0)) {
    const Dim length = node->attrs.integer("step");
    if (count * length == total) return EqualBags{count, length};
  }
  // The same with a length that is a symbol.
  if (node != nullptr && node->op == "mul" && node->operands[0]->producer != nullptr &&
      node->operands[0]->producer->op == "arange") {
    const Attrs& attrs = node->operands[0]->producer->attrs;
    const auto length = known_integers(node->operands[1]);
    if (attrs.get<Shape>("start")[0].is(0) && attrs.integer("step") == 1 && length && length->size() == 1 &&
        count * length->front() == total)
      return EqualBags{count, length->front()};
  }
  const auto known = known_integers(offsets);
  const auto length = count.is(0) ? std::nullopt : divide_exactly(total, count);
  if (!known || !length || length->is(0)) return std::nullopt;
  for (std::size_t i = 0; i < known->size(); ++i)
    if ((*known)[i] != *length * Dim(static_cast<std::int64_t>(i))) return std::nullopt;
  return EqualBags{count, *length};
}

// The call's entries [N, D], each times its weight where it has one.
Value* bag_entries(Call& call) {
  Builder& build = call.build;
  Value* entries = build("gather", {call.tensor("weight"), call.tensor("indices")}, {{"dim", std::int64_t{0}}});
  if (!call.given("per_sample_weights")) return entries;
  return build("mul", {entries, unsqueeze(build, call.tensor("per_sample_weights"), 1)});
}

// [bags, N]: whether a place of the indices lies in a bag and counts.
Value* bag_members(Call& call, const Dim& total, std::int64_t padding) {
  Builder& build = call.build;
  Value* offsets = cast(build, call.tensor("offsets"), DType::i64);
  const Dim bounds = shape_of(offsets)[0];
  Value* ends = call.flag("include_last_offset")
                    ? slice(build, offsets, 0, 1, bounds)
                    : concat(build, {slice(build, offsets, 0, 1, bounds), size_vector(build, {total})}, 0);
  const Dim bags = call.flag("include_last_offset") ? bounds - Dim(1) : bounds;
  Value* starts = slice(build, offsets, 0, 0, bags);
  Value* place = unsqueeze(build, arange(build, 0, 1, total, DType::i64), 0);
  Value* before = build("less", {place, unsqueeze(build, starts, 1)});
  Value* inside = build("less", {place, unsqueeze(build, ends, 1)});
  Value* member = build("logical_and", {build("logical_not", {before}), inside});
  if (padding < 0) return member;
  Value* indices = unsqueeze(build, cast(build, call.tensor("indices"), DType::i64), 0);
  Value* padded = build("equal", {indices, integer_number(build, padding)});
  return build("logical_and", {member, build("logical_not", {padded})});
}

// Bags of any length; an empty one gives zeros.
Value* reduced_bags(Call& call, const Dim& total, std::int64_t mode, std::int64_t padding) {
  Builder& build = call.build;
  Value* entries = bag_entries(call);
  Value* member = bag_members(call, total, padding);
  Value* weights = cast(build, member, DType::f32);
  Value* count = reduce(build, "sum", weights, {1}, true);
  if (mode != 2) {
    Value* sum = build("matmul", {weights, entries});
    return mode == 0 ? sum : build("div", {sum, build("maximum", {count, number(build, 1, DType::f32)})});
  }
  constexpr double kLowest = -3.4e38;
  Value* ruled_out = number(build, kLowest, DType::f32);
  Value* all = build("where", {unsqueeze(build, member, 2), unsqueeze(build, entries, 0), ruled_out});
  Value* empty = build("less", {count, number(build, 0.5, DType::f32)});
  return build("where", {empty, number(build, 0, DType::f32), reduce(build, "amax", all, {1}, false)});
}

// The entries of bags, summed, averaged or the largest of each column. Offsets say where bags start in a vector of
// indices.
Expected<Arg> embedding_bag(Call& call) {
  Builder& build = call.build;
  const Shape& flat = call.tensor("indices")->type.shape;
  const Value* offsets = call.tensor("offsets");
  const std::int64_t mode = call.integer("mode");
  if (mode < 0 || mode > 2) return fail("mode {}, expected 0 (sum), 1 (mean) or 2 (max)", mode);
  if (flat.size() != 1 || offsets->type.shape.size() != 1)
    return fail("indices {} with offsets {}, expected vectors", shape_text(flat), shape_text(offsets->type.shape));
  const std::int64_t padding = call.integer_or("padding_idx", -1);
  const auto equal =
      padding < 0 ? equal_bags(offsets, call.flag("include_last_offset") ? 1 : 0, flat[0]) : std::nullopt;
  Value* y = nullptr;
  if (equal) {
    Value* entries = bag_entries(call);
    TAPER_TRY(build.status());
    entries = reshape(build, entries, {equal->count, equal->length, shape_of(entries)[1]});
    y = reduce(build, mode == 0 ? "sum" : mode == 1 ? "mean" : "amax", entries, {1}, false);
  } else {
    y = reduced_bags(call, flat[0], mode, padding);
  }
  // What training wants to know beside it.
  return Arg(Arg::List{fresh(y), Arg{}, Arg{}, Arg{}});
}

}  // namespace

std::vector<Overload> index_overloads() {
  return {
      {"embedding(Tensor weight, Tensor indices, SymInt padding_idx=-1, bool scale_grad_by_freq=False, bool "
       "sparse=False) -> Tensor",
       embedding},
      {"embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, bool "
       "sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False) -> (Tensor, Tensor, Tensor, "
       "Tensor)",
       embedding_bag},
      {"embedding_bag.padding_idx(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq, int mode, "
       "bool sparse, Tensor? per_sample_weights, bool include_last_offset, int? padding_idx) -> (Tensor, Tensor, "
       "Tensor, Tensor)",
       embedding_bag},
      {"_embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, bool "
       "sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int padding_idx=-1) -> (Tensor, "
       "Tensor, Tensor, Tensor)",
       embedding_bag},
      {"_embedding_bag_forward_only(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int "
       "mode=0, bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, int "
       "padding_idx=-1) -> (Tensor, Tensor, Tensor, Tensor)",
       embedding_bag},
      {"index_select(Tensor self, int dim, Tensor index) -> Tensor", index_select},
      {"gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor", gather},
      {"take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor", take_along},
      {"take(Tensor self, Tensor index) -> Tensor", take},
      {"index.Tensor(Tensor self, Tensor?[] indices) -> Tensor", index},
      {"_unsafe_index.Tensor(Tensor self, Tensor?[] indices) -> Tensor", index},
      {"index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor", index_put},
      {"_unsafe_index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor", index_put},
      {"_index_put_impl(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False, bool unsafe=False) -> "
       "Tensor",
       index_put},
      {"masked_select(Tensor self, Tensor mask) -> Tensor", masked_select},
      {"nonzero(Tensor self) -> Tensor", nonzero},
      {"nonzero_numpy(Tensor self) -> Tensor[]", nonzero},
      {"where(Tensor condition) -> Tensor[]", nonzero},
      {"argwhere(Tensor self) -> Tensor", nonzero},
      {"nonzero_static(Tensor self, *, SymInt size, int fill_value=-1) -> Tensor", static_nonzero},
      {"one_hot(Tensor self, int num_classes=-1) -> Tensor", one_hot},
      {"bincount(Tensor self, Tensor? weights=None, SymInt minlength=0) -> Tensor", bincount},
  };
}

}  // namespace taper::aten
