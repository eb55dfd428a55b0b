// The values of a TorchScript program while it is read: what is known is computed, tensors are calls on a graph.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "formats/torchscript_archive.h"
#include "frontend/aten.h"

namespace taper::torchscript {

struct Value;
struct Region;

// A tensor of the region `home`. Python's numbers and bools that only the running program knows are tensors of rank 0.
struct TensorRef {
  aten::TensorPtr tensor;
  Region* home = nullptr;
  bool is_number = false;
};

// A tensor of complex numbers.
struct ComplexRef {
  TensorRef real, imag;
};

// x[mask]: entries whose number only the running program knows. Both are of one region and nobody else's. Where more
// is done with the entries than can be done in place, they become a tensor, for all who hold them.
struct MaskedRef {
  TensorRef x, mask;
  std::shared_ptr<std::optional<TensorRef>> entries = std::make_shared<std::optional<TensorRef>>();
};

struct List;
struct Tuple;
struct Dict;
struct Object;
struct Maybe;
struct Slot;

struct FunctionRef {
  const Symbol* symbol;
};
struct ClassRef {
  std::string name;
  const Symbol* symbol;
};
struct Device {};
// A condition on symbolic sizes that neither constants nor ranges decide.
struct Undecided {
  std::string text;                              // "B == 1"
  std::optional<bool> general;                   // what holds for all but a few sizes
  std::function<taper::Value*(Builder&)> value;  // what it is when the program runs, in any region
  std::optional<Dim> flag = {};                  // 1 where it holds, else 0
  // Two sizes: "lt", "le", "gt", "ge", "eq" or "ne".
  struct Comparison {
    std::string_view op;
    Dim a, b;
  };
  std::vector<Comparison> if_true = {}, if_false = {};  // some that hold then
};
// What an operator that can't be read would give; or, with `why`, a value that only some paths of the program have.
struct Unknown {
  std::string why;
  std::string hint = {};  // the next step
};
struct Uninitialized {};
// A result of an `if` that is being built.
struct Pending {
  std::size_t index;
};
struct None {};

using Data =
    std::variant<None, TensorRef, ComplexRef, MaskedRef, Dim, double, bool, std::string, std::shared_ptr<List>,
                 std::shared_ptr<Tuple>, std::shared_ptr<Dict>, std::shared_ptr<Object>, std::shared_ptr<Maybe>,
                 std::shared_ptr<Slot>, FunctionRef, ClassRef, Device, Undecided, Unknown, Uninitialized, Pending>;

struct Value {
  Data data;

  Value() = default;
  template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, Value> && std::is_constructible_v<Data, T>)
  Value(T&& content) : data(std::forward<T>(content)) {}  // NOLINT: any content is a value

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  bool is_none() const { return std::holds_alternative<None>(data); }
  bool is_unknown() const { return std::holds_alternative<Unknown>(data); }
  const TensorRef* tensor() const { return as<TensorRef>(); }
  // A tensor that is no number.
  bool is_tensor() const { return tensor() != nullptr && !tensor()->is_number; }
  const std::vector<Value>* items() const;  // of a list or tuple that is known
  const TensorRef* stack() const;           // of a list of which only this is known
  // An integer that is known now; bools are none.
  std::optional<std::int64_t> integer() const;
  // A number that is known now, bools included.
  std::optional<double> number() const;
};

// Lists, dicts and objects are shared by reference; those of an outer region can't change inside of a branch or loop
// that depends on data.
struct List {
  List(std::vector<Value> the_items, Region* the_home) : items(std::move(the_items)), home(the_home) {}
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List();

  // Lists that a loop over an open size makes longer grow while it is read, by the same number of items in each
  // iteration; then their items are the entries of a tensor. What asks for items is told that there are none to be had,
  // unless it knows of these.
  // Lists that a branch makes longer than the other one fill a tensor: how many items they have is counted when the
  // program runs.
  // The parts of a tensor that split() gives are cut where they are asked for; what a loop made of parts whose last one
  // is shorter is joined, for its items are no entries of one tensor.
  enum class Kind { known, growing, stacked, filling, parts, joined };
  // A growing list when an iteration begins: its items along the first axis, the last one first where each iteration
  // puts items before the first, and how many they are.
  struct Start {
    TensorRef items;
    TensorRef iteration;
    Dim before = 0, in_each = 1;
    bool in_front = false;
    bool is_ragged = false;           // its items are of different sizes, and joined
    std::optional<std::size_t> axis;  // it is a tensor that grows along this axis, its entries are the items
  };

  std::vector<Value> items;  // of growing ones: those of this iteration
  Region* home;
  Kind kind = Kind::known;
  TensorRef stack;  // of stacked ones: the items along the first axis, which are numbers if it is one
  std::shared_ptr<const Start> start;
  bool grew_in_front = false;          // an item was put before the first one
  bool repeats = false;                // of stacked ones: some items are one tensor
  std::optional<Value> one_item = {};  // and this one, if all of them are
  // Of filling ones: `stack` has room for more items than there are. Of joined ones: how many items there are.
  std::shared_ptr<const Value> length;
  std::size_t room = 0, added = 0;  // for how many items branches have room, and how many they may have added
  std::size_t in_iteration = 0;     // how many an iteration of a loop may have added so far
  // Of parts: `stack` is what they are cut from, along this axis, and so long. Joined ones are `stack`.
  std::size_t axis = 0;
  Dim part = 1;
};
struct Tuple {
  explicit Tuple(std::vector<Value> the_items, const Class* the_type = nullptr)
      : items(std::move(the_items)), type(the_type) {}
  Tuple(const Tuple&) = delete;
  Tuple& operator=(const Tuple&) = delete;
  ~Tuple();

  std::vector<Value> items;
  const Class* type;  // of NamedTuples
};
struct Dict {
  explicit Dict(Region* the_home) : home(the_home) {}
  Dict(const Dict&) = delete;
  Dict& operator=(const Dict&) = delete;
  ~Dict();

  std::vector<std::pair<Value, Value>> entries;
  Region* home;
};
// None or a value: which of them, only the running program knows.
struct Maybe {
  Value is_there;  // a bool
  Value value;     // anything where it is not there
};
struct Object {
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object();

  std::string class_name;
  const Symbol* symbol = nullptr;  // null: a class that the archive doesn't define
  std::string path;                // "encoder.layers.0"
  Region* home = nullptr;
  std::map<std::string, Value, std::less<>> attributes;
  std::map<std::string, Region*, std::less<>> homes;  // of attributes that branches and loops change
};
// An attribute as a container of one value.
struct Slot {
  std::shared_ptr<Object> object;
  std::string name;
};

// PyTorch's numbers of dtypes, which TorchScript's integers are; nothing for those that taper doesn't have.
std::int64_t dtype_code(DType dtype);
std::optional<DType> dtype_of_code(std::int64_t code);

// Whether walking the value, shared parts as often as they are met, stays within what programs have. What walks values
// asks first: a file can nest a list in itself twice, and that again, until no walk ends.
bool is_walkable(const Value& value);
// Whether `value` holds the container at that address, itself or within, or is too large to tell.
bool holds_container(const Value& value, const void* container);

// Where a list, a dict or an attribute may change.
Region* home_of(const Value& container);
void set_home(const Value& container, Region* home);
bool same_container(const Value& a, const Value& b);
// What one of these holds, as a tuple of values or of keys with values; and the other way round. Errors: what depends
// on data stays no tensor.
Value contents_of(const Value& container);
Status set_contents(const Value& container, const Value& contents);

// A tensor that grows along an axis; null for all else.
inline const List* grown_tensor(const Value& value) {
  const auto* list = value.as<std::shared_ptr<List>>();
  return list && (*list)->kind == List::Kind::growing && (*list)->start->axis ? list->get() : nullptr;
}

// For messages: "a tensor f32[2, 3]", "the integer 3", "a list of 4".
std::string describe(const Value& value);
// As Python's str() writes it.
std::string text_of(const Value& value);

// Whether two values are equal, where that doesn't depend on tensors; nothing if it does, or on sizes that are unknown.
std::optional<bool> same_value(const Value& a, const Value& b);

}  // namespace taper::torchscript
