// uint64 where kernels have none: values keep their type, calls compute on int64 of the same bits.
#include "ops/unsigned.h"

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

bool is_long_unsigned(const Value* value) {
  return value != nullptr && value->type.dtype == DType::u64;
}

bool concerns_long_unsigned(const Node& node) {
  return std::ranges::any_of(node.operands, is_long_unsigned) || std::ranges::any_of(node.results, is_long_unsigned);
}

Value* with_bits_of(Builder& build, Value* value, DType dtype) {
  if (value == nullptr) return nullptr;
  if (const Tensor* constant = constant_of(value)) {
    Tensor same = *constant;
    same.dtype = dtype;
    return build.constant(std::move(same), value->name);
  }
  const Node* producer = value->producer;
  if (producer != nullptr && producer->op == "bitcast" && producer->operands[0]->type.dtype == dtype)
    return producer->operands[0];
  return build("bitcast", {value}, {{"to", dtype}});
}

bool is_computed_unsigned(const Node& node, Target target) {
  return concerns_long_unsigned(node) && (has_signed_form(node) || op_of(node).expansion_for(target, node) != nullptr);
}

}  // namespace

bool holds_long_unsigned(const Graph& graph) {
  return any_node(graph, [](const Node& node) { return concerns_long_unsigned(node); });
}

Expected<Graph> compute_on_signed(const Graph& graph, Target target) {
  const Rule rule = [target](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (!is_computed_unsigned(node, target)) return std::nullopt;
    if (!has_signed_form(node)) return op_of(node).expansion_for(target, node)(build, node, operands);
    std::vector<Value*> given(operands.begin(), operands.end());
    for (Value*& operand : given)
      if (is_long_unsigned(operand)) operand = with_bits_of(build, operand, DType::i64);
    std::vector<Value*> results = call_on_signed(build, node, given);
    if (build.failed()) return results;
    results.resize(node.results.size());
    for (std::size_t i = 0; i < results.size(); ++i)
      if (is_long_unsigned(node.results[i])) results[i] = with_bits_of(build, results[i], DType::u64);
    return results;
  };
  constexpr int kMostRounds = 16;  // each expands what the one before made
  TAPER_ASSIGN(Graph result, rewrite(graph, rule));
  const auto remains = [target](const Node& node) { return is_computed_unsigned(node, target); };
  for (int round = 1; any_node(result, remains) && round < kMostRounds; ++round) {
    TAPER_ASSIGN(result, rewrite(result, rule));
  }
  return result;
}

}  // namespace taper
