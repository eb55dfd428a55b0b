#include "passes/passes.h"

#include <algorithm>
#include <map>
#include <set>

#include "ops/builder.h"
#include "ops/table.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

// Whether the node has a form for the target where one symbol of its operands is a number.
bool expands_without(const Node& node, Target target, const std::string& symbol) {
  Graph trial;
  Builder build(trial);
  std::vector<Value*> operands;
  for (const Value* operand : node.operands) {
    Type type = operand == nullptr ? Type{} : operand->type;
    for (Dim& size : type.shape) size = substitute(size, {{symbol, Dim(1)}});
    operands.push_back(operand == nullptr ? nullptr : trial.add_input("x", std::move(type)));
  }
  build.call(node.op, std::move(operands), node.attrs);
  return !build.failed() && op_of(node).expansion_for(target, trial.nodes().back()) != nullptr;
}

// The operator, and the dtype of its operand where that is not the one of most networks.
std::string call_text(const Node& node) {
  const auto found = std::ranges::find_if(node.operands, [](const Value* operand) { return operand != nullptr; });
  if (found == node.operands.end() || (*found)->type.dtype == DType::f32) return node.op;
  return fmt::format("{} of {}", node.op, info((*found)->type.dtype).name);
}

// Whether the target has the call for another dtype of its operand.
bool is_said_of_another_dtype(const Node& node, Target target) {
  for (const DType dtype : {DType::f32, DType::i32, DType::i64}) {
    Graph trial;
    Builder build(trial);
    std::vector<Value*> operands;
    for (const Value* operand : node.operands) {
      Type type = operand == nullptr ? Type{} : operand->type;
      if (operand != nullptr && type.dtype == node.operands[0]->type.dtype) type.dtype = dtype;
      operands.push_back(operand == nullptr ? nullptr : trial.add_input("x", std::move(type)));
    }
    build.call(node.op, std::move(operands), node.attrs);
    if (!build.failed() && can_be_said(trial.nodes().back(), target)) return true;
  }
  return false;
}

// What to do about a node that the target has for known sizes only; empty: nothing is known.
std::string advice_on(const Graph& graph, const Node& node, Target target) {
  if (!node.regions.empty() || node.operands.empty() || node.operands[0] == nullptr) return {};
  if (const DType dtype = node.operands[0]->type.dtype; dtype != DType::f32 && is_said_of_another_dtype(node, target))
    return fmt::format(
        "{} has {} of other dtypes: cast the {} before it to int32, int64 or float32, as the numbers "
        "allow, or write the other formats (--to)",
        target_name(target), node.op, info(dtype).name);
  if (op_of(node).expansion_for(target) == nullptr) return {};
  constexpr std::size_t kMostTried = 16;  // each takes a graph
  std::set<std::string> open;
  for (const Value* operand : node.operands)
    for (const Dim& size : operand == nullptr ? Shape() : operand->type.shape)
      for (std::string& symbol : symbols_of(size))
        if (open.size() < kMostTried) open.insert(std::move(symbol));
  for (const Value* input : graph.inputs())
    for (std::size_t axis = 0; axis < input->type.shape.size() && !open.empty(); ++axis) {
      const auto symbol = input->type.shape[axis].as_symbol();
      if (symbol && open.erase(*symbol) > 0 && expands_without(node, target, *symbol))
        return fmt::format(
            "{} is written where '{}' is a number: fix axis {} of input '{}' (--input-shape), or write "
            "the other formats (--to)",
            node.op, *symbol, axis, input->name);
    }
  return {};
}

using Places = std::map<std::string, std::vector<std::string>>;

// What can't be said, by operators and by the open sizes that they name.
struct Unspelled {
  Places ops, sizes;
};

void collect_unspelled(const Graph& graph, Target target, Unspelled& unspelled) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) collect_unspelled(*region, target, unspelled);
    const Op& op = op_of(node);
    if (op.is_constant || op.spelled_in(target, node)) continue;
    const std::string& place = node.scope.empty() ? node.results[0]->name : node.scope;
    bool names_sizes = false;
    for (const NamedAttr& attr : node.attrs)
      if (const auto* shape = std::get_if<Shape>(&attr.second); shape != nullptr && !op.measures_sizes)
        for (const Dim& size : *shape)
          if (!size.constant()) {
            unspelled.sizes[size.text()].push_back(place);
            names_sizes = true;
          }
    if (!names_sizes || node.op != "sizes") unspelled.ops[call_text(node)].push_back(place);  // none calls `sizes`
  }
}

std::string listed(const Places& places) {
  std::string list;
  for (const auto& [name, where] : places) {
    constexpr std::size_t kShown = 3;
    const std::vector<std::string> shown(where.begin(),
                                         where.begin() + static_cast<std::ptrdiff_t>(std::min(where.size(), kShown)));
    list += fmt::format("{}{} ({} times, in {}{})", list.empty() ? "" : "; ", name, where.size(),
                        fmt::join(shown, ", "), where.size() > kShown ? ", ..." : "");
  }
  return list;
}

}  // namespace

bool can_be_said(const Node& node, Target target) {
  const Op& op = op_of(node);
  return op.is_constant || op.spelled_in(target, node) || op.expansion_for(target, node) != nullptr;
}

Status check_spelled(const Graph& graph, Target target) {
  Unspelled unspelled;
  collect_unspelled(graph, target, unspelled);
  std::string message;
  if (!unspelled.ops.empty())
    message = fmt::format("operators that {} can't express: {}", target_name(target), listed(unspelled.ops));
  if (!unspelled.sizes.empty())
    message += fmt::format("{}sizes that {} files can't compute from those of their inputs: {}",
                           message.empty() ? "" : ", of ", target_name(target), listed(unspelled.sizes));
  if (message.empty()) return {};
  Error error{std::move(message), {}, {}};
  std::set<std::string> asked;  // one node tells of its operator
  for (const Node& node : graph.nodes())
    if (error.hint.empty() && unspelled.ops.contains(call_text(node)) && asked.insert(call_text(node)).second)
      error.hint = advice_on(graph, node, target);
  if (!unspelled.sizes.empty()) error = hinted(std::move(error), "give the sizes as numbers with --input-shape");
  return std::unexpected(std::move(error));
}

namespace {

using Concerns = std::function<bool(const Graph&)>;

Concerns holds(std::string_view op) {
  return [op](const Graph& graph) { return any_node(graph, [op](const Node& node) { return node.op == op; }); };
}

Concerns holds(bool (*is_so)(const Node&)) {
  return [is_so](const Graph& graph) { return any_node(graph, is_so); };
}

Concerns holds_unsayable(Target target) {
  return [target](const Graph& graph) {
    return any_node(graph, [target](const Node& node) { return !can_be_said(node, target); });
  };
}

bool anything(const Graph&) {
  return true;
}

bool moves_axes(const Node& node) {
  return op_of(node).axes_of_x != nullptr && constant_of(node.operands[0]) == nullptr;
}

bool is_rectifier(const Node& node) {
  return node.op == "relu" || node.op == "relu6";
}

bool sizes_results(const Node& node) {
  return node.op == "shape_of" || makes_its_results(node);
}

// Graphs that were written down by hand leave out what has a default.
bool lacks_attributes(const Node& node) {
  return std::ranges::any_of(op_of(node).attrs,
                             [&](const AttrSpec& spec) { return node.attrs.find(spec.name) == nullptr; });
}

Expected<Graph> complete_attributes(const Graph& graph) {
  return rewrite(graph, [](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (!lacks_attributes(node) || !node.regions.empty()) return std::nullopt;
    return build.call(node.op, {operands.begin(), operands.end()}, node.attrs, node.results[0]->name);
  });
}

bool has_dead_nodes(const Graph& graph) {
  return live_nodes(graph).size() != graph.nodes().size() || any_node(graph, [](const Node& node) {
           return std::ranges::any_of(node.regions, [](const auto& region) { return has_dead_nodes(*region); });
         });
}

}  // namespace

std::vector<Pass> passes_for(Target target, const LegalizeOptions& options) {
  std::vector<Pass> passes;
  passes.push_back({"complete_attributes", "rules and kernels read them without asking", complete_attributes,
                    holds(lacks_attributes)});
  if (!options.freeze.empty())
    passes.push_back({"freeze_symbols", "a static file has numbers where a dynamic one has symbols",
                      [=](const Graph& g) { return freeze_symbols(g, options.freeze); }, anything});
  if (target == Target::tflite)
    passes.push_back(
        {"compute_in_f32", "kernels compute in float32, whatever the floats' type", compute_in_f32, has_other_floats});
  const Pass on_signed = {"compute_on_signed", "few kernels compute on uint64",
                          [=](const Graph& g) { return compute_on_signed(g, target); }, holds_long_unsigned};
  if (target != Target::tflite)
    passes.push_back({"compute_bf16_in_f32", "few kernels compute in bfloat16", compute_bf16_in_f32, has_bf16});
  passes.push_back(on_signed);
  passes.push_back({"fold_pads", "a convolution pads at no cost", fold_pads, holds("pad")});
  passes.push_back(
      {"fold_batch_norms", "a norm costs nothing in the weights before it", fold_batch_norms, holds("batch_norm")});
  const Pass expand = {
      "expand", "what the target has no operator for is said in simpler ones",
      [=](const Graph& g) { return expand_for(g, target); },
      [=](const Graph& g) { return any_node(g, [=](const Node& node) { return wants_expansion(node, target); }); }};
  const Pass fold = {"fold_constants", "what is known now need not be computed on the device", fold_constants,
                     holds(is_foldable)};
  passes.push_back({"drop_expands", "who broadcasts needs no copies", drop_expands, holds("expand")});
  passes.push_back(fold);
  passes.push_back(expand);
  if (target != Target::onnx) {
    const Concerns scans = holds("scan");
    passes.push_back(
        {"drop_unused_results", "a result that is stacked costs a copy per frame", drop_unused_results, scans});
    passes.push_back(
        {"fold_constants", "the biases of gates are joined before they move", fold_constants, holds(is_foldable)});
    passes.push_back({"fuse_scans", "one loop over a stack of layers starts half as many steps", fuse_scans, scans});
    passes.push_back(
        {"hoist_from_scans", "one product over all frames reads the weights once", hoist_from_scans, scans});
    passes.push_back({"lower_scans", "TFLite and TensorFlow have While",
                      [=](const Graph& g) { return lower_scans(g, target); }, scans});
  }
  if (target == Target::onnx)
    passes.push_back({"lower_loops", "Loop has no region of its own for the condition", lower_loops, holds("while")});
  const Pass fold_later = {"fold_all_but_zeros", "what loops fill would lie in the file for each of their turns",
                           fold_all_but_zeros, holds(is_foldable_but_zeros)};
  const Concerns unsayable = holds_unsayable(target);
  passes.push_back({"materialize_dims", "sizes that must be numbers are computed from those of the inputs",
                    [=](const Graph& g) { return materialize_dims(g, target); }, unsayable});
  passes.push_back(expand);
  passes.push_back(on_signed);  // what loops and sizes are made of
  passes.push_back({"widen_operands", "kernels have few of the integers' types",
                    [=](const Graph& g) { return widen_operands(g, target); }, unsayable});
  passes.push_back(expand);
  passes.push_back(fold_later);
  if (target != Target::onnx) {
    passes.push_back({"assign_layout", "copies between orders of axes cost a pass over memory each", assign_layout,
                      holds(moves_axes)});
    passes.push_back(fold_later);
    passes.push_back(expand);
  }
  passes.push_back({"share_results", "layers repeat masks, positions and constants", share_results, anything});
  if (target == Target::tflite) {
    passes.push_back({"fold_scales", "scales and shifts next to a linear layer cost nothing in its weights",
                      fold_scales, holds(may_fold_scale)});
    passes.push_back({"fuse_activations", "an activation inside its operator saves a pass over memory",
                      fuse_activations, holds(is_rectifier)});
    passes.push_back(fold_later);
    passes.push_back(
        {"copy_passed_inputs", "LiteRT writes no output that no operator computes", copy_passed_inputs, passes_inputs});
    passes.push_back({"copy_spoiled_results", "LiteRT copies results of branches and bodies one after another",
                      copy_spoiled_results, holds(spoils_results)});
    passes.push_back({"copy_sized_outputs", "LiteRT wants to know the size of an output before", copy_sized_outputs,
                      holds(sizes_results)});
  }
  passes.push_back({"drop_dead_nodes", "what nothing reads is not written", drop_dead_nodes, has_dead_nodes});
  return passes;
}

Expected<Graph> legalize(const Graph& graph, Target target, const LegalizeOptions& options,
                         const PassObserver& observer) {
  const Graph* current = &graph;
  Graph result;
  for (const Pass& pass : passes_for(target, options)) {
    if (!pass.concerns(*current)) continue;
    const std::string place = fmt::format("in pass '{}' for {}", pass.name, target_name(target));
    TAPER_ASSIGN_WITHIN(Graph next, pass.run(*current), place);
    if (auto status = check(next); !status) return std::unexpected(within(std::move(status).error(), place));
    result = std::move(next);
    current = &result;
    if (observer) observer(pass.name, result);
  }
  TAPER_TRY(check_spelled(result, target));
  if (target == Target::tflite) TAPER_TRY(check_branches(result));
  return result;
}

}  // namespace taper
