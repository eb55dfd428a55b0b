// Weights as integers, while what is computed between operators stays float32 or not.
#pragma once

#include <map>
#include <tuple>
#include <unordered_map>

#include "ops/builder.h"
#include "ops/grid.h"
#include "ops/op.h"
#include "passes/quantize.h"

namespace taper {

// A graph in the making: a constant of a store stands in it once, and behind one DEQUANTIZE.
struct WeightPlaces {
  Builder& build;
  std::unordered_map<const Tensor*, Value*> constants = {};
  std::unordered_map<const Value*, Value*> floats = {};
};

// Makes constants on grids; the same constant on the same grid is one, and so is stored once.
class WeightStore {
 public:
  explicit WeightStore(const QuantizeRequest& request, QuantizationPlan& plan) : request_(request), plan_(plan) {}

  // The constant `value` (of `node`, for which it is a weight with a scale per entry of `axis`) on a grid. Nothing, and
  // a note, where it can't have one.
  // Rows are rotated in stretches of `rotation` entries, if that is more than one.
  Value* stored(WeightPlaces& places, const Node& node, const Value& value, std::int64_t axis, TensorScheme scheme,
                std::int64_t rotation = 1);
  // What turns x [..., n] as such rows are turned: the products stay the same.
  Value* rotated(WeightPlaces& places, Value* x, std::int64_t rotation);

  // A table [N, ...] of which rows are taken, as int8 with a scale for each row.
  struct Rows {
    Tensor integers;  // [N, ...], int8
    Tensor scales;    // [N, 1, ...], float32
    Tensor source;    // whose bytes the key names
  };
  // Of the constant `value` of `node`. Nothing, and a note, where it can't be had.
  const Rows* rows(const Node& node, const Value& value);

 private:
  using Key = std::tuple<ConstantKey, int, std::int64_t, std::int64_t, std::int64_t>;
  struct Stored {
    Tensor tensor;
    std::shared_ptr<const Quantization> grid;
    Tensor source = {};  // whose bytes the key names: they must not be another's meanwhile
  };
  static Expected<Stored> compensated(const Tensor& weight, const TensorScheme& scheme, const InputProducts& inputs);
  Expected<Stored> make(const Node& node, const Tensor& weight, std::int64_t axis, const TensorScheme& scheme);

  const QuantizeRequest& request_;
  QuantizationPlan& plan_;
  std::map<Key, Stored> known_;
  std::map<std::int64_t, Stored> rotations_;  // by their rows
  std::map<ConstantKey, Rows> rows_;
};

// The constant that is stored in few bits: a layer's weight, or the table that rows are taken from. Null if there is
// none.
const Tensor* stored_constant(const Node& node);
// The number of its elements; there is to be one.
std::int64_t weights_of_layer(const Node& node);
// Layers with such constants, those of loops included, in the order of the graph.
std::vector<const Node*> layers_with_weights(const Graph& legal);

// Whether rotating its input and the rows of its weight leaves the layer's result as it is: whether it is a product
// with a constant matrix.
bool can_rotate(const Node& node);

// What takes the place of a layer that computes floats, with its weights stored as `config` says: by a hybrid kernel,
// or behind a DEQUANTIZE. Nothing where nothing changes.
std::optional<std::vector<Value*>> with_stored_weights(WeightPlaces& places, const Node& node,
                                                       std::span<Value* const> operands, const LayerConfig& config,
                                                       WeightStore& store);

// Whether int32 holds the sums of a layer's products of int8 numbers, whatever these are.
bool sums_fit(const Node& node);

// Whether a hybrid kernel computes the layer with such weights.
bool has_hybrid_kernel(const Node& node, const LayerConfig& config);

}  // namespace taper
