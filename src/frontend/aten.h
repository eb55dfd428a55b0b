// Calls of PyTorch's operators (ATen), as exported programs and TorchScript hold them, onto a graph.
//
// One table says for each overload its schema, in PyTorch's own notation, and what it is in our operators. Tensors are
// variables: PyTorch's in-place operators write through views, so a view remembers what it is a view of.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/dim.h"
#include "base/error.h"
#include "frontend/counts.h"
#include "frontend/packed_sequences.h"
#include "frontend/program.h"
#include "ops/builder.h"

namespace taper::aten {

class Tensor;
using TensorPtr = std::shared_ptr<Tensor>;

// Where calls go, and what is known beside the graph.
struct Context {
  Builder& build;
  std::map<std::string, SymbolRange, std::less<>> symbols = {};  // without an entry a symbol is at least 1
  std::vector<std::string> warnings = {};                        // what a user should know of the calls made so far
  std::shared_ptr<CountNames> counts = std::make_shared<CountNames>();  // shared with regions
  Measured measured = {};
  std::set<std::string, std::less<>> counted = {};  // symbols of sizes that elements decide
  std::optional<Dim> next_count = std::nullopt;     // what the program calls the next such number
  std::vector<PackedSequences> packed = {};         // those that the program packed so far
  bool in_region = false;                           // whose inputs are not the program's

  // That of a region.
  Context inside(Builder& region) const { return {region, symbols, {}, counts, {}, counted, {}, {}, true}; }
};

// The dtype in which the graph computes what a program says in `dtype`: float32 for every floating one, so that
// weights, inputs and constants agree; others stay. Importers convert what they put into the graph by this, and may
// cast outputs back.
DType graph_dtype(DType dtype);

// A tensor of complex numbers: two tensors of reals, of one shape and dtype.
struct ComplexTensor {
  TensorPtr real, imag;
};
struct ComplexNumber {
  double real = 0, imag = 0;
};
// A dtype of complex numbers, all of which are computed as pairs of float32.
struct ComplexDType {};

// An argument or a result. Integers may be symbolic. Devices, layouts and memory formats change no number: they are
// None.
struct Arg {
  using List = std::vector<Arg>;
  std::variant<std::monostate, TensorPtr, Dim, double, bool, std::string, DType, List, ComplexTensor, ComplexNumber,
               ComplexDType>
      value;

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

// Which of two tensors is meant: a bool of rank 0.
using Flag = std::function<Value*(Builder&)>;
// How far apart, in elements, neighbours along each axis lie; nothing where that isn't known.
using Strides = std::optional<Shape>;
// Of a tensor of that shape whose elements follow one another.
Shape row_major(const Shape& shape);

// A tensor as PyTorch has it: a place whose content in-place operators replace. Views are of the same dtype as what
// they are cut from and have no content of their own. What shares storage with several tensors is a view of all of
// them.
class Tensor {
 public:
  // A tensor of its own storage, row-major.
  static TensorPtr make(Value* content);
  // A view of `base`, which is cut at once unless `content` is the view already. Without `write_back` writing through
  // it is an error. Null if cutting failed: the builder has the error.
  static TensorPtr make_view(Builder& build, TensorPtr base, View view, WriteBack write_back, Strides strides,
                             Value* content = nullptr);
  // The same view of another base of that type. Null if cutting failed: the builder has the error.
  TensorPtr view_of(Builder& build, TensorPtr base) const;
  // `a` where the flag holds, else `b`, which are of one type. `content` is where(flag, a, b).
  static TensorPtr make_choice(Flag flag, const TensorPtr& a, const TensorPtr& b, Value* content);
  // `content`, which may or may not share elements with some of `bases`. Neither can be read once the other has been
  // written to: that is an error, which says `why`.
  static TensorPtr make_uncertain(std::vector<TensorPtr> bases, Value* content, std::string why);
  // The same of other bases; `content` is needed for an uncertain one.
  TensorPtr like(Builder& build, std::vector<TensorPtr> bases, Value* content) const;

  // The present content. Null if building it failed: the builder has the error.
  Value* content(Builder& build);
  // The content when it was last asked for.
  Value* present() const { return content_; }
  // The type, which never changes.
  const Type& type() const { return content_->type; }
  Strides strides() const { return row_major_ ? Strides(row_major(type().shape)) : strides_; }
  // Whether the elements follow one another in row-major order; nothing where that isn't known.
  std::optional<bool> contiguous() const;
  // For operators that leave the order of elements to their operands.
  void forget_strides();
  // What it is cut from; none for a tensor of its own storage.
  const std::vector<TensorPtr>& bases() const { return bases_; }
  // The tensors of own storage that chains of bases end in; none for one of these.
  const std::vector<TensorPtr>& roots() const { return roots_; }
  bool uncertain() const { return kind_ == Kind::uncertain; }
  // Replaces the content, and that of what it is a view of. Errors: another type, a view that can't be written through.
  Status write(Builder& build, Value* content);
  // Whether content() can succeed: nothing it needs is lost.
  bool readable() const;
  // The content, and that of all it shares storage with, is not known from now on, until it is written anew.
  void lose(const std::string& why);
  const std::optional<std::string>& lost() const { return lost_; }
  // Of a nested tensor, whose content is the padded batch [B, T, ...]: which entries it has, bool[B, T], the first ones
  // of each row; null for all other tensors.
  Value* nested_mask() const { return nested_mask_; }
  void make_nested(Value* mask) { nested_mask_ = mask; }
  // The content has to be cut again before it is read.
  void outdate() { version_ = kOutdated; }

 private:
  enum class Kind { own, view, choice, uncertain };
  static constexpr std::uint64_t kOutdated = ~std::uint64_t{0};
  Tensor() = default;
  static TensorPtr make_cut(Kind kind, std::vector<TensorPtr> bases, Value* content);
  std::uint64_t versions() const;  // of the roots together
  Value* cut(Builder& build) const;
  Status write_through(Builder& build, Value* written) const;

  Kind kind_ = Kind::own;
  Value* content_ = nullptr;
  Value* nested_mask_ = nullptr;
  std::uint64_t version_ = 0;  // of a root: counts writes; else: what versions() gave when content_ was cut
  std::vector<TensorPtr> bases_, roots_;
  std::size_t depth_ = 0;  // views between this and its roots
  View view_;
  WriteBack write_back_;
  Flag flag_;                        // of a choice
  std::string why_;                  // of an uncertain one
  std::optional<std::string> lost_;  // of a root
  bool row_major_ = true;
  Strides strides_;  // unless row-major
};

// Calls `name`, with its overload ("add.Tensor") or without ("add"): then the first overload that takes these
// arguments. An operator with a trailing underscore writes into its first argument. Errors: no such operator (see
// knows), arguments that no overload takes, what the operator's shape rule says.
Expected<Arg> call(Context& context, std::string_view name, std::span<const NamedArg> arguments);

// Whether the table has the operator. `name` as for call.
bool knows(std::string_view name);

// The names of all overloads in the table, in order: "add.Tensor", ... ; overloads without a name are ".default".
// In-place forms are not listed: every overload that PyTorch has in place can be called so.
std::vector<std::string> known_overloads();

// The integers of a small integer or bool tensor that follow from constants and sizes, in row-major order. Nothing if
// they aren't known before the program runs.
std::optional<std::vector<Dim>> known_integers(const Value* value);

// The integer that `op` (floor, ceil, trunc) makes of a real number which is a size times or over a constant; nothing
// if it is none, or if rounding in float32 makes another of some size.
std::optional<Dim> rounded_size(std::string_view op, const Value* number);

// What a user should know of open sizes that are multiplied by `scale`; nothing if the products are PyTorch's.
std::optional<std::string> note_on_scaled_sizes(double scale);

// floor(size * scale), with that note among the warnings. Errors: a symbol times what is no simple fraction.
Expected<Dim> scaled_size(Context& context, const Dim& size, double scale);

// A symbolic integer of PyTorch's programs: operators on sizes (add, mul, floordiv, ...), by Python's names. Nothing if
// the operator isn't one of those. Errors: comparisons that neither constants nor the symbols' ranges decide.
std::optional<Expected<Arg>> call_on_sizes(const Context& context, std::string_view name,
                                           std::span<const Arg> arguments);

}  // namespace taper::aten
