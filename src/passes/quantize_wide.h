// Which values of int8 layers take 16 bits: what loops compute anew in every step.
#pragma once

#include <functional>
#include <unordered_set>

#include "ir/graph.h"

namespace taper {

// A state that is rounded to 255 steps in every frame forgets what changes it by less than half a step, and a gate of
// 255 of 256 forgets what it should keep: over hundreds of frames that is most of a recurrent network's error. So what
// is computed in the bodies of loops without weights, where kernels on int16 exist, is wide, and what only moves to
// there. Products with weights are not: they read and give int8, which is what hardware multiplies. This is how
// TFLite's own LSTM on integers keeps its cell. `is_int8` says which nodes are to compute on int8 at all.
std::unordered_set<const Value*> wide_values(const Graph& graph, const std::function<bool(const Node&)>& is_int8);

}  // namespace taper
