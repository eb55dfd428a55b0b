// Recipes: which layers are quantised and how, as JSON in the form of ai-edge-quantizer (docs/quantisation.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "quantize/ranges.h"
#include "quantize/weights.h"

namespace taper {

// A pattern that is looked for in names. Time and memory are bounded by the lengths of both, whatever the pattern.
class NamePattern {
 public:
  // ECMAScript's regular expressions without references back. Errors: what they don't allow, patterns beyond our
  // bounds.
  static Expected<NamePattern> parse(const std::string& text);
  // Whether it occurs somewhere in `name`, of which the first 512 bytes count.
  bool found_in(std::string_view name) const;
  const std::string& text() const { return text_; }

 private:
  struct Compiled;
  std::string text_;
  std::shared_ptr<const Compiled> compiled_;
};

// How the numbers of a tensor are stored.
struct TensorScheme {
  int bits = 8;  // 4, 8 or 16; 16 with `floating` is float16, 32 float32
  bool floating = false;
  bool symmetric = true;
  bool per_channel = false;
  std::int64_t block = 0;  // entries of a row that share a scale; 0: all
  bool operator==(const TensorScheme&) const = default;
};

// What is done with a layer.
struct LayerConfig {
  bool quantized = false;                  // else it stays float32
  std::optional<TensorScheme> activation;  // nothing: floats
  std::optional<TensorScheme> weight;
  bool integer_compute = false;          // products of integers; else weights become floats again first
  bool explicit_dequantize = false;      // by an operator of its own
  std::int64_t min_weight_elements = 0;  // smaller weights stay as they are
  WeightMethod weight_method = WeightMethod::min_max;
  std::int64_t rotation = 0;  // rows of the largest Hadamard matrix that inputs and weights are rotated by; 0: none are
  bool operator==(const LayerConfig&) const = default;
};

// "w8", "int8", "float16", ...: the scheme in a word.
std::string_view scheme_name(const LayerConfig& config);

struct RecipeEntry {
  NamePattern scope;
  std::string operation = "*";  // TFLite's name of an operator; "*" for all
  LayerConfig config;
};

// A range that is told instead of measured, for all tensors whose names match.
struct FixedRange {
  NamePattern tensor;
  Range range;
};

struct Recipe {
  std::vector<RecipeEntry> entries;
  std::vector<FixedRange> ranges;

  // Whether some entry asks for integers between the operators, or for weights that inputs make up for.
  bool needs_calibration() const;
  // Whether ranges of activations are among what it needs.
  bool needs_ranges() const;
};

// Reads {"layers": [...], "ranges": {...}} or the list of layers alone. Errors name the entry, and the members and
// words that are known.
Expected<Recipe> parse_recipe(std::string_view text);

// What a layer is called: the path of the module it is from, and the names of its results. Patterns are looked for in
// the path where there is one, else in the names.
struct LayerName {
  std::string path;
  std::vector<std::string> results;
};
bool matches(const NamePattern& pattern, const LayerName& name);

// The last entry that matches and that `possible` accepts decides; nothing if there is none.
const RecipeEntry* entry_for(const Recipe& recipe, const LayerName& name, std::string_view operation,
                             const std::function<bool(const RecipeEntry&)>& possible = {});
// The last range that is told for a tensor of this name.
const FixedRange* range_for(const Recipe& recipe, std::string_view tensor);

}  // namespace taper
