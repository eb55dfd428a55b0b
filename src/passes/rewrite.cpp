#include "passes/rewrite.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "ops/table.h"

namespace taper {
namespace {

// Bodies of loops that a rule has built come from where the node was.
void inherit_scope(Node& node, const std::string& scope) {
  if (node.scope.empty()) node.scope = scope;
  for (const auto& region : node.regions)
    for (Node& inner : region->nodes()) inherit_scope(inner, scope);
}

Expected<Graph> rewrite_with(const Graph& graph, const RuleFor& rule_for, const TypeMap& map_input_type) {
  const Rule rule = rule_for(graph);
  const NodeSet live = live_nodes(graph);
  Graph result;
  result.name = graph.name;
  Builder build(result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs())
    cloner.bind(input, result.add_input(input->name, map_input_type ? map_input_type(input->type) : input->type));
  for (const Node& node : graph.nodes()) {
    if (!live.contains(&node)) continue;
    std::vector<Value*> operands = cloner.at(node.operands);
    build.set_scope(node.scope);
    const std::size_t before = result.nodes().size();
    if (Replacement replacement = rule(build, node, operands)) {
      for (std::size_t i = before; i < result.nodes().size(); ++i) inherit_scope(result.nodes()[i], node.scope);
      for (std::size_t i = 0; i < node.results.size(); ++i) cloner.bind(node.results[i], (*replacement)[i]);
    } else {
      std::vector<std::unique_ptr<Graph>> regions;
      for (const auto& region : node.regions) {
        TAPER_ASSIGN(Graph rewritten, rewrite_with(*region, rule_for, map_input_type));
        regions.push_back(std::make_unique<Graph>(std::move(rewritten)));
      }
      const std::vector<Value*> results = build.again(node, std::move(operands), std::move(regions));
      for (std::size_t i = 0; i < node.results.size(); ++i) cloner.bind(node.results[i], results[i]);
    }
    TAPER_TRY(build.status());
  }
  for (const Output& output : graph.outputs()) result.add_output(output.name, cloner.at(output.value));
  return result;
}

}  // namespace

void ValueMap::bind(const Value* key, Value* value) {
  constexpr std::size_t kSparse = 4, kFew = 64;
  ++bound_;
  if (key->id >= by_id_.size()) {
    if (key->id > kSparse * bound_ + kFew) {
      others_[key] = value;
      return;
    }
    by_id_.resize(std::max(key->id + 1, 2 * by_id_.size()));
  }
  auto& place = by_id_[key->id];
  if (place.first == nullptr || place.first == key)
    place = {key, value};
  else
    others_[key] = value;
}

Value* ValueMap::at(const Value* key) const {
  if (key == nullptr) return nullptr;
  if (key->id < by_id_.size() && by_id_[key->id].first == key) return by_id_[key->id].second;
  const auto found = others_.find(key);
  return found == others_.end() ? nullptr : found->second;
}

std::vector<Value*> Cloner::at(std::span<Value* const> old_values) const {
  std::vector<Value*> out;
  out.reserve(old_values.size());
  for (const Value* value : old_values) out.push_back(at(value));
  return out;
}

void Cloner::clone(const Node& node) {
  std::vector<std::unique_ptr<Graph>> regions;
  regions.reserve(node.regions.size());
  for (const auto& region : node.regions) regions.push_back(copy(*region));
  build_.set_scope(node.scope);
  const std::vector<Value*> results = build_.again(node, at(node.operands), std::move(regions));
  for (std::size_t i = 0; i < node.results.size() && !build_.failed(); ++i) {
    results[i]->quantization = node.results[i]->quantization;
    bind(node.results[i], results[i]);
  }
}

std::vector<Value*> Cloner::inline_nodes(const Graph& graph) {
  for (const Node& node : graph.nodes()) clone(node);
  std::vector<Value*> outputs;
  for (const Output& output : graph.outputs()) outputs.push_back(at(output.value));
  return outputs;
}

Expected<Graph> rewrite(const Graph& graph, const RuleFor& rule_for, const TypeMap& map_input_type) {
  return rewrite_with(graph, rule_for, map_input_type);
}

Expected<Graph> rewrite(const Graph& graph, const Rule& rule) {
  return rewrite_with(graph, [&rule](const Graph&) { return rule; }, {});
}

Expected<Graph> drop_dead_nodes(const Graph& graph) {
  return rewrite(graph, [](Builder&, const Node&, std::span<Value* const>) -> Replacement { return std::nullopt; });
}

Users users_of(const Graph& graph) {
  const NodeSet live = live_nodes(graph);
  Users users;
  for (const Node& node : graph.nodes()) {
    if (!live.contains(&node)) continue;
    for (const Value* operand : node.operands)
      if (operand != nullptr) users[operand].push_back(&node);
  }
  for (const Output& output : graph.outputs()) users[output.value].push_back(nullptr);
  return users;
}

bool NodeSet::insert(const Node* node) {
  if (holds_[node->id]) return false;
  holds_[node->id] = true;
  ++size_;
  return true;
}

namespace {

using Measures = std::map<std::string, const Node*, std::less<>>;

// The nodes that tell sizes which no input tells, by the symbols.
Measures measures_of(const Graph& graph) {
  static const std::vector<std::string_view> measuring = [] {
    std::vector<std::string_view> names;
    for (const Op& op : op_table())
      if (op.measures_sizes) names.push_back(op.name);
    return names;
  }();
  Measures measures;
  for (const Node& node : graph.nodes()) {
    if (std::ranges::find(measuring, node.op) == measuring.end()) continue;
    for (const Value* result : node.results)
      for (const Dim& dim : result->type.shape)
        for (std::string& symbol : symbols_of(dim)) measures.try_emplace(std::move(symbol), &node);
  }
  if (measures.empty()) return measures;
  for (const Value* input : graph.inputs())
    for (const Dim& dim : input->type.shape)
      for (const std::string& symbol : symbols_of(dim)) measures.erase(symbol);
  return measures;
}

}  // namespace

NodeSet live_nodes(const Graph& graph) {
  NodeSet live(graph);
  std::vector<const Node*> pending;
  const Measures measures = measures_of(graph);
  const auto need_node = [&](const Node* node) {
    if (live.insert(node)) pending.push_back(node);
  };
  const auto need = [&](const Value* value) {
    if (value != nullptr && value->producer != nullptr) need_node(value->producer);
  };
  // A size in an attribute needs the node that tells it, though nobody reads its elements.
  const auto need_sizes = [&](const Node& node) {
    for (const auto& [name, attr] : node.attrs)
      if (const auto* shape = std::get_if<Shape>(&attr))
        for (const Dim& dim : *shape)
          for (const std::string& symbol : symbols_of(dim))
            if (const auto found = measures.find(symbol); found != measures.end()) need_node(found->second);
  };
  for (const Output& output : graph.outputs()) need(output.value);
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    for (const Value* operand : node->operands) need(operand);
    if (!measures.empty()) need_sizes(*node);
  }
  return live;
}

bool any_node(const Graph& graph, const std::function<bool(const Node&)>& is_so) {
  return std::ranges::any_of(graph.nodes(), [&](const Node& node) {
    return is_so(node) ||
           std::ranges::any_of(node.regions, [&](const auto& region) { return any_node(*region, is_so); });
  });
}

std::unique_ptr<Graph> copy(const Graph& graph) {
  auto result = std::make_unique<Graph>();
  result->name = graph.name;
  Builder build(*result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs()) {
    Value* same = result->add_input(input->name, input->type);
    same->quantization = input->quantization;
    cloner.bind(input, same);
  }
  const std::vector<Value*> outputs = cloner.inline_nodes(graph);
  for (std::size_t i = 0; i < outputs.size(); ++i) result->add_output(graph.outputs()[i].name, outputs[i]);
  return result;
}

}  // namespace taper
