// Which numbers an integer input may hold.
#pragma once

#include <map>
#include <string>

#include "ir/graph.h"

namespace taper {

// For the integer inputs of a graph that select entries of an axis: the sizes of those axes, all of which the numbers
// have to stay below. Inputs are followed through what moves, casts or chooses elements, not through arithmetic.
std::map<const Value*, std::vector<Dim>> index_bounds(const Graph& graph);

}  // namespace taper
