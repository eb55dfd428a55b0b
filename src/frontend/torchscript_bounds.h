// Between which sizes integers lie that only the running program knows. Internal to the interpreter.
#pragma once

#include <optional>

#include "frontend/torchscript_interpreter.h"

namespace taper::torchscript {

struct Bounds {
  std::optional<Dim> least, most;
};

// Of the elements of a region's value.
Bounds bounds_of(const Region& region, const taper::Value* value);
// Whether a <= b for all sizes, also where one is a multiple of a quotient that was rounded down.
bool surely_within(const aten::Context& context, const Dim& a, const Dim& b);

}  // namespace taper::torchscript
