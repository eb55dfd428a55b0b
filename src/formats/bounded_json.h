// JSON that people write: configurations, recipes. Small and shallow, whatever the file says.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"

namespace taper {

// `what` names the kind of file in errors: "a recipe". Errors: more than `most_bytes`, NUL bytes, text that is not JSON
// (with the line), nesting deeper than 8.
Expected<nlohmann::json> parse_bounded_json(std::string_view text, std::size_t most_bytes, std::string_view what);

}  // namespace taper
