#include "quantize/recipe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/bounded_json.h"
#include "formats/schema/tflite_generated.h"
#include "formats/text.h"

namespace taper {
namespace {

using Json = nlohmann::json;

// As much of a value as a message can bear.
std::string shown(const Json& value) {
  return std::string(excerpt(value.dump(-1, ' ', false, Json::error_handler_t::replace)));
}

Status refuse_unknown(const Json& object, std::string_view what, std::span<const std::string_view> known) {
  if (!object.is_object()) return fail("{} is {}, expected an object", what, shown(object));
  for (const auto& [name, value] : object.items())
    if (std::ranges::find(known, name) == known.end())
      return fail("{} has the member '{}', expected {}", what, excerpt(name), fmt::join(known, ", "));
  return {};
}

Expected<bool> read_flag(const Json& object, const char* name, bool otherwise) {
  const auto found = object.find(name);
  if (found == object.end()) return otherwise;
  if (!found->is_boolean()) return fail("{} is {}, expected true or false", name, shown(*found));
  return found->get<bool>();
}

Expected<std::int64_t> read_count(const Json& object, const char* name, std::int64_t otherwise) {
  const auto found = object.find(name);
  if (found == object.end()) return otherwise;
  if (!found->is_number_integer() || *found < 0 || *found > std::int64_t{1} << 40)
    return fail("{} is {}, expected a whole number from 0 on", name, shown(*found));
  return found->get<std::int64_t>();
}

// One of `known`, or the first of them where the member is absent.
Expected<std::string_view> read_word(const Json& object, const char* name, std::span<const std::string_view> known) {
  const auto found = object.find(name);
  if (found == object.end()) return known.front();
  if (found->is_string())
    for (const std::string_view word : known)
      if (found->get_ref<const std::string&>() == word) return word;
  return fail("{} is {}, expected one of {}", name, shown(*found), fmt::join(known, ", "));
}

// ------------------------------------------------------------------------------------------------------------ tensors

constexpr std::array<std::string_view, 6> kGranularities = {"TENSORWISE",   "CHANNELWISE",   "BLOCKWISE_32",
                                                            "BLOCKWISE_64", "BLOCKWISE_128", "BLOCKWISE_256"};
constexpr std::array<std::int64_t, 6> kBlocks = {0, 0, 32, 64, 128, 256};

// `granularity`; in older recipes `channel_wise` and `block_size`.
Status read_granularity(const Json& json, TensorScheme& scheme) {
  TAPER_ASSIGN(const std::string_view granularity, read_word(json, "granularity", kGranularities));
  const auto index = static_cast<std::size_t>(std::ranges::find(kGranularities, granularity) - kGranularities.begin());
  TAPER_ASSIGN(const bool channel_wise, read_flag(json, "channel_wise", false));
  TAPER_ASSIGN(const std::int64_t block, read_count(json, "block_size", 0));
  scheme.per_channel = index > 0 || channel_wise || block > 0;
  scheme.block = block > 0 ? block : kBlocks[index];
  if (std::ranges::find(kBlocks, scheme.block) == kBlocks.end())
    return fail("block_size is {}, expected 0, 32, 64, 128 or 256", scheme.block);
  return {};
}

Expected<TensorScheme> read_tensor(const Json& json, std::string_view what, std::span<const int> integer_bits) {
  constexpr std::array<std::string_view, 7> kMembers = {"num_bits", "symmetric",  "granularity",     "channel_wise",
                                                        "dtype",    "block_size", "algorithm_params"};
  TAPER_TRY(refuse_unknown(json, what, kMembers));
  constexpr std::array<std::string_view, 2> kDtypes = {"INT", "FLOAT"};
  TAPER_ASSIGN(const std::string_view dtype, read_word(json, "dtype", kDtypes));
  if (!json.contains("num_bits")) return fail("{} has no num_bits", what);
  TAPER_ASSIGN(const std::int64_t bits, read_count(json, "num_bits", 0));
  TensorScheme scheme;
  scheme.floating = dtype == "FLOAT";
  constexpr std::array<int, 2> kFloatBits = {16, 32};
  const std::span<const int> known = scheme.floating ? std::span<const int>(kFloatBits) : integer_bits;
  if (std::ranges::find(known, bits) == known.end())
    return fail("num_bits of {} is {}, expected {}", what, bits, fmt::join(known, " or "));
  scheme.bits = static_cast<int>(bits);
  TAPER_ASSIGN(scheme.symmetric, read_flag(json, "symmetric", true));
  TAPER_TRY(read_granularity(json, scheme));
  return scheme;
}

// ------------------------------------------------------------------------------------------------------------- layers

struct AlgorithmRow {
  std::string_view key;
  std::optional<WeightMethod> method;  // nothing: the layer stays float32
  bool rotates = false;
};
// OCTAV searches the clipping that rounds with the least mean square error, as MSE here does, and so do the algorithms
// that rotate first. Both of those say the rotation in operators that every runtime has.
constexpr std::array<AlgorithmRow, 8> kAlgorithms = {{{"min_max_uniform_quantize", WeightMethod::min_max},
                                                      {"no_quantize", std::nullopt},
                                                      {"float_casting", WeightMethod::min_max},
                                                      {"MSE", WeightMethod::mse},
                                                      {"OCTAV", WeightMethod::mse},
                                                      {"GPTQ", WeightMethod::gptq},
                                                      {"HADAMARD_ROTATION", WeightMethod::mse, true},
                                                      {"DECOMPOSED_HADAMARD_ROTATION", WeightMethod::mse, true}}};
constexpr std::string_view kFloatCasting = "float_casting";

Expected<AlgorithmRow> read_algorithm(const Json& json) {
  std::vector<std::string_view> keys;
  keys.reserve(kAlgorithms.size());
  for (const AlgorithmRow& row : kAlgorithms) keys.push_back(row.key);
  TAPER_ASSIGN(const std::string_view key, read_word(json, "algorithm_key", keys));
  return *std::ranges::find(kAlgorithms, key, &AlgorithmRow::key);
}

// The rows of the largest matrix to rotate by. Larger ones cost more than they save.
Expected<std::int64_t> read_rotation(const Json& weight) {
  constexpr std::int64_t kMostRows = 1024;
  const auto params = weight.find("algorithm_params");
  if (params == weight.end()) return kMostRows;
  constexpr std::array<std::string_view, 1> kMembers = {"max_hadamard_size"};
  TAPER_TRY(refuse_unknown(*params, "algorithm_params", kMembers));
  TAPER_ASSIGN(const std::int64_t most, read_count(*params, "max_hadamard_size", 0));
  return most == 0 ? kMostRows : std::min(most, kMostRows);
}

// What contradicts itself, in the words of the form.
Status check_config(const LayerConfig& config, std::string_view algorithm) {
  const auto integer = [](const std::optional<TensorScheme>& scheme) { return scheme && !scheme->floating; };
  if (!config.weight && !config.activation)
    return fail("op_config has neither weight_tensor_config nor activation_tensor_config");
  if (algorithm == kFloatCasting && (!config.weight || !config.weight->floating || config.weight->bits != 16))
    return fail("float_casting needs a weight_tensor_config with dtype FLOAT and num_bits 16");
  if (algorithm != kFloatCasting && config.weight && config.weight->floating)
    return fail("weights of dtype FLOAT need the algorithm float_casting");
  if (integer(config.activation) && config.weight && config.weight->floating)
    return fail("activations of dtype INT need weights of dtype INT");
  if (integer(config.activation) && !config.integer_compute)
    return fail("activations of dtype INT need compute_precision INTEGER");
  if (config.integer_compute && config.explicit_dequantize)
    return fail("compute_precision INTEGER and explicit_dequantize contradict each other");
  return {};
}

Expected<LayerConfig> read_op_config(const Json& json, std::string_view algorithm) {
  constexpr std::array<std::string_view, 6> kMembers = {
      "activation_tensor_config", "weight_tensor_config", "compute_precision",
      "explicit_dequantize",      "skip_checks",          "min_weight_elements"};
  TAPER_TRY(refuse_unknown(json, "op_config", kMembers));
  LayerConfig config;
  config.quantized = true;
  constexpr std::array<int, 2> kActivationBits = {8, 16}, kWeightBits = {4, 8};
  if (json.contains("activation_tensor_config")) {
    TAPER_ASSIGN(config.activation,
                 read_tensor(json["activation_tensor_config"], "activation_tensor_config", kActivationBits));
    if (config.activation->per_channel) return fail("activations have one scale: expected granularity TENSORWISE");
  }
  if (json.contains("weight_tensor_config")) {
    TAPER_ASSIGN(config.weight, read_tensor(json["weight_tensor_config"], "weight_tensor_config", kWeightBits));
    if (config.weight->block > 0 && config.weight->bits != 4)
      return fail("weight_tensor_config has blocks of num_bits {}, and kernels take those of num_bits 4 only",
                  config.weight->bits);
  }
  constexpr std::array<std::string_view, 2> kPrecisions = {"FLOAT", "INTEGER"};
  TAPER_ASSIGN(const std::string_view precision, read_word(json, "compute_precision", kPrecisions));
  config.integer_compute = precision == "INTEGER";
  TAPER_ASSIGN(config.explicit_dequantize, read_flag(json, "explicit_dequantize", false));
  TAPER_ASSIGN([[maybe_unused]] const bool skip_checks, read_flag(json, "skip_checks", false));
  TAPER_ASSIGN(config.min_weight_elements, read_count(json, "min_weight_elements", 0));
  TAPER_TRY(check_config(config, algorithm));
  return config;
}

// Operators that nobody quantises are accepted too: the entry then speaks of nothing. INPUT and OUTPUT are what recipes
// of others call those of the network.
Expected<std::string> read_operation(const Json& json) {
  constexpr std::array<std::string_view, 3> kOthers = {"*", "INPUT", "OUTPUT"};
  if (const auto* word = json.get_ptr<const std::string*>()) {
    const auto& known = tflite::EnumValuesBuiltinOperator();
    if (std::ranges::find(kOthers, *word) != kOthers.end() ||
        std::ranges::any_of(known, [&](auto builtin) { return *word == tflite::EnumNameBuiltinOperator(builtin); }))
      return *word == "EMBEDDING_LOOKUP" ? "GATHER" : *word;  // what tables of embeddings are read with here
  }
  return fail("operation is {}, expected \"*\" or the name of an operator of TFLite such as \"FULLY_CONNECTED\"",
              shown(json));
}

Expected<RecipeEntry> read_entry(const Json& json) {
  constexpr std::array<std::string_view, 4> kMembers = {"regex", "operation", "algorithm_key", "op_config"};
  TAPER_TRY(refuse_unknown(json, "it", kMembers));
  if (!json.contains("regex") || !json["regex"].is_string()) return fail("it has no regex, which says what it is for");
  RecipeEntry entry;
  TAPER_ASSIGN(entry.scope, NamePattern::parse(json["regex"].get<std::string>()));
  if (json.contains("operation")) {
    TAPER_ASSIGN(entry.operation, read_operation(json["operation"]));
  }
  TAPER_ASSIGN(const AlgorithmRow algorithm, read_algorithm(json));
  if (!algorithm.method) return entry;
  if (!json.contains("op_config")) return fail("it has no op_config");
  TAPER_ASSIGN(entry.config, read_op_config(json["op_config"], algorithm.key));
  entry.config.weight_method = *algorithm.method;
  if (!algorithm.rotates) return entry;
  if (entry.config.activation || !entry.config.weight || !entry.config.weight->symmetric)
    return fail("{} is for symmetric weights and activations of dtype FLOAT", algorithm.key);
  TAPER_ASSIGN(entry.config.rotation, read_rotation(json["op_config"]["weight_tensor_config"]));
  return entry;
}

// ------------------------------------------------------------------------------------------------------------- ranges

Expected<FixedRange> read_range(const std::string& name, const Json& json) {
  FixedRange fixed;
  TAPER_ASSIGN(fixed.tensor, NamePattern::parse(name));
  const bool pair = json.is_array() && json.size() == 2 && json[0].is_number() && json[1].is_number();
  if (pair) fixed.range = {json[0].get<double>(), json[1].get<double>()};
  const auto [low, high] = fixed.range;
  if (!pair || !std::isfinite(low) || !std::isfinite(high) || low > 0 || high < 0 || low == high)
    return fail("the range of '{}' is {}, expected [low, high] with low <= 0 <= high", excerpt(name), shown(json));
  return fixed;
}

}  // namespace

Expected<Recipe> parse_recipe(std::string_view text) {
  constexpr std::size_t kMostBytes = 1 << 20;
  TAPER_ASSIGN(const Json json, parse_bounded_json(text, kMostBytes, "a recipe"));
  if (!json.is_array()) {
    constexpr std::array<std::string_view, 2> kMembers = {"layers", "ranges"};
    TAPER_TRY(refuse_unknown(json, "the recipe", kMembers));
  }
  const Json layers = json.is_array() ? json : json.value("layers", Json::array());
  const Json ranges = json.is_array() ? Json::object() : json.value("ranges", Json::object());
  constexpr std::size_t kMostEntries = 1000;
  if (!layers.is_array() || !ranges.is_object()) return fail("expected \"layers\": [...] and \"ranges\": {{...}}");
  if (layers.size() + ranges.size() > kMostEntries)
    return fail("{} entries, at most {} are allowed", layers.size() + ranges.size(), kMostEntries);
  Recipe recipe;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    TAPER_ASSIGN_WITHIN(RecipeEntry entry, read_entry(layers[i]), fmt::format("in entry {} of the recipe", i + 1));
    recipe.entries.push_back(std::move(entry));
  }
  for (const auto& [name, range] : ranges.items()) {
    TAPER_ASSIGN(FixedRange fixed, read_range(name, range));
    recipe.ranges.push_back(std::move(fixed));
  }
  return recipe;
}

bool Recipe::needs_ranges() const {
  return std::ranges::any_of(entries, [](const RecipeEntry& entry) {
    const LayerConfig& config = entry.config;
    return config.quantized && config.activation && !config.activation->floating;
  });
}

bool Recipe::needs_calibration() const {
  return needs_ranges() || std::ranges::any_of(entries, [](const RecipeEntry& entry) {
           return entry.config.quantized && entry.config.weight_method == WeightMethod::gptq;
         });
}

std::string_view scheme_name(const LayerConfig& config) {
  if (!config.quantized) return "float32";
  if (config.activation && !config.activation->floating) return config.activation->bits == 8 ? "int8" : "int16x8";
  if (!config.weight) return "float32";
  if (config.weight->floating) return config.weight->bits == 16 ? "float16" : "float32";
  if (config.integer_compute) return config.weight->bits == 8 ? "dynamic" : "dynamic4";
  return config.weight->bits == 8 ? "w8" : "w4";
}

bool matches(const NamePattern& pattern, const LayerName& name) {
  if (!name.path.empty()) return pattern.found_in(name.path);
  return std::ranges::any_of(name.results, [&](const std::string& result) { return pattern.found_in(result); });
}

const RecipeEntry* entry_for(const Recipe& recipe, const LayerName& name, std::string_view operation,
                             const std::function<bool(const RecipeEntry&)>& possible) {
  for (auto entry = recipe.entries.rbegin(); entry != recipe.entries.rend(); ++entry) {
    const bool for_operation = entry->operation == "*" || entry->operation == operation;
    if (for_operation && matches(entry->scope, name) && (!possible || possible(*entry))) return &*entry;
  }
  return nullptr;
}

const FixedRange* range_for(const Recipe& recipe, std::string_view tensor) {
  const auto found = std::ranges::find_if(recipe.ranges.rbegin(), recipe.ranges.rend(),
                                          [&](const FixedRange& fixed) { return fixed.tensor.found_in(tensor); });
  return found == recipe.ranges.rend() ? nullptr : &*found;
}

}  // namespace taper
