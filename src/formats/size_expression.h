// Sizes as torch.export writes them: SymPy expressions over symbols, as text. Internal to formats.
#pragma once

#include <string_view>

#include "base/dim.h"

namespace taper {

// Reads SymPy's constructor form ("Mul(Integer(2), Symbol('s77', integer=True))") and Python's ("2*s77", "s0//2",
// "FloorDiv(s0 + 1, 2)"), also mixed. Functions: FloorDiv, CleanDiv, Mod, Max, Min, ModularIndexing, floor, ceiling,
// those of Python (max, min, math.ceil) and those that only change types. Fractions may stand inside of floor and
// ceiling. Errors: anything else, expressions longer than 4096 bytes or nested deeper than 64, dimensions that
// overflow.
Expected<Dim> parse_size_expression(std::string_view text);

}  // namespace taper
