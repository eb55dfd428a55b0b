// From what was asked for to quantised graphs: recipes, calibration, and what is told of the result.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
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
  using Clock = std::chrono::steady_clock;

  // Reads the recipe and measures what the precisions of `options` need. `legal` is borrowed. After the deadline no
  // more samples are taken than there are. Errors: wrong options, a recipe or samples that can't be read, no samples
  // where activations become integers.
  static Expected<Quantizer> make(const Model& model, const Graph& legal, const ConvertOptions& options,
                                  Clock::time_point deadline = Clock::time_point::max());

  // What becomes files of a precision: `legal`, or a graph that computes the same in the form that suits integers.
  const Graph& graph_for(Precision precision) const { return *subject_of(precision).graph; }
  // `plan` may be null.
  Expected<StoredGraph> stored_as(Precision precision, QuantizationPlan* plan = nullptr) const;
  // Each layer of graph_for(precision) as `config_of` says; `forced`: as QuantizeRequest has it.
  Expected<StoredGraph> stored_by(Precision precision, const std::function<LayerConfig(const Node&)>& config_of,
                                  bool forced = false, QuantizationPlan* plan = nullptr) const;

  // How a layer is stored: by its name and operator.
  LayerConfig config_of(Precision precision, const Node& node) const;

 private:
  // A graph to be quantised, and what is known of its values.
  struct Subject {
    const Graph* graph = nullptr;
    std::unique_ptr<const Graph> owned = nullptr;
    Measurements measured = {};
    Ranges ranges = {};  // those that are told among them
    Floors floors = {};
    std::unordered_set<const Value*> told = {};
  };

  Quantizer(const Graph& legal, const QuantizeOptions& options) : options_(options) { plain_.graph = &legal; }
  Expected<Recipe> recipe_of(Precision precision) const;
  Status read_recipes(const std::vector<Precision>& precisions);
  Status part_gates_for_int8();
  Status know_ranges(Subject& subject, const Model& model, const ConvertOptions& options, Clock::time_point deadline);
  const Recipe& recipe_for(Precision precision) const;
  const Subject& subject_of(Precision precision) const;

  QuantizeOptions options_;
  std::vector<std::pair<Precision, Recipe>> recipes_;
  Subject plain_;
  Subject parted_;  // for int8, with a layer per gate; no graph if there are no gates
};

// What a layer of a legalized graph is called in recipes, and TFLite's name of its operator.
LayerName layer_name(const Node& node);
std::string tflite_operation(const Node& node);

}  // namespace taper
