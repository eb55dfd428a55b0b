// Values that are computed alike.
#pragma once

#include "ir/graph.h"

namespace taper {

// Whether two values of a graph are computed in the same way, as far as that shows within a budget of nodes looked at.
bool same_computation(const Value* a, const Value* b, int& budget);

}  // namespace taper
