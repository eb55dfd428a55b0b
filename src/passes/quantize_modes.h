// Which operators compute on integers, and which values are therefore stored as integers.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "ops/op.h"
#include "passes/quantize.h"

namespace taper {

class Modes {
 public:
  // A layer that is asked to computes on integers if there is a kernel and all ranges are known. Where weights don't
  // matter, it has to pay as well: what only floats go into, or only floats come from, stays float32. So norms, whose
  // kernels on integers are coarse, draw what lies between them and the next product to floats. What loops compute
  // anew in every step takes 16 bits, also in int8 layers.
  Modes(const Graph& graph, const QuantizeRequest& request);

  // The bits of the integers that a node computes on; 0: floats.
  int bits(const Node& node) const;
  // The bits of the integers as which a value arrives in its graph: from its producer, or into a region.
  int bits(const Value& value) const;
  // Whether a value of int8 layers is kept in 16 bits (passes/quantize_wide.h).
  bool is_wide(const Value& value) const { return wide_.contains(&value); }
  // Why a node that was asked to compute on integers doesn't.
  const std::unordered_map<const Node*, std::string>& reasons() const { return reasons_; }

 private:
  void choose(const Graph& graph);
  void choose_carried(const Node& loop);
  int bits_to_come(const Value& value) const;
  int bits_of_users(const Graph& graph, const Value& value) const;
  int possible(const Node& node, std::string* reason) const;
  void follow_operands(const Node& node);
  void follow_users(const Graph& graph);
  void leave(const Node& node, std::string reason);

  const QuantizeRequest& request_;
  std::unordered_set<const Value*> wide_;
  std::unordered_map<const Node*, int> nodes_;
  std::unordered_map<const Value*, int> entering_;  // inputs of graphs and results of loops
  std::unordered_map<const Node*, std::string> reasons_;
};

// Whether floats are multiplied with weights or with one another: what integers are for.
bool multiplies_matrices(const Node& node);
bool is_float(const Value* value);
// The range of a constant's numbers, or the one that was measured, for integers of so many bits: down to what counts
// among its rows. Nothing if there is none.
std::optional<Range> range_of(const Value& value, const QuantizeRequest& request, int bits = 8);
// The grid that a node's kernel prescribes for its result; nothing if any will do.
const FixedGrid* prescribed_grid(const Node& node, int bits);

}  // namespace taper
