// The typed SSA graph that every stage reads and rewrites.
//
// A Graph owns Nodes, in an order in which every operand is defined before its use, and the Values they produce. A
// Value has one producer (a node, or the graph itself for inputs) and a type: dtype and symbolic shape. Control flow
// holds its bodies as regions: graphs of their own, which see nothing of the outer graph but their inputs.
//
// Graphs only grow: a pass builds a new graph from an old one (ir/rewrite.h), which keeps rewriting linear and free of
// dangling pointers.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/dim.h"
#include "base/error.h"
#include "base/tensor.h"
#include "ir/quantization.h"

namespace taper {

struct Type {
  DType dtype = DType::f32;
  Shape shape;
  bool operator==(const Type&) const = default;
};

// "f32[B, T, 178]"
std::string type_text(const Type& type);

// What an attribute can hold. A Shape holds sizes that may be symbolic.
using Attr = std::variant<bool, std::int64_t, double, std::string, DType, std::vector<std::int64_t>, Shape, Tensor>;
using NamedAttr = std::pair<std::string, Attr>;
bool same_attr(const Attr& a, const Attr& b);

// Attributes by name, sorted. Reading one that is absent or of another kind is our mistake (assert): the op table
// checks every node against its row before anybody reads. Copies share their list until one of them changes, because
// most nodes go from graph to graph as they are.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::initializer_list<NamedAttr> attrs) {
    for (const NamedAttr& attr : attrs) set(attr.first, attr.second);
  }
  void set(std::string name, Attr value);
  const Attr* find(std::string_view name) const;
  template <class T>
  const T& get(std::string_view name) const {
    return std::get<T>(*find(name));
  }
  std::int64_t integer(std::string_view name) const { return get<std::int64_t>(name); }
  double real(std::string_view name) const { return get<double>(name); }
  bool flag(std::string_view name) const { return get<bool>(name); }
  const std::string& text(std::string_view name) const { return get<std::string>(name); }
  const std::vector<std::int64_t>& integers(std::string_view name) const {
    return get<std::vector<std::int64_t>>(name);
  }

  auto begin() const { return list().begin(); }
  auto end() const { return list().end(); }

  // Whether these are a copy of the others, or the other way round, and neither changed.
  bool shares_list_with(const Attrs& other) const { return list_ == other.list_; }

 private:
  using List = std::vector<NamedAttr>;

  const List& list() const;

  std::shared_ptr<List> list_;  // nothing: no attributes
};

struct Node;
class Graph;

struct Value {
  std::string name;  // unique within its graph
  Type type;
  Node* producer = nullptr;  // nothing for a graph's input
  std::size_t index = 0;     // among the producer's results or the graph's inputs
  std::size_t id = 0;        // among all values of its graph, which are numbered as they are defined
  // The grid of integers that it is rounded to and stored as; nothing where it is a float. Only values of float32 have
  // one. Set by the last pass for a target: others neither see nor keep it.
  std::shared_ptr<const Quantization> quantization = nullptr;
};

struct Node {
  std::size_t id = 0;            // its place among the nodes of its graph
  std::string op;                // a row of the op table
  std::vector<Value*> operands;  // an optional operand that is absent is nullptr
  Attrs attrs;
  std::vector<Value*> results;
  std::vector<std::unique_ptr<Graph>> regions;
  std::string scope;  // where it comes from: the module path, for messages

  Value* result() const { return results.front(); }
};

// Whether an attribute of the node names a symbol.
bool names_symbols(const Node& node);

// The tensor of a `constant` node's value; nothing for any other value.
const Tensor* constant_of(const Value* value);

struct Output {
  std::string name;
  Value* value;
};

class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;  // values point into their graph: passes/rewrite.h copies
  Graph& operator=(const Graph&) = delete;
  Graph(Graph&&) = default;             // NOLINT(performance-noexcept-move-constructor): a deque allocates
  Graph& operator=(Graph&&) = default;  // NOLINT(performance-noexcept-move-constructor)

  std::string name;

  Value* add_input(std::string_view input_name, Type type);
  // Appends a node; `types` are those of its results. Names are made unique by a numeric suffix.
  Node* add_node(std::string op, std::vector<Value*> operands, Attrs attrs, std::vector<Type> types,
                 std::string name_hint = {}, std::vector<std::unique_ptr<Graph>> regions = {});
  // The same with a name for each result.
  Node* add_named_node(std::string op, std::vector<Value*> operands, Attrs attrs, std::vector<Type> types,
                       const std::vector<std::string>& result_names, std::vector<std::unique_ptr<Graph>> regions = {});
  void add_output(std::string output_name, Value* value) { outputs_.push_back({std::move(output_name), value}); }
  // Gives another value of this graph as the output at a place that there is.
  void set_output(std::size_t place, Value* value) { outputs_.at(place).value = value; }

  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  const std::deque<Node>& nodes() const { return nodes_; }
  std::deque<Node>& nodes() { return nodes_; }

  std::size_t value_count() const { return values_.size(); }
  bool owns(const Value* value) const { return value->id < values_.size() && &values_[value->id] == value; }
  // Whether no other value of the graph has the name of this one.
  bool is_named_once(const Value* value) const;

 private:
  Value* add_value(std::string_view name_hint, Type type, Node* producer, std::size_t index);

  std::deque<Node> nodes_;
  std::deque<Value> values_;
  std::vector<Value*> inputs_;
  std::vector<Output> outputs_;
  struct Named {
    const Value* value;
    std::size_t next;  // the suffix to try for the next value of this name
  };
  std::unordered_map<std::string_view, Named> names_;  // by the names that stand in values_
};

// Checks the graph's own invariants: operands defined before use and owned by the same graph, unique names, outputs
// present, no overflowed dimension; regions likewise. Does not know what operators mean (ops/check.h does).
Status check_structure(const Graph& graph);

}  // namespace taper
