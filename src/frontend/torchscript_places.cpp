// Entries and parts of tensors from places on that only the running program knows.
#include <algorithm>

#include "frontend/aten_table.h"
#include "frontend/torchscript_regions.h"
#include "ir/computation.h"

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

namespace {

// An integer as another one plus what is known.
struct Sum {
  const taper::Value* base;
  Dim known = 0;
};
Sum as_sum(const taper::Value* value) {
  Sum sum{value};
  const auto known = [](const taper::Value* term) -> std::optional<Dim> {
    const auto integers = aten::known_integers(term);
    return integers && integers->size() == 1 ? std::optional(integers->front()) : std::nullopt;
  };
  for (int steps = 0; steps < 100; ++steps) {
    const Node* node = sum.base->producer;
    if (node == nullptr || (node->op != "add" && node->op != "sub")) return sum;
    const bool adds = node->op == "add";
    if (const auto right = known(node->operands[1])) {
      sum.known = adds ? sum.known + *right : sum.known - *right;
      sum.base = node->operands[0];
    } else if (const auto left = adds ? known(node->operands[0]) : std::nullopt) {
      sum.known = sum.known + *left;
      sum.base = node->operands[1];
    } else {
      return sum;
    }
  }
  return sum;
}

// b - a, if that is known before the program runs.
std::optional<Dim> distance(const taper::Value* a, const taper::Value* b) {
  constexpr int kMostNodes = 200;
  int budget = kMostNodes;
  const Sum from = as_sum(a), to = as_sum(b);
  return same_computation(from.base, to.base, budget) ? std::optional(to.known - from.known) : std::nullopt;
}

}  // namespace

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

Expected<std::optional<Value>> Interpreter::slice_when_run(std::string_view name, std::vector<Argument>& arguments) {
  if (arguments.size() < 4 || !arguments[0].value.is_tensor()) return std::nullopt;
  Value& first = arguments[2].value;
  Value& last = arguments[3].value;  // of narrow: the length
  for (Value* one : {&first, &last})
    if (one->tensor()) {
      TAPER_ASSIGN(*one, to_number(*one, "int"));
    }
  if (!first.tensor() && !last.tensor()) return std::nullopt;
  std::optional<Dim> length;
  if (const Dim* given = last.as<Dim>(); given && name == "narrow") length = *given;
  const bool steps = arguments.size() > 4 && !arguments[4].value.is_none() && arguments[4].value.integer() != 1;
  if (name == "slice" && first.tensor() && last.tensor() && !steps) {
    TAPER_ASSIGN(const taper::Value* from, number_in(*region_, first));
    TAPER_ASSIGN(const taper::Value* to, number_in(*region_, last));
    length = distance(from, to);
  }
  if (!first.tensor() || !length || length->constant().value_or(0) < 0)
    return error_here("how long a slice is depends on what the program computes",
                      "take a part of a known length (x[:, t:t + 3]), or keep all entries and set those to 0 that are "
                      "not wanted (x * (torch.arange(x.size(1)) < n))");
  TAPER_ASSIGN(aten::TensorPtr base, use(*arguments[0].value.tensor()));
  const auto dim = arguments[1].value.integer();
  if (!dim) return error_here(fmt::format("{} stands for an axis", describe(arguments[1].value)));
  const Shape& shape = base->type().shape;
  TAPER_ASSIGN(const std::size_t axis, aten::axis_of(*dim, shape.size()));
  if (shape.empty()) return error_here("a part of a number");
  assume(
      fmt::format("the slice at {} is taken to lie within its tensor: it is {} long wherever it begins, and where the "
                  "program would "
                  "cut it short the files give other numbers",
                  place(line_), length->text()));
  Builder& build = region_->build;
  TAPER_ASSIGN(taper::Value * start, number_in(*region_, first));
  start = aten::counted_from_end(build, start, shape[axis]);
  const DType dtype = start->type.dtype;
  start = build("minimum", {start, aten::number(build, aten::Arg(shape[axis] - *length), dtype)});
  start = build("maximum", {start, aten::number(build, 0.0, dtype)});
  TAPER_TRY(build.status());
  const auto seen_start = seen_by_views(start);
  const aten::Strides strides = base->strides();
  aten::TensorPtr view = aten::Tensor::make_view(
      build, std::move(base),
      [=, length = *length](Builder& cutting, taper::Value* from) -> taper::Value* {
        taper::Value* at = seen_start(cutting);
        if (at == nullptr) return nullptr;
        return cutting("dynamic_slice", {from, at},
                       {{"dim", static_cast<std::int64_t>(axis)}, {"length", Shape{length}}});
      },
      [=](Builder& cutting, taper::Value* around, taper::Value* written) -> taper::Value* {
        taper::Value* at = seen_start(cutting);
        if (at == nullptr) return nullptr;
        return cutting("update_slice", {around, written, places_along(cutting, at, axis, around->type.shape.size())});
      },
      strides);
  TAPER_TRY(build.status());
  return Value(TensorRef{std::move(view), region_, false});
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
