// What is told about a network beside its shapes: by the caller, by a pickled module, by hyper-parameters in the file.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "frontend/weights.h"
#include "taper/taper.h"

namespace taper {

// Where a value comes from, as HyperParameter::origin says it.
namespace origin {
inline constexpr std::string_view shapes = "shapes";
inline constexpr std::string_view config = "config";
inline constexpr std::string_view module = "module attributes";
inline constexpr std::string_view file = "hyper-parameters";
inline constexpr std::string_view assumed = "assumed";
}  // namespace origin

using Scalar = std::variant<bool, std::int64_t, double, std::string>;
std::string scalar_text(const Scalar& value);

// Something that tells a value: "hyper-parameters", "'config.n_heads'", 8.
struct Claim {
  std::string_view origin;
  std::string place;
  Scalar value;
};

// A setting and the names it goes by.
struct Setting {
  std::string_view name;                        // in ModelInfo
  std::vector<std::string_view> attributes;     // of the module it belongs to
  std::vector<std::string_view> in_model_args;  // in hyper-parameters that are about nothing but the model
  std::vector<std::string_view> anywhere;       // in any hyper-parameters, and on a pickled module itself
};

// Reads one checkpoint's settings.
class Settings {
 public:
  Settings(const ModelConfig& config, const WeightSet& weights, const Checkpoint& checkpoint);

  // All claims in the order of precedence: the configuration, the attributes of the module at `path`, those of the
  // whole module, hyper-parameters.
  std::vector<Claim> claims(const Setting& setting, std::string_view path = {});

 private:
  struct Source {
    std::string_view origin;
    std::string place;
    const pickle::Value* values;
    bool about_model;  // not about training
  };

  // The attribute `name` of the pickled module at `path`; null if there is none.
  const pickle::Value* attribute(std::string_view path, std::string_view name) const;
  // Those that don't depend on a path, looked up once.
  const std::vector<Claim>& claims_on_the_whole(const Setting& setting);

  ModelConfig config_;
  std::unordered_map<std::string_view, const pickle::Value*> modules_;  // by path
  std::vector<Source> sources_;
  const std::vector<std::pair<std::string, std::string>>& metadata_;
  std::map<std::string_view, std::vector<Claim>> whole_;  // by the name of the setting
};

}  // namespace taper
