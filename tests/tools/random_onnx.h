// Random calls and graphs as ONNX files, for ONNX Runtime to judge.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/error.h"

namespace taper {

// Writes `count` files to `folder` and prints a line of JSON about each: its path, the graph's text, and runs of it,
// each with inputs and the outputs that the formulas give.
Status write_random_onnx(const std::filesystem::path& folder, std::uint64_t seed, std::uint64_t count);

}  // namespace taper
