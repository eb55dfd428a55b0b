#include "pipeline/layer_costs.h"

#include <algorithm>

#include "ops/evaluate.h"
#include "ops/table.h"
#include "pipeline/trials.h"
#include "verify/compare.h"

namespace taper {
namespace {

constexpr std::size_t kMostSamples = 4;

void collect_layers(const Graph& graph, std::vector<const Node*>& layers) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) collect_layers(*region, layers);
    const auto weight = op_of(node).quantized.weight;
    if (weight && *weight < node.operands.size() && constant_of(node.operands[*weight]) != nullptr)
      layers.push_back(&node);
  }
}

}  // namespace

std::vector<const Node*> layers_with_weights(const Graph& legal) {
  std::vector<const Node*> layers;
  collect_layers(legal, layers);
  return layers;
}

std::int64_t weights_of_layer(const Node& node) {
  return constant_of(node.operands[*op_of(node).quantized.weight])->element_count();
}

Expected<std::vector<InputSet>> bench_samples(const Model& model, const ConvertOptions& options) {
  std::vector<InputSet> sets;
  if (options.quantize.calibration) {
    TAPER_ASSIGN(CalibrationSamples samples, CalibrationSamples::open(model, *options.quantize.calibration));
    std::vector<std::int64_t> chosen = split_samples(samples.count()).held_out;
    if (chosen.size() > kMostSamples) chosen.resize(kMostSamples);
    for (const std::int64_t sample : chosen) {
      TAPER_ASSIGN(InputSet inputs, samples.at(sample));
      sets.push_back(std::move(inputs));
    }
  } else {
    TAPER_ASSIGN(Trial trial, random_trial(model.impl().graph, usual_sizes(model.impl().symbols), 0));
    sets.push_back(std::move(trial.inputs));
  }
  if (options.channels_last)
    for (InputSet& inputs : sets) inputs = with_channels_last(model.impl().graph, {std::move(inputs), {}}).inputs;
  return sets;
}

Expected<Bench> Bench::make(const Graph& legal, std::vector<InputSet> samples) {
  Bench bench;
  PreparedGraph prepared(legal);
  for (const InputSet& inputs : samples) {
    TAPER_ASSIGN(std::vector<Array> outputs, prepared.run(inputs));
    bench.expected_.push_back(std::move(outputs));
  }
  bench.samples_ = std::move(samples);
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
      if (is_floating(expected.dtype)) TAPER_TRY(comparer.add(expected.values, outputs[k].values, last_axis));
    }
  }
  return comparer.result().relative_error;
}

Expected<std::vector<LayerCost>> layer_costs(const Graph& legal, const Quantizer& quantizer, const Bench& bench,
                                             const std::function<LayerConfig(const Node&)>& config_of,
                                             std::chrono::steady_clock::time_point deadline) {
  std::vector<LayerCost> costs;
  for (const Node* layer : layers_with_weights(legal)) {
    if (std::chrono::steady_clock::now() > deadline) break;
    const LayerConfig config = config_of(*layer);
    if (!config.quantized) continue;
    const auto alone = [&](const Node& node) { return &node == layer ? config : LayerConfig{}; };
    TAPER_ASSIGN(const StoredGraph stored, quantizer.stored_by(alone));
    TAPER_ASSIGN(const double error, bench.relative_error(stored.graph));
    costs.push_back({layer->scope.empty() ? layer->results[0]->name : layer->scope, tflite_operation(*layer),
                     weights_of_layer(*layer), error});
  }
  std::ranges::stable_sort(costs, std::greater(), &LayerCost::relative_error);
  return costs;
}

}  // namespace taper
