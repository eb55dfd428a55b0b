// Literals of shapes that follow from freed sizes.
#include <algorithm>

#include "frontend/free_call.h"

namespace taper::freeing {

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

void free_reshape(const FreeCall& call, std::string_view parameter) {
  const Shape* from = call.self();
  Arg* arg = call.argument(parameter, 1);
  const auto to = shape_in(arg);
  if (from == nullptr || !to) return;
  if (std::ranges::none_of(*from, [&](const Dim& dim) { return call.freed(dim); })) return;
  if (auto result = freed_reshape(*from, *to, call.freeing)) set_shape(*arg, std::move(*result));
}

// The shape of what a recurrent layer begins with, [layers * directions, batch, features]: only its second axis may be
// a batch. Whether that is free, so that nothing else is to be done.
static bool free_state(const FreeCall& call, Shape& shape) {
  if (!call.freeing.makes_state || shape.size() != 3) return false;
  std::vector<Dim> batches = call.sizes_for(shape[1]);
  std::erase_if(batches, [&](const Dim& size) { return !call.is_batch(size); });
  if (batches.size() != 1 || shape[1].is(1)) return false;
  shape[1] = batches[0];
  return true;
}

// Sizes that the operand has already stay as they are; a literal for a size of 1 can only be told by its number.
void free_expansion(const FreeCall& call, std::string_view parameter, bool repeats) {
  const Shape* from = call.self();
  Arg* arg = call.argument(parameter, 1);
  auto to = shape_in(arg);
  if (from == nullptr || !to || to->size() < from->size()) return;
  if (!repeats && free_state(call, *to)) return set_shape(*arg, std::move(*to));
  const std::size_t added = to->size() - from->size();
  for (std::size_t axis = 0; axis < to->size(); ++axis) {
    const bool is_new = axis < added;
    if (!is_new && !repeats && call.freed((*from)[axis - added]))
      (*to)[axis] = (*from)[axis - added];
    else if ((is_new || (*from)[axis - added].is(1)) && !call.is_left((*to)[axis], axis, {from, &*to}))
      if (!call.assume((*to)[axis])) call.tell_of_shares((*to)[axis]);
  }
  set_shape(*arg, std::move(*to));
}

// One more than the freed size in front of it: masks of steps and one more, as decoders shift them. Never of a batch,
// nor where the program can be read without it (Freeing::takes_one_more).
static bool assume_one_more(const FreeCall& call, const Dim& beside, Dim& literal) {
  const auto before = call.freed(beside) && beside.as_symbol() ? frozen(beside, call.sizes()).constant() : std::nullopt;
  if (!before || *before < kLeastTelling || !literal.is(*before + 1) || call.is_batch(beside)) return false;
  call.freeing.has_one_more = true;
  if (!call.freeing.takes_one_more) {
    call.note(beside, fmt::format("a literal {} of {} stays as it is, though it may be the freed size '{}' and one",
                                  literal.text(), call.name, beside.text()));
    return false;
  }
  call.note(beside, fmt::format("a literal {} of {} is taken as the freed size '{}' and one", literal.text(), call.name,
                                beside.text()));
  literal = beside + 1;
  return true;
}

// All sizes of a new tensor.
void free_new(const FreeCall& call, std::string_view parameter, std::size_t position) {
  Arg* arg = call.argument(parameter, position);
  auto shape = shape_in(arg);
  if (!shape) return;
  if (free_state(call, *shape)) return set_shape(*arg, std::move(*shape));
  bool any = false;
  for (std::size_t axis = 0; axis < shape->size(); ++axis) {
    Dim& dim = (*shape)[axis];
    if (call.is_left(dim, axis, {&*shape})) continue;
    const bool assumed = call.assume(dim) || (axis > 0 && assume_one_more(call, (*shape)[axis - 1], dim));
    any = any || assumed;
    if (!assumed) call.tell_of_shares(dim);
  }
  if (any) set_shape(*arg, std::move(*shape));
}

// Of what was as large, only what comes of the same sizes as the axis, if there is such; never a batch.
bool assume_along(const FreeCall& call, const Dim& source, Dim& literal) {
  std::vector<Dim> candidates = call.sizes_for(literal);
  if (std::ranges::any_of(candidates, [&](const Dim& size) { return call.is_batch(size); })) return false;
  if (candidates.size() < 2) return call.assume(literal);
  const std::vector<std::string> symbols = freed_symbols(source, call.sizes());
  std::erase_if(candidates, [&](const Dim& size) { return freed_symbols(size, call.sizes()) != symbols; });
  if (candidates.size() != 1) return call.assume(literal);
  call.note(candidates[0], fmt::format("a literal {} of {} is taken as the freed size '{}'", literal.text(), call.name,
                                       candidates[0].text()));
  literal = candidates[0];
  return true;
}

// Heights and widths of what is resampled: of two freed sizes that were equal, an axis has the one that it holds.
void free_resampling(const FreeCall& call) {
  const Shape* from = call.self();
  Arg* arg = call.argument("output_size", 1);
  auto shape = shape_in(arg);
  if (from == nullptr || !shape || shape->size() > from->size()) return;
  for (std::size_t i = 0; i < shape->size(); ++i) {
    const Dim& source = (*from)[from->size() - shape->size() + i];
    std::vector<std::string> symbols = freed_symbols(source, call.sizes());
    std::erase_if(symbols, [&](const std::string& symbol) { return !(*shape)[i].is(call.sizes().at(symbol)); });
    if (symbols.size() == 1) {
      call.note(symbols[0], fmt::format("a literal {} of {} is taken as the freed size '{}'", (*shape)[i].text(),
                                        call.name, symbols[0]));
      (*shape)[i] = Dim::symbol(symbols[0]);
    } else if (!assume_along(call, source, (*shape)[i]) && call.freed(source)) {
      call.tell_of_shares((*shape)[i]);
      call.tell_of_kept(source, (*shape)[i].constant().value_or(0));
      call.note(source, fmt::format("{} gives a fixed size of {} along a freed axis", call.name, (*shape)[i].text()));
    }
  }
  set_shape(*arg, std::move(*shape));
}

}  // namespace taper::freeing
