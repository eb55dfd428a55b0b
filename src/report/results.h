// export_results.json: its content is to_json() of the public header; here is how it gets to disk.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/error.h"

namespace taper {

inline constexpr std::string_view kResultsName = "export_results.json";

// Replaces the file at `path` with `text` so that a reader sees the old file or the new one, never a part: a temporary
// file in the same folder is written, synced and renamed. On an error nothing is left behind.
Status write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace taper
