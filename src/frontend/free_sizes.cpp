#include "frontend/free_sizes.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace taper {

Dim frozen(const Dim& dim, const FrozenSizes& sizes) {
  if (dim.constant()) return dim;
  std::map<std::string, Dim, std::less<>> replacements;
  for (const auto& [symbol, size] : sizes) replacements.emplace(symbol, size);
  return substitute(dim, replacements);
}

namespace {

using aten::Arg;

// Whether the dimension holds one of the freed symbols.
bool is_freed(const Dim& dim, const FrozenSizes& sizes) {
  return std::ranges::any_of(symbols_of(dim), [&](const std::string& symbol) { return sizes.contains(symbol); });
}

// The call under way.
struct FreeCall {
  std::string_view name;  // without the overload
  std::vector<aten::NamedArg>& arguments;
  const FrozenSizes& sizes;
  std::vector<std::string>& assumptions;

  Arg* argument(std::string_view called, std::size_t position) const {
    for (aten::NamedArg& argument : arguments)
      if (argument.name == called) return &argument.arg;
    return position < arguments.size() && arguments[position].name.empty() ? &arguments[position].arg : nullptr;
  }
  const Shape* self() const {
    const auto* tensor = arguments.empty() ? nullptr : arguments[0].arg.as<aten::TensorPtr>();
    return tensor == nullptr ? nullptr : &(*tensor)->type().shape;
  }
  // The one symbol that was frozen at this size; nothing if none was, or if several were.
  std::optional<Dim> symbol_for(const Dim& literal) const {
    std::optional<Dim> found;
    for (const auto& [symbol, size] : sizes) {
      if (!literal.is(size)) continue;
      if (found) return std::nullopt;
      found = Dim::symbol(symbol);
    }
    return found;
  }
  // Takes a literal for the size by its number alone.
  bool assume(Dim& literal) const {
    auto symbol = symbol_for(literal);
    if (!symbol) return false;
    std::string sentence =
        fmt::format("a literal {} of {} is taken as the freed size '{}'", literal.text(), name, symbol->text());
    if (std::ranges::find(assumptions, sentence) == assumptions.end()) assumptions.push_back(std::move(sentence));
    literal = std::move(*symbol);
    return true;
  }
};

std::optional<Shape> shape_in(const Arg* arg) {
  const auto* list = arg == nullptr ? nullptr : arg->as<Arg::List>();
  if (list == nullptr) return std::nullopt;
  Shape shape;
  for (const Arg& entry : *list) {
    const Dim* dim = entry.as<Dim>();
    if (dim == nullptr) return std::nullopt;
    shape.push_back(*dim);
  }
  return shape;
}

void set_shape(Arg& arg, Shape shape) {
  Arg::List list;
  for (Dim& dim : shape) list.emplace_back(std::move(dim));
  arg.value = std::move(list);
}

// A reshape keeps the order of elements: both shapes fall apart into the shortest runs of axes with equal products. In
// each run that has a freed size, one size of the target takes what the others leave.
void free_reshape(const FreeCall& call, std::string_view parameter) {
  const Shape* from = call.self();
  Arg* arg = call.argument(parameter, 1);
  auto to = shape_in(arg);
  if (from == nullptr || !to) return;
  if (std::ranges::none_of(*from, [&](const Dim& dim) { return is_freed(dim, call.sizes); })) return;
  Shape before;
  for (const Dim& dim : *from) before.push_back(frozen(dim, call.sizes));
  // The size that is left to the operator, as it was.
  const auto open = std::ranges::find(*to, Dim(-1));
  if (open != to->end()) {
    *open = 1;
    const auto size = divide_exactly(element_count(before), element_count(*to));
    if (!size) return;
    *open = *size;
  }
  Shape result = *to;
  std::size_t i = 0, j = 0;
  while (i < from->size() && j < to->size()) {
    std::size_t i_end = i + 1, j_end = j + 1;
    Dim from_product = before[i], to_product = (*to)[j];
    while (from_product != to_product) {
      const auto a = from_product.constant(), b = to_product.constant();
      const bool grow_to = a && b ? *b < *a : j_end < to->size();
      if (grow_to && j_end < to->size())
        to_product = to_product * (*to)[j_end++];
      else if (i_end < from->size())
        from_product = from_product * before[i_end++];
      else
        return;
    }
    Dim freed = 1;
    for (std::size_t axis = i; axis < i_end; ++axis) freed = freed * (*from)[axis];
    if (is_freed(freed, call.sizes)) {
      // From the front, as batches and steps come before features.
      bool placed = false;
      for (std::size_t axis = j; axis < j_end && !placed; ++axis) {
        Dim others = 1;
        for (std::size_t other = j; other < j_end; ++other)
          if (other != axis) others = others * (*to)[other];
        const auto quotient = divide_exactly(freed, others);
        if (!quotient || frozen(*quotient, call.sizes) != (*to)[axis]) continue;
        result[axis] = *quotient;
        placed = true;
      }
      // Several freed sizes in one run stand side by side, in the order of the operand.
      std::size_t source = i;
      for (std::size_t axis = j; axis < j_end && !placed; ++axis)
        for (std::size_t candidate = source; candidate < i_end; ++candidate)
          if (before[candidate] == (*to)[axis]) {
            result[axis] = (*from)[candidate];
            source = candidate + 1;
            break;
          }
    }
    i = i_end;
    j = j_end;
  }
  set_shape(*arg, std::move(result));
}

// Sizes that the operand has already stay as they are; a literal for a size of 1 can only be told by its number.
void free_expansion(const FreeCall& call) {
  const Shape* from = call.self();
  Arg* arg = call.argument("size", 1);
  auto to = shape_in(arg);
  if (from == nullptr || !to || to->size() < from->size()) return;
  const std::size_t added = to->size() - from->size();
  for (std::size_t axis = 0; axis < to->size(); ++axis) {
    if (axis >= added && is_freed((*from)[axis - added], call.sizes))
      (*to)[axis] = (*from)[axis - added];
    else if (axis < added || (*from)[axis - added].is(1))
      call.assume((*to)[axis]);
  }
  set_shape(*arg, std::move(*to));
}

// An end at the frozen size or beyond it is the end of a freed axis; on other axes (tables of positions) it is the
// length.
void free_slice(const FreeCall& call) {
  const Shape* from = call.self();
  Arg* end = call.argument("end", 3);
  const Arg* dim = call.argument("dim", 1);
  const Dim* literal = end == nullptr ? nullptr : end->as<Dim>();
  if (from == nullptr || literal == nullptr || !literal->constant()) return;
  const auto axis = dim != nullptr && dim->as<Dim>() != nullptr ? dim->as<Dim>()->constant() : 0;
  const auto rank = static_cast<std::int64_t>(from->size());
  if (!axis || *axis < -rank || *axis >= rank) return;
  const Dim& size = (*from)[static_cast<std::size_t>(*axis < 0 ? *axis + rank : *axis)];
  if (is_freed(size, call.sizes)) {
    const auto before = frozen(size, call.sizes).constant();
    if (before && *literal->constant() >= *before) end->value = size;
    return;
  }
  Dim length = *literal;
  if (!size.is(*length.constant()) && call.assume(length)) end->value = std::move(length);
}

// All sizes of a new tensor, or of one that is resampled.
void free_new(const FreeCall& call, std::string_view parameter, std::size_t position) {
  Arg* arg = call.argument(parameter, position);
  auto shape = shape_in(arg);
  if (!shape) return;
  bool any = false;
  for (Dim& dim : *shape) any = call.assume(dim) || any;
  if (any) set_shape(*arg, std::move(*shape));
}

void free_range(const FreeCall& call) {
  // arange(end), arange(start, end, ...): the exported form names its arguments.
  Arg* end = call.argument("end", call.arguments.size() > 1 && call.arguments[1].name.empty() ? 1 : 0);
  const Dim* literal = end == nullptr ? nullptr : end->as<Dim>();
  if (literal == nullptr) return;
  Dim length = *literal;
  if (call.assume(length)) end->value = std::move(length);
}

// The size that a sum is divided by.
// Numbers that may come from a size and stay as they are. Small ones are too often something else.
void tell_of_others(const FreeCall& call) {
  constexpr std::int64_t kLeast = 4;
  const auto tell = [&](const Arg& arg) {
    const Dim* integer = arg.as<Dim>();
    const double* real = arg.as<double>();
    for (const auto& [symbol, size] : call.sizes) {
      if (size < kLeast) continue;
      const auto number = static_cast<double>(size);
      const auto near = [&](double other) { return std::abs(*real - other) <= 1e-6 * std::abs(other); };
      const bool same = integer != nullptr && integer->is(size);
      if (!same && (real == nullptr ||
                    !(near(number) || near(1 / number) || near(std::sqrt(number)) || near(1 / std::sqrt(number)))))
        continue;
      std::string sentence =
          same ? fmt::format("a literal {} of {} stays as it is, though the freed size '{}' was as large", size,
                             call.name, symbol)
               : fmt::format("a literal {} of {} stays as it is, though it may come of the freed size '{}'", *real,
                             call.name, symbol);
      if (std::ranges::find(call.assumptions, sentence) == call.assumptions.end())
        call.assumptions.push_back(std::move(sentence));
    }
  };
  for (const aten::NamedArg& argument : call.arguments) {
    tell(argument.arg);
    if (const auto* list = argument.arg.as<Arg::List>()) std::ranges::for_each(*list, tell);
  }
}

// The size that a sum is divided by.
void free_divisor(const FreeCall& call) {
  Arg* arg = call.argument("other", 1);
  const Dim* literal = arg == nullptr ? nullptr : arg->as<Dim>();
  if (literal == nullptr) return tell_of_others(call);
  Dim size = *literal;
  if (call.assume(size)) arg->value = std::move(size);
}

}  // namespace

void free_literals(std::string_view name, std::vector<aten::NamedArg>& arguments, const FrozenSizes& sizes,
                   std::vector<std::string>& assumptions) {
  if (sizes.empty()) return;
  const FreeCall call{name.substr(0, name.find('.')), arguments, sizes, assumptions};
  if (call.name == "view" || call.name == "_unsafe_view" || call.name == "view_copy")
    free_reshape(call, "size");
  else if (call.name == "reshape")
    free_reshape(call, "shape");
  else if (call.name == "expand" || call.name == "expand_copy" || call.name == "broadcast_to")
    free_expansion(call);
  else if (call.name == "slice" || call.name == "slice_copy")
    free_slice(call);
  else if (call.name == "zeros" || call.name == "ones" || call.name == "full" || call.name == "empty")
    free_new(call, "size", 0);
  else if (call.name == "new_zeros" || call.name == "new_ones" || call.name == "new_full" || call.name == "new_empty")
    free_new(call, "size", 1);
  else if (call.name == "arange")
    free_range(call);
  else if (call.name.starts_with("upsample_") || call.name.starts_with("_upsample_"))
    free_new(call, "output_size", 1);
  else if (call.name == "div")
    free_divisor(call);
  else
    tell_of_others(call);
}

}  // namespace taper
