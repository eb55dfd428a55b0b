// Open sizes that an exported program takes only in multiples. Internal to frontend.
#pragma once

#include "formats/exported_program.h"

namespace taper::exported {

// Symbols whose sizes are multiples of a number, or have one rest: T = 2 T_over_2, S = 3 S_over_3 + 1.
using DivisibleSizes = std::map<std::string, Dim, std::less<>>;

// What the guards of a program say, and its reshapes: where [B, T] becomes [B, T // 2, 2], T is even in every run that
// ends well. `replacements` are the caller's names and numbers for the program's symbols; the result is said of those
// names. Errors: numbers with which a guard doesn't hold.
Expected<DivisibleSizes> divisible_sizes(const Program& program,
                                         const std::map<std::string, Dim, std::less<>>& replacements);

}  // namespace taper::exported
