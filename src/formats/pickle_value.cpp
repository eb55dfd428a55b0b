#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "formats/pickle.h"
#include "formats/text.h"

namespace taper::pickle {
namespace {

// ---- keys that are set twice

// Maps each scalar key to one representative of all equal keys. Comparing whole texts once per distinct Value, not once
// per use, keeps this linear (times a logarithm) in the pickle's bytes, whatever the pickle does with its memo.
using Representatives = std::unordered_map<const Value*, const Value*>;

// The integer that a key equals: True is 1, and so is 1.0.
std::optional<std::int64_t> whole_number(const Value& key) {
  if (key.boolean()) return *key.boolean() ? 1 : 0;
  const double* real = std::get_if<double>(&key.data);
  if (!real) return key.integer();
  const bool fits = *real >= -0x1p63 && *real < 0x1p63 && std::trunc(*real) == *real;
  return fits ? std::optional(static_cast<std::int64_t>(*real)) : std::nullopt;
}

Representatives represent(std::vector<const Value*> keys) {
  std::ranges::sort(keys, std::less<>{});
  keys.erase(std::ranges::unique(keys).begin(), keys.end());
  std::vector<const Value*> texts, blobs, integers, reals, nones;
  for (const Value* key : keys) {
    if (key->is_none()) nones.push_back(key);
    if (key->text()) texts.push_back(key);
    if (key->bytes()) blobs.push_back(key);
    if (whole_number(*key))
      integers.push_back(key);
    else if (key->kind() == Kind::real && !std::isnan(*key->number()))  // NaN equals nothing
      reals.push_back(key);
  }
  Representatives result;
  const auto join_equals = [&](std::vector<const Value*>& values, auto&& projection) {
    std::ranges::sort(values, {}, projection);
    const Value* representative = nullptr;
    for (const Value* value : values) {
      if (!representative || projection(representative) != projection(value)) representative = value;
      result[value] = representative;
    }
  };
  join_equals(nones, [](const Value*) { return 0; });
  join_equals(texts, [](const Value* value) { return *value->text(); });
  join_equals(blobs, [](const Value* value) { return as_text(*value->bytes()); });
  join_equals(integers, [](const Value* value) { return *whole_number(*value); });
  join_equals(reals, [](const Value* value) { return *value->number(); });
  return result;
}

// As in Python, a key keeps its first place and gets its last value.
void drop_repeated_keys(std::vector<Entry>& entries, const Representatives& representatives) {
  if (entries.size() < 2) return;
  std::unordered_map<const Value*, std::size_t> place;
  std::size_t kept = 0;
  for (const Entry& entry : entries) {
    const auto known = representatives.find(entry.key);
    const auto [slot, is_new] = place.try_emplace(known != representatives.end() ? known->second : entry.key, kept);
    if (is_new) {
      entries[kept++] = entry;
    } else {
      entries[slot->second].value = entry.value;
    }
  }
  entries.resize(kept);
}

}  // namespace

void drop_repeated_keys(Arena& arena) {
  std::vector<const Value*> keys;
  const auto each = [&](auto&& visit) {
    for (Dict& dict : arena.dicts) visit(dict.entries);
    for (Object& object : arena.objects) visit(object.entries);
  };
  each([&](std::vector<Entry>& entries) {
    if (entries.size() < 2) return;
    for (const Entry& entry : entries) keys.push_back(entry.key);
  });
  const Representatives representatives = represent(std::move(keys));
  each([&](std::vector<Entry>& entries) { drop_repeated_keys(entries, representatives); });
}

std::optional<bool> Value::boolean() const {
  const bool* value = std::get_if<bool>(&data);
  return value ? std::optional(*value) : std::nullopt;
}
std::optional<std::int64_t> Value::integer() const {
  const auto* value = std::get_if<std::int64_t>(&data);
  return value ? std::optional(*value) : std::nullopt;
}
std::optional<double> Value::number() const {
  if (const auto* value = std::get_if<double>(&data)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&data)) return static_cast<double>(*value);
  return std::nullopt;
}
std::optional<std::string_view> Value::text() const {
  const auto* value = std::get_if<Text>(&data);
  return value ? std::optional(value->text) : std::nullopt;
}
std::optional<Bytes> Value::bytes() const {
  const auto* value = std::get_if<Blob>(&data);
  return value ? std::optional(value->bytes) : std::nullopt;
}
const Value* Value::persistent_id() const {
  const auto* value = std::get_if<Persistent>(&data);
  return value ? value->id : nullptr;
}

namespace {
template <class T>
const T* pointer_in(const Value& value) {
  T* const* pointer = std::get_if<T*>(&value.data);
  return pointer ? *pointer : nullptr;
}
}  // namespace

const Sequence* Value::sequence() const {
  return pointer_in<Sequence>(*this);
}
const Dict* Value::dict() const {
  return pointer_in<Dict>(*this);
}
const Global* Value::global() const {
  return pointer_in<Global>(*this);
}
const Object* Value::object() const {
  return pointer_in<Object>(*this);
}
const TensorValue* Value::tensor() const {
  return pointer_in<TensorValue>(*this);
}
const Unsupported* Value::unsupported() const {
  return pointer_in<Unsupported>(*this);
}

const Tensor* Value::complex_parts() const {
  const Unsupported* tensor = unsupported();
  return tensor != nullptr && tensor->complex_parts ? &*tensor->complex_parts : nullptr;
}

std::span<const Value* const> Value::items() const {
  if (sequence()) return sequence()->items;
  if (object()) return object()->items;
  return {};
}
std::span<const Entry> Value::entries() const {
  if (dict()) return dict()->entries;
  if (object()) return object()->entries;
  return {};
}

Value* Arena::add_text(std::string text) {
  return add(Text{strings.emplace_back(std::move(text))});
}
Value* Arena::add_sequence(SequenceKind kind, std::vector<const Value*> items) {
  return add(&sequences.emplace_back(Sequence{kind, std::move(items)}));
}
Value* Arena::add_dict(std::vector<Entry> entries) {
  return add(&dicts.emplace_back(Dict{std::move(entries)}));
}
Value* Arena::add_tensor(TensorValue tensor) {
  return add(&tensors.emplace_back(std::move(tensor)));
}
Value* Arena::add_big_integer(BigInteger number) {
  return add(&big_integers.emplace_back(number));
}

bool is_tuple(const Value& value) {
  return value.sequence() && value.sequence()->kind == SequenceKind::tuple;
}

bool is_global(const Value& value, std::string_view python2, std::string_view python3, std::string_view name) {
  const Global* global = value.global();
  return global && global->name == name && (global->module == python3 || global->module == python2);
}

const Value* find(const Value& dict, std::string_view key) {
  for (const Entry& entry : dict.entries())
    if (entry.key->text() == key) return entry.value;
  return nullptr;
}

const Value* attribute(const Value& object, std::string_view name) {
  const Value* state = object.object() ? object.object()->state : nullptr;
  if (!state) return nullptr;
  if (state->dict()) return find(*state, name);
  if (!is_tuple(*state) || state->items().size() != 2) return nullptr;
  for (const Value* part : state->items())
    if (const Value* found = part->dict() ? find(*part, name) : nullptr) return found;
  return nullptr;
}

std::string global_path(const Value& value) {
  // A nested class or a bound function is pickled as getattr(Outer, "Inner").
  constexpr int kMostNested = 16;
  constexpr std::size_t kMostLength = 1000;  // a path is copied wherever its class is used
  std::string nested;
  const Value* type = &value;
  for (int depth = 0; depth < kMostNested; ++depth) {
    if (const Global* global = type->global()) {
      if (global->module.size() + global->name.size() + nested.size() > kMostLength) return "";
      return fmt::format("{}.{}{}", global->module, global->name, nested);
    }
    const Object* call = type->object();
    if (!call || !is_global(*call->type, "__builtin__", "builtins", "getattr")) return "";
    const auto args = call->arguments->items();
    if (args.size() != 2 || !args[1]->text() || args[1]->text()->size() > kMostLength) return "";
    nested = fmt::format(".{}{}", *args[1]->text(), nested);
    type = args[0];
  }
  return "";
}

std::string class_path(const Value& value) {
  return global_path(value.object() ? *value.object()->type : value);
}

std::string describe(const Value& value) {
  constexpr std::string_view kSequences[] = {"list", "tuple", "set", "frozenset"};
  switch (value.kind()) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return *value.boolean() ? "True" : "False";
    case Kind::integer:
      return fmt::format("int {}", *value.integer());
    case Kind::real:
      return fmt::format("float {}", *value.number());
    case Kind::text:
      return fmt::format("str '{}'", excerpt(*value.text()));
    case Kind::bytes:
      return fmt::format("{} bytes", value.bytes()->size());
    case Kind::big_integer:
      return "a big int";
    case Kind::sequence:
      return fmt::format("{} of {} items", kSequences[static_cast<std::size_t>(value.sequence()->kind)],
                         value.items().size());
    case Kind::dict:
      return fmt::format("dict of {} entries", value.entries().size());
    case Kind::global:
      return fmt::format("global {}", excerpt(class_path(value)));
    case Kind::object:
      return fmt::format("object {}", excerpt(class_path(value)));
    case Kind::persistent:
      return "a persistent id";
    case Kind::tensor:
      return taper::describe(value.tensor()->tensor);
    case Kind::unsupported:
      return fmt::format("{}, which {}", value.unsupported()->what, value.unsupported()->reason);
  }
  return "";
}

}  // namespace taper::pickle
