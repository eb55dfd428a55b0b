// The search for the smallest file within a bound: float16, int8 or int4 weights, layer by layer.
#pragma once

#include "pipeline/layer_costs.h"
#include "pipeline/quantizer.h"

namespace taper {

// Starts with all weights as float16. The error of each large layer alone is measured with int8 and with int4 weights;
// steps down are put in the order of the bytes that they save for the square of the error they add, as errors of layers
// that know nothing of each other add up by their squares. The longest start of that order whose measured error stays
// within the bound, less a margin for the runtime's own rounding, is the mix. The same for the same graph and samples.
// Errors: a bound that float16 weights are beyond already.
// `progress` is told of each layer that is measured, and may be empty.
Expected<StoredGraph> find_mix(const Graph& legal, const Quantizer& quantizer, const Bench& bench, double max_error,
                               const std::function<void(const std::string&)>& progress = {});

}  // namespace taper
