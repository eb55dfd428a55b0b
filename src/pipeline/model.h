// What a loaded Model is inside.
#pragma once

#include "frontend/families.h"
#include "taper/taper.h"

namespace taper {

struct Model::Impl {
  ImportedModel imported;  // the graph's constants view the mapped file, which they keep alive
  std::int64_t sequence_length = 0;
};

// The names of the graph's symbols.
inline constexpr std::string_view kBatch = "batch_size";
inline constexpr std::string_view kSteps = "sequence_length";

}  // namespace taper
