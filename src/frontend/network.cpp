#include "frontend/network.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace taper {
namespace {

// A claim read as T: integers may be written as reals, reals as integers.
template <class T>
std::optional<T> read_as(const Scalar& value) {
  if (const T* exact = std::get_if<T>(&value)) return *exact;
  if constexpr (std::is_same_v<T, double>)
    if (const auto* number = std::get_if<std::int64_t>(&value)) return static_cast<double>(*number);
  if constexpr (std::is_same_v<T, std::int64_t>)
    if (const auto* number = std::get_if<double>(&value))
      if (std::abs(*number) < 0x1p53 && std::trunc(*number) == *number) return static_cast<std::int64_t>(*number);
  return std::nullopt;
}

// Whether both are numbers or flags, and unequal: a claim of another kind means something else by the name.
bool differ(const Scalar& a, const Scalar& b) {
  const auto number = [](const Scalar& value) -> std::optional<double> {
    if (const bool* flag = std::get_if<bool>(&value)) return *flag ? 1 : 0;
    return read_as<double>(value);
  };
  const auto x = number(a), y = number(b);
  return x && y && *x != *y;
}

template <class T>
constexpr std::string_view kind_of() {
  if constexpr (std::is_same_v<T, std::int64_t>) return "an integer";
  if constexpr (std::is_same_v<T, double>) return "a number";
  return "a text";
}

}  // namespace

Network::Network(const WeightSet& weights_, const Fit& fit, const Tensors& constants, Settings& settings,
                 const LoadOptions& options_, Graph& graph, ModelInfo& info)
    : build(graph),
      options(options_),
      weights(weights_),
      fit_(fit),
      constants_(constants),
      settings_(settings),
      info_(info),
      has_category_(std::ranges::any_of(
          fit.keys, [](const KeyPattern& pattern) { return pattern.key.starts_with("category_head."); })) {
  if (options.all_heads && !has_category_) warn("all heads were asked for: the model has no category head");
}

Value* Network::input() {
  return build.graph().add_input("input",
                                 {DType::f32, {Dim::symbol("batch_size"), Dim::symbol("sequence_length"), size("F")}});
}

void Network::output(std::string name, Value* value) {
  info_.outputs.push_back(name);
  build.graph().add_output(std::move(name), value);
}

Value* Network::weight(const std::string& key) {
  Value*& value = values_[key];
  if (!value) value = build.constant(constants_.find(key)->second, key);
  return value;
}

Value* Network::linear(const std::string& path, Value* x) {
  build.set_scope(path);
  return build("linear", {x, weight(path + ".weight"), weight(path + ".bias")}, {}, path);
}

Value* Network::norm(const std::string& path, Value* x, double eps, std::string_view scale, std::string_view shift) {
  build.set_scope(path);
  Value* gamma = weight(fmt::format("{}.{}", path, scale));
  Value* beta = weight(fmt::format("{}.{}", path, shift));
  return build("layer_norm", {x, gamma, beta}, {{"eps", eps}}, path);
}

std::int64_t Network::integer(const Setting& setting, std::string_view path, const Fallback<std::int64_t>& fallback) {
  return choose(setting, path, fallback);
}

double Network::real(const Setting& setting, std::string_view path, const Fallback<double>& fallback) {
  return choose(setting, path, fallback);
}

std::string Network::text(const Setting& setting, std::string_view path, const Fallback<std::string>& fallback) {
  return choose(setting, path, fallback);
}

template <class T>
T Network::choose(const Setting& setting, std::string_view path, const Fallback<T>& fallback) {
  const Claim* chosen = nullptr;
  T value = fallback.value;
  const std::vector<Claim> claims = settings_.claims(setting, path);
  for (const Claim& claim : claims) {
    const std::optional<T> claimed = read_as<T>(claim.value);
    if (!claimed) {
      warn(fmt::format("{} is {}, expected {}: it was ignored", claim.place, scalar_text(claim.value), kind_of<T>()));
    } else if (!chosen) {
      chosen = &claim;
      value = *claimed;
    } else if (*claimed != value) {
      warn(fmt::format("{} says {} = {}, {} says {}: {} was used", chosen->place, setting.name,
                       scalar_text(Scalar(value)), claim.place, scalar_text(claim.value), scalar_text(Scalar(value))));
    }
  }
  if (!chosen) {
    std::string sentence = fmt::format("{} ({}) was assumed to be {}, the family's default: the file does not tell it",
                                       fallback.meaning, setting.name, scalar_text(Scalar(value)));
    if (!fallback.remedy.empty()) sentence += fmt::format(" ({})", fallback.remedy);
    if (std::ranges::find(info_.assumptions, sentence) == info_.assumptions.end())
      info_.assumptions.push_back(std::move(sentence));
  }
  if constexpr (std::is_same_v<T, std::string>) {
    report(setting.name, value, chosen ? chosen->origin : origin::assumed);
  } else {
    report(setting.name, scalar_text(Scalar(value)), chosen ? chosen->origin : origin::assumed);
  }
  return value;
}

void Network::told_by_shapes(const Setting& setting, Scalar value, std::string_view path) {
  for (const Claim& claim : settings_.claims(setting, path))
    if (differ(claim.value, value))
      warn(fmt::format("{} says {} = {}, the weights say {}: the weights count", claim.place, setting.name,
                       scalar_text(claim.value), scalar_text(value)));
  report(setting.name, scalar_text(value), origin::shapes);
}

void Network::warn(std::string text) {
  if (std::ranges::find(info_.warnings, text) == info_.warnings.end()) info_.warnings.push_back(std::move(text));
}

// Modules that differ are listed one after another.
void Network::report(std::string_view name, std::string value, std::string_view origin) {
  const auto known = std::ranges::find(info_.hyper_parameters, name, &HyperParameter::name);
  if (known == info_.hyper_parameters.end()) {
    info_.hyper_parameters.push_back({std::string(name), std::move(value), std::string(origin)});
    return;
  }
  const auto add = [](std::string& list, std::string_view item) {
    for (std::size_t start = 0; start <= list.size();) {
      const std::size_t end = std::min(list.find(", ", start), list.size());
      if (std::string_view(list).substr(start, end - start) == item) return;
      start = end + 2;
    }
    list += fmt::format(", {}", item);
  };
  add(known->value, value);
  add(known->origin, origin);
}

}  // namespace taper
