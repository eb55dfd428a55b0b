// What the guards of an exported program leave of its open sizes. Internal to frontend.
#pragma once

#include "formats/exported_program.h"
#include "frontend/program.h"

namespace taper::exported {

struct SizeLimits {
  std::map<std::string, SymbolRange, std::less<>> symbols;
  std::vector<std::string> notes;  // a sentence on each size that was bounded, and on what bounds don't say
};

// Guards narrow a range where they prove that none holds below or beyond it; of others that don't hold everywhere a
// note tells, with sizes for which they don't, of small ones and some large ones; and one of guards that weren't read
// or speak of many sizes. `replacements` are the sizes that the program's symbols are in the files. Time is bounded.
SizeLimits size_limits(const Program& program, const std::map<std::string, Dim, std::less<>>& replacements,
                       std::map<std::string, SymbolRange, std::less<>> symbols);

}  // namespace taper::exported
