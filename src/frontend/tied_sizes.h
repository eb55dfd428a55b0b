// What an exported program says of its open sizes: that they are multiples, or equal to one another. Internal to
// frontend.
#pragma once

#include "formats/exported_program.h"
#include "frontend/program.h"

namespace taper::exported {

// What may be chosen where a tie holds in several ways: nothing, the kind of the sizes that the program was exported
// with (8 q, where 8 q - 1 would do as well), or also the very sizes.
enum class TieChoice : std::uint8_t { none, kind, number };

struct TiedSizes {
  // Symbols by those that are left: T = 2 T_over_2, S = 3 S_over_3 + 1, Q = T_over_2.
  std::map<std::string, Dim, std::less<>> sizes;
  std::map<std::string, SymbolRange, std::less<>> symbols;  // that are left
  std::vector<std::string> notes;                           // a sentence on each size that was replaced or bounded
  bool open = false;                                        // whether ties are left
};

// What the guards of a program say, and its calls: where [B, T] becomes [B, T // 2, 2], T is even in every run that
// ends well, and what is joined is of one size. `replacements` are the caller's names and numbers for the program's
// symbols; the result is said of those names, whose ranges are `symbols`. Errors: numbers with which a guard doesn't
// hold, ranges in which no size is left.
Expected<TiedSizes> tied_sizes(const Program& program, const std::map<std::string, Dim, std::less<>>& replacements,
                               std::map<std::string, SymbolRange, std::less<>> symbols, TieChoice choice);

}  // namespace taper::exported
