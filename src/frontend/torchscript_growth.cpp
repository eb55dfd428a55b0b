// Lists that iterations of a loop make longer: their items become the entries of a tensor that the loop carries.
#include "frontend/aten_counts.h"
#include "frontend/torchscript_bounds.h"
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {
std::optional<Interpreter::Growth> Interpreter::Loop::growth_of(std::size_t at, const Value& list,
                                                                bool in_front) const {
  const Holder& holder = holders[at];
  if (!holder.before.items() || !list.items()) return std::nullopt;  // of an open number of items
  const std::vector<Value> old = *holder.before.items();
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
  if (!in_front)
    if (auto ragged = ragged_growth(added, old)) return ragged;
  const Growth growth{item_type(added[0]), !added[0].is_tensor(), added.size(), in_front};
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
  if (holder.growth->ragged && growth && growth->ragged) {
    Growth counted = *growth;
    counted.ragged->is_counted = holder.growth->ragged->is_counted;
    counted.ragged->first = holder.growth->ragged->first;
    counted.ragged->size = holder.growth->ragged->size;
    counted.ragged->step = holder.growth->ragged->step;
    if (counted == *holder.growth) {
      holder.after = *items.items();
      return true;
    }
  }
  if (growth && growth->ragged && !holder.growth->ragged) {
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

// What it begins with, which it is copied from.
Expected<Storages> Interpreter::storages_copied_from(const Growth& growth, const Value& begin) {
  Storages copied;
  for (const Value& item : growth.axis ? std::vector{begin} : *begin.items())
    if (item.is_tensor()) {
      TAPER_ASSIGN(copied.emplace_back(), use(*item.tensor()));
    }
  return copied;
}

// A tensor for all items that there will be. As long as their number isn't known, one for an iteration.
Status Interpreter::carry_grown(Loop& loop, std::size_t at, std::size_t leaf, const Growth& growth,
                                const Value& begin) {
  if (!growth.axis && !begin.items())
    return error_here(fmt::format("{} gets more items in a loop that depends on data", describe(begin)),
                      "collect the items of the loop in a list of its own, and join the two");
  const List::Start start = start_of(growth, begin, nullptr, nullptr);
  const Dim steps = loop.steps.value_or(1), each = start.in_each;
  const Dim all = growth.ragged ? growth.ragged->entries(loop.outer.context, steps) : start.before + steps * each;
  const Dim room = (loop.measured != nullptr ? all : some(loop.outer.context, all)) -
                   (growth.ragged ? growth.ragged->before : start.before);
  Builder& build = loop.outer.build;
  std::vector<taper::Value*> parts;
  if (growth.axis) {
    TAPER_ASSIGN(const Value entries,
                 call_aten("movedim", {{"", begin}, {"", Dim(static_cast<std::int64_t>(*growth.axis))}, {"", Dim(0)}}));
    TAPER_ASSIGN(taper::Value * content, content_in(loop.outer, *entries.tensor()));
    parts.push_back(content);
  } else {
    for (const Value& item : *begin.items()) {
      TAPER_ASSIGN(taper::Value * content, item.is_tensor() ? content_in(loop.outer, *item.tensor())
                                                            : number_in(loop.outer, item, growth.item.dtype));
      if (growth.ragged) {
        const Dim axis(static_cast<std::int64_t>(growth.ragged->axis));
        TAPER_ASSIGN(const Value moved, call_aten("movedim", {{"", item}, {"", axis}, {"", Dim(0)}}));
        TAPER_ASSIGN(content, content_in(loop.outer, *moved.tensor()));
      }
      parts.push_back(growth.ragged ? content : aten::unsqueeze(build, content, 0));
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
  TAPER_ASSIGN(Storages copied, storages_copied_from(growth, begin));
  loop.carried.push_back({.name = loop.name_of(loop.holders[at], at, leaf),
                          .holder = at,
                          .leaf = leaf,
                          .growth = growth,
                          .begin = begin,
                          .initial = items,
                          .before = aten::Tensor::make(items),
                          .aliases = std::move(copied)});
  return {};
}

List::Start Interpreter::start_of(const Growth& growth, const Value& begin, taper::Value* iteration,
                                  const aten::TensorPtr& place) {
  List::Start start;
  start.items = {place, region_, growth.is_number};
  if (iteration != nullptr) start.iteration = {aten::Tensor::make(iteration), region_, true};
  start.before = growth.axis ? begin.tensor()->tensor->type().shape[*growth.axis]
                             : Dim(static_cast<std::int64_t>(begin.items()->size()));
  start.in_each = static_cast<std::int64_t>(growth.count);
  start.in_front = growth.in_front;
  start.is_ragged = growth.ragged.has_value();
  start.axis = growth.axis;
  return start;
}

// What a list is when an iteration begins.
void Interpreter::begin_growing(Loop& loop, std::size_t at, taper::Value* iteration, const aten::TensorPtr& place) {
  const Loop::Holder& holder = loop.holders[at];
  auto start = std::make_shared<List::Start>(start_of(*holder.growth, holder.before, iteration, place));
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
Expected<Value> Interpreter::grown_length(const List::Start& start, std::size_t here) {
  Value length = start.iteration;
  if (!start.in_each.is(1)) {
    TAPER_ASSIGN(length, call_operator("mul", {{"", length}, {"", start.in_each}}));
  }
  const Dim known = start.before + Dim(static_cast<std::int64_t>(here));
  if (known.is(0)) return length;
  return call_operator("add", {{"", length}, {"", known}});
}

// All items so far, those of this iteration too.
Expected<TensorRef> Interpreter::grown_items(const List::Start& start, std::vector<Value> items) {
  if (start.is_ragged)
    return error_here("a list of items of different sizes is used in the loop in which it grows",
                      "pad the input so that all parts are of one size");
  if (items.empty()) return start.items;
  if (start.in_front) std::ranges::reverse(items);
  TAPER_ASSIGN(taper::Value * all, content_in(*region_, start.items));
  std::vector<taper::Value*> parts;
  for (const Value& item : items) {
    TAPER_ASSIGN(taper::Value * content,
                 item.is_tensor() ? content_in(*region_, *item.tensor()) : number_in(*region_, item, all->type.dtype));
    parts.push_back(aten::unsqueeze(region_->build, content, 0));
  }
  TAPER_ASSIGN(const Value before, grown_length(start));
  TAPER_ASSIGN(taper::Value * place, number_in(*region_, before, DType::i64));
  Builder& build = region_->build;
  taper::Value* made = build("update_slice", {all, aten::concat(build, std::move(parts), 0),
                                              places_along(build, place, 0, all->type.shape.size())});
  TAPER_TRY(build.status());
  return TensorRef{aten::Tensor::make(made), region_, start.items.is_number};
}

Expected<taper::Value*> Interpreter::grown_further(Loop& loop, std::size_t i) {
  const Loop::Carried& one = loop.carried[i];
  if (one.growth->ragged) return joined_further(loop, i);
  if (one.growth->whole) {
    const std::vector<Value> after = loop.after(one);
    return grown_whole(loop, i, after.empty() ? Value() : after[0]);
  }
  const List::Start start = start_of(*one.growth, one.begin, loop.body.outputs[0], loop.places[i]);
  std::vector<Value> items = loop.after(one);
  if (one.growth->axis) {
    const List* list = grown_tensor(items.at(0));
    if (list == nullptr || list->start->items.tensor != loop.places[i]) return grown_whole(loop, i, items[0]);
    items = list->items;
  }
  TAPER_ASSIGN(const TensorRef all, grown_items(start, std::move(items)));
  return content_in(*region_, all);
}

Expected<Value> Interpreter::place_of_index(const Value& index, const Value& length) {
  if (const auto at = index.integer()) {
    if (*at >= 0) return index;
    return call_operator("add", {{"", length}, {"", index}});
  }
  if (!index.as<Dim>() && !index.tensor()) return error_here(fmt::format("a list is indexed by {}", describe(index)));
  if (index.tensor()) {
    TAPER_ASSIGN(const taper::Value* number, number_in(*region_, index, DType::i64));
    const Bounds bounds = bounds_of(*region_, number);
    if (bounds.least && surely_within(region_->context, 0, *bounds.least)) return index;
  }
  TAPER_ASSIGN(const Value negative, call_operator("lt", {{"", index}, {"", Dim(0)}}));
  TAPER_ASSIGN(const Value from_end, call_operator("add", {{"", index}, {"", length}}));
  TAPER_ASSIGN(const std::optional<bool> known, decide(negative));
  if (known) return *known ? from_end : index;
  TAPER_ASSIGN(taper::Value * flag, number_in(*region_, negative, DType::boolean));
  TAPER_ASSIGN(taper::Value * a, number_in(*region_, from_end, DType::i64));
  TAPER_ASSIGN(taper::Value * b, number_in(*region_, index, DType::i64));
  taper::Value* place = region_->build("where", {flag, a, b});
  TAPER_TRY(region_->build.status());
  return TensorRef{aten::Tensor::make(place), region_, true};
}

namespace {

// Whether an item of a growing list, of which this iteration has made some, is surely one of those before.
bool is_older(const aten::Context& context, const List& list, std::int64_t at) {
  const Dim here(static_cast<std::int64_t>(list.items.size())), &before = list.start->before;
  const bool from_new_end = list.start->in_front == (at >= 0);
  const Dim place = at < 0 ? Dim(0) - Dim(at) : Dim(at) + Dim(1);  // counted from 1
  return aten::known_less_equal(context, from_new_end ? place - here : place, before) == true;
}

}  // namespace

// An item of a growing list.
Expected<Value> Interpreter::grown_item(const List& list, const Value& index) {
  const auto here = static_cast<std::int64_t>(list.items.size());
  const auto at = index.integer();
  const bool in_front = list.start->in_front;
  if (at && !in_front && *at < 0 && *at + here >= 0) return list.items[static_cast<std::size_t>(*at + here)];
  if (at && in_front && *at >= 0 && *at < here) return list.items[static_cast<std::size_t>(*at)];
  TAPER_ASSIGN(const Value length, grown_length(*list.start, list.items.size()));
  Value place;
  if (at && *at < 0 && in_front) {
    place = Dim(-1 - *at);
  } else {
    TAPER_ASSIGN(place, place_of_index(index, length));
    if (in_front) {
      TAPER_ASSIGN(const Value last, call_operator("sub", {{"", length}, {"", Dim(1)}}));
      TAPER_ASSIGN(place, call_operator("sub", {{"", last}, {"", place}}));
    }
  }
  const bool older = list.items.empty() || (at && is_older(region_->context, list, *at));
  TAPER_ASSIGN(const TensorRef all, grown_items(*list.start, older ? std::vector<Value>() : list.items));
  TAPER_ASSIGN(Value item, item_of_stack(all, place));
  if (older || !item.is_tensor()) return item;
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *item.tensor()));
  std::vector<Value> all_items = list.items;
  all_items.emplace_back(TensorRef{list.start->items.tensor, list.start->items.home, false});
  TAPER_ASSIGN(item, shared_with(all_items, content, std::string(kWritesToGrown)));
  return item;
}

// An entry of what the items of a list are as a tensor.
Expected<Value> Interpreter::item_of_stack(const TensorRef& stack, const Value& index) {
  const TensorRef all{stack.tensor, stack.home, false};
  TAPER_ASSIGN(Value item, call_operator("select", {{"", all}, {"", Dim(0)}, {"", index}}));
  if (stack.is_number && item.is_tensor()) return TensorRef{item.tensor()->tensor, item.tensor()->home, true};
  return item;
}

// What has grown, after the loop: a tensor, or the items of a list as one.
Expected<Value> Interpreter::finish_growing(Loop& loop, std::size_t i, const aten::TensorPtr& items,
                                            taper::Value* iterations) {
  const Loop::Carried& one = loop.carried[i];
  const Growth& growth = *one.growth;
  const List::Start start = start_of(growth, one.begin, nullptr, nullptr);
  const Dim before = start.before, each = start.in_each;
  const Dim length =
      growth.ragged ? growth.ragged->entries(region_->context, *loop.steps) : before + *loop.steps * each;
  if (growth.ragged && (loop.ends_itself || loop.measured != nullptr))
    return error_here("a list gets items of different sizes, of a number that depends on data",
                      "pad the input so that all parts are of one size");
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
  TAPER_ASSIGN(
      all, in_place(std::move(all), growth.in_front, growth.ragged ? std::optional(growth.ragged->axis) : growth.axis));
  const TensorRef made{all.tensor()->tensor, region_, growth.is_number};
  if (!items->uncertain() || made.tensor == items) return made;
  TAPER_ASSIGN(taper::Value * content, content_of(*region_, *made.tensor));
  TAPER_ASSIGN(const TensorRef shared,
               shared_with(std::vector<Value>{TensorRef{items, region_, false}}, content, sharing_error(one.name)));
  return TensorRef{shared.tensor, region_, growth.is_number};
}

// [y] * n, of which the running program knows how often. All items are one tensor.
Expected<std::optional<Value>> Interpreter::repeated_list(const Value& list, const Value& times) {
  const std::vector<Value>& items = *list.items();
  if (items.size() != 1 || !is_item(items[0])) return std::nullopt;
  Builder& build = region_->build;
  Dim often;
  if (const Dim* known = times.as<Dim>()) {
    often = aten::larger(region_->context, *known, 0);
  } else {
    TAPER_ASSIGN(taper::Value * number, number_in(*region_, times, DType::i64));
    often = aten::measured_size(region_->context, number);
  }
  const auto repeat = [often](Builder& into, taper::Value* from) {
    Shape shape = from->type.shape;
    shape.insert(shape.begin(), often);
    return aten::expand(into, aten::unsqueeze(into, from, 0), shape);
  };
  aten::TensorPtr tensor;
  if (items[0].is_tensor()) {
    TAPER_ASSIGN(aten::TensorPtr base, use(*items[0].tensor()));
    tensor = aten::Tensor::make_view(build, std::move(base), repeat, nullptr, std::nullopt);
  } else {
    TAPER_ASSIGN(taper::Value * content, number_in(*region_, items[0]));
    tensor = aten::Tensor::make(repeat(build, content));
  }
  TAPER_TRY(build.status());
  Value made = stacked_list({std::move(tensor), region_, !items[0].is_tensor()});
  if (items[0].is_tensor()) {
    List& repeated = **made.as<std::shared_ptr<List>>();
    repeated.repeats = true;
    repeated.one_item = items[0];
  }
  return made;
}

// ys[t] = y in a list of an open number of items.
Expected<Value> Interpreter::set_in_stack(const Value& container, const Value& index, const Value& item) {
  List& list = **container.as<std::shared_ptr<List>>();
  const TensorRef* one = list.one_item ? list.one_item->tensor() : nullptr;
  if (one != nullptr && item.tensor() && item.tensor()->tensor == one->tensor) return None{};  // ys[t] += x
  if (list.home != region_) {
    changed_ = container;
    return error_here(fmt::format("{} changes inside of a branch or loop that depends on data", describe(container)));
  }
  Type type = list.stack.tensor->type();
  type.shape.erase(type.shape.begin());
  if (!is_item(item) || item.is_tensor() == list.stack.is_number || item_type(item) != type)
    return error_here(fmt::format("{} is put into a list of items {}", describe(item), type_text(type)));
  TAPER_ASSIGN(aten::TensorPtr before, use({list.stack.tensor, list.stack.home, false}));
  TAPER_ASSIGN(const Value all, call_aten("clone", {{"", TensorRef{before, region_, false}}}));
  TAPER_ASSIGN(const Value place, call_operator("select", {{"", all}, {"", Dim(0)}, {"", index}}));
  if (!place.is_tensor()) return place;
  TAPER_ASSIGN(taper::Value * content, number_in(*region_, item, type.dtype));
  TAPER_TRY(place.tensor()->tensor->write(region_->build, content));
  aten::TensorPtr tensor = all.tensor()->tensor;
  if (item.is_tensor()) {  // the list would see what is written to it later
    TAPER_ASSIGN(aten::TensorPtr seen, use(*item.tensor()));
    TAPER_ASSIGN(taper::Value * made, content_of(*region_, *tensor));
    tensor = aten::Tensor::make_uncertain({std::move(before), std::move(seen)}, made,
                                          "an item of a list is written to, or the list after it (ys[t] = y.clone())");
  }
  list.stack = {std::move(tensor), region_, list.stack.is_number};
  list.one_item.reset();
  return None{};
}

}  // namespace taper::torchscript
