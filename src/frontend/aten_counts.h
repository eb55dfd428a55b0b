// Sizes that elements decide: each is a symbol, which the running program measures where a value of that size is made.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// A symbol for a number of elements, which lies between 0 and `most`, if that is known.
Dim fresh_count(Context& context, const std::optional<Dim>& most);

// The places where a mask (bool, one axis or more) is true, i64[count, its rank]. Masks that are computed alike have
// one count.
Value* places_of(Context& context, Value* mask);

// 0, 1, ... below a number of rank 0 that the running program computes, which measures it; it lies between 0 and
// `most`.
Value* measured_range(Context& context, Value* number, const std::optional<Dim>& most);

// A number of rank 0 that the running program computes as a size; what is below 0 counts as 0.
Dim measured_size(Context& context, Value* number);

}  // namespace taper::aten
