#include "passes/quantize_wide.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ops/table.h"
#include "passes/quantize_modes.h"

namespace taper {
namespace {

class WideValues {
 public:
  explicit WideValues(const std::function<bool(const Node&)>& is_int8) : is_int8_(is_int8) {}

  std::unordered_set<const Value*> run(const Graph& graph) {
    collect(graph, nullptr);
    while (!wanted_.empty()) {
      const Value* value = wanted_.back();
      wanted_.pop_back();
      follow(*value);
    }
    return std::move(wide_);
  }

 private:
  // The value of a loop: what it begins with, its name in both regions, its next value and what is left in the end.
  struct Carried {
    const Node* loop;
    std::size_t place;
  };

  bool can_be_wide(const Node& node) const {
    const QuantizedForm& form = op_of(node).quantized;
    return form.int8.number != 0 && form.int16.number != 0 && std::ranges::any_of(node.results, is_float) &&
           is_int8_(node);
  }

  void collect(const Graph& graph, const Node* loop) {
    for (const Node& node : graph.nodes()) {
      if (node.op == "while")
        for (std::size_t i = 0; i < node.operands.size(); ++i) {
          carried_.insert_or_assign(node.regions[1]->inputs()[i], Carried{&node, i});
          carried_.insert_or_assign(node.results[i], Carried{&node, i});
        }
      for (const auto& region : node.regions) collect(*region, &node);
      const QuantizedForm& form = op_of(node).quantized;
      if (loop != nullptr && can_be_wide(node) && !form.shares && !form.weight) widen(node);
    }
  }

  // The node's results are wide, and what it reads should be.
  void widen(const Node& node) {
    for (const Value* result : node.results)
      if (is_float(result)) wide_.insert(result);
    for (const Value* operand : node.operands) want(operand);
  }

  void want(const Value* value) {
    if (is_float(value) && seen_.insert(value).second) wanted_.push_back(value);
  }

  void follow(const Value& value) {
    if (const auto found = carried_.find(&value); found != carried_.end()) {
      const auto [loop, i] = found->second;
      for (const Value* same : {loop->regions[1]->inputs()[i], loop->results[i]}) wide_.insert(same);
      want(loop->regions[1]->outputs()[i].value);
      want(loop->operands[i]);
    } else if (value.producer != nullptr && can_be_wide(*value.producer) && op_of(*value.producer).quantized.shares) {
      widen(*value.producer);
    }
  }

  const std::function<bool(const Node&)>& is_int8_;
  std::unordered_map<const Value*, Carried> carried_;
  std::unordered_set<const Value*> wide_, seen_;
  std::vector<const Value*> wanted_;
};

}  // namespace

std::unordered_set<const Value*> wide_values(const Graph& graph, const std::function<bool(const Node&)>& is_int8) {
  return WideValues(is_int8).run(graph);
}

}  // namespace taper
