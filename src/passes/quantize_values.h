// The grids of the values that are stored as integers.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "passes/quantize_modes.h"
#include "passes/rewrite.h"

namespace taper {

// Values on one grid form a class: what operators only move, and what loops carry. Its range is that of all of them.
// What is joined with much larger numbers, and used otherwise too, stays out of the class of the join: it is rounded
// anew there.
class GridClasses {
 public:
  GridClasses(const Graph& graph, const QuantizeRequest& request, const Modes& modes);

  // The grid as which `value` is stored where integers of so many bits are computed with.
  std::shared_ptr<const Quantization> grid(const Value& value, int bits);
  // The grid of the class of a value, for the operands of an operator that moves elements: unlike grid(), not the one
  // that the value's producer prescribes.
  std::shared_ptr<const Quantization> class_grid(const Value& value, int bits);

 private:
  struct Class {
    std::vector<const Value*> members;
    bool symmetric = false;                    // some kernel is faster, or exists only, with the zero point 0
    bool computed = false;                     // some value is computed anew, on any grid
    std::vector<const FixedGrid*> prescribed;  // of values that enter it
    std::shared_ptr<const Quantization> grid;
  };

  void collect(const Graph& graph);
  void collect_node(const Node& node);
  bool keeps_own_grid(const Value& operand, const Node& join) const;
  void join(const Value& a, const Value& b);
  // Adds a value to a class: itself, or, where its producer prescribes a grid, what it brings along.
  void enter(const Value& value, const Value& member);
  const Value* root(const Value* value);
  bool is_told(const Class& of_value) const;
  Range range_of_all(const Class& of_value, int bits) const;

  const QuantizeRequest& request_;
  const Modes& modes_;
  const Users users_;  // of the graph's values, without those of regions
  std::unordered_map<const Value*, const Value*> parents_;
  std::unordered_map<const Value*, Class> classes_;  // by root, once all are joined
  std::vector<std::pair<const Value*, const FixedGrid*>> entries_;
  std::vector<const Value*> computed_, symmetric_;
};

}  // namespace taper
