// Passes around linear layers: factors into weights, activations into operators, weights into float16.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/mapped_file.h"
#include "ops/evaluate.h"
#include "ops/grid.h"
#include "ops/rules.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

// The numbers of a constant that holds one for all of `count` entries, or one for each; nothing for nothing.
std::vector<double> numbers(const Value* value, std::int64_t count) {
  if (value == nullptr) return {};
  std::vector<double> each = to_double(*constant_of(value));
  if (each.size() == 1) each.assign(static_cast<std::size_t>(count), each[0]);
  return each;
}

// A constant of one number, or of one number per entry of the last axis of the other operand.
const Value* scale_operand(const Node& node) {
  for (const std::size_t i : {1u, 0u}) {
    const Tensor* tensor = constant_of(node.operands[i]);
    if (tensor == nullptr || tensor->dtype != DType::f32) continue;
    const Shape& other = node.operands[1 - i]->type.shape;
    if (tensor->element_count() == 1) return node.operands[i];
    if (tensor->rank() == 1 && !other.empty() && other.back().is(tensor->shape[0])) return node.operands[i];
  }
  return nullptr;
}

const Value* other_operand(const Node& node, const Value* operand) {
  return node.operands[0] == operand ? node.operands[1] : node.operands[0];
}

bool foldable_linear(const Node* node) {
  return node != nullptr && node->op == "linear" && constant_of(node->operands[1]) != nullptr &&
         (node->operands.size() < 3 || node->operands[2] == nullptr || constant_of(node->operands[2]) != nullptr);
}

bool plain_arithmetic(const Node* node, std::string_view op) {
  return node != nullptr && node->op == op && node->attrs.text("activation") == "none";
}

// What a linear layer's input is multiplied with and shifted by before it, as far as that can move into its weights.
struct InputChange {
  const Value* x = nullptr;  // the value before
  const Value* factor = nullptr;
  const Value* summand = nullptr;
};

InputChange input_change(const Node& linear) {
  InputChange change{linear.operands[0]};
  if (plain_arithmetic(change.x->producer, "add"))
    if (const Value* summand = scale_operand(*change.x->producer)) {
      change.summand = summand;
      change.x = other_operand(*change.x->producer, summand);
    }
  if (plain_arithmetic(change.x->producer, "mul"))
    if (const Value* factor = scale_operand(*change.x->producer)) {
      change.factor = factor;
      change.x = other_operand(*change.x->producer, factor);
    }
  return change;
}

// c (W (g x + s) + b) = (c W g) x + c (W s + b), where `factor` is c.
Value* build_linear(Builder& build, Value* x, const Node& linear, const InputChange& change, const Value* factor) {
  const Tensor& weight = *constant_of(linear.operands[1]);  // [out, in]
  const Value* bias = linear.operands.size() > 2 ? linear.operands[2] : nullptr;
  std::vector<double> biases = numbers(bias, weight.shape[0]);
  biases.resize(static_cast<std::size_t>(weight.shape[0]));
  const std::vector<double> summands = numbers(change.summand, weight.shape[1]);
  const std::vector<double> factors = numbers(change.factor, weight.shape[1]);
  const std::vector<double> row_factors = numbers(factor, weight.shape[0]);
  Tensor folded = with_changed_rows(weight, [&](std::int64_t row, std::span<double> entries) {
    double& row_bias = biases[static_cast<std::size_t>(row)];
    for (std::size_t i = 0; i < summands.size(); ++i) row_bias += entries[i] * summands[i];
    for (std::size_t i = 0; i < factors.size(); ++i) entries[i] *= factors[i];
    if (row_factors.empty()) return;
    const double row_factor = row_factors[static_cast<std::size_t>(row)];
    for (double& entry : entries) entry *= row_factor;
    row_bias *= row_factor;
  });
  const std::string name = linear.operands[1]->name;
  const DType bias_dtype = bias == nullptr ? DType::f32 : bias->type.dtype;
  Value* new_bias = build.constant(to_tensor({bias_dtype, {weight.shape[0]}, std::move(biases)}), name + ".bias");
  return build("linear", {x, build.constant(std::move(folded), name), new_bias}, linear.attrs, linear.results[0]->name);
}

// The linear layer that absorbs a multiplication of its result; whether nothing else reads the result is not asked.
const Node* absorbing_layer(const Node& mul, const Value* factor) {
  const Node* producer = other_operand(mul, factor)->producer;
  return foldable_linear(producer) && producer->attrs.text("activation") == "none" ? producer : nullptr;
}

}  // namespace

bool may_fold_scale(const Node& node) {
  if (foldable_linear(&node) && input_change(node).x != node.operands[0]) return true;
  const Value* factor = plain_arithmetic(&node, "mul") ? scale_operand(node) : nullptr;
  return factor != nullptr && absorbing_layer(node, factor) != nullptr;
}

Expected<Graph> fold_scales(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    // Old values that stand for new ones: what a linear layer reads instead of its scaled input.
    auto seen = std::make_shared<ValueMap>();
    return [seen, users = users_of(owner), &owner](Builder& build, const Node& node,
                                                   std::span<Value* const> operands) -> Replacement {
      if (!owner.inputs().empty() && seen->at(owner.inputs()[0]) == nullptr)
        for (std::size_t i = 0; i < owner.inputs().size(); ++i)
          seen->bind(owner.inputs()[i], build.graph().inputs()[i]);
      for (std::size_t i = 0; i < operands.size(); ++i)
        if (operands[i] != nullptr) seen->bind(node.operands[i], operands[i]);
      // The layer: this node, or the one before it if this is linear(x) * c and nothing else reads linear(x).
      const Node* linear = foldable_linear(&node) ? &node : nullptr;
      const Value* factor = nullptr;
      if (plain_arithmetic(&node, "mul")) factor = scale_operand(node);
      if (factor != nullptr)
        if (const Node* layer = absorbing_layer(node, factor);
            layer != nullptr && users.at(layer->result()).size() == 1)
          linear = layer;
      if (linear == nullptr) return std::nullopt;
      const InputChange change = input_change(*linear);
      if (change.x == linear->operands[0] && factor == nullptr) return std::nullopt;
      return std::vector{build_linear(build, seen->at(change.x), *linear, change, factor)};
    };
  };
  return rewrite(graph, rule_for);
}

namespace {

// The activation that an operator can apply to its result: the only one that reads it.
const Node* fusable_activation(const Node& node, const Users& users) {
  const Attr* activation = node.attrs.find("activation");
  if (activation == nullptr || std::get<std::string>(*activation) != "none") return nullptr;
  const auto readers = users.find(node.result());
  if (readers == users.end() || readers->second.size() != 1) return nullptr;
  const Node* reader = readers->second.front();
  return reader != nullptr && (reader->op == "relu" || reader->op == "relu6") ? reader : nullptr;
}

}  // namespace

Expected<Graph> fuse_activations(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    return
        [users = users_of(owner)](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
          if (const Node* activation = fusable_activation(node, users)) {
            Attrs attrs = node.attrs;
            attrs.set("activation", activation->op);
            return build.call(node.op, {operands.begin(), operands.end()}, attrs, activation->result()->name);
          }
          const Node* producer =
              node.operands.empty() || node.operands[0] == nullptr ? nullptr : node.operands[0]->producer;
          if (producer == nullptr || fusable_activation(*producer, users) != &node) return std::nullopt;
          return std::vector{operands[0]};
        };
  };
  return rewrite(graph, rule_for);
}

namespace {

// Whether float16 holds the tensor: no finite value beyond 65504. Small ones may round to zero.
Status fits_half(const Tensor& weight) {
  constexpr float kLargestHalf = 65504;
  float largest = 0;
  for_each_float(weight, [&](std::size_t, float value) {
    const float size = std::fabs(value);
    largest = size > largest && size <= std::numeric_limits<float>::max() ? size : largest;
  });
  if (largest > kLargestHalf) return fail("holds values up to {:.6g}, float16 ends at 65504", largest);
  return {};
}

}  // namespace

std::optional<std::vector<Value*>> with_half_weight(Builder& build, const Node& node, std::span<Value* const> operands,
                                                    std::vector<HalfPrecisionNote>* notes) {
  const auto half = op_of(node).tflite.half_operand;
  if (!half) return std::nullopt;
  const Value* original = node.operands[*half];
  const Tensor* weight = constant_of(original);
  if (weight == nullptr || weight->dtype != DType::f32) return std::nullopt;
  if (const Status fits = fits_half(*weight); !fits) {
    if (notes != nullptr) notes->push_back({original->name, fits.error().message});
    return std::nullopt;
  }
  release_pages(weight->storage.view);
  std::vector<Value*> all(operands.begin(), operands.end());
  // Weights are rounded while they are written: nothing holds them twice.
  Value* copied = operands[*half] != nullptr ? operands[*half] : build.constant(*weight, original->name);
  Value* stored = build("cast", {copied}, {{"to", DType::f16}}, original->name);
  all[*half] = build("dequantize", {stored}, {}, original->name + ".f32");
  return build.call(node.op, all, node.attrs, node.results[0]->name);
}

Expected<Graph> store_weights_as_f16(const Graph& graph, std::vector<HalfPrecisionNote>* notes) {
  const Rule rule = [notes](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    return with_half_weight(build, node, operands, notes);
  };
  return rewrite(graph, rule);
}

}  // namespace taper
