// Loops of TorchScript that depend on data: the row `while`.
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {
namespace {

void add_once(Storages& all, const aten::TensorPtr& tensor) {
  if (std::ranges::find(all, tensor) == all.end()) all.push_back(tensor);
}

bool any_shares(const Storages& all, const aten::TensorPtr& tensor) {
  return std::ranges::any_of(all, [&](const aten::TensorPtr& other) { return share_storage(other, tensor); });
}

bool is_structure(const Value& value) {
  return value.items() != nullptr || value.as<std::shared_ptr<Maybe>>() != nullptr;
}

bool same_structure(const Value& a, const Value& b) {
  const auto* maybe_a = a.as<std::shared_ptr<Maybe>>();
  const auto* maybe_b = b.as<std::shared_ptr<Maybe>>();
  if (maybe_a || maybe_b) return maybe_a && maybe_b && same_structure((*maybe_a)->value, (*maybe_b)->value);
  if (!a.items() || !b.items()) return !a.items() && !b.items();
  return a.data.index() == b.data.index() && std::ranges::equal(*a.items(), *b.items(), same_structure);
}

}  // namespace

std::string sharing_error(std::string_view name) {
  return fmt::format(
      "'{}' may share elements with another tensor, by how a loop that depends on data went: one of them is written "
      "to, "
      "and the other one read afterwards (clone() what is kept)",
      name);
}

void each_leaf(const Value& value, const std::function<void(const Value&)>& visit) {
  if (const auto* maybe = value.as<std::shared_ptr<Maybe>>()) {
    each_leaf((*maybe)->is_there, visit);
    return each_leaf((*maybe)->value, visit);
  }
  if (!value.items()) return visit(value);
  for (const Value& item : *value.items()) each_leaf(item, visit);
}

Value with_leaves(const Value& value, Region* home, const std::function<Value(const Value&)>& next) {
  if (const auto* maybe = value.as<std::shared_ptr<Maybe>>()) {
    Value is_there = with_leaves((*maybe)->is_there, home, next);
    return std::make_shared<Maybe>(std::move(is_there), with_leaves((*maybe)->value, home, next));
  }
  if (!value.items()) return next(value);
  std::vector<Value> items;
  for (const Value& item : *value.items()) items.push_back(with_leaves(item, home, next));
  if (const auto* tuple = value.as<std::shared_ptr<Tuple>>())
    return std::make_shared<Tuple>(std::move(items), (*tuple)->type);
  return std::make_shared<List>(std::move(items), home);
}

std::string_view Interpreter::Loop::name_of(const Holder& holder, std::size_t at, std::size_t leaf) const {
  if (!holder.variable.empty() && !is_structure(holder.before)) return holder.variable;
  if (const auto* slot = holder.container.as<std::shared_ptr<Slot>>())
    return *names.insert(fmt::format("attribute {} ({}.{})", (*slot)->name, at, leaf)).first;
  for (const auto& [variable, value] : before)
    if (holder.variable.empty() && same_container(value, holder.container))
      return *names.insert(fmt::format("{}[{}]", variable, leaf)).first;
  return *names
              .insert(holder.variable.empty() ? fmt::format("item {} of container {}", leaf, at)
                                              : fmt::format("{}.{}", holder.variable, leaf))
              .first;
}

std::pair<Dim, Dim> Interpreter::Loop::range_of(const Branch& branch, const Dim& begin, std::int64_t step) const {
  const Dim last = begin + Dim(step) * (&branch == &body ? *steps - Dim(1) : *steps);
  return step > 0 ? std::pair(begin, last) : std::pair(last, begin);
}

Value Interpreter::Loop::rebuilt(std::size_t holder, Region* home,
                                 const std::function<Value(std::size_t)>& of_carried) const {
  std::size_t leaf = 0;
  return with_leaves(holders[holder].before, home, [&](const Value& value) {
    const std::size_t at = leaf++;
    for (std::size_t i = 0; i < carried.size(); ++i)
      if (!carried[i].name.empty() && carried[i].holder == holder && carried[i].leaf == at) return of_carried(i);
    return value;
  });
}

// A loop whose end depends on data: what the body sets is carried. Numbers that no iteration changes stay known; which
// ones these are is found by trying: every attempt carries those that changed in the one before. Tensors are carried
// unless the body only writes to them: then they stay the places that other tensors share.
Status Interpreter::loop_on(const Statement& statement, const Value* count, const Value& entered, std::int64_t first) {
  if (gives_back(statement.body)) return error_here("a loop that depends on data returns");
  Attempts attempts;
  if (count && count->as<Dim>()) attempts.steps = aten::larger(region_->context, *count->as<Dim>(), 0);
  attempts.first = first;
  while (true) {
    const Expected<bool> done = try_loop(statement, count, entered, attempts);
    if (done && *done) return {};
    if (done || note_changed(attempts.changed) || note_uneven(attempts)) continue;
    if (changed_ || first > 0 || !count || !attempts.steps) return std::unexpected(done.error());
    const auto* sizes = entered.as<Undecided>();
    const bool is_sure = aten::known_less(region_->context, 0, *attempts.steps) == true;
    if (!is_sure && !(sizes && sizes->general == true)) return std::unexpected(done.error());
    if (!is_sure)
      assume(
          fmt::format("the files are right where {} alone: {} is decided by it", sizes->text, place(statement.line)));
    // What the first iteration alone sets up: a state that is None before it, say.
    const Names before = names_of(frame_->variables);
    TAPER_TRY(assign(*statement.target, Dim(0)));
    TAPER_TRY(run_block(statement.body));
    forget_others(before);
    const Value rest = *attempts.steps - Dim(1);
    if (rest.integer() == 0) return {};
    TAPER_ASSIGN(const Value goes_on, call_operator("gt", {{"", rest}, {"", Dim(0)}}));
    return loop_on(statement, &rest, goes_on, 1);
  }
}

// Leaves a list that fills a tensor as it was before the loop.
void Interpreter::Loop::leave_filling(const Holder& holder) {
  List& list = **holder.container.as<std::shared_ptr<List>>();
  list.kind = holder.length ? List::Kind::filling : List::Kind::known;
  list.items = holder.items;
  list.stack = holder.stack;
  list.length = holder.length;
  list.added = holder.added;
}

Status Interpreter::find_carried(Loop& loop, const Attempts& attempts) {
  if (loop.counts) {
    TAPER_ASSIGN(taper::Value * zero, number_in(loop.outer, Dim(0), DType::i64));
    loop.carried.push_back({.holder = Loop::kNone, .initial = zero, .is_number = true});
  }
  for (const std::string_view name : loop.assigned)
    if (const auto found = frame_->variables.find(name);
        found != frame_->variables.end() && !loop.keeps_list(name, attempts))
      loop.holders.push_back({.variable = name, .container = None{}, .before = found->second});
  for (const Value& container : attempts.changed) {
    const auto* list = container.as<std::shared_ptr<List>>();
    const List::Kind kind = list ? (*list)->kind : List::Kind::known;
    if (kind == List::Kind::growing)
      return error_here("a list whose number of items is open gets more in a loop that depends on data",
                        "collect the items of the loop in a list of its own, and join the two");
    const auto filling = list ? attempts.filling.find(list->get()) : attempts.filling.end();
    Loop::Holder holder{.container = container, .before = contents_of(container)};
    holder.is_stacked = container.stack() != nullptr;
    if (filling != attempts.filling.end()) {
      const Growth& growth = filling->second;
      holder.items = (*list)->items;
      holder.stack = (*list)->stack;
      holder.length = (*list)->length;
      holder.added = (*list)->added;
      holder.filling = growth;
      const Dim room = loop.steps.value_or(1) * Dim(static_cast<std::int64_t>(growth.count));
      if (kind == List::Kind::known) {
        TAPER_TRY(begin_filling(**list, growth, room));
      } else {
        TAPER_TRY(add_room(**list, room));
      }
      holder.before = contents_of(container);
      Loop::leave_filling(holder);
    }
    loop.holders.push_back(std::move(holder));
  }
  for (std::size_t i = 0; i < loop.holders.size(); ++i) {
    Loop::Holder& holder = loop.holders[i];
    const auto grown = attempts.grown.find({holder.list(), holder.variable});
    if (holder.list() == nullptr || grown == attempts.grown.end()) {
      TAPER_TRY(carry(loop, attempts, i));
      continue;
    }
    holder.growth = grown->second;
    TAPER_TRY(carry_grown(loop, i, 0, *holder.growth, holder.before));
  }
  return {};
}

// Carries the leaves of a holder: tensors, and the numbers that iterations change.
Status Interpreter::carry(Loop& loop, const Attempts& attempts, std::size_t at) {
  Loop::Holder& holder = loop.holders[at];
  if (!is_walkable(holder.before)) return error_here(fmt::format("{} is too large", describe(holder.before)));
  for (const Value& changed : attempts.changed) {
    const auto* list = changed.as<std::shared_ptr<List>>();
    if (list && holds_container(holder.before, list->get()))
      return error_here("a list changes in a loop that depends on data, and what holds it changes too");
  }
  std::vector<Value> leaves;
  each_leaf(holder.before, [&](const Value& leaf) { leaves.push_back(leaf); });
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const Value& value = leaves[i];
    const std::string_view name = loop.name_of(holder, at, i);
    holder.names.push_back(name);
    if (value.is_tensor() ? attempts.kept.contains(name) : !attempts.carried.contains(name)) continue;
    if (!is_number_value(value) && !value.is_tensor())
      return error_here(fmt::format("'{}' is {} that changes in a loop that depends on data", name, describe(value)));
    if (const auto grown = attempts.grown.find({nullptr, name}); grown != attempts.grown.end()) {
      TAPER_TRY(carry_grown(loop, at, i, grown->second, value));
      continue;
    }
    Loop::Carried one{.name = name, .holder = at, .leaf = i, .is_number = !value.is_tensor()};
    if (value.is_tensor()) {
      TAPER_ASSIGN(one.before, use(*value.tensor()));
      TAPER_ASSIGN(one.initial, content_of(loop.outer, *one.before));
    } else {
      TAPER_ASSIGN(one.initial, number_in(loop.outer, value));
    }
    loop.carried.push_back(std::move(one));
  }
  return {};
}

// Begins a region of the loop. Returns the places of what is carried, which the region's outputs are so far.
Expected<std::vector<aten::TensorPtr>> Interpreter::enter(Loop& loop, Branch& branch, const Attempts& attempts) {
  branch.region = std::make_unique<Region>(*branch.graph, &loop.outer);
  branch.region->shared = attempts.shared;
  branch.region->variable = attempts.variable;
  branch.region->guesses_ranges = !loop.is_for() && !attempts.counted && !attempts.measures;
  branch.region->build.set_scope(frame_->scope);
  region_ = branch.region.get();
  std::vector<aten::TensorPtr> places;
  for (const Loop::Carried& one : loop.carried) {
    taper::Value* input =
        branch.graph->add_input(one.name.empty() ? "iteration" : std::string(one.name), one.initial->type);
    branch.outputs.push_back(input);
    if (const auto step = one.name.empty() ? attempts.counters.end() : attempts.counters.find(one.name);
        loop.steps && (one.name.empty() || step != attempts.counters.end()))
      branch.region->ranges[input] = one.name.empty() ? loop.range_of(branch, 0, 1)
                                                      : loop.range_of(branch, step->second.first, step->second.second);
    aten::TensorPtr place = aten::Tensor::make(input);
    if (one.before && (attempts.strided.contains(one.name) || one.before->contiguous() != true))
      place->forget_strides();
    std::vector<aten::TensorPtr> bases;
    if (const auto found = attempts.aliases.find(one.name); found != attempts.aliases.end())
      for (const aten::TensorPtr& alias : found->second) {
        TAPER_ASSIGN(aten::TensorPtr seen, use({alias, &loop.outer, false}));
        bases.push_back(std::move(seen));
      }
    for (std::size_t i = 0; i < places.size(); ++i)
      if (attempts.paired.contains({loop.carried[i].name, one.name})) bases.push_back(places[i]);
    if (!bases.empty()) place = aten::Tensor::make_uncertain(std::move(bases), input, sharing_error(one.name));
    if (one.growth && one.growth->whole) {
      TAPER_ASSIGN(place, whole_place(start_of(*one.growth, one.begin, branch.outputs.front(), place)));
    }
    branch.begun.push_back(place->present());
    places.push_back(std::move(place));
  }
  for (std::size_t i = 0; i < loop.holders.size(); ++i) {
    Value value = loop.rebuilt(i, region_, [&](std::size_t k) -> Value {
      const Loop::Carried& one = loop.carried[k];
      if (!one.growth || one.growth->whole) return TensorRef{places[k], region_, one.is_number};
      auto grown = std::make_shared<List>(std::vector<Value>(), region_);
      grown->kind = List::Kind::growing;
      grown->start = std::make_shared<List::Start>(start_of(*one.growth, one.begin, branch.outputs.front(), places[k]));
      return grown;
    });
    const Loop::Holder& holder = loop.holders[i];
    if (holder.growth) {
      begin_growing(loop, i, branch.outputs.front(), places[loop.carried_of(i)]);
    } else if (!holder.variable.empty()) {
      frame_->variables.insert_or_assign(holder.variable, std::move(value));
    } else {
      if (holder.filling) {
        List& list = **holder.container.as<std::shared_ptr<List>>();
        list.kind = List::Kind::filling;
        list.stack.is_number = holder.filling->is_number;
        list.in_iteration = 0;
      }
      TAPER_TRY(set_contents(holder.container, value));
      set_home(holder.container, region_);
      if (const auto* list = holder.container.as<std::shared_ptr<List>>()) (*list)->grew_in_front = false;
    }
  }
  return places;
}

Status Interpreter::run_body(Loop& loop, const Attempts& attempts) {
  TAPER_ASSIGN(loop.places, enter(loop, loop.body, attempts));
  if (loop.is_for()) {
    Value index = TensorRef{aten::Tensor::make(loop.body.outputs[0]), region_, true};
    if (attempts.first > 0) {
      TAPER_ASSIGN(index, call_operator("add", {{"", index}, {"", Dim(attempts.first)}}));
    }
    TAPER_TRY(assign(*loop.statement.target, std::move(index)));
  }
  return run_block(loop.statement.body);
}

// Whether anything changed that is not carried, or is carried though it was only written to.
Expected<bool> Interpreter::carry_more(const Loop& loop, Attempts& attempts) {
  bool more = false;
  for (const std::string_view name : loop.assigned) {
    const auto is = loop.body.variables.find(name);
    if (!loop.keeps_list(name, attempts) ||
        (is != loop.body.variables.end() && same_container(loop.before.at(name), is->second)))
      continue;
    attempts.replaced.insert(name);
    more = true;
  }
  for (const Loop::Holder& holder : loop.holders) {
    if (holder.growth) continue;
    std::vector<Value> before;
    each_leaf(holder.before, [&](const Value& leaf) { before.push_back(leaf); });
    for (std::size_t i = 0; i < before.size(); ++i) {
      const std::string_view name = holder.names[i];
      if (loop.find(name) != nullptr) continue;
      const Value* is = i < holder.after.size() ? &holder.after[i] : nullptr;
      const Value& was = before[i];
      const bool same_tensor = is && was.tensor() && is->tensor() && was.tensor()->tensor == is->tensor()->tensor;
      if (same_tensor || (is && same_value(was, *is) == true)) continue;
      if (was.is_unknown() || was.as<Uninitialized>()) continue;
      if (attempts.kept.contains(name))
        return error_here(fmt::format("'{}' is both written to and replaced in a loop that depends on data", name));
      attempts.carried.insert(name);
      more = true;
    }
  }
  // Writing to what is carried would write to what it was before the loop, in the first iteration alone.
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    if (loop.carried[i].name.empty() || loop.carried[i].growth) continue;
    const std::vector<Value> is = loop.after(loop.carried[i]);
    const bool stays = !is.empty() && is[0].tensor() && is[0].tensor()->tensor == loop.places[i];
    if (!stays || !loop.writes_to(i)) continue;
    attempts.kept.insert(loop.carried[i].name);
    more = true;
  }
  return more;
}

struct Interpreter::Relatives {
  Storages outer, made;
  std::set<std::size_t> places;
  const List* grown = nullptr;  // a tensor that is longer by what this iteration adds
};

// Notes tensors that don't stay row-major, too.
Expected<Interpreter::Relatives> Interpreter::relatives_of(Loop& loop, std::size_t i, Attempts& attempts, bool& more) {
  const Region& region = *loop.body.region;
  Relatives all;
  for (const Value& is : loop.after(loop.carried[i])) {
    if (const List* grown = grown_tensor(is)) {  // unless it is a copy, what another one was before
      const auto place = std::ranges::find(loop.places, grown->start->items.tensor);
      all.grown = grown;
      if (place != loop.places.end() && grown->items.empty())
        all.places.insert(static_cast<std::size_t>(place - loop.places.begin()));
    }
    if (!is.tensor()) continue;  // find_next() says so
    TAPER_ASSIGN(const aten::TensorPtr tensor, use_in(*loop.body.region, *is.tensor()));
    if (tensor->contiguous() != true && loop.places[i]->contiguous() == true)
      more |= attempts.strided.insert(loop.carried[i].name).second;
    for (const aten::TensorPtr& part : parts_of(tensor)) {
      const auto place = std::ranges::find(loop.places, part);
      const auto is_inner = [&](const Capture& capture) { return capture.inner.tensor == part; };
      const auto captured = std::ranges::find_if(region.captures, is_inner);
      if (place != loop.places.end())
        all.places.insert(static_cast<std::size_t>(place - loop.places.begin()));
      else if (captured != region.captures.end())
        add_once(all.outer, captured->outer.tensor);
      else if (part->bases().empty())
        all.made.push_back(part);
    }
  }
  return all;
}

// Notes tensors of outside that share elements with what is carried, where one of them is written to.
Expected<bool> Interpreter::note_aliases(Loop& loop, Attempts& attempts) {
  bool more = false;
  for (const Capture& capture : loop.body.region->captures) {
    TAPER_ASSIGN(const bool changed, is_changed(*loop.body.region, capture));
    for (const Loop::Carried& one : loop.carried) {
      if ((!changed && !one.is_written) || !any_shares(one.aliases, capture.outer.tensor)) continue;
      Storages& noted = attempts.aliases[one.name];
      if (std::ranges::find(noted, capture.outer.tensor) != noted.end()) continue;
      noted.push_back(capture.outer.tensor);
      more = true;
    }
  }
  return more;
}

// Finds what carried tensors may share elements with: what they were before the loop, what iterations make of them.
// Returns whether there are such of which one is written to, which the next attempt has to know.
Expected<bool> Interpreter::relate(Loop& loop, Attempts& attempts) {
  const std::size_t count = loop.carried.size();
  std::vector<Relatives> all(count);
  bool more = false;
  for (std::size_t i = 0; i < count; ++i) {
    Loop::Carried& one = loop.carried[i];
    if (one.is_number) continue;
    one.is_written = loop.writes_to(i);
    TAPER_ASSIGN(all[i], relatives_of(loop, i, attempts, more));
    one.is_replaced = all[i].places.empty() && all[i].outer.empty() && (one.aliases.empty() || one.growth->axis);
    add_once(one.aliases, one.before);
    for (const aten::TensorPtr& tensor_outside : all[i].outer) add_once(one.aliases, tensor_outside);
  }
  for (std::size_t round = 0; round < count; ++round)  // through what others were
    for (std::size_t i = 0; i < count; ++i)
      for (const std::size_t k : all[i].places)
        for (const aten::TensorPtr& alias : std::vector(loop.carried[k].aliases))
          add_once(loop.carried[i].aliases, alias);
  TAPER_ASSIGN(const bool noted, note_aliases(loop, attempts));
  more |= noted;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = i + 1; j < count; ++j) {
      const bool related =
          std::ranges::any_of(all[i].made, [&](const auto& part) { return any_shares(all[j].made, part); }) ||
          std::ranges::any_of(loop.carried[i].aliases,
                              [&](const auto& alias) { return any_shares(loop.carried[j].aliases, alias); }) ||
          (all[i].grown != nullptr && all[i].grown == all[j].grown);
      if (!related) continue;
      loop.carried[j].is_replaced = loop.carried[i].is_replaced = false;
      if (loop.carried[i].is_written || loop.carried[j].is_written)
        more |= attempts.paired.emplace(loop.carried[i].name, loop.carried[j].name).second;
      loop.related.emplace_back(i, j);
    }
  return more;
}

// The condition for another iteration.
Status Interpreter::run_condition(Loop& loop, const Attempts& attempts) {
  TAPER_ASSIGN([[maybe_unused]] const auto places, enter(loop, loop.condition, attempts));
  if (loop.is_for() || (loop.steps && !loop.ends_itself)) {
    TAPER_ASSIGN(taper::Value * times,
                 number_in(*region_, loop.is_for() ? *loop.count : Value(*loop.steps), DType::i64));
    loop.go_on = region_->build("less", {loop.condition.outputs[0], times});
  } else {
    TAPER_ASSIGN(const Value holds, evaluate(*loop.statement.value));
    TAPER_ASSIGN(loop.go_on, number_in(*region_, holds, DType::boolean));
  }
  return region_->build.status();
}

// What each carried value is next.
Status Interpreter::find_next(Loop& loop) {
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    const Loop::Carried& one = loop.carried[i];
    taper::Value* value = nullptr;
    if (one.name.empty()) {
      value = region_->build("add", {loop.body.outputs[i], aten::integer_number(region_->build, 1)});
    } else if (one.growth) {
      TAPER_ASSIGN(value, grown_further(loop, i));
    } else {
      const std::vector<Value> after = loop.after(one);
      const Value given = after.empty() ? Value() : after[0];
      if (given.is_unknown() || !(given.tensor() || is_number_value(given)))
        return error_here(fmt::format("'{}' is {} after an iteration that depends on data", one.name,
                                      given.is_unknown() ? "unknown" : describe(given)));
      TAPER_ASSIGN(value, given.is_tensor() ? content_in(*region_, *given.tensor())
                                            : number_in(*region_, given, one.initial->type.dtype));
    }
    TAPER_TRY(region_->build.status());
    loop.next.push_back(value);
  }
  return {};
}

// Whether what is carried keeps its type. Returns whether tensors have grown, which the next attempt has to know: of
// all of them, for they meet.
Expected<bool> Interpreter::check_types(const Loop& loop, Attempts& attempts) {
  bool more = false;
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    const Loop::Carried& one = loop.carried[i];
    const Type& next = loop.next[i]->type;
    if (next == one.initial->type) continue;
    const auto growth = one.growth || one.is_number ? std::nullopt : tensor_growth(one.initial->type, next);
    const bool is_item = loop.holders[one.holder].is_stacked;
    if (growth && !is_item && attempts.grown.emplace(std::pair(nullptr, one.name), *growth).second) {
      more = true;
      continue;
    }
    if (more) continue;
    return error_here(
        fmt::format("'{}' is {} before a loop and {} after an iteration", one.name, type_text(one.initial->type),
                    type_text(next)),
        "a loop that depends on data can't change the size of a tensor; where sizes alone decide how often "
        "it runs, give them as numbers: --input-shape NAME=SIZES");
  }
  return more;
}

// Runs a step in a region of the loop, and leaves variables and containers as they were.
Status Interpreter::inside(Loop& loop, Branch& branch, const std::function<Status()>& step) {
  Status status = step();
  branch.variables = std::exchange(frame_->variables, loop.before);
  region_ = &loop.outer;
  for (const Loop::Holder& holder : loop.holders) {
    if (!holder.variable.empty()) continue;
    const List::Kind kind = holder.filling      ? List::Kind::filling
                            : holder.growth     ? List::Kind::growing
                            : holder.is_stacked ? List::Kind::stacked
                                                : List::Kind::known;
    if (const Status counted = check_item_count(holder.container, kind); status && !counted) status = counted;
    branch.contents.push_back(contents_of(holder.container));
    if (const auto* list = holder.container.as<std::shared_ptr<List>>()) {
      (*list)->kind = holder.is_stacked ? List::Kind::stacked : List::Kind::known;
      (*list)->start = nullptr;
    }
    if (holder.filling)
      Loop::leave_filling(holder);
    else if (const Status set = set_contents(holder.container, holder.before); status && !set)
      status = set;
    set_home(holder.container, region_);
  }
  return status;
}

// What the holders are after an iteration. Returns whether a list has grown, which the next attempt has to know.
Expected<bool> Interpreter::find_leaves(Loop& loop, Attempts& attempts) {
  std::size_t containers = 0;
  bool more = false;
  std::optional<Error> refused;
  for (Loop::Holder& holder : loop.holders) {
    const Value* value = nullptr;
    if (holder.variable.empty()) {
      value = &loop.body.contents[containers++];
    } else if (const auto found = loop.body.variables.find(holder.variable); found != loop.body.variables.end()) {
      value = &found->second;
    }
    if (!value) continue;
    if (holder.filling) {
      const List& list = **holder.container.as<std::shared_ptr<List>>();
      Growth& noted = attempts.filling.at(&list);
      more |= list.in_iteration > noted.count;
      noted.count = std::max(noted.count, list.in_iteration);
      each_leaf(*value, [&](const Value& leaf) { holder.after.push_back(leaf); });
      continue;
    }
    TAPER_ASSIGN(const bool grew,
                 note_growth(loop, static_cast<std::size_t>(&holder - loop.holders.data()), *value, attempts, more));
    if (grew) continue;
    const bool walkable = is_walkable(*value);
    const Region& region = *loop.body.region;
    if (walkable && region.guesses_ranges && region.asks_ranges && !value->is_unknown() &&
        is_structure(holder.before) && !same_structure(holder.before, *value)) {
      attempts.measures = true;  // what was guessed of parts may be wrong
      return true;
    }
    if (!walkable || (is_structure(holder.before) && !value->is_unknown() && !same_structure(holder.before, *value))) {
      refused =
          error_here(
              fmt::format("{} holds something else after an iteration of a loop that depends on data",
                          holder.variable.empty() ? describe(holder.container) : fmt::format("'{}'", holder.variable)),
              "a list may get the same number of tensors of one shape in each iteration, at its end or before "
              "its first item; else write into a tensor of known size (out[:, t] = y)")
              .error();
      each_leaf(holder.before, [&](const Value& leaf) { holder.after.push_back(leaf); });
      continue;
    }
    if (is_structure(*value) && !is_structure(holder.before)) {
      holder.after = {*value};
      continue;
    }
    each_leaf(*value, [&](const Value& leaf) { holder.after.push_back(leaf); });
  }
  if (refused && !more) {  // items may be alike once numbers are carried that iterations change
    const Expected<bool> carries = carry_more(loop, attempts);
    if (!carries || !*carries) return std::unexpected(*refused);
    more = true;
  }
  if (more) return true;
  return note_tensor_growth(loop, attempts);
}

Expected<bool> Interpreter::try_loop(const Statement& statement, const Value* count, const Value& entered,
                                     Attempts& attempts) {
  Loop loop{
      .statement = statement, .count = count, .outer = *region_, .names = attempts.names, .before = frame_->variables};
  loop.steps = attempts.steps;
  loop.measured = attempts.measured;
  loop.counts = loop.is_for() || !attempts.grown.empty();
  loop.ends_itself = attempts.ends_itself || !loop.counts;
  add_assigned(statement.body, loop.assigned);
  note_filling(attempts);
  TAPER_TRY(find_carried(loop, attempts));
  const UnsupportedOperators unsupported_before = unsupported;
  const Status ran = inside(loop, loop.body, [&] { return run_body(loop, attempts); });
  bool again = !changed_ && !uneven_ && note_writes(loop, attempts);
  if (!again) {
    TAPER_TRY(ran);
    TAPER_ASSIGN(again, find_leaves(loop, attempts));
  }
  if (!again) {
    TAPER_ASSIGN(again, carry_more(loop, attempts));
  }
  if (!again) {
    TAPER_ASSIGN(again, relate(loop, attempts));
  }
  if (!again) {
    TAPER_TRY(inside(loop, loop.condition, [&] { return run_condition(loop, attempts); }));
    region_ = loop.body.region.get();
    const Status status = find_next(loop);
    region_ = &loop.outer;
    TAPER_TRY(status);
    TAPER_ASSIGN(again, count_steps(loop, entered, attempts));
  }
  if (!again) {
    TAPER_ASSIGN(again, check_types(loop, attempts));
  }
  if (!again) {
    Branch* const both[] = {&loop.body, &loop.condition};
    TAPER_ASSIGN(again, add_shared(both, attempts.shared));
  }
  if (!again) {
    TAPER_ASSIGN(again, write_constants(loop, attempts));
  }
  if (again) {
    unsupported = unsupported_before;
    return false;
  }
  TAPER_TRY(finish(loop, entered));
  return true;
}

// Finds constants that the body writes to, which the next attempt takes for variables.
Expected<bool> Interpreter::write_constants(const Loop& loop, Attempts& attempts) {
  const std::size_t before = attempts.variable.size();
  for (const Capture& capture : loop.body.region->captures) {
    if (capture.input) continue;
    TAPER_ASSIGN(const bool changed, is_changed(*loop.body.region, capture));
    if (changed) attempts.variable.push_back(capture.outer.tensor);
  }
  return attempts.variable.size() > before;
}

}  // namespace taper::torchscript
