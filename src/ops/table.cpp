#include "ops/table.h"

#include <cassert>
#include <unordered_map>

#include "ops/families.h"

namespace taper {
namespace {

bool holds_kind(const Attr& attr, AttrKind kind) {
  switch (kind) {
    case AttrKind::flag:
      return std::holds_alternative<bool>(attr);
    case AttrKind::integer:
      return std::holds_alternative<std::int64_t>(attr);
    case AttrKind::real:
      return std::holds_alternative<double>(attr);
    case AttrKind::text:
      return std::holds_alternative<std::string>(attr);
    case AttrKind::dtype:
      return std::holds_alternative<DType>(attr);
    case AttrKind::integers:
      return std::holds_alternative<std::vector<std::int64_t>>(attr);
    case AttrKind::shape:
      return std::holds_alternative<Shape>(attr);
    case AttrKind::tensor:
      return std::holds_alternative<Tensor>(attr);
  }
  return false;
}

Status check_sizes(const Value& value) {
  for (const Dim& size : value.type.shape)
    if (size.constant().value_or(0) < 0) return fail("value '{}' has the negative size {}", value.name, size.text());
  return {};
}

Status check_node(const Node& node) {
  const Op* op = find_op(node.op);
  if (op == nullptr) return fail("there is no operator '{}'", node.op);
  TAPER_TRY(check_operand_count(*op, node.operands));
  Attrs attrs = node.attrs;
  TAPER_TRY(complete_attrs(*op, attrs));
  TAPER_ASSIGN(const std::vector<Type> types, op->infer({node.operands, attrs, node.regions}));
  if (types.size() != node.results.size())
    return fail("{} results, the operator has {}", node.results.size(), types.size());
  for (std::size_t i = 0; i < types.size(); ++i)
    if (types[i] != node.results[i]->type)
      return fail("result '{}' has type {}, the operator gives {}", node.results[i]->name,
                  type_text(node.results[i]->type), type_text(types[i]));
  for (const Value* result : node.results) TAPER_TRY(check_sizes(*result));
  return check_grids(node);
}

DType dtype_in(DType dtype) {
  return dtype;
}
DType dtype_in(const TfliteDType& row) {
  return row.dtype;
}

}  // namespace

std::string_view target_name(Target target) {
  switch (target) {
    case Target::onnx:
      return "ONNX";
    case Target::tflite:
      return "TFLite";
    case Target::tensorflow:
      return "TensorFlow";
  }
  return "";
}

bool Op::spelled_in(Target target, const Node& node) const {
  const auto fits = [&node](const auto& spelling) {
    if (spelling.fits != nullptr && !spelling.fits(node)) return false;
    const auto takes = [&node](const auto& dtype) { return dtype_in(dtype) == node.operands[0]->type.dtype; };
    return spelling.dtypes.empty() || std::ranges::any_of(spelling.dtypes, takes);
  };
  switch (target) {
    case Target::onnx:
      return !onnx.op_type.empty() && fits(onnx);
    case Target::tflite:
      return tflite.builtin.has_value() && fits(tflite);
    case Target::tensorflow:
      return !tensorflow.op.empty() && fits(tensorflow);
  }
  return false;
}

TfliteVersion TfliteSpelling::version_of(const Node& node) const {
  if (version_for != nullptr) return version_for(node);
  for (const TfliteDType& each : dtypes)
    if (each.dtype == node.operands[0]->type.dtype) return each.version;
  return {version, since};
}

bool Op::is_hybrid(const Node& node) const {
  if (!quantized.weight || *quantized.weight >= node.operands.size()) return false;
  const Value* weight = node.operands[*quantized.weight];
  return weight != nullptr && weight->quantization != nullptr && node.operands[0]->quantization == nullptr;
}

TfliteVersion Op::tflite_version(const Node& node) const {
  const TfliteVersion plain = tflite.version_of(node);
  const auto bits_of = [](const Value* value) {
    return value == nullptr || value->quantization == nullptr ? 0 : value->quantization->bits;
  };
  TfliteVersion needed;
  if (is_hybrid(node)) {
    needed = bits_of(node.operands[*quantized.weight]) == 4 ? quantized.hybrid_int4 : quantized.hybrid;
  } else {
    int bits = node.results.empty() ? 0 : bits_of(node.results[0]);
    if (bits == 0 && !node.operands.empty()) bits = bits_of(node.operands[0]);
    if (bits == 8) needed = quantized.int8;
    if (bits == 16) needed = quantized.int16;
  }
  return needed.number > plain.number ? needed : plain;
}

ExpandFn Op::expansion_for(Target target) const {
  const ExpandFn own = target == Target::onnx     ? expand_onnx
                       : target == Target::tflite ? expand_tflite
                                                  : expand_tensorflow;
  return own != nullptr ? own : expand;
}

const std::vector<Op>& op_table() {
  static const std::vector<Op> table = [] {
    std::vector<Op> rows;
    for (auto* family :
         {constant_ops,         elementwise_ops,  math_ops,          activation_ops,    comparison_ops,
          integer_ops,          matrix_ops,       normalization_ops, attention_ops,     dot_product_attention_ops,
          reduce_ops,           order_ops,        shape_ops,         repeat_ops,        joining_ops,
          slicing_ops,          indexing_ops,     scattering_ops,    selecting_ops,     filling_ops,
          recurrent_ops,        lstm_ops,         control_ops,       convolution_ops,   pooling_ops,
          adaptive_pooling_ops, resize_ops,       padding_ops,       channel_norm_ops,  image_ops,
          convolution_last_ops, pooling_last_ops, image_last_ops,    onnx_quantized_ops})
      for (Op& row : family()) rows.push_back(std::move(row));
    add_quantized_forms(rows);
    return rows;
  }();
  return table;
}

const Op* find_op(std::string_view name) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const Op*> by_name;
    for (const Op& op : op_table()) by_name.emplace(op.name, &op);
    return by_name;
  }();
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

const Op& op_of(const Node& node) {
  const Op* op = find_op(node.op);
  assert(op != nullptr);
  return *op;
}

Status complete_attrs(const Op& op, Attrs& attrs) {
  for (const auto& [name, value] : attrs) {
    const auto spec = std::ranges::find(op.attrs, std::string_view(name), &AttrSpec::name);
    if (spec == op.attrs.end()) return fail("unknown attribute '{}'", name);
    if (!holds_kind(value, spec->kind)) return fail("attribute '{}' is of the wrong kind", name);
  }
  for (const AttrSpec& spec : op.attrs) {
    if (attrs.find(spec.name) != nullptr) continue;
    if (!spec.fallback) return fail("attribute '{}' is missing", spec.name);
    attrs.set(std::string(spec.name), *spec.fallback);
  }
  return {};
}

Status check_operand_count(const Op& op, std::span<Value* const> operands) {
  const bool variadic = !op.operands.empty() && op.operands.back().ends_with('*');
  if (!variadic && operands.size() > op.operands.size())
    return fail("{} operands, at most {} expected", operands.size(), op.operands.size());
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const bool given = i < operands.size() && operands[i] != nullptr;
    if (!given && !op.operands[i].ends_with('?') && !op.operands[i].ends_with('*'))
      return fail("operand '{}' is missing", op.operands[i]);
  }
  for (std::size_t i = op.operands.size(); i < operands.size(); ++i)
    if (operands[i] == nullptr) return fail("operand {} is missing", i);
  return {};
}

Status check(const Graph& graph) {
  TAPER_TRY(check_structure(graph));
  for (const Value* input : graph.inputs()) TAPER_TRY(check_sizes(*input));
  for (const Node& node : graph.nodes()) {
    if (auto status = check_node(node); !status) {
      Error error = std::move(status).error();
      error.message = fmt::format("{}: {}", node.op, error.message);
      return std::unexpected(
          within(std::move(error), fmt::format("in node '{}'", node.results.empty() ? "" : node.results[0]->name)));
    }
    for (const auto& region : node.regions) TAPER_TRY(check(*region));
  }
  return {};
}

}  // namespace taper
