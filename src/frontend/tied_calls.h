// What the calls of an exported program take for granted of its open sizes. Internal to the ties of sizes.
#pragma once

#include <vector>

#include "formats/exported_program.h"

namespace taper::exported {

// Whether a size holds quotients rounded down.
bool has_quotients(const Dim& size);

// Expressions that are 0 in every run that ends well: a reshape keeps the number of elements, what is joined or added
// is of one size. Programs of PyTorch before 2.9 have no guards that say so.
std::vector<Dim> ties_of_calls(const Graph& graph);

}  // namespace taper::exported
