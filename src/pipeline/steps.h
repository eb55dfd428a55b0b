// The whole job over replaceable steps, so that what holds it together is testable without a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "taper/taper.h"

namespace taper {

// load, convert and verify of the public header, and the facts about a loaded model.
struct ExportSteps {
  std::function<Expected<Model>(const std::filesystem::path&, const LoadOptions&)> load;
  std::function<const ModelInfo&(const Model&)> info;
  std::function<Expected<std::vector<Artifact>>(const Model&, const std::filesystem::path&, const std::string&,
                                                const ConvertOptions&)>
      convert;
  std::function<Expected<std::vector<Verification>>(const Model&, const std::vector<Artifact>&, const VerifyOptions&)>
      verify;
  std::function<std::uint64_t(const Model&, const ExportRequest&)> memory;  // bytes, estimated
  // May be empty, as may the next.
  std::function<Expected<std::vector<std::pair<std::string, QuantizationReport>>>(const Model&, const ConvertOptions&)>
      plan = {};
  // Of a file of integers that is beyond its bound.
  std::function<Expected<std::vector<LayerCost>>(const Model&, const ConvertOptions&, Precision)> layer_costs = {};
  // Of the written files, where they may differ from the model.
  std::function<ModelInfo(const Model&, const ConvertOptions&)> info_of_files = {};
  // Of a file that can't be loaded.
  std::function<std::optional<WeightTree>(const std::filesystem::path&, const LoadOptions&)> unknown_weights = {};
};

inline constexpr std::int64_t kLongestSequence = 100'000;
inline constexpr std::string_view kResultsName = "export_results.json";

// What is known of a model, with inputs and outputs as its files have them: images with channels last, if that was
// asked for.
ModelInfo info_of_files(const Model& model, const ConvertOptions& options);

// export_models over `steps`. What a step throws (it shouldn't: memory can run out) is that model's error.
ExportReport run_export(const ExportRequest& request, const ExportSteps& steps);

// Whether `name` can be the stem of a file and a key of the results; the error says why not.
Status check_model_name(const std::string& name);

// A configuration file: what it says of all models, or of each by its key.
struct ConfigFile {
  std::optional<ModelConfig> for_all;
  std::map<std::string, ModelConfig> by_model;

  // What it says of `model_key`; nothing if it only speaks of others.
  ModelConfig of(const std::string& model_key) const;
};

// Parses the content of a configuration file (see read_config). `families` are the names that `family` may have.
Expected<ConfigFile> parse_config(std::string_view text, const std::vector<std::string>& families);

// The same from a file.
Expected<ConfigFile> read_config_file(const std::filesystem::path& path, const std::vector<std::string>& families);

}  // namespace taper
