// What weights of an unknown network look like.
#pragma once

#include <string>

#include "frontend/weights.h"

namespace taper {

// The keys with their shapes, those that differ in numbers alone as one: "layers.*.0.weight [64, 64, 3, 3] (12 times)".
std::string outline(const WeightSet& weights);

// "a convolutional network, with recurrent layers (LSTM)": a guess from names and shapes; empty if there is none.
std::string likely_kind(const WeightSet& weights);

}  // namespace taper
