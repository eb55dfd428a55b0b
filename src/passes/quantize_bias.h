// Biases that make up for what rounding weights shifts.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"
#include "quantize/means.h"

namespace taper {

// What samples showed of the input of a layer: [..., channels].
struct LayerInputs {
  ChannelMeans means;
  std::vector<std::int64_t> shape;  // of the last sample
};

// Whether the layer has a bias, or can be given one, and its weight is a constant: its first operand is what to
// measure.
bool can_shift(const Node& node);

// What rounding the weight takes from each channel of the layer's result in the mean of all places, for inputs that are
// in each place as their channels are in the mean: mean(W x) - mean(W_rounded x). So padding counts as it does.
// `stored` is the rounded weight. Nothing where that can't be reckoned, or nothing changes.
std::optional<std::vector<double>> lost_means(const Node& node, const Value& stored, const LayerInputs& inputs);

}  // namespace taper
