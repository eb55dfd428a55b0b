// Calls of PyTorch's operators (ATen), as exported programs and TorchScript hold them, onto a graph.
//
// One table says for each overload its schema, in PyTorch's own notation, and what it is in our operators. Tensors are
// variables: PyTorch's in-place operators write through views, so a view remembers what it is a view of.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/dim.h"
#include "base/error.h"
#include "ops/builder.h"

namespace taper::aten {

class Tensor;
using TensorPtr = std::shared_ptr<Tensor>;

// An argument or a result. Integers may be symbolic. Devices, layouts and memory formats change no number: they are
// None.
struct Arg {
  using List = std::vector<Arg>;
  std::variant<std::monostate, TensorPtr, Dim, double, bool, std::string, DType, List> value;

  Arg() = default;
  template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, Arg>)
  Arg(T&& content) : value(std::forward<T>(content)) {}  // NOLINT: any content is an argument

  bool is_none() const { return std::holds_alternative<std::monostate>(value); }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&value);
  }
};

// An argument of a call; positional ones have no name.
struct NamedArg {
  std::string name;
  Arg arg;
};

// Rebuilds the tensor that a view is cut from, with `written` in the place of the view.
using WriteBack = std::function<Value*(Builder&, Value* base, Value* written)>;
// The view, cut from the present value of what it is a view of.
using View = std::function<Value*(Builder&, Value* base)>;

// A tensor as PyTorch has it: a place whose content in-place operators replace. Views are of the same dtype as their
// base and have no content of their own.
class Tensor {
 public:
  // A tensor of its own storage.
  static TensorPtr make(Value* content);
  // A view of `base`. Without `write_back` writing through it is an error.
  static TensorPtr make_view(TensorPtr base, Value* content, View view, WriteBack write_back);

  // The present content.
  Value* content(Builder& build);
  // The type, which never changes.
  const Type& type() const { return content_->type; }
  // Replaces the content, and that of what it is a view of. Errors: a view that can't be written through.
  Status write(Builder& build, Value* content);

 private:
  Tensor() = default;
  std::uint64_t version(Builder& build);

  Value* content_ = nullptr;
  std::uint64_t version_ = 0;  // of the base when content_ was cut from it, or of the tensor itself
  TensorPtr base_;
  View view_;
  WriteBack write_back_;
};

// Calls `name`, with its overload ("add.Tensor") or without ("add"): then the first overload that takes these
// arguments. An operator with a trailing underscore writes into its first argument. Errors: no such operator (see
// knows), arguments that no overload takes, what the operator's shape rule says.
Expected<Arg> call(Builder& build, std::string_view name, std::span<const NamedArg> arguments);

// Whether the table has the operator. `name` as for call.
bool knows(std::string_view name);

// The names of all overloads in the table, in order: "add.Tensor", ... ; overloads without a name are ".default".
std::vector<std::string> known_overloads();

// A symbolic integer of PyTorch's programs: operators on sizes (add, mul, floordiv, ...), by Python's names. Nothing if
// the operator isn't one of those.
std::optional<Expected<Arg>> call_on_sizes(std::string_view name, std::span<const Arg> arguments);

}  // namespace taper::aten
