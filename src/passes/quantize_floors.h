// Masks: numbers so far below the largest of their row that softmax makes nothing of them. A grid of integers that
// reached down to them would have no steps left for the scores.
#pragma once

#include <optional>
#include <unordered_map>

#include "ir/graph.h"
#include "ops/array.h"
#include "quantize/ranges.h"

namespace taper {

// The axis along which a value's entries are compared, by softmax or a search for the largest.
using ComparedValues = std::unordered_map<const Value*, std::size_t>;
ComparedValues compared_values(const Graph& graph);

// The least largest entry of a row, over all rows of `array` along `axis`; rows that are masked altogether, of which
// nothing is asked, are left out. Infinite if no row is left.
double least_maximum(const Array& array, std::size_t axis);

// The array with what is beyond the margin below the largest of its row raised to there.
Array without_masks(Array array, std::size_t axis);

// By value: only differences down to this number, and a margin below it, matter.
using Floors = std::unordered_map<const Value*, double>;
// Of compared values, and of those that become them by moves, choices and sums alone. `maxima` are the least largest
// entries of rows that were seen for compared values, `ranges` all that was seen.
Floors floors_of(const Graph& graph, const Floors& maxima, const std::unordered_map<const Value*, Range>& ranges);

// Compared values that may have a floor: those that are given to nothing else.
Floors possible_floors(const Graph& graph, const ComparedValues& compared);

// How far below its row's largest entry a score counts: with integers of 8 bits, of which softmax gives 1 / 256 and
// more, and of 16.
double floor_margin(int bits);

}  // namespace taper
