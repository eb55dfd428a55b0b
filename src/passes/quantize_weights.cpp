#include "passes/quantize_weights.h"

#include "base/mapped_file.h"
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

Value* WeightStore::stored(Builder& build, const Node& node, const Value& value, std::int64_t axis,
                           TensorScheme scheme) {
  const Tensor& weight = *constant_of(&value);
  const std::int64_t entries = scheme.per_channel || scheme.block > 0 ? axis : -1;
  const Key key = {weight.storage.view.data(), weight.shape, scheme.bits, entries, scheme.block};
  auto found = known_.find(key);
  if (found == known_.end()) {
    auto made = make(node, weight, axis, scheme);
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
  Value* stored = store.stored(build, node, *node.operands[*form.weight], form.channels(node), scheme);
  if (stored == nullptr) return std::nullopt;
  std::vector<Value*> all(operands.begin(), operands.end());
  all[*form.weight] = has_hybrid_kernel(node, actual) ? stored : dequantized(build, stored);
  return build.call(node.op, all, node.attrs, node.results[0]->name);
}

}  // namespace taper
