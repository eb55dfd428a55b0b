// Sizes that an export froze, set free again. Internal to frontend.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/aten.h"

namespace taper {

// The sizes that freed symbols had when the program was made.
using FrozenSizes = std::map<std::string, std::int64_t, std::less<>>;

// `dim` as it was in the program.
Dim frozen(const Dim& dim, const FrozenSizes& sizes);

// Replaces literals of a call that follow from frozen sizes by symbols: sizes of reshapes by the products that the
// operand's shape gives, ends of slices, sizes of expansions, lengths of ranges and of new tensors. `name` is ATen's
// ("view.default"). Appends a sentence to `assumptions` where nothing but the number itself says that a literal is one
// of those sizes.
void free_literals(std::string_view name, std::vector<aten::NamedArg>& arguments, const FrozenSizes& sizes,
                   std::vector<std::string>& assumptions);

}  // namespace taper
