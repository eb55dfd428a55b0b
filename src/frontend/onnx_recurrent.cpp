// ONNX's LSTM, GRU and RNN: whole layers of ours where they are PyTorch's, else a scan whose body is the formula.
#include <functional>

#include "frontend/aten_table.h"
#include "frontend/onnx_importer.h"
#include "ops/recurrent.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

struct Kind {
  std::string_view name;
  std::int64_t gates;
  Integers order;  // ONNX's gates in the order of PyTorch's
  bool has_cell;
};

// One layer as the node gives it; sequences are [B, T, ...] here.
struct Layer {
  Value* x = nullptr;
  std::int64_t hidden = 0;
  std::string direction;
  std::vector<std::string> activations;
  std::vector<double> alphas, betas;
  std::optional<double> clip;
  bool batch_first = false;
  Value* lengths = nullptr;  // how many steps of each sequence count [B]; none: all
};

// What a direction has of the node's operands; nullptr: nothing.
struct Direction {
  Value* input_weight = nullptr;   // [G h, F]
  Value* hidden_weight = nullptr;  // [G h, h]
  Value* input_bias = nullptr;     // [G h]
  Value* hidden_bias = nullptr;
  Value* state = nullptr;  // [B, h]
  Value* cell = nullptr;
  Value* peepholes = nullptr;  // [3 h]: input, output, forget
  bool reverse = false;
};

Value* entry(Call& call, Value* value, std::int64_t dim, std::int64_t index) {
  return value == nullptr ? nullptr : call.build("select", {value}, {{"dim", dim}, {"index", index}});
}

// The gates' rows in another order.
Value* reorder(Call& call, Value* rows, const Integers& order, std::int64_t hidden) {
  if (call.failed() || rows == nullptr) return nullptr;
  std::vector<Value*> parts;
  for (const std::int64_t gate : order) parts.push_back(call.slice(rows, 0, gate * hidden, Dim((gate + 1) * hidden)));
  return call.build("concat", parts, {{"dim", std::int64_t{0}}}, rows->name);
}

Value* zeros(Call& call, const Layer& layer) {
  return call.full(Shape{layer.x->type.shape[0], layer.hidden}, 0, layer.x->type.dtype);
}

// An activation of ONNX's recurrent operators.
Value* activate(Builder& build, const Layer& layer, std::size_t index, Value* x) {
  std::string name = layer.activations[index];
  for (char& c : name) c = static_cast<char>(std::tolower(c));
  const auto real = [&](const std::vector<double>& list, double fallback) {
    return index < list.size() ? list[index] : fallback;
  };
  if (layer.clip) x = build("clamp", {x}, {{"min", -*layer.clip}, {"max", *layer.clip}});
  if (name == "sigmoid" || name == "tanh" || name == "relu" || name == "softsign") return build(name, {x});
  if (name == "softplus") return build(name, {x}, {{"beta", 1.0}, {"threshold", 20.0}});
  if (name == "hardsigmoid")
    return build("hard_sigmoid", {x}, {{"alpha", real(layer.alphas, 0.2)}, {"beta", real(layer.betas, 0.5)}});
  if (name == "leakyrelu") return build("leaky_relu", {x}, {{"negative_slope", real(layer.alphas, 0.01)}});
  if (name == "elu") return build("elu", {x}, {{"alpha", real(layer.alphas, 1.0)}});
  build.set_error({fmt::format("activation '{}' is not read", layer.activations[index]), {}, {}});
  return nullptr;
}

struct States {
  Value* y = nullptr;  // [B, T, h]
  Value* h = nullptr;  // [B, h]
  Value* c = nullptr;
};

// The next states from the frame's input product and the states.
struct StepInputs {
  Builder& build;
  Value* frame;  // [B, G h]: W x + Wb
  Value* h;
  Value* c;
  std::function<Value*(Value*)> carried;  // a value from outside, inside of the body
};

// A scan over the frames' input products. `outside` are values that the body uses.
States run_scan(Call& call, const Layer& layer, const Direction& side, bool has_cell,
                const std::vector<Value*>& outside,
                const std::function<std::pair<Value*, Value*>(const StepInputs&)>& step) {
  States result;
  Value* product = call.build("linear", {layer.x, side.input_weight, side.input_bias});
  if (call.failed()) return result;
  std::vector<Value*> states = {side.state != nullptr ? side.state : zeros(call, layer)};
  if (has_cell) states.push_back(side.cell != nullptr ? side.cell : zeros(call, layer));
  auto body = std::make_unique<Graph>();
  Builder build(*body);
  std::vector<Value*> inner;
  for (std::size_t i = 0; i < states.size(); ++i) inner.push_back(body->add_input(i == 0 ? "h" : "c", states[i]->type));
  const std::size_t own = states.size();
  // Constants are copied into the body, other values go through it unchanged.
  std::unordered_map<Value*, Value*> inside;
  for (Value* value : outside) {
    if (value == nullptr || inside.contains(value)) continue;
    if (const Tensor* tensor = constant_of(value)) {
      inside[value] = build.constant(*tensor, value->name);
    } else {
      inside[value] = body->add_input(value->name, value->type);
      states.push_back(value);
    }
  }
  Type frame = product->type;
  frame.shape.erase(frame.shape.begin() + 1);
  Value* x = body->add_input("frame", frame);
  Value* counts = counting_steps(call.build, product, layer.lengths);
  Value* step_counts = counts_of_step(*body, counts);
  auto [h, c] = step({build, x, inner[0], has_cell ? inner[1] : nullptr,
                      [&](Value* value) { return value == nullptr ? nullptr : inside.at(value); }});
  h = kept_state(build, step_counts, h, inner[0]);
  if (has_cell) c = kept_state(build, step_counts, c, inner[1]);
  if (const auto status = build.status(); !status) {
    call.build.set_error(status.error());
    return result;
  }
  body->add_output("h_next", h);
  if (has_cell) body->add_output("c_next", c);
  for (std::size_t i = own; i < states.size(); ++i) body->add_output(states[i]->name, body->inputs()[i]);
  body->add_output("y", h);
  const std::vector<Value*> out = call_scan(call.build, side.reverse, states, product, counts, std::move(body));
  if (call.failed()) return result;
  result.y = out[0];
  result.h = out[1];
  result.c = has_cell ? out[2] : nullptr;
  return result;
}

std::vector<Value*> gates_of(Builder& build, Value* joined, std::int64_t count) {
  return build.call("split", {joined}, {{"dim", std::int64_t{-1}}, {"parts", count}});
}

// i = f(Wx + Rh + P c), o with the next cell, c' = f c + i c~; with input_forget f = 1 - i.
States lstm_openly(Call& call, const Layer& layer, const Direction& side, bool input_forget) {
  return run_scan(
      call, layer, side, true, {side.hidden_weight, side.hidden_bias, side.peepholes}, [&](const StepInputs& in) {
        Builder& b = in.build;
        Value* sums =
            b("add", {in.frame, b("linear", {in.h, in.carried(side.hidden_weight), in.carried(side.hidden_bias)})});
        const std::vector<Value*> gate = gates_of(b, sums, 4);  // i, o, f, c
        std::vector<Value*> peep(3, nullptr);
        if (side.peepholes != nullptr)
          peep = b.call("split", {in.carried(side.peepholes)}, {{"dim", std::int64_t{0}}, {"parts", std::int64_t{3}}});
        const auto looked = [&](Value* sum, Value* weight, Value* cell) {
          return weight == nullptr ? sum : b("add", {sum, b("mul", {weight, cell})});
        };
        Value* i = activate(b, layer, 0, looked(gate[0], peep[0], in.c));
        Value* f = nullptr;
        if (input_forget) {
          Array one{in.c->type.dtype, {}, {1}};
          f = b("sub", {b.constant(to_tensor(one)), i});
        } else {
          f = activate(b, layer, 0, looked(gate[2], peep[2], in.c));
        }
        Value* c = b("add", {b("mul", {f, in.c}), b("mul", {i, activate(b, layer, 1, gate[3])})});
        Value* o = activate(b, layer, 0, looked(gate[1], peep[1], c));
        Layer unclipped = layer;
        unclipped.clip.reset();
        Value* h = b("mul", {o, activate(b, unclipped, 2, c)});
        return std::pair(h, c);
      });
}

// z, r as PyTorch's; the candidate with the state reset before or after its product.
States gru_openly(Call& call, const Layer& layer, const Direction& side, bool reset_after) {
  Value* weights[2] = {side.hidden_weight, nullptr};
  Value* biases[2] = {side.hidden_bias, nullptr};
  const std::int64_t h2 = 2 * layer.hidden;
  weights[1] = call.slice(side.hidden_weight, 0, h2, Dim(3 * layer.hidden));
  weights[0] = call.slice(side.hidden_weight, 0, 0, Dim(h2));
  if (side.hidden_bias != nullptr) {
    biases[1] = call.slice(side.hidden_bias, 0, h2, Dim(3 * layer.hidden));
    biases[0] = call.slice(side.hidden_bias, 0, 0, Dim(h2));
  }
  if (call.failed()) return {};
  return run_scan(call, layer, side, false, {weights[0], weights[1], biases[0], biases[1]}, [&](const StepInputs& in) {
    Builder& b = in.build;
    const std::vector<Value*> from_x = gates_of(b, in.frame, 3);
    const std::vector<Value*> from_h =
        gates_of(b, b("linear", {in.h, in.carried(weights[0]), in.carried(biases[0])}), 2);
    Value* z = activate(b, layer, 0, b("add", {from_x[0], from_h[0]}));
    Value* r = activate(b, layer, 0, b("add", {from_x[1], from_h[1]}));
    Value* state = reset_after ? in.h : b("mul", {r, in.h});
    Value* product = b("linear", {state, in.carried(weights[1]), in.carried(biases[1])});
    if (reset_after) product = b("mul", {r, product});
    Value* n = activate(b, layer, 1, b("add", {from_x[2], product}));
    Value* next = b("add", {n, b("mul", {z, b("sub", {in.h, n})})});
    return std::pair<Value*, Value*>(next, nullptr);
  });
}

States rnn_openly(Call& call, const Layer& layer, const Direction& side) {
  return run_scan(call, layer, side, false, {side.hidden_weight, side.hidden_bias}, [&](const StepInputs& in) {
    Builder& b = in.build;
    Value* sum =
        b("add", {in.frame, b("linear", {in.h, in.carried(side.hidden_weight), in.carried(side.hidden_bias)})});
    return std::pair<Value*, Value*>(activate(b, layer, 0, sum), nullptr);
  });
}

// A layer of ours: weights are constants, in PyTorch's order of gates.
States run_whole(Call& call, const Layer& layer, const Direction& side, const Kind& kind, std::string_view row,
                 Attrs attrs) {
  const auto ordered = [&](Value* rows) { return reorder(call, rows, kind.order, layer.hidden); };
  std::vector<Value*> operands = {layer.x,
                                  ordered(side.input_weight),
                                  ordered(side.hidden_weight),
                                  ordered(side.input_bias),
                                  ordered(side.hidden_bias),
                                  side.state};
  if (kind.has_cell) operands.insert(operands.end(), {side.cell, nullptr});  // no projection
  operands.push_back(layer.lengths);
  while (operands.back() == nullptr && operands.size() > 3) operands.pop_back();
  attrs.set("reverse", side.reverse);
  const std::vector<Value*> out = call.build.call(row, operands, attrs);
  States states{out[0], out[1], nullptr};
  if (kind.has_cell && out.size() > 2) states.c = out[2];
  return states;
}

bool are(const Layer& layer, std::initializer_list<std::string_view> names) {
  return std::ranges::equal(layer.activations, names, [](std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return std::tolower(x) == std::tolower(y); });
  });
}

// What a sequence begins with [B, h]: ONNX Runtime gives 0 after no steps, whatever that is.
Value* state_where_steps(Call& call, Value* state, Value* lengths) {
  if (state == nullptr || lengths == nullptr || call.failed() || aten::is_all_zeros(state)) return state;
  const auto known = aten::constant_value(lengths);
  if (known && std::ranges::all_of(known->values, [](double length) { return length > 0; })) return state;
  Value* column = call.build("reshape", {lengths}, {{"shape", Shape{lengths->type.shape[0], Dim(1)}}});
  Value* has_steps = call.binary("less", call.number(0, lengths->type.dtype), column);
  return call.build("where", {has_steps, state, call.number(0, state->type.dtype)});
}

void read_recurrent(Call& call, const Kind& kind, std::initializer_list<std::string_view> defaults) {
  Layer layer;
  layer.direction = call.text("direction", "forward");
  layer.batch_first = call.flag("layout", false);
  if (call.has_attribute("clip")) layer.clip = call.real("clip", 0);
  const bool input_forget = call.flag("input_forget", false), reset_after = call.flag("linear_before_reset", false);
  call.ignore({"hidden_size", "output_sequence"});
  const std::int64_t directions = layer.direction == "bidirectional" ? 2 : 1;
  const auto given = call.texts("activations");
  const auto alphas = call.reals("activation_alpha"), betas = call.reals("activation_beta");
  layer.x = call.x(0);
  Value* weights[2] = {call.x(1), call.x(2)};
  if (call.failed()) return;
  const Shape shape = layer.x->type.shape;
  if (shape.size() != 3 || weights[1]->type.shape.size() != 3 || weights[0]->type.shape.size() != 3)
    return call.fail("x, w and r need three axes");
  const auto hidden = weights[1]->type.shape[2].constant();
  if (!hidden || *hidden < 1 || !weights[1]->type.shape[1].is(kind.gates * *hidden) ||
      !weights[1]->type.shape[0].is(directions))
    return call.fail(fmt::format("r has shape {}", shape_text(weights[1]->type.shape)));
  layer.hidden = *hidden;
  if (!layer.batch_first) layer.x = call.permute(layer.x, {1, 0, 2});
  if (call.has(4)) {
    // Lengths that are all that of the sequence say nothing.
    const auto lengths = call.known_if_any(4);
    const Dim steps = shape[layer.batch_first ? 1 : 0];
    if (!lengths || !std::ranges::all_of(lengths->elements, [&](const Dim& dim) { return dim == steps; }))
      layer.lengths = call.x(4);
    for (std::size_t i = 0; lengths && i < lengths->elements.size(); ++i)
      if (const auto known = lengths->elements[i].constant()) {
        if (*known < 0 || *known > steps.constant().value_or(*known))
          return call.fail(fmt::format("a sequence of {} steps in a batch of {}", *known, steps.text()));
        call.importer.assume_at_least(steps, *known);
      }
    const Shape batch = {layer.x->type.shape[0]};
    if (layer.lengths != nullptr && layer.lengths->type.shape != batch)
      return call.fail(fmt::format("sequence_lens is {}, expected one length for each of {} sequences",
                                   type_text(layer.lengths->type), batch[0].text()),
                       "name axes that are as long alike: --input-shape x=T,B,16 --input-shape lengths=B");
  }
  std::vector<Value*> ys, hs, cs;
  for (std::int64_t i = 0; i < directions; ++i) {
    Direction side;
    side.reverse = layer.direction == "reverse" || i == 1;
    side.input_weight = entry(call, weights[0], 0, i);
    side.hidden_weight = entry(call, weights[1], 0, i);
    if (call.has(3)) {
      Value* bias = entry(call, call.x(3), 0, i);
      side.input_bias = call.slice(bias, 0, 0, Dim(kind.gates * *hidden));
      side.hidden_bias = call.slice(bias, 0, kind.gates * *hidden, Dim(2 * kind.gates * *hidden));
    }
    const std::int64_t state_axis = layer.batch_first ? 1 : 0;
    side.state = state_where_steps(call, entry(call, call.optional(5), state_axis, i), layer.lengths);
    if (kind.has_cell) {
      side.cell = state_where_steps(call, entry(call, call.optional(6), state_axis, i), layer.lengths);
      side.peepholes = entry(call, call.optional(7), 0, i);
    }
    if (call.failed()) return;
    const std::size_t count = defaults.size();
    layer.activations.assign(defaults.begin(), defaults.end());
    if (given) {
      const std::size_t first =
          given->size() == count * static_cast<std::size_t>(directions) ? static_cast<std::size_t>(i) * count : 0;
      if (given->size() < first + count) return call.fail("activations are missing");
      layer.activations.assign(given->begin() + static_cast<std::ptrdiff_t>(first),
                               given->begin() + static_cast<std::ptrdiff_t>(first + count));
    }
    layer.alphas = alphas.value_or(std::vector<double>{});
    layer.betas = betas.value_or(std::vector<double>{});
    const bool usual = !layer.clip && constant_of(weights[0]) != nullptr && constant_of(weights[1]) != nullptr &&
                       (!call.has(3) || constant_of(call.x(3)) != nullptr) && layer.x->type.dtype == DType::f32;
    States states;
    if (kind.name == "LSTM") {
      const bool whole = usual && side.peepholes == nullptr && !input_forget && are(layer, {"Sigmoid", "Tanh", "Tanh"});
      states = whole ? run_whole(call, layer, side, kind, "lstm", {}) : lstm_openly(call, layer, side, input_forget);
    } else if (kind.name == "GRU") {
      const bool whole = usual && reset_after && are(layer, {"Sigmoid", "Tanh"});
      states = whole ? run_whole(call, layer, side, kind, "gru", {}) : gru_openly(call, layer, side, reset_after);
    } else {
      const bool whole = usual && (are(layer, {"Tanh"}) || are(layer, {"Relu"}));
      states = whole ? run_whole(call, layer, side, kind, "rnn",
                                 {{"nonlinearity", std::string(are(layer, {"Tanh"}) ? "tanh" : "relu")}})
                     : rnn_openly(call, layer, side);
    }
    ys.push_back(states.y);
    hs.push_back(states.h);
    cs.push_back(states.c);
  }
  if (call.failed()) return;
  // y: [T, D, B, h], or [B, T, D, h]; states: [D, B, h], or [B, D, h].
  const auto stack = [&](const std::vector<Value*>& values, std::int64_t dim) {
    std::vector<Value*> parts;
    for (Value* value : values) parts.push_back(call.unsqueeze(value, {dim}));
    return parts.size() == 1 ? parts[0] : call.build("concat", parts, {{"dim", dim}});
  };
  if (call.wants(0)) {
    Value* y = stack(ys, 2);  // [B, T, D, h]
    call.set(0, layer.batch_first ? y : call.permute(y, {1, 2, 0, 3}, call.name()));
  }
  if (call.wants(1)) call.set(1, stack(hs, layer.batch_first ? 1 : 0));
  if (kind.has_cell && call.wants(2)) call.set(2, stack(cs, layer.batch_first ? 1 : 0));
}

}  // namespace

std::vector<Row> recurrent_rows() {
  return {
      {.op = "LSTM",
       .operands = 3,
       .since = 7,
       .read = [](Call& c) { read_recurrent(c, {"LSTM", 4, {0, 2, 3, 1}, true}, {"Sigmoid", "Tanh", "Tanh"}); }},
      {.op = "GRU",
       .operands = 3,
       .since = 7,
       .read = [](Call& c) { read_recurrent(c, {"GRU", 3, {1, 0, 2}, false}, {"Sigmoid", "Tanh"}); }},
      {.op = "RNN",
       .operands = 3,
       .since = 7,
       .read = [](Call& c) { read_recurrent(c, {"RNN", 1, {0}, false}, {"Tanh"}); }},
  };
}

}  // namespace taper::onnx_reader
