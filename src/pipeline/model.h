// What a loaded Model is inside.
#pragma once

#include "base/bytes.h"
#include "frontend/program.h"
#include "taper/taper.h"

namespace taper {

using Symbols = std::map<std::string, SymbolRange, std::less<>>;

struct Model::Impl {
  Graph graph;  // as imported; the constants view the mapped file, which they keep alive
  ModelInfo info;
  Symbols symbols;     // of the graph's inputs, all of them
  SharedBytes source;  // the mapped file, to see whether it changes
};

// Of a model with more weights, formats are written one after another: each may hold a copy of some weights.
inline constexpr std::int64_t kMostWeightsSideBySide = 64'000'000;

// Of an input to verify with, at most so many windows are run at a time.
inline constexpr std::int64_t kMostWindows = 16;

// The names of the symbols of families.
inline constexpr std::string_view kBatch = "batch_size";
inline constexpr std::string_view kSteps = "sequence_length";

// The sizes of the default input shape.
inline Bindings usual_sizes(const Symbols& symbols) {
  Bindings sizes;
  for (const auto& [name, range] : symbols) sizes.emplace(name, range.usual);
  return sizes;
}

}  // namespace taper
