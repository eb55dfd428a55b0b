// Recurrent networks: stacks of layers with packed lists of weights, and single steps.
#include <algorithm>

#include "frontend/aten_packed.h"

namespace taper::aten {

bool is_all_zeros(const Value* x) {
  constexpr int kMostSteps = 16;
  for (int i = 0; x != nullptr && x->producer != nullptr && i < kMostSteps; ++i) {
    const Node& node = *x->producer;
    if (const taper::Tensor* tensor = constant_of(x)) {
      constexpr std::int64_t kMostElements = 1 << 20;
      if (tensor->element_count() > kMostElements) return false;
      return std::ranges::all_of(to_double(*tensor), [](double value) { return value == 0; });
    }
    if (node.op == "full") return node.attrs.real("value") == 0;
    if (node.op == "zeros_like") return true;
    if (node.op != "expand" && node.op != "cast" && node.op != "reshape" && node.op != "permute" &&
        node.op != "unsqueeze" && node.op != "squeeze" && node.op != "select" && node.op != "slice")
      return false;
    x = node.operands[0];
  }
  return false;
}

namespace {

struct Kind {
  std::string_view row;
  std::size_t states;  // of a layer: h, or h and c
  Attrs attrs;
};

// A stack of layers: x is [B, T, F], the states are [layers * directions, B, h].
struct Stack {
  Kind kind;
  Value* x;
  std::vector<Value*> states;
  std::vector<Value*> params;
  bool biases;
  std::int64_t layers, directions;
  Value* lengths = nullptr;  // of the sequences [B]; none: that of all
};

// One direction of one layer; the states of all are on their first axis.
struct Run {
  Value* output;
  std::vector<Value*> last;  // a state each, [B, h]
};

Run run_direction(Builder& build, const Stack& stack, Value* x, std::span<Value* const> weights, std::int64_t index,
                  bool reverse) {
  const Kind& kind = stack.kind;
  std::vector<Value*> operands = {x, weights[0], weights[1]};
  const bool biases = weights.size() >= 4;
  operands.push_back(biases ? weights[2] : nullptr);
  operands.push_back(biases ? weights[3] : nullptr);
  // Rows take both states or none.
  const bool start = !std::ranges::all_of(stack.states, is_all_zeros);
  for (Value* state : stack.states)
    operands.push_back(start ? build("select", {state}, {{"dim", std::int64_t{0}}, {"index", index}}) : nullptr);
  // The projection of the state.
  if (kind.row == "lstm") operands.push_back(weights.size() % 2 == 1 ? weights.back() : nullptr);
  operands.push_back(stack.lengths);
  while (operands.back() == nullptr) operands.pop_back();
  Attrs attrs = kind.attrs;
  attrs.set("reverse", reverse);
  const auto results = build.call(kind.row, std::move(operands), std::move(attrs));
  Run run{results[0], {}};
  for (std::size_t i = 0; i < kind.states; ++i) run.last.push_back(results[i + 1]);
  return run;
}

// The result of every step [B, T, directions * h], then the last states.
Expected<std::vector<Value*>> run_stack(Builder& build, const Stack& stack) {
  constexpr std::int64_t kMostLayers = 4096;
  if (stack.layers < 1 || stack.layers > kMostLayers) return fail("{} layers", stack.layers);
  const auto runs = static_cast<std::size_t>(stack.layers * stack.directions);
  std::size_t each = stack.biases ? 4 : 2;
  // An LSTM whose states are projected (proj_size) has one more.
  if (stack.kind.row == "lstm" && stack.params.size() == runs * (each + 1)) ++each;
  if (stack.params.size() != runs * each)
    return fail("{} weights for {} layers, expected {}", stack.params.size(), stack.layers, runs * each);
  if (shape_of(stack.x).size() != 3) return fail("{}, expected a batch of sequences", type_text(stack.x->type));
  if (stack.states.size() != stack.kind.states)
    return fail("{} states, expected {}", stack.states.size(), stack.kind.states);
  for (const Value* state : stack.states)
    if (state == nullptr || state->type.shape.size() != 3 || !state->type.shape[0].is(static_cast<std::int64_t>(runs)))
      return fail("a state of {}, expected one for each of {} layers and directions",
                  state != nullptr ? type_text(state->type) : "nothing", runs);
  Value* x = stack.x;
  std::vector<std::vector<Value*>> last(stack.kind.states);
  for (std::int64_t layer = 0; layer < stack.layers; ++layer) {
    std::vector<Value*> outputs;
    for (std::int64_t direction = 0; direction < stack.directions; ++direction) {
      const std::int64_t index = layer * stack.directions + direction;
      const auto weights = std::span(stack.params).subspan(static_cast<std::size_t>(index) * each, each);
      Run run = run_direction(build, stack, x, weights, index, direction == 1);
      outputs.push_back(run.output);
      for (std::size_t i = 0; i < last.size(); ++i) last[i].push_back(unsqueeze(build, run.last[i], 0));
    }
    TAPER_TRY(build.status());
    x = concat(build, std::move(outputs), 2);
  }
  std::vector<Value*> results = {x};
  for (std::vector<Value*>& state : last) results.push_back(concat(build, std::move(state), 0));
  return results;
}

Stack stack_of(Call& call, const Kind& kind, std::vector<Value*> states) {
  return {.kind = kind,
          .x = nullptr,
          .states = std::move(states),
          .params = call.tensors("params"),
          .biases = call.flag("has_biases"),
          .layers = call.integer("num_layers"),
          .directions = call.flag("bidirectional") ? 2 : 1};
}

// Over a batch of sequences of one length, x [B, T, F] or [T, B, F].
Expected<Arg> over_batch(Call& call, Stack stack) {
  const bool batch_first = call.flag("batch_first");
  stack.x = call.tensor("input");
  if (!batch_first) stack.x = transpose(call.build, stack.x, 0, 1);
  TAPER_ASSIGN(std::vector<Value*> results, run_stack(call.build, stack));
  if (!batch_first) results[0] = transpose(call.build, results[0], 0, 1);
  return fresh_list(results);
}

// Over packed sequences, data [P, F]; the states are in the order of these.
Expected<Arg> over_packed(Call& call, Stack stack) {
  Builder& build = call.build;
  TAPER_ASSIGN(PackedSequences * packed, packed_by(call.context, call.tensor("batch_sizes")));
  TAPER_ASSIGN(stack.x, padded_of(call.context, *packed, call.tensor("data")));
  stack.lengths = packed->lengths;
  if (!std::ranges::all_of(stack.states, is_all_zeros))
    for (Value*& state : stack.states) state = in_given_order(build, *packed, state, 1);
  TAPER_ASSIGN(std::vector<Value*> results, run_stack(build, stack));
  results[0] = data_of(call.context, *packed, results[0]);
  for (std::size_t i = 1; i < results.size(); ++i) results[i] = in_packed_order(build, *packed, results[i], 1);
  return fresh_list(results);
}

template <Expected<Arg> (*run)(Call&, Stack)>
Expected<Arg> gru(Call& call) {
  return run(call, stack_of(call, {"gru", 1, {}}, {call.tensor("hx")}));
}
template <Expected<Arg> (*run)(Call&, Stack)>
Expected<Arg> lstm(Call& call) {
  return run(call, stack_of(call, {"lstm", 2, {}}, call.tensors("hx")));
}
template <Expected<Arg> (*run)(Call&, Stack)>
Expected<Arg> rnn_tanh(Call& call) {
  return run(call, stack_of(call, {"rnn", 1, {{"nonlinearity", std::string("tanh")}}}, {call.tensor("hx")}));
}
template <Expected<Arg> (*run)(Call&, Stack)>
Expected<Arg> rnn_relu(Call& call) {
  return run(call, stack_of(call, {"rnn", 1, {{"nonlinearity", std::string("relu")}}}, {call.tensor("hx")}));
}

// ---------------------------------------------------------------------------------------------------------- single
// steps

// W x + b of the input and of the state, in parts of one gate each.
struct Gates {
  std::vector<Value*> input, state;
};
Gates gates_of(Call& call, Value* state, std::int64_t count) {
  Builder& build = call.build;
  const auto parts = [&](Value* x, std::string_view weight, std::string_view bias) {
    Value* product = build("linear", {x, call.tensor(weight), call.tensor(bias)});
    return build.call("split", {product}, {{"dim", std::int64_t{-1}}, {"parts", count}});
  };
  return {parts(call.tensor("input"), "w_ih", "b_ih"), parts(state, "w_hh", "b_hh")};
}

Expected<Arg> gru_cell(Call& call) {
  Builder& build = call.build;
  Value* h = call.tensor("hx");
  const Gates gates = gates_of(call, h, 3);
  TAPER_TRY(build.status());
  Value* reset = build("sigmoid", {build("add", {gates.input[0], gates.state[0]})});
  Value* keep = build("sigmoid", {build("add", {gates.input[1], gates.state[1]})});
  Value* next = build("tanh", {build("add", {gates.input[2], build("mul", {reset, gates.state[2]})})});
  return fresh(build("add", {next, build("mul", {keep, build("sub", {h, next})})}));
}

Expected<Arg> lstm_cell(Call& call) {
  Builder& build = call.build;
  const std::vector<Value*> states = call.tensors("hx");
  if (states.size() != 2) return fail("{} states, expected 2", states.size());
  const Gates gates = gates_of(call, states[0], 4);
  TAPER_TRY(build.status());
  const auto gate = [&](std::size_t i, std::string_view activation) {
    return build(activation, {build("add", {gates.input[i], gates.state[i]})});
  };
  Value* added = build("mul", {gate(0, "sigmoid"), gate(2, "tanh")});
  Value* c = build("add", {build("mul", {gate(1, "sigmoid"), states[1]}), added});
  return fresh_list({build("mul", {gate(3, "sigmoid"), build("tanh", {c})}), c});
}

Expected<Arg> rnn_cell(Call& call, std::string_view activation) {
  const Gates gates = gates_of(call, call.tensor("hx"), 1);
  TAPER_TRY(call.build.status());
  return fresh(call.build(activation, {call.build("add", {gates.input[0], gates.state[0]})}));
}

}  // namespace

#define TAPER_STACK "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional"
#define TAPER_LAYERS TAPER_STACK ", bool batch_first) -> "
#define TAPER_PACKED "(Tensor data, Tensor batch_sizes, "
#define TAPER_WEIGHTS "Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> "

std::vector<Overload> recurrent_overloads() {
  return {
      {"gru.input(Tensor input, Tensor hx, " TAPER_LAYERS "(Tensor, Tensor)", gru<over_batch>},
      {"gru.data" TAPER_PACKED "Tensor hx, " TAPER_STACK ") -> (Tensor, Tensor)", gru<over_packed>},
      {"lstm.input(Tensor input, Tensor[] hx, " TAPER_LAYERS "(Tensor, Tensor, Tensor)", lstm<over_batch>},
      {"lstm.data" TAPER_PACKED "Tensor[] hx, " TAPER_STACK ") -> (Tensor, Tensor, Tensor)", lstm<over_packed>},
      {"rnn_tanh.input(Tensor input, Tensor hx, " TAPER_LAYERS "(Tensor, Tensor)", rnn_tanh<over_batch>},
      {"rnn_tanh.data" TAPER_PACKED "Tensor hx, " TAPER_STACK ") -> (Tensor, Tensor)", rnn_tanh<over_packed>},
      {"rnn_relu.input(Tensor input, Tensor hx, " TAPER_LAYERS "(Tensor, Tensor)", rnn_relu<over_batch>},
      {"rnn_relu.data" TAPER_PACKED "Tensor hx, " TAPER_STACK ") -> (Tensor, Tensor)", rnn_relu<over_packed>},
      {"gru_cell(Tensor input, Tensor hx, " TAPER_WEIGHTS "Tensor", gru_cell},
      {"lstm_cell(Tensor input, Tensor[] hx, " TAPER_WEIGHTS "(Tensor, Tensor)", lstm_cell},
      {"rnn_tanh_cell(Tensor input, Tensor hx, " TAPER_WEIGHTS "Tensor",
       [](Call& call) { return rnn_cell(call, "tanh"); }},
      {"rnn_relu_cell(Tensor input, Tensor hx, " TAPER_WEIGHTS "Tensor",
       [](Call& call) { return rnn_cell(call, "relu"); }},
  };
}

}  // namespace taper::aten
