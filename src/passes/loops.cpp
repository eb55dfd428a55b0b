// Loops as ONNX has them.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

// The nodes of `graph` on these values; its outputs.
std::vector<Value*> inline_on(Builder& build, const Graph& graph, std::span<Value* const> inputs) {
  Cloner cloner(build);
  for (std::size_t i = 0; i < inputs.size(); ++i) cloner.bind(graph.inputs()[i], inputs[i]);
  return cloner.inline_nodes(graph);
}

// Loop has no condition of its own: whether to begin is computed before it, whether to go on by its body.
std::vector<Value*> as_onnx_loop(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Graph& condition = *node.regions[0];
  auto body = std::make_unique<Graph>();
  Builder inner(*body);
  body->add_input("step", {DType::i64, {}});
  body->add_input("running", {DType::boolean, {}});
  std::vector<Value*> carried;
  for (const Value* input : node.regions[1]->inputs()) carried.push_back(body->add_input(input->name, input->type));
  const std::vector<Value*> next = inline_on(inner, *node.regions[1], carried);
  body->add_output("go_on", inline_on(inner, condition, next)[0]);
  for (std::size_t i = 0; i < next.size(); ++i) body->add_output(node.regions[1]->outputs()[i].name, next[i]);
  if (inner.failed()) build.set_error(inner.status().error());
  std::vector<Value*> all = {nullptr, inline_on(build, condition, operands)[0]};
  all.insert(all.end(), operands.begin(), operands.end());
  std::vector<std::unique_ptr<Graph>> regions;
  regions.push_back(std::move(body));
  return build.call("onnx_loop", std::move(all), {}, node.results[0]->name, std::move(regions));
}

}  // namespace

Expected<Graph> lower_loops(const Graph& graph) {
  // Regions are rewritten only where the node that holds them stays, so that nested loops take a round each.
  constexpr int kMaxRounds = 16;
  const Graph* current = &graph;
  Graph result;
  for (int round = 0; round < kMaxRounds; ++round) {
    bool changed = false;
    const Rule rule = [&](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
      if (node.op != "while") return std::nullopt;
      changed = true;
      return as_onnx_loop(build, node, operands);
    };
    TAPER_ASSIGN(result, rewrite(*current, rule));
    current = &result;
    if (!changed) return result;
  }
  return fail("more than {} loops inside each other", kMaxRounds);
}

}  // namespace taper
