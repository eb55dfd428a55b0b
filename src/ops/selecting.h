// Masks whose entries are counted.
#pragma once

#include <utility>

#include "ir/graph.h"

namespace taper {

// The mask that x repeats along new last axes, and how often; x itself, once, if it is none such. Exporters write
// elements where a program has rows (y[mask] = rows): of both masks the places are counted.
std::pair<Value*, Dim> repeated_mask(Value* x);

}  // namespace taper
