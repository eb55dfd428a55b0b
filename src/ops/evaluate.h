// The reference evaluation of graphs: every operator's formula, in float64.
#pragma once

#include <memory>
#include <vector>

#include "ir/graph.h"
#include "ops/array.h"
#include "ops/op.h"

namespace taper {

// A graph ready to be evaluated many times. Each value is freed after its last use. Quantised values are rounded to
// their grids when they are computed, and what hybrid kernels round is rounded: results are those of TFLite's kernels
// up to the rounding of their own arithmetic.
class PreparedGraph {
 public:
  // With `keep_constants` off each constant is converted anew by every run and freed after its last use: less memory
  // for a graph that runs once or twice.
  explicit PreparedGraph(const Graph& graph, bool keep_constants = true);
  ~PreparedGraph();
  PreparedGraph(PreparedGraph&&) noexcept;

  // Values of the graph's outputs for `inputs`, whose shapes bind the symbols of the input types. Errors: another
  // number of inputs, shapes that contradict the types, what a row's evaluation reports (with the node's name).
  Expected<std::vector<Array>> run(std::vector<Array> inputs);

  // Shows each value of the runs to come to `observer`, inputs and those of regions included; it must outlive them.
  // In a loop beyond its first step, inputs that the graph only passes on are not shown again.
  void observe(const ValueObserver* observer, bool in_loop = false);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Evaluates once.
Expected<std::vector<Array>> evaluate(const Graph& graph, std::vector<Array> inputs);

// Values for the symbols of `types` from actual shapes. Errors: ranks or sizes that contradict the types.
Expected<Bindings> bind_symbols(const std::vector<Value*>& values,
                                const std::vector<std::vector<std::int64_t>>& shapes);

// Whether an evaluation failed because what it measured was not as large as the graph says: an error of the graph, not
// of its inputs.
bool contradicts_sizes(const Error& error);

// `sizes`, and an estimate of each size of the graph that only elements decide: as many as there are to choose from,
// where operands tell.
Bindings with_measured_sizes(const Graph& graph, Bindings sizes);

}  // namespace taper
