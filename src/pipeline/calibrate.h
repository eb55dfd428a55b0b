// What a graph's values are like when samples run through it.
#pragma once

#include <functional>
#include <unordered_map>

#include "ir/graph.h"
#include "ops/array.h"
#include "passes/quantize_floors.h"
#include "quantize/ranges.h"
#include "quantize/weights.h"

namespace taper {

// Gives the inputs of sample after sample, in the order of the graph's; nothing when there are no more.
using SampleSource = std::function<Expected<std::optional<std::vector<Array>>>()>;

// Of values of float32, those of regions included.
struct Measurements {
  std::unordered_map<const Value*, Range> ranges;
  Floors maxima;  // the least largest entry of a row, of values whose rows are compared
  std::unordered_map<const Value*, InputProducts> products;  // of the inputs of linear layers that were asked for
  std::int64_t samples = 0;
};

struct MeasureOptions {
  RangeOptions ranges;
  bool products = false;  // also the products that weights are compensated with
};

// Evaluates the graph on each sample and keeps what `options` ask for, in memory that doesn't grow with the number of
// samples. Errors: what the source or the evaluation says, no samples.
Expected<Measurements> measure(const Graph& graph, const SampleSource& next_sample, const MeasureOptions& options);

}  // namespace taper
