#include "passes/qdq.h"

#include <algorithm>
#include <map>
#include <set>

#include "ops/grid.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

// Values on grids as ONNX says them.
class QdqSpelling {
 public:
  Replacement operator()(Builder& build, const Node& node, std::span<Value* const> operands) {
    if (!node.regions.empty()) return std::nullopt;  // what is carried lies on its grid already
    const Value& result = *node.results[0];
    if (op_of(node).is_constant) {
      if (result.quantization == nullptr || is_wide(*result.quantization)) return std::nullopt;
      return std::vector{constant(build, result)};
    }
    if (node.op == "dequantize" && node.operands[0]->quantization != nullptr) return std::vector{operands[0]};
    std::vector<Value*> results = {operands[0]};
    if (node.op != "quantize")
      results = build.call(node.op, {operands.begin(), operands.end()}, node.attrs, result.name);
    for (std::size_t i = 0; i < node.results.size(); ++i)
      if (const Quantization* grid = node.results[i]->quantization.get(); grid != nullptr && !is_wide(*grid))
        results[i] = on_grid(build, results[i], *grid, node.results[i]->name);
    return results;
  }

 private:
  // What loops keep in 16 bits, for which QuantizeLinear of this opset has no type, is float32 here: that is no
  // coarser.
  static bool is_wide(const Quantization& grid) { return grid.bits == 16; }

  struct Factors {
    Value* scale;
    Value* zero;  // nothing: 0
  };

  static std::optional<DType> stored_type(const Quantization& grid) {
    if (grid.block != 0) return std::nullopt;
    if (grid.bits == 8) return DType::i8;
    return grid.bits == 32 ? std::optional(DType::i32) : std::nullopt;
  }

  static Factors factors(Builder& build, const Quantization& grid, const std::string& name) {
    std::vector<std::int64_t> shape;
    if (!grid.per_tensor()) shape.push_back(static_cast<std::int64_t>(grid.scales.size()));
    Value* scale = build.constant(tensor_f32(shape, grid.scales), name + ".scale");
    if (grid.bits == 32) return {scale, nullptr};
    return {scale, build.constant(converted(tensor_i64(shape, grid.zero_points), DType::i8), name + ".zero")};
  }

  static void refuse(Builder& build, const Quantization& grid, const std::string& name) {
    build.set_error(
        {fmt::format("'{}' is stored as {}, and QDQ files hold int8", name, quantization_text(grid)), {}, {}});
  }

  static Value* on_grid(Builder& build, Value* x, const Quantization& grid, const std::string& name) {
    if (build.failed()) return nullptr;
    if (grid.bits != 8 || !grid.per_tensor()) {
      refuse(build, grid, name);
      return nullptr;
    }
    const auto [scale, zero] = factors(build, grid, name);
    Value* stored = build("onnx_quantize", {x, scale, zero}, {}, name + ".quantized");
    return build("onnx_dequantize", {stored, scale, zero}, {}, name + ".dequantized");
  }

  // A constant on one grid in several places is stored once.
  Value* constant(Builder& build, const Value& value) {
    const Quantization& grid = *value.quantization;
    const Tensor& numbers = *constant_of(&value);
    const auto dtype = stored_type(grid);
    if (!dtype) {
      refuse(build, grid, value.name);
      return nullptr;
    }
    Tensor& stored = stored_[{key_of(numbers), &grid}];
    if (stored.storage.view.empty()) stored = make_tensor(*dtype, numbers.shape, stored_integers(numbers, grid));
    const auto [scale, zero] = factors(build, grid, value.name);
    Value* integers = build.constant(stored, value.name + ".quantized");
    return build("onnx_dequantize", {integers, scale, zero}, {{"axis", grid.axis.value_or(0)}}, value.name);
  }

  std::map<std::pair<ConstantKey, const Quantization*>, Tensor> stored_;
};

// Permutes integers where their real numbers would be permuted, so that it is done before the file is written.
Replacement permute_stored(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (node.op != "permute" || operands[0]->producer == nullptr) return std::nullopt;
  const Node& source = *operands[0]->producer;
  if (source.op != "onnx_dequantize" || constant_of(source.operands[0]) == nullptr) return std::nullopt;
  const std::vector<std::int64_t>& dims = node.attrs.integers("dims");
  Value* integers = build("permute", {source.operands[0]}, node.attrs, source.operands[0]->name);
  std::vector<Value*> all = source.operands;
  all[0] = integers;
  const std::int64_t axis = std::ranges::find(dims, source.attrs.integer("axis")) - dims.begin();
  return std::vector{build("onnx_dequantize", all, {{"axis", axis}}, node.results[0]->name)};
}

// The constant in memory of its own: initializers that are one in memory are one in the file.
Value* own_copy(Builder& build, const Value& constant) {
  const Tensor& tensor = *constant_of(&constant);
  const Tensor plain = converted(tensor, tensor.dtype);
  const Bytes bytes = plain.bytes();
  return build.constant(make_tensor(tensor.dtype, tensor.shape, {bytes.begin(), bytes.end()}), constant.name);
}

// Gives each use of a stored constant a DequantizeLinear with integers of its own: told to multiply int8 exactly
// (session.x64quantprecision), ONNX Runtime copies those with several users, and refuses what it has copied twice.
class OwnConstants {
 public:
  Replacement operator()(Builder& build, const Node& node, std::span<Value* const> operands) {
    if (!node.regions.empty()) return std::nullopt;
    std::vector<Value*> all(operands.begin(), operands.end());
    bool copied = false;
    for (Value*& operand : all) {
      if (operand == nullptr || operand->producer == nullptr || operand->producer->op != "onnx_dequantize") continue;
      const Node& source = *operand->producer;
      const Tensor* stored = constant_of(source.operands[0]);
      if (stored == nullptr || seen_.insert(key_of(*stored)).second) continue;
      std::vector<Value*> own = source.operands;
      own[0] = own_copy(build, *own[0]);
      operand = build("onnx_dequantize", own, source.attrs, operand->name);
      copied = true;
    }
    if (!copied) return std::nullopt;
    return build.call(node.op, all, node.attrs, node.results[0]->name);
  }

 private:
  std::set<ConstantKey> seen_;
};

// Gives each QuantizeLinear and DequantizeLinear a scale and a zero point of its own: ONNX Runtime refuses files that
// share them when it is told to multiply int8 exactly (session.x64quantprecision).
Replacement with_own_factors(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (node.op != "onnx_quantize" && node.op != "onnx_dequantize") return std::nullopt;
  std::vector<Value*> all(operands.begin(), operands.end());
  for (std::size_t i = 1; i < all.size(); ++i) {
    const Tensor* factor = constant_of(node.operands[i]);
    if (factor == nullptr || !factor->is_plain()) continue;
    all[i] = own_copy(build, *node.operands[i]);
  }
  return build.call(node.op, all, node.attrs, node.results[0]->name);
}

}  // namespace

Expected<Graph> with_qdq(const Graph& quantised) {
  QdqSpelling spelling;
  TAPER_ASSIGN(const Graph spelled, rewrite(quantised, std::ref(spelling)));
  TAPER_ASSIGN(const Graph legal, legalize(spelled, Target::onnx));
  TAPER_ASSIGN(const Graph permuted, rewrite(legal, permute_stored));
  TAPER_ASSIGN(const Graph folded, fold_constants(permuted));
  OwnConstants own_constants;
  TAPER_ASSIGN(const Graph copied, rewrite(folded, std::ref(own_constants)));
  TAPER_ASSIGN(const Graph parted, rewrite(copied, with_own_factors));
  TAPER_ASSIGN(Graph result, drop_dead_nodes(parted));  // the factors that were shared
  TAPER_TRY(check(result));
  return result;
}

}  // namespace taper
