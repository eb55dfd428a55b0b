#include "passes/passes.h"

#include <set>

#include "ops/table.h"

namespace taper {
namespace {

void collect_unspelled(const Graph& graph, Target target, std::map<std::string, std::vector<std::string>>& places) {
  for (const Node& node : graph.nodes()) {
    const Op& op = op_of(node);
    if (!op.is_constant && !op.spelled_in(target, node))
      places[node.op].push_back(node.scope.empty() ? node.results[0]->name : node.scope);
    for (const auto& region : node.regions) collect_unspelled(*region, target, places);
  }
}

}  // namespace

Status check_spelled(const Graph& graph, Target target) {
  std::map<std::string, std::vector<std::string>> places;
  collect_unspelled(graph, target, places);
  if (places.empty()) return {};
  std::string list;
  for (const auto& [op, where] : places) {
    constexpr std::size_t kShown = 3;
    const std::vector<std::string> shown(where.begin(),
                                         where.begin() + static_cast<std::ptrdiff_t>(std::min(where.size(), kShown)));
    list += fmt::format("{}{} ({} times, in {}{})", list.empty() ? "" : "; ", op, where.size(), fmt::join(shown, ", "),
                        where.size() > kShown ? ", ..." : "");
  }
  return fail("operators that {} can't express: {}", target_name(target), list);
}

std::vector<Pass> passes_for(Target target, const LegalizeOptions& options) {
  std::vector<Pass> passes;
  if (!options.freeze.empty())
    passes.push_back({"freeze_symbols", "a static file has numbers where a dynamic one has symbols",
                      [=](const Graph& g) { return freeze_symbols(g, options.freeze); }});
  if (target == Target::tflite)
    passes.push_back({"compute_in_f32", "kernels compute in float32, whatever the floats' type", compute_in_f32});
  passes.push_back({"fold_pads", "a convolution pads at no cost", fold_pads});
  passes.push_back({"fold_batch_norms", "a norm costs nothing in the weights before it", fold_batch_norms});
  const Pass expand = {"expand", "what the target has no operator for is said in simpler ones",
                       [=](const Graph& g) { return expand_for(g, target); }};
  const Pass fold = {"fold_constants", "what is known now need not be computed on the device", fold_constants};
  passes.push_back({"drop_expands", "who broadcasts needs no copies", drop_expands});
  passes.push_back(fold);
  passes.push_back(expand);
  if (target != Target::onnx) {
    passes.push_back({"drop_unused_results", "a result that is stacked costs a copy per frame", drop_unused_results});
    passes.push_back({"fold_constants", "the biases of gates are joined before they move", fold_constants});
    passes.push_back({"fuse_scans", "one loop over a stack of layers starts half as many steps", fuse_scans});
    passes.push_back({"hoist_from_scans", "one product over all frames reads the weights once", hoist_from_scans});
    passes.push_back(
        {"lower_scans", "TFLite and TensorFlow have While", [=](const Graph& g) { return lower_scans(g, target); }});
  }
  if (target == Target::onnx)
    passes.push_back({"lower_loops", "Loop has no region of its own for the condition", lower_loops});
  passes.push_back({"materialize_dims", "sizes that must be numbers are computed from those of the inputs",
                    [=](const Graph& g) { return materialize_dims(g, target); }});
  passes.push_back(expand);
  passes.push_back({"widen_operands", "kernels have few of the integers' types",
                    [=](const Graph& g) { return widen_operands(g, target); }});
  passes.push_back(expand);
  passes.push_back(fold);
  if (target != Target::onnx) {
    passes.push_back({"assign_layout", "copies between orders of axes cost a pass over memory each", assign_layout});
    passes.push_back(fold);
    passes.push_back(expand);
  }
  passes.push_back({"share_results", "layers repeat masks, positions and constants", share_results});
  if (target == Target::tflite) {
    passes.push_back(
        {"fold_scales", "scales and shifts next to a linear layer cost nothing in its weights", fold_scales});
    passes.push_back(
        {"fuse_activations", "an activation inside its operator saves a pass over memory", fuse_activations});
    passes.push_back(fold);
    passes.push_back({"copy_passed_inputs", "LiteRT writes no output that no operator computes", copy_passed_inputs});
    passes.push_back({"copy_sized_outputs", "LiteRT wants to know the size of an output before", copy_sized_outputs});
  }
  return passes;
}

Expected<Graph> legalize(const Graph& graph, Target target, const LegalizeOptions& options,
                         const PassObserver& observer) {
  const Graph* current = &graph;
  Graph result;
  for (const Pass& pass : passes_for(target, options)) {
    const std::string place = fmt::format("in pass '{}' for {}", pass.name, target_name(target));
    TAPER_ASSIGN_WITHIN(Graph next, pass.run(*current), place);
    if (auto status = check(next); !status) return std::unexpected(within(std::move(status).error(), place));
    result = std::move(next);
    current = &result;
    if (observer) observer(pass.name, result);
  }
  TAPER_TRY(check_spelled(result, target));
  return result;
}

}  // namespace taper
