// Overloads that are formulas of others.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

std::vector<Overload> composite_overloads();

}  // namespace taper::aten
