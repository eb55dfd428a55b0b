// Tensors that iterations of a loop make longer by cat, and what is made of them while they grow.
#include "frontend/aten_counts.h"
#include "frontend/torchscript_loop.h"

namespace taper::torchscript {

namespace {
constexpr std::int64_t kMostEntries = 64;  // that an iteration adds
}

// How a tensor that changes its type in an iteration may have grown, for the next attempt to see.
std::optional<Interpreter::Growth> Interpreter::tensor_growth(const Type& type, const Type& next) {
  if (type.dtype != next.dtype || type.shape.size() != next.shape.size()) return std::nullopt;
  std::optional<Growth> growth;
  for (std::size_t axis = 0; axis < type.shape.size(); ++axis) {
    if (type.shape[axis] == next.shape[axis]) continue;
    const auto more = (next.shape[axis] - type.shape[axis]).constant();
    if (growth || !more || *more < 1 || *more > kMostEntries) return std::nullopt;
    growth = Growth{.item = type, .count = static_cast<std::size_t>(*more), .axis = axis};
    growth->item.shape.erase(growth->item.shape.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  return growth;
}

// cat of a tensor that grows and others along the axis along which it does.
Expected<std::optional<Value>> Interpreter::longer_tensor(const std::vector<Value>& parts, const Value& dim) {
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
  std::int64_t added = 0;
  for (const Value& other : others)
    added = std::min(added + std::min(size_of(other).value_or(0), kMostEntries + 1), kMostEntries + 1);
  // Otherwise it is a tensor like others from here on.
  if (added > kMostEntries || !along ||
      (*along < 0 ? *along + rank : *along) != static_cast<std::int64_t>(*list.start->axis) ||
      at != (in_front ? parts.end() - 1 : parts.begin()) ||
      !std::ranges::all_of(others, [&](const Value& part) { return size_of(part).has_value(); }) ||
      (!list.items.empty() && list.grew_in_front != in_front))
    return std::nullopt;
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
  return Value(std::move(grown));
}

Expected<TensorRef> Interpreter::shared_with(std::span<const Value> tensors, taper::Value* content, std::string why) {
  std::vector<aten::TensorPtr> bases;
  for (const Value& tensor : tensors)
    if (tensor.is_tensor()) {
      TAPER_ASSIGN(bases.emplace_back(), use(*tensor.tensor()));
    }
  TAPER_TRY(region_->build.status());
  return TensorRef{bases.empty() ? aten::Tensor::make(content)
                                 : aten::Tensor::make_uncertain(std::move(bases), content, std::move(why)),
                   region_, false};
}

// Entries [n, ...], the first of which are the last where they came in front, along the axis that they stand for.
Expected<Value> Interpreter::in_place(Value entries, bool in_front, std::optional<std::size_t> axis) {
  if (in_front) {
    TAPER_ASSIGN(entries, call_aten("flip", {{"", entries}, {"", new_list({Dim(0)})}}));
  }
  if (axis) {
    const Dim to(static_cast<std::int64_t>(*axis));
    TAPER_ASSIGN(entries, call_aten("movedim", {{"", entries}, {"", Dim(0)}, {"", to}}));
    TAPER_ASSIGN(entries, call_aten("clone", {{"", entries}}));
  }
  return entries;
}

// All that there is so far of a tensor or list that grows, with the `items` of this iteration.
Expected<Value> Interpreter::entries_so_far(const List::Start& start, std::vector<Value> items) {
  TAPER_ASSIGN(const TensorRef before, grown_items(start, {}));
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, {before.tensor, before.home, false}));
  TAPER_ASSIGN(const Value length, grown_length(start));
  TAPER_ASSIGN(taper::Value * count, number_in(*region_, length, DType::i64));
  aten::Context& context = region_->context;
  taper::Value* range = aten::measured_range(context, count, content->type.shape[0]);
  TAPER_TRY(region_->build.status());
  if (const auto symbol = range->type.shape[0].as_symbol(); symbol && context.symbols.contains(*symbol)) {
    const double least = aten::range_of(context, start.before).least;  // there are those before the loop
    SymbolRange& known = context.symbols[*symbol];
    if (least > 0 && least < 1e9) known.least = std::max(known.least, static_cast<std::int64_t>(least));
  }
  std::vector<taper::Value*> parts = {region_->build("gather", {content, range}, {{"dim", std::int64_t{0}}})};
  if (start.in_front) std::ranges::reverse(items);
  for (const Value& item : items) {
    TAPER_ASSIGN(taper::Value * entry, item.is_tensor() ? content_in(*region_, *item.tensor())
                                                        : number_in(*region_, item, content->type.dtype));
    parts.push_back(aten::unsqueeze(region_->build, entry, 0));
  }
  taper::Value* joined = parts.size() == 1 ? parts[0] : aten::concat(region_->build, std::move(parts), 0);
  TAPER_TRY(region_->build.status());
  Value all = TensorRef{aten::Tensor::make(joined), region_, false};
  TAPER_ASSIGN(all, in_place(std::move(all), start.in_front, start.axis));
  TAPER_ASSIGN(taper::Value * whole, content_in(*region_, *all.tensor()));
  items.emplace_back(TensorRef{start.items.tensor, start.items.home, false});
  TAPER_ASSIGN(const TensorRef shared, shared_with(items, whole, std::string(kWritesToGrown)));
  return start.axis ? Value(shared) : stacked_list({shared.tensor, region_, start.items.is_number});
}

// A tensor that grows and is made anew in each iteration (its rows in another order, say): one that is longer by as
// much as those that iterations before have made.
Expected<taper::Value*> Interpreter::grown_whole(Loop& loop, std::size_t i, const Value& given) {
  const Loop::Carried& one = loop.carried[i];
  const Growth& growth = *one.growth;
  Value whole = given;
  if (const List* list = grown_tensor(given)) {
    TAPER_ASSIGN(whole, entries_so_far(*list->start, list->items));
  }
  Type expected = loop.body.begun[i]->type;
  if (!growth.whole) {
    TAPER_ASSIGN(const Value before, entries_so_far(start_of(growth, one.begin, loop.body.outputs[0], loop.places[i])));
    expected = before.tensor()->tensor->type();
  }
  Dim& size = expected.shape[*growth.axis];
  size = size + Dim(static_cast<std::int64_t>(growth.count));
  if (!whole.is_tensor() || whole.tensor()->tensor->type() != expected || growth.in_front)
    return error_here(
        fmt::format("'{}' grows in a loop that depends on data, and is {} after an iteration", one.name,
                    describe(whole)),
        "it may get as many entries along one axis in each iteration (torch.cat([y, new], axis)); else write into a "
        "tensor of the final size (y[:, t] = new) and mask what is not there yet");
  const Dim axis(static_cast<std::int64_t>(*growth.axis));
  TAPER_ASSIGN(const Value moved, call_aten("movedim", {{"", whole}, {"", axis}, {"", Dim(0)}}));
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *moved.tensor()));
  Builder& build = region_->build;
  taper::Value* zero = aten::integer_number(build, 0);
  taper::Value* made =
      build("update_slice", {loop.body.outputs[i], content, places_along(build, zero, 0, content->type.shape.size())});
  TAPER_TRY(build.status());
  return made;
}

// A tensor of its own, of as many entries as there are when an iteration begins.
Expected<aten::TensorPtr> Interpreter::whole_place(const List::Start& start) {
  TAPER_ASSIGN(const Value whole, entries_so_far(start));
  TAPER_ASSIGN(taper::Value * content, content_in(*region_, *whole.tensor()));
  const aten::TensorPtr& place = start.items.tensor;
  return place->uncertain() ? place->like(region_->build, place->bases(), content) : aten::Tensor::make(content);
}

// Notes tensors that grow of which iterations write to what there is so far: then each iteration begins with a tensor
// of so many entries, and is as PyTorch's. Returns whether there are such, which the next attempt has to know.
bool Interpreter::note_writes(const Loop& loop, Attempts& attempts) {
  bool more = false;
  for (std::size_t i = 0; i < loop.places.size(); ++i) {
    const Loop::Carried& one = loop.carried[i];
    if (!one.growth || !one.growth->axis || one.growth->whole || loop.places[i]->readable()) continue;
    Growth growth = *one.growth;
    growth.whole = true;
    growth.in_front = false;
    attempts.grown.insert_or_assign(std::pair(nullptr, one.name), growth);
    more = true;
  }
  return more;
}

// Notes whether a tensor grows in front, which the next attempt has to know.
Expected<bool> Interpreter::note_tensor_growth(const Loop& loop, Attempts& attempts) {
  for (std::size_t i = 0; i < loop.carried.size(); ++i) {
    const Loop::Carried& one = loop.carried[i];
    if (!one.growth || !one.growth->axis) continue;
    const std::vector<Value> after = loop.after(one);
    if (after.empty()) return error_here(fmt::format("'{}' is gone after an iteration that depends on data", one.name));
    const List* list = grown_tensor(after[0]);
    if (list == nullptr || list->start->items.tensor != loop.places[i]) continue;
    Growth growth = *one.growth;
    if (!list->items.empty()) growth.in_front = list->grew_in_front;
    if (list->items.size() != growth.count || (growth.in_front != one.growth->in_front && one.growth->in_front))
      return error_here(fmt::format("'{}' gets other entries in one iteration of a loop than in another", one.name),
                        "it may get the same number of entries in each iteration");
    if (growth == *one.growth) continue;
    attempts.grown.insert_or_assign(std::pair(nullptr, one.name), growth);
    return true;
  }
  return false;
}

namespace {

bool holds_growing(const Value& value, bool lists) {
  const auto* list = value.as<std::shared_ptr<List>>();
  if (list && (*list)->kind == List::Kind::growing) return lists || grown_tensor(value);
  return value.items() && std::ranges::any_of(*value.items(), [](const Value& item) { return grown_tensor(item); });
}

}  // namespace

// What is asked of a tensor that grows without making it.
Expected<std::optional<Value>> Interpreter::ask_grown_tensor(std::string_view name, const List& list,
                                                             const std::vector<Argument>& arguments) {
  const auto rank = static_cast<std::int64_t>(list.start->items.tensor->type().shape.size());
  const auto grown_axis = static_cast<std::int64_t>(*list.start->axis);
  if (name == "dim") return Value(Dim(rank));
  const auto argument = [&](std::size_t i) { return i < arguments.size() ? arguments[i].value : Value(); };
  const auto dim = argument(1).is_none() && name == "slice" ? std::optional<std::int64_t>(0) : argument(1).integer();
  const std::int64_t axis = dim ? (*dim < 0 ? *dim + rank : *dim) : -1;
  if (axis == grown_axis && name == "size") {
    TAPER_ASSIGN(Value length, grown_length(*list.start, list.items.size()));
    return length;
  }
  if (axis >= 0 && axis < rank && name == "size") {
    Shape shape = list.start->items.tensor->type().shape;
    shape.erase(shape.begin());
    return Value(shape[static_cast<std::size_t>(axis < grown_axis ? axis : axis - 1)]);
  }
  if (axis == grown_axis && name == "select") {
    TAPER_ASSIGN(Value item, grown_item(list, argument(2)));
    return item;
  }
  if (name == "slice" && argument(2).is_none() && argument(3).is_none() && argument(4).integer().value_or(1) == 1)
    return arguments[0].value;
  const bool last = argument(2).integer() == -1 && argument(3).is_none();
  if (axis == grown_axis && name == "slice" && last && argument(4).integer().value_or(1) == 1) {
    TAPER_ASSIGN(const Value item, grown_item(list, Dim(-1)));
    TAPER_ASSIGN(Value part, call_aten("unsqueeze", {{"", item}, {"", Dim(axis)}}));
    return part;
  }
  return std::nullopt;
}

// Where more is done with what grows than that, it is made of what there is so far.
Expected<std::optional<Value>> Interpreter::on_grown(std::string_view name, const std::vector<Argument>& arguments) {
  if (arguments.empty()) return std::nullopt;
  const bool lists = !takes_growing(name);
  // Lists take tensors that grow as they are, without a look at what else they hold.
  if (!lists && !grown_tensor(arguments[0].value) && name != "add" && name != "add_") return std::nullopt;
  if (std::ranges::none_of(arguments, [&](const Argument& one) { return holds_growing(one.value, lists); }))
    return std::nullopt;
  const Value& first = arguments[0].value;
  if (name == "__is__" || name == "__isnot__") return std::nullopt;
  if (const auto* parts = first.items(); parts && name == "cat" && std::ranges::any_of(*parts, grown_tensor)) {
    TAPER_ASSIGN(std::optional<Value> longer,
                 longer_tensor(*parts, arguments.size() > 1 ? arguments[1].value : Value()));
    if (longer) return longer;
  }
  if (const List* list = grown_tensor(first)) {
    TAPER_ASSIGN(std::optional<Value> known, ask_grown_tensor(name, *list, arguments));
    if (known) return known;
  }
  std::vector<Argument> whole = arguments;
  for (Argument& argument : whole) {
    const auto* list = argument.value.as<std::shared_ptr<List>>();
    if (list && (*list)->kind == List::Kind::growing && (lists || grown_tensor(argument.value))) {
      TAPER_ASSIGN(argument.value, entries_so_far(*(*list)->start, (*list)->items));
    } else if (holds_growing(argument.value, false)) {
      std::vector<Value> items;
      for (const Value& item : *argument.value.items()) {
        const List* grown = grown_tensor(item);
        TAPER_ASSIGN(items.emplace_back(), grown ? entries_so_far(*grown->start, grown->items) : Expected<Value>(item));
      }
      argument.value = new_list(std::move(items));
    }
  }
  TAPER_ASSIGN(Value made, call_operator(name, std::move(whole)));
  return made;
}

}  // namespace taper::torchscript
