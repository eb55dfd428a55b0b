// Small networks with random weights, as the frontends build them: input [B, T, F] with both B and T symbolic.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "ops/builder.h"
#include "ops/evaluate.h"

namespace taper {

class RandomWeights {
 public:
  explicit RandomWeights(Builder& build) : build_(build) {}

  Value* operator()(std::vector<std::int64_t> shape, const std::string& name, float scale = 0.4f) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    std::uniform_real_distribution<float> draw(-scale, scale);
    std::vector<float> values(count);
    for (float& value : values) value = draw(generator_);
    return build_.constant(tensor_f32(std::move(shape), values), name);
  }

 private:
  Builder& build_;
  std::mt19937 generator_{11};
};

struct SampleNetwork {
  Graph graph;
  Builder build{graph};
  RandomWeights weights{build};
  Dim batch = Dim::symbol("batch_size");
  Dim steps = Dim::symbol("sequence_length");

  Value* input(std::int64_t features) { return graph.add_input("input", {DType::f32, {batch, steps, features}}); }
  Value* linear(Value* x, std::int64_t in, std::int64_t out, const std::string& name) {
    return build("linear", {x, weights({out, in}, name + ".weight"), weights({out}, name + ".bias")});
  }
  std::vector<Value*> gru(Value* x, std::int64_t in, std::int64_t hidden, bool reverse, const std::string& name) {
    return build.call(
        "gru",
        {x, weights({3 * hidden, in}, name + ".weight_ih"), weights({3 * hidden, hidden}, name + ".weight_hh"),
         weights({3 * hidden}, name + ".bias_ih"), weights({3 * hidden}, name + ".bias_hh")},
        {{"reverse", reverse}}, name);
  }
};

// Two layers, the last state into a head.
inline Graph gru_stack() {
  SampleNetwork net;
  Value* x = net.input(6);
  Value* y = net.gru(x, 6, 5, false, "gru1")[0];
  Value* h = net.gru(y, 5, 4, false, "gru2")[1];
  net.graph.add_output("output", net.linear(h, 4, 3, "head"));
  return std::move(net.graph);
}

// Two bidirectional layers.
inline Graph bidirectional_gru() {
  SampleNetwork net;
  Value* x = net.input(6);
  const Attrs last = {{"dim", std::int64_t{-1}}};
  Value* y = net.build("concat", {net.gru(x, 6, 5, false, "gru1")[0], net.gru(x, 6, 5, true, "gru1_reverse")[0]}, last);
  Value* h =
      net.build("concat", {net.gru(y, 10, 4, false, "gru2")[1], net.gru(y, 10, 4, true, "gru2_reverse")[1]}, last);
  net.graph.add_output("output", net.linear(h, 8, 3, "head"));
  return std::move(net.graph);
}

// A label per frame.
inline Graph ctc_gru() {
  SampleNetwork net;
  Value* y = net.gru(net.input(6), 6, 5, false, "gru1")[0];
  y = net.build("layer_norm", {y, net.weights({5}, "ln1.weight"), net.weights({5}, "ln1.bias")});
  y = net.gru(y, 5, 4, false, "gru2")[0];
  net.graph.add_output("output", net.build("log_softmax", {net.linear(y, 4, 3, "head")}));
  return std::move(net.graph);
}

// Embedding, positions, one pre-norm block, a pooled head; with `cls` a token in front of the frames.
inline Graph transformer(std::int64_t heads = 4, const std::string& pooling = "mean") {
  const std::int64_t width = 8 * heads, longest = 320;
  SampleNetwork net;
  Builder& build = net.build;
  Value* x = net.linear(net.input(6), 6, width, "embedding");
  Value* positions = net.weights({1, longest, width}, "pe");
  const auto frames = [&](std::int64_t start, const Dim& end) {
    return build("slice", {positions}, {{"dim", std::int64_t{1}}, {"start", start}, {"end", Shape{end}}});
  };
  if (pooling == "cls") {
    Value* corner = build("slice", {build("slice", {x}, {{"dim", std::int64_t{1}}, {"end", Shape{1}}})},
                          {{"dim", std::int64_t{2}}, {"end", Shape{1}}});
    Value* token =
        build("add", {build("zeros_like", {corner}), build("add", {net.weights({1, 1, width}, "cls"), frames(0, 1)})});
    x = build("concat", {token, build("add", {x, frames(1, net.steps + 1)})}, {{"dim", std::int64_t{1}}});
  } else {
    x = build("add", {x, frames(0, net.steps)});
  }
  const auto norm = [&](Value* value, const std::string& name) {
    return build("layer_norm", {value, net.weights({width}, name + ".gamma"), net.weights({width}, name + ".beta")},
                 {{"eps", 1e-6}});
  };
  Value* y = norm(x, "norm1");
  y = build("multi_head_attention",
            {net.linear(y, width, width, "q"), net.linear(y, width, width, "k"), net.linear(y, width, width, "v")},
            {{"num_heads", heads}});
  x = build("add", {x, net.linear(y, width, width, "o")});
  y = build("relu", {net.linear(norm(x, "norm2"), width, 2 * width, "linear1")});
  x = build("add", {x, net.linear(y, 2 * width, width, "linear2")});
  const std::vector<std::int64_t> time = {1};
  if (pooling == "mean") x = build("mean", {x}, {{"dims", time}});
  if (pooling == "max") x = build("amax", {x}, {{"dims", time}});
  if (pooling == "cls") x = build("select", {x}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{0}}});
  net.graph.add_output("output", net.linear(x, width, 3, "head"));
  return std::move(net.graph);
}

// Two LSTMs, the second backwards, and a plain recurrent layer; both last states of the second into a head.
inline Graph lstm_stack() {
  SampleNetwork net;
  const auto layer = [&](std::string_view op, Value* x, std::int64_t gates, std::int64_t in, std::int64_t hidden,
                         const Attrs& attrs) {
    const std::int64_t rows = gates * hidden;
    return net.build.call(op,
                          {x, net.weights({rows, in}, "weight_ih"), net.weights({rows, hidden}, "weight_hh"),
                           net.weights({rows}, "bias_ih"), net.weights({rows}, "bias_hh")},
                          attrs);
  };
  Value* y = layer("lstm", net.input(6), 4, 6, 5, {})[0];
  y = layer("rnn", y, 1, 5, 5, {})[0];
  const std::vector<Value*> last = layer("lstm", y, 4, 5, 4, {{"reverse", true}});
  Value* states = net.build("concat", {last[1], last[2]}, {{"dim", std::int64_t{1}}});
  net.graph.add_output("output", net.linear(states, 8, 3, "head"));
  return std::move(net.graph);
}

// Causal attention of two heads that are axes of their own; the last frame into a head.
inline Graph causal_attention() {
  SampleNetwork net;
  Builder& build = net.build;
  Value* x = net.input(6);
  const auto heads = [&](const std::string& name) {
    Value* split = build("reshape", {net.linear(x, 6, 8, name)}, {{"shape", Shape{net.batch, net.steps, 2, 4}}});
    return build("permute", {split}, {{"dims", std::vector<std::int64_t>{0, 2, 1, 3}}});
  };
  Value* mixed =
      build("scaled_dot_product_attention", {heads("q"), heads("k"), heads("v")}, {{"scale", 0.5}, {"causal", true}});
  mixed = build("permute", {mixed}, {{"dims", std::vector<std::int64_t>{0, 2, 1, 3}}});
  mixed = build("reshape", {mixed}, {{"shape", Shape{net.batch, net.steps, 8}}});
  Value* last = build("select", {mixed}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{-1}}});
  net.graph.add_output("output", net.linear(last, 8, 3, "head"));
  return std::move(net.graph);
}

// A loop of three steps over a state, and a branch after it.
inline Graph loop_and_branch() {
  SampleNetwork net;
  Builder& build = net.build;
  Value* x = build("mean", {net.input(6)}, {{"dims", std::vector<std::int64_t>{1}}});
  const Type state{DType::f32, {net.batch, 6}}, counter{DType::i32, {}};
  std::vector<std::unique_ptr<Graph>> loop, branches;
  loop.push_back(std::make_unique<Graph>());
  Builder condition(*loop[0]);
  Value* step = loop[0]->add_input("step", counter);
  loop[0]->add_input("state", state);
  loop[0]->add_output("go_on", condition("less", {step, condition.scalar_i32(3)}));
  loop.push_back(std::make_unique<Graph>());
  Builder body(*loop[1]);
  step = loop[1]->add_input("step", counter);
  Value* value = loop[1]->add_input("state", state);
  loop[1]->add_output("step", body("add", {step, body.scalar_i32(1)}));
  loop[1]->add_output("state", body("mul", {value, body.scalar(0.5)}));
  const std::vector<Value*> looped = build.call("while", {build.scalar_i32(0), x}, {}, "loop", std::move(loop));
  for (const double factor : {2.0, 3.0}) {
    branches.push_back(std::make_unique<Graph>());
    Builder branch(*branches.back());
    Value* operand = branches.back()->add_input("operand", state);
    branches.back()->add_output("result", branch("mul", {operand, branch.scalar(factor)}));
  }
  Value* few = build("less", {looped[0], build.scalar_i32(7)});
  Value* chosen = build.call("if", {few, looped[1]}, {}, "branch", std::move(branches))[0];
  net.graph.add_output("output", net.linear(chosen, 6, 3, "head"));
  return std::move(net.graph);
}

// Two frames side by side become one, of which there are half as many: a size that the file has to compute.
inline Graph pairs_of_frames() {
  SampleNetwork net;
  Builder& build = net.build;
  using Integers = std::vector<std::int64_t>;
  Value* padded = build("pad", {net.input(6)}, {{"before", Integers{0, 0, 0}}, {"after", Integers{0, 1, 0}}});
  const Dim pairs = floor_divide(net.steps + 1, 2);
  Value* even = build("slice", {padded}, {{"dim", std::int64_t{1}}, {"end", Shape{pairs * 2}}});
  Value* joined = build("reshape", {even}, {{"shape", Shape{net.batch, pairs, 12}}});
  net.graph.add_output("output", net.linear(build("relu", {joined}), 12, 3, "head"));
  return std::move(net.graph);
}

struct NamedNetwork {
  std::string name;
  Graph (*make)();
};

inline const std::vector<NamedNetwork>& all_networks() {
  static const std::vector<NamedNetwork> networks = {
      {"gru_stack", gru_stack},
      {"bidirectional_gru", bidirectional_gru},
      {"ctc_gru", ctc_gru},
      {"transformer_mean", [] { return transformer(); }},
      {"transformer_max_of_8_heads", [] { return transformer(8, "max"); }},
      {"transformer_cls_of_5_heads", [] { return transformer(5, "cls"); }},
      {"transformer_of_1_head", [] { return transformer(1); }},
      {"lstm_stack", lstm_stack},
      {"causal_attention", causal_attention},
      {"loop_and_branch", loop_and_branch},
      {"pairs_of_frames", pairs_of_frames},
  };
  return networks;
}

inline Array random_input(std::vector<std::int64_t> shape) {
  std::mt19937 generator(5);
  std::uniform_real_distribution<double> draw(-1, 1);
  Array array{DType::f32, std::move(shape), {}};
  std::size_t count = 1;
  for (const std::int64_t size : array.shape) count *= static_cast<std::size_t>(size);
  array.values.resize(count);
  for (double& value : array.values) value = static_cast<double>(static_cast<float>(draw(generator)));
  return array;
}

}  // namespace taper
