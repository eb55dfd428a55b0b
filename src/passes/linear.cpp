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

// `value` as rows of a computation: float64 numbers of a constant.
Array numbers(const Value* value) {
  const Tensor& tensor = *constant_of(value);
  Array array = to_array(tensor);
  release_pages(tensor.storage.view);
  return array;
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

double entry(const Array& array, std::size_t i) {
  return array.values[array.values.size() == 1 ? 0 : i];
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

// W (g x + s) + b = (W g) x + (W s + b)
struct Weights {
  Array weight;  // [out, in]
  Array bias;    // [out]
};

Weights weights_of(const Node& linear) {
  Weights w{numbers(linear.operands[1]), {}};
  const bool has_bias = linear.operands.size() > 2 && linear.operands[2] != nullptr;
  w.bias = has_bias ? numbers(linear.operands[2]) : make_array(DType::f32, {w.weight.size(0)});
  return w;
}

void absorb_input(Weights& w, const InputChange& change) {
  const auto rows = static_cast<std::size_t>(w.weight.size(0));
  const auto columns = static_cast<std::size_t>(w.weight.size(1));
  const Array none{DType::f32, {}, {0}};
  const Array one{DType::f32, {}, {1}};
  const Array summand = change.summand != nullptr ? numbers(change.summand) : none;
  const Array factor = change.factor != nullptr ? numbers(change.factor) : one;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t column = 0; column < columns; ++column) {
      double& weight = w.weight.values[row * columns + column];
      w.bias.values[row] += weight * entry(summand, column);
      weight *= entry(factor, column);
    }
}

// c (W x + b) = (c W) x + c b
void absorb_output(Weights& w, const Array& factor) {
  const auto columns = static_cast<std::size_t>(w.weight.size(1));
  for (std::size_t i = 0; i < w.weight.values.size(); ++i) w.weight.values[i] *= entry(factor, i / columns);
  for (std::size_t i = 0; i < w.bias.values.size(); ++i) w.bias.values[i] *= entry(factor, i);
}

Value* build_linear(Builder& build, Value* x, const Node& linear, const Weights& w) {
  const std::string name = linear.operands[1]->name;
  return build("linear",
               {x, build.constant(to_tensor(w.weight), name), build.constant(to_tensor(w.bias), name + ".bias")},
               linear.attrs, linear.results[0]->name);
}

}  // namespace

Expected<Graph> fold_scales(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    // Old values that stand for new ones: what a linear layer reads instead of its scaled input.
    auto seen = std::make_shared<std::unordered_map<const Value*, Value*>>();
    return [seen, users = users_of(owner), &owner](Builder& build, const Node& node,
                                                   std::span<Value* const> operands) -> Replacement {
      if (seen->empty())
        for (std::size_t i = 0; i < owner.inputs().size(); ++i) (*seen)[owner.inputs()[i]] = build.graph().inputs()[i];
      for (std::size_t i = 0; i < operands.size(); ++i) (*seen)[node.operands[i]] = operands[i];
      // The layer: this node, or the one before it if this is linear(x) * c and nothing else reads linear(x).
      const Node* linear = foldable_linear(&node) ? &node : nullptr;
      const Value* factor = nullptr;
      if (plain_arithmetic(&node, "mul")) factor = scale_operand(node);
      if (factor != nullptr) {
        const Node* producer = other_operand(node, factor)->producer;
        if (foldable_linear(producer) && producer->attrs.text("activation") == "none" &&
            users.at(producer->results[0]).size() == 1)
          linear = producer;
      }
      if (linear == nullptr) return std::nullopt;
      const InputChange change = input_change(*linear);
      if (change.x == linear->operands[0] && factor == nullptr) return std::nullopt;
      Weights w = weights_of(*linear);
      absorb_input(w, change);
      if (factor != nullptr) absorb_output(w, numbers(factor));
      return std::vector{build_linear(build, seen->at(change.x), *linear, w)};
    };
  };
  return rewrite(graph, rule_for);
}

Expected<Graph> fuse_activations(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    return
        [users = users_of(owner)](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
          if (node.op != "relu" && node.op != "relu6") return std::nullopt;
          const Node* producer = node.operands[0]->producer;
          if (producer == nullptr || users.at(node.operands[0]).size() != 1) return std::nullopt;
          const Attr* activation = producer->attrs.find("activation");
          if (activation == nullptr || std::get<std::string>(*activation) != "none") return std::nullopt;
          // The new graph holds the producer without its activation; a copy with it takes its place.
          const Node* without = operands[0]->producer;
          Attrs attrs = without->attrs;
          attrs.set("activation", node.op);
          return build.call(without->op, without->operands, attrs, node.results[0]->name);
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
  // Only operators that XNNPACK runs fold the DEQUANTIZE; elsewhere it would run at each call.
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
