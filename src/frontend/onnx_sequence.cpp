// ONNX's sequences and optionals, where their lengths are known: they are gone when the file is read.
#include "frontend/onnx_importer.h"

namespace taper::onnx_reader {
namespace {

using Slots = std::vector<Slot>;

std::shared_ptr<const Slots> sequence_of(Call& call, std::size_t i) {
  const auto& sequence = call.has(i) ? call.slot(i).sequence : nullptr;
  if (sequence == nullptr && !call.failed()) call.fail(fmt::format("input {} is no sequence of known length", i));
  return sequence;
}

Slot slot_of(Slots content) {
  Slot slot;
  slot.sequence = std::make_shared<const Slots>(std::move(content));
  return slot;
}

Slot slot_of(Value* value) {
  Slot slot;
  slot.value = value;
  return slot;
}

// A position that counts from the back where it is negative; the end is one where something is inserted.
std::optional<std::size_t> position(Call& call, std::size_t i, std::size_t size, bool or_end) {
  const std::vector<std::int64_t> at = call.integers_of(i);
  if (call.failed()) return std::nullopt;
  const auto count = static_cast<std::int64_t>(size);
  if (at.size() != 1 || at[0] < -count || at[0] >= count + (or_end ? 1 : 0)) {
    call.fail(fmt::format("a position outside of the {} entries", size));
    return std::nullopt;
  }
  return static_cast<std::size_t>(at[0] < 0 ? at[0] + count : at[0]);
}

void read_construct(Call& call) {
  Slots content;
  for (std::size_t i = 0; i < call.inputs(); ++i) content.push_back(call.slot(i));
  call.set(0, slot_of(std::move(content)));
}

void read_empty(Call& call) {
  call.ignore({"dtype"});
  call.set(0, slot_of(Slots{}));
}

void read_insert(Call& call) {
  const auto sequence = sequence_of(call, 0);
  if (sequence == nullptr) return;
  Slots content = *sequence;
  std::size_t at = content.size();
  if (call.has(2)) {
    const auto given = position(call, 2, content.size(), true);
    if (!given) return;
    at = *given;
  }
  content.insert(content.begin() + static_cast<std::ptrdiff_t>(at), call.slot(1));
  call.set(0, slot_of(std::move(content)));
}

void read_erase(Call& call) {
  const auto sequence = sequence_of(call, 0);
  if (sequence == nullptr) return;
  Slots content = *sequence;
  if (content.empty()) return call.fail("the sequence is empty");
  std::size_t at = content.size() - 1;
  if (call.has(1)) {
    const auto given = position(call, 1, content.size(), false);
    if (!given) return;
    at = *given;
  }
  content.erase(content.begin() + static_cast<std::ptrdiff_t>(at));
  call.set(0, slot_of(std::move(content)));
}

void read_at(Call& call) {
  const auto sequence = sequence_of(call, 0);
  if (sequence == nullptr) return;
  if (const auto at = position(call, 1, sequence->size(), false)) call.set(0, (*sequence)[*at]);
}

void read_length(Call& call) {
  if (const auto sequence = sequence_of(call, 0))
    call.set(0, call.number(static_cast<double>(sequence->size()), DType::i64));
}

void read_concat(Call& call) {
  const std::int64_t axis = call.integer("axis", 0);
  const bool stacks = call.flag("new_axis", false);
  const auto sequence = sequence_of(call, 0);
  if (sequence == nullptr) return;
  std::vector<Value*> parts;
  for (const Slot& slot : *sequence) {
    Value* part = call.importer.materialize(call.build, slot);
    parts.push_back(stacks ? call.unsqueeze(part, {axis}) : part);
  }
  if (parts.empty()) return call.fail("the sequence is empty");
  call.set(0, parts.size() == 1 ? parts[0] : call.build("concat", parts, {{"dim", axis}}, call.name()));
}

void read_split(Call& call) {
  const Shape shape = call.shape(0);
  const std::int64_t axis = call.axis(call.integer("axis", 0), shape.size());
  const bool keeps = call.flag("keepdims", true);
  if (call.failed()) return;
  const auto size = shape[static_cast<std::size_t>(axis)].constant();
  if (!size) return call.fail("an axis of open size");
  std::vector<std::int64_t> lengths;
  if (!call.has(1)) {
    if (*size > 4096) return call.fail(fmt::format("{} entries", *size));
    lengths.assign(static_cast<std::size_t>(*size), 1);
  } else {
    const auto known = call.known(1);
    const std::vector<std::int64_t> given = call.integers_of(1);
    if (call.failed()) return;
    lengths = given;
    if (known->shape.empty()) {
      lengths.clear();
      if (given[0] < 1 || *size / given[0] > 4096) return call.fail(fmt::format("parts of {}", given[0]));
      for (std::int64_t at = 0; at < *size; at += given[0]) lengths.push_back(std::min(given[0], *size - at));
    }
  }
  Slots content;
  std::int64_t start = 0;
  for (const std::int64_t length : lengths) {
    if (length < 0 || length > *size - start) return call.fail("the parts are longer than the axis");
    Value* part = call.slice(call.x(0), axis, start, Dim(start + length));
    content.push_back(slot_of(!call.has(1) && !keeps ? call.squeeze(part, {axis}) : part));
    start += length;
  }
  call.set(0, slot_of(std::move(content)));
}

// The body for each entry of the first sequence.
void read_map(Call& call) {
  const onnx::GraphProto* body = call.graph("body");
  const auto sequence = sequence_of(call, 0);
  if (call.failed()) return;
  if (body->input_size() != static_cast<int>(call.inputs())) return call.fail("the body has another number of inputs");
  std::vector<Slots> results(static_cast<std::size_t>(body->output_size()));
  for (std::size_t entry = 0; entry < sequence->size(); ++entry) {
    Scope inner;
    inner.outer = call.importer.scope();
    inner.build = &call.build;
    for (std::size_t i = 0; i < call.inputs(); ++i) {
      Slot slot = call.slot(i);
      if (slot.sequence != nullptr) {
        if (slot.sequence->size() != sequence->size()) return call.fail("sequences of different lengths");
        slot = (*slot.sequence)[entry];
      }
      inner.slots.emplace(body->input(static_cast<int>(i)).name(), std::move(slot));
    }
    auto computed = call.importer.read_subgraph(*body, inner);
    if (!computed) return call.build.set_error(std::move(computed).error());
    for (std::size_t i = 0; i < computed->size(); ++i) results[i].push_back((*computed)[i]);
  }
  for (std::size_t i = 0; i < results.size(); ++i) call.set(i, slot_of(std::move(results[i])));
}

// ------------------------------------------------------------------------------------------------------------ optional

void read_optional(Call& call) {
  call.ignore({"type"});
  Slot slot;
  if (call.has(0))
    slot = call.slot(0);
  else
    slot.absent_optional = true;
  call.set(0, std::move(slot));
}

void read_has_element(Call& call) {
  const bool has = call.has(0) && !call.slot(0).absent_optional;
  call.set(0, call.number(has ? 1 : 0, DType::boolean));
}

void read_get_element(Call& call) {
  if (call.slot(0).absent_optional) return call.fail("the optional is empty");
  call.set(0, call.slot(0));
}

}  // namespace

std::vector<Row> sequence_rows() {
  return {
      {.op = "SequenceConstruct", .since = 11, .read = read_construct},
      {.op = "SequenceEmpty", .operands = 0, .since = 11, .read = read_empty},
      {.op = "SequenceInsert", .operands = 2, .since = 11, .read = read_insert},
      {.op = "SequenceErase", .since = 11, .read = read_erase},
      {.op = "SequenceAt", .operands = 2, .since = 11, .read = read_at},
      {.op = "SequenceLength", .since = 11, .read = read_length},
      {.op = "ConcatFromSequence", .since = 11, .read = read_concat},
      {.op = "SplitToSequence", .since = 11, .read = read_split},
      {.op = "SequenceMap", .since = 17, .read = read_map},
      {.op = "Optional", .operands = 0, .since = 15, .read = read_optional},
      {.op = "OptionalHasElement", .operands = 0, .since = 15, .read = read_has_element},
      {.op = "OptionalGetElement", .since = 15, .read = read_get_element},
  };
}

}  // namespace taper::onnx_reader
