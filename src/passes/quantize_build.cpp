#include "passes/quantize_build.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/table.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

TensorPlan plan_of(const Value& value) {
  const Quantization& q = *value.quantization;
  return {value.name, q.bits, q.axis ? "per channel" : "per tensor", q.scales[0], q.zero_points[0], false};
}

// Multiplications for one row of the last axis but one, where that is open; all of them where sizes are known.
std::int64_t multiplications(const Node& node) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!form.weight) return 0;
  const Shape& weight = node.operands[*form.weight]->type.shape;
  Shape counted(weight.begin(), weight.end());
  const Shape& result = node.results[0]->type.shape;
  if (form.bias && !result.empty()) counted.insert(counted.end(), result.begin(), result.end() - 1);
  std::int64_t count = 1;
  for (const Dim& size : counted)
    count = checked_mul(count, size.constant().value_or(1)).value_or(std::numeric_limits<std::int64_t>::max());
  return count;
}

// Whether some number for an entry of a grid is a step or more. Steps that are no normal numbers are not taken.
bool reaches_a_step(std::span<const double> numbers, const Quantization& q) {
  if (std::ranges::min(q.scales) < std::numeric_limits<float>::min()) return false;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    if (std::fabs(numbers[i]) >= static_cast<double>(q.scales[q.scales.size() == 1 ? 0 : i])) return true;
  return false;
}

// A bias, which may be null, and what is to be added to it.
Tensor shifted(const Value* bias, const std::optional<std::vector<double>>& shifts) {
  if (!shifts) return *constant_of(bias);
  std::vector<double> sums = bias == nullptr ? std::vector<double>(shifts->size(), 0.0) : to_double(*constant_of(bias));
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += (*shifts)[i];
  return tensor_f32({static_cast<std::int64_t>(sums.size())}, std::vector<float>(sums.begin(), sums.end()));
}

}  // namespace

// -------------------------------------------------------------------------------------------------------------- values

void QuantizedBuild::bind(const Value* old_value, Value* value) {
  if (value == nullptr) return;
  if (value->quantization == nullptr)
    floats_[old_value] = value;
  else
    integers_[old_value].push_back(value);
}

Value* QuantizedBuild::as_float(const Value* old_value) {
  if (old_value == nullptr) return nullptr;
  if (const auto found = floats_.find(old_value); found != floats_.end()) return found->second;
  Value* value = nullptr;
  if (const Tensor* constant = constant_of(old_value))
    value = build_.constant(*constant, old_value->name);
  else if (const auto stored = integers_.find(old_value); stored != integers_.end())
    value = build_("dequantize", {stored->second.front()}, {}, old_value->name + ".f32");
  return floats_[old_value] = value;
}

Value* QuantizedBuild::as_integers(const Value* old_value, const Grid& grid) {
  std::vector<Value*>& known = integers_[old_value];
  for (Value* value : known)
    if (*value->quantization == *grid) return value;
  Value* value = nullptr;
  if (const Tensor* constant = constant_of(old_value)) {
    value = build_.constant(*constant, old_value->name);
  } else {
    Value* from = known.empty() ? as_float(old_value) : known.front();
    if (from == nullptr) return nullptr;
    value = build_("quantize", {from}, {}, old_value->name + ".stored");
  }
  if (value == nullptr) return nullptr;
  value->quantization = grid;
  by_.plan.tensors.push_back(plan_of(*value));
  integers_[old_value].push_back(value);
  return value;
}

Value* QuantizedBuild::as_stored(const Value* old_value) {
  const auto found = integers_.find(old_value);
  return found == integers_.end() || found->second.empty() ? as_float(old_value) : found->second.front();
}

// ---------------------------------------------------------------------------------------------------- inputs, outputs

void QuantizedBuild::add_inputs(const Graph& graph, const Node* loop) {
  for (const Value* input : graph.inputs()) {
    Value* value = result_.add_input(input->name, input->type);
    if (const int bits = by_.modes.bits(*input); bits != 0) {
      // All regions of a loop agree on the grid of the body's input.
      const Value& member = loop == nullptr ? *input : *loop->regions[1]->inputs()[input->index];
      value->quantization = by_.grids.class_grid(member, bits);
      by_.plan.tensors.push_back(plan_of(*value));
    }
    bind(input, value);
  }
}

void QuantizedBuild::add_outputs(const Graph& graph, const Node* loop) {
  for (std::size_t i = 0; i < graph.outputs().size(); ++i) {
    const Output& output = graph.outputs()[i];
    Value* value = nullptr;
    // The condition of a loop gives a bool, which is carried nowhere.
    const bool carried = loop != nullptr && loop->op == "while" && is_float(output.value);
    const Value* entry = carried ? loop->regions[1]->inputs()[i] : nullptr;
    if (entry != nullptr && by_.modes.bits(*entry) != 0)
      value = as_integers(output.value, by_.grids.class_grid(*entry, by_.modes.bits(*entry)));
    else if (loop == nullptr && !by_.request.float_io)
      value = by_.modes.is_wide(*output.value) && by_.modes.bits(*output.value) != 0
                  ? as_integers(output.value, by_.grids.class_grid(*output.value, 8))
                  : as_stored(output.value);
    else
      value = as_float(output.value);
    result_.add_output(output.name, value);
  }
}

// --------------------------------------------------------------------------------------------------------------- nodes

void QuantizedBuild::note(const Node& node, std::string_view computes, const std::string& otherwise) {
  const auto builtin = op_of(node).tflite.builtin;
  const auto reason = by_.modes.reasons().find(&node);
  by_.plan.layers.push_back({.node = &node,
                             .name = node.results[0]->name,
                             .scope = node.scope,
                             .operation = builtin ? tflite::EnumNameBuiltinOperator(*builtin) : std::string(node.op),
                             .computes = std::string(computes),
                             .reason = reason == by_.modes.reasons().end() ? otherwise : reason->second,
                             .multiplications = multiplications(node)});
}

Value* QuantizedBuild::weight_of(const Node& node, int bits) {
  const QuantizedForm& form = op_of(node).quantized;
  const Value* weight = node.operands[*form.weight];
  if (!form.bias) return as_integers(weight, by_.grids.grid(*weight, bits));
  TensorScheme scheme = by_.request.config_of(node).weight.value_or(TensorScheme{});
  if (scheme.bits != 8 || scheme.block != 0)
    by_.plan.notes.push_back(
        fmt::format("'{}' has int8 weights, a scale per channel: what goes in is stored as integers", weight->name));
  if (scheme.block != 0) scheme.per_channel = true;
  scheme.bits = 8;
  scheme.block = 0;
  return by_.weights.stored(places_, node, *weight, form.channels(node), scheme);
}

// Raises scales of the weight where the bias would not fit into 31 bits (47 beside int16, as kernels want) of the
// products' scale.
Value* QuantizedBuild::fit_bias(const Node& node, const Quantization& x, Value* weight, int bits) {
  const std::size_t place = *op_of(node).quantized.bias;
  if (place >= node.operands.size() || node.operands[place] == nullptr) return weight;
  const std::vector<double> bias = to_double(*constant_of(node.operands[place]));
  const double limit = std::ldexp(static_cast<double>(x.scales[0]), bits == 8 ? 30 : 38);
  // The product of both scales is to be a float too.
  constexpr double kLeast = std::numeric_limits<float>::min(), kMost = std::numeric_limits<float>::max();
  Quantization q = *weight->quantization;
  for (std::size_t i = 0; i < bias.size(); ++i) {
    float& scale = q.scales[q.scales.size() == 1 ? 0 : i];
    const double wanted = std::max(std::fabs(bias[i]) / limit, kLeast / static_cast<double>(x.scales[0]));
    scale = std::max(scale, static_cast<float>(std::min(wanted, kMost)));
  }
  if (q == *weight->quantization) return weight;
  by_.plan.notes.push_back(fmt::format("'{}': scales were raised so that its bias fits", weight->name));
  Value* raised = build_.constant(*constant_of(weight), weight->name);
  if (raised != nullptr) raised->quantization = std::make_shared<const Quantization>(std::move(q));
  return raised;
}

// The bias, with what rounding the weight shifts made up for, as integers of the products' scale; a layer without one
// gets one where that is a step or more.
Value* QuantizedBuild::bias_of(const Node& node, const Quantization& x, const Value& weight, int bits) {
  const std::size_t place = *op_of(node).quantized.bias;
  const Value* old_bias = place < node.operands.size() ? node.operands[place] : nullptr;
  Quantization q{.bits = bits == 8 ? 32 : 64, .scales = {}, .zero_points = {}, .axis = std::nullopt, .block = 0};
  for (const float scale : weight.quantization->scales)
    q.scales.push_back(std::min(scale * x.scales[0], std::numeric_limits<float>::max()));
  q.zero_points.assign(q.scales.size(), 0);
  if (q.scales.size() > 1) q.axis = 0;
  const LayerInputs* inputs = by_.request.means_of ? by_.request.means_of(node) : nullptr;
  const auto lost = inputs == nullptr ? std::nullopt : lost_means(node, weight, *inputs);
  if (old_bias == nullptr && (!lost || !reaches_a_step(*lost, q))) return nullptr;
  const std::string name = old_bias != nullptr ? old_bias->name : weight.name + ".bias";
  Value* bias = build_.constant(shifted(old_bias, lost), name);
  if (bias != nullptr) bias->quantization = std::make_shared<const Quantization>(std::move(q));
  return bias;
}

void QuantizedBuild::add_on_integers(const Node& node, int bits) {
  const QuantizedForm& form = op_of(node).quantized;
  std::vector<Value*> operands(node.operands.size(), nullptr);
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Value* operand = node.operands[i];
    if (operand == nullptr || form.bias == i) continue;
    if (!is_float(operand))
      operands[i] = as_float(operand);
    else if (form.weight == i)
      operands[i] = weight_of(node, bits);
    else
      operands[i] = as_integers(
          operand, form.shares ? by_.grids.class_grid(*node.results[0], bits) : by_.grids.grid(*operand, bits));
    if (operands[i] == nullptr) return;
  }
  if (form.bias) {
    operands[*form.weight] = fit_bias(node, *operands[0]->quantization, operands[*form.weight], bits);
    if (operands[*form.weight] == nullptr) return;
    operands.resize(std::max(operands.size(), *form.bias + 1), nullptr);
    operands[*form.bias] = bias_of(node, *operands[0]->quantization, *operands[*form.weight], bits);
  }
  const std::vector<Value*> results = build_.call(node.op, operands, node.attrs, node.results[0]->name);
  if (build_.failed()) return;
  for (std::size_t i = 0; i < node.results.size(); ++i) {
    if (is_float(node.results[i])) {
      results[i]->quantization = by_.grids.grid(*node.results[i], bits);
      by_.plan.tensors.push_back(plan_of(*results[i]));
    }
    bind(node.results[i], results[i]);
  }
  note(node, bits == 8 ? "int8" : "int16");
}

void QuantizedBuild::add_on_floats(const Node& node) {
  std::vector<Value*> operands;
  const LayerConfig config = by_.request.config_of(node);
  const auto weight = op_of(node).quantized.weight;
  const bool stores = config.quantized && config.weight.has_value();
  for (std::size_t i = 0; i < node.operands.size(); ++i) {
    // A weight that is stored as integers is not needed as floats.
    const bool constant = constant_of(node.operands[i]) != nullptr;
    const bool replaced = stores && constant && (weight ? weight == i : i == 0 && op_of(node).quantized.shares);
    operands.push_back(replaced && floats_.find(node.operands[i]) == floats_.end() ? nullptr
                                                                                   : as_float(node.operands[i]));
  }
  std::optional<std::vector<Value*>> results;
  if (stores) results = with_stored_weights(places_, node, operands, config, by_.weights);
  if (!results) {
    for (std::size_t i = 0; i < operands.size(); ++i) operands[i] = as_float(node.operands[i]);
    results = build_.call(node.op, operands, node.attrs, node.results[0]->name);
  }
  if (build_.failed()) return;
  for (std::size_t i = 0; i < node.results.size(); ++i) bind(node.results[i], (*results)[i]);
  const Node* made = (*results)[0]->producer;
  std::string reason;
  if (stores && weight && *weight < node.operands.size())
    if (const Tensor* tensor = constant_of(node.operands[*weight]);
        tensor != nullptr && tensor->element_count() < config.min_weight_elements)
      reason = fmt::format("it has {} weights, and less than {} save little", tensor->element_count(),
                           config.min_weight_elements);
  note(node, made != nullptr && op_of(*made).is_hybrid(*made) ? "hybrid" : "float32", reason);
}

Status QuantizedBuild::add_with_regions(const Node& node) {
  std::vector<Value*> operands;
  std::vector<Grid> grids(node.results.size());
  for (std::size_t i = 0; i < node.operands.size(); ++i) {
    const Value* entry = node.op == "while" ? node.regions[1]->inputs()[i] : nullptr;
    const int bits = entry == nullptr ? 0 : by_.modes.bits(*entry);
    if (bits != 0) grids[i] = by_.grids.class_grid(*entry, bits);
    operands.push_back(bits != 0 ? as_integers(node.operands[i], grids[i]) : as_float(node.operands[i]));
  }
  std::vector<std::unique_ptr<Graph>> regions;
  for (const auto& region : node.regions) {
    TAPER_ASSIGN(Graph built, QuantizedBuild(by_).run(*region, &node));
    regions.push_back(std::make_unique<Graph>(std::move(built)));
  }
  const std::vector<Value*> results =
      build_.call(node.op, operands, node.attrs, node.results[0]->name, std::move(regions));
  TAPER_TRY(build_.status());
  for (std::size_t i = 0; i < node.results.size(); ++i) {
    results[i]->quantization = grids[i];
    bind(node.results[i], results[i]);
  }
  return {};
}

Status QuantizedBuild::add_node(const Node& node) {
  if (op_of(node).is_constant) return {};  // where they are used
  build_.set_scope(node.scope);
  if (!node.regions.empty()) return add_with_regions(node);
  const int bits = by_.modes.bits(node);
  if (bits != 0)
    add_on_integers(node, bits);
  else
    add_on_floats(node);
  return build_.status();
}

Expected<Graph> QuantizedBuild::run(const Graph& graph, const Node* loop) {
  result_.name = graph.name;
  add_inputs(graph, loop);
  const NodeSet live = live_nodes(graph);
  for (const Node& node : graph.nodes())
    if (live.contains(&node)) TAPER_TRY(add_node(node));
  add_outputs(graph, loop);
  TAPER_TRY(build_.status());
  return std::move(result_);
}

}  // namespace taper
