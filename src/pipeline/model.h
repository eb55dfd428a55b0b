// What a loaded Model is inside.
#pragma once

#include "base/bytes.h"
#include "frontend/families.h"
#include "taper/taper.h"

namespace taper {

struct Model::Impl {
  ImportedModel imported;  // the graph's constants view the mapped file, which they keep alive
  SharedBytes source;      // the mapped file, to see whether it changes
  std::int64_t sequence_length = 0;
};

// Of a model with more weights, formats are written one after another: each may hold a copy of some weights.
inline constexpr std::int64_t kMostWeightsSideBySide = 64'000'000;

// Of an input to verify with, at most so many windows are run at a time.
inline constexpr std::int64_t kMostWindows = 16;

// The names of the graph's symbols.
inline constexpr std::string_view kBatch = "batch_size";
inline constexpr std::string_view kSteps = "sequence_length";

}  // namespace taper
