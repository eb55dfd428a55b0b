// Entries picked by integers.
#include <algorithm>

#include "frontend/aten_table.h"
#include "ops/rules.h"

namespace taper::aten {
namespace {

// Negative integers count from the end. Only constants and what is computed from sizes are looked at: indices that come
// from inputs are taken to be positions already, or every lookup in a table would cost a comparison.
Value* positions(Builder& build, Value* index, const Dim& size) {
  if (index == nullptr) return nullptr;
  const auto known = constant_value(index);
  if (!known || std::ranges::none_of(known->values, [](double i) { return i < 0; })) return index;
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
  index = positions(build, index, x->type.shape[axis]);
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
  Value* flat = reshape(build, x, {element_count(x->type.shape)});
  return fresh(build("gather", {flat, call.tensor("index")}, {{"dim", std::int64_t{0}}}));
}

// ------------------------------------------------------------------------------------------------------- index.Tensor

// A mask of known numbers is the positions where it is true.
Expected<std::vector<Value*>> as_positions(Builder& build, Value* index) {
  if (index->type.dtype != DType::boolean && index->type.dtype != DType::u8) return std::vector{index};
  const auto known = constant_value(index);
  if (!known)
    return fail("a mask that is computed when the program runs picks entries, whose number is then not known");
  std::vector<Integers> found(known->shape.size());
  for (std::size_t i = 0; i < known->values.size(); ++i) {
    if (known->values[i] == 0) continue;
    std::int64_t rest = static_cast<std::int64_t>(i);
    for (std::size_t axis = known->shape.size(); axis-- > 0; rest /= known->shape[axis])
      found[axis].push_back(rest % known->shape[axis]);
  }
  std::vector<Value*> out;
  for (const Integers& axis : found) out.push_back(integer_vector(build, axis));
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
    TAPER_ASSIGN(const std::vector<Value*> parts, as_positions(call.build, index));
    for (Value* part : parts) {
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

// The indices side by side in a new last axis, each of the common shape.
Expected<Value*> joined_indices(Builder& build, const std::vector<Value*>& indices, Shape& common) {
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

Expected<Arg> masked_select(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  TAPER_ASSIGN(const Shape shape, broadcast(x->type.shape, call.tensor("mask")->type.shape));
  Value* mask = expand(build, call.tensor("mask"), shape);
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const std::vector<Value*> found, as_positions(build, mask));
  std::vector<Value*> parts;
  for (Value* part : found) parts.push_back(unsqueeze(build, part, 1));
  return fresh(build("gather_nd", {expand(build, x, shape), concat(build, parts, 1)}));
}

// Positions of what is not zero, for constants.
Expected<Arg> nonzero(Call& call) {
  Builder& build = call.build;
  Value* x = cast(build, call.tensor("self"), DType::boolean);
  TAPER_TRY(build.status());
  if (!constant_value(x)) return fail("how many entries are not zero is only known when the program runs");
  TAPER_ASSIGN(const std::vector<Value*> found, as_positions(build, x));
  if (call.schema.name == "nonzero_numpy") return fresh_list(found);
  std::vector<Value*> parts;
  for (Value* part : found) parts.push_back(unsqueeze(build, part, 1));
  if (parts.empty()) return fail("positions in a number");
  return fresh(concat(build, std::move(parts), 1));
}

Expected<Arg> one_hot(Call& call) {
  const std::int64_t depth = call.integer("num_classes");
  Value* x = call.tensor("self");
  std::int64_t classes = depth;
  if (depth < 0) {
    const auto known = constant_value(x);
    if (!known || known->values.empty()) return fail("the number of classes follows from what the program computes");
    classes = static_cast<std::int64_t>(std::ranges::max(known->values)) + 1;
  }
  return fresh(call.build("one_hot", {x}, {{"depth", classes}, {"dtype", DType::i64}}));
}

// The entries of bags, summed or averaged. Bags are the rows of a matrix.
Expected<Arg> embedding_bag(Call& call) {
  Builder& build = call.build;
  Value* weight = call.tensor("weight");
  Value* indices = call.tensor("indices");
  const std::int64_t mode = call.integer("mode");
  if (mode < 0 || mode > 2) return fail("mode {}, expected 0 (sum), 1 (mean) or 2 (max)", mode);
  if (call.integer_or("padding_idx", -1) >= 0) return fail("bags with a padding index");
  // Offsets say where bags start in a vector of indices: equal bags only.
  const auto offsets = known_integers(call.tensor("offsets"));
  const Shape& flat = indices->type.shape;
  if (!offsets || offsets->empty() || flat.size() != 1) return fail("bags whose offsets are computed");
  auto count = static_cast<std::int64_t>(offsets->size());
  if (call.flag("include_last_offset")) --count;
  const auto length = divide_exactly(flat[0], Dim(std::max<std::int64_t>(count, 1)));
  if (count < 1 || !length) return fail("{} bags of {} indices", count, flat[0].text());
  for (std::int64_t i = 0; i < count; ++i)
    if ((*offsets)[static_cast<std::size_t>(i)] != *length * Dim(i)) return fail("bags of different lengths");
  Value* bags = reshape(build, indices, {Dim(count), *length});
  Value* entries = build("gather", {weight, bags}, {{"dim", std::int64_t{0}}});
  if (call.given("per_sample_weights"))
    entries =
        build("mul",
              {entries, unsqueeze(build, reshape(build, call.tensor("per_sample_weights"), {Dim(count), *length}), 2)});
  Value* y = reduce(build, mode == 0 ? "sum" : mode == 1 ? "mean" : "amax", entries, {1}, false);
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
      {"one_hot(Tensor self, int num_classes=-1) -> Tensor", one_hot},
  };
}

}  // namespace taper::aten
