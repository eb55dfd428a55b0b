// Passes around convolutions: norms and padding into them.
#include <algorithm>
#include <cmath>
#include <span>

#include "ops/evaluate.h"
#include "ops/rules.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

bool all_constant(std::span<Value* const> values) {
  return std::ranges::all_of(values, [](const Value* v) { return v == nullptr || constant_of(v) != nullptr; });
}

// The axis of a weight that has an entry per output channel of its layer; nothing for other operators. Transposed
// convolutions in groups repeat theirs.
std::optional<std::size_t> output_axis(const Node& node) {
  if (node.op == "conv") return 0;
  if (node.op == "conv_transpose" && node.attrs.integer("groups") == 1) return 1;
  if (node.op == "linear" && node.attrs.text("activation") == "none" && node.operands[0]->type.shape.size() == 2)
    return 0;
  return std::nullopt;
}

// What a norm multiplies each channel with, and then adds.
struct Affine {
  std::vector<double> factor, summand;
};

Affine affine_of(const Node& norm) {
  const auto entries = [&norm](std::size_t i, double fallback) {
    if (norm.operands[i] != nullptr) return to_double(*constant_of(norm.operands[i]));
    return std::vector<double>(static_cast<std::size_t>(constant_of(norm.operands[3])->shape[0]), fallback);
  };
  const std::vector<double> weight = entries(1, 1), bias = entries(2, 0), mean = entries(3, 0), var = entries(4, 1);
  Affine affine;
  for (std::size_t c = 0; c < mean.size(); ++c) {
    affine.factor.push_back(weight[c] / std::sqrt(var[c] + norm.attrs.real("eps")));
    affine.summand.push_back(bias[c] - mean[c] * affine.factor[c]);
  }
  return affine;
}

// The weight with each entry of an axis multiplied by its factor.
Tensor scaled(const Tensor& weight, std::size_t axis, std::span<const double> factors) {
  const auto inner = static_cast<std::size_t>(axis_view(weight.shape, axis).inner);
  std::size_t index = 0;
  return with_changed_rows(weight, [&](std::int64_t, std::span<double> entries) {
    for (double& entry : entries) entry *= factors[index++ / inner % factors.size()];
  });
}

}  // namespace

// norm(W x + b) = (g W) x + (g b + s)
Expected<Graph> fold_batch_norms(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    return
        [users = users_of(owner)](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
          if (node.op != "batch_norm" || !all_constant(operands.subspan(1))) return std::nullopt;
          const Value* input = node.operands[0];
          const Node* layer = operands[0]->producer;  // in the new graph
          if (layer == nullptr || users.at(input).size() != 1 || !all_constant(std::span(layer->operands).subspan(1)))
            return std::nullopt;
          const auto axis = output_axis(*layer);
          if (!axis) return std::nullopt;
          const Affine affine = affine_of(node);
          Tensor weight = scaled(*constant_of(layer->operands[1]), *axis, affine.factor);
          const bool has_bias = layer->operands.size() > 2 && layer->operands[2] != nullptr;
          Array bias = has_bias ? to_array(*constant_of(layer->operands[2]))
                                : make_array(weight.dtype, {static_cast<std::int64_t>(affine.factor.size())});
          for (std::size_t c = 0; c < bias.values.size(); ++c)
            bias.values[c] = bias.values[c] * affine.factor[c] + affine.summand[c];
          const std::string name = layer->operands[1]->name;
          return build.call(layer->op,
                            {layer->operands[0], build.constant(std::move(weight), name),
                             build.constant(to_tensor(bias), has_bias ? layer->operands[2]->name : name + ".bias")},
                            layer->attrs, node.results[0]->name);
        };
  };
  return rewrite(graph, rule_for);
}

// Zeros around an image are what a convolution's padding is.
Expected<Graph> fold_pads(const Graph& graph) {
  const Rule rule = [](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (node.op != "conv") return std::nullopt;
    const Node* pad = operands[0]->producer;
    if (pad == nullptr || pad->op != "pad" || pad->attrs.text("mode") != "constant" || pad->attrs.real("value") != 0)
      return std::nullopt;
    const Integers& before = pad->attrs.integers("before");
    const Integers& after = pad->attrs.integers("after");
    if (std::ranges::min(before) < 0 || std::ranges::min(after) < 0 || before[0] + before[1] + after[0] + after[1] != 0)
      return std::nullopt;
    Attrs attrs = node.attrs;
    Integers padding = attrs.integers("padding");
    const std::size_t axes = padding.size() / 2;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      padding[axis] += before[axis + 2];
      padding[axes + axis] += after[axis + 2];
    }
    attrs.set("padding", std::move(padding));
    std::vector<Value*> all(operands.begin(), operands.end());
    all[0] = pad->operands[0];
    return build.call(node.op, all, attrs, node.results[0]->name);
  };
  return rewrite(graph, rule);
}

}  // namespace taper
