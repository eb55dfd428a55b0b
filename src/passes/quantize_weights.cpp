#include "passes/quantize_weights.h"

#include <bit>
#include <cmath>

#include "base/mapped_file.h"
#include "ops/grid.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

// Tables below this cost more in operators than they save.
constexpr std::int64_t kLeastTable = 1024;

bool is_weight(const Value* value, std::int64_t least) {
  const Tensor* constant = constant_of(value);
  return constant != nullptr && constant->dtype == DType::f32 &&
         constant->element_count() >= std::max<std::int64_t>(least, 1);
}

TensorPlan plan_of(const std::string& name, const Quantization& q) {
  const std::string scheme = q.block > 0 ? fmt::format("blocks of {}", q.block) : q.axis ? "per channel" : "per tensor";
  return {name, q.bits, scheme, q.scales.front(), q.zero_points.front(), true};
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

// Behind a DEQUANTIZE, which has the weight's value as float32.
Value* dequantized(Builder& build, Value* stored) {
  return build("dequantize", {stored}, {}, stored->name + ".f32");
}

// A table of which rows are taken: they are taken as integers. Nothing if `node` is no such call.
std::optional<std::vector<Value*>> take_from_table(Builder& build, const Node& node, std::span<Value* const> operands,
                                                   const LayerConfig& config, WeightStore& store) {
  const Op& op = op_of(node);
  if (!op.quantized.shares || op.quantized.int8.number == 0 || node.operands.empty() ||
      !is_weight(node.operands[0], std::max(config.min_weight_elements, kLeastTable)))
    return std::nullopt;
  const auto is_float = [](const Value* value) { return value != nullptr && value->type.dtype == DType::f32; };
  if (node.results.size() != 1 || std::ranges::count_if(node.operands, is_float) != 1) return std::nullopt;
  // Rows leave on the grid of the table, so that all have one scale; 4 bits would be too few for that.
  Value* table = store.stored(build, node, *node.operands[0], 0, {.bits = 8, .per_channel = false, .block = 0});
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

Value* WeightStore::stored(Builder& build, const Node& node, const Value& value, std::int64_t axis, TensorScheme scheme,
                           std::int64_t rotation) {
  const Tensor& weight = *constant_of(&value);
  const std::int64_t entries = scheme.per_channel || scheme.block > 0 ? axis : -1;
  const Key key = {weight.storage.view.data(), weight.shape, scheme.bits, entries, scheme.block, rotation};
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
  Value* constant = build.constant(found->second.tensor, value.name);
  if (constant != nullptr) constant->quantization = found->second.grid;
  return constant;
}

Value* WeightStore::rotated(Builder& build, Value* x, std::int64_t rotation) {
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
  Value* stored = build.constant(matrix.tensor, "hadamard");
  if (stored == nullptr) return nullptr;
  stored->quantization = matrix.grid;
  Value* turning = dequantized(build, stored);
  for (Value*& part : parts) part = build("linear", {part, turning}, {}, x->name + ".rotated");
  return parts.size() == 1 ? parts[0] : build("concat", parts, {{"dim", std::int64_t{-1}}}, x->name + ".rotated");
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

std::optional<std::vector<Value*>> with_stored_weights(Builder& build, const Node& node,
                                                       std::span<Value* const> operands, const LayerConfig& config,
                                                       WeightStore& store) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!config.quantized || !config.weight) return std::nullopt;
  if (config.weight->floating)
    return config.weight->bits == 16 ? with_half_weight(build, node, operands, nullptr) : std::nullopt;
  if (!form.weight) return take_from_table(build, node, operands, config, store);
  if (*form.weight >= node.operands.size() || !is_weight(node.operands[*form.weight], config.min_weight_elements))
    return std::nullopt;
  TensorScheme scheme = *config.weight;
  const Tensor& weight = *constant_of(node.operands[*form.weight]);
  // Rows of an odd length would begin inside of a byte, and kernels take blocks of float16 scales only along rows.
  if (scheme.bits == 4 && weight.shape.back() % 2 != 0) scheme.bits = 8;
  if (scheme.block > 0 && (scheme.bits != 4 || !form.hybrid_blocks || weight.shape.back() % scheme.block != 0)) {
    scheme.block = 0;
    scheme.per_channel = true;
  }
  LayerConfig actual = config;
  actual.weight = scheme;
  const std::int64_t rotation = rotation_of(node, config);
  Value* stored = store.stored(build, node, *node.operands[*form.weight], form.channels(node), scheme, rotation);
  if (stored == nullptr) return std::nullopt;
  std::vector<Value*> all(operands.begin(), operands.end());
  if (rotation > 1) all[0] = store.rotated(build, all[0], rotation);
  all[*form.weight] = has_hybrid_kernel(node, actual) ? stored : dequantized(build, stored);
  return build.call(node.op, all, node.attrs, node.results[0]->name);
}

}  // namespace taper
