// Which numbers an integer input may hold.
#pragma once

#include <map>
#include <set>
#include <string>

#include "ir/graph.h"

namespace taper {

// For the integer inputs of a graph that select entries of an axis: the sizes of those axes, all of which the numbers
// have to stay below. Inputs are followed through what moves, casts or chooses elements, not through arithmetic.
std::map<const Value*, std::vector<Dim>> index_bounds(const Graph& graph);

// The integer inputs that say how many steps of a sequence count, which runtimes want to be at least 1; index_bounds
// tells how many there are.
std::set<const Value*> sequence_lengths(const Graph& graph);

// The integer inputs that others are divided by: runtimes stop at zeros there, as PyTorch does. Followed through
// products and signs, too.
std::set<const Value*> integer_divisors(const Graph& graph);

}  // namespace taper
