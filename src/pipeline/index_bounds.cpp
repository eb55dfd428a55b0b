#include "pipeline/index_bounds.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "ops/table.h"

namespace taper {
namespace {

// Operators that select entries of `data` along the axis of the attribute `axis` by the integers of `index`.
struct Selection {
  std::string_view op;
  std::size_t data;
  std::size_t index;
  std::string_view axis;
};
constexpr std::array kSelections = {
    Selection{"gather", 0, 1, "dim"},
    Selection{"gather_elements", 0, 1, "dim"},
    Selection{"scatter_elements", 0, 1, "dim"},
};

// Operators that take, as operand `lengths`, how many entries of axis 1 of the first operand count.
struct Lengths {
  std::string_view op;
  std::size_t lengths;
};
constexpr std::array kLengths = {Lengths{"gru", 6}, Lengths{"rnn", 6}, Lengths{"lstm", 8}};

// The lengths that a node takes and the size they may reach; null without.
std::pair<const Value*, Dim> lengths_of(const Node& node) {
  const auto row = std::ranges::find(kLengths, node.op, &Lengths::op);
  if (row == kLengths.end() || row->lengths >= node.operands.size()) return {nullptr, 0};
  return {node.operands[row->lengths], node.operands[0]->type.shape[1]};
}

// Operators whose results hold elements of their operands, beside those whose row can rearrange constants.
constexpr std::array<std::string_view, 11> kMoving = {"cast", "expand",  "tile", "where", "clamp", "concat",
                                                      "pad",  "reshape", "flip", "slice", "select"};

bool moves_elements(const Node& node) {
  const Op* row = find_op(node.op);
  return (row != nullptr && row->rearrange != nullptr) || std::ranges::find(kMoving, node.op) != kMoving.end();
}

// Operators whose results are zero only where an operand is.
constexpr std::array<std::string_view, 3> kKeepingZeros = {"mul", "neg", "abs"};

constexpr std::array<std::string_view, 4> kDivisions = {"floor_divide", "trunc_divide", "remainder", "fmod"};

using Inputs = std::set<const Value*>;

// The integer inputs whose elements values hold.
class Holding {
 public:
  explicit Holding(const Graph& graph) {
    for (const Value* input : graph.inputs())
      if (!is_floating(input->type.dtype) && input->type.dtype != DType::boolean) held_[input] = {input};
  }

  const Inputs* inputs_of(const Value* value) const {
    const auto found = held_.find(value);
    return found == held_.end() ? nullptr : &found->second;
  }

  // After a node that hands elements on.
  void hand_on(const Node& node) {
    Inputs held;
    for (const Value* operand : node.operands)
      if (const Inputs* found = inputs_of(operand)) held.insert(found->begin(), found->end());
    if (held.empty()) return;
    for (const Value* result : node.results) held_[result] = held;
  }

 private:
  std::unordered_map<const Value*, Inputs> held_;
};

class Search {
 public:
  Search(const Graph& graph, std::map<const Value*, std::vector<Dim>>& bounds) : bounds_(bounds), held_(graph) {
    for (const Node& node : graph.nodes()) {
      note_count(node);
      note_selection(node);
      if (moves_elements(node)) held_.hand_on(node);
    }
  }

 private:
  // As many places as a mask has entries, or less.
  void note_count(const Node& node) {
    if (node.op != "nonzero") return;
    const Dim& count = node.results[0]->type.shape[0];
    if (const auto symbol = count.as_symbol()) most_.try_emplace(*symbol, element_count(node.operands[0]->type.shape));
  }

  // A size that is measured is known only as the network runs: what it can't exceed is what others are drawn below.
  void bound_lengths(const Value* lengths, const Dim& most) {
    bound(lengths, most + Dim(1));
    if (const auto function = as_function(most); function && function->name == "min") {
      bound(lengths, function->a + Dim(1));
      bound(lengths, function->b + Dim(1));
    }
    const auto symbol = most.as_symbol();
    if (const auto limit = symbol ? most_.find(*symbol) : most_.end(); limit != most_.end())
      bound(lengths, limit->second + Dim(1));
  }

  void note_selection(const Node& node) {
    if (const auto [lengths, most] = lengths_of(node); lengths != nullptr) return bound_lengths(lengths, most);
    if (node.op == "one_hot") return bound(node.operands[0], Dim(node.attrs.integer("depth")));
    if (node.op == "gather_nd" || node.op == "scatter_nd") return note_coordinates(node);
    const auto row = std::ranges::find(kSelections, node.op, &Selection::op);
    if (row == kSelections.end()) return;
    const Shape& shape = node.operands[row->data]->type.shape;
    std::int64_t axis = node.attrs.integer(row->axis);
    if (axis < 0) axis += static_cast<std::int64_t>(shape.size());
    if (axis >= 0 && axis < static_cast<std::int64_t>(shape.size()))
      bound(node.operands[row->index], shape[static_cast<std::size_t>(axis)]);
  }

  // Each entry of a coordinate has an axis of its own: the numbers stay below all of them.
  void note_coordinates(const Node& node) {
    const Shape& data = node.operands[0]->type.shape;
    const Attr* batch_dims = node.attrs.find("batch_dims");
    const std::int64_t from = batch_dims == nullptr ? 0 : std::get<std::int64_t>(*batch_dims);
    const Shape& indices = node.operands[1]->type.shape;
    const auto entries = indices.empty() ? std::nullopt : indices.back().constant();
    for (std::int64_t axis = from; entries && axis < from + *entries; ++axis)
      if (axis >= 0 && axis < static_cast<std::int64_t>(data.size()))
        bound(node.operands[1], data[static_cast<std::size_t>(axis)]);
  }

  void bound(const Value* index, const Dim& size) {
    const Inputs* inputs = held_.inputs_of(index);
    if (inputs == nullptr) return;
    for (const Value* input : *inputs) {
      std::vector<Dim>& sizes = bounds_[input];
      if (std::ranges::find(sizes, size) == sizes.end()) sizes.push_back(size);
    }
  }

  std::map<const Value*, std::vector<Dim>>& bounds_;
  std::map<std::string, Dim, std::less<>> most_;  // of sizes that are measured
  Holding held_;
};

}  // namespace

std::map<const Value*, std::vector<Dim>> index_bounds(const Graph& graph) {
  std::map<const Value*, std::vector<Dim>> bounds;
  Search(graph, bounds);
  return bounds;
}

std::set<const Value*> sequence_lengths(const Graph& graph) {
  Inputs found;
  Holding held(graph);
  for (const Node& node : graph.nodes()) {
    if (const Inputs* inputs = held.inputs_of(lengths_of(node).first)) found.insert(inputs->begin(), inputs->end());
    if (moves_elements(node)) held.hand_on(node);
  }
  return found;
}

std::set<const Value*> integer_divisors(const Graph& graph) {
  Inputs divisors;
  Holding held(graph);
  for (const Node& node : graph.nodes()) {
    const bool divides = std::ranges::find(kDivisions, node.op) != kDivisions.end();
    if (const Inputs* found = divides ? held.inputs_of(node.operands[1]) : nullptr)
      divisors.insert(found->begin(), found->end());
    if (moves_elements(node) || std::ranges::find(kKeepingZeros, node.op) != kKeepingZeros.end()) held.hand_on(node);
  }
  return divisors;
}

}  // namespace taper
