// Rounding of values to the integers that kernels compute with.
#pragma once

#include "ir/quantization.h"
#include "ops/array.h"

namespace taper {

// Each value becomes the nearest one of the grid, saturating.
void round_to_grid(Array& array, const Quantization& quantization);

// What a hybrid kernel makes of x: over each stretch of the last `axes` axes, 255 steps between the extremes, 0 among
// them.
void round_dynamically(Array& array, std::size_t axes);

}  // namespace taper
