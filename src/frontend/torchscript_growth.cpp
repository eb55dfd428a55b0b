// Lists that iterations of a loop make longer: their items become the entries of a tensor that the loop carries.
#include "frontend/aten_counts.h"
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {
namespace {

bool is_item(const Value& value) {
  return value.is_tensor() || is_number_value(value);
}

Type item_type(const Value& item) {
  return item.is_tensor() ? item.tensor()->tensor->type() : Type{*number_dtype(item), {}};
}

// A size, or one more where it may be 0: kernels refuse to write into nothing, even in loops that don't run.
Dim some(const aten::Context& context, const Dim& size) {
  return aten::known_less(context, 0, size) == true ? size : size + Dim(1);
}

}  // namespace

std::optional<Interpreter::Growth> Interpreter::Loop::growth_of(std::size_t at, const Value& list,
                                                                bool in_front) const {
  const Holder& holder = holders[at];
  const std::vector<Value> old = holder.before.items() ? *holder.before.items() : std::vector<Value>();
  const std::vector<Value>& items = *list.items();
  std::span<const Value> added = items;
  if (!holder.growth) {
    if (items.size() <= old.size()) return std::nullopt;
    const std::size_t more = items.size() - old.size();
    const auto is_old = [&](std::size_t i, const Value& item) {
      for (std::size_t k = 0; k < carried.size(); ++k)
        if (!carried[k].name.empty() && carried[k].holder == at && carried[k].leaf == i)
          return item.tensor() && item.tensor()->tensor == places[k];
      if (old[i].tensor()) return item.tensor() && item.tensor()->tensor == old[i].tensor()->tensor;
      return same_value(old[i], item) == true;
    };
    const auto holds_old_from = [&](std::size_t begin) {
      for (std::size_t i = 0; i < old.size(); ++i)
        if (!is_old(i, items[begin + i])) return false;
      return true;
    };
    if (!old.empty()) in_front = !holds_old_from(0);
    if (!holds_old_from(in_front ? more : 0)) return std::nullopt;
    added = added.subspan(in_front ? 0 : old.size(), more);
  }
  if (added.empty() || !is_item(added[0])) return std::nullopt;
  const Growth growth{item_type(added[0]), !added[0].is_tensor(), added.size(), in_front,
                      holder.growth ? holder.growth->axis : std::nullopt};
  const auto alike = [&](const Value& item) {
    return is_item(item) && item.is_tensor() != growth.is_number && item_type(item) == growth.item;
  };
  return std::ranges::all_of(added, alike) && std::ranges::all_of(old, alike) ? std::optional(growth) : std::nullopt;
}

// Notes whether a list has grown in an iteration, which the next attempt has to know. Returns whether it has.
Expected<bool> Interpreter::note_growth(Loop& loop, std::size_t at, const Value& value, Attempts& attempts,
                                        bool& more) {
  Loop::Holder& holder = loop.holders[at];
  const List* list = holder.list();
  if (list == nullptr && !holder.growth) return false;
  Value items = value;
  bool in_front = list != nullptr && list->grew_in_front;
  if (!holder.variable.empty()) {
    const auto* is = value.as<std::shared_ptr<List>>();
    if (!holder.growth && (!is || (*is)->kind == List::Kind::stacked)) return false;
    in_front = is && (*is)->grew_in_front;
    if (holder.growth &&
        (!is || (*is)->kind != List::Kind::growing || (*is)->start->items.tensor != loop.places[loop.carried_of(at)]))
      return error_here(
          fmt::format("'{}' is another list after an iteration of a loop that depends on data, not "
                      "what it was and some items more",
                      holder.variable));
    items = contents_of(value);
  }
  const auto growth = loop.growth_of(at, items, in_front);
  if (!growth && !holder.growth) return false;
  if (!holder.growth) {
    attempts.grown.emplace(std::pair(list, holder.variable), *growth);
    more = true;
    return true;
  }
  if (growth && growth->axis && growth->in_front && !holder.growth->in_front) {
    attempts.grown.insert_or_assign(std::pair(list, holder.variable), *growth);
    more = true;
    return true;
  }
  if (growth != holder.growth)
    return error_here("a list gets other items in one iteration of a loop than in another",
                      "it may get the same number of tensors of one shape in each iteration");
  holder.after = *items.items();
  return true;
}

// A tensor for all items that there will be. As long as their number isn't known, one for an iteration.
Status Interpreter::carry_grown(Loop& loop, std::size_t at) {
  const Loop::Holder& holder = loop.holders[at];
  const Growth& growth = *holder.growth;
  const List::Start start = start_of(loop, at, nullptr, nullptr);
  const Dim steps = loop.steps.value_or(1), each = start.in_each;
  const Dim all = start.before + steps * each;
  const Dim room = (loop.measured != nullptr ? all : some(loop.outer.context, all)) - start.before;
  Builder& build = loop.outer.build;
  std::vector<taper::Value*> parts;
  if (growth.axis) {
    TAPER_ASSIGN(
        const Value entries,
        call_aten("movedim", {{"", holder.before}, {"", Dim(static_cast<std::int64_t>(*growth.axis))}, {"", Dim(0)}}));
    TAPER_ASSIGN(taper::Value * content, content_in(loop.outer, *entries.tensor()));
    parts.push_back(content);
  } else {
    for (const Value& item : *holder.before.items()) {
      TAPER_ASSIGN(taper::Value * content, item.is_tensor() ? content_in(loop.outer, *item.tensor())
                                                            : number_in(loop.outer, item, growth.item.dtype));
      parts.push_back(aten::unsqueeze(build, content, 0));
    }
  }
  if (growth.in_front) std::ranges::reverse(parts);
  Shape shape = growth.item.shape;
  shape.insert(shape.begin(), room);
  if (loop.measured != nullptr) {
    // Made of what measures the number of steps, so that it is measured.
    taper::Value* none = build("less", {loop.measured, aten::integer_number(build, 0)});
    Shape along(shape.size(), Dim(1));
    along[0] = *loop.steps;
    taper::Value* entries = aten::reshape(build, aten::cast(build, none, growth.item.dtype), along);
    along = shape;
    along[0] = *loop.steps;
    entries = aten::expand(build, entries, along);
    for (std::size_t i = 0; i < growth.count; ++i) parts.push_back(entries);
  } else {
    parts.push_back(aten::full(build, shape, aten::Arg(Dim(0)), growth.item.dtype));
  }
  taper::Value* items = aten::concat(build, std::move(parts), 0);
  TAPER_TRY(build.status());
  loop.carried.push_back({.name = loop.name_of(holder, at, 0),
                          .holder = at,
                          .grows = true,
                          .initial = items,
                          .before = aten::Tensor::make(items)});
  return {};
}

List::Start Interpreter::start_of(const Loop& loop, std::size_t at, taper::Value* iteration,
                                  const aten::TensorPtr& place) {
  const Loop::Holder& holder = loop.holders[at];
  const Growth& growth = *holder.growth;
  List::Start start;
  start.items = {place, region_, growth.is_number};
  if (iteration != nullptr) start.iteration = {aten::Tensor::make(iteration), region_, true};
  start.before = growth.axis ? holder.before.tensor()->tensor->type().shape[*growth.axis]
                             : Dim(static_cast<std::int64_t>(holder.before.items()->size()));
  start.in_each = static_cast<std::int64_t>(growth.count);
  start.in_front = growth.in_front;
  start.axis = growth.axis;
  return start;
}

// What a list is when an iteration begins.
void Interpreter::begin_growing(Loop& loop, std::size_t at, taper::Value* iteration, const aten::TensorPtr& place) {
  const Loop::Holder& holder = loop.holders[at];
  auto start = std::make_shared<List::Start>(start_of(loop, at, iteration, place));
  std::shared_ptr<List> list = holder.variable.empty() ? *holder.container.as<std::shared_ptr<List>>()
                                                       : std::make_shared<List>(std::vector<Value>(), region_);
  list->items.clear();
  list->home = region_;
  list->kind = List::Kind::growing;
  list->grew_in_front = false;
  list->start = std::move(start);
  if (!holder.variable.empty()) frame_->variables.insert_or_assign(holder.variable, std::move(list));
}

// How many items there are now.
Expected<Value> Interpreter::grown_length(const List& list) {
  const List::Start& start = *list.start;
  Value length = start.iteration;
  if (!start.in_each.is(1)) {
    TAPER_ASSIGN(length, call_operator("mul", {{"", length}, {"", start.in_each}}));
  }
  const Dim known = start.before + Dim(static_cast<std::int64_t>(list.items.size()));
  if (known.is(0)) return length;
  return call_operator("add", {{"", length}, {"", known}});
}

// All items so far, those of this iteration too.
Expected<TensorRef> Interpreter::grown_items(const List::Start& start, std::vector<Value> items) {
  if (items.empty()) return start.items;
  if (start.in_front) std::ranges::reverse(items);
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, start.items));
  std::vector<taper::Value*> parts;
  for (const Value& item : items) {
    TAPER_ASSIGN(taper::Value * content,
                 item.is_tensor() ? content_in(*region_, *item.tensor()) : number_in(*region_, item, all->type.dtype));
    parts.push_back(aten::unsqueeze(region_->build, content, 0));
  }
  List begun({}, region_);
  begun.start = std::make_shared<List::Start>(start);
  TAPER_ASSIGN(const Value before, grown_length(begun));
  TAPER_ASSIGN(taper::Value * place, number_in(*region_, before, DType::i64));
  Builder& build = region_->build;
  taper::Value* made = build("update_slice", {all, aten::concat(build, std::move(parts), 0),
                                              places_along(build, place, 0, all->type.shape.size())});
  TAPER_TRY(build.status());
  return TensorRef{aten::Tensor::make(made), region_, start.items.is_number};
}

Expected<taper::Value*> Interpreter::grown_further(Loop& loop, std::size_t i) {
  const Loop::Carried& one = loop.carried[i];
  const Loop::Holder& holder = loop.holders[one.holder];
  const List::Start start = start_of(loop, one.holder, loop.body.outputs[0], loop.places[i]);
  TAPER_ASSIGN(const TensorRef all, grown_items(start, holder.after));
  return content_in(*region_, all);
}

// An item of a growing list.
Expected<Value> Interpreter::grown_item(const List& list, const Value& index) {
  const auto here = static_cast<std::int64_t>(list.items.size());
  const auto at = index.integer();
  const bool in_front = list.start->in_front;
  if (at && !in_front && *at < 0 && *at + here >= 0) return list.items[static_cast<std::size_t>(*at + here)];
  if (at && in_front && *at >= 0 && *at < here) return list.items[static_cast<std::size_t>(*at)];
  if (!at && !index.as<Dim>() && !index.tensor())
    return error_here(fmt::format("a list is indexed by {}", describe(index)));
  TAPER_ASSIGN(const Value length, grown_length(list));
  Value place = index;
  if (!at) {
    TAPER_ASSIGN(const Value negative, call_operator("lt", {{"", index}, {"", Dim(0)}}));
    TAPER_ASSIGN(const Value from_end, call_operator("add", {{"", index}, {"", length}}));
    TAPER_ASSIGN(const std::optional<bool> known, decide(negative));
    if (!known) {
      TAPER_ASSIGN(place, call_aten("where", {{"", negative}, {"", from_end}, {"", index}}));
    } else if (*known) {
      place = from_end;
    }
  } else if (*at < 0 && !in_front) {
    TAPER_ASSIGN(place, call_operator("add", {{"", length}, {"", index}}));
  } else if (*at < 0) {
    place = Dim(-1 - *at);
  }
  if (in_front && (!at || *at >= 0)) {
    TAPER_ASSIGN(const Value last, call_operator("sub", {{"", length}, {"", Dim(1)}}));
    TAPER_ASSIGN(place, call_operator("sub", {{"", last}, {"", place}}));
  }
  TAPER_ASSIGN(const TensorRef all, grown_items(*list.start, list.items));
  return item_of_stack(all, place);
}

// An entry of what the items of a list are as a tensor.
Expected<Value> Interpreter::item_of_stack(const TensorRef& stack, const Value& index) {
  const TensorRef all{stack.tensor, stack.home, false};
  TAPER_ASSIGN(Value item, call_operator("select", {{"", all}, {"", Dim(0)}, {"", index}}));
  if (stack.is_number && item.is_tensor()) return TensorRef{item.tensor()->tensor, item.tensor()->home, true};
  return item;
}

// The list after the loop, of as many items as it has got.
Status Interpreter::finish_growing(Loop& loop, std::size_t at, const aten::TensorPtr& items, taper::Value* iterations) {
  const Loop::Holder& holder = loop.holders[at];
  const Growth& growth = *holder.growth;
  const List::Start start = start_of(loop, at, nullptr, nullptr);
  const Dim before = start.before, each = start.in_each;
  const Dim length = before + *loop.steps * each;
  Value all = TensorRef{items, region_, false};
  if (loop.ends_itself) {
    if (region_ != &root_)
      return error_here("a list grows by a number of items that depends on data, in a branch or loop that does too",
                        "write into a tensor of known size (out[t] = y)");
    Builder& build = region_->build;
    taper::Value* count = build("add", {build("mul", {iterations, aten::number(build, aten::Arg(each), DType::i64)}),
                                        aten::number(build, aten::Arg(before), DType::i64)});
    TAPER_ASSIGN(taper::Value * content, content_of(*region_, *items));
    taper::Value* part =
        build("gather", {content, aten::measured_range(region_->context, count, length)}, {{"dim", std::int64_t{0}}});
    TAPER_TRY(build.status());
    all = TensorRef{aten::Tensor::make(part), region_, false};
  } else if (loop.measured == nullptr && length != items->type().shape[0]) {
    TAPER_ASSIGN(taper::Value * content, content_of(*region_, *items));
    taper::Value* part = aten::slice(region_->build, content, 0, 0, length);
    TAPER_TRY(region_->build.status());
    all = TensorRef{aten::Tensor::make(part), region_, false};
  }
  if (growth.in_front) {
    TAPER_ASSIGN(all, call_aten("flip", {{"", all}, {"", new_list({Dim(0)})}}));
  }
  if (growth.axis) {
    const Dim axis(static_cast<std::int64_t>(*growth.axis));
    TAPER_ASSIGN(all, call_aten("movedim", {{"", all}, {"", Dim(0)}, {"", axis}}));
    TAPER_ASSIGN(all, call_aten("clone", {{"", all}}));
    frame_->variables.insert_or_assign(holder.variable, std::move(all));
    return {};
  }
  const TensorRef stack{all.tensor()->tensor, region_, growth.is_number};
  if (!holder.variable.empty()) {
    frame_->variables.insert_or_assign(holder.variable, stacked_list(stack));
    return {};
  }
  List& list = **holder.container.as<std::shared_ptr<List>>();
  list.items.clear();
  list.kind = List::Kind::stacked;
  list.stack = stack;
  return {};
}

// How a tensor that changes its type in an iteration may have grown, for the next attempt to see.
std::optional<Interpreter::Growth> Interpreter::tensor_growth(const Loop& loop, std::size_t i, const Type& next) {
  const Loop::Carried& one = loop.carried[i];
  if (one.grows || one.is_number || !loop.holders[one.holder].before.is_tensor()) return std::nullopt;
  const Type& type = one.initial->type;
  if (type.dtype != next.dtype || type.shape.size() != next.shape.size()) return std::nullopt;
  std::optional<Growth> growth;
  for (std::size_t axis = 0; axis < type.shape.size(); ++axis) {
    if (type.shape[axis] == next.shape[axis]) continue;
    const auto more = (next.shape[axis] - type.shape[axis]).constant();
    constexpr std::int64_t kMostEntries = 64;
    if (growth || !more || *more < 1 || *more > kMostEntries) return std::nullopt;
    growth = Growth{.item = type, .count = static_cast<std::size_t>(*more), .axis = axis};
    growth->item.shape.erase(growth->item.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  return growth;
}

namespace {

const List* grown_tensor(const Value& value) {
  const auto* list = value.as<std::shared_ptr<List>>();
  return list && (*list)->kind == List::Kind::growing && (*list)->start->axis ? list->get() : nullptr;
}

}  // namespace

// cat of a tensor that grows and others along the axis along which it does.
Expected<Value> Interpreter::longer_tensor(const std::vector<Value>& parts, const Value& dim) {
  const auto at = std::ranges::find_if(parts, [](const Value& part) { return grown_tensor(part) != nullptr; });
  const List& list = *grown_tensor(*at);
  const auto rank = static_cast<std::int64_t>(list.start->items.tensor->type().shape.size());
  const auto along = dim.is_none() ? std::optional<std::int64_t>(0) : dim.integer();
  const bool in_front = at != parts.begin();
  const auto size_of = [&](const Value& part) -> std::optional<std::int64_t> {
    return part.is_tensor() && part.tensor()->tensor->type().shape.size() == static_cast<std::size_t>(rank)
               ? part.tensor()->tensor->type().shape[*list.start->axis].constant()
               : std::nullopt;
  };
  const std::span<const Value> others(in_front ? parts.begin() : parts.begin() + 1,
                                      in_front ? parts.end() - 1 : parts.end());
  if (!along || (*along < 0 ? *along + rank : *along) != static_cast<std::int64_t>(*list.start->axis) ||
      at != (in_front ? parts.end() - 1 : parts.begin()) ||
      !std::ranges::all_of(others, [&](const Value& part) { return size_of(part).has_value(); }) ||
      (!list.items.empty() && list.grew_in_front != in_front))
    return error_here("a tensor grows in a loop that depends on data in another way than by cat([y, new], axis)");
  std::vector<Value> items;
  for (const Value& other : others)
    for (std::int64_t i = 0; i < *size_of(other); ++i) {
      const Dim axis(static_cast<std::int64_t>(*list.start->axis));
      TAPER_ASSIGN(Value item, call_aten("select", {{"", other}, {"", axis}, {"", Dim(i)}}));
      TAPER_ASSIGN(item, call_aten("clone", {{"", item}}));
      items.push_back(std::move(item));
    }
  auto grown = std::make_shared<List>(list.items, region_);
  grown->kind = List::Kind::growing;
  grown->start = list.start;
  grown->grew_in_front = in_front;
  grown->items.insert(in_front ? grown->items.begin() : grown->items.end(), items.begin(), items.end());
  return grown;
}

Expected<std::optional<Value>> Interpreter::on_grown_tensor(std::string_view name,
                                                            const std::vector<Argument>& arguments) {
  if (arguments.empty()) return std::nullopt;
  const Value& first = arguments[0].value;
  if (const auto* parts = first.items(); parts && name == "cat" && std::ranges::any_of(*parts, grown_tensor)) {
    TAPER_ASSIGN(Value longer, longer_tensor(*parts, arguments.size() > 1 ? arguments[1].value : Value()));
    return longer;
  }
  const List* list = grown_tensor(first);
  if (list == nullptr) return std::nullopt;
  const auto rank = static_cast<std::int64_t>(list->start->items.tensor->type().shape.size());
  const auto grown_axis = static_cast<std::int64_t>(*list->start->axis);
  if (name == "dim") return Value(Dim(rank));
  const auto argument = [&](std::size_t i) { return i < arguments.size() ? arguments[i].value : Value(); };
  const auto dim = argument(1).is_none() && name == "slice" ? std::optional<std::int64_t>(0) : argument(1).integer();
  const std::int64_t axis = dim ? (*dim < 0 ? *dim + rank : *dim) : -1;
  if (axis == grown_axis && name == "size") {
    TAPER_ASSIGN(Value length, grown_length(*list));
    return length;
  }
  if (axis >= 0 && axis < rank && name == "size") {
    Shape shape = list->start->items.tensor->type().shape;
    shape.erase(shape.begin());
    return Value(shape[static_cast<std::size_t>(axis < grown_axis ? axis : axis - 1)]);
  }
  if (axis == grown_axis && name == "select") {
    TAPER_ASSIGN(Value item, grown_item(*list, argument(2)));
    return item;
  }
  if (name == "slice" && argument(2).is_none() && argument(3).is_none()) return first;
  const bool last = argument(2).integer() == -1 && argument(3).is_none();
  if (axis == grown_axis && name == "slice" && last && argument(4).integer().value_or(1) == 1) {
    TAPER_ASSIGN(const Value item, grown_item(*list, Dim(-1)));
    TAPER_ASSIGN(Value part, call_aten("unsqueeze", {{"", item}, {"", Dim(axis)}}));
    return part;
  }
  return error_here(fmt::format("'{}' is called on {}", name, describe(first)),
                    "such a tensor may be read entry by entry (y[:, -1]); else write into one of the final size "
                    "(y[:, t] = new) and mask what is not there yet");
}

// Makes a known list one that fills a tensor with room for more.
Status Interpreter::begin_filling(List& list, const Growth& growth, const Dim& room) {
  Builder& build = region_->build;
  std::vector<taper::Value*> parts;
  for (const Value& item : list.items) {
    if (!is_item(item) || item_type(item) != growth.item)
      return error_here("a list of different items gets more of them in one branch than in the other");
    TAPER_ASSIGN(taper::Value * content, item.is_tensor() ? content_in(*region_, *item.tensor())
                                                          : number_in(*region_, item, growth.item.dtype));
    parts.push_back(aten::unsqueeze(build, content, 0));
  }
  Shape shape = growth.item.shape;
  shape.insert(shape.begin(), some(region_->context, room));
  parts.push_back(aten::full(build, shape, aten::Arg(Dim(0)), growth.item.dtype));
  taper::Value* all = aten::concat(build, std::move(parts), 0);
  TAPER_TRY(build.status());
  aten::TensorPtr tensor = aten::Tensor::make(all);
  list.length = std::make_shared<Value>(Dim(static_cast<std::int64_t>(list.items.size())));
  list.stack = {std::move(tensor), region_, growth.is_number};
  list.kind = List::Kind::filling;
  return {};
}

Status Interpreter::add_room(List& list, const Dim& room) {
  Builder& build = region_->build;
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, {list.stack.tensor, list.stack.home, false}));
  Shape more = all->type.shape;
  more[0] = some(region_->context, room);
  taper::Value* longer = aten::concat(build, {all, aten::full(build, more, aten::Arg(Dim(0)), all->type.dtype)}, 0);
  TAPER_TRY(build.status());
  list.stack = {aten::Tensor::make(longer), region_, list.stack.is_number};
  return {};
}

// Lists that fill tensors before a loop do so in it.
void Interpreter::note_filling(Attempts& attempts) {
  for (const Value& container : attempts.changed) {
    const auto* list = container.as<std::shared_ptr<List>>();
    if (!list || (*list)->kind != List::Kind::filling || (*list)->home != region_) continue;
    Type item = (*list)->stack.tensor->type();
    item.shape.erase(item.shape.begin());
    attempts.filling.try_emplace(list->get(), Growth{std::move(item), (*list)->stack.is_number, 1, false});
  }
}

Expected<Value> Interpreter::append_to_filling(const std::shared_ptr<List>& list, const Value& item) {
  TAPER_TRY(check_may_change(list));
  const Type& type = list->stack.tensor->type();
  Shape shape = type.shape;
  shape.erase(shape.begin());
  if (!is_item(item) || item.is_tensor() == list->stack.is_number || item_type(item) != Type{type.dtype, shape})
    return error_here(
        fmt::format("{} is put into a list of other items, of a number that depends on data", describe(item)));
  ++list->in_iteration;
  if (++list->added > list->room && list->room > 0)
    return error_here(fmt::format("a branch that depends on data adds more than {} items to a list", list->room),
                      "write into a tensor of known size (out[t] = y)");
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, {list->stack.tensor, list->stack.home, false}));
  TAPER_ASSIGN(taper::Value * content,
               item.is_tensor() ? content_in(*region_, *item.tensor()) : number_in(*region_, item, type.dtype));
  TAPER_ASSIGN(taper::Value * place, number_in(*region_, *list->length, DType::i64));
  Builder& build = region_->build;
  taper::Value* made =
      build("update_slice", {all, aten::unsqueeze(build, content, 0), places_along(build, place, 0, shape.size() + 1)});
  TAPER_TRY(build.status());
  aten::TensorPtr tensor = aten::Tensor::make(made);
  if (item.is_tensor()) {  // the list would see what is written to it later
    TAPER_ASSIGN(aten::TensorPtr seen, use(*item.tensor()));
    TAPER_ASSIGN(aten::TensorPtr before, use({list->stack.tensor, list->stack.home, false}));
    tensor = aten::Tensor::make_uncertain({std::move(before), std::move(seen)}, made,
                                          "an item of a list is written to, or the list after it (append y.clone())");
  }
  TAPER_ASSIGN(Value length, call_operator("add", {{"", *list->length}, {"", Dim(1)}}));
  list->stack = {std::move(tensor), region_, list->stack.is_number};
  list->length = std::make_shared<Value>(std::move(length));
  return list;
}

Expected<Value> Interpreter::item_of_filling(const List& list, const Value& index) {
  Value place = index;
  if (const auto at = index.integer(); at && *at < 0) {
    TAPER_ASSIGN(place, call_operator("add", {{"", *list.length}, {"", index}}));
  } else if (!at) {
    return error_here(
        fmt::format("a list of a number of items that depends on data is indexed by {}", describe(index)));
  }
  return item_of_stack(list.stack, place);
}

// After the branches and loops that filled it, a list is of as many items as there are.
Status Interpreter::settle(List& list) {
  if (list.kind != List::Kind::filling) return {};
  if (region_ != &root_ || list.home != &root_)
    return error_here("a list is used whose number of items depends on data, in a branch or loop that does too",
                      "write into a tensor of known size (out[t] = y)");
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, {list.stack.tensor, list.stack.home, false}));
  TAPER_ASSIGN(taper::Value * length, number_in(*region_, *list.length, DType::i64));
  taper::Value* part = region_->build(
      "gather", {all, aten::measured_range(region_->context, length, all->type.shape[0])}, {{"dim", std::int64_t{0}}});
  TAPER_TRY(region_->build.status());
  list.items.clear();
  list.kind = List::Kind::stacked;
  list.stack = {aten::Tensor::make(part), region_, list.stack.is_number};
  return {};
}

// Whether a loop that failed adds more items to a list in one branch than in another, which is noted for another
// attempt.
bool Interpreter::note_uneven(Attempts& attempts) {
  if (!uneven_) return false;
  const auto& [value, growth] = *uneven_;
  const List* list = value.as<std::shared_ptr<List>>()->get();
  const bool is_here =
      std::ranges::any_of(attempts.changed, [&](const Value& one) { return same_container(one, value); });
  if (!is_here || attempts.filling.contains(list)) return false;
  attempts.filling.emplace(list, growth);
  std::erase_if(attempts.grown, [&](const auto& one) { return one.first.first == list; });
  uneven_.reset();
  return true;
}

}  // namespace taper::torchscript
