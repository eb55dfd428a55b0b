// The JSON of an exported program. Internal to formats.
#pragma once

#include <nlohmann/json.hpp>

#include "formats/exported_program.h"

namespace taper::exported {

using Json = nlohmann::json;

// Parses JSON as Python writes it, where numbers may be Infinity, -Infinity and NaN: these become the texts of the same
// names. Errors name the byte.
Expected<Json> parse_json(std::string_view text);

// Reading by names and kinds. Errors name the field and what was found.
Expected<const Json*> member(const Json& object, const char* key);
// The member, or null if it is absent or null.
const Json* optional_member(const Json& object, const char* key);
Expected<std::string> text_of(const Json& object, const char* key);
Expected<std::int64_t> integer_of(const Json& value, std::string_view what);

// Everything but weights.
Expected<Program> program_from_json(const Json& json);

// The data of a weight: dtype, sizes, strides and offset.
struct WeightMeta {
  std::optional<DType> dtype;  // of complex numbers: of their parts
  bool is_complex = false;
  std::vector<std::int64_t> sizes, strides;
  std::int64_t offset = 0;
  std::string unread;  // why it can't be read: "has layout 1"; "" if it can
};
Expected<WeightMeta> weight_meta(const Json& json);

// Names for the leaves of an output's tree ("[1, {\"type\": \"builtins.dict\", ...}]"): dict keys, joined by '_' with
// keys and indices of what is inside; "output", "output_1" for those of a plain tuple. `fields` are those of
// namedtuples, by type. Nothing if the tree can't be read.
std::optional<std::vector<std::string>> leaf_names(std::string_view tree,
                                                   const std::map<std::string, std::vector<std::string>>& fields);

}  // namespace taper::exported
