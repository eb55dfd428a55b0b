// The configuration file: what a checkpoint's shapes can't tell.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/bounded_json.h"
#include "pipeline/steps.h"
#include "report/text.h"

namespace taper {
namespace {

using Json = nlohmann::json;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// As much of a text as a message can bear.
std::string brief(std::string_view text) {
  constexpr std::size_t kMost = 60;
  const std::string whole = printable(text.substr(0, kMost + 1));
  return whole.size() <= kMost ? whole : whole.substr(0, kMost - 3) + "...";
}

std::string shown(const Json& value) {
  return brief(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Status read_family(const Json& value, const std::vector<std::string>& families, ModelConfig& config) {
  if (value.is_string()) {
    for (const std::string& family : families) {
      if (family == value.get_ref<const std::string&>()) {
        config.family = family;
        return {};
      }
    }
  }
  return fail("the family is {}, expected one of {}", shown(value), joined(families));
}

Status read_num_heads(const Json& value, ModelConfig& config) {
  if (!value.is_number_integer() || value < 1 || value > 1'000'000) {
    return fail("num_heads is {}, expected a positive integer", shown(value));
  }
  config.num_heads = value.get<std::int64_t>();
  return {};
}

Status read_pooling(const Json& value, ModelConfig& config) {
  if (value != "mean" && value != "max" && value != "cls") {
    return fail("pooling is {}, expected \"mean\", \"max\" or \"cls\"", shown(value));
  }
  config.pooling = value.get<std::string>();
  return {};
}

Status read_norm_eps(const Json& value, ModelConfig& config) {
  if (!value.is_number() || !(value.get<double>() > 0) || !std::isfinite(value.get<double>())) {
    return fail("norm_eps is {}, expected a positive number", shown(value));
  }
  config.norm_eps = value.get<double>();
  return {};
}

constexpr std::array<std::string_view, 4> kMembers = {"family", "num_heads", "pooling", "norm_eps"};

bool is_member(std::string_view name) {
  return std::ranges::find(kMembers, name) != kMembers.end();
}

Status read_member(const std::string& name, const Json& value, const std::vector<std::string>& families,
                   ModelConfig& config) {
  if (name == "family") return read_family(value, families, config);
  if (name == "num_heads") return read_num_heads(value, config);
  if (name == "pooling") return read_pooling(value, config);
  if (name == "norm_eps") return read_norm_eps(value, config);
  return fail("unknown member '{}', expected family, num_heads, pooling or norm_eps", brief(name));
}

// An object of members, or the name of a family.
Expected<ModelConfig> read_model(const Json& json, const std::vector<std::string>& families) {
  ModelConfig config;
  if (json.is_string()) {
    TAPER_TRY(read_family(json, families, config));
    return config;
  }
  if (!json.is_object()) return fail("found {}, expected an object or the name of a family", shown(json));
  for (const auto& [name, value] : json.items()) TAPER_TRY(read_member(name, value, families, config));
  return config;
}

// A file speaks of all models when one of its members is one of ModelConfig, else its members are models.
bool speaks_of_all(const Json& json) {
  if (!json.is_object()) return true;
  for (const auto& [name, value] : json.items()) {
    if (is_member(name)) return true;
  }
  return false;
}

}  // namespace

ModelConfig ConfigFile::of(const std::string& model_key) const {
  if (for_all) return *for_all;
  const auto found = by_model.find(model_key);
  return found == by_model.end() ? ModelConfig{} : found->second;
}

Expected<ConfigFile> parse_config(std::string_view text, const std::vector<std::string>& families) {
  constexpr std::size_t kMostBytes = 64 << 10;
  TAPER_ASSIGN(const Json json, parse_bounded_json(text, kMostBytes, "a configuration"));
  ConfigFile file;
  if (speaks_of_all(json)) {
    TAPER_ASSIGN(file.for_all, read_model(json, families));
    return file;
  }
  for (const auto& [key, value] : json.items()) {
    TAPER_ASSIGN_WITHIN(file.by_model[key], read_model(value, families), fmt::format("for the model '{}'", brief(key)));
  }
  return file;
}

Expected<ConfigFile> read_config_file(const std::filesystem::path& path, const std::vector<std::string>& families) {
  const std::string place = fmt::format("in the configuration file '{}'", path_text(path));
  TAPER_ASSIGN_WITHIN(const SharedBytes bytes, map_file(path), place);
  auto file = unless_changed(bytes, parse_config(as_text(bytes.view), families));
  if (file) return file;
  return std::unexpected(
      hinted(within(std::move(file).error(), place),
             R"(write JSON such as {"num_heads": 4}, or by model {"transformer": {"num_heads": 4}})"));
}

}  // namespace taper
