#include "frontend/aten_packed.h"

#include <algorithm>
#include <array>

#include "frontend/aten_counts.h"

namespace taper::aten {
namespace {

// Whether the entries are each of 0, 1, ... once: the places that a sort of one axis gives.
bool is_permutation(const Value* value) {
  return value != nullptr && value->producer != nullptr && value->producer->op == "sort" && value->index == 1 &&
         value->type.shape.size() == 1;
}

bool counts_from_zero(const Value* value, const Dim& count) {
  if (value == nullptr || value->producer == nullptr || value->type.shape != Shape{count}) return false;
  const Node& node = *value->producer;
  if (node.op == "arange") return node.attrs.get<Shape>("start")[0].is(0) && node.attrs.integer("step") == 1;
  const auto known = constant_value(value);
  for (std::size_t i = 0; known && i < known->values.size(); ++i)
    if (known->values[i] != static_cast<double>(i)) return false;
  return known.has_value();
}

// Whether entry order[i] of `index` is i for each i: the inverse of a permutation, as invert_permutation makes it.
bool inverts(const Value* index, const Value* order) {
  if (!is_permutation(order) || index->producer == nullptr || index->producer->op != "scatter_elements") return false;
  const Node& node = *index->producer;
  return node.operands[1] == order && counts_from_zero(node.operands[2], order->type.shape[0]) &&
         node.operands[0]->type == order->type && node.attrs.text("reduction") == "none";
}

// The entries of an axis that `index`, one integer for each, names.
Value* entries(Builder& build, Value* x, std::size_t axis, Value* index) {
  return build("gather", {x, index}, {{"dim", static_cast<std::int64_t>(axis)}});
}

// The operand of a gather of an axis by such an index, else null.
Value* gathered_from(const Value* x, std::size_t axis, const Value* index) {
  if (x == nullptr || x->producer == nullptr || x->producer->op != "gather") return nullptr;
  const Node& node = *x->producer;
  return node.attrs.integer("dim") == static_cast<std::int64_t>(axis) && node.operands[1] == index ? node.operands[0]
                                                                                                   : nullptr;
}

// Which sequences, in packed order, have each step: bool [steps, B].
Value* steps_there(Builder& build, const PackedSequences& packed) {
  Value* lengths = in_packed_order(build, packed, packed.lengths, 0);
  Value* steps = arange(build, 0, 1, packed.steps, DType::i64);
  return build("less", {unsqueeze(build, steps, 1), unsqueeze(build, lengths, 0)});
}

// Where packed entries lie in [steps, B, ...], i64[P, 2].
Value* packed_places(Context& context, const PackedSequences& packed) {
  return places_of(context, steps_there(context.build, packed));
}

// How many steps the longest sequence has, and these steps, i64[longest].
Expected<Value*> steps_of_longest(Context& context, const PackedSequences& packed) {
  Builder& build = context.build;
  if (const auto known = constant_value(packed.lengths)) {
    if (known->values.empty()) return fail("no sequences");
    const auto [least, most] = std::ranges::minmax(known->values);
    if (least < 1) return fail("a sequence of no steps");
    if (const auto steps = packed.steps.constant(); steps && most > static_cast<double>(*steps))
      return fail("a sequence of {} steps in a batch of {}", most, *steps);
    return arange(build, 0, 1, Dim(static_cast<std::int64_t>(most)), DType::i64);
  }
  Value* most = reduce(build, "amax", packed.lengths, {0}, false);
  return measured_range(context, most, packed.steps);
}

// How many sequences have each step of the longest one: of the first step all.
Expected<Value*> batch_sizes_of(Context& context, PackedSequences& packed) {
  Builder& build = context.build;
  TAPER_ASSIGN(Value * steps, steps_of_longest(context, packed));
  TAPER_TRY(build.status());
  packed.longest = steps->type.shape[0];
  Value* next = build("add", {steps, integer_number(build, 1)});
  Value* there = build("less", {unsqueeze(build, next, 1), unsqueeze(build, packed.lengths, 0)});
  Value* behind_first = reduce(build, "sum", cast(build, there, DType::i64), {1}, false);
  Value* sizes = concat(build, {size_vector(build, {packed.batch}), behind_first}, 0);
  return slice(build, sizes, 0, 0, packed.longest);
}

// Where a program sorted the sequences by their lengths first, as it does for enforce_sorted=False, they are taken as
// they were: each is computed alone.
void undo_sort(PackedSequences& packed, Value*& x, std::size_t axis) {
  const Node* sort = packed.lengths->producer;
  if (sort == nullptr || sort->op != "sort" || packed.lengths->index != 0) return;
  Value* unsorted = gathered_from(x, axis, sort->results[1]);
  if (unsorted == nullptr) return;
  x = unsorted;
  packed.order = sort->results[1];
  packed.lengths = sort->operands[0];
}

// Operators that keep the batch where it is in their first operand, or, of a table, in its index.
constexpr std::array<std::string_view, 3> kKeepingBatch = {"cast", "sort", "gather"};

// The option that names the sizes of the input which a value holds, with B at an axis; else what it would be.
std::string shape_option(const Graph& graph, const Value* x, std::size_t axis, std::string_view otherwise) {
  constexpr int kMostSteps = 16;
  for (int i = 0; i < kMostSteps && x->producer != nullptr; ++i) {
    const Node& node = *x->producer;
    if (std::ranges::find(kKeepingBatch, node.op) == kKeepingBatch.end()) break;
    x = node.operands[node.op == "gather" && constant_of(node.operands[0]) != nullptr ? 1 : 0];
  }
  const Shape& shape = x->type.shape;
  if (std::ranges::find(graph.inputs(), x) == graph.inputs().end() || axis >= shape.size())
    return std::string(otherwise);
  std::string sizes;
  for (std::size_t k = 0; k < shape.size(); ++k)
    sizes += (k == 0 ? "" : ",") + (k == axis ? "B" : shape[k].constant() ? shape[k].text() : fmt::format("T{}", k));
  return fmt::format("--input-shape {}={}", x->name, sizes);
}

Status check_batch(const Context& context, const PackedSequences& packed, const Value* x, std::size_t axis) {
  TAPER_TRY(context.build.status());
  const Shape& shape = x->type.shape;
  if (shape.size() >= 2 && shape_of(packed.lengths) == Shape{shape[axis]}) return {};
  const Graph& graph = context.build.graph();
  return fail_with_hint(
      fmt::format("lengths of {} for sequences of {}", type_text(packed.lengths->type), type_text(x->type)),
      fmt::format("name axes that are as long alike: {} {}", shape_option(graph, x, axis, "--input-shape x=B,T,5"),
                  shape_option(graph, packed.lengths, 0, "--input-shape lengths=B")));
}

Expected<Arg> pack(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("input");
  const std::size_t axis = call.flag("batch_first") ? 0 : 1;
  const Shape shape = x->type.shape;
  PackedSequences packed;
  packed.lengths = cast(build, call.tensor("lengths"), DType::i64);
  TAPER_TRY(check_batch(call.context, packed, x, axis));
  undo_sort(packed, x, axis);
  TAPER_TRY(check_batch(call.context, packed, x, axis));
  packed.batch = shape[axis];
  packed.steps = shape[1 - axis];
  Value* padded = axis == 0 ? x : transpose(build, x, 0, 1);
  TAPER_ASSIGN(Value * batch_sizes, batch_sizes_of(call.context, packed));
  packed.batch_sizes = batch_sizes;
  Value* data = data_of(call.context, packed, padded);
  TAPER_TRY(build.status());
  packed.contents.back().zeros_behind = false;
  call.context.packed.push_back(std::move(packed));
  return fresh_list({data, batch_sizes});
}

// [B, steps, ...] with as many steps as `length` says, which is no less than the longest sequence has.
Value* with_steps(Context& context, const PackedSequences& packed, Value* padded, const Dim& length, const Arg& fill) {
  Builder& build = context.build;
  if (length == packed.steps) return padded;
  if (length == packed.longest || known_less_equal(context, length, packed.steps) == true)
    return slice(build, padded, 1, 0, length);
  const bool longer = known_less_equal(context, packed.steps, length) == true;
  Shape behind = shape_of(padded);
  behind[1] = longer ? length - packed.steps : length;
  Value* filled = concat(build, {padded, full(build, behind, fill, padded->type.dtype)}, 1);
  return longer ? filled : slice(build, filled, 1, 0, length);
}

Expected<Arg> pad_packed(Call& call) {
  Builder& build = call.build;
  TAPER_ASSIGN(PackedSequences * packed, packed_by(call.context, call.tensor("batch_sizes")));
  Value* data = call.tensor("data");
  TAPER_ASSIGN(Value * padded, padded_of(call.context, *packed, data));
  const Arg& fill = call.arg("padding_value");
  const Dim* whole = fill.as<Dim>();
  const double* real = fill.as<double>();
  const bool zero = (whole != nullptr && whole->is(0)) || (real != nullptr && *real == 0);
  const auto content = std::ranges::find(packed->contents, data, &PackedSequences::Content::data);
  if (!zero || !content->zeros_behind) {
    Value* steps = arange(build, 0, 1, packed->steps, DType::i64);
    Value* there = build("less", {unsqueeze(build, steps, 0), unsqueeze(build, packed->lengths, 1)});
    Shape wide = {packed->batch, packed->steps};
    wide.resize(padded->type.shape.size(), Dim(1));
    padded = build("where", {reshape(build, there, wide), padded, number(build, fill, padded->type.dtype)});
  }
  const Dim length = call.size("total_length");
  padded =
      with_steps(call.context, *packed, padded, length.constant().value_or(1) > 0 ? length : packed->longest, fill);
  const bool batch_first = call.flag("batch_first");
  if (!batch_first) padded = transpose(build, padded, 0, 1);
  return fresh_list({in_packed_order(build, *packed, padded, batch_first ? 0 : 1),
                     in_packed_order(build, *packed, packed->lengths, 0)});
}

// Sequences [steps, ...] filled up to the longest of them: [steps, B, ...], or with the batch first.
Expected<Arg> pad_sequence(Call& call) {
  Builder& build = call.build;
  std::vector<Value*> sequences = call.tensors("sequences");
  TAPER_TRY(build.status());
  if (sequences.empty()) return fail("no sequences");
  const std::string& side = *call.arg("padding_side").as<std::string>();
  if (side != "right" && side != "left") return fail("the padding side '{}', expected right or left", side);
  Dim longest = 0;
  for (const Value* sequence : sequences) {
    if (shape_of(sequence).empty()) return fail("a sequence of no axes");
    longest = larger(call.context, longest, shape_of(sequence)[0]);
  }
  for (Value*& sequence : sequences) {
    Shape missing = shape_of(sequence);
    missing[0] = longest - missing[0];
    if (!missing[0].is(0)) {
      Value* filling = full(build, missing, call.arg("padding_value"), sequence->type.dtype);
      sequence = concat(build, side == "right" ? std::vector{sequence, filling} : std::vector{filling, sequence}, 0);
    }
    sequence = unsqueeze(build, sequence, call.flag("batch_first") ? 0 : 1);
    TAPER_TRY(build.status());
  }
  return fresh(concat(build, std::move(sequences), call.flag("batch_first") ? 0 : 1));
}

}  // namespace

Expected<PackedSequences*> packed_by(Context& context, const Value* batch_sizes) {
  const auto found = std::ranges::find(context.packed, batch_sizes, &PackedSequences::batch_sizes);
  if (found != context.packed.end()) return &*found;
  return fail_with_hint("packed sequences that the program did not pack itself",
                        "make them by pack_padded_sequence where they are used: not inside of a branch or loop, nor as "
                        "an input");
}

Expected<Value*> padded_of(Context& context, PackedSequences& packed, Value* data) {
  const auto known = std::ranges::find(packed.contents, data, &PackedSequences::Content::data);
  if (known != packed.contents.end()) return known->padded;
  Builder& build = context.build;
  Value* places = packed_places(context, packed);
  TAPER_TRY(build.status());
  if (shape_of(data).empty() || shape_of(data)[0] != places->type.shape[0])
    return fail("packed data of {}, expected {} entries", type_text(data->type), places->type.shape[0].text());
  Shape shape = data->type.shape;
  shape[0] = packed.batch;
  shape.insert(shape.begin(), packed.steps);
  Value* nothing = full(build, shape, Arg(Dim(0)), data->type.dtype);
  Value* padded = transpose(build, build("scatter_nd", {nothing, places, data}), 0, 1);
  padded = in_given_order(build, packed, padded, 0);
  TAPER_TRY(build.status());
  packed.contents.push_back({data, padded, true});
  return padded;
}

Value* data_of(Context& context, PackedSequences& packed, Value* padded) {
  Builder& build = context.build;
  Value* steps_first = in_packed_order(build, packed, transpose(build, padded, 0, 1), 1);
  Value* data = build("gather_nd", {steps_first, packed_places(context, packed)});
  packed.contents.push_back({data, padded, true});
  return data;
}

Value* in_packed_order(Builder& build, const PackedSequences& packed, Value* x, std::size_t axis) {
  return packed.order == nullptr ? x : entries(build, x, axis, packed.order);
}

Value* in_given_order(Builder& build, const PackedSequences& packed, Value* x, std::size_t axis) {
  if (packed.order == nullptr) return x;
  if (Value* given = gathered_from(x, axis, packed.order)) return given;
  return entries(build, x, axis, put_in_order(build, packed.order, arange(build, 0, 1, packed.batch, DType::i64)));
}

Value* put_back(const Value* x, std::size_t axis, const Value* index) {
  if (x == nullptr || index == nullptr || x->producer == nullptr || x->producer->op != "gather") return nullptr;
  Value* order = x->producer->operands[1];
  return inverts(index, order) ? gathered_from(x, axis, order) : nullptr;
}

std::vector<Overload> packed_overloads() {
  return {
      {"_pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first) -> (Tensor, Tensor)", pack},
      {"_pad_packed_sequence(Tensor data, Tensor batch_sizes, bool batch_first, Scalar padding_value, SymInt "
       "total_length) -> (Tensor, Tensor)",
       pad_packed},
      {"pad_sequence(Tensor[] sequences, bool batch_first=False, float padding_value=0., str "
       "padding_side='right') -> Tensor",
       pad_sequence},
  };
}

}  // namespace taper::aten
