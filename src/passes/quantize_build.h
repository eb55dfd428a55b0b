// Builds the quantised graph from an old one and what was decided for it.
#pragma once

#include "passes/quantize_modes.h"
#include "passes/quantize_values.h"
#include "passes/quantize_weights.h"

namespace taper {

// A graph under construction, or a region of it. Each old value is there as floats, as integers, or both: what is
// missing is made when it is first asked for.
class QuantizedBuild {
 public:
  struct Decisions {
    const QuantizeRequest& request;
    const Modes& modes;
    GridClasses& grids;
    WeightStore& weights;
    QuantizationPlan& plan;
  };
  explicit QuantizedBuild(const Decisions& decisions) : by_(decisions), build_(result_), places_{build_} {}

  // `inner`: a region, whose inputs and outputs are stored as the loop carries them.
  Expected<Graph> run(const Graph& graph, const Node* loop);

 private:
  using Grid = std::shared_ptr<const Quantization>;

  void add_inputs(const Graph& graph, const Node* loop);
  void add_outputs(const Graph& graph, const Node* loop);
  Status add_node(const Node& node);
  Status add_with_regions(const Node& node);
  void add_on_integers(const Node& node, int bits);
  void add_on_floats(const Node& node);
  Value* weight_of(const Node& node, int bits);
  Value* fit_bias(const Node& node, const Quantization& x, Value* weight, int bits);
  Value* bias_of(const Node& node, const Quantization& x, const Value& weight, int bits);
  void note(const Node& node, std::string_view computes, const std::string& otherwise = {});

  Value* as_float(const Value* old_value);
  Value* as_integers(const Value* old_value, const Grid& grid);
  // As the value is stored by itself: integers where its producer computes those.
  Value* as_stored(const Value* old_value);
  void bind(const Value* old_value, Value* value);

  Decisions by_;
  Graph result_;
  Builder build_;
  WeightPlaces places_;
  std::unordered_map<const Value*, Value*> floats_;
  std::unordered_map<const Value*, std::vector<Value*>> integers_;
};

}  // namespace taper
