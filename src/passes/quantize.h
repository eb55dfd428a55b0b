// Quantisation: the last pass over a graph that is legalized for TFLite. Values get grids of integers
// (Value::quantization); QUANTIZE and DEQUANTIZE stand where floats and integers meet.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ir/graph.h"
#include "passes/quantize_bias.h"
#include "passes/quantize_floors.h"
#include "quantize/ranges.h"
#include "quantize/recipe.h"

namespace taper {

// What activations were seen to lie in, by the values of the legalized graph and of its regions.
using Ranges = std::unordered_map<const Value*, Range>;

// How each layer of a graph is to be quantised.
struct QuantizeRequest {
  // For a node of the legalized graph or of a region; one that isn't quantised stays float32.
  std::function<LayerConfig(const Node&)> config_of;
  // Needed for layers on integers; layers whose values have none stay float32.
  const Ranges* ranges = nullptr;
  // Of values that go into softmax, where masks are (passes/quantize_floors.h); may be null.
  const Floors* floors = nullptr;
  // The values among them whose ranges were told, and hold exactly; may be null.
  const std::unordered_set<const Value*>* told = nullptr;
  // Whether inputs and outputs stay float32, or are stored as the layers beside them are.
  bool float_io = true;
  // What the inputs of a layer look like, for weights that are rounded with regard to them; may be empty.
  std::function<const InputProducts*(const Node&)> inputs_of = {};
  // The same for biases of layers on integers, which make up for what rounded weights shift; may be empty.
  std::function<const LayerInputs*(const Node&)> means_of = {};
  // Whether layers go to integers even where that doesn't pay: to measure what they cost.
  bool forced = false;
};

// What became of an operator.
struct LayerPlan {
  const Node* node = nullptr;        // of the graph that was quantised
  std::string name;                  // of its first result
  std::string scope;                 // the module it comes from
  std::string operation;             // TFLite's name
  std::string computes;              // "int8", "int16", "float32", "hybrid" (products of integers, floats between)
  std::string reason;                // why it computes floats, where integers were asked for; else empty
  std::int64_t multiplications = 0;  // for one row of the input, where sizes are open; of a loop's body for one step
};

// How a tensor is stored.
struct TensorPlan {
  std::string name;
  int bits = 8;
  std::string scheme;  // "per tensor", "per channel", "blocks of 32"
  float scale = 0;     // the first
  std::int64_t zero_point = 0;
  bool constant = false;
};

struct QuantizationPlan {
  std::vector<LayerPlan> layers;
  std::vector<TensorPlan> tensors;
  std::vector<std::string> notes;  // sentences: weights that stay float32, biases that were too large, ...
};

// The graph as `request` says, which check() accepts and spell_tflite writes. `plan` may be null.
Expected<Graph> quantize(const Graph& graph, const QuantizeRequest& request, QuantizationPlan* plan);

// From the least to the largest number of a constant, 0 among them; what is below the floor counts as if it were there.
// Nothing if some number is not finite.
std::optional<Range> range_of_numbers(const Tensor& constant, double floor = -std::numeric_limits<double>::infinity());

// The grid of a weight: symmetric, with scales along `axis` unless the scheme is per tensor; scales of blocks are
// representable in float16. Errors: weights that are not finite, blocks that don't divide the rows.
Expected<Quantization> weight_grid(const Tensor& weight, std::int64_t axis, const TensorScheme& scheme,
                                   WeightMethod method);
// A scale as files hold it: scales of blocks are float16.
float stored_scale(double scale, const TensorScheme& scheme);
// The grid for numbers within `range`, 0 exactly among them; symmetric ones have the zero point 0.
Quantization activation_grid(const Range& range, const TensorScheme& scheme);

}  // namespace taper
