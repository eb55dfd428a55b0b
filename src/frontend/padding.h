// Padding by amounts that are no numbers: symbols, or what only the running program knows.
#pragma once

#include <string>

#include "ops/builder.h"

namespace taper {

struct Padding {
  std::string mode;  // constant, replicate, reflect or circular
  double fill = 0;   // what mode constant writes
};

// x with the entries of an axis that stand at `places` (i32), which count from 0 on within x, from below 0 before it.
// `may_be_nothing`: the axis may have no entries.
Value* entries_at(Builder& build, Value* x, std::size_t axis, Value* places, const Padding& padding,
                  bool may_be_nothing);

// A size as an integer of rank 0.
Value* size_as_number(Builder& build, const Dim& size, DType dtype);

}  // namespace taper
