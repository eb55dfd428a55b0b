#include "pipeline/calibrate.h"

#include <limits>

#include "ops/evaluate.h"

namespace taper {
namespace {

// The inputs of linear layers with constant weights, in all regions.
void collect_products(const Graph& graph, std::unordered_map<const Value*, InputProducts>& products) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) collect_products(*region, products);
    if (node.op != "linear") continue;
    // Products of more inputs would not fit.
    constexpr std::int64_t kMostInputs = 4096;
    const Tensor* weight = constant_of(node.operands[1]);
    if (weight != nullptr && weight->shape[1] <= kMostInputs)
      products.try_emplace(node.operands[0], InputProducts(weight->shape[1]));
  }
}

void collect_inputs(const Graph& graph, std::unordered_map<const Value*, LayerInputs>& inputs) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) collect_inputs(*region, inputs);
    if (!can_shift(node)) continue;
    const std::int64_t channels = *node.operands[0]->type.shape.back().constant();
    inputs.try_emplace(node.operands[0], LayerInputs{ChannelMeans(channels), {}});
  }
}

}  // namespace

Expected<Measurements> measure(const Graph& graph, const SampleSource& next_sample, const MeasureOptions& options) {
  Measurements found;
  if (options.products) collect_products(graph, found.products);
  if (options.inputs) collect_inputs(graph, found.inputs);
  const ComparedValues compared = compared_values(graph);
  const Floors masked = possible_floors(graph, compared);
  std::unordered_map<const Value*, RangeEstimator> estimators;
  const ValueObserver observer = [&](const Value& value, const Array& array) {
    if (value.type.dtype != DType::f32) return;
    RangeEstimator& estimator = estimators.try_emplace(&value, options.ranges).first->second;
    if (const auto axis = compared.find(&value); axis != compared.end()) {
      double& least = found.maxima.try_emplace(&value, std::numeric_limits<double>::infinity()).first->second;
      least = std::min(least, least_maximum(array, axis->second));
      estimator.observe(masked.contains(&value) ? without_masks(array, axis->second).values : array.values);
    } else {
      estimator.observe(array.values);
    }
    if (const auto products = found.products.find(&value); products != found.products.end())
      products->second.add(array.values);
    if (const auto shown = found.inputs.find(&value); shown != found.inputs.end()) {
      shown->second.means.observe(array.values);
      shown->second.shape = array.shape;
    }
  };
  PreparedGraph prepared(graph);
  prepared.observe(&observer);
  while (true) {
    TAPER_ASSIGN(std::optional<std::vector<Array>> inputs, next_sample());
    if (!inputs) break;
    TAPER_ASSIGN([[maybe_unused]] const std::vector<Array> outputs, prepared.run(*std::move(inputs)));
    for (auto& [value, estimator] : estimators) estimator.end_sample();
    for (auto& [value, shown] : found.inputs) shown.means.end_sample();
    ++found.samples;
  }
  if (found.samples == 0) return fail("there is no sample to calibrate with");
  for (const auto& [value, estimator] : estimators) {
    found.ranges.emplace(value, estimator.range());
    if (estimator.is_masked()) found.masked.insert(value);
    if (estimator.is_infinite()) found.infinite.insert(value);
  }
  return found;
}

}  // namespace taper
