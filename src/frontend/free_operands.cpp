// Operands that were made for a size of 1 which is free.
#include <algorithm>

#include "frontend/aten_table.h"
#include "frontend/free_call.h"

namespace taper::freeing {
namespace {

// Repeats axes of size 1 to freed sizes that were 1 and stand at the same axis of another operand: so was what a
// program made for a batch of 1.
void repeat_operand(const FreeCall& call, Arg& arg, const Shape& beside, std::optional<std::size_t> except) {
  const auto* tensor = arg.as<aten::TensorPtr>();
  if (tensor == nullptr || (*tensor)->type().shape.size() != beside.size()) return;
  Shape wide = (*tensor)->type().shape;
  bool any = false;
  for (std::size_t axis = 0; axis < wide.size(); ++axis) {
    if (axis == except || !wide[axis].is(1) || !call.freed_one(beside[axis])) continue;
    wide[axis] = beside[axis];
    any = true;
    call.note(beside[axis], fmt::format("an operand of {} of size 1 is repeated to the freed size '{}'", call.name,
                                        beside[axis].text()));
  }
  if (!any) return;
  Value* content = (*tensor)->content(call.build);
  Value* repeated = call.build("expand", {content}, {{"shape", wide}});
  if (repeated != nullptr) arg.value = aten::Tensor::make(repeated);
}

}  // namespace

// Operands of a list that are joined: all but the joined axis is of one size.
void repeat_joined(const FreeCall& call, bool stacked) {
  Arg* arg = call.argument("tensors", 0);
  const auto* list = arg == nullptr ? nullptr : arg->as<Arg::List>();
  if (list == nullptr) return;
  Arg::List operands = *list;
  Shape beside;
  for (const Arg& operand : operands) {
    const auto* tensor = operand.as<aten::TensorPtr>();
    if (tensor == nullptr) return;
    const Shape& shape = (*tensor)->type().shape;
    if (beside.empty()) beside = shape;
    if (shape.size() != beside.size()) return;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
      if (call.freed_one(shape[axis])) beside[axis] = shape[axis];
  }
  std::optional<std::size_t> joined;
  if (!stacked) {
    const std::int64_t dim = call.argument("dim", 1) == nullptr ? 0 : call.integer("dim", 1).value_or(0);
    joined = static_cast<std::size_t>(dim < 0 ? dim + static_cast<std::int64_t>(beside.size()) : dim);
  }
  for (Arg& operand : operands) repeat_operand(call, operand, beside, joined);
  arg->value = std::move(operands);
}

// Entries are gathered from, and scattered into, the same places of all other axes.
void repeat_index(const FreeCall& call) {
  const auto at = call.axis(1);
  if (!at) return;
  const Shape beside = *call.self();
  for (const auto& [name, position] : {std::pair{"index", 2}, std::pair{"src", 3}})
    if (Arg* arg = call.argument(name, static_cast<std::size_t>(position))) repeat_operand(call, *arg, beside, at);
}

namespace {

// Zeros [runs, batch, features] where a state is zeros: its literals may have been taken for the batch's size, too.
bool start_anew(const FreeCall& call, Arg& state, std::int64_t runs, const Dim& batch) {
  const auto* tensor = state.as<aten::TensorPtr>();
  if (tensor == nullptr || (*tensor)->type().shape.size() != 3 || !call.freed(batch)) return false;
  const Type& type = (*tensor)->type();
  const auto features = frozen(type.shape[2], call.sizes()).constant();
  if (!features || !frozen(type.shape[0], call.sizes()).is(runs) || !aten::is_all_zeros((*tensor)->present()))
    return false;
  const Shape shape = {Dim(runs), batch, Dim(*features)};
  if (type.shape != shape) state.value = aten::Tensor::make(aten::full(call.build, shape, Arg(0.0), type.dtype));
  return true;
}

}  // namespace

// States of recurrent layers, [layers * directions, batch, features].
void repeat_states(const FreeCall& call) {
  const Shape* input = call.self();
  const Arg* batch_first = call.argument("batch_first", call.arguments.size() - 1);
  const bool* first = batch_first == nullptr ? nullptr : batch_first->as<bool>();
  Arg* states = call.argument("hx", 1);
  if (input == nullptr || input->size() != 3 || first == nullptr || states == nullptr) return;
  const Dim& batch = (*input)[*first ? 0 : 1];
  const Shape beside = {Dim(1), batch, Dim(1)};
  const Arg* bidirectional = call.argument("bidirectional", 7);
  const bool* both = bidirectional == nullptr ? nullptr : bidirectional->as<bool>();
  const std::int64_t runs = call.integer("num_layers", 4).value_or(0) * (both != nullptr && *both ? 2 : 1);
  const auto fit = [&](Arg& state) {
    if (!start_anew(call, state, runs, batch)) repeat_operand(call, state, beside, std::nullopt);
  };
  if (const auto* list = states->as<Arg::List>()) {
    Arg::List each = *list;
    std::ranges::for_each(each, fit);
    states->value = std::move(each);
  } else {
    fit(*states);
  }
}

// [c, m, k] beside [c x_0, k, n] where x_0 was 1: c matrices for each entry of the batch, or, as another reading, each
// of them for all entries (repeat_interleave).
void repeat_matrices(const FreeCall& call) {
  Arg* operands[] = {call.argument("self", 0), call.argument("mat2", 1)};
  Shape shapes[2];
  for (int i = 0; i < 2; ++i) {
    const auto* tensor = operands[i] == nullptr ? nullptr : operands[i]->as<aten::TensorPtr>();
    if (tensor == nullptr || (*tensor)->type().shape.size() != 3) return;
    shapes[i] = (*tensor)->type().shape;
  }
  for (int i = 0; i < 2; ++i) {
    const Dim &count = shapes[i][0], &beside = shapes[1 - i][0];
    const auto times = count.constant() && !count.is(0) ? divide_exactly(beside, count) : std::nullopt;
    if (!times || !call.freed_one(*times)) continue;
    Value* content = (*operands[i]->as<aten::TensorPtr>())->content(call.build);
    Shape wide = shapes[i];
    call.freeing.ambiguous = true;
    const std::ptrdiff_t place = call.freeing.reading == 1 ? 1 : 0;
    if (place == 1) {
      Shape apart = shapes[i];
      apart.insert(apart.begin() + 1, Dim(1));
      content = call.build("reshape", {content}, {{"shape", apart}});
      if (content == nullptr) return;
    }
    wide.insert(wide.begin() + place, *times);
    Value* repeated = call.build("expand", {content}, {{"shape", wide}});
    wide = shapes[i];
    wide[0] = beside;
    if (repeated != nullptr) repeated = call.build("reshape", {repeated}, {{"shape", wide}});
    if (repeated == nullptr) return;
    call.note(*times, fmt::format("an operand of {} of {} matrices is repeated to the freed size '{}'", call.name,
                                  count.text(), times->text()));
    operands[i]->value = aten::Tensor::make(repeated);
    return;
  }
}

}  // namespace taper::freeing
