// Outputs that no operator writes where the runtime wants them.
#include <algorithm>
#include <set>
#include <unordered_set>

#include "ops/merged_axes.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

using Values = std::unordered_set<const Value*>;

// Whether an output before this one is the same value.
bool is_repeated(const Graph& graph, std::size_t output) {
  const auto& outputs = graph.outputs();
  return std::any_of(outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(output),
                     [&](const Output& other) { return other.value == outputs[output].value; });
}

// An input or a constant, which no operator computes.
bool is_given(const Value* value) {
  return value->producer == nullptr || constant_of(value) != nullptr;
}

bool is_joined(DType dtype) {
  const auto& dtypes = find_op("concat")->tflite.dtypes;
  return std::ranges::find(dtypes, dtype, &TfliteDType::dtype) != dtypes.end();
}

// The same value by one more operator. The kernel of CONCATENATION takes no scalars, and not all dtypes; LiteRT takes
// eight axes of any value.
Value* copied_value(Builder& build, Value* value) {
  const std::size_t axes = value->type.shape.size();
  if (axes > kMostJoinedAxes && value->type.dtype == DType::f32) return build("mul", {value, build.scalar(1)});
  const Attrs first = {{"dims", std::vector<std::int64_t>{0}}};
  if (axes == 0 || axes > kMostJoinedAxes || !is_joined(value->type.dtype))
    return build("squeeze", {build("unsqueeze", {value}, first)}, first);
  return build("concat", {value}, {{"dim", std::int64_t{0}}});
}

// The same by an operator that the runtime does not compute before it runs.
Value* recomputed_value(Builder& build, Value* value) {
  return value->type.dtype == DType::f32 ? build("mul", {value, build.scalar(1)}) : copied_value(build, value);
}

// Puts a copy in the place of each output that is among `copied`, or that another output is too.
Expected<Graph> copy_outputs(const Graph& graph, const Values& copied, const Values& recomputed = {}) {
  Graph result;
  result.name = graph.name;
  Builder build(result);
  Cloner cloner(build);
  for (const Value* input : graph.inputs()) cloner.bind(input, result.add_input(input->name, input->type));
  const std::vector<Value*> outputs = cloner.inline_nodes(graph);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Value* value = outputs[i];
    if (value != nullptr && recomputed.contains(graph.outputs()[i].value))
      value = recomputed_value(build, value);
    else if (value != nullptr && (copied.contains(graph.outputs()[i].value) || is_repeated(graph, i)))
      value = copied_value(build, value);
    result.add_output(graph.outputs()[i].name, value);
  }
  TAPER_TRY(build.status());
  return result;
}

// Whether a region holds what is as large as it comes out: then so are the results of the branch or loop.
bool measures_in_regions(const Node& node) {
  return std::ranges::any_of(node.regions, [](const auto& region) {
    return any_node(*region, [](const Node& inner) { return op_of(inner).measures_sizes; });
  });
}

// Results of operators that get sizes which are computed from those of the inputs, or that make their results
// themselves.
Values results_of_sizes(const Graph& graph) {
  Values sizes, results;
  for (const Node& node : graph.nodes()) {
    const bool sized =
        std::ranges::any_of(node.operands, [&](const Value* operand) { return sizes.contains(operand); });
    if (makes_its_results(node) || measures_in_regions(node)) results.insert(node.results.begin(), node.results.end());
    if (!sized && node.op != "shape_of") continue;
    for (const Value* result : node.results) {
      const bool is_size = !is_floating(result->type.dtype) && result->type.shape.size() <= 1;
      (is_size ? sizes : results).insert(result);
    }
  }
  return results;
}

bool repeats_outputs(const Graph& graph) {
  for (std::size_t i = 0; i < graph.outputs().size(); ++i)
    if (is_repeated(graph, i)) return true;
  return false;
}

// What a body hands on from one place to another: there the runtime has written the next value already.
Values handed_on(const Graph& body) {
  Values values;
  for (std::size_t i = 0; i < body.outputs().size(); ++i) {
    const Value* value = body.outputs()[i].value;
    if (value->producer == nullptr && value != body.inputs()[i]) values.insert(value);
  }
  return values;
}

// What follows from constants and sizes alone: the runtime computes that before it runs, and frees it with the branch
// that gives it.
Values known_before(const Graph& region) {
  Values known, results;
  for (const Node& node : region.nodes()) {
    const bool is_constant = op_of(node).is_constant;
    const bool follows = node.op == "shape_of" || (!node.operands.empty() && node.regions.empty() &&
                                                   std::ranges::all_of(node.operands, [&](const Value* operand) {
                                                     return operand == nullptr || known.contains(operand);
                                                   }));
    if (!is_constant && !follows) continue;
    known.insert(node.results.begin(), node.results.end());
  }
  for (const Output& output : region.outputs())
    if (known.contains(output.value) && !output.value->type.shape.empty() && !constant_of(output.value))
      results.insert(output.value);
  return results;
}

// In all regions of `graph`, each result that the runtime would spoil gets a tensor of its own.
Status copy_in_regions(Graph& graph) {
  for (Node& node : graph.nodes())
    for (auto& region : node.regions) {
      TAPER_TRY(copy_in_regions(*region));
      const Values handed = node.op == "while" && region == node.regions[1] ? handed_on(*region) : Values();
      const Values known = node.op == "if" ? known_before(*region) : Values();
      if (handed.empty() && known.empty() && !(node.op == "if" && repeats_outputs(*region))) continue;
      TAPER_ASSIGN(Graph copied, copy_outputs(*region, handed, known));
      region = std::make_unique<Graph>(std::move(copied));
    }
  return {};
}

// Whether one of its results has a size that its operands don't tell.
bool decides_sizes(const Node& branch) {
  std::set<std::string> told;
  for (const Value* operand : branch.operands)
    for (const Dim& size : operand == nullptr ? Shape() : operand->type.shape)
      for (std::string& symbol : symbols_of(size)) told.insert(std::move(symbol));
  return std::ranges::any_of(branch.results, [&](const Value* result) {
    return std::ranges::any_of(result->type.shape, [&](const Dim& size) {
      return std::ranges::any_of(symbols_of(size), [&](const std::string& symbol) { return !told.contains(symbol); });
    });
  });
}

bool holds_deciding_branch(const Graph& graph) {
  return std::ranges::any_of(graph.nodes(), [](const Node& node) {
    return (node.op == "if" && decides_sizes(node)) ||
           std::ranges::any_of(node.regions, [](const auto& region) { return holds_deciding_branch(*region); });
  });
}

}  // namespace

Status check_branches(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) TAPER_TRY(check_branches(*region));
    if (node.op != "if") continue;
    if (std::ranges::all_of(node.regions, [](const auto& region) { return holds_deciding_branch(*region); }))
      return fail_with_hint(
          fmt::format("LiteRT can't run branches that both branch again into results of unlike sizes, in '{}'",
                      node.scope.empty() ? node.results[0]->name : node.scope),
          "choose between the results one after another (if, elif, else), give them one size in the network, or write "
          "the other formats (--to)");
  }
  return {};
}

bool spoils_results(const Node& node) {
  if (node.op == "while") return !handed_on(*node.regions[1]).empty();
  return node.op == "if" && std::ranges::any_of(node.regions, [](const auto& region) {
           return repeats_outputs(*region) || !known_before(*region).empty();
         });
}

Expected<Graph> copy_spoiled_results(const Graph& graph) {
  Graph result = std::move(*copy(graph));
  TAPER_TRY(copy_in_regions(result));
  return result;
}

bool makes_its_results(const Node& node) {
  return node.op == "top_entries" || op_of(node).measures_sizes;
}

bool passes_inputs(const Graph& graph) {
  return repeats_outputs(graph) ||
         std::ranges::any_of(graph.outputs(), [](const Output& output) { return is_given(output.value); });
}

Expected<Graph> copy_passed_inputs(const Graph& graph) {
  Values inputs, constants;
  for (const Output& output : graph.outputs())
    if (is_given(output.value)) (constant_of(output.value) == nullptr ? inputs : constants).insert(output.value);
  return copy_outputs(graph, inputs, constants);
}

Expected<Graph> copy_sized_outputs(const Graph& graph) {
  return copy_outputs(graph, results_of_sizes(graph));
}

}  // namespace taper
