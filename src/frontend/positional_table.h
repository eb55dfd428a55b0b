// The sinusoid of "Attention Is All You Need": pe[t, 2i] = sin(t / 10000^(2i/E)), pe[t, 2i+1] = cos(t / 10000^(2i/E)).
#pragma once

#include "base/tensor.h"

namespace taper {

// Whether a table [1, L, E] of at least two rows is the sinusoid, within what computing and storing it in its dtype
// costs.
bool is_sinusoid(const Tensor& table);

// The table, float32, with rows of the sinusoid (computed in float64) appended up to `rows`, which is at least L.
Tensor continued_sinusoid(const Tensor& table, std::int64_t rows);

}  // namespace taper
