// Passes over scans: what TFLite's loops should hold, and the loops themselves.
#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// A scan's operands and attributes by role.
struct Scan {
  const Node& node;
  std::size_t states;
  const Graph& body;
  const Integers& reverse_inputs;
  const Integers& reverse_outputs;

  explicit Scan(const Node& n)
      : node(n),
        states(static_cast<std::size_t>(n.attrs.integer("states"))),
        body(*n.regions[0]),
        reverse_inputs(n.attrs.integers("reverse_inputs")),
        reverse_outputs(n.attrs.integers("reverse_outputs")) {}
  std::size_t sequences() const { return node.operands.size() - states; }
  std::size_t stacked() const { return node.results.size() - states; }
};

Attrs scan_attrs(std::size_t states, Integers reverse_inputs, Integers reverse_outputs) {
  return {{"states", static_cast<std::int64_t>(states)},
          {"reverse_inputs", std::move(reverse_inputs)},
          {"reverse_outputs", std::move(reverse_outputs)}};
}

std::vector<std::unique_ptr<Graph>> one_region(std::unique_ptr<Graph> region) {
  std::vector<std::unique_ptr<Graph>> regions;
  regions.push_back(std::move(region));
  return regions;
}

Replacement failed(Builder& build, const Status& status, std::size_t results) {
  build.set_error(status.error());
  return std::vector<Value*>(results, nullptr);
}

}  // namespace

Expected<Graph> drop_unused_results(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    return
        [users = users_of(owner)](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
          if (node.op != "scan") return std::nullopt;
          const Scan scan(node);
          auto body = copy(scan.body);
          auto kept_body = std::make_unique<Graph>();
          Builder inner(*kept_body);
          Cloner cloner(inner);
          for (const Value* input : body->inputs()) cloner.bind(input, kept_body->add_input(input->name, input->type));
          const std::vector<Value*> outputs = cloner.inline_nodes(*body);
          Integers directions;
          std::vector<std::size_t> kept;
          for (std::size_t i = 0; i < outputs.size(); ++i) {
            if (i >= scan.states && !users.contains(node.results[i])) continue;
            kept.push_back(i);
            kept_body->add_output(body->outputs()[i].name, outputs[i]);
            if (i >= scan.states) directions.push_back(scan.reverse_outputs[i - scan.states]);
          }
          if (kept.size() == node.results.size()) return std::nullopt;
          const std::vector<Value*> results = build.call("scan", {operands.begin(), operands.end()},
                                                         scan_attrs(scan.states, scan.reverse_inputs, directions),
                                                         node.results[0]->name, one_region(std::move(kept_body)));
          std::vector<Value*> all(node.results.size(), nullptr);
          for (std::size_t i = 0; i < kept.size(); ++i) all[kept[i]] = results[i];
          return all;
        };
  };
  return rewrite(graph, rule_for);
}

// ------------------------------------------------------------------------------------------------------ fuse_scans

namespace {

// The body's nodes that depend on sequences and constants alone, and act per step.
std::unordered_set<const Node*> hoistable_nodes(const Scan& scan) {
  std::unordered_set<const Value*> free;  // known for all steps at once
  for (std::size_t i = scan.states; i < scan.body.inputs().size(); ++i) free.insert(scan.body.inputs()[i]);
  std::unordered_set<const Node*> nodes;
  for (const Node& node : scan.body.nodes()) {
    const bool on_sequence =
        std::ranges::any_of(node.operands, [&](const Value* v) { return v != nullptr && free.contains(v); });
    const bool ready = std::ranges::all_of(
        node.operands, [&](const Value* v) { return v == nullptr || free.contains(v) || constant_of(v) != nullptr; });
    const Op& op = op_of(node);
    // A constant with an axis for the batch would meet the axis of time outside of the loop.
    const bool has_batch_axis = op.broadcasts && std::ranges::any_of(node.operands, [&](const Value* v) {
                                  return v != nullptr && constant_of(v) != nullptr &&
                                         v->type.shape.size() >= node.results[0]->type.shape.size() &&
                                         !v->type.shape.empty() && !v->type.shape[0].is(1);
                                });
    const bool per_step = op.per_step && !has_batch_axis && (op.per_step_if == nullptr || op.per_step_if(node));
    if (!per_step || !on_sequence || !ready || node.results.size() != 1) continue;
    nodes.insert(&node);
    free.insert(node.results[0]);
  }
  return nodes;
}

// The weights that every step reads: those that hoisting would leave inside, or all if `whole`.
std::int64_t weights_in_loop(const Scan& scan, bool whole) {
  const std::unordered_set<const Node*> hoisted = whole ? std::unordered_set<const Node*>{} : hoistable_nodes(scan);
  std::int64_t bytes = 0;
  for (const Node& node : scan.body.nodes())
    for (const Value* operand : node.operands)
      if (const Tensor* tensor = constant_of(operand); tensor != nullptr && !hoisted.contains(&node))
        bytes += tensor->byte_count();
  return bytes;
}

// Two scans in one loop read both bodies' weights in every step. Measured in LiteRT on x86 with 2 MiB of second-level
// cache: faster up to 1.5 MB of weights (a stack of 178 -> 256 -> 128), 1.4 times slower at 9 MB (two layers of 512).
constexpr std::int64_t kLargestFusedLoop = 1'600'000;

// The scan whose stacked result `consumer` reads in the same direction, if the two can be joined: that result and the
// final states of the producer have no other use, and the consumer stacks nothing itself.
const Node* fusible_producer(const Node& consumer_node, const Users& users) {
  if (consumer_node.op != "scan") return nullptr;
  const Scan consumer(consumer_node);
  if (consumer.stacked() != 0 || consumer.sequences() != 1) return nullptr;
  const Value* sequence = consumer_node.operands[consumer.states];
  const Node* producer_node = sequence->producer;
  if (producer_node == nullptr || producer_node->op != "scan") return nullptr;
  const Scan producer(*producer_node);
  if (producer.stacked() != 1 || sequence->index != producer.states) return nullptr;
  if (const auto readers = users.find(sequence); readers == users.end() || readers->second.size() != 1) return nullptr;
  const std::int64_t direction = consumer.reverse_inputs[0];
  if (producer.reverse_outputs[0] != direction ||
      std::ranges::any_of(producer.reverse_inputs, [&](std::int64_t d) { return d != direction; }))
    return nullptr;
  if (weights_in_loop(producer, false) + weights_in_loop(consumer, true) > kLargestFusedLoop) return nullptr;
  return producer_node;
}

}  // namespace

Expected<Graph> fuse_scans(const Graph& graph) {
  const Users users = users_of(graph);
  // old operand -> new operand of scans that are waiting for their consumer
  std::unordered_map<const Node*, std::vector<Value*>> waiting;
  std::unordered_map<const Node*, const Node*> producer_of;
  for (const Node& node : graph.nodes())
    if (const Node* producer = fusible_producer(node, users)) {
      // Chains join from the front, two at a time; a third layer stays a loop of its own.
      if (!producer_of.contains(producer)) producer_of[&node] = producer;
    }
  std::unordered_map<const Node*, const Node*> consumer_of;
  for (const auto& [consumer, producer] : producer_of) consumer_of[producer] = consumer;

  const Rule rule = [&](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (consumer_of.contains(&node)) {
      const bool states_used = [&] {
        for (std::int64_t i = 0; i < node.attrs.integer("states"); ++i)
          if (users.contains(node.results[static_cast<std::size_t>(i)])) return true;
        return false;
      }();
      if (states_used) return std::nullopt;
      waiting[&node] = {operands.begin(), operands.end()};
      return std::vector<Value*>(node.results.size(), nullptr);
    }
    const auto found = producer_of.find(&node);
    if (found == producer_of.end() || !waiting.contains(found->second)) return std::nullopt;
    const Scan first(*found->second);
    const Scan second(node);
    const std::vector<Value*>& first_operands = waiting[found->second];

    auto body = std::make_unique<Graph>();
    Builder inner(*body);
    Cloner first_cloner(inner);
    Cloner second_cloner(inner);
    for (std::size_t i = 0; i < first.states; ++i)
      first_cloner.bind(first.body.inputs()[i], body->add_input("h1", first.body.inputs()[i]->type));
    for (std::size_t i = 0; i < second.states; ++i)
      second_cloner.bind(second.body.inputs()[i], body->add_input("h2", second.body.inputs()[i]->type));
    for (std::size_t i = first.states; i < first.body.inputs().size(); ++i)
      first_cloner.bind(first.body.inputs()[i], body->add_input("x", first.body.inputs()[i]->type));
    const std::vector<Value*> first_outputs = first_cloner.inline_nodes(first.body);
    second_cloner.bind(second.body.inputs()[second.states], first_outputs[first.states]);
    const std::vector<Value*> second_outputs = second_cloner.inline_nodes(second.body);
    for (std::size_t i = 0; i < first.states; ++i) body->add_output("h1", first_outputs[i]);
    for (std::size_t i = 0; i < second.states; ++i) body->add_output("h2", second_outputs[i]);
    if (auto status = inner.status(); !status) return failed(build, status, node.results.size());

    std::vector<Value*> all(first_operands.begin(), first_operands.begin() + static_cast<std::ptrdiff_t>(first.states));
    all.insert(all.end(), operands.begin(), operands.begin() + static_cast<std::ptrdiff_t>(second.states));
    all.insert(all.end(), first_operands.begin() + static_cast<std::ptrdiff_t>(first.states), first_operands.end());
    const std::vector<Value*> results =
        build.call("scan", all, scan_attrs(first.states + second.states, first.reverse_inputs, {}),
                   node.results[0]->name, one_region(std::move(body)));
    if (build.failed()) return std::vector<Value*>(node.results.size(), nullptr);
    return std::vector<Value*>(results.begin() + static_cast<std::ptrdiff_t>(first.states), results.end());
  };
  return rewrite(graph, rule);
}

// ------------------------------------------------------------------------------------------------ hoist_from_scans

Expected<Graph> hoist_from_scans(const Graph& graph) {
  const Rule rule = [](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (node.op != "scan") return std::nullopt;
    const Scan scan(node);
    // One direction for all sequences: an operator outside the loop must not pair frame t with frame T - 1 - t.
    if (std::ranges::adjacent_find(scan.reverse_inputs, std::not_equal_to{}) != scan.reverse_inputs.end())
      return std::nullopt;
    const std::unordered_set<const Node*> hoisted = hoistable_nodes(scan);
    if (hoisted.empty()) return std::nullopt;

    // Outside: the hoisted nodes over whole sequences.
    Cloner outside(build);
    for (std::size_t i = scan.states; i < operands.size(); ++i) outside.bind(scan.body.inputs()[i], operands[i]);
    for (const Node& inner : scan.body.nodes())
      if (constant_of(inner.results[0]) != nullptr || hoisted.contains(&inner)) outside.clone(inner);
    // Inside: the rest, with what it needs of the hoisted results and the original sequences as its sequences.
    auto body = std::make_unique<Graph>();
    Builder build_body(*body);
    Cloner inside(build_body);
    for (std::size_t i = 0; i < scan.states; ++i)
      inside.bind(scan.body.inputs()[i], body->add_input(scan.body.inputs()[i]->name, scan.body.inputs()[i]->type));
    std::unordered_set<const Value*> needed;
    for (const Node& inner : scan.body.nodes())
      if (!hoisted.contains(&inner)) needed.insert(inner.operands.begin(), inner.operands.end());
    for (const Output& output : scan.body.outputs()) needed.insert(output.value);
    std::vector<Value*> all(operands.begin(), operands.begin() + static_cast<std::ptrdiff_t>(scan.states));
    const auto add_sequence = [&](const Value* value) {
      if (!needed.contains(value)) return;
      inside.bind(value, body->add_input(value->name, value->type));
      all.push_back(outside.at(value));
    };
    for (std::size_t i = scan.states; i < scan.body.inputs().size(); ++i) add_sequence(scan.body.inputs()[i]);
    for (const Node& inner : scan.body.nodes())
      if (hoisted.contains(&inner)) add_sequence(inner.results[0]);
    for (const Node& inner : scan.body.nodes())
      if (!hoisted.contains(&inner)) inside.clone(inner);
    for (const Output& output : scan.body.outputs()) body->add_output(output.name, inside.at(output.value));
    if (auto status = build_body.status(); !status) return failed(build, status, node.results.size());
    const Integers directions(all.size() - scan.states, scan.reverse_inputs[0]);
    return build.call("scan", all, scan_attrs(scan.states, directions, scan.reverse_outputs), node.results[0]->name,
                      one_region(std::move(body)));
  };
  return rewrite(graph, rule);
}

// ----------------------------------------------------------------------------------------------------- lower_scans

namespace {

// A while loop under construction: carried values by name, and the same set in both regions.
class Loop {
 public:
  Loop()
      : condition_(std::make_unique<Graph>()),
        body_(std::make_unique<Graph>()),
        in_condition_(*condition_),
        in_body_(*body_) {}

  // Adds a carried value; returns its index.
  std::size_t carry(std::string name, Value* initial) {
    initial_.push_back(initial);
    if (initial != nullptr) {
      condition_->add_input(name, initial->type);
      body_->add_input(std::move(name), initial->type);
    }
    next_.push_back(nullptr);
    return initial_.size() - 1;
  }
  Builder& condition() { return in_condition_; }
  Builder& body() { return in_body_; }
  Value* in_condition(std::size_t i) { return condition_->inputs()[i]; }
  Value* in_body(std::size_t i) { return body_->inputs()[i]; }
  // What the body leaves for the next iteration; by default the value itself, which then is not copied.
  void set_next(std::size_t i, Value* value) { next_[i] = value; }

  std::vector<Value*> finish(Builder& build, Value* go_on) {
    for (std::size_t i = 0; i < next_.size(); ++i)
      body_->add_output(body_->inputs()[i]->name, next_[i] != nullptr ? next_[i] : body_->inputs()[i]);
    condition_->add_output("go_on", go_on);
    for (const Builder* inner : {&in_condition_, &in_body_})
      if (inner->failed()) build.set_error(inner->status().error());
    std::vector<std::unique_ptr<Graph>> regions;
    regions.push_back(std::move(condition_));
    regions.push_back(std::move(body_));
    return build.call("while", initial_, {}, "loop", std::move(regions));
  }

 private:
  std::unique_ptr<Graph> condition_;
  std::unique_ptr<Graph> body_;
  Builder in_condition_;
  Builder in_body_;
  std::vector<Value*> initial_;
  std::vector<Value*> next_;
};

// In TFLite outputs are collected in chunks: the inner loop shifts them through a register of this many frames, the
// outer one writes the register into the result. A loop that carried the whole result would copy it in every step.
// Measured for a bidirectional GRU at 300 frames: 12.3 ms with chunks of 16 (8 to 32 are alike), 35.8 ms without.
constexpr std::int64_t kChunk = 16;

Value* dims_constant(Builder& build, const Integers& values) {
  return build.constant(converted(tensor_i64({static_cast<std::int64_t>(values.size())}, values), DType::i32), "index");
}

// The scan of `node` as loops: carried states, sequences gathered frame by frame, results collected: in TensorFlow,
// which updates a buffer in place, in one loop; in TFLite in chunks.
class ScanLowering {
 public:
  ScanLowering(Builder& build, const Node& node, std::span<Value* const> operands, Target target)
      : build_(build), scan_(node), operands_(operands), target_(target) {}

  std::vector<Value*> run() {
    Value* sequence = operands_[scan_.states];
    Value* steps = count_steps(sequence);
    const std::vector<Value*> states(operands_.begin(), operands_.begin() + static_cast<std::ptrdiff_t>(scan_.states));
    if (build_.failed()) return std::vector<Value*>(scan_.node.results.size(), nullptr);
    if (scan_.stacked() == 0) {
      const Frames done = step_loop(build_, build_.scalar_i32(0), steps, steps, states, {}, sequences());
      return done.states;
    }
    return target_ == Target::tflite ? collect_in_chunks(states, steps) : collect_in_place(states, steps);
  }

 private:
  struct Frames {
    std::vector<Value*> states;
    std::vector<Value*> registers;
  };

  // A sequence of which zeros can be made for what the loop stacks: which steps count is none.
  Value* sequence_of_floats() const {
    const auto first = operands_.begin() + static_cast<std::ptrdiff_t>(scan_.states);
    const auto floats =
        std::find_if(first, operands_.end(), [](const Value* x) { return x->type.dtype == DType::f32; });
    return floats == operands_.end() ? *first : *floats;
  }
  std::vector<Value*> sequences() const {
    return {operands_.begin() + static_cast<std::ptrdiff_t>(scan_.states), operands_.end()};
  }
  bool any_reversed() const {
    const auto reversed = [](std::int64_t direction) { return direction != 0; };
    return std::ranges::any_of(scan_.reverse_inputs, reversed) || std::ranges::any_of(scan_.reverse_outputs, reversed);
  }

  // T as an int32 scalar.
  Value* count_steps(Value* sequence) {
    if (build_.failed()) return nullptr;
    if (const auto steps = sequence->type.shape[1].constant()) return build_.scalar_i32(*steps);
    Value* sizes = build_("shape_of", {sequence}, {{"dtype", DType::i32}});
    return build_("select", {sizes}, {{"dim", std::int64_t{0}}, {"index", std::int64_t{1}}}, "steps");
  }

  // Steps `first` <= i < `end`; `steps` is T, for reversed sequences.
  Frames step_loop(Builder& build, Value* first, Value* end, Value* steps, const std::vector<Value*>& states,
                   const std::vector<Value*>& registers, const std::vector<Value*>& frames) {
    Loop loop;
    const std::size_t i = loop.carry("i", first);
    const std::size_t last = loop.carry("end", end);
    std::size_t reversed = 0;
    if (any_reversed()) {
      Value* from_end = build("sub", {build("sub", {steps, build.scalar_i32(1)}), first});
      reversed = loop.carry("j", from_end);
    }
    std::vector<std::size_t> state, shift, sequence;
    for (Value* value : states) state.push_back(loop.carry("state", value));
    for (Value* value : registers) shift.push_back(loop.carry("register", value));
    for (Value* value : frames) sequence.push_back(loop.carry("sequence", value));
    if (build.failed()) return {std::vector<Value*>(states.size()), std::vector<Value*>(registers.size())};

    Builder& body = loop.body();
    Cloner cloner(body);
    for (std::size_t k = 0; k < state.size(); ++k) cloner.bind(scan_.body.inputs()[k], loop.in_body(state[k]));
    for (std::size_t k = 0; k < sequence.size(); ++k) {
      Value* index = loop.in_body(scan_.reverse_inputs[k] != 0 ? reversed : i);
      cloner.bind(scan_.body.inputs()[scan_.states + k],
                  body("gather", {loop.in_body(sequence[k]), index}, {{"dim", std::int64_t{1}}}, "frame"));
    }
    const std::vector<Value*> outputs = cloner.inline_nodes(scan_.body);
    for (std::size_t k = 0; k < state.size(); ++k) loop.set_next(state[k], outputs[k]);
    for (std::size_t k = 0; k < shift.size(); ++k) {
      const bool reverse = scan_.reverse_outputs[k] != 0;
      Value* collected = loop.in_body(shift[k]);
      Value* frame = outputs[scan_.states + k];
      loop.set_next(shift[k], target_ == Target::tflite
                                  ? shift_in(body, collected, frame, reverse)
                                  : put_frame(body, collected, frame, loop.in_body(reverse ? reversed : i)));
    }
    loop.set_next(i, body("add", {loop.in_body(i), body.scalar_i32(1)}));
    if (reversed != 0) loop.set_next(reversed, body("sub", {loop.in_body(reversed), body.scalar_i32(1)}));
    Value* go_on = loop.condition()("less", {loop.in_condition(i), loop.in_condition(last)});
    const std::vector<Value*> done = loop.finish(build, go_on);
    if (build.failed()) return {std::vector<Value*>(states.size()), std::vector<Value*>(registers.size())};
    Frames result;
    for (const std::size_t k : state) result.states.push_back(done[k]);
    for (const std::size_t k : shift) result.registers.push_back(done[k]);
    return result;
  }

  // The register [B, C, ...] without its oldest frame and with `frame` [B, ...] as its newest.
  static Value* shift_in(Builder& build, Value* shift, Value* frame, bool reversed) {
    Value* newest = build("unsqueeze", {frame}, {{"dims", Integers{1}}});
    Value* kept = build("slice", {shift},
                        {{"dim", std::int64_t{1}},
                         {"start", std::int64_t{reversed ? 0 : 1}},
                         {"end", Shape{reversed ? kChunk - 1 : kChunk}}});
    std::vector<Value*> parts = {kept, newest};
    if (reversed) std::swap(parts[0], parts[1]);
    return build("concat", parts, {{"dim", std::int64_t{1}}});
  }

  // `frames` [T, B, ...] with `frame` [B, ...] as number `index`.
  static Value* put_frame(Builder& build, Value* frames, Value* frame, Value* index) {
    Value* indices = build("reshape", {index}, {{"shape", Shape{1, 1}}});
    return build("scatter_nd", {frames, indices, build("unsqueeze", {frame}, {{"dims", Integers{0}}})});
  }

  // The number of columns n of a result of shape [B, n]; nothing, and an error, for other shapes.
  std::optional<std::int64_t> columns_of(const Type& frame) {
    const auto sizes = constant_sizes(Shape(frame.shape.begin() + 1, frame.shape.end()));
    if (sizes && sizes->size() == 1) return sizes->front();
    build_.set_error(
        {fmt::format("a scan stacks values of shape {}, expected [B, n]", shape_text(frame.shape)), {}, {}});
    return std::nullopt;
  }

  // One float32 of each entry of a sequence [B, T, ...]: [B, T, 1].
  Value* column_of(Value* sequence) {
    Integers behind;
    const std::size_t rank = sequence->type.shape.size();
    for (std::size_t axis = 2; axis < rank; ++axis) {
      const auto dim = static_cast<std::int64_t>(axis);
      sequence = build_("slice", {sequence}, {{"dim", dim}, {"end", Shape{1}}});
      if (axis > 2) behind.push_back(dim);
    }
    if (!behind.empty()) sequence = build_("squeeze", {sequence}, {{"dims", behind}});
    if (rank == 2) sequence = build_("unsqueeze", {sequence}, {{"dims", Integers{2}}});
    if (build_.failed() || sequence->type.dtype == DType::f32) return sequence;
    return build_("cast", {sequence}, {{"to", DType::f32}});
  }

  // [B, n, ...] of anything, where only `sequence` [B, T, ...] knows B: n is T, or C for a register. Every entry that
  // counts is overwritten later.
  Value* room_for(const Type& frame, Value* sequence, bool as_register) {
    const auto columns = columns_of(frame);
    if (!columns) return nullptr;
    Value* column = column_of(sequence);
    if (as_register) column = build_("slice", {column}, {{"dim", std::int64_t{1}}, {"end", Shape{1}}});
    return zeros_beside(column, {1, as_register ? kChunk : 1, *columns}, frame.dtype);
  }

  // Zeros in the shape of `column` broadcast with `shape`.
  Value* zeros_beside(Value* column, const Integers& shape, DType dtype) {
    const std::vector<float> zeros(static_cast<std::size_t>(shape[1] * shape[2]));
    Value* all = build_("add", {build_("zeros_like", {column}), build_.constant(tensor_f32(shape, zeros), "zeros")});
    return dtype == DType::f32 ? all : build_("cast", {all}, {{"to", dtype}});
  }

  // Each result is a buffer [T, B, n] whose frames the loop replaces.
  std::vector<Value*> collect_in_place(const std::vector<Value*>& states, Value* steps) {
    Value* sequence = sequence_of_floats();
    const Attrs swap_time_and_batch = {{"dims", Integers{1, 0, 2}}};
    std::vector<Value*> buffers;
    for (std::size_t k = 0; k < scan_.stacked(); ++k) {
      const Type& frame = scan_.body.outputs()[scan_.states + k].value->type;
      const auto columns = columns_of(frame);
      if (!columns) return std::vector<Value*>(scan_.node.results.size(), nullptr);
      Value* column = column_of(sequence);
      buffers.push_back(zeros_beside(build_("permute", {column}, swap_time_and_batch), {1, 1, *columns}, frame.dtype));
    }
    const Frames done = step_loop(build_, build_.scalar_i32(0), steps, steps, states, buffers, sequences());
    std::vector<Value*> results = done.states;
    for (Value* frames : done.registers) results.push_back(build_("permute", {frames}, swap_time_and_batch));
    return results;
  }

  // Forward results are written with C frames of room in front: row p holds output p - C, and the register at the end
  // of a chunk, outputs e - C ... e - 1, goes to row e. Whatever the chunks' lengths, a row that counts is written last
  // with its own output. Reversed results have the room behind.
  std::vector<Value*> collect_in_chunks(const std::vector<Value*>& states, Value* steps) {
    Value* any_sequence = sequence_of_floats();
    Loop loop;
    const std::size_t i = loop.carry("i", build_.scalar_i32(0));
    const std::size_t n = loop.carry("steps", steps);
    std::vector<std::size_t> state, shift, stacked, sequence;
    for (Value* value : states) state.push_back(loop.carry("state", value));
    std::vector<Value*> rooms;
    for (std::size_t k = 0; k < scan_.stacked(); ++k) {
      const Type& frame = scan_.body.outputs()[scan_.states + k].value->type;
      Value* room = room_for(frame, any_sequence, true);
      std::vector<Value*> parts = {room, room_for(frame, any_sequence, false)};
      if (scan_.reverse_outputs[k] != 0) std::swap(parts[0], parts[1]);
      shift.push_back(loop.carry("register", room));
      stacked.push_back(loop.carry("stacked", build_("concat", parts, {{"dim", std::int64_t{1}}})));
    }
    for (Value* value : sequences()) sequence.push_back(loop.carry("sequence", value));
    if (build_.failed()) return std::vector<Value*>(scan_.node.results.size(), nullptr);

    Builder& body = loop.body();
    const auto in_body = [&](const std::vector<std::size_t>& indices) {
      std::vector<Value*> values;
      values.reserve(indices.size());
      for (const std::size_t k : indices) values.push_back(loop.in_body(k));
      return values;
    };
    Value* end = body("minimum", {body("add", {loop.in_body(i), body.scalar_i32(kChunk)}), loop.in_body(n)});
    const Frames chunk =
        step_loop(body, loop.in_body(i), end, loop.in_body(n), in_body(state), in_body(shift), in_body(sequence));
    for (std::size_t k = 0; k < state.size(); ++k) loop.set_next(state[k], chunk.states[k]);
    for (std::size_t k = 0; k < shift.size(); ++k) {
      loop.set_next(shift[k], chunk.registers[k]);
      Value* row = scan_.reverse_outputs[k] != 0 ? body("sub", {loop.in_body(n), end}) : end;
      Value* starts = body("mul", {dims_constant(body, {0, 1, 0}), row});
      loop.set_next(stacked[k], body("update_slice", {loop.in_body(stacked[k]), chunk.registers[k], starts}));
    }
    loop.set_next(i, end);
    Value* go_on = loop.condition()("less", {loop.in_condition(i), loop.in_condition(n)});
    const std::vector<Value*> done = loop.finish(build_, go_on);
    if (build_.failed()) return std::vector<Value*>(scan_.node.results.size(), nullptr);

    std::vector<Value*> results;
    results.reserve(state.size() + stacked.size());
    for (const std::size_t k : state) results.push_back(done[k]);
    for (std::size_t k = 0; k < stacked.size(); ++k) {
      const Dim steps_dim = any_sequence->type.shape[1];
      const bool reversed = scan_.reverse_outputs[k] != 0;
      results.push_back(build_("slice", {done[stacked[k]]},
                               {{"dim", std::int64_t{1}},
                                {"start", std::int64_t{reversed ? 0 : kChunk}},
                                {"end", Shape{reversed ? steps_dim : steps_dim + kChunk}}}));
    }
    return results;
  }

  Builder& build_;
  Scan scan_;
  std::span<Value* const> operands_;
  Target target_;
};

}  // namespace

Expected<Graph> lower_scans(const Graph& graph, Target target) {
  return rewrite(graph, [target](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (node.op != "scan") return std::nullopt;
    return ScanLowering(build, node, operands, target).run();
  });
}

}  // namespace taper
