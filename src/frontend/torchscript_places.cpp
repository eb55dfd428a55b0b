// Entries and parts of tensors from places on that only the running program knows.
#include <algorithm>

#include "frontend/aten_table.h"
#include "frontend/torchscript_regions.h"

namespace taper::torchscript {

namespace {

// The entry of an axis at a place that only the running program knows.
taper::Value* entry_at(Builder& build, taper::Value* base, taper::Value* place, std::size_t axis) {
  taper::Value* part =
      build("dynamic_slice", {base, place}, {{"dim", static_cast<std::int64_t>(axis)}, {"length", Shape{Dim(1)}}});
  return aten::squeeze(build, part, static_cast<std::int64_t>(axis));
}

taper::Value* with_entry_at(Builder& build, taper::Value* base, taper::Value* place, std::size_t axis,
                            taper::Value* written) {
  if (base == nullptr || place == nullptr) return nullptr;
  const Shape& shape = base->type.shape;
  Shape along(shape.size(), Dim(1));
  along[axis] = shape[axis];
  taper::Value* places = aten::reshape(build, aten::arange(build, 0, 1, shape[axis], place->type.dtype), along);
  written = aten::unsqueeze(build, written, static_cast<std::int64_t>(axis));
  return build("where", {build("equal", {places, place}), written, base});
}

}  // namespace

// x.select(dim, index) with an index that only the running program knows.
Expected<Value> Interpreter::dynamic_select(const TensorRef& x, const Value& dim, const TensorRef& index) {
  TAPER_ASSIGN(aten::TensorPtr base, use(x));
  TAPER_ASSIGN(taper::Value * start, content_in(*region_, index));
  const auto axis = dim.integer();
  if (!axis) return error_here(fmt::format("{} stands for an axis", describe(dim)));
  const Shape& shape = base->type().shape;
  TAPER_ASSIGN(const std::size_t at, aten::axis_of(*axis, shape.size()));
  if (shape.empty()) return error_here("an entry of a number is chosen");
  Builder& build = region_->build;
  start = aten::counted_from_end(build, start, shape[at]);
  TAPER_TRY(build.status());
  aten::Strides strides = base->strides();
  if (strides) strides->erase(strides->begin() + static_cast<std::ptrdiff_t>(at));
  const auto seen_place = seen_by_views(start);
  aten::TensorPtr view = aten::Tensor::make_view(
      build, std::move(base),
      [=](Builder& cutting, taper::Value* from) -> taper::Value* {
        taper::Value* place = seen_place(cutting);
        return place ? entry_at(cutting, from, place, at) : nullptr;
      },
      [=](Builder& cutting, taper::Value* around, taper::Value* written) -> taper::Value* {
        return with_entry_at(cutting, around, seen_place(cutting), at, written);
      },
      std::move(strides));
  TAPER_TRY(build.status());
  return TensorRef{std::move(view), region_, false};
}

taper::Value* places_along(Builder& build, taper::Value* place, std::size_t axis, std::size_t rank) {
  const auto zeros = [&](std::size_t count) {
    return aten::integer_vector(build, std::vector<std::int64_t>(count), place->type.dtype);
  };
  std::vector<taper::Value*> parts;
  if (axis > 0) parts.push_back(zeros(axis));
  parts.push_back(aten::reshape(build, place, {Dim(1)}));
  if (axis + 1 < rank) parts.push_back(zeros(rank - axis - 1));
  return aten::concat(build, std::move(parts), 0);
}

// torch.stack(list), torch.cat(list) and x.unbind() along an open axis.
Expected<std::optional<Value>> Interpreter::on_stack(std::string_view name, const std::vector<Argument>& arguments) {
  if (arguments.empty()) return std::nullopt;
  const Value dim = arguments.size() > 1 ? arguments[1].value : Value(Dim(0));
  const auto at = dim.integer();
  if (name == "unbind" && at && arguments[0].value.is_tensor()) {
    const Shape& shape = arguments[0].value.tensor()->tensor->type().shape;
    TAPER_ASSIGN(const std::size_t axis, aten::axis_of(*at, shape.size()));
    if (shape.empty() || shape[axis].constant()) return std::nullopt;
    TAPER_ASSIGN(const Value stack, call_aten("movedim", {{"", arguments[0].value}, {"", dim}, {"", Dim(0)}}));
    return stacked_list(*stack.tensor());
  }
  const TensorRef* stack = arguments[0].value.stack();
  if (!stack || !at || (name != "stack" && name != "cat")) return std::nullopt;
  const std::size_t rank = stack->tensor->type().shape.size();
  TAPER_ASSIGN(const std::size_t axis, aten::axis_of(*at, name == "stack" ? rank : rank - 1));
  const auto to = static_cast<std::int64_t>(axis);
  TAPER_ASSIGN(Value moved, call_aten("movedim", {{"", *stack}, {"", Dim(0)}, {"", Dim(to)}}));
  if (name == "stack") return call_aten("clone", {{"", std::move(moved)}});
  TAPER_ASSIGN(moved, call_aten("flatten", {{"", std::move(moved)}, {"", Dim(to)}, {"", Dim(to + 1)}}));
  return call_aten("clone", {{"", std::move(moved)}});
}

}  // namespace taper::torchscript
