#include "passes/quantize_weights.h"

#include <bit>
#include <cmath>

#include "base/mapped_file.h"
#include "ops/grid.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

bool is_weight(const Value* value, std::int64_t least) {
  const Tensor* constant = constant_of(value);
  return constant != nullptr && constant->dtype == DType::f32 &&
         constant->element_count() >= std::max<std::int64_t>(least, 1);
}

TensorPlan plan_of(const std::string& name, const Quantization& q) {
  const std::string scheme = q.block > 0 ? fmt::format("blocks of {}", q.block) : q.axis ? "per channel" : "per tensor";
  return {name, q.bits, scheme, q.scales.front(), q.zero_points.front(), true};
}

// Whether a weight's integers and their scales are smaller than its floats: of short rows they are not.
bool saves_bytes(const Tensor& weight, std::int64_t axis, const TensorScheme& scheme) {
  constexpr std::int64_t kScale = 4, kDescription = 112;  // a float32; tables of the file
  const std::int64_t count = weight.element_count();
  const bool per_channel = scheme.per_channel && scheme.block == 0;
  const std::int64_t scales = per_channel ? weight.shape[static_cast<std::size_t>(axis)] : 1;
  return count * scheme.bits / 8 + scales * kScale + kDescription < count * 4;
}

// Entries of a row that are rotated together: the largest power of two that divides the row, within the layer's bound.
// 1: the row has none that is worth it, as its input would fall into too many parts.
std::int64_t rotation_of(const Node& node, const LayerConfig& config) {
  constexpr std::int64_t kMostParts = 16;
  if (config.rotation == 0 || !can_rotate(node)) return 1;
  const std::int64_t columns = constant_of(node.operands[*op_of(node).quantized.weight])->shape[1];
  std::int64_t size = 1;
  while (size * 2 <= config.rotation && columns % (size * 2) == 0) size *= 2;
  return columns / size <= kMostParts ? size : 1;
}

// H_1 = 1, H_2n = [[H_n, H_n], [H_n, -H_n]]: the entry of row i and column j is -1 where i and j share an odd number of
// bits. H / sqrt(n) is symmetric and its own inverse.
Tensor hadamard_matrix(std::int64_t size) {
  const auto n = static_cast<std::size_t>(size);
  const auto entry = static_cast<float>(1 / std::sqrt(static_cast<double>(size)));
  std::vector<float> entries(n * n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) entries[i * n + j] = std::popcount(i & j) % 2 == 0 ? entry : -entry;
  return tensor_f32({size, size}, entries);
}

// Each stretch of so many entries, multiplied with H / sqrt(n): in log2(n) rounds of sums and differences.
Tensor rotated_rows(const Tensor& weight, std::int64_t rotation) {
  const auto n = static_cast<std::size_t>(rotation);
  std::vector<float> values;
  for_each_float(weight, [&](std::size_t, float value) { values.push_back(value); });
  const float factor = static_cast<float>(1 / std::sqrt(static_cast<double>(rotation)));
  for (std::size_t from = 0; from < values.size(); from += n) {
    for (std::size_t half = 1; half < n; half *= 2)
      for (std::size_t i = 0; i < n; ++i) {
        if ((i & half) != 0) continue;
        const float a = values[from + i], b = values[from + i + half];
        values[from + i] = a + b;
        values[from + i + half] = a - b;
      }
    for (std::size_t i = 0; i < n; ++i) values[from + i] *= factor;
  }
  return tensor_f32(weight.shape, values);
}

// The constant `tensor`, which outlives the graph's making.
Value* placed(WeightPlaces& places, const Tensor& tensor, const std::string& name,
              std::shared_ptr<const Quantization> grid = nullptr) {
  const auto [place, added] = places.constants.try_emplace(&tensor);
  if (!added) return place->second;
  Value* constant = places.build.constant(tensor, name);
  if (constant != nullptr) constant->quantization = std::move(grid);
  return place->second = constant;
}

// Behind a DEQUANTIZE, which has the weight's value as float32.
Value* dequantized(WeightPlaces& places, Value* stored) {
  Value*& floats = places.floats[stored];
  if (floats == nullptr) floats = places.build("dequantize", {stored}, {}, stored->name + ".f32");
  return floats;
}

// Whether entries of the first operand are moved to the one result.
bool takes_entries(const Node& node) {
  const QuantizedForm& form = op_of(node).quantized;
  const auto is_float = [](const Value* value) { return value != nullptr && is_floating(value->type.dtype); };
  return form.shares && form.int8.number != 0 && node.results.size() == 1 && !node.operands.empty() &&
         is_float(node.operands[0]) && std::ranges::count_if(node.operands, is_float) == 1;
}

// Whether rows long enough to have a scale each are taken from a table.
bool takes_long_rows(const Node& node) {
  constexpr std::int64_t kLeastRow = 8;
  if (node.op != "gather") return false;
  const Tensor& table = *constant_of(node.operands[0]);
  const std::int64_t dim = node.attrs.integer("dim");
  const bool rows = dim == 0 || dim == -static_cast<std::int64_t>(table.rank());
  return rows && table.shape[0] > 1 && table.element_count() / table.shape[0] >= kLeastRow;
}

// Whether that is smaller than float32, with the operators that it needs.
bool saves_bytes_as_table(const Tensor& table, std::int64_t scales) {
  constexpr std::int64_t kOperators = 512;
  return table.element_count() + 4 * scales + kOperators < 4 * table.element_count();
}

// The integers of the rows, times their scales, which are taken alike. A row holds what it would as the weight of a
// layer, so that a table that is such a weight too is stored once.
Value* take_rows(WeightPlaces& places, const Node& node, Value* index, const WeightStore::Rows& rows) {
  Builder& build = places.build;
  const std::string& name = node.results[0]->name;
  const std::string& table = node.operands[0]->name;
  Value* taken = build("gather", {placed(places, rows.integers, table), index}, node.attrs, name + ".stored");
  Value* scales =
      build("gather", {placed(places, rows.scales, table + ".scales"), index}, node.attrs, name + ".scales");
  return build("mul", {build("cast", {taken}, {{"to", DType::f32}}), scales}, {}, name);
}

// A table of which rows are taken: they are taken as integers. Nothing if `node` is no such call.
std::optional<std::vector<Value*>> take_from_table(WeightPlaces& places, const Node& node,
                                                   std::span<Value* const> operands, const LayerConfig& config,
                                                   WeightStore& store) {
  if (!takes_entries(node) || !is_weight(node.operands[0], config.min_weight_elements)) return std::nullopt;
  const Tensor& weight = *constant_of(node.operands[0]);
  const bool by_row = takes_long_rows(node);
  if (config.min_weight_elements > 0 && !saves_bytes_as_table(weight, by_row ? weight.shape[0] : 1))
    return std::nullopt;
  if (by_row) {
    const WeightStore::Rows* rows = store.rows(node, *node.operands[0]);
    if (rows == nullptr) return std::nullopt;
    return std::vector{take_rows(places, node, operands[1], *rows)};
  }
  // What is taken leaves on the grid of the table, so that all has one scale; 4 bits would be too few for that.
  Builder& build = places.build;
  Value* table = store.stored(places, node, *node.operands[0], 0, {.bits = 8, .per_channel = false, .block = 0});
  if (table == nullptr) return std::nullopt;
  std::vector<Value*> all(operands.begin(), operands.end());
  all[0] = table;
  Value* rows = build(node.op, all, node.attrs, node.results[0]->name + ".stored");
  if (rows == nullptr) return std::nullopt;
  rows->quantization = table->quantization;
  return std::vector{build("dequantize", {rows}, {}, node.results[0]->name)};
}

}  // namespace

// Integers that make up for one another's rounding, as the layer's inputs tell; as the float32 numbers they stand for.
Expected<WeightStore::Stored> WeightStore::compensated(const Tensor& weight, const TensorScheme& scheme,
                                                       const InputProducts& inputs) {
  if (!range_of_numbers(weight)) return fail("it holds numbers that are not finite");
  const MatrixShape shape{weight.shape[0], weight.shape[1]};
  const bool per_row = scheme.per_channel || scheme.block > 0;
  TAPER_ASSIGN(const IntegerMatrix matrix,
               compensate(to_double(weight), shape, scheme.bits, {per_row, scheme.block}, inputs));
  Quantization q{.bits = scheme.bits, .scales = {}, .zero_points = {}, .axis = std::nullopt, .block = scheme.block};
  for (const double scale : matrix.scales) q.scales.push_back(stored_scale(scale, scheme));
  q.zero_points.assign(q.scales.size(), 0);
  if (per_row) q.axis = 0;
  const GridIndex index(q, weight.shape);
  std::vector<float> values;
  values.reserve(matrix.integers.size());
  for (std::size_t i = 0; i < matrix.integers.size(); ++i)
    values.push_back(static_cast<float>(matrix.integers[i] * static_cast<double>(q.scales[index.of(i)])));
  return Stored{tensor_f32(weight.shape, values), std::make_shared<const Quantization>(std::move(q))};
}

Expected<WeightStore::Stored> WeightStore::make(const Node& node, const Tensor& weight, std::int64_t axis,
                                                const TensorScheme& scheme) {
  const WeightMethod method = request_.config_of(node).weight_method;
  if (method == WeightMethod::gptq && request_.inputs_of && axis == 0 && weight.rank() == 2)
    if (const InputProducts* inputs = request_.inputs_of(node); inputs != nullptr && inputs->size() == weight.shape[1])
      return compensated(weight, scheme, *inputs);
  TAPER_ASSIGN(Quantization grid, weight_grid(weight, axis, scheme, method));
  return Stored{weight, std::make_shared<const Quantization>(std::move(grid))};
}

Value* WeightStore::stored(WeightPlaces& places, const Node& node, const Value& value, std::int64_t axis,
                           TensorScheme scheme, std::int64_t rotation) {
  const Tensor& weight = *constant_of(&value);
  const std::int64_t entries = scheme.per_channel || scheme.block > 0 ? axis : -1;
  const Key key = {key_of(weight), scheme.bits, entries, scheme.block, rotation};
  auto found = known_.find(key);
  if (found == known_.end()) {
    auto made = make(node, rotation > 1 ? rotated_rows(weight, rotation) : weight, axis, scheme);
    if (!made) {
      plan_.notes.push_back(fmt::format("'{}' stays float32: {}", value.name, made.error().message));
      return nullptr;
    }
    made->source = weight;
    plan_.tensors.push_back(plan_of(value.name, *made->grid));
    found = known_.emplace(key, std::move(*made)).first;
  }
  return placed(places, found->second.tensor, value.name, found->second.grid);
}

const WeightStore::Rows* WeightStore::rows(const Node& node, const Value& value) {
  const Tensor& table = *constant_of(&value);
  auto found = rows_.find(key_of(table));
  if (found == rows_.end()) {
    const auto grid =
        weight_grid(table, 0, {.bits = 8, .per_channel = true, .block = 0}, request_.config_of(node).weight_method);
    if (!grid) {
      plan_.notes.push_back(fmt::format("'{}' stays float32: {}", value.name, grid.error().message));
      return nullptr;
    }
    plan_.tensors.push_back(plan_of(value.name, *grid));
    std::vector<std::int64_t> columns(table.rank(), 1);
    columns[0] = table.shape[0];
    Rows rows{make_tensor(DType::i8, table.shape, stored_integers(table, *grid)), tensor_f32(columns, grid->scales),
              table};
    found = rows_.emplace(key_of(table), std::move(rows)).first;
  }
  return &found->second;
}

Value* WeightStore::rotated(WeightPlaces& places, Value* x, std::int64_t rotation) {
  Builder& build = places.build;
  Stored& matrix = rotations_[rotation];
  if (matrix.grid == nullptr) {
    matrix.tensor = hadamard_matrix(rotation);
    // Two numbers, which 4 bits hold exactly.
    matrix.grid = std::make_shared<const Quantization>(
        per_tensor_grid(4, static_cast<float>(1 / std::sqrt(static_cast<double>(rotation))), 0));
  }
  const std::int64_t columns = *x->type.shape.back().constant();
  std::vector<Value*> parts = {x};
  if (columns > rotation)
    parts = build.call("split", {x}, {{"dim", std::int64_t{-1}}, {"parts", columns / rotation}}, x->name + ".part");
  Value* stored = placed(places, matrix.tensor, "hadamard", matrix.grid);
  if (stored == nullptr) return nullptr;
  Value* turning = dequantized(places, stored);
  for (Value*& part : parts) part = build("linear", {part, turning}, {}, x->name + ".rotated");
  return parts.size() == 1 ? parts[0] : build("concat", parts, {{"dim", std::int64_t{-1}}}, x->name + ".rotated");
}

const Tensor* stored_constant(const Node& node) {
  const QuantizedForm& form = op_of(node).quantized;
  const std::size_t operand = form.weight.value_or(0);
  if ((!form.weight && !takes_entries(node)) || operand >= node.operands.size()) return nullptr;
  const Tensor* tensor = constant_of(node.operands[operand]);
  return tensor != nullptr && is_floating(tensor->dtype) ? tensor : nullptr;
}

std::int64_t weights_of_layer(const Node& node) {
  return stored_constant(node)->element_count();
}

namespace {

void collect_layers(const Graph& graph, std::vector<const Node*>& layers) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) collect_layers(*region, layers);
    if (stored_constant(node) != nullptr) layers.push_back(&node);
  }
}

}  // namespace

std::vector<const Node*> layers_with_weights(const Graph& legal) {
  std::vector<const Node*> layers;
  collect_layers(legal, layers);
  return layers;
}

bool can_rotate(const Node& node) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!form.weight || !form.bias || *form.weight >= node.operands.size()) return false;
  const Tensor* weight = constant_of(node.operands[*form.weight]);
  return weight != nullptr && weight->rank() == 2 && form.channels(node) == 0;
}

bool sums_fit(const Node& node) {
  constexpr std::int64_t kMostProducts = (std::int64_t{1} << 31) / (128 * 128) - 1;
  const QuantizedForm& form = op_of(node).quantized;
  const Tensor* weight = constant_of(node.operands[*form.weight]);
  if (weight == nullptr || weight->element_count() == 0) return true;
  return weight->element_count() / weight->shape[static_cast<std::size_t>(form.channels(node))] <= kMostProducts;
}

bool has_hybrid_kernel(const Node& node, const LayerConfig& config) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!form.weight || !sums_fit(node)) return false;
  if (!config.integer_compute || config.explicit_dequantize || !config.weight) return false;
  if (config.weight->block > 0 && !form.hybrid_blocks) return false;
  return (config.weight->bits == 4 ? form.hybrid_int4 : form.hybrid).number != 0;
}

std::optional<std::vector<Value*>> with_stored_weights(WeightPlaces& places, const Node& node,
                                                       std::span<Value* const> operands, const LayerConfig& config,
                                                       WeightStore& store) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!config.quantized || !config.weight) return std::nullopt;
  if (config.weight->floating)
    return config.weight->bits == 16 ? with_half_weight(places.build, node, operands, nullptr) : std::nullopt;
  if (!form.weight) return take_from_table(places, node, operands, config, store);
  if (*form.weight >= node.operands.size() || !is_weight(node.operands[*form.weight], config.min_weight_elements))
    return std::nullopt;
  TensorScheme scheme = *config.weight;
  const Tensor& weight = *constant_of(node.operands[*form.weight]);
  // Rows of an odd length would begin inside of a byte, which kernels don't take, but DEQUANTIZE does; and blocks of
  // float16 scales are only along rows.
  if (scheme.bits == 4 && weight.shape.back() % 2 != 0 && form.hybrid_int4.number != 0) scheme.bits = 8;
  if (scheme.block > 0 && (scheme.bits != 4 || !form.hybrid_blocks || weight.shape.back() % scheme.block != 0)) {
    scheme.block = 0;
    scheme.per_channel = true;
  }
  if (config.min_weight_elements > 0 && !saves_bytes(weight, form.channels(node), scheme)) return std::nullopt;
  LayerConfig actual = config;
  actual.weight = scheme;
  const std::int64_t rotation = rotation_of(node, config);
  Value* stored = store.stored(places, node, *node.operands[*form.weight], form.channels(node), scheme, rotation);
  if (stored == nullptr) return std::nullopt;
  std::vector<Value*> all(operands.begin(), operands.end());
  if (rotation > 1) all[0] = store.rotated(places, all[0], rotation);
  all[*form.weight] = has_hybrid_kernel(node, actual) ? stored : dequantized(places, stored);
  return places.build.call(node.op, all, node.attrs, node.results[0]->name);
}

}  // namespace taper
