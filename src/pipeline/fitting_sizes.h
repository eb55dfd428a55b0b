// Usual sizes of what a file leaves open without telling one.
#pragma once

#include "pipeline/model.h"

namespace taper {

// Whether the size is that of first axes alone, as batches are.
bool counts_samples(const Graph& graph, const std::string& symbol);

// Gives open sizes whose usual one nobody told (the least, 1) one that the network runs at: the smallest power of two,
// up to 16,384, at which the shape rules take all operators and no value comes out without elements. Batches stay 1.
// Where no such size is found, or looking for it takes long, sizes stay as they are.
void fit_usual_sizes(const Graph& graph, Symbols& symbols);

// "B = 1, H = 16".
std::string sizes_text(const Bindings& sizes);

// What else fails where nobody told sizes, with how to tell them as its next step if it has none.
Error wanting_sizes(Error error, const Model& model);

}  // namespace taper
