// Recurrent networks of torch.nn.
#include "frontend/aten_table.h"
#include "frontend/module_calls.h"

namespace taper::modules {
namespace {

using aten::Arg;
using Result = Expected<Arg>;

Result unsqueezed(const Call& call, const Arg& x, std::int64_t dim) {
  if (x.is_none()) return x;
  return call.aten("unsqueeze", {{"", x}, {"", Arg(Dim(dim))}});
}

Result squeezed(const Call& call, const Arg& x, std::int64_t dim) {
  return call.aten("squeeze", {{"", x}, {"", Arg(Dim(dim))}});
}

// A state that is given, or zeros.
Result state_or_zeros(const Call& call, const Arg& given, Arg::List sizes) {
  if (!given.is_none()) return given;
  return call.aten("zeros", {{"size", Arg(std::move(sizes))}, {"dtype", Arg(DType::f32)}});
}

// In the order in which PyTorch keeps them.
Expected<Arg> weights_of_layers(const Call& call, std::int64_t layers, bool both_ways) {
  Arg::List weights;
  for (std::int64_t layer = 0; layer < layers; ++layer)
    for (const char* way : {"", "_reverse"}) {
      if (*way != '\0' && !both_ways) continue;
      for (const char* kind : {"weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"}) {
        TAPER_ASSIGN(Arg weight, call.tensor(fmt::format("{}_l{}{}", kind, layer, way)));
        if (!weight.is_none()) weights.push_back(std::move(weight));
      }
    }
  return Arg(std::move(weights));
}

std::string operator_of(const Call& call) {
  if (call.name == "LSTM") return "lstm";
  if (call.name == "GRU") return "gru";
  const Arg mode = call.attr("mode");
  return mode.as<std::string>() && *mode.as<std::string>() == "RNN_RELU" ? "rnn_relu" : "rnn_tanh";
}

// x [B, T, F], or [T, B, F]; states [layers * ways, B, h].
Result run_layers(const Call& call, const Arg& x, const Arg& hidden_state, const Arg& cell_state) {
  const bool batch_first = call.flag("batch_first"), both_ways = call.flag("bidirectional");
  const std::int64_t layers = call.integer("num_layers", 1), hidden = call.integer("hidden_size");
  const std::int64_t projection = call.integer("proj_size"), states = layers * (both_ways ? 2 : 1);
  constexpr std::int64_t kMostLayers = 1000;
  if (layers < 1 || layers > kMostLayers) return fail("module '{}' has {} layers", call.path, layers);
  const Dim batch = (*x.as<aten::TensorPtr>())->type().shape[batch_first ? 0 : 1];
  const auto state = [&](const Arg& given, std::int64_t size) {
    return state_or_zeros(call, given, {Arg(Dim(states)), Arg(batch), Arg(Dim(size))});
  };
  TAPER_ASSIGN(Arg start, state(hidden_state, projection > 0 ? projection : hidden));
  if (call.name == "LSTM") {
    TAPER_ASSIGN(const Arg cell, state(cell_state, hidden));
    start = Arg(Arg::List{start, cell});
  }
  TAPER_ASSIGN(const Arg weights, weights_of_layers(call, layers, both_ways));
  return call.aten(operator_of(call), {{"", x},
                                       {"", start},
                                       {"", weights},
                                       {"", Arg(call.flag("bias"))},
                                       {"", Arg(Dim(layers))},
                                       {"", Arg(0.0)},
                                       {"", Arg(false)},
                                       {"", Arg(both_ways)},
                                       {"", Arg(batch_first)}});
}

// One sequence without a batch [T, F] has states [layers * ways, h].
Result recurrent(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  if (shape.size() == 3) return run_layers(call, call.input(0), call.input(1), call.input(2));
  if (shape.size() != 2) return fail("module '{}' takes a tensor of rank 2 or 3", call.path);
  const std::int64_t batch = call.flag("batch_first") ? 0 : 1;
  TAPER_ASSIGN(const Arg x, unsqueezed(call, call.input(0), batch));
  TAPER_ASSIGN(const Arg hidden, unsqueezed(call, call.input(1), 1));
  TAPER_ASSIGN(const Arg cell, unsqueezed(call, call.input(2), 1));
  TAPER_ASSIGN(const Arg results, run_layers(call, x, hidden, cell));
  const auto* list = results.as<Arg::List>();
  if (!list) return results;
  Arg::List out;
  for (const Arg& result : *list) {
    TAPER_ASSIGN(Arg one, squeezed(call, result, out.empty() ? batch : 1));
    out.push_back(std::move(one));
  }
  return Arg(std::move(out));
}

std::string operator_of_cell(const Call& call) {
  if (call.name == "LSTMCell") return "lstm_cell";
  if (call.name == "GRUCell") return "gru_cell";
  const Arg kind = call.attr("nonlinearity");
  return kind.as<std::string>() && *kind.as<std::string>() == "relu" ? "rnn_relu_cell" : "rnn_tanh_cell";
}

// x [B, F], states [B, h]
Result run_cell(const Call& call, const Arg& x, const Arg& hidden_state, const Arg& cell_state) {
  const Dim batch = (*x.as<aten::TensorPtr>())->type().shape[0];
  const auto state = [&](const Arg& given) {
    return state_or_zeros(call, given, {Arg(batch), Arg(Dim(call.integer("hidden_size")))});
  };
  TAPER_ASSIGN(Arg start, state(hidden_state));
  if (call.name == "LSTMCell") {
    TAPER_ASSIGN(const Arg cell, state(cell_state));
    start = Arg(Arg::List{start, cell});
  }
  std::vector<aten::NamedArg> arguments = {{"", x}, {"", start}};
  for (const char* name : {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}) {
    TAPER_ASSIGN(Arg weight, call.tensor(name));
    arguments.push_back({"", std::move(weight)});
  }
  return call.aten(operator_of_cell(call), std::move(arguments));
}

// One frame without a batch [F] has states [h].
Result recurrent_cell(Call& call) {
  TAPER_ASSIGN(const Shape shape, call.shape(0));
  if (shape.size() == 2) return run_cell(call, call.input(0), call.input(1), call.input(2));
  if (shape.size() != 1) return fail("module '{}' takes a tensor of rank 1 or 2", call.path);
  Args batched;
  for (std::size_t i = 0; i < 3; ++i) {
    TAPER_ASSIGN(Arg one, unsqueezed(call, call.input(i), 0));
    batched.push_back(std::move(one));
  }
  TAPER_ASSIGN(const Arg results, run_cell(call, batched[0], batched[1], batched[2]));
  const auto* list = results.as<Arg::List>();
  if (!list) return squeezed(call, results, 0);
  Arg::List out;
  for (const Arg& result : *list) {
    TAPER_ASSIGN(Arg one, squeezed(call, result, 0));
    out.push_back(std::move(one));
  }
  return Arg(std::move(out));
}

}  // namespace

std::vector<ModuleRow> recurrent_modules() {
  const std::vector<ModuleInput> one_state = {{"input"}, {"hx", DType::f32, true}};
  // The pair hx of forward.
  const std::vector<ModuleInput> two_states = {{"input"}, {"h0", DType::f32, true}, {"c0", DType::f32, true}};
  return {
      {.name = "LSTM", .build = recurrent, .inputs = two_states},
      {.name = "GRU", .build = recurrent, .inputs = one_state},
      {.name = "RNN", .build = recurrent, .inputs = one_state},
      {.name = "LSTMCell", .build = recurrent_cell, .inputs = two_states},
      {.name = "GRUCell", .build = recurrent_cell, .inputs = one_state},
      {.name = "RNNCell", .build = recurrent_cell, .inputs = one_state},
  };
}

}  // namespace taper::modules
