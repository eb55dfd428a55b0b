#include "passes/quantize_modes.h"

#include <algorithm>

#include "ops/table.h"
#include "passes/quantize_weights.h"
#include "passes/quantize_wide.h"
#include "passes/rewrite.h"

namespace taper {

bool is_float(const Value* value) {
  return value != nullptr && value->type.dtype == DType::f32;
}

bool multiplies_matrices(const Node& node) {
  return op_of(node).quantized.weight.has_value();
}

std::optional<Range> range_of(const Value& value, const QuantizeRequest& request, int bits) {
  double floor = -std::numeric_limits<double>::infinity();
  if (request.floors != nullptr)
    if (const auto found = request.floors->find(&value); found != request.floors->end())
      floor = std::min(found->second - floor_margin(bits), 0.0);
  if (const Tensor* constant = constant_of(&value)) return range_of_numbers(*constant, floor);
  if (request.ranges == nullptr) return std::nullopt;
  const auto found = request.ranges->find(&value);
  if (found == request.ranges->end()) return std::nullopt;
  const bool told = request.told != nullptr && request.told->contains(&value);
  return told ? found->second : Range{std::max(found->second.low, floor), found->second.high};
}

const FixedGrid* prescribed_grid(const Node& node, int bits) {
  const QuantizedForm& form = op_of(node).quantized;
  const std::optional<FixedGrid>& grid = bits == 8 ? form.grid8 : form.grid16;
  return bits != 0 && grid ? &*grid : nullptr;
}

namespace {

// Where a layer with weights can't take integers; nothing if it can.
std::optional<std::string> weights_against(const Node& node, const QuantizedForm& form, int bits) {
  if (form.bias && *form.weight < node.operands.size() && constant_of(node.operands[*form.weight]) == nullptr)
    return "its weights are computed";
  if (form.bias && *form.bias < node.operands.size() && node.operands[*form.bias] != nullptr &&
      constant_of(node.operands[*form.bias]) == nullptr)
    return "its bias is computed";
  if (bits == 8 && !sums_fit(node)) return "int32 does not hold the sums of so many products";
  return std::nullopt;
}

}  // namespace

Modes::Modes(const Graph& graph, const QuantizeRequest& request)
    : request_(request), wide_(wide_values(graph, [&](const Node& node) {
        const LayerConfig config = request.config_of(node);
        return config.quantized && config.activation && !config.activation->floating && config.activation->bits == 8;
      })) {
  if (!request.float_io)
    for (const Node& node : graph.nodes())
      for (const Value* operand : node.operands)
        if (is_float(operand) && operand->producer == nullptr && possible(node, nullptr) != 0)
          entering_[operand] = request.config_of(node).activation->bits;
  choose(graph);
}

int Modes::bits(const Node& node) const {
  const auto found = nodes_.find(&node);
  return found == nodes_.end() ? 0 : found->second;
}

int Modes::bits(const Value& value) const {
  if (!is_float(&value)) return 0;
  if (const auto found = entering_.find(&value); found != entering_.end()) return found->second;
  return value.producer == nullptr ? 0 : bits(*value.producer);
}

// The bits of the kernel that computes the node on integers, as its operands and results are; 0 and the reason if there
// is none.
int Modes::possible(const Node& node, std::string* reason) const {
  const Op& op = op_of(node);
  const auto none = [&](std::string why) {
    if (reason != nullptr) *reason = std::move(why);
    return 0;
  };
  const bool concerned = std::ranges::any_of(node.results, is_float);
  if (op.is_constant || !node.regions.empty() || !concerned) return 0;
  const LayerConfig config = request_.config_of(node);
  if (!config.quantized || !config.activation || config.activation->floating) return 0;
  const int bits = is_wide(*node.results[0]) ? 16 : config.activation->bits;
  if ((bits == 8 ? op.quantized.int8 : op.quantized.int16).number == 0)
    return none(fmt::format("there is no kernel on int{}", bits));
  if (op.quantized.fits != nullptr && !op.quantized.fits(node))
    return none("the kernel on integers is for other calls");
  if (const auto against = op.quantized.weight ? weights_against(node, op.quantized, bits) : std::nullopt)
    return none(*against);
  for (const std::vector<Value*>* values : {&node.operands, &node.results})
    for (const Value* value : *values)
      if (is_float(value) && !range_of(*value, request_))
        return none(fmt::format("nothing is known of the range of '{}'", value->name));
  return bits;
}

void Modes::leave(const Node& node, std::string reason) {
  nodes_.erase(&node);
  reasons_.try_emplace(&node, std::move(reason));
}

void Modes::choose(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.op == "while") choose_carried(node);
    for (const auto& region : node.regions) choose(*region);
    std::string reason;
    if (const int bits = possible(node, &reason); bits != 0) {
      nodes_[&node] = bits;
      follow_operands(node);
    } else if (!reason.empty()) {
      reasons_.try_emplace(&node, std::move(reason));
    }
  }
  follow_users(graph);
}

// What a loop carries is stored as integers where its next value is computed so, or where it only passes through and
// something in the body computes with it so. Loops inside come first: what they carry comes from here and goes on here.
void Modes::choose_carried(const Node& loop) {
  const Graph& body = *loop.regions[1];
  for (const Node& node : body.nodes())
    if (node.op == "while") choose_carried(node);
  for (std::size_t i = 0; i < loop.operands.size(); ++i) {
    const Value* entry = body.inputs()[i];
    const Value* next = body.outputs()[i].value;
    if (!is_float(entry) || !range_of(*entry, request_) || !range_of(*next, request_)) continue;
    const int bits = next == entry ? bits_of_users(body, *entry) : bits_to_come(*next);
    if (bits != 0) entering_[entry] = entering_[loop.regions[0]->inputs()[i]] = entering_[loop.results[i]] = bits;
  }
}

// The bits of a value before the modes of its graph are chosen.
int Modes::bits_to_come(const Value& value) const {
  if (value.producer == nullptr || !value.producer->regions.empty()) return bits(value);
  return possible(*value.producer, nullptr);
}

int Modes::bits_of_users(const Graph& graph, const Value& value) const {
  int most = 0;
  for (const Node& node : graph.nodes())
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      if (node.operands[i] != &value) continue;
      most = std::max(most, node.op == "while" ? bits(*node.regions[1]->inputs()[i]) : possible(node, nullptr));
    }
  return most;
}

void Modes::follow_operands(const Node& node) {
  if (multiplies_matrices(node) || request_.forced) return;
  for (const Value* operand : node.operands)
    if (is_float(operand) && constant_of(operand) == nullptr && bits(*operand) == 0) {
      leave(node, fmt::format("what it computes with, '{}', is float32", operand->name));
      return;
    }
}

void Modes::follow_users(const Graph& graph) {
  if (request_.forced) return;
  const Users users = users_of(graph);
  const auto wants_integers = [this](const Node* user) {
    return user == nullptr || !user->regions.empty() || bits(*user) != 0;
  };
  for (auto node = graph.nodes().rbegin(); node != graph.nodes().rend(); ++node) {
    if (bits(*node) == 0 || multiplies_matrices(*node)) continue;
    bool wanted = false;
    for (const Value* result : node->results)
      if (const auto found = users.find(result); found != users.end())
        wanted = wanted || std::ranges::any_of(found->second, wants_integers);
    if (!wanted) leave(*node, "all that uses it computes with float32");
  }
}

}  // namespace taper
