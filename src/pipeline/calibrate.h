// What a graph's values are like when samples run through it.
#pragma once

#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "ir/graph.h"
#include "ops/array.h"
#include "passes/quantize_bias.h"
#include "passes/quantize_floors.h"
#include "quantize/ranges.h"
#include "quantize/weights.h"

namespace taper {

// Gives the inputs of sample after sample, in the order of the graph's; nothing when there are no more.
using SampleSource = std::function<Expected<std::optional<std::vector<Array>>>()>;

// Of values of float32, those of regions included.
struct Measurements {
  std::unordered_map<const Value*, Range> ranges;
  Floors maxima;                              // the least largest entry of a row, of values whose rows are compared
  std::unordered_set<const Value*> masked;    // those that held numbers too low to be in a range (is_within_reach)
  std::unordered_set<const Value*> infinite;  // those that held infinite numbers, which are in no range
  std::unordered_map<const Value*, InputProducts> products;  // of the inputs of linear layers that were asked for
  std::unordered_map<const Value*, LayerInputs> inputs;      // of layers that biases can shift, if asked for
  std::int64_t samples = 0;
};

struct MeasureOptions {
  RangeOptions ranges;
  bool products = false;  // also the products that weights are compensated with
  bool inputs = false;    // also the means that biases make up with for what rounding weights shifts
};

// Evaluates the graph on each sample and keeps what `options` ask for, in memory that doesn't grow with the number of
// samples. Errors: what the source or the evaluation says, no samples.
Expected<Measurements> measure(const Graph& graph, const SampleSource& next_sample, const MeasureOptions& options);

}  // namespace taper
