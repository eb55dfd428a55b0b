// Recurrent networks: whole layers, and the scan they expand to.
#include "ops/recurrent.h"

#include "ops/evaluate.h"
#include "ops/families.h"

namespace taper {

Value* zeros(Builder& build, std::vector<std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return build.constant(tensor_f32(std::move(shape), std::vector<float>(static_cast<std::size_t>(count))), "zeros");
}

// One column of a first frame, emptied, plus [1, h] of zeros. The frame is taken of the graph's input where that has
// the batch axis, so that a layer's state doesn't tie it to the layer before.
Value* zero_state(Builder& build, Value* x, const Shape& x_shape, std::int64_t hidden) {
  for (Value* input : build.graph().inputs())
    if (input->type.shape.size() == 3 && input->type.shape[0] == x_shape[0] && input->type.dtype == DType::f32)
      x = input;
  Value* frame = build("select", {x}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{0}}});
  Value* column = build("slice", {frame}, {{"dim", std::int64_t{1}}, {"end", Shape{1}}});
  return build("add", {build("zeros_like", {column}), zeros(build, {1, hidden})});
}

Value* initial_state(Builder& build, const Node& node, std::span<Value* const> operands, std::size_t i,
                     std::size_t last) {
  if (Value* given = operand_or_null(operands, i)) return given;
  return zero_state(build, operands[0], node.operands[0]->type.shape, *node.results[last]->type.shape[1].constant());
}

Value* constant_in_body(Builder& step, const Node& node, std::size_t i) {
  const Value* operand = operand_or_null(node.operands, i);
  if (operand == nullptr) return nullptr;
  if (const Tensor* tensor = constant_of(operand)) return step.constant(*tensor, operand->name);
  step.set_error(
      {fmt::format("{}: '{}' is computed by the program, expected a constant weight", node.op, operand->name)});
  return nullptr;
}

Status check_lengths(const InferCall& call, std::size_t i, const Dim& batch) {
  if (!call.has(i)) return {};
  const Type& type = call.type(i);
  if ((type.dtype != DType::i32 && type.dtype != DType::i64) || type.shape != Shape{batch})
    return fail("lengths are {}, expected i32 or i64[{}]", type_text(type), batch.text());
  return {};
}

Status check_length_values(const EvalCall& call, std::size_t i, std::int64_t steps) {
  if (!call.has(i)) return {};
  for (const double length : call.operand(i).values)
    if (length < 0 || length > static_cast<double>(steps))
      return fail_with_hint(fmt::format("a sequence of {} steps in a batch of {}", length, steps),
                            "give inputs whose lengths lie within the batch: --verify-input");
  return {};
}

Value* counting_steps(Builder& build, Value* x, Value* lengths) {
  if (lengths == nullptr || build.failed()) return nullptr;
  const Shape& shape = x->type.shape;
  const auto column = [&](Value* vector, Shape to) { return build("reshape", {vector}, {{"shape", std::move(to)}}); };
  if (lengths->type.dtype != DType::i32) lengths = build("cast", {lengths}, {{"to", DType::i32}});
  Value* steps = build("arange", {}, {{"start", Shape{0}}, {"length", Shape{shape[1]}}, {"dtype", DType::i32}});
  return build("less", {column(steps, {1, shape[1], 1}), column(lengths, {shape[0], 1, 1})}, {}, "counts");
}

Value* counts_of_step(Graph& body, const Value* counts) {
  return counts == nullptr ? nullptr : body.add_input("counts", {DType::boolean, {counts->type.shape[0], Dim(1)}});
}

Value* kept_state(Builder& step, Value* counts, Value* next, Value* before, std::string_view name) {
  return counts == nullptr ? next : step("where", {counts, next, before}, {}, name);
}

Value* zeros_behind(Builder& build, Value* counts, Value* y) {
  if (counts == nullptr || build.failed()) return y;
  return build("where", {counts, y, build.constant(to_tensor(Array{y->type.dtype, {}, {0}}))});
}

std::vector<Value*> call_scan(Builder& build, bool reverse, std::vector<Value*> states, Value* x, Value* counts,
                              std::unique_ptr<Graph> body) {
  const auto state_count = static_cast<std::int64_t>(states.size());
  states.push_back(x);
  if (counts != nullptr) states.push_back(counts);
  const std::vector<std::int64_t> directions(states.size() - static_cast<std::size_t>(state_count), reverse ? 1 : 0);
  std::vector<std::unique_ptr<Graph>> regions;
  regions.push_back(std::move(body));
  std::vector<Value*> out = build.call("scan", std::move(states),
                                       {{"states", state_count},
                                        {"reverse_inputs", directions},
                                        {"reverse_outputs", std::vector<std::int64_t>{reverse ? 1 : 0}}},
                                       "scan", std::move(regions));
  out.resize(static_cast<std::size_t>(state_count) + 1);
  std::ranges::rotate(out, out.end() - 1);  // y comes first
  out[0] = zeros_behind(build, counts, out[0]);
  return out;
}

Array swap_time_and_batch(const Array& x) {
  const AxisView view = axis_view(x.shape, 1);
  std::vector<std::int64_t> shape = x.shape;
  std::swap(shape[0], shape[1]);
  Array out = make_array(x.dtype, std::move(shape));
  for (std::int64_t i = 0; i < view.outer; ++i)
    for (std::int64_t k = 0; k < view.size; ++k)
      std::copy_n(x.values.begin() + (i * view.size + k) * view.inner, view.inner,
                  out.values.begin() + (k * view.outer + i) * view.inner);
  return out;
}

void fill_rows(std::vector<double>& rows, const double* bias, std::int64_t columns) {
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = bias == nullptr ? 0 : bias[i % static_cast<std::size_t>(columns)];
}

std::vector<double> project_frames(const Array& x, const double* weight, const double* bias, std::int64_t gates) {
  const std::int64_t frames = x.size(0) * x.size(1);
  std::vector<double> projected(static_cast<std::size_t>(frames * gates));
  fill_rows(projected, bias, gates);
  multiply_accumulate(x.values.data(), weight, projected.data(), frames, gates, x.size(2), true);
  return projected;
}

Value* onnx_lengths(Builder& build, std::span<Value* const> operands, std::size_t i) {
  Value* lengths = operand_or_null(operands, i);
  return lengths == nullptr || lengths->type.dtype == DType::i32 ? lengths
                                                                 : build("cast", {lengths}, {{"to", DType::i32}});
}

namespace {

// ----------------------------------------------------------------------------------------------------------------- gru

// Where a GRU has the lengths of its sequences.
constexpr std::size_t kGruLengths = 6;

// x [B, T, F], weight_ih [3h, F], weight_hh [3h, h], bias_ih [3h]?, bias_hh [3h]?, h0 [B, h]?, lengths [B]? -> y [B, T,
// h], h_n [B, h]
Expected<std::vector<Type>> infer_gru(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Shape& input_weight = call.shape(1);
  const Shape& hidden_weight = call.shape(2);
  if (!is_floating(call.type(0).dtype)) return fail("x is {}, expected floating numbers", type_text(call.type(0)));
  if (x.size() != 3) return fail("x has shape {}, expected [B, T, F]", shape_text(x));
  if (x[1].is(0) || x[2].is(0)) return fail("x has shape {}: no steps or no features", shape_text(x));
  const auto rows = hidden_weight.size() == 2 ? hidden_weight[0].constant() : std::nullopt;
  if (!rows || *rows < 3 || *rows % 3 != 0 || !hidden_weight[1].is(*rows / 3))
    return fail("weight_hh has shape {}, expected [3h, h]", shape_text(hidden_weight));
  if (input_weight != Shape{*rows, x[2]})
    return fail("weight_ih has shape {}, expected [{}, {}]", shape_text(input_weight), *rows, x[2].text());
  for (std::size_t i = 3; i <= 4; ++i)
    if (call.has(i) && call.shape(i) != Shape{*rows})
      return fail("{} has shape {}, expected [{}]", i == 3 ? "bias_ih" : "bias_hh", shape_text(call.shape(i)), *rows);
  const Dim hidden = *rows / 3;
  if (call.has(5) && call.shape(5) != Shape{x[0], hidden})
    return fail("h0 has shape {}, expected {}", shape_text(call.shape(5)), shape_text(Shape{x[0], hidden}));
  TAPER_TRY(check_lengths(call, kGruLengths, x[0]));
  const DType dtype = call.type(0).dtype;
  return std::vector{Type{dtype, {x[0], x[1], hidden}}, Type{dtype, {x[0], hidden}}};
}

// What one direction of a GRU needs, in PyTorch's gate order r, z, n.
struct GruWeights {
  const double* input;        // [3h, F]
  const double* hidden;       // [3h, h]
  const double* input_bias;   // [3h] or null
  const double* hidden_bias;  // [3h] or null
};

// r = s(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)), h' = (1 - z) n + z
// h. `x` is [B, T, F]; `y` [B, T, h] is zeros on entry; `state` [B, h] is h_0 on entry and h_n on exit.
void run_gru(const GruWeights& weights, const Array& x, std::int64_t hidden, bool reverse, const StepCounts& steps_of,
             double* state, double* y) {
  const std::int64_t batch = x.size(0), steps = x.size(1), gates = 3 * hidden;
  const std::vector<double> projected = project_frames(x, weights.input, weights.input_bias, gates);
  std::vector<double> recurrent(static_cast<std::size_t>(batch * gates));
  for (std::int64_t step = 0; step < steps; ++step) {
    const std::int64_t t = reverse ? steps - 1 - step : step;
    fill_rows(recurrent, weights.hidden_bias, gates);
    multiply_accumulate(state, weights.hidden, recurrent.data(), batch, gates, hidden, true);
    for (std::int64_t b = 0; b < batch; ++b) {
      if (!steps_of.counts(b, t)) continue;
      const double* from_x = projected.data() + (b * steps + t) * gates;
      const double* from_h = recurrent.data() + b * gates;
      double* h = state + b * hidden;
      for (std::int64_t i = 0; i < hidden; ++i) {
        const double r = logistic(from_x[i] + from_h[i]);
        const double z = logistic(from_x[hidden + i] + from_h[hidden + i]);
        const double n = std::tanh(from_x[2 * hidden + i] + r * from_h[2 * hidden + i]);
        h[i] = (1 - z) * n + z * h[i];
      }
      std::copy_n(h, hidden, y + (b * steps + t) * hidden);
    }
  }
}

Expected<std::vector<Array>> eval_gru(const EvalCall& call) {
  const Array& x = call.operand(0);
  const std::int64_t hidden = call.operand(2).size(1);
  TAPER_TRY(check_length_values(call, kGruLengths, x.size(1)));
  Array y = make_array(x.dtype, {x.size(0), x.size(1), hidden});
  Array state = call.has(5) ? call.operand(5) : make_array(x.dtype, {x.size(0), hidden});
  const auto bias = [&](std::size_t i) { return call.has(i) ? call.operand(i).values.data() : nullptr; };
  run_gru({call.operand(1).values.data(), call.operand(2).values.data(), bias(3), bias(4)}, x, hidden,
          call.attrs.flag("reverse"), StepCounts(call, kGruLengths), state.values.data(), y.values.data());
  return std::vector{std::move(y), std::move(state)};
}

// A scan whose body is the formula. The biases of r and z are joined in the input's product; b_hn stays with the
// state's, since r multiplies it. h' = n + z (h - n).
std::vector<Value*> expand_gru_to_scan(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x_shape = node.operands[0]->type.shape;
  const std::int64_t hidden = *node.results[1]->type.shape[1].constant();
  const Attrs thirds = {{"dim", std::int64_t{-1}}, {"parts", std::int64_t{3}}};
  const Attrs joined = {{"dim", std::int64_t{0}}};

  auto body = std::make_unique<Graph>();
  Builder step(*body);
  Value* h = body->add_input("h", {DType::f32, {x_shape[0], hidden}});
  Value* x = body->add_input("x", {DType::f32, {x_shape[0], x_shape[2]}});
  Value* counts = counting_steps(build, operands[0], operand_or_null(operands, kGruLengths));
  Value* step_counts = counts_of_step(*body, counts);
  const auto weight = [&](std::size_t i) { return constant_in_body(step, node, i); };
  Value* input_bias = weight(3);
  Value* hidden_bias = weight(4);
  if (hidden_bias != nullptr) {
    const std::string& bias_name = node.operands[4]->name;
    const std::vector<Value*> part =
        step.call("split", {hidden_bias}, {{"dim", std::int64_t{0}}, {"parts", std::int64_t{3}}});
    Value* into_input = step("concat", {part[0], part[1], zeros(step, {hidden})}, joined, bias_name + ".rz");
    if (input_bias == nullptr)
      input_bias = into_input;
    else
      input_bias = step("add", {input_bias, into_input}, {}, node.operands[3]->name + ".joined");
    hidden_bias = step("concat", {zeros(step, {hidden}), zeros(step, {hidden}), part[2]}, joined, bias_name + ".n");
  }
  const std::vector<Value*> from_x = step.call("split", {step("linear", {x, weight(1), input_bias})}, thirds);
  const std::vector<Value*> from_h = step.call("split", {step("linear", {h, weight(2), hidden_bias})}, thirds);
  Value* r = step("sigmoid", {step("add", {from_x[0], from_h[0]})});
  Value* z = step("sigmoid", {step("add", {from_x[1], from_h[1]})});
  Value* n = step("tanh", {step("add", {from_x[2], step("mul", {r, from_h[2]})})});
  Value* next = step("add", {n, step("mul", {z, step("sub", {h, n})})}, {}, "h_next");
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

// ------------------------------------------------------------------------------------------------------------ onnx_gru

// ONNX's GRU: x [T, B, F], w [1, 3h, F], r [1, 3h, h], b [1, 6h] -> y [T, 1, B, h], y_h [1, B, h]; gates in order z, r,
// n.
Expected<std::vector<Type>> infer_onnx_gru(const InferCall& call) {
  const Shape& x = call.shape(0);
  const auto hidden = call.shape(2).size() == 3 ? call.shape(2)[2].constant() : std::nullopt;
  const Dim h = hidden.value_or(0);
  if (x.size() != 3 || !hidden || call.shape(1) != Shape{1, 3 * h, x[2]} || call.shape(2) != Shape{1, 3 * h, h} ||
      call.shape(3) != Shape{1, 6 * h})
    return fail("x, w, r, b have shapes {}, {}, {}, {}", shape_text(x), shape_text(call.shape(1)),
                shape_text(call.shape(2)), shape_text(call.shape(3)));
  if (x[0].is(0) || x[2].is(0)) return fail("x has shape {}: no steps or no features", shape_text(x));
  if (call.attrs.integer("hidden_size") != *hidden)
    return fail("hidden_size is {}, expected {} as in r {}", call.attrs.integer("hidden_size"), *hidden,
                shape_text(call.shape(2)));
  TAPER_TRY(check_lengths(call, 4, x[1]));
  const DType dtype = call.type(0).dtype;
  return std::vector{Type{dtype, {x[0], 1, x[1], *hidden}}, Type{dtype, {1, x[1], *hidden}}};
}

// Moves the blocks of rows z, r, n of `size` numbers each to r, z, n.
std::vector<double> swap_first_gates(const double* values, std::int64_t size) {
  std::vector<double> out(values, values + 3 * size);
  std::swap_ranges(out.begin(), out.begin() + size, out.begin() + size);
  return out;
}

Expected<std::vector<Array>> eval_onnx_gru(const EvalCall& call) {
  const Array& x = call.operand(0);
  const std::int64_t steps = x.size(0), batch = x.size(1), features = x.size(2), hidden = call.operand(2).size(2);
  const Array batch_first = swap_time_and_batch(x);
  const auto input = swap_first_gates(call.operand(1).values.data(), hidden * features);
  const auto recurrent = swap_first_gates(call.operand(2).values.data(), hidden * hidden);
  const auto input_bias = swap_first_gates(call.operand(3).values.data(), hidden);
  const auto hidden_bias = swap_first_gates(call.operand(3).values.data() + 3 * hidden, hidden);
  Array state = make_array(x.dtype, {1, batch, hidden});
  if (call.has(5)) state.values = call.operand(5).values;
  Array y = make_array(x.dtype, {batch, steps, hidden});
  run_gru({input.data(), recurrent.data(), input_bias.data(), hidden_bias.data()}, batch_first, hidden,
          call.attrs.text("direction") == "reverse", StepCounts(call, 4), state.values.data(), y.values.data());
  Array out = swap_time_and_batch(y);
  out.shape = {steps, 1, batch, hidden};
  return std::vector{std::move(out), std::move(state)};
}

std::vector<Value*> expand_gru_to_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::int64_t hidden = *node.results[1]->type.shape[1].constant();
  const Attrs rows = {{"dim", std::int64_t{0}}};
  const Attrs time_first = {{"dims", std::vector<std::int64_t>{1, 0, 2}}};
  const Attrs first_axis = {{"dims", std::vector<std::int64_t>{0}}};
  const Attrs second_axis = {{"dims", std::vector<std::int64_t>{1}}};
  // Gates r, z, n become z, r, n.
  const auto reordered = [&](std::size_t i) {
    Value* weight = operand_or_null(operands, i);
    if (weight == nullptr) return zeros(build, {3 * hidden});
    const std::vector<Value*> gates =
        build.call("split", {weight}, {{"dim", std::int64_t{0}}, {"parts", std::int64_t{3}}}, weight->name);
    return build("concat", {gates[1], gates[0], gates[2]}, rows, weight->name + ".zrn");
  };
  Value* w = build("unsqueeze", {reordered(1)}, first_axis);
  Value* r = build("unsqueeze", {reordered(2)}, first_axis);
  Value* b = build("unsqueeze", {build("concat", {reordered(3), reordered(4)}, rows)}, first_axis);
  Value* h0 = operand_or_null(operands, 5);
  if (h0 != nullptr) h0 = build("unsqueeze", {h0}, first_axis);
  const std::vector<Value*> out = build.call(
      "onnx_gru",
      {build("permute", {operands[0]}, time_first), w, r, b, onnx_lengths(build, operands, kGruLengths), h0},
      {{"hidden_size", hidden}, {"direction", std::string(node.attrs.flag("reverse") ? "reverse" : "forward")}});
  Value* y = build("permute", {build("squeeze", {out[0]}, second_axis)}, time_first);
  return {y, build("squeeze", {out[1]}, first_axis)};
}

// ---------------------------------------------------------------------------------------------------------------- scan

// operands: `states` initial states, then sequences [B, T, ...]. The body takes the states and one entry [B, ...] of
// each sequence, and gives the next states and one entry of each stacked result. Results: final states, stacked [B, T,
// ...].
Expected<std::vector<Type>> infer_scan(const InferCall& call) {
  const std::int64_t states = call.attrs.integer("states");
  const auto operands = static_cast<std::int64_t>(call.operands.size());
  if (call.regions.size() != 1) return fail("expected one body");
  const Graph& body = *call.regions[0];
  if (states < 0 || states >= operands) return fail("{} states of {} operands", states, operands);
  if (static_cast<std::int64_t>(body.inputs().size()) != operands ||
      static_cast<std::int64_t>(body.outputs().size()) < states)
    return fail("the body has {} inputs and {} outputs", body.inputs().size(), body.outputs().size());
  if (call.attrs.integers("reverse_inputs").size() + static_cast<std::size_t>(states) != call.operands.size() ||
      call.attrs.integers("reverse_outputs").size() + static_cast<std::size_t>(states) != body.outputs().size())
    return fail("a direction is missing");
  const Shape& first = call.shape(static_cast<std::size_t>(states));
  if (first.size() < 2) return fail("a sequence has shape {}, expected [B, T, ...]", shape_text(first));
  const Dim& steps = first[1];
  for (std::int64_t i = 0; i < operands; ++i) {
    Type type = call.type(static_cast<std::size_t>(i));
    if (i >= states) {
      if (type.shape.size() < 2 || type.shape[1] != steps)
        return fail("sequences have shapes {} and {}", shape_text(first), shape_text(type.shape));
      type.shape.erase(type.shape.begin() + 1);
    }
    const Value* input = body.inputs()[static_cast<std::size_t>(i)];
    if (input->type != type)
      return fail("body input '{}' is {}, expected {}", input->name, type_text(input->type), type_text(type));
  }
  std::vector<Type> types;
  for (std::size_t i = 0; i < body.outputs().size(); ++i) {
    Type type = body.outputs()[i].value->type;
    if (static_cast<std::int64_t>(i) < states) {
      if (type != call.type(i)) return fail("state {} is {}, its next {}", i, type_text(call.type(i)), type_text(type));
    } else {
      if (type.shape.empty()) return fail("a stacked result has no batch axis");
      type.shape.insert(type.shape.begin() + 1, steps);
    }
    types.push_back(std::move(type));
  }
  return types;
}

Array time_step(const Array& sequence, std::int64_t t) {
  std::vector<std::int64_t> shape = sequence.shape;
  shape.erase(shape.begin() + 1);
  const AxisView view = axis_view(sequence.shape, 1);
  Array out = make_array(sequence.dtype, std::move(shape));
  for (std::int64_t b = 0; b < view.outer; ++b)
    std::copy_n(sequence.values.begin() + (b * view.size + t) * view.inner, view.inner,
                out.values.begin() + b * view.inner);
  return out;
}

void set_time_step(Array& sequence, std::int64_t t, const Array& entry) {
  const AxisView view = axis_view(sequence.shape, 1);
  for (std::int64_t b = 0; b < view.outer; ++b)
    std::copy_n(entry.values.begin() + b * view.inner, view.inner,
                sequence.values.begin() + (b * view.size + t) * view.inner);
}

Expected<std::vector<Array>> eval_scan(const EvalCall& call) {
  const Graph& body = *call.regions[0];
  const auto states = static_cast<std::size_t>(call.attrs.integer("states"));
  const auto& reverse_inputs = call.attrs.integers("reverse_inputs");
  const auto& reverse_outputs = call.attrs.integers("reverse_outputs");
  std::vector<Array> carried;
  carried.reserve(states);
  for (std::size_t i = 0; i < states; ++i) carried.push_back(call.operand(i));
  std::vector<Array> stacked;
  const std::int64_t steps = call.operand(states).size(1);
  PreparedGraph prepared(body);
  prepared.observe(call.observer);
  for (std::int64_t step = 0; step < steps; ++step) {
    std::vector<Array> inputs = std::move(carried);
    for (std::size_t i = states; i < call.operands.size(); ++i)
      inputs.push_back(time_step(call.operand(i), reverse_inputs[i - states] != 0 ? steps - 1 - step : step));
    TAPER_ASSIGN(std::vector<Array> outputs, prepared.run(std::move(inputs)));
    for (std::size_t i = states; i < outputs.size(); ++i) {
      if (step == 0) {
        std::vector<std::int64_t> shape = outputs[i].shape;
        shape.insert(shape.begin() + 1, steps);
        stacked.push_back(make_array(outputs[i].dtype, std::move(shape)));
      }
      set_time_step(stacked[i - states], reverse_outputs[i - states] != 0 ? steps - 1 - step : step, outputs[i]);
    }
    outputs.resize(states);
    carried = std::move(outputs);
  }
  if (steps == 0 && body.outputs().size() > states) return fail("no steps to stack");
  std::ranges::move(stacked, std::back_inserter(carried));
  return carried;
}

// ONNX's Scan with time as the second axis.
std::vector<NamedAttr> onnx_scan_attrs(const Node& node) {
  const auto& reverse_inputs = node.attrs.integers("reverse_inputs");
  const auto& reverse_outputs = node.attrs.integers("reverse_outputs");
  const std::vector<std::int64_t> input_axes(reverse_inputs.size(), 1), output_axes(reverse_outputs.size(), 1);
  std::vector<NamedAttr> attrs = {{"num_scan_inputs", static_cast<std::int64_t>(reverse_inputs.size())},
                                  {"scan_input_axes", input_axes},
                                  {"scan_input_directions", reverse_inputs}};
  if (!reverse_outputs.empty()) {
    attrs.emplace_back("scan_output_axes", output_axes);
    attrs.emplace_back("scan_output_directions", reverse_outputs);
  }
  return attrs;
}

}  // namespace

std::vector<Op> recurrent_ops() {
  std::vector<Op> rows;
  const std::vector<Type> with_lengths = {f32({3, 5, 3}), f32({12, 3}), f32({12, 4}),     f32({12}),
                                          f32({12}),      f32({3, 4}),  {DType::i64, {3}}};
  rows.push_back({
      .name = "gru",
      .doc = "r = s(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = "
             "(1-z) n + z h; lengths: steps of each sequence",
      .operands = {"x", "weight_ih", "weight_hh", "bias_ih?", "bias_hh?", "h0?", "lengths?"},
      .attrs = {{"reverse", AttrKind::flag, false}},
      .infer = infer_gru,
      .eval = eval_gru,
      .expand = expand_gru_to_scan,
      .expand_onnx = expand_gru_to_onnx,
      .examples = {{{f32({2, 5, 3}), f32({12, 3}), f32({12, 4}), f32({12}), f32({12})}, {}, -2, 2, 1},
                   {{f32({2, 5, 3}), f32({12, 3}), f32({12, 4}), f32({12}), f32({12})}, {{"reverse", true}}, -2, 2, 1},
                   {{f32({1, 4, 3}), f32({6, 3}), f32({6, 2})}, {}, -2, 2, 1},
                   {with_lengths, {}, -1, 1, 1, {{0, 5}}},
                   {with_lengths, {{"reverse", true}}, -1, 1, 1, {{0, 5}}}},
  });
  rows.push_back({
      .name = "onnx_gru",
      .doc = "ONNX's GRU of one direction, time first, gates in order z, r, n, linear_before_reset = 1",
      .operands = {"x", "w", "r", "b", "sequence_lens?", "initial_h?"},
      .attrs = {{"hidden_size", AttrKind::integer}, {"direction", AttrKind::text, std::string("forward")}},
      .infer = infer_onnx_gru,
      .eval = eval_onnx_gru,
      .onnx = {.op_type = "GRU",
               .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4), operand(5)},
               .attrs = {{"hidden_size", "hidden_size"}, {"direction", "direction"}},
               .fixed = {{"linear_before_reset", std::int64_t{1}}}},
      .examples = {{{f32({5, 2, 3}), f32({1, 12, 3}), f32({1, 12, 4}), f32({1, 24})},
                    {{"hidden_size", std::int64_t{4}}},
                    -2,
                    2,
                    1},
                   {{f32({5, 2, 3}), f32({1, 12, 3}), f32({1, 12, 4}), f32({1, 24}), {DType::i32, {2}}},
                    {{"hidden_size", std::int64_t{4}}},
                    0,
                    2,
                    1}},
  });
  rows.push_back({
      .name = "scan",
      .doc = "runs its body once per entry of axis 1 of the sequences, carrying states and stacking results",
      .operands = {"states_and_sequences*"},
      .attrs = {{"states", AttrKind::integer},
                {"reverse_inputs", AttrKind::integers},
                {"reverse_outputs", AttrKind::integers}},
      .infer = infer_scan,
      .eval = eval_scan,
      .onnx = {.op_type = "Scan", .inputs = {operands_from(0)}, .made_attrs = onnx_scan_attrs, .regions = {"body"}},
  });
  return rows;
}

}  // namespace taper
