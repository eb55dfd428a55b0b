// How passes build a new graph from an old one.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ir/graph.h"
#include "ops/builder.h"

namespace taper {

// Values by the values that they stand for, mostly of one graph.
class ValueMap {
 public:
  void bind(const Value* key, Value* value);
  // nullptr for nullptr and for what is not bound.
  Value* at(const Value* key) const;

 private:
  std::vector<std::pair<const Value*, Value*>> by_id_;
  std::unordered_map<const Value*, Value*> others_;  // whose place is taken, or far behind the others
  std::size_t bound_ = 0;
};

// Copies nodes into a graph under construction; knows which new value stands for which old one.
class Cloner {
 public:
  explicit Cloner(Builder& build) : build_(build) {}

  Builder& builder() { return build_; }
  void bind(const Value* old_value, Value* new_value) { values_.bind(old_value, new_value); }
  // The new value; nullptr for nullptr (an absent operand) and for what has not been copied.
  Value* at(const Value* old_value) const { return values_.at(old_value); }
  std::vector<Value*> at(std::span<Value* const> old_values) const;
  // Copies a node with its names, scope and regions, and binds its results. Types are inferred anew.
  void clone(const Node& node);
  // Copies the nodes of `graph`, whose inputs are bound; returns the new values of its outputs.
  std::vector<Value*> inline_nodes(const Graph& graph);

 private:
  Builder& build_;
  ValueMap values_;
};

// What a rule puts in place of a node's results; nothing to keep the node.
using Replacement = std::optional<std::vector<Value*>>;
using Rule = std::function<Replacement(Builder&, const Node&, std::span<Value* const> operands)>;
// Makes the rule for a graph, or for a region of it: the place to look at users before nodes are rewritten.
using RuleFor = std::function<Rule(const Graph&)>;
using TypeMap = std::function<Type(const Type&)>;

// A new graph in which each live node went through the rule; regions too, before the node that holds them. Nodes that
// nothing uses are left out.
Expected<Graph> rewrite(const Graph& graph, const RuleFor& rule_for, const TypeMap& map_input_type = {});
Expected<Graph> rewrite(const Graph& graph, const Rule& rule);

// The graph without the nodes that nothing uses.
Expected<Graph> drop_dead_nodes(const Graph& graph);

// For each value the live nodes that use it, once per operand place; graph outputs count as a nullptr.
using Users = std::unordered_map<const Value*, std::vector<const Node*>>;
Users users_of(const Graph& graph);

// Some nodes of one graph.
class NodeSet {
 public:
  explicit NodeSet(const Graph& graph) : holds_(graph.nodes().size()) {}
  // Whether the node was not there before.
  bool insert(const Node* node);
  bool contains(const Node* node) const { return holds_[node->id]; }
  std::size_t size() const { return size_; }

 private:
  std::vector<bool> holds_;  // by id
  std::size_t size_ = 0;
};

// The nodes that the graph's outputs need.
NodeSet live_nodes(const Graph& graph);

// Whether any node is so, in regions too.
bool any_node(const Graph& graph, const std::function<bool(const Node&)>& is_so);

// A deep copy.
std::unique_ptr<Graph> copy(const Graph& graph);

}  // namespace taper
