// LSTMs and plain recurrent layers: whole, as the scan they expand to, and as ONNX has them.
#include "ops/families.h"
#include "ops/moves.h"
#include "ops/recurrent.h"

namespace taper {
namespace {

// ------------------------------------------------------------------------------------------------------------- layers

// Where an LSTM has the matrix that projects its state.
constexpr std::size_t kProjection = 7;
// Where an LSTM and a plain layer have the lengths of their sequences.
constexpr std::size_t kLstmLengths = 8, kRnnLengths = 6;

// The size of an LSTM's cells: that of its state, unless a matrix [p, h] makes the state of them.
Expected<std::int64_t> cell_size(const InferCall& call, std::int64_t state) {
  if (!call.has(kProjection)) return state;
  const Shape& projection = call.shape(kProjection);
  const auto cells = projection.size() == 2 ? projection[1].constant() : std::nullopt;
  if (!cells || *cells < 1 || !projection[0].is(state))
    return fail("weight_hr has shape {}, expected [{}, h]", shape_text(projection), state);
  return *cells;
}

// x [B, T, F], weight_ih [gates * h, F], weight_hh [gates * h, p], bias_ih [gates * h]?, bias_hh [gates * h]?, then
// `states` initial states, the first [B, p]?, another [B, h]? -> y [B, T, p] and the last states. p is h but for LSTMs
// with a projection.
Expected<std::vector<Type>> infer_layer(const InferCall& call, std::int64_t gates, std::size_t states,
                                        std::size_t lengths) {
  const Shape& x = call.shape(0);
  const Shape& hidden_weight = call.shape(2);
  if (!is_floating(call.type(0).dtype)) return fail("x is {}, expected floating numbers", type_text(call.type(0)));
  if (x.size() != 3) return fail("x has shape {}, expected [B, T, F]", shape_text(x));
  if (x[1].is(0) || x[2].is(0)) return fail("x has shape {}: no steps or no features", shape_text(x));
  const auto size = hidden_weight.size() == 2 ? hidden_weight[1].constant() : std::nullopt;
  TAPER_ASSIGN(const std::int64_t cells, cell_size(call, size.value_or(0)));
  const Dim rows = Dim(gates) * Dim(cells);
  if (!size || *size < 1 || hidden_weight[0] != rows)
    return fail("weight_hh has shape {}, expected [{}h, h]", shape_text(hidden_weight), gates);
  if (call.shape(1) != Shape{rows, x[2]})
    return fail("weight_ih has shape {}, expected {}", shape_text(call.shape(1)), shape_text(Shape{rows, x[2]}));
  for (std::size_t i = 3; i <= 4; ++i)
    if (call.has(i) && call.shape(i) != Shape{rows})
      return fail("{} has shape {}, expected [{}]", i == 3 ? "bias_ih" : "bias_hh", shape_text(call.shape(i)),
                  rows.text());
  const DType dtype = call.type(0).dtype;
  std::vector<Type> types = {{dtype, {x[0], x[1], *size}}, {dtype, {x[0], *size}}};
  if (states > 1) types.push_back({dtype, {x[0], cells}});
  for (std::size_t i = 0; i < states; ++i)
    if (call.has(5 + i) && call.type(5 + i) != types[1 + i])
      return fail("an initial state is {}, expected {}", type_text(call.type(5 + i)), type_text(types[1 + i]));
  TAPER_TRY(check_lengths(call, lengths, x[0]));
  return types;
}

// What one direction of a layer needs; gates in PyTorch's order.
struct LayerWeights {
  const double* input;                 // [gates * h, F]
  const double* hidden;                // [gates * h, p]
  const double* input_bias;            // [gates * h] or null
  const double* hidden_bias;           // [gates * h] or null
  const double* projection = nullptr;  // [p, h] or null: p is h
};

LayerWeights weights_of(const EvalCall& call) {
  const auto values = [&call](std::size_t i) { return call.has(i) ? call.operand(i).values.data() : nullptr; };
  return {values(1), values(2), values(3), values(4), values(kProjection)};
}

// In which order a layer takes the steps, and which of them count.
struct StepOrder {
  bool reverse;
  StepCounts counts;
};

// Runs `cell(gates of x, gates of h, batch row)` for each step and row, which updates the state that `hidden_state`
// [B, p] holds; the states of all steps that count are y [B, T, p]. `columns` are all gates' columns.
template <class Cell>
Array run_layer(const LayerWeights& weights, const Array& x, std::int64_t columns, Array& hidden_state,
                const StepOrder& order, Cell cell) {
  const std::int64_t batch = x.size(0), steps = x.size(1), hidden = hidden_state.size(1);
  const std::vector<double> projected = project_frames(x, weights.input, weights.input_bias, columns);
  std::vector<double> recurrent(static_cast<std::size_t>(batch * columns));
  Array y = make_array(x.dtype, {batch, steps, hidden});
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int64_t t = order.reverse ? steps - 1 - step : step;
    fill_rows(recurrent, weights.hidden_bias, columns);
    multiply_accumulate(hidden_state.values.data(), weights.hidden, recurrent.data(), batch, columns, hidden, true);
    for (std::int64_t b = 0; b < batch; ++b) {
      if (!order.counts.counts(b, t)) continue;
      cell(projected.data() + (b * steps + t) * columns, recurrent.data() + b * columns, b);
      std::copy_n(hidden_state.values.begin() + b * hidden, hidden, y.values.begin() + (b * steps + t) * hidden);
    }
  }
  return y;
}

// i = s(..), f = s(..), g = tanh(..), o = s(..) of W_i. x + b_i. + W_h. h + b_h.; c' = f c + i g, h' = o tanh(c'), or
// W_hr (o tanh(c'))
Array run_lstm(const LayerWeights& weights, const Array& x, Array& h, Array& c, const StepOrder& order) {
  const std::int64_t cells = c.size(1), size = h.size(1);
  std::vector<double> out(static_cast<std::size_t>(cells));
  return run_layer(weights, x, 4 * cells, h, order, [&](const double* from_x, const double* from_h, std::int64_t b) {
    const auto gate = [&](std::int64_t number, std::int64_t i) {
      return from_x[number * cells + i] + from_h[number * cells + i];
    };
    for (std::int64_t i = 0; i < cells; ++i) {
      double& cell = c.values[static_cast<std::size_t>(b * cells + i)];
      cell = logistic(gate(1, i)) * cell + logistic(gate(0, i)) * std::tanh(gate(2, i));
      out[static_cast<std::size_t>(i)] = logistic(gate(3, i)) * std::tanh(cell);
    }
    double* next = h.values.data() + b * size;
    if (weights.projection == nullptr) {
      std::ranges::copy(out, next);
      return;
    }
    std::fill_n(next, size, 0.0);
    multiply_accumulate(out.data(), weights.projection, next, 1, size, cells, true);
  });
}

Array run_rnn(const LayerWeights& weights, const Array& x, Array& h, bool relu, const StepOrder& order) {
  const std::int64_t hidden = h.size(1);
  return run_layer(weights, x, hidden, h, order, [&](const double* from_x, const double* from_h, std::int64_t b) {
    for (std::int64_t i = 0; i < hidden; ++i) {
      const double sum = from_x[i] + from_h[i];
      h.values[static_cast<std::size_t>(b * hidden + i)] = relu ? activate("relu", sum) : std::tanh(sum);
    }
  });
}

Array state_or_zeros(const EvalCall& call, std::size_t i, std::int64_t batch, std::int64_t hidden) {
  if (!call.has(i)) return make_array(call.operand(0).dtype, {batch, hidden});
  Array state = call.operand(i);
  state.shape = {batch, hidden};
  return state;
}

Expected<std::vector<Array>> eval_lstm(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_TRY(check_length_values(call, kLstmLengths, x.size(1)));
  Array h = state_or_zeros(call, 5, x.size(0), call.operand(2).size(1));
  Array c = state_or_zeros(call, 6, x.size(0), call.operand(2).size(0) / 4);
  Array y = run_lstm(weights_of(call), x, h, c, {call.attrs.flag("reverse"), StepCounts(call, kLstmLengths)});
  return std::vector{std::move(y), std::move(h), std::move(c)};
}

Expected<std::vector<Array>> eval_rnn(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_TRY(check_length_values(call, kRnnLengths, x.size(1)));
  Array h = state_or_zeros(call, 5, x.size(0), call.operand(2).size(1));
  Array y = run_rnn(weights_of(call), x, h, call.attrs.text("nonlinearity") == "relu",
                    {call.attrs.flag("reverse"), StepCounts(call, kRnnLengths)});
  return std::vector{std::move(y), std::move(h)};
}

// -------------------------------------------------------------------------------------------------------- as a scan

// Constants of the outer graph inside a scan's body.
class BodyWeights {
 public:
  BodyWeights(Builder& step, const Node& node) : step_(step), node_(node) {}

  Value* weight(std::size_t i) { return constant_in_body(step_, node_, i); }
  // Both biases in one: they are added anyway, and the input's product is taken out of the loop.
  Value* joined_bias() {
    Value* input = weight(3);
    Value* hidden = weight(4);
    if (input == nullptr || hidden == nullptr) return input != nullptr ? input : hidden;
    return step_("add", {input, hidden}, {}, node_.operands[3]->name + ".joined");
  }

 private:
  Builder& step_;
  const Node& node_;
};

std::vector<Value*> expand_lstm_to_scan(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x_shape = node.operands[0]->type.shape;
  auto body = std::make_unique<Graph>();
  Builder step(*body);
  BodyWeights weights(step, node);
  Value* h = body->add_input("h", node.results[1]->type);
  Value* c = body->add_input("c", node.results[2]->type);
  Value* x = body->add_input("x", {DType::f32, {x_shape[0], x_shape[2]}});
  Value* counts = counting_steps(build, operands[0], operand_or_null(operands, kLstmLengths));
  Value* step_counts = counts_of_step(*body, counts);
  Value* from_x = step("linear", {x, weights.weight(1), weights.joined_bias()});
  Value* from_h = step("linear", {h, weights.weight(2), nullptr});
  const std::vector<Value*> gates =
      step.call("split", {step("add", {from_x, from_h})}, {{"dim", std::int64_t{-1}}, {"parts", std::int64_t{4}}});
  Value* kept = step("mul", {step("sigmoid", {gates[1]}), c});
  Value* added = step("mul", {step("sigmoid", {gates[0]}), step("tanh", {gates[2]})});
  Value* next_c = step("add", {kept, added}, {}, "c_next");
  Value* projection = weights.weight(kProjection);
  Value* next_h = step("mul", {step("sigmoid", {gates[3]}), step("tanh", {next_c})}, {},
                       projection == nullptr ? "h_next" : "h_cells");
  if (projection != nullptr) next_h = step("linear", {next_h, projection, nullptr}, {}, "h_next");
  next_h = kept_state(step, step_counts, next_h, h, "h_kept");
  next_c = kept_state(step, step_counts, next_c, c, "c_kept");
  body->add_output("h", next_h);
  body->add_output("c", next_c);
  body->add_output("y", next_h);
  if (auto status = step.status(); !status) {
    build.set_error(status.error());
    return {nullptr, nullptr, nullptr};
  }
  Value* h0 = initial_state(build, node, operands, 5);
  const bool same_zeros = operand_or_null(operands, 5) == nullptr && operand_or_null(operands, 6) == nullptr &&
                          node.results[1]->type == node.results[2]->type;
  Value* c0 = same_zeros ? h0 : initial_state(build, node, operands, 6, 2);
  return call_scan(build, node.attrs.flag("reverse"), {h0, c0}, operands[0], counts, std::move(body));
}

std::vector<Value*> expand_rnn_to_scan(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x_shape = node.operands[0]->type.shape;
  auto body = std::make_unique<Graph>();
  Builder step(*body);
  BodyWeights weights(step, node);
  Value* h = body->add_input("h", node.results[1]->type);
  Value* x = body->add_input("x", {DType::f32, {x_shape[0], x_shape[2]}});
  Value* counts = counting_steps(build, operands[0], operand_or_null(operands, kRnnLengths));
  Value* step_counts = counts_of_step(*body, counts);
  Value* from_x = step("linear", {x, weights.weight(1), weights.joined_bias()});
  Value* from_h = step("linear", {h, weights.weight(2), nullptr});
  Value* next = step(node.attrs.text("nonlinearity"), {step("add", {from_x, from_h})}, {}, "h_next");
  next = kept_state(step, step_counts, next, h, "h_kept");
  body->add_output("h", next);
  body->add_output("y", next);
  if (auto status = step.status(); !status) {
    build.set_error(status.error());
    return {nullptr, nullptr};
  }
  return call_scan(build, node.attrs.flag("reverse"), {initial_state(build, node, operands, 5)}, operands[0], counts,
                   std::move(body));
}

// --------------------------------------------------------------------------------------------------- as ONNX has them

// ONNX's operators: x [T, B, F], w [1, gates * h, F], r [1, gates * h, h], b [1, 2 * gates * h], sequence_lens?, then
// `states` initial states [1, B, h]? -> y [T, 1, B, h] and the last states [1, B, h].
Expected<std::vector<Type>> infer_onnx_layer(const InferCall& call, std::int64_t gates, std::size_t states) {
  const Shape& x = call.shape(0);
  const auto hidden = call.shape(2).size() == 3 ? call.shape(2)[2].constant() : std::nullopt;
  const Dim h = hidden.value_or(0);
  const Dim rows = Dim(gates) * h;
  if (x.size() != 3 || !hidden || call.shape(1) != Shape{1, rows, x[2]} || call.shape(2) != Shape{1, rows, h} ||
      call.shape(3) != Shape{1, 2 * rows})
    return fail("x, w, r, b have shapes {}, {}, {}, {}", shape_text(x), shape_text(call.shape(1)),
                shape_text(call.shape(2)), shape_text(call.shape(3)));
  if (x[0].is(0) || x[2].is(0)) return fail("x has shape {}: no steps or no features", shape_text(x));
  TAPER_TRY(check_lengths(call, 4, x[1]));
  if (call.attrs.integer("hidden_size") != *hidden)
    return fail("hidden_size is {}, expected {} as in r {}", call.attrs.integer("hidden_size"), *hidden,
                shape_text(call.shape(2)));
  const Type state{call.type(0).dtype, {1, x[1], h}};
  for (std::size_t i = 5; i < 5 + states; ++i)
    if (call.has(i) && call.type(i) != state)
      return fail("an initial state is {}, expected {}", type_text(call.type(i)), type_text(state));
  std::vector<Type> types(1 + states, state);
  types[0].shape.insert(types[0].shape.begin(), x[0]);
  return types;
}

// Blocks of `size` numbers each in another order: block i of the result is block order[i].
std::vector<double> reorder_blocks(const double* values, std::int64_t size, std::span<const std::int64_t> order) {
  std::vector<double> out;
  for (const std::int64_t block : order) out.insert(out.end(), values + block * size, values + (block + 1) * size);
  return out;
}

// ONNX's gates i, o, f, c are PyTorch's i, f, g, o.
constexpr std::array<std::int64_t, 4> kLstmFromOnnx = {0, 2, 3, 1};
constexpr std::array<std::int64_t, 4> kLstmToOnnx = {0, 3, 1, 2};
constexpr std::array<std::int64_t, 1> kOneGate = {0};

template <class Run>
std::vector<Array> eval_onnx_layer(const EvalCall& call, std::span<const std::int64_t> order, std::size_t state_count,
                                   Run run) {
  const Array& x = call.operand(0);
  const std::int64_t steps = x.size(0), batch = x.size(1), features = x.size(2), hidden = call.operand(2).size(2);
  const double* biases = call.operand(3).values.data();
  const auto input = reorder_blocks(call.operand(1).values.data(), hidden * features, order);
  const auto recurrent = reorder_blocks(call.operand(2).values.data(), hidden * hidden, order);
  const auto input_bias = reorder_blocks(biases, hidden, order);
  const auto gates = static_cast<std::int64_t>(order.size());
  const auto hidden_bias = reorder_blocks(biases + gates * hidden, hidden, order);
  std::vector<Array> states;
  for (std::size_t i = 0; i < state_count; ++i) states.push_back(state_or_zeros(call, 5 + i, batch, hidden));
  std::vector<Array> out;
  out.push_back(swap_time_and_batch(
      run({input.data(), recurrent.data(), input_bias.data(), hidden_bias.data()}, swap_time_and_batch(x), states)));
  out[0].shape = {steps, 1, batch, hidden};
  for (Array& state : states) {
    state.shape = {1, batch, hidden};
    out.push_back(std::move(state));
  }
  return out;
}

// Time first, weights of one direction, gates in ONNX's order; our operand `lengths` is the one of that number.
std::vector<Value*> expand_to_onnx(Builder& build, const Node& node, std::span<Value* const> operands,
                                   std::string_view op, std::span<const std::int64_t> order, std::size_t lengths) {
  const std::int64_t hidden = *node.results[1]->type.shape[1].constant();
  const auto gates = static_cast<std::int64_t>(order.size());
  const Attrs rows = {{"dim", std::int64_t{0}}};
  const Attrs time_first = {{"dims", Integers{1, 0, 2}}};
  const Attrs first_axis = {{"dims", Integers{0}}};
  const auto reordered = [&](std::size_t i) {
    Value* weight = operand_or_null(operands, i);
    if (weight == nullptr) return zeros(build, {gates * hidden});
    if (gates == 1) return weight;
    const std::vector<Value*> blocks =
        build.call("split", {weight}, {{"dim", std::int64_t{0}}, {"parts", gates}}, weight->name);
    std::vector<Value*> ordered;
    for (const std::int64_t block : order) ordered.push_back(blocks[static_cast<std::size_t>(block)]);
    return build("concat", ordered, rows, weight->name + ".reordered");
  };
  std::vector<Value*> inputs = {build("permute", {operands[0]}, time_first),
                                build("unsqueeze", {reordered(1)}, first_axis),
                                build("unsqueeze", {reordered(2)}, first_axis),
                                build("unsqueeze", {build("concat", {reordered(3), reordered(4)}, rows)}, first_axis),
                                onnx_lengths(build, operands, lengths)};
  for (std::size_t i = 5; i < 4 + node.results.size(); ++i) {
    Value* state = operand_or_null(operands, i);
    inputs.push_back(state == nullptr ? nullptr : build("unsqueeze", {state}, first_axis));
  }
  std::vector<Value*> out = build.call(
      op, std::move(inputs),
      {{"hidden_size", hidden}, {"direction", std::string(node.attrs.flag("reverse") ? "reverse" : "forward")}});
  out.resize(node.results.size());
  out[0] = build("permute", {build("squeeze", {out[0]}, {{"dims", Integers{1}}})}, time_first);
  for (std::size_t i = 1; i < out.size(); ++i) out[i] = build("squeeze", {out[i]}, first_axis);
  return out;
}

Op onnx_lstm() {
  return {
      .name = "onnx_lstm",
      .doc = "ONNX's LSTM of one direction, time first, gates in order i, o, f, c",
      .operands = {"x", "w", "r", "b", "sequence_lens?", "initial_h?", "initial_c?"},
      .attrs = {{"hidden_size", AttrKind::integer}, {"direction", AttrKind::text, std::string("forward")}},
      .infer = [](const InferCall& call) { return infer_onnx_layer(call, 4, 2); },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const StepOrder order{call.attrs.text("direction") == "reverse", StepCounts(call, 4)};
        return eval_onnx_layer(call, kLstmFromOnnx, 2,
                               [&order](const LayerWeights& weights, const Array& x, std::vector<Array>& states) {
                                 return run_lstm(weights, x, states[0], states[1], order);
                               });
      },
      .onnx = {.op_type = "LSTM",
               .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4), operand(5), operand(6)},
               .attrs = {{"hidden_size", "hidden_size"}, {"direction", "direction"}}},
      .examples = {{{f32({5, 2, 3}), f32({1, 16, 3}), f32({1, 16, 4}), f32({1, 32})},
                    {{"hidden_size", std::int64_t{4}}},
                    -2,
                    2,
                    1},
                   {{f32({5, 2, 3}), f32({1, 16, 3}), f32({1, 16, 4}), f32({1, 32}), {DType::i32, {2}}},
                    {{"hidden_size", std::int64_t{4}}},
                    0,
                    2,
                    1}},
  };
}

Op onnx_rnn() {
  return {
      .name = "onnx_rnn",
      .doc = "ONNX's RNN of one direction with tanh, time first",
      .operands = {"x", "w", "r", "b", "sequence_lens?", "initial_h?"},
      .attrs = {{"hidden_size", AttrKind::integer}, {"direction", AttrKind::text, std::string("forward")}},
      .infer = [](const InferCall& call) { return infer_onnx_layer(call, 1, 1); },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        const StepOrder order{call.attrs.text("direction") == "reverse", StepCounts(call, 4)};
        return eval_onnx_layer(call, kOneGate, 1,
                               [&order](const LayerWeights& weights, const Array& x, std::vector<Array>& states) {
                                 return run_rnn(weights, x, states[0], false, order);
                               });
      },
      .onnx = {.op_type = "RNN",
               .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4), operand(5)},
               .attrs = {{"hidden_size", "hidden_size"}, {"direction", "direction"}}},
      .examples = {{{f32({5, 2, 3}), f32({1, 4, 3}), f32({1, 4, 4}), f32({1, 8})},
                    {{"hidden_size", std::int64_t{4}}},
                    -2,
                    2,
                    1},
                   {{f32({5, 2, 3}), f32({1, 4, 3}), f32({1, 4, 4}), f32({1, 8}), {DType::i32, {2}}},
                    {{"hidden_size", std::int64_t{4}}},
                    0,
                    2,
                    1}},
  };
}

Op lstm() {
  const std::vector<Type> types = {f32({2, 5, 3}), f32({16, 3}), f32({16, 4}), f32({16}),
                                   f32({16}),      f32({2, 4}),  f32({2, 4})};
  const std::vector<Type> projected = {f32({2, 5, 3}), f32({16, 3}), f32({16, 2}), f32({16}),
                                       f32({16}),      f32({2, 2}),  f32({2, 4}),  f32({2, 4})};
  std::vector<Type> with_lengths = projected;
  with_lengths.push_back({DType::i64, {2}});
  return {
      .name = "lstm",
      .doc =
          "i = s(W_ii x + b_ii + W_hi h + b_hi), f and o likewise, g with tanh, c' = f c + i g, h' = o tanh(c'), "
          "with a projection h' = W_hr (o tanh(c')); lengths: steps of each sequence",
      .operands = {"x", "weight_ih", "weight_hh", "bias_ih?", "bias_hh?", "h0?", "c0?", "weight_hr?", "lengths?"},
      .attrs = {{"reverse", AttrKind::flag, false}},
      .infer = [](const InferCall& call) { return infer_layer(call, 4, 2, kLstmLengths); },
      .eval = eval_lstm,
      .expand = expand_lstm_to_scan,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        // ONNX's LSTM has no projection.
        if (operand_or_null(operands, kProjection) != nullptr) return expand_lstm_to_scan(build, node, operands);
        return expand_to_onnx(build, node, operands, "onnx_lstm", kLstmToOnnx, kLstmLengths);
      },
      .examples = {{{types.begin(), types.begin() + 5}, {}, -2, 2, 1},
                   {{types.begin(), types.begin() + 5}, {{"reverse", true}}, -2, 2, 1},
                   {types, {}, -1, 1, 1},
                   {{f32({1, 4, 3}), f32({8, 3}), f32({8, 2})}, {}, -2, 2, 1},
                   {projected, {}, -1, 1, 1},
                   {projected, {{"reverse", true}}, -1, 1, 1},
                   {with_lengths, {}, -1, 1, 1, {{0, 5}}},
                   {with_lengths, {{"reverse", true}}, -1, 1, 1, {{0, 5}}}},
  };
}

Op rnn() {
  const std::vector<Type> types = {f32({2, 5, 3}), f32({4, 3}), f32({4, 4}), f32({4}), f32({4})};
  std::vector<Type> with_lengths = types;
  with_lengths.insert(with_lengths.end(), {f32({2, 4}), {DType::i32, {2}}});
  return {
      .name = "rnn",
      .doc = "h' = tanh(W_i x + b_i + W_h h + b_h), or relu; lengths: steps of each sequence",
      .operands = {"x", "weight_ih", "weight_hh", "bias_ih?", "bias_hh?", "h0?", "lengths?"},
      .attrs = {{"nonlinearity", AttrKind::text, std::string("tanh")}, {"reverse", AttrKind::flag, false}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const std::string& nonlinearity = call.attrs.text("nonlinearity");
        if (nonlinearity != "tanh" && nonlinearity != "relu")
          return fail("nonlinearity '{}', expected tanh or relu", nonlinearity);
        return infer_layer(call, 1, 1, kRnnLengths);
      },
      .eval = eval_rnn,
      .expand = expand_rnn_to_scan,
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        if (node.attrs.text("nonlinearity") != "tanh") return expand_rnn_to_scan(build, node, operands);
        return expand_to_onnx(build, node, operands, "onnx_rnn", kOneGate, kRnnLengths);
      },
      .examples = {{types, {}, -2, 2, 1},
                   {types, {{"nonlinearity", std::string("relu")}, {"reverse", true}}, -0.5, 0.5, 1},
                   {with_lengths, {}, -1, 1, 1, {{0, 5}}},
                   {with_lengths, {{"nonlinearity", std::string("relu")}, {"reverse", true}}, -0.5, 0.5, 1, {{0, 5}}}},
  };
}

}  // namespace

std::vector<Op> lstm_ops() {
  return {lstm(), onnx_lstm(), rnn(), onnx_rnn()};
}

}  // namespace taper
