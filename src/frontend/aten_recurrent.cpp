// Recurrent networks: stacks of layers with packed lists of weights, and single steps.
#include <algorithm>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// Whether a state is zeros, as networks start when they are given none.
bool is_zero(const Value* x) {
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

struct Kind {
  std::string_view row;
  std::size_t states;  // of a layer: h, or h and c
  Attrs attrs;
};

// One direction of one layer; the states of all are on their first axis.
struct Run {
  Value* output;
  std::vector<Value*> last;  // a state each, [B, h]
};

Run run_direction(Builder& build, const Kind& kind, Value* x, std::span<Value* const> weights,
                  const std::vector<Value*>& states, std::int64_t index, bool reverse) {
  std::vector<Value*> operands = {x, weights[0], weights[1]};
  const bool biases = weights.size() >= 4;
  operands.push_back(biases ? weights[2] : nullptr);
  operands.push_back(biases ? weights[3] : nullptr);
  // Rows take both states or none.
  const bool start = !std::ranges::all_of(states, is_zero);
  for (Value* state : states)
    operands.push_back(start ? build("select", {state}, {{"dim", std::int64_t{0}}, {"index", index}}) : nullptr);
  if (weights.size() % 2 == 1) operands.push_back(weights.back());  // the projection of the state
  while (operands.back() == nullptr) operands.pop_back();
  Attrs attrs = kind.attrs;
  attrs.set("reverse", reverse);
  const auto results = build.call(kind.row, std::move(operands), std::move(attrs));
  Run run{results[0], {}};
  for (std::size_t i = 0; i < kind.states; ++i) run.last.push_back(results[i + 1]);
  return run;
}

Expected<Arg> layers(Call& call, const Kind& kind, const std::vector<Value*>& states) {
  Builder& build = call.build;
  Value* x = call.tensor("input");
  const std::vector<Value*> params = call.tensors("params");
  const bool biases = call.flag("has_biases"), batch_first = call.flag("batch_first");
  const std::int64_t count = call.integer("num_layers"), directions = call.flag("bidirectional") ? 2 : 1;
  constexpr std::int64_t kMostLayers = 4096;
  if (count < 1 || count > kMostLayers) return fail("{} layers", count);
  const auto runs = static_cast<std::size_t>(count * directions);
  std::size_t each = biases ? 4 : 2;
  // An LSTM whose states are projected (proj_size) has one more.
  if (kind.row == "lstm" && params.size() == runs * (each + 1)) ++each;
  if (params.size() != runs * each)
    return fail("{} weights for {} layers, expected {}", params.size(), count, runs * each);
  if (x->type.shape.size() != 3) return fail("{}, expected a batch of sequences", type_text(x->type));
  if (states.size() != kind.states) return fail("{} states, expected {}", states.size(), kind.states);
  for (const Value* state : states)
    if (state == nullptr || state->type.shape.size() != 3 || !state->type.shape[0].is(static_cast<std::int64_t>(runs)))
      return fail("a state of {}, expected one for each of {} layers and directions",
                  state != nullptr ? type_text(state->type) : "nothing", runs);
  if (!batch_first) x = permute(build, x, {1, 0, 2});
  std::vector<std::vector<Value*>> last(kind.states);
  for (std::int64_t layer = 0; layer < count; ++layer) {
    std::vector<Value*> outputs;
    for (std::int64_t direction = 0; direction < directions; ++direction) {
      const std::int64_t index = layer * directions + direction;
      const auto weights = std::span(params).subspan(static_cast<std::size_t>(index) * each, each);
      Run run = run_direction(build, kind, x, weights, states, index, direction == 1);
      outputs.push_back(run.output);
      for (std::size_t i = 0; i < kind.states; ++i) last[i].push_back(unsqueeze(build, run.last[i], 0));
    }
    TAPER_TRY(build.status());
    x = concat(build, std::move(outputs), 2);
  }
  if (!batch_first) x = permute(build, x, {1, 0, 2});
  std::vector<Value*> results = {x};
  for (std::vector<Value*>& state : last) results.push_back(concat(build, std::move(state), 0));
  return fresh_list(results);
}

Expected<Arg> gru(Call& call) {
  return layers(call, {"gru", 1, {}}, {call.tensor("hx")});
}
Expected<Arg> lstm(Call& call) {
  return layers(call, {"lstm", 2, {}}, call.tensors("hx"));
}
Expected<Arg> rnn(Call& call, const char* nonlinearity) {
  return layers(call, {"rnn", 1, {{"nonlinearity", std::string(nonlinearity)}}}, {call.tensor("hx")});
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

#define TAPER_LAYERS                                                                                                   \
  "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first)" \
  " -> "
#define TAPER_WEIGHTS "Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, Tensor? b_hh=None) -> "

std::vector<Overload> recurrent_overloads() {
  return {
      {"gru.input(Tensor input, Tensor hx, " TAPER_LAYERS "(Tensor, Tensor)", gru},
      {"lstm.input(Tensor input, Tensor[] hx, " TAPER_LAYERS "(Tensor, Tensor, Tensor)", lstm},
      {"rnn_tanh.input(Tensor input, Tensor hx, " TAPER_LAYERS "(Tensor, Tensor)",
       [](Call& call) { return rnn(call, "tanh"); }},
      {"rnn_relu.input(Tensor input, Tensor hx, " TAPER_LAYERS "(Tensor, Tensor)",
       [](Call& call) { return rnn(call, "relu"); }},
      {"gru_cell(Tensor input, Tensor hx, " TAPER_WEIGHTS "Tensor", gru_cell},
      {"lstm_cell(Tensor input, Tensor[] hx, " TAPER_WEIGHTS "(Tensor, Tensor)", lstm_cell},
      {"rnn_tanh_cell(Tensor input, Tensor hx, " TAPER_WEIGHTS "Tensor",
       [](Call& call) { return rnn_cell(call, "tanh"); }},
      {"rnn_relu_cell(Tensor input, Tensor hx, " TAPER_WEIGHTS "Tensor",
       [](Call& call) { return rnn_cell(call, "relu"); }},
  };
}

}  // namespace taper::aten
