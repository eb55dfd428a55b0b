#include "pipeline/coverage.h"

#include <algorithm>

#include "ops/table.h"
#include "report/text.h"

namespace taper {
namespace {

bool is_loop(const Node& node) {
  return node.op == "while" || node.op == "onnx_loop";
}

// Whether the inputs' elements decide how often a loop runs.
bool has_open_end(const Node& loop, const std::set<const Value*>& decided) {
  if (decided.contains(loop.regions[0]->outputs()[0].value)) return true;
  return loop.op == "onnx_loop" && std::ranges::any_of(std::span(loop.operands).first(2), [&](const Value* operand) {
           return operand != nullptr && decided.contains(operand);
         });
}

// The values that elements of the inputs decide, those of regions included, and with `sizes` those that open sizes do:
// what follows from constants alone is the same in every trial.
class DecidedValues {
 public:
  explicit DecidedValues(bool sizes) : sizes_(sizes) {}

  std::set<const Value*> of(const Graph& graph) {
    decided_.insert(graph.inputs().begin(), graph.inputs().end());
    // What loops carry may take a walk for each value; after a few of them anything may be decided.
    constexpr int kMostWalks = 16;
    for (int walk = 0; walk < kMostWalks; ++walk) {
      const std::size_t before = decided_.size();
      visit(graph);
      if (decided_.size() == before) return std::move(decided_);
    }
    add_all(graph);
    return std::move(decided_);
  }

 private:
  bool is_decided(const Value* value) const { return value != nullptr && decided_.contains(value); }

  void add_all(const Graph& graph) {
    decided_.insert(graph.inputs().begin(), graph.inputs().end());
    for (const Node& node : graph.nodes()) {
      for (const auto& region : node.regions) add_all(*region);
      decided_.insert(node.results.begin(), node.results.end());
    }
  }

  void visit(const Graph& graph) {
    for (const Node& node : graph.nodes()) {
      bool decided = sizes_ && node.op == "sizes";
      if (node.regions.empty())
        decided = decided || std::ranges::any_of(node.operands, [&](const Value* each) { return is_decided(each); });
      else
        decided = visit_regions(node);
      if (decided) decided_.insert(node.results.begin(), node.results.end());
    }
  }

  // Whether anything that the regions give is decided. Inputs of regions are the last operands, and what loops carry
  // comes from their last outputs.
  bool visit_regions(const Node& node) {
    bool decided = !node.operands.empty() && !is_loop(node) && is_decided(node.operands[0]);
    for (const auto& region : node.regions) {
      const auto& inputs = region->inputs();
      const bool follows = is_loop(node) || node.op == "if";
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto operand = static_cast<std::ptrdiff_t>(i + node.operands.size()) - std::ssize(inputs);
        const bool comes =
            follows && operand >= 0
                ? is_decided(node.operands[static_cast<std::size_t>(operand)])
                : std::ranges::any_of(node.operands, [&](const Value* each) { return is_decided(each); });
        if (comes) decided_.insert(inputs[i]);
      }
      visit(*region);
      const bool gives =
          std::ranges::any_of(region->outputs(), [&](const auto& output) { return is_decided(output.value); });
      decided = decided || gives;
    }
    if (!is_loop(node)) return decided;
    carry(node);
    return decided || has_open_end(node, decided_);
  }

  void carry(const Node& loop) {
    const Graph& body = *loop.regions.back();
    for (std::size_t i = 0; i < body.outputs().size(); ++i) {
      const auto input = static_cast<std::ptrdiff_t>(i + body.inputs().size()) - std::ssize(body.outputs());
      if (input < 0 || !is_decided(body.outputs()[i].value)) continue;
      for (const auto& region : loop.regions)
        if (static_cast<std::size_t>(input) < region->inputs().size())
          decided_.insert(region->inputs()[static_cast<std::size_t>(input)]);
    }
  }

  bool sizes_;
  std::set<const Value*> decided_;
};

}  // namespace

Coverage::Coverage(const Graph& graph) {
  const auto has_regions = [](const Node& node) { return !node.regions.empty(); };
  if (std::ranges::any_of(graph.nodes(), has_regions))
    collect(graph, {DecidedValues(true).of(graph), DecidedValues(false).of(graph)});
}

std::size_t Coverage::add(std::string text) {
  texts_.push_back(std::move(text));
  return texts_.size() - 1;
}

void Coverage::add_loop(const Node& node, const Graph& body) {
  const auto computed = std::ranges::find_if(body.nodes(), [](const Node& each) { return !op_of(each).is_constant; });
  if (computed == body.nodes().end()) return;
  const std::string name = printable(node.results[0]->name);
  turns_[computed->results[0]] = ends_[node.results[0]] = loops_.size();
  loops_.push_back({add(fmt::format("the loop '{}' without a turn", name)),
                    add(fmt::format("the loop '{}' with several turns", name))});
}

void Coverage::collect(const Graph& graph, const Decided& decided) {
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) collect(*region, decided);
    if (node.op == "if" && decided.by_inputs.contains(node.operands[0])) {
      const std::string name = printable(node.results[0]->name);
      conditions_[node.operands[0]].push_back({add(fmt::format("'{}' where its condition holds", name)),
                                               add(fmt::format("'{}' where its condition does not hold", name))});
    } else if (is_loop(node) && has_open_end(node, decided.by_elements)) {
      add_loop(node, *node.regions.back());
    }
  }
}

void Coverage::observe(const Value& value, const Array& array) {
  if (const auto turn = turns_.find(&value); turn != turns_.end()) ++loops_[turn->second].turns;
  if (const auto end = ends_.find(&value); end != ends_.end()) {
    Loop& loop = loops_[end->second];
    if (loop.turns == 0) reached_.insert(loop.none);
    if (loop.turns > 1) reached_.insert(loop.several);
    loop.turns = 0;
  }
  const auto condition = conditions_.find(&value);
  if (condition == conditions_.end() || array.values.empty()) return;
  for (const Branches& branches : condition->second)
    reached_.insert(array.values[0] != 0 ? branches.then : branches.otherwise);
}

std::vector<std::string> Coverage::missing(const std::set<std::size_t>& reached) const {
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < texts_.size(); ++i)
    if (!reached.contains(i)) missing.push_back(texts_[i]);
  return missing;
}

}  // namespace taper
