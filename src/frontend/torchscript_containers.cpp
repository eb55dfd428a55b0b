// Operators of TorchScript on lists, dicts and texts.
#include <algorithm>

#include "formats/text.h"
#include "frontend/torchscript_builtins.h"

namespace taper::torchscript {
namespace {

Made length(Builtins& call) {
  const Value& value = call.at(0);
  if (const TensorRef* stack = value.stack()) return stack->tensor->type().shape[0];
  if (const List* list = growing_list(value)) return call.length_of(*list);
  if (const List* list = parts_list(value)) return call.part_count(*list);
  if (const auto* list = value.as<std::shared_ptr<List>>();
      list && (*list)->kind == List::Kind::joined && (*list)->length)
    return *(*list)->length;
  if (const List* list = filling_list(value)) return *list->length;
  if (const auto* items = value.items()) return Dim(static_cast<std::int64_t>(items->size()));
  if (const auto* dict = dict_of(value)) return Dim(static_cast<std::int64_t>((*dict)->entries.size()));
  if (const auto* text = value.as<std::string>()) return Dim(static_cast<std::int64_t>(text->size()));
  if (value.tensor()) {
    if (call.type_of(0).shape.empty()) return call.error("the length of a tensor of rank 0");
    return call.type_of(0).shape[0];
  }
  return std::nullopt;
}

Made contains(Builtins& call) {
  const Value& value = call.at(0);
  bool undecided = false;
  const auto has = [&](const Value& item) {
    const auto same = same_value(item, call.at(1));
    undecided |= !same;
    return same == true;
  };
  bool found = false;
  if (const auto* items = value.items()) {
    found = std::ranges::any_of(*items, has);
  } else if (const auto* dict = dict_of(value)) {
    found = std::ranges::any_of((*dict)->entries, has, [](const auto& entry) -> const Value& { return entry.first; });
  } else if (const auto* text = value.as<std::string>(); text && call.at(1).as<std::string>()) {
    found = text->contains(*call.at(1).as<std::string>());
  } else {
    return std::nullopt;
  }
  if (found || !undecided) return found;
  const auto* items = value.items();
  const auto is_number = [](const Value& item) {
    return item.as<Dim>() || (item.tensor() && item.tensor()->is_number);
  };
  if (!items || !is_number(call.at(1)) || !std::ranges::all_of(*items, is_number))
    return call.error("whether a list holds a value is not known");
  Value any = false;  // one of the numbers, as the running program finds
  for (const Value& item : *items) {
    TAPER_ASSIGN(Value same, call.again("eq", {{"", item}, {"", call.at(1)}}));
    TAPER_ASSIGN(any, call.again("__or__", {{"", any}, {"", std::move(same)}}));
  }
  return any;
}

// Takes an entry out of a dict.
Made take_from_dict(Builtins& call, const std::shared_ptr<Dict>& dict) {
  TAPER_TRY(call.may_change(call.at(0)));
  const auto found = std::ranges::find_if(
      dict->entries, [&](const auto& entry) { return same_value(entry.first, call.at(1)) == true; });
  if (found == dict->entries.end()) {
    if (call.count() > 2) return call.at(2);
    return call.error(fmt::format("the dict has no key {}", text_of(call.at(1))));
  }
  Value taken = found->second;
  dict->entries.erase(found);
  return taken;
}

// A list of an open number of items turns around, gets one more or loses its last one.
Made change_stack(Builtins& call, List& list) {
  const bool grows = call.name == "append" && (call.at(1).is_tensor() || list.stack.is_number);
  const bool pops = call.name == "pop" && (call.count() < 2 || call.at(1).integer() == -1);
  if (list.home != call.region() || !(grows || pops || call.name == "reverse")) {
    TAPER_TRY(call.may_change(call.at(0)));
    return std::nullopt;
  }
  const Value items = TensorRef{list.stack.tensor, list.stack.home, false};
  const auto replace = [&](const Value& all) {
    if (all.is_tensor()) list.stack = {all.tensor()->tensor, all.tensor()->home, list.stack.is_number};
    list.one_item.reset();
  };
  std::vector<Value> seen;
  if (!list.stack.is_number) seen = {items, call.at(1)};
  if (grows) {
    TAPER_ASSIGN(Value last, call.as_tensor(call.at(1)));
    TAPER_ASSIGN(last, call.again("unsqueeze", {{"", std::move(last)}, {"", Dim(0)}}));
    TAPER_ASSIGN(Value all, call.again("cat", {{"", call.list({items, std::move(last)})}, {"", Dim(0)}}));
    TAPER_ASSIGN(all, call.shared_with(seen, all));
    replace(all);
    return all.is_tensor() ? call.at(0) : all;
  }
  if (pops) {
    TAPER_ASSIGN(Value last, call.item(call.at(0), Dim(-1)));
    TAPER_ASSIGN(const Value rest,
                 call.again("slice", {{"", items}, {"", Dim(0)}, {"", Dim(0)}, {"", Dim(-1)}, {"", Dim(1)}}));
    replace(rest);
    return last;
  }
  TAPER_ASSIGN(Value turned, call.again("flip", {{"", items}, {"", call.list({Dim(0)})}}));
  TAPER_ASSIGN(turned, call.shared_with(seen, turned));
  replace(turned);
  return turned.is_tensor() ? Value(None{}) : turned;
}

// A list that grows in each iteration of a loop that is being read.
Made change_growing(Builtins& call, List& list) {
  TAPER_TRY(call.may_change(call.at(0)));
  std::vector<Value>& items = list.items;
  const bool appends = call.name == "append";
  const bool in_front = call.name == "insert" && call.at(1).integer() == 0;
  const bool at_end = call.count() < 2 || call.at(1).integer() == -1;
  if ((appends || in_front) && (items.empty() || list.grew_in_front == in_front)) {
    list.grew_in_front = in_front;
    items.insert(in_front ? items.begin() : items.end(), call.at(appends ? 1 : 2));
    return appends ? call.at(0) : Value(None{});
  }
  if (call.name == "extend" && call.at(1).items() && !list.grew_in_front) {
    items.insert(items.end(), call.at(1).items()->begin(), call.at(1).items()->end());
    return None{};
  }
  if (call.name == "pop" && at_end && !items.empty() && !list.grew_in_front) {
    Value last = items.back();
    items.pop_back();
    return last;
  }
  return call.error(fmt::format("'{}' of a list that grows in a loop that depends on data", call.name),
                    "such a list may get items at its end or before its first one (append, insert(0, y)), and its "
                    "items may be read");
}

Made change_list(Builtins& call) {
  if (const auto* dict = dict_of(call.at(0)); dict && (call.name == "pop" || call.name == "Delete"))
    return take_from_dict(call, *dict);
  if (List* list = growing_list(call.at(0))) return change_growing(call, *list);
  if (filling_list(call.at(0)) && call.name == "append")
    return call.append_to_filling(*call.at(0).as<std::shared_ptr<List>>(), call.at(1));
  if (filling_list(call.at(0)) && call.name == "pop" && (call.count() < 2 || call.at(1).integer() == -1))
    return call.pop_from_filling(call.at(0));
  if (call.at(0).stack()) return change_stack(call, **call.at(0).as<std::shared_ptr<List>>());
  const auto* list = list_of(call.at(0));
  if (!list && call.at(0).as<std::shared_ptr<List>>())
    return call.error(fmt::format("{} changes", describe(call.at(0))),
                      "join it first (torch.cat), and what is added with the result");
  if (!list) return std::nullopt;
  TAPER_TRY(call.may_change(call.at(0)));
  for (const Argument& argument : std::span(call.args).subspan(1))
    if (holds_container(argument.value, list->get())) return call.error("a list is put into itself, or holds too much");
  std::vector<Value>& items = (*list)->items;
  const auto position = [&](const Value& given) -> std::optional<std::size_t> {
    const auto at = given.integer();
    const auto size = static_cast<std::int64_t>(items.size());
    if (!at || *at >= size || *at < -size) return std::nullopt;
    return static_cast<std::size_t>(*at < 0 ? *at + size : *at);
  };
  if (call.name == "append") {
    items.push_back(call.at(1));
    return *list;
  }
  if (call.name == "extend") {
    const auto* more = call.at(1).items();
    if (!more) return call.error(fmt::format("a list is extended by {}", describe(call.at(1))));
    const std::vector<Value> copy = *more;
    call.charge(copy.size());
    items.insert(items.end(), copy.begin(), copy.end());
    return None{};
  }
  if (call.name == "insert") {
    const auto at = call.at(1).integer();
    if (!at) return call.error("where a list grows is not known");
    const auto size = static_cast<std::int64_t>(items.size());
    items.insert(items.begin() + std::clamp<std::int64_t>(*at < 0 ? *at + size : *at, 0, size), call.at(2));
    (*list)->grew_in_front = *at == 0;
    return None{};
  }
  if (call.name == "reverse") {
    std::ranges::reverse(items);
    return None{};
  }
  if (call.name == "clear") {
    items.clear();
    return None{};
  }
  // pop, Delete
  const auto at = position(call.count() > 1 ? call.at(1) : Value(Dim(-1)));
  if (!at) return call.error("an entry is taken that the list does not have");
  Value taken = items[*at];
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(*at));
  return taken;
}

// An item that this iteration has added to a list that grows.
Made set_in_growing(Builtins& call, List& list) {
  TAPER_TRY(call.may_change(call.at(0)));
  const auto at = call.at(1).integer();
  const auto here = static_cast<std::int64_t>(list.items.size());
  const bool is_new = at && (list.grew_in_front ? *at >= 0 && *at < here : *at < 0 && *at >= -here);
  if (!is_new)
    return call.error("an item is set of a list that grows in a loop that depends on data",
                      "set what the same iteration has appended (ys[-1] = y), or set items after the loop");
  list.items[static_cast<std::size_t>(*at < 0 ? *at + here : *at)] = call.at(2);
  return None{};
}

Made set_item(Builtins& call) {
  if (const auto* dict = dict_of(call.at(0))) {
    TAPER_TRY(call.may_change(call.at(0)));
    if (holds_container(call.at(2), dict->get())) return call.error("a dict is put into itself, or holds too much");
    for (auto& [key, value] : (*dict)->entries)
      if (same_value(key, call.at(1)) == true) {
        value = call.at(2);
        return None{};
      }
    (*dict)->entries.emplace_back(call.at(1), call.at(2));
    return None{};
  }
  if (List* list = growing_list(call.at(0))) return set_in_growing(call, *list);
  if (call.at(0).stack()) return call.set_in_stack(call.at(0), call.at(1), call.at(2));
  const auto* list = list_of(call.at(0));
  if (!list) return std::nullopt;
  TAPER_TRY(call.may_change(call.at(0)));
  if (holds_container(call.at(2), list->get())) return call.error("a list is put into itself, or holds too much");
  const auto at = call.at(1).integer();
  const auto size = static_cast<std::int64_t>((*list)->items.size());
  if (!at)
    return call.error("an item of a list is set at a place that depends on data",
                      "write into a tensor (out[t] = y), or make a list of as many items first ([y] * T)");
  if (*at >= size || *at < -size) return call.error("an entry is set that the list does not have");
  (*list)->items[static_cast<std::size_t>(*at < 0 ? *at + size : *at)] = call.at(2);
  return None{};
}

Made dict_parts(Builtins& call) {
  const auto* dict = dict_of(call.at(0));
  if (!dict) return std::nullopt;
  std::vector<Value> items;
  for (const auto& [key, value] : (*dict)->entries) {
    if (call.name == "keys") items.push_back(key);
    if (call.name == "values") items.push_back(value);
    if (call.name == "items") items.emplace_back(std::make_shared<Tuple>(std::vector{key, value}));
  }
  return call.list(std::move(items));
}

Made dict_get(Builtins& call) {
  const auto* dict = dict_of(call.at(0));
  if (!dict) return std::nullopt;
  for (const auto& [key, value] : (*dict)->entries)
    if (same_value(key, call.at(1)) == true) return value;
  return call.at(2);
}

Made copy_list(Builtins& call) {
  if (const auto* items = call.at(0).items()) return call.list(*items);
  if (const auto* dict = dict_of(call.at(0))) {
    if (call.name == "list") return std::nullopt;
    const auto copy = std::make_shared<Dict>(call.region());
    copy->entries = (*dict)->entries;
    return copy;
  }
  if (const auto* text = call.at(0).as<std::string>(); text && call.name == "list") {
    std::vector<Value> letters;
    for (const char letter : *text) letters.emplace_back(std::string(1, letter));
    return call.list(std::move(letters));
  }
  return std::nullopt;
}

Made to_list(Builtins& call) {
  if (!call.at(0).is_tensor()) return std::nullopt;
  return call.listed(call.at(0));
}

Made sort_list(Builtins& call) {
  const auto* list = list_of(call.at(0));
  if (!list) return std::nullopt;
  std::vector<Value> sorted = (*list)->items;
  const bool numbers = std::ranges::all_of(sorted, [](const Value& item) { return item.number().has_value(); });
  const bool texts = std::ranges::all_of(sorted, [](const Value& item) { return item.as<std::string>() != nullptr; });
  if (!numbers && !texts) return call.error("a list is sorted whose entries are not known");
  if (numbers)
    std::ranges::stable_sort(sorted, {}, [](const Value& item) { return *item.number(); });
  else
    std::ranges::stable_sort(sorted, {}, [](const Value& item) { return *item.as<std::string>(); });
  const bool* descending = call.at(1, "reverse").as<bool>();
  if (descending && *descending) std::ranges::reverse(sorted);
  if (call.name == "sorted") return call.list(std::move(sorted));
  TAPER_TRY(call.may_change(call.at(0)));
  (*list)->items = std::move(sorted);
  return None{};
}

Made index_in_list(Builtins& call) {
  const auto* list = list_of(call.at(0));
  if (!list || call.count() != 2) return std::nullopt;
  std::int64_t times = 0;
  for (std::size_t i = 0; i < (*list)->items.size(); ++i) {
    if (same_value((*list)->items[i], call.at(1)) != true) continue;
    if (call.name == "index") return Dim(static_cast<std::int64_t>(i));
    ++times;
  }
  if (call.name == "count") return Dim(times);
  return call.error(fmt::format("{} is not in the list", text_of(call.at(1))));
}

Made slice_list(Builtins& call) {
  const bool is_sequence = call.at(0).items() || call.at(0).stack() || call.at(0).as<std::string>();
  if (call.at(0).is_tensor() || !is_sequence) return std::nullopt;
  return call.slice(call.at(0), call.at(1, "start"), call.at(2, "end"), call.at(3, "step"));
}

Made get_item(Builtins& call) {
  if (call.at(0).is_tensor()) return std::nullopt;
  return call.item(call.at(0), call.at(1));
}

Made text_function(Builtins& call) {
  const auto* self = call.at(0).as<std::string>();
  if (!self) return std::nullopt;
  const auto* other = call.at(1).as<std::string>();
  std::string text = *self;
  if (call.name == "startswith" && other) return text.starts_with(*other);
  if (call.name == "endswith" && other) return text.ends_with(*other);
  if (call.name == "find" && other) {
    const auto found = text.find(*other);
    return Dim(found == std::string::npos ? -1 : static_cast<std::int64_t>(found));
  }
  const auto change_case = [&](char first, char last) {
    for (char& letter : text)
      if (letter >= first && letter <= last) letter = static_cast<char>(letter ^ 0x20);
    return text;
  };
  if (call.name == "lower") return change_case('A', 'Z');
  if (call.name == "upper") return change_case('a', 'z');
  if (call.name == "strip") {
    const std::string_view blanks = other ? std::string_view(*other) : " \t\n\r\v\f";
    const auto begin = text.find_first_not_of(blanks);
    return begin == std::string::npos ? std::string() : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
  }
  if (call.name == "replace" && other && call.at(2).as<std::string>()) {
    const std::string& by = *call.at(2).as<std::string>();
    if (other->empty() || by.size() > 1000) return call.error("a text is replaced in a way that is not supported");
    for (std::size_t i = text.find(*other); i != std::string::npos; i = text.find(*other, i + by.size()))
      text.replace(i, other->size(), by);
    return text;
  }
  if (call.name == "join" && call.at(1).items()) {
    std::string all;
    for (const Value& part : *call.at(1).items()) all += (all.empty() ? "" : *self) + text_of(part);
    return all;
  }
  if (call.name == "split" && (other || call.count() == 1)) {
    const std::string separator = other ? *other : " ";
    if (separator.empty()) return call.error("a text is split by an empty one");
    std::vector<Value> parts;
    std::size_t begin = 0;
    for (std::size_t i = text.find(separator);; i = text.find(separator, begin)) {
      const std::string part = text.substr(begin, i == std::string::npos ? i : i - begin);
      if (other || !part.empty()) parts.emplace_back(part);
      if (i == std::string::npos) break;
      begin = i + separator.size();
    }
    return call.list(std::move(parts));
  }
  return std::nullopt;
}

}  // namespace

// Lists of which one or both are of an open number of items, one after the other.
Made join_lists(Builtins& call) {
  std::vector<Value> parts;
  bool numbers = false;
  std::vector<Value> seen;  // what the list shares its items with
  for (const Value* value : {&call.at(0), &call.at(1)}) {
    if (const TensorRef* stack = value->stack()) {
      parts.emplace_back(TensorRef{stack->tensor, stack->home, false});
      numbers |= stack->is_number;
      seen.push_back(*stack);
      continue;
    }
    if (!value->items()) return std::nullopt;
    std::vector<Value> items;
    seen.insert(seen.end(), value->items()->begin(), value->items()->end());
    for (const Value& item : *value->items()) {
      TAPER_ASSIGN(items.emplace_back(), call.as_tensor(item));
    }
    if (items.empty()) continue;
    TAPER_ASSIGN(parts.emplace_back(), call.again("stack", {{"", call.list(std::move(items))}, {"", Dim(0)}}));
  }
  TAPER_ASSIGN(Value all, call.again("cat", {{"", call.list(std::move(parts))}, {"", Dim(0)}}));
  TAPER_ASSIGN(all, call.shared_with(seen, all));
  return all.is_tensor() ? call.stacked({all.tensor()->tensor, all.tensor()->home, numbers}) : all;
}

Made fold_list(Builtins& call) {
  const auto* list = list_of(call.at(0));
  if (!list || call.count() != 1) return std::nullopt;
  if (std::ranges::any_of((*list)->items, [](const Value& item) { return item.is_tensor(); })) return std::nullopt;
  std::optional<Value> folded;
  if (call.name == "any") folded = false;
  if (call.name == "all") folded = true;
  if (call.name == "sum") folded = Dim(0);
  for (const Value& item : (*list)->items) {
    if (call.name == "any" || call.name == "all") {
      const auto number = item.number();
      const Value flag = number ? Value(*number != 0) : item;
      TAPER_ASSIGN(folded, call.again(call.name == "any" ? "__or__" : "__and__", {{"", *folded}, {"", flag}}));
    } else if (!folded) {
      folded = item;
    } else {
      TAPER_ASSIGN(folded, call.again(call.name == "sum" ? "add" : call.name, {{"", *folded}, {"", item}}));
    }
  }
  if (!folded) return call.error(fmt::format("{} of an empty list", call.name));
  return folded;
}

namespace {

constexpr NamedBuiltin kBuiltins[] = {
    {"len", length, kTakesGrowing | kTakesFilling},
    {"__contains__", contains},
    {"append", change_list, kTakesGrowing | kTakesFilling | kTakesUnknown},
    {"extend", change_list, kTakesGrowing | kTakesUnknown},
    {"insert", change_list, kTakesGrowing | kTakesUnknown},
    {"reverse", change_list, kTakesGrowing},
    {"clear", change_list, kTakesGrowing},
    {"pop", change_list, kTakesGrowing | kTakesFilling},
    {"Delete", change_list, kTakesGrowing},
    {"_set_item", set_item, kTakesGrowing | kTakesUnknown},
    {"keys", dict_parts},
    {"values", dict_parts},
    {"items", dict_parts},
    {"get", dict_get},
    {"list", copy_list},
    {"copy", copy_list, kTakesGrowing},
    {"dict", copy_list},
    {"tolist", to_list},
    {"sort", sort_list},
    {"sorted", sort_list},
    {"index", index_in_list},
    {"count", index_in_list},
    {"slice", slice_list},
    {"__getitem__", get_item, kTakesGrowing | kTakesFilling},
    {"any", fold_list},
    {"all", fold_list},
    {"sum", fold_list},
    {"startswith", text_function},
    {"endswith", text_function},
    {"find", text_function},
    {"lower", text_function},
    {"upper", text_function},
    {"strip", text_function},
    {"replace", text_function},
    {"join", text_function},
    {"split", text_function},
};

}  // namespace

std::span<const NamedBuiltin> container_builtins() {
  return kBuiltins;
}

}  // namespace taper::torchscript
