#include "frontend/torchscript_value.h"

#include <algorithm>
#include <cmath>

#include "formats/text.h"

namespace taper::torchscript {
namespace {

constexpr int kMostDepth = 32;                            // of nested containers
constexpr std::size_t kMostNodes = std::size_t{1} << 16;  // of a walk
constexpr std::size_t kMostText = std::size_t{1} << 12;   // of a value as text, roughly

// Destroys values without recursion, however deep they are nested.
void bury(std::vector<Value>&& values) {
  thread_local std::vector<Value> waiting;
  thread_local bool busy = false;
  std::ranges::move(values, std::back_inserter(waiting));
  if (busy) return;
  busy = true;
  while (!waiting.empty()) {
    const Value last = std::move(waiting.back());
    waiting.pop_back();
  }
  waiting.shrink_to_fit();
  busy = false;
}

// Calls `visit` for the value and all within; false if there are more than kMostNodes or they are too deep.
// `objects`: into their attributes too.
template <class Visit>
bool walk(const Value& value, bool objects, std::size_t& nodes, int depth, const Visit& visit) {
  if (++nodes > kMostNodes || depth > kMostDepth) return false;
  visit(value);
  const auto inner = [&](const Value& item) { return walk(item, objects, nodes, depth + 1, visit); };
  if (const auto* items = value.items()) return std::ranges::all_of(*items, inner);
  if (const auto* maybe = value.as<std::shared_ptr<Maybe>>()) return inner((*maybe)->value);
  if (const auto* dict = value.as<std::shared_ptr<Dict>>())
    return std::ranges::all_of((*dict)->entries,
                               [&](const auto& entry) { return inner(entry.first) && inner(entry.second); });
  if (const auto* object = value.as<std::shared_ptr<Object>>(); object && objects)
    return std::ranges::all_of((*object)->attributes, [&](const auto& entry) { return inner(entry.second); });
  return true;
}

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// `quoted`: as inside of a list.
std::string python_text(const Value& value, bool quoted, int depth) {
  if (depth > kMostDepth) return "...";
  const auto joined = [&](const std::vector<Value>& items) {
    std::string all;
    for (const Value& item : items) {
      if (all.size() > kMostText) return all + ", ...";
      all += (all.empty() ? "" : ", ") + python_text(item, true, depth + 1);
    }
    return all;
  };
  if (value.is_none()) return "None";
  if (const Dim* size = value.as<Dim>()) return size->text();
  if (const double* real = value.as<double>()) return real_text(*real);
  if (const bool* flag = value.as<bool>()) return *flag ? "True" : "False";
  if (const auto* text = value.as<std::string>()) return quoted ? fmt::format("'{}'", *text) : *text;
  if (const auto* list = value.as<std::shared_ptr<List>>()) return fmt::format("[{}]", joined((*list)->items));
  if (const auto* tuple = value.as<std::shared_ptr<Tuple>>())
    return fmt::format("({}{})", joined((*tuple)->items), (*tuple)->items.size() == 1 ? "," : "");
  if (value.as<Device>() != nullptr) return "cpu";
  return fmt::format("<{}>", describe(value));
}

std::optional<bool> same_items(const std::vector<Value>& a, const std::vector<Value>& b, int depth);

std::optional<bool> same(const Value& a, const Value& b, int depth) {
  if (depth > kMostDepth) return std::nullopt;
  if (a.tensor() || b.tensor() || a.is_unknown() || b.is_unknown()) return std::nullopt;
  if (a.as<ComplexRef>() || b.as<ComplexRef>()) return std::nullopt;
  const auto* size_a = a.as<Dim>();
  const auto* size_b = b.as<Dim>();
  if (size_a && size_b) {
    if (const auto difference = (*size_a - *size_b).constant()) return *difference == 0;
    return std::nullopt;
  }
  if (a.number() && b.number()) return *a.number() == *b.number();
  if ((size_a && b.number()) || (size_b && a.number())) return std::nullopt;
  if (a.items() && b.items()) return same_items(*a.items(), *b.items(), depth + 1);
  const auto* text_a = a.as<std::string>();
  const auto* text_b = b.as<std::string>();
  if (text_a && text_b) return *text_a == *text_b;
  if (a.as<Device>() && text_b) return true;  // a device and its name
  if (const auto* object_a = a.as<std::shared_ptr<Object>>())
    if (const auto* object_b = b.as<std::shared_ptr<Object>>()) return *object_a == *object_b;
  if (const auto* condition = a.as<Undecided>();
      condition && b.as<Undecided>() && condition->text == b.as<Undecided>()->text)
    return true;
  if (const auto* one = a.as<FunctionRef>(); one && b.as<FunctionRef>())
    return one->symbol == b.as<FunctionRef>()->symbol;
  if (const auto* one = a.as<ClassRef>(); one && b.as<ClassRef>()) return one->symbol == b.as<ClassRef>()->symbol;
  if (a.as<std::shared_ptr<Maybe>>() || b.as<std::shared_ptr<Maybe>>()) {
    if (a.data.index() == b.data.index() && *a.as<std::shared_ptr<Maybe>>() == *b.as<std::shared_ptr<Maybe>>())
      return true;
    return std::nullopt;
  }
  if (a.data.index() != b.data.index()) return false;
  const bool is_container = a.as<std::shared_ptr<List>>() || a.as<std::shared_ptr<Dict>>();
  if (is_container && same_container(a, b)) return true;
  if (is_container || a.as<MaskedRef>() || a.as<Undecided>()) return std::nullopt;
  return true;
}

std::optional<bool> same_items(const std::vector<Value>& a, const std::vector<Value>& b, int depth) {
  if (a.size() != b.size()) return false;
  std::optional<bool> result = true;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto equal = same(a[i], b[i], depth);
    if (equal == false) return false;
    if (!equal) result.reset();
  }
  return result;
}

}  // namespace

namespace {

constexpr std::pair<std::int64_t, DType> kDTypeCodes[] = {
    {0, DType::u8},   {1, DType::i8},   {2, DType::i16},  {3, DType::i32},      {4, DType::i64},
    {5, DType::f16},  {6, DType::f32},  {7, DType::f64},  {11, DType::boolean}, {15, DType::bf16},
    {27, DType::u16}, {28, DType::u32}, {29, DType::u64},
};

}  // namespace

std::int64_t dtype_code(DType dtype) {
  return std::ranges::find(kDTypeCodes, dtype, &std::pair<std::int64_t, DType>::second)->first;
}

std::optional<DType> dtype_of_code(std::int64_t code) {
  const auto* found = std::ranges::find(kDTypeCodes, code, &std::pair<std::int64_t, DType>::first);
  return found != std::end(kDTypeCodes) ? std::optional(found->second) : std::nullopt;
}

List::~List() {
  bury(std::move(items));
}
Tuple::~Tuple() {
  bury(std::move(items));
}
Dict::~Dict() {
  std::vector<Value> all;
  for (auto& [key, value] : entries) {
    all.push_back(std::move(key));
    all.push_back(std::move(value));
  }
  bury(std::move(all));
}
Object::~Object() {
  std::vector<Value> all;
  for (auto& [name, value] : attributes) all.push_back(std::move(value));
  bury(std::move(all));
}

bool is_walkable(const Value& value) {
  if (!value.items() && !value.as<std::shared_ptr<Dict>>() && !value.as<std::shared_ptr<Maybe>>()) return true;
  std::size_t nodes = 0;
  return walk(value, false, nodes, 0, [](const Value&) {});
}

bool holds_container(const Value& value, const void* container) {
  bool found = false;
  std::size_t nodes = 0;
  const bool complete = walk(value, true, nodes, 0, [&](const Value& part) {
    if (const auto* list = part.as<std::shared_ptr<List>>()) found |= list->get() == container;
    if (const auto* dict = part.as<std::shared_ptr<Dict>>()) found |= dict->get() == container;
    if (const auto* object = part.as<std::shared_ptr<Object>>()) found |= object->get() == container;
  });
  return found || !complete;
}

const std::vector<Value>* Value::items() const {
  if (const auto* list = as<std::shared_ptr<List>>())
    return (*list)->kind == List::Kind::known ? &(*list)->items : nullptr;
  if (const auto* tuple = as<std::shared_ptr<Tuple>>()) return &(*tuple)->items;
  return nullptr;
}

const TensorRef* Value::stack() const {
  const auto* list = as<std::shared_ptr<List>>();
  return list && (*list)->kind == List::Kind::stacked ? &(*list)->stack : nullptr;
}

std::optional<std::int64_t> Value::integer() const {
  const auto* size = as<Dim>();
  return size ? size->constant() : std::nullopt;
}

std::optional<double> Value::number() const {
  if (const double* real = as<double>()) return *real;
  if (const bool* flag = as<bool>()) return *flag ? 1 : 0;
  if (const auto whole = integer()) return static_cast<double>(*whole);
  return std::nullopt;
}

std::string describe(const Value& value) {
  struct Describe {
    std::string operator()(const None&) const { return "None"; }
    std::string operator()(const TensorRef& tensor) const {
      return fmt::format("{} {}", tensor.is_number ? "a number that depends on data," : "a tensor",
                         excerpt(type_text(tensor.tensor->type())));
    }
    std::string operator()(const ComplexRef& z) const {
      return fmt::format("a tensor of complex numbers, each part {}", type_text(z.real.tensor->type()));
    }
    std::string operator()(const Dim& size) const { return fmt::format("the integer {}", size.text()); }
    std::string operator()(double real) const { return fmt::format("the number {}", real_text(real)); }
    std::string operator()(bool flag) const { return flag ? "True" : "False"; }
    std::string operator()(const std::string& text) const { return fmt::format("the text '{}'", excerpt(text)); }
    std::string operator()(const std::shared_ptr<List>& list) const {
      if (list->start && list->start->axis) return "a tensor that grows in each step of a loop that depends on data";
      if (list->kind == List::Kind::parts) return "a list of as many parts as an open size has";
      if (list->kind == List::Kind::joined) return "a list of tensors of which the last one may be shorter";
      if (list->kind != List::Kind::known) return "a list of one tensor for each step of an open size";
      return fmt::format("a list of {}", list->items.size());
    }
    std::string operator()(const std::shared_ptr<Tuple>& tuple) const {
      return fmt::format("a tuple of {}", tuple->items.size());
    }
    std::string operator()(const std::shared_ptr<Maybe>& maybe) const {
      return fmt::format("None or {}, which depends on data", describe(maybe->value));
    }
    std::string operator()(const std::shared_ptr<Slot>& slot) const {
      return fmt::format("the attribute '{}'", excerpt(slot->name));
    }
    std::string operator()(const std::shared_ptr<Dict>& dict) const {
      return fmt::format("a dict of {}", dict->entries.size());
    }
    std::string operator()(const std::shared_ptr<Object>& object) const {
      return fmt::format("an object of {}", excerpt(object->class_name));
    }
    std::string operator()(const FunctionRef& function) const {
      return fmt::format("the function {}", excerpt(function.symbol->function->name));
    }
    std::string operator()(const ClassRef& type) const { return fmt::format("the class {}", excerpt(type.name)); }
    std::string operator()(const Device&) const { return "a device"; }
    std::string operator()(const MaskedRef&) const {
      return "entries that a mask picks, whose number is only known when the program runs";
    }
    std::string operator()(const Undecided& condition) const { return fmt::format("the condition {}", condition.text); }
    std::string operator()(const Unknown&) const { return "the result of an operator that can't be converted"; }
    std::string operator()(const Uninitialized&) const { return "a value that was not set"; }
    std::string operator()(const Pending&) const { return "a result of a branch"; }
  };
  return std::visit(Describe{}, value.data);
}

Region* home_of(const Value& container) {
  if (const auto* list = container.as<std::shared_ptr<List>>()) return (*list)->home;
  if (const auto* slot = container.as<std::shared_ptr<Slot>>()) {
    const Object& object = *(*slot)->object;
    const auto found = object.homes.find((*slot)->name);
    return found == object.homes.end() ? object.home : found->second;
  }
  const auto* dict = container.as<std::shared_ptr<Dict>>();
  return dict ? (*dict)->home : nullptr;
}

void set_home(const Value& container, Region* home) {
  if (const auto* list = container.as<std::shared_ptr<List>>()) (*list)->home = home;
  if (const auto* slot = container.as<std::shared_ptr<Slot>>()) (*slot)->object->homes[(*slot)->name] = home;
  if (const auto* dict = container.as<std::shared_ptr<Dict>>()) (*dict)->home = home;
}

bool same_container(const Value& a, const Value& b) {
  const auto* list = a.as<std::shared_ptr<List>>();
  const auto* dict = a.as<std::shared_ptr<Dict>>();
  const auto* slot = a.as<std::shared_ptr<Slot>>();
  if (const auto* other = b.as<std::shared_ptr<Slot>>(); slot && other)
    return (*slot)->object == (*other)->object && (*slot)->name == (*other)->name;
  return (list && b.as<std::shared_ptr<List>>() && *list == *b.as<std::shared_ptr<List>>()) ||
         (dict && b.as<std::shared_ptr<Dict>>() && *dict == *b.as<std::shared_ptr<Dict>>());
}

Value contents_of(const Value& container) {
  if (const auto* list = container.as<std::shared_ptr<List>>()) {
    const TensorRef all{(*list)->stack.tensor, (*list)->stack.home, false};
    if ((*list)->kind == List::Kind::stacked) return std::make_shared<Tuple>(std::vector<Value>{all});
    if ((*list)->kind != List::Kind::filling) return std::make_shared<Tuple>((*list)->items);
    return std::make_shared<Tuple>(std::vector<Value>{all, *(*list)->length});
  }
  if (const auto* slot = container.as<std::shared_ptr<Slot>>())
    return std::make_shared<Tuple>(std::vector{(*slot)->object->attributes[(*slot)->name]});
  std::vector<Value> items;
  if (const auto* dict = container.as<std::shared_ptr<Dict>>())
    for (const auto& [key, value] : (*dict)->entries)
      items.emplace_back(std::make_shared<Tuple>(std::vector{key, value}));
  return std::make_shared<Tuple>(std::move(items));
}

Status set_contents(const Value& container, const Value& contents) {
  if (contents.items() == nullptr) return fail("{} would hold {}", describe(container), describe(contents));
  const std::vector<Value>& items = *contents.items();
  if (const auto* list = container.as<std::shared_ptr<List>>()) {
    const bool fills = (*list)->kind == List::Kind::filling;
    if (!fills && (*list)->kind != List::Kind::stacked) {
      (*list)->items = items;
      return {};
    }
    const TensorRef* all = items.at(0).tensor();
    if (all == nullptr) return fail("the items of {} would be {}", describe(container), describe(items.at(0)));
    (*list)->stack = {all->tensor, all->home, (*list)->stack.is_number};
    (*list)->one_item.reset();
    if (fills) (*list)->length = std::make_shared<Value>(items.at(1));
    return {};
  }
  if (const auto* slot = container.as<std::shared_ptr<Slot>>()) {
    (*slot)->object->attributes[(*slot)->name] = items.at(0);
    return {};
  }
  auto& entries = (*container.as<std::shared_ptr<Dict>>())->entries;
  entries.clear();
  for (const Value& item : items) entries.emplace_back(item.items()->at(0), item.items()->at(1));
  return {};
}

std::string text_of(const Value& value) {
  if (!is_walkable(value)) return "...";
  return python_text(value, false, 0);
}

std::optional<bool> same_value(const Value& a, const Value& b) {
  if (!is_walkable(a) || !is_walkable(b)) return std::nullopt;
  return same(a, b, 0);
}

}  // namespace taper::torchscript
