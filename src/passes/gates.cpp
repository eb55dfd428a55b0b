// Gates of recurrent layers, each with a product of its own.
#include <algorithm>
#include <map>

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

const Node* gates_of(const Graph& graph, const Value& value, bool in_loop);

// What gates_of finds behind one use of a value, as operand number `place`.
const Node* gates_behind(const Graph& graph, const Node& user, std::size_t place, bool in_loop) {
  const Value& value = *user.operands[place];
  if (user.op == "while") {
    const Graph& body = *user.regions[1];
    const Value& entry = *body.inputs()[place];
    return body.outputs()[place].value == &entry ? gates_of(body, entry, true) : nullptr;
  }
  if (!in_loop || (user.op != "gather" && user.op != "split")) return nullptr;
  const std::int64_t dim = user.attrs.integer("dim");
  const bool last = dim == -1 || dim + 1 == static_cast<std::int64_t>(value.type.shape.size());
  if (user.op == "split") return last ? &user : nullptr;
  return place == 0 && !last ? gates_of(graph, *user.results[0], in_loop) : nullptr;
}

// The split of the last axis that takes apart, in the body of a loop, `value` or its frames. Whatever else reads the
// value (its sizes are read, too) gets the gates joined again.
const Node* gates_of(const Graph& graph, const Value& value, bool in_loop) {
  for (const Node& node : graph.nodes())
    for (std::size_t place = 0; place < node.operands.size(); ++place)
      if (node.operands[place] == &value)
        if (const Node* gates = gates_behind(graph, node, place, in_loop)) return gates;
  return nullptr;
}

bool is_constant_layer(const Node& node) {
  return node.op == "linear" && constant_of(node.operands[1]) != nullptr &&
         (node.operands.size() < 3 || node.operands[2] == nullptr || constant_of(node.operands[2]) != nullptr);
}

// A layer per gate.
std::vector<Value*> parts_of(Builder& build, const Node& linear, std::span<Value* const> operands, const Node& gates) {
  const std::size_t count = gates.results.size();
  std::vector<std::vector<Value*>> rows(count, {operands[0]});
  for (Value* constant : operands.subspan(1)) {
    std::vector<Value*> cut(count, nullptr);
    if (constant != nullptr)
      cut = build.call("split", {constant}, {{"dim", std::int64_t{0}}, {"parts", static_cast<std::int64_t>(count)}},
                       constant->name);
    for (std::size_t i = 0; i < count; ++i) rows[i].push_back(cut[i]);
  }
  std::vector<Value*> parts;
  for (std::vector<Value*>& row : rows)
    parts.push_back(build("linear", std::move(row), linear.attrs, linear.results[0]->name));
  return parts;
}

class GateParts {
 public:
  GateParts(const Graph& graph, bool in_loop) {
    for (const Node& node : graph.nodes())
      if (is_constant_layer(node))
        if (const Node* gates = gates_of(graph, *node.results[0], in_loop)) gates_[&node] = gates;
  }
  bool empty() const { return gates_.empty(); }

  Replacement operator()(Builder& build, const Node& node, std::span<Value* const> operands) {
    if (const auto found = gates_.find(&node); found != gates_.end()) {
      const std::vector<Value*> parts = parts_of(build, node, operands, *found->second);
      if (found->second->operands[0] == node.results[0]) parts_[found->second] = parts;
      return std::vector{build("concat", parts, {{"dim", std::int64_t{-1}}}, node.results[0]->name)};
    }
    const auto parts = parts_.find(&node);
    return parts == parts_.end() ? std::nullopt : Replacement(parts->second);
  }

 private:
  std::map<const Node*, const Node*> gates_;               // by layer: the split of its results
  std::map<const Node*, std::vector<Value*>> parts_ = {};  // by split in the same graph
};

// Whether a graph is the body of a loop can be told by what holds it alone.
void collect_bodies(const Graph& graph, std::vector<const Graph*>& bodies) {
  for (const Node& node : graph.nodes())
    for (const auto& region : node.regions) {
      if (node.op == "while") bodies.push_back(region.get());
      collect_bodies(*region, bodies);
    }
}

}  // namespace

bool has_gates(const Graph& graph) {
  std::vector<const Graph*> bodies;
  collect_bodies(graph, bodies);
  if (bodies.empty()) return false;
  return !GateParts(graph, false).empty() ||
         std::ranges::any_of(bodies, [](const Graph* body) { return !GateParts(*body, true).empty(); });
}

Expected<Graph> part_gates(const Graph& graph) {
  std::vector<const Graph*> bodies;
  collect_bodies(graph, bodies);
  const RuleFor rule_for = [&](const Graph& owner) -> Rule {
    return GateParts(owner, std::ranges::find(bodies, &owner) != bodies.end());
  };
  TAPER_ASSIGN(const Graph parted, rewrite(graph, rule_for));
  return fold_constants(parted);  // the weights' parts
}

}  // namespace taper
