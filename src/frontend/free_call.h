// One call of a program whose sizes are set free, and the rules for literals of shapes and for operands. Internal to
// the setting free of sizes.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "frontend/free_sizes.h"

namespace taper::freeing {

using aten::Arg;

// Small numbers are too often something else.
inline constexpr std::int64_t kLeastTelling = 4;

// The call under way.
struct FreeCall {
  Builder& build;
  std::string_view name;  // without the overload
  std::vector<aten::NamedArg>& arguments;
  Freeing& freeing;

  const FrozenSizes& sizes() const { return freeing.sizes; }
  bool freed(const Dim& dim) const { return is_freed(dim, sizes()); }
  // Freed, of a size that was 1.
  bool freed_one(const Dim& dim) const { return freed(dim) && frozen(dim, sizes()).is(1); }

  Arg* argument(std::string_view called, std::size_t position) const {
    for (aten::NamedArg& argument : arguments)
      if (argument.name == called) return &argument.arg;
    return position < arguments.size() && arguments[position].name.empty() ? &arguments[position].arg : nullptr;
  }
  std::optional<std::int64_t> integer(std::string_view called, std::size_t position) const {
    const Arg* arg = argument(called, position);
    const Dim* dim = arg == nullptr ? nullptr : arg->as<Dim>();
    return dim == nullptr ? std::nullopt : dim->constant();
  }
  const Shape* self() const {
    const auto* tensor = arguments.empty() ? nullptr : arguments[0].arg.as<aten::TensorPtr>();
    return tensor == nullptr ? nullptr : &(*tensor)->type().shape;
  }
  // The axis of the first operand that `dim` names; nothing if it isn't known.
  std::optional<std::size_t> axis(std::size_t position) const {
    const Shape* shape = self();
    if (shape == nullptr) return std::nullopt;
    const bool given = argument("dim", position) != nullptr;
    const auto dim = given ? integer("dim", position) : 0;
    const auto rank = static_cast<std::int64_t>(shape->size());
    if (!dim || *dim < -rank || *dim >= rank) return std::nullopt;
    return static_cast<std::size_t>(*dim < 0 ? *dim + rank : *dim);
  }
  // The freed sizes that were this number; where there are none, what operands had that follows from them.
  std::vector<Dim> sizes_for(const Dim& literal) const {
    std::vector<Dim> found;
    for (const auto& [symbol, size] : sizes())
      if (literal.is(size)) found.push_back(Dim::symbol(symbol));
    const auto number = literal.constant();
    const auto derived = found.empty() && number ? freeing.derived.find(*number) : freeing.derived.end();
    return derived == freeing.derived.end() ? found : derived->second;
  }
  void note(const std::string& symbol, std::string sentence) const { freeing.note(symbol, std::move(sentence)); }
  void note(const Dim& freed, const std::string& sentence) const {
    for (const std::string& symbol : freed_symbols(freed, sizes())) note(symbol, sentence);
  }
  // Takes a literal for the size by its number alone. A 1 is left to broadcasting unless `ones`.
  bool assume(Dim& literal, bool ones = false) const {
    if (literal.is(1) && !ones) return false;
    const std::vector<Dim> candidates = sizes_for(literal);
    if (candidates.size() > 1)
      for (const Dim& size : candidates)
        note(size, fmt::format("a literal {} of {} stays as it is: it may be one of several freed sizes, {} among them",
                               literal.text(), name, size.text()));
    if (candidates.size() != 1) return false;
    note(candidates[0],
         fmt::format("a literal {} of {} is taken as the freed size '{}'", literal.text(), name, candidates[0].text()));
    literal = candidates[0];
    return true;
  }
  // Whether the size is that of a batch, or made of batches alone: 4 x_0.
  bool is_batch(const Dim& size) const {
    const std::vector<std::string> symbols = freed_symbols(size, sizes());
    return !symbols.empty() && std::ranges::all_of(symbols, [&](const std::string& symbol) {
      const auto found = freeing.batches.find(symbol);
      return found != freeing.batches.end() && found->second;
    });
  }
  // Whether a literal of a shape that was a batch's size is left as it is: behind the first axis, or where the shape
  // holds that size already.
  bool is_left(const Dim& literal, std::size_t axis, std::initializer_list<const Shape*> shapes) const {
    const std::vector<Dim> candidates = literal.is(1) ? std::vector<Dim>() : sizes_for(literal);
    if (candidates.size() != 1 || !is_batch(candidates[0])) return false;
    if (!candidates[0].as_symbol()) return axis > 0;
    const auto holds = [&](const Shape* shape) {
      return std::ranges::any_of(
          *shape, [&](const Dim& dim) { return std::ranges::count(symbols_of(dim), *candidates[0].as_symbol()) > 0; });
    };
    if (axis == 0 && std::ranges::none_of(shapes, holds)) return false;
    freeing.ambiguous = true;
    if (freeing.batches_once)
      note(candidates[0], fmt::format("a literal {} of {} stays as it is, though the freed size '{}' was as large",
                                      literal.text(), name, candidates[0].text()));
    return freeing.batches_once;
  }
  // A literal of a place, a length or a shift along an axis of a freed size that is half as large: whether it is a half
  // or a number of its own, nothing tells.
  void tell_of_half(const Dim& axis, std::int64_t literal) const {
    const auto before = freed(axis) ? frozen(axis, sizes()).constant() : std::nullopt;
    if (!before || *before < 2 * kLeastTelling || (literal != *before / 2 && literal != (*before + 1) / 2)) return;
    for (const std::string& symbol : freed_symbols(axis, sizes())) {
      std::vector<std::string>& known = freeing.halves[symbol];
      std::string sentence =
          fmt::format("a literal {} of {} along an axis of the freed size '{}' may be half of it ({})", literal, name,
                      axis.text(), *before);
      if (std::ranges::find(known, sentence) == known.end()) known.push_back(std::move(sentence));
    }
  }
  // A number that stays as it is, of which a program compared with itself tells nothing.
  void keep_number(const std::string& symbol, std::string sentence) const {
    std::vector<std::string>& kept = freeing.kept_numbers[symbol];
    if (std::ranges::find(kept, sentence) == kept.end()) kept.push_back(sentence);
    note(symbol, std::move(sentence));
  }
  // A literal beside an axis of a freed size that stays, though it was half as large, or one less where `one_less`.
  void tell_of_kept(const Dim& axis, std::int64_t literal, bool one_less = false) const {
    const auto before = freed(axis) ? frozen(axis, sizes()).constant() : std::nullopt;
    if (!before || *before < 2 * kLeastTelling) return;
    const bool half = literal == *before / 2 || literal == (*before + 1) / 2;
    if (!half && !(one_less && literal == *before - 1)) return;
    for (const std::string& symbol : freed_symbols(axis, sizes()))
      keep_number(symbol, fmt::format("a literal {} of {} stays as it is, though it may be {} the freed size '{}' ({})",
                                      literal, name, half ? "half of" : "one less than", axis.text(), *before));
  }
  // A literal of a shape or of a position along an axis, which stays, that is a half or a multiple of a freed size.
  void tell_of_shares(const Dim& literal) const {
    const auto number = literal.constant();
    if (!number || *number < 2) return;
    for (const auto& [symbol, size] : sizes()) {
      constexpr std::int64_t kMostTimes = 16;
      if (size < kLeastTelling || *number == size || *number / size > kMostTimes) continue;
      const bool half = *number == size / 2 || *number == size / 2 + size % 2;
      const bool multiple = *number % size == 0;
      if (half || multiple)
        note(symbol, fmt::format("a literal {} of {} stays as it is, though it may come of the freed size '{}'",
                                 *number, name, symbol));
    }
  }
};

std::optional<Shape> shape_in(const Arg* arg);
void set_shape(Arg& arg, Shape shape);

// Takes a literal of an axis for the size that it was, of several that of this axis.
bool assume_along(const FreeCall& call, const Dim& source, Dim& literal);

// Shapes of reshapes, expansions and repeats, new tensors, resampling.
void free_reshape(const FreeCall& call, std::string_view parameter);
void free_expansion(const FreeCall& call, std::string_view parameter, bool repeats);
void free_new(const FreeCall& call, std::string_view parameter, std::size_t position);
void free_resampling(const FreeCall& call);

// What stands beside a size that was 1 and is free is repeated to it: what is joined, gathered or scattered, and states
// of recurrent layers.
void repeat_joined(const FreeCall& call, bool stacked);
void repeat_index(const FreeCall& call);
void repeat_states(const FreeCall& call);
// Products of stacks of matrices that were as many.
void repeat_matrices(const FreeCall& call);

}  // namespace taper::freeing
