// Python's pickle format, protocols 0-5, read as plain data. Nothing is imported, looked up or called: what a pickle
// would call becomes an inert Object that records the name of the class or function, its arguments and its state. The
// opcodes: Lib/pickletools.py of CPython. The values live in an Arena and refer to each other by pointer, so that
// shared values stay shared and a cycle is harmless (but walks over them need a depth limit).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/tensor.h"

namespace taper::pickle {

struct Value;

struct Entry {
  const Value* key;
  const Value* value;
};

struct None {};
struct Text {  // UTF-8
  std::string_view text;
};
struct Blob {  // bytes and bytearray
  Bytes bytes;
};
// An int outside of int64: two's complement, little-endian; or, from protocols 0 and 1, decimal digits with an optional
// '-'.
struct BigInteger {
  Bytes bytes;
  bool decimal = false;
};

enum class SequenceKind : std::uint8_t { list, tuple, set, frozen_set };
struct Sequence {
  SequenceKind kind;
  std::vector<const Value*> items;
};

// A dict, OrderedDict, defaultdict or Counter, in insertion order; a key that is set twice stands once, with the last
// value.
struct Dict {
  std::vector<Entry> entries;
  const Value* state = nullptr;  // attributes of the dict itself (a state dict's `_metadata`), or null
};

// A class or function, by name.
struct Global {
  std::string_view module;
  std::string_view name;
  std::uint64_t offset = 0;  // of the opcode, in the pickle's bytes
};

// What Python would make by calling something. Nothing was called.
struct Object {
  const Value* type = nullptr;  // the class or function: a Global, or an Object if it is itself the result of a call
  const Value* arguments = nullptr;  // a tuple
  const Value* keywords = nullptr;   // a dict, or null
  const Value* state = nullptr;      // what BUILD gave (mostly the dict of attributes), or null
  std::vector<const Value*> items;   // appended or added
  std::vector<Entry> entries;        // set by key
  std::uint64_t offset = 0;          // of the opcode that made it
};

// A reference to something outside of the pickle.
struct Persistent {
  const Value* id = nullptr;
};

// A tensor: made by the readers of checkpoints, never by the pickle reader itself.
struct TensorValue {
  Tensor tensor;
  bool is_parameter = false;
  bool requires_grad = false;
  bool is_numpy = false;         // a NumPy array
  std::string_view storage_key;  // which storage of the checkpoint it views: tensors with the same key share memory
};

// A tensor that can't be used as a weight: sparse, quantised, complex, on the meta device...
struct Unsupported {
  std::string what;    // "torch._utils._rebuild_sparse_tensor"
  std::string reason;  // "is a sparse tensor"
  // Of complex numbers: a tensor of reals, whose last axis is that of real and imaginary part.
  std::optional<Tensor> complex_parts = std::nullopt;
};

enum class Kind : std::uint8_t {
  none,
  boolean,
  integer,
  real,
  text,
  bytes,
  big_integer,
  sequence,
  dict,
  global,
  object,
  persistent,
  tensor,
  unsupported,
};

struct Value {
  // In the order of Kind.
  std::variant<None, bool, std::int64_t, double, Text, Blob, BigInteger*, Sequence*, Dict*, Global*, Object*,
               Persistent, TensorValue*, Unsupported*>
      data;

  Kind kind() const { return static_cast<Kind>(data.index()); }
  bool is_none() const { return kind() == Kind::none; }

  // The payload, or nothing (null, empty) if the value is of another kind.
  std::optional<bool> boolean() const;
  std::optional<std::int64_t> integer() const;  // bools are not integers here
  std::optional<double> number() const;         // an integer or a real
  std::optional<std::string_view> text() const;
  std::optional<Bytes> bytes() const;
  const Sequence* sequence() const;
  const Dict* dict() const;
  const Global* global() const;
  const Object* object() const;
  const Value* persistent_id() const;
  const TensorValue* tensor() const;
  const Unsupported* unsupported() const;
  const Tensor* complex_parts() const;  // of an unsupported tensor of complex numbers
  // The elements of a list, tuple or set, or what was appended to an object.
  std::span<const Value* const> items() const;
  // The entries of a dict, or what was set by key on an object (a subclass of dict).
  std::span<const Entry> entries() const;
};
static_assert(std::variant_size_v<decltype(Value::data)> == static_cast<std::size_t>(Kind::unsupported) + 1);

// Owns values and everything they point to, including the bytes that texts view. Addresses are stable.
class Arena {
 public:
  std::deque<Value> values;
  std::deque<BigInteger> big_integers;
  std::deque<Sequence> sequences;
  std::deque<Dict> dicts;
  std::deque<Global> globals;
  std::deque<Object> objects;
  std::deque<TensorValue> tensors;
  std::deque<Unsupported> unsupported;
  std::deque<std::string> strings;
  std::vector<SharedBytes> sources;

  template <class T>
  Value* add(T payload) {
    return &values.emplace_back(Value{payload});
  }
  // Keeps a copy of the text.
  Value* add_text(std::string text);
  Value* add_sequence(SequenceKind kind, std::vector<const Value*> items);
  Value* add_dict(std::vector<Entry> entries);
  Value* add_tensor(TensorValue tensor);
  Value* add_big_integer(BigInteger number);
};

struct Document {
  std::shared_ptr<Arena> arena;
  const Value* root = nullptr;
  std::size_t size = 0;  // bytes of the pickle, up to and including STOP
};

// Limits that don't follow from the size of the pickle.
struct Limits {
  std::size_t values = std::size_t{1} << 23;
  std::size_t memory = std::size_t{512} << 20;  // bytes, as far as they are easily counted
};

// Reads one pickle from the start of `bytes`; what follows STOP is left alone. Texts view `bytes`, which the arena
// keeps alive. Errors name the opcode and its byte offset: truncated, unknown opcodes, a stack or memo that doesn't
// hold what an opcode needs, EXT codes and out-of-band buffers, texts that are not UTF-8, more values or memory than
// the limits. Time and memory are linear in the bytes read.
Expected<Document> read(SharedBytes bytes, Limits limits = {});

// Makes the keys of every dict in the arena unique, as `read` has done: for those who add entries afterwards.
void drop_repeated_keys(Arena& arena);

// The value of a text key of a dict (or of an object's entries); null if there is none. Linear in the entries.
const Value* find(const Value& dict, std::string_view key);
// An attribute of an object: looked up in its state, and in the slots if the state is a pair (dict, slots); null if
// absent.
const Value* attribute(const Value& object, std::string_view name);
bool is_tuple(const Value& value);
// Whether the value is the global `name` of a module that Python 2 and 3 may call differently.
bool is_global(const Value& value, std::string_view python2, std::string_view python3, std::string_view name);
// "models.transformer.SignTransformer" of an object or global; "" if the value is neither or its class has no plain
// name.
std::string class_path(const Value& value);
// The same of a class or function that stands for itself: a global, or getattr(Outer, "Inner").
std::string global_path(const Value& value);
// One short line for messages: "int 3", "str 'abc'", "dict of 4 entries", "object a.B", "float32 [3, 4]".
std::string describe(const Value& value);

}  // namespace taper::pickle
