// What weights of an unknown network look like.
#pragma once

#include <string>
#include <vector>

#include "frontend/weights.h"
#include "taper/taper.h"

namespace taper {

// The modules that the weights belong to, by the points in their keys, in the order of the file: at most 32 deep.
// Neighbours with consecutive numbers in their names that hold the same are one (`folds`). Several sets stand beside
// each other, under the places where they lie. Names may be anything: escape them before they are shown.
WeightTree outline(const std::vector<WeightSet>& sets, bool folds = true);

// "a network with convolutions and LSTM layers": a guess from names and shapes; empty if there is none.
std::string likely_kind(const WeightSet& weights);

}  // namespace taper
