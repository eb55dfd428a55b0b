// Runtimes compute in few dtypes: others are what goes in and out.
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

constexpr std::int64_t kFewElements = 1024;  // constants up to this size are converted now

// Which dtypes become float32.
using Narrow = bool (*)(DType);

bool is_other_float(DType dtype) {
  return is_floating(dtype) && dtype != DType::f32;
}

bool is_bf16(DType dtype) {
  return dtype == DType::bf16;
}

Type widened(Type type, Narrow is_narrow) {
  if (is_narrow(type.dtype)) type.dtype = DType::f32;
  return type;
}

Value* as_f32(Builder& build, Value* value) {
  return build("cast", {value}, {{"to", DType::f32}});
}

// A constant in float32. Large ones of float16 stay as they are stored, for the runtime to widen.
Value* widened_constant(Builder& build, const Node& node) {
  const Tensor& tensor = node.attrs.get<Tensor>("value");
  const std::string& name = node.results[0]->name;
  if (tensor.dtype == DType::f16 && tensor.element_count() > kFewElements)
    return build("dequantize", {build.constant(tensor, name)});
  return build.constant(converted(tensor, DType::f32), name);
}

// A graph that computes in float32. The inputs and outputs of the outermost keep their types.
Expected<Graph> widen(const Graph& graph, bool outermost, Narrow is_narrow) {
  Graph result;
  result.name = graph.name;
  Builder build(result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs()) {
    Value* copy = result.add_input(input->name, outermost ? input->type : widened(input->type, is_narrow));
    cloner.bind(input, is_narrow(copy->type.dtype) ? as_f32(build, copy) : copy);
  }
  const NodeSet live = live_nodes(graph);
  for (const Node& node : graph.nodes()) {
    if (!live.contains(&node)) continue;
    build.set_scope(node.scope);
    if (op_of(node).is_constant) {
      const bool narrow = is_narrow(node.results[0]->type.dtype);
      cloner.bind(node.results[0], narrow ? widened_constant(build, node)
                                          : build.constant(node.attrs.get<Tensor>("value"), node.results[0]->name));
      continue;
    }
    if (node.op == "dequantize" && is_narrow(DType::f16)) {  // of what is float32 by now
      cloner.bind(node.results[0], cloner.at(node.operands[0]));
      continue;
    }
    Attrs attrs = node.attrs;
    for (const auto& [name, attr] : node.attrs)
      if (const auto* dtype = std::get_if<DType>(&attr); dtype != nullptr && is_narrow(*dtype))
        attrs.set(name, DType::f32);
    std::vector<std::unique_ptr<Graph>> regions;
    for (const auto& region : node.regions) {
      TAPER_ASSIGN(Graph inner, widen(*region, false, is_narrow));
      regions.push_back(std::make_unique<Graph>(std::move(inner)));
    }
    std::vector<Value*> operands = cloner.at(node.operands);
    // A cast to a narrower float rounds, whatever comes after it.
    const bool rounds = node.op == "cast" && is_narrow(node.attrs.get<DType>("to"));
    if (rounds && node.attrs.get<DType>("to") != DType::f64) operands[0] = build("cast", operands, node.attrs);
    const std::vector<Value*> results =
        build.call(node.op, std::move(operands), std::move(attrs), node.results[0]->name, std::move(regions));
    for (std::size_t i = 0; i < node.results.size(); ++i) cloner.bind(node.results[i], results[i]);
    TAPER_TRY(build.status());
  }
  for (const Output& output : graph.outputs()) {
    Value* value = cloner.at(output.value);
    const DType wanted = output.value->type.dtype;
    if (outermost && is_narrow(wanted)) value = build("cast", {value}, {{"to", wanted}});
    result.add_output(output.name, value);
  }
  TAPER_TRY(build.status());
  return result;
}

}  // namespace

namespace {

bool has_any(const Graph& graph, Narrow is_narrow) {
  const auto is_so = [is_narrow](const Value* value) { return is_narrow(value->type.dtype); };
  return std::ranges::any_of(graph.inputs(), is_so) ||
         any_node(graph, [&](const Node& node) { return std::ranges::any_of(node.results, is_so); });
}

}  // namespace

bool has_other_floats(const Graph& graph) {
  return has_any(graph, is_other_float);
}
bool has_bf16(const Graph& graph) {
  return has_any(graph, is_bf16);
}

Expected<Graph> compute_in_f32(const Graph& graph) {
  return widen(graph, true, is_other_float);
}
Expected<Graph> compute_bf16_in_f32(const Graph& graph) {
  return widen(graph, true, is_bf16);
}

namespace {

// The dtypes that hold all numbers of another, the nearest first. What float32 does not hold exactly is not among them.
std::vector<DType> wider(DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::u16:
      return {DType::i32, DType::i64, DType::f32};
    case DType::i32:
    case DType::u32:
      return {DType::i64};
    case DType::f16:
      return {DType::f32};
    default:
      return {};
  }
}

// What the operands of a dtype may become, for each of their dtypes.
std::vector<std::pair<DType, DType>> wider_operands(const Node& node) {
  std::vector<DType> dtypes;
  for (const Value* operand : node.operands)
    if (operand != nullptr && std::ranges::find(dtypes, operand->type.dtype) == dtypes.end())
      dtypes.push_back(operand->type.dtype);
  std::vector<std::pair<DType, DType>> pairs;
  for (const DType narrow : dtypes)
    for (const DType wide : wider(narrow)) pairs.emplace_back(narrow, wide);
  return pairs;
}

}  // namespace

Expected<Graph> widen_operands(const Graph& graph, Target target) {
  return rewrite(graph, [target](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (can_be_said(node, target) || !node.regions.empty() || operands.empty()) return std::nullopt;
    const Op& op = op_of(node);
    for (const auto& [narrow, wide] : wider_operands(node)) {
      std::vector<Value*> cast(operands.begin(), operands.end());
      for (Value*& operand : cast)
        if (operand != nullptr && operand->type.dtype == narrow) operand = build("cast", {operand}, {{"to", wide}});
      if (!op.infer({cast, node.attrs, node.regions})) continue;
      std::vector<Value*> results = build.call(node.op, cast, node.attrs, node.results[0]->name);
      if (build.failed() || !can_be_said(*results[0]->producer, target)) continue;
      results.resize(node.results.size());
      for (std::size_t i = 0; i < results.size(); ++i)
        if (results[i]->type.dtype != node.results[i]->type.dtype)
          results[i] = build("cast", {results[i]}, {{"to", node.results[i]->type.dtype}});
      return results;
    }
    return std::nullopt;
  });
}

}  // namespace taper
