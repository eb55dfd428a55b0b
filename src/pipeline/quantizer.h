// From what was asked for to quantised graphs: recipes, calibration, and what is told of the result.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "passes/quantize.h"
#include "pipeline/calibrate.h"
#include "pipeline/model.h"

namespace taper {

// A graph as a file stores it.
struct StoredGraph {
  Graph graph;
  std::vector<std::string> notes;
  std::optional<QuantizationReport> report;
};

// Quantises one model's graph for TFLite, in any number of ways. What needs samples is measured once, before.
class Quantizer {
 public:
  // Reads the recipe and measures what the precisions of `options` need. `legal` is borrowed. Errors: wrong options, a
  // recipe or samples that can't be read, no samples where activations become integers.
  static Expected<Quantizer> make(const Model& model, const Graph& legal, const ConvertOptions& options);

  Expected<StoredGraph> stored_as(Precision precision) const;
  // Each layer as `config_of` says.
  Expected<StoredGraph> stored_by(const std::function<LayerConfig(const Node&)>& config_of) const;

  // How a layer is stored: by its name and operator.
  LayerConfig config_of(Precision precision, const Node& node) const;

 private:
  Quantizer(const Graph& legal, const QuantizeOptions& options) : legal_(legal), options_(options) {}
  Expected<Recipe> recipe_of(Precision precision) const;

  const Graph& legal_;
  QuantizeOptions options_;
  std::vector<std::pair<Precision, Recipe>> recipes_;
  Measurements measured_;
  Ranges ranges_;  // those that are told among them
};

// What a layer of a legalized graph is called in recipes, and TFLite's name of its operator.
LayerName layer_name(const Node& node);
std::string tflite_operation(const Node& node);

}  // namespace taper
