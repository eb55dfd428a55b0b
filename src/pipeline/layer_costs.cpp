#include "pipeline/layer_costs.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "ops/evaluate.h"
#include "ops/table.h"
#include "passes/quantize_weights.h"
#include "pipeline/trials.h"
#include "verify/compare.h"

namespace taper {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostSamples = 4, kMostSearched = 8;

double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

}  // namespace

Expected<std::vector<InputSet>> bench_samples(const Model& model, const ConvertOptions& options, bool held_out) {
  std::vector<InputSet> sets;
  if (options.quantize.calibration) {
    TAPER_ASSIGN(CalibrationSamples samples, CalibrationSamples::open(model, *options.quantize.calibration));
    const auto parts = split_samples(samples.count());
    std::vector<std::int64_t> chosen = held_out ? parts.held_out : parts.calibration;
    const std::size_t most = held_out ? kMostSamples : kMostSearched;
    if (chosen.size() > most) chosen.resize(most);
    for (const std::int64_t sample : chosen) {
      TAPER_ASSIGN(InputSet inputs, samples.at(sample));
      sets.push_back(std::move(inputs));
    }
  } else {
    // The numbers that judge the files: errors with other random ones say little of these.
    TAPER_ASSIGN(Trials trials, make_trials(model, {}, options.static_shapes));
    for (Trial& trial : trials.all) sets.push_back(std::move(trial.inputs));
  }
  if (options.channels_last)
    for (InputSet& inputs : sets) inputs = with_channels_last(model.impl().graph, {std::move(inputs), {}}).inputs;
  return sets;
}

Expected<Bench> Bench::make(const Graph& legal, std::vector<InputSet> samples, double seconds) {
  Bench bench;
  PreparedGraph prepared(legal);
  for (InputSet& inputs : samples) {
    const auto start = Clock::now();
    TAPER_ASSIGN(std::vector<Array> outputs, prepared.run(inputs));
    bench.expected_.push_back(std::move(outputs));
    bench.samples_.push_back(std::move(inputs));
    if (seconds_between(start, Clock::now()) > seconds) break;
  }
  return bench;
}

Expected<double> Bench::relative_error(const Graph& quantised) const {
  PreparedGraph prepared(quantised);
  Comparer comparer;
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    TAPER_ASSIGN(const std::vector<Array> outputs, prepared.run(samples_[i]));
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const Array& expected = expected_[i][k];
      const std::int64_t last_axis = expected.shape.empty() ? 1 : expected.shape.back();
      if (is_floating(expected.dtype)) TAPER_TRY(comparer.add(expected.values, outputs[k].values, last_axis, k));
    }
  }
  return comparer.result().relative_error;
}

namespace {

// Nodes under one label.
struct Layer {
  std::string label;
  const Node* main;  // the node with the most weights, else the first
  std::int64_t weights = 0;
  std::unordered_set<const Node*> nodes = {};
};

std::string label_of(const Node& node) {
  return node.scope.empty() ? node.results[0]->name : node.scope;
}

bool has_weights(const Node& node) {
  return stored_constant(node) != nullptr;
}

bool stores_weights(const Node& node, const LayerConfig& config) {
  return has_weights(node) && config.quantized && config.weight && weights_of_layer(node) >= config.min_weight_elements;
}

// What a file stores or computes otherwise than in float32, those with the most weights first.
std::vector<Layer> layers_of(const QuantizationPlan& plan, const std::function<LayerConfig(const Node&)>& config_of) {
  std::vector<Layer> layers;
  std::unordered_map<std::string, std::size_t> places;
  for (const LayerPlan& planned : plan.layers) {
    const Node& node = *planned.node;
    if (planned.computes == "float32" && !stores_weights(node, config_of(node))) continue;
    // What only moves goes along with what it lies between.
    if (op_of(node).quantized.shares && node.scope.empty()) continue;
    const auto [place, added] = places.try_emplace(label_of(node), layers.size());
    if (added) layers.push_back({place->first, &node});
    Layer& layer = layers[place->second];
    layer.nodes.insert(&node);
    if (!has_weights(node)) continue;
    const bool largest = !has_weights(*layer.main) || weights_of_layer(node) > weights_of_layer(*layer.main);
    if (largest) layer.main = &node;
    layer.weights += weights_of_layer(node);
  }
  std::ranges::stable_sort(layers, std::greater(), &Layer::weights);
  return layers;
}

}  // namespace

Expected<std::vector<LayerCost>> layer_costs(const Quantizer& quantizer, const Bench& bench, Precision precision,
                                             Clock::time_point deadline) {
  constexpr std::size_t kMostLayers = 64;
  QuantizationPlan plan;
  TAPER_ASSIGN([[maybe_unused]] const StoredGraph whole, quantizer.stored_as(precision, &plan));
  const auto config_of = [&](const Node& node) { return quantizer.config_of(precision, node); };
  std::vector<Layer> layers = layers_of(plan, config_of);
  if (layers.size() > kMostLayers) layers.resize(kMostLayers);
  std::vector<LayerCost> costs;
  Clock::duration longest{};
  for (const Layer& layer : layers) {
    const auto start = Clock::now();
    if (start + longest > deadline) break;
    const auto alone = [&](const Node& node) { return layer.nodes.contains(&node) ? config_of(node) : LayerConfig{}; };
    TAPER_ASSIGN(const StoredGraph stored, quantizer.stored_by(precision, alone, true));
    TAPER_ASSIGN(const double error, bench.relative_error(stored.graph));
    costs.push_back({layer.label, tflite_operation(*layer.main), layer.weights, error});
    longest = std::max(longest, Clock::now() - start);
  }
  std::ranges::stable_sort(costs, std::greater(), &LayerCost::relative_error);
  return costs;
}

}  // namespace taper
