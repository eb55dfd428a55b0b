#include "pipeline/mix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>
#include <unordered_map>

#include "ops/table.h"
#include "passes/quantize_weights.h"
#include "pipeline/precision.h"

namespace taper {
namespace {

// From float16 on, each with fewer bits.
constexpr std::array kLevels = {Precision::mixed, Precision::dynamic, Precision::w4};
constexpr std::array kBytesPerWeight = {2.0, 1.0, 0.5 + 2.0 / 32};

// Layers after so many stay float16: that bounds the search, whatever the machine.
constexpr std::size_t kMostLayers = 64;

// Tables have 8 bits or more (passes/quantize_weights.cpp).
bool is_table(const Node& node) {
  return !op_of(node).quantized.weight;
}

using Levels = std::unordered_map<const Node*, std::size_t>;

// A layer's step down to a level.
struct Step {
  const Node* layer;
  std::size_t level;
  double saved;  // bytes
  double added;  // square of the relative error
};

class Search {
 public:
  Search(const Graph& legal, const Quantizer& quantizer, const Bench& bench)
      : legal_(legal), quantizer_(quantizer), bench_(bench) {
    std::map<ConstantKey, const Node*> known;
    for (const Node* layer : layers_with_weights(legal))
      first_use_[layer] = known.try_emplace(key_of(*stored_constant(*layer)), layer).first->second;
  }

  Expected<StoredGraph> with(const Levels& levels) const {
    return quantizer_.stored_by(Precision::mixed, [&](const Node& node) {
      const LayerConfig as_float16 = quantizer_.config_of(Precision::mixed, node);
      const auto first = first_use_.find(&node);
      const auto found = levels.find(first == first_use_.end() ? &node : first->second);
      const std::size_t level = found == levels.end() ? 0 : found->second;
      if (!as_float16.quantized || level == 0) return as_float16;
      LayerConfig config = layer_config(kLevels[level]);
      config.min_weight_elements = as_float16.min_weight_elements;
      return config;
    });
  }

  Expected<double> error_with(const Levels& levels) const {
    TAPER_ASSIGN(const StoredGraph stored, with(levels));
    return bench_.relative_error(stored.graph);
  }

  // All steps, the best first.
  Expected<std::vector<Step>> steps(const std::function<void(const std::string&)>& progress) const {
    std::vector<Step> steps;
    const std::vector<const Node*> layers = large_layers();
    std::size_t measured = 0;
    for (const Node* layer : layers) {
      if (progress) progress(fmt::format("measuring layers, {} of {}", measured + 1, layers.size()));
      ++measured;
      double before = 0;
      const std::size_t levels = is_table(*layer) ? 2 : kLevels.size();
      for (std::size_t level = 1; level < levels; ++level) {
        TAPER_ASSIGN(const double error, error_with({{layer, level}}));
        const double saved =
            (kBytesPerWeight[level - 1] - kBytesPerWeight[level]) * static_cast<double>(weights_of_layer(*layer));
        constexpr double kLeast = 1e-18;  // so that what costs nothing comes first
        steps.push_back({layer, level, saved, std::max(error * error - before, kLeast)});
        before = error * error;
      }
    }
    std::ranges::stable_sort(steps, [](const Step& a, const Step& b) { return a.saved * b.added > b.saved * a.added; });
    return steps;
  }

 private:
  std::vector<const Node*> large_layers() const {
    std::vector<const Node*> layers;
    for (const Node* layer : layers_with_weights(legal_)) {
      const LayerConfig config = quantizer_.config_of(Precision::mixed, *layer);
      const bool is_first = first_use_.at(layer) == layer;  // layers that share a weight go together
      if (is_first && config.quantized && weights_of_layer(*layer) >= config.min_weight_elements)
        layers.push_back(layer);
    }
    std::ranges::stable_sort(layers, std::greater(), weights_of_layer_at);
    if (layers.size() > kMostLayers) layers.resize(kMostLayers);
    return layers;
  }
  static std::int64_t weights_of_layer_at(const Node* layer) { return weights_of_layer(*layer); }

  const Graph& legal_;
  std::unordered_map<const Node*, const Node*> first_use_;  // of the same weight
  const Quantizer& quantizer_;
  const Bench& bench_;
};

Levels levels_after(const std::vector<Step>& steps, std::size_t count) {
  Levels levels;
  for (std::size_t i = 0; i < count; ++i) levels[steps[i].layer] = std::max(levels[steps[i].layer], steps[i].level);
  return levels;
}

// Every layer at one level, or as far down as it goes.
Levels all_at(const std::vector<Step>& steps, std::size_t level) {
  Levels levels;
  for (const Step& step : steps)
    if (step.level <= level) levels[step.layer] = std::max(levels[step.layer], step.level);
  return levels;
}

double saved_by(const std::vector<Step>& steps, const Levels& levels) {
  double bytes = 0;
  for (const Step& step : steps)
    if (const auto level = levels.find(step.layer); level != levels.end() && step.level <= level->second)
      bytes += step.saved;
  return bytes;
}

// Of each layer that is smaller than float16, as it is in the mix.
std::vector<LayerCost> costs_of(const std::vector<Step>& steps, const Levels& levels) {
  std::unordered_map<const Node*, double> squares;
  for (const Step& step : steps)
    if (const auto level = levels.find(step.layer); level != levels.end() && step.level <= level->second)
      squares[step.layer] += step.added;
  std::vector<LayerCost> costs;
  for (const auto& [layer, square] : squares)
    costs.push_back({layer->scope.empty() ? layer->results[0]->name : layer->scope, tflite_operation(*layer),
                     weights_of_layer(*layer), std::sqrt(square)});
  std::ranges::sort(costs, [](const LayerCost& a, const LayerCost& b) {
    return std::tie(b.relative_error, a.layer) < std::tie(a.relative_error, b.layer);
  });
  return costs;
}

std::string mix_text(const Levels& levels, double error) {
  std::array<std::int64_t, kLevels.size()> counts = {};
  for (const auto& [layer, level] : levels) ++counts[level];
  return fmt::format("{} layers with int4 weights, {} with int8, the others float16; expected relative error {:.1e}",
                     counts[2], counts[1], error);
}

}  // namespace

Expected<StoredGraph> find_mix(const Graph& legal, const Quantizer& quantizer, const Bench& bench, double max_error,
                               const std::function<void(const std::string&)>& progress) {
  // Other samples lose up to half as much again as the few of the search (docs/quantisation.md).
  constexpr double kMargin = 0.65;
  const double bound = kMargin * max_error;
  const Search search(legal, quantizer, bench);
  TAPER_ASSIGN(double error, search.error_with({}));
  if (!(error <= bound))
    return fail_with_hint(
        fmt::format("weights of float16 cost a relative error of {:.1e}, more than the {:.1e} that is "
                    "allowed",
                    error, max_error),
        "allow more with --max-error, or take the float32 file");
  TAPER_ASSIGN(const std::vector<Step> steps, search.steps(progress));
  std::size_t within = 0, beyond = steps.size() + 1;
  while (beyond - within > 1) {
    const std::size_t middle = within + (beyond - within) / 2;
    TAPER_ASSIGN(const double found, search.error_with(levels_after(steps, middle)));
    if (found <= bound) {
      within = middle;
      error = found;
    } else {
      beyond = middle;
    }
  }
  Levels levels = levels_after(steps, within);
  // One bad step ends the search in the order of the steps: all layers alike may be smaller.
  for (const std::size_t level : {std::size_t{1}, std::size_t{2}}) {
    const Levels alike = all_at(steps, level);
    if (saved_by(steps, alike) <= saved_by(steps, levels)) continue;
    TAPER_ASSIGN(const double found, search.error_with(alike));
    if (!(found <= bound)) continue;
    levels = alike;
    error = found;
  }
  // Steps that are still open, one at a time where they fit.
  constexpr std::size_t kMostTries = 32;
  std::size_t tries = 0;
  for (const Step& step : steps) {
    const auto at = levels.find(step.layer);
    if (step.level != (at == levels.end() ? 1 : at->second + 1)) continue;
    if (error * error + step.added > bound * bound || ++tries > kMostTries) continue;
    Levels further = levels;
    further[step.layer] = step.level;
    TAPER_ASSIGN(const double found, search.error_with(further));
    if (!(found <= bound)) continue;
    levels = std::move(further);
    error = found;
  }
  TAPER_ASSIGN(StoredGraph stored, search.with(levels));
  stored.notes.insert(stored.notes.begin(), mix_text(levels, error));
  if (stored.report) {
    stored.report->bound = max_error;
    stored.report->layer_costs = costs_of(steps, levels);
  }
  return stored;
}

}  // namespace taper
