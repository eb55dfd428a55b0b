#include "frontend/settings.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "formats/text.h"

namespace taper {
namespace {

struct Container {
  std::string_view name;
  bool about_model;
};
constexpr std::array<Container, 6> kContainers = {{{"config", false},
                                                   {"hparams", false},
                                                   {"hyper_parameters", true},
                                                   {"args", false},
                                                   {"model_args", true},
                                                   {"model_config", true}}};

std::optional<Scalar> as_scalar(const pickle::Value& value) {
  if (const auto flag = value.boolean()) return *flag;
  if (const auto number = value.integer()) return *number;
  if (const auto number = value.number()) return *number;
  constexpr std::size_t kMostText = 1000;  // no setting is longer, and each claim has a copy
  if (const auto text = value.text(); text && text->size() <= kMostText) return std::string(*text);
  return std::nullopt;
}

// The number that a text of metadata spells, or the text itself.
Scalar parsed(const std::string& text) {
  std::int64_t integer = 0;
  const char* end = text.data() + text.size();
  if (const auto result = std::from_chars(text.data(), end, integer); result.ec == std::errc() && result.ptr == end)
    return integer;
  double real = 0;
  if (const auto result = std::from_chars(text.data(), end, real); result.ec == std::errc() && result.ptr == end)
    return real;
  if (text == "true" || text == "True") return true;
  if (text == "false" || text == "False") return false;
  return text;
}

// An entry of a dict, or an attribute of a Namespace or another object.
const pickle::Value* member(const pickle::Value& values, std::string_view name) {
  const pickle::Value* entry = pickle::find(values, name);
  return entry ? entry : pickle::attribute(values, name);
}

std::optional<Scalar> from_config(const ModelConfig& config, std::string_view setting) {
  if (setting == "n_heads" && config.num_heads) return *config.num_heads;
  if (setting == "pooling_method" && config.pooling) return *config.pooling;
  if (setting == "norm_eps" && config.norm_eps) return *config.norm_eps;
  return std::nullopt;
}

}  // namespace

std::string scalar_text(const Scalar& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "True" : "False";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  return fmt::format("'{}'", excerpt(std::get<std::string>(value)));
}

Settings::Settings(const ModelConfig& config, const WeightSet& weights, const Checkpoint& checkpoint)
    : config_(config), metadata_(checkpoint.metadata) {
  for (const Module& module : weights.modules) modules_.emplace(module.path, module.object);
  const auto add = [this](std::string_view origin, const Container& container, const pickle::Value* values) {
    if (!values) return;
    sources_.push_back({origin, std::string(container.name), values, container.about_model});
    // As configuration files group them: config.model.n_heads.
    if (const pickle::Value* inner = member(*values, "model"))
      sources_.push_back({origin, fmt::format("{}.model", container.name), inner, true});
  };
  for (const Container& container : kContainers) add(origin::module, container, attribute("", container.name));
  for (const pickle::Value* around : weights.enclosing) {
    for (const Container& container : kContainers) add(origin::file, container, pickle::find(*around, container.name));
    sources_.push_back({origin::file, "", around, false});
  }
}

const pickle::Value* Settings::attribute(std::string_view path, std::string_view name) const {
  const auto module = modules_.find(path);
  return module == modules_.end() ? nullptr : pickle::attribute(*module->second, name);
}

namespace {

void add_claim(std::vector<Claim>& claims, std::string_view origin, std::string place, const pickle::Value* value) {
  const auto scalar = value ? as_scalar(*value) : std::nullopt;
  if (scalar) claims.push_back({origin, std::move(place), *scalar});
}

}  // namespace

std::vector<Claim> Settings::claims(const Setting& setting, std::string_view path) {
  std::vector<Claim> result;
  if (const auto value = from_config(config_, setting.name))
    result.push_back({origin::config, "the configuration", *value});
  for (const std::string_view name : setting.attributes)
    add_claim(result, origin::module, fmt::format("'{}{}{}'", path, path.empty() ? "" : ".", name),
              attribute(path, name));
  const std::vector<Claim>& others = claims_on_the_whole(setting);
  result.insert(result.end(), others.begin(), others.end());
  return result;
}

const std::vector<Claim>& Settings::claims_on_the_whole(const Setting& setting) {
  const auto [entry, is_new] = whole_.try_emplace(setting.name);
  std::vector<Claim>& result = entry->second;
  if (!is_new) return result;
  for (const std::string_view name : setting.anywhere)
    add_claim(result, origin::module, fmt::format("'{}'", name), attribute("", name));
  for (const Source& source : sources_) {
    const auto look_up = [&](std::string_view name) {
      add_claim(result, source.origin, fmt::format("'{}{}{}'", source.place, source.place.empty() ? "" : ".", name),
                member(*source.values, name));
    };
    std::ranges::for_each(setting.anywhere, look_up);
    if (source.about_model) std::ranges::for_each(setting.in_model_args, look_up);
  }
  for (const auto& [key, text] : metadata_)
    if (std::ranges::find(setting.anywhere, key) != setting.anywhere.end())
      result.push_back({origin::file, fmt::format("'{}' of the metadata", key), parsed(text)});
  return result;
}

}  // namespace taper
