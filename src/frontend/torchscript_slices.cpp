// Parts of tensors between places that only the running program knows.
#include <algorithm>

#include "frontend/aten_counts.h"
#include "frontend/aten_table.h"
#include "frontend/torchscript_bounds.h"
#include "frontend/torchscript_regions.h"
#include "ir/computation.h"

namespace taper::torchscript {

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

Expected<std::optional<Value>> Interpreter::slice_when_run(std::string_view name, std::vector<Argument>& arguments) {
  if (arguments.size() < 3 || !arguments[0].value.is_tensor()) return std::nullopt;
  for (std::size_t i = 2; i < std::min<std::size_t>(arguments.size(), 4); ++i)
    if (arguments[i].value.tensor()) {
      TAPER_ASSIGN(arguments[i].value, to_number(arguments[i].value, "int"));
    }
  const Value first = arguments[2].value;
  const Value last = arguments.size() > 3 ? arguments[3].value : Value();  // of narrow: the length
  if (!first.tensor() && !last.tensor()) return std::nullopt;
  const bool steps = arguments.size() > 4 && !arguments[4].value.is_none() && arguments[4].value.integer() != 1;
  if (steps) return error_here("a slice with a step begins or ends where the program computes", "x[:, a:b][:, ::2]");
  TAPER_ASSIGN(aten::TensorPtr base, use(*arguments[0].value.tensor()));
  const auto dim = arguments[1].value.integer();
  if (!dim) return error_here(fmt::format("{} stands for an axis", describe(arguments[1].value)));
  const Shape& shape = base->type().shape;
  TAPER_ASSIGN(const std::size_t axis, aten::axis_of(*dim, shape.size()));
  if (shape.empty()) return error_here("a part of a number");
  if (name == "narrow") {
    if (const Dim* length = last.as<Dim>()) {
      if (length->constant().value_or(0) < 0) return error_here("a part of less than no entries");
      assume(fmt::format("the part at {} is taken to lie within its tensor, as the program demands", place(line_)));
      return part_of_length(base, axis, first, *length);
    }
    TAPER_ASSIGN(const Value end, call_operator("add", {{"", first}, {"", last}}));
    return measured_part(base, axis, first, end);
  }
  if (first.tensor() && last.tensor()) {
    TAPER_ASSIGN(const taper::Value* from, number_in(*region_, first));
    TAPER_ASSIGN(const taper::Value* to, number_in(*region_, last));
    const auto length = distance(from, to);
    const Bounds bounds = bounds_of(*region_, from);
    const aten::Context& context = region_->context;
    if (length && length->constant().value_or(0) >= 0 && bounds.least && bounds.most &&
        surely_within(context, 0, *bounds.least) && surely_within(context, *bounds.most + *length, shape[axis]))
      return part_of_length(base, axis, first, *length);
    bool guesses = false;
    for (Region* region = region_; length && region != nullptr; region = region->outer) {
      region->asks_ranges = true;
      guesses |= region->guesses_ranges;
    }
    if (guesses) return part_of_length(base, axis, first, *length);
  }
  return measured_part(base, axis, first, last);
}

// So many entries from a place on.
Expected<Value> Interpreter::part_of_length(const aten::TensorPtr& base, std::size_t axis, const Value& first,
                                            const Dim& length) {
  const Shape& shape = base->type().shape;
  Builder& build = region_->build;
  TAPER_ASSIGN(taper::Value * start, number_in(*region_, first));
  start = aten::counted_from_end(build, start, shape[axis]);
  const DType dtype = start->type.dtype;
  start = build("minimum", {start, aten::number(build, aten::Arg(shape[axis] - length), dtype)});
  start = build("maximum", {start, aten::number(build, 0.0, dtype)});
  TAPER_TRY(build.status());
  const auto seen_start = seen_by_views(start);
  aten::TensorPtr view = aten::Tensor::make_view(
      build, base,
      [=](Builder& cutting, taper::Value* from) -> taper::Value* {
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
      base->strides());
  TAPER_TRY(build.status());
  return TensorRef{std::move(view), region_, false};
}

namespace {

// Puts `written` in the place of the entries from `start` on that a mask picks.
taper::Value* with_part(Builder& build, taper::Value* around, taper::Value* written, taper::Value* start,
                        taper::Value* mask, std::size_t axis) {
  const Shape& shape = around->type.shape;
  const DType dtype = start->type.dtype;
  // One entry more, for there may be none.
  Shape one = shape;
  one[axis] = 1;
  taper::Value* source =
      aten::concat(build, {written, aten::full(build, one, aten::Arg(Dim(0)), around->type.dtype)}, axis);
  taper::Value* places = build("sub", {aten::arange(build, 0, 1, shape[axis], dtype), start});
  places = build("where", {mask, places, aten::number(build, 0.0, dtype)});
  Shape along(shape.size(), Dim(1));
  along[axis] = shape[axis];
  taper::Value* moved = build("gather", {source, places}, {{"dim", static_cast<std::int64_t>(axis)}});
  return build("where", {aten::reshape(build, mask, along), moved, around});
}

}  // namespace

// The entries between two places, either of which may be None: as many as the running program finds there.
Expected<Value> Interpreter::measured_part(const aten::TensorPtr& base, std::size_t axis, const Value& first,
                                           const Value& last) {
  const Dim size = base->type().shape[axis];
  Builder& build = region_->build;
  const auto bound = [&](const Value& given) -> Expected<taper::Value*> {
    TAPER_ASSIGN(taper::Value * place, number_in(*region_, given, DType::i64));
    place = aten::counted_from_end(build, place, size);
    return build("maximum", {place, aten::integer_number(build, 0)});
  };
  TAPER_ASSIGN(taper::Value * start, bound(first.is_none() ? Value(Dim(0)) : first));
  taper::Value* steps = aten::arange(build, 0, 1, size, DType::i64);
  taper::Value* mask = build("greater_equal", {steps, start});
  if (!last.is_none()) {
    TAPER_ASSIGN(taper::Value * end, bound(last));
    mask = build("logical_and", {mask, build("less", {steps, end})});
  }
  taper::Value* places = aten::places_of(region_->context, mask);
  TAPER_TRY(build.status());
  places = aten::reshape(build, places, {places->type.shape[0]});
  TAPER_TRY(build.status());
  if (const auto symbol = places->type.shape[0].as_symbol(); symbol && !first.is_none() && !last.is_none()) {
    TAPER_ASSIGN(taper::Value * from, number_in(*region_, first, DType::i64));
    TAPER_ASSIGN(taper::Value * to, number_in(*region_, last, DType::i64));
    region_->parts.insert_or_assign(*symbol, Region::Part{from, to, size});
  }
  const auto seen_start = seen_by_views(start), seen_mask = seen_by_views(mask), seen_places = seen_by_views(places);
  aten::TensorPtr view = aten::Tensor::make_view(
      build, base,
      [=](Builder& cutting, taper::Value* from) -> taper::Value* {
        taper::Value* at = seen_places(cutting);
        return at ? cutting("gather", {from, at}, {{"dim", static_cast<std::int64_t>(axis)}}) : nullptr;
      },
      [=](Builder& cutting, taper::Value* around, taper::Value* written) -> taper::Value* {
        taper::Value* from = seen_start(cutting);
        taper::Value* picked = seen_mask(cutting);
        return from && picked ? with_part(cutting, around, written, from, picked, axis) : nullptr;
      },
      base->strides());
  TAPER_TRY(build.status());
  return TensorRef{std::move(view), region_, false};
}

}  // namespace taper::torchscript
