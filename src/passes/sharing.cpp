// What is computed twice from the same values is computed once.
#include <algorithm>
#include <map>
#include <unordered_set>

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

// Small constants are compared by value, others by where they lie.
constexpr std::int64_t kSmall = 64;

std::string tensor_key(const Tensor& tensor) {
  std::string key = fmt::format("{} {}", describe(tensor), tensor.big_endian);
  if (tensor.is_plain() && tensor.byte_count() <= kSmall) return key + std::string(as_text(tensor.bytes()));
  return key +
         fmt::format(" {} [{}]", static_cast<const void*>(tensor.storage.view.data()), fmt::join(tensor.strides, ", "));
}

std::string attr_key(const Attr& attr) {
  return std::visit(
      []<class T>(const T& value) -> std::string {
        if constexpr (std::is_same_v<T, Tensor>)
          return tensor_key(value);
        else if constexpr (std::is_same_v<T, Shape>)
          return shape_text(value);
        else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>)
          return fmt::format("{}", fmt::join(value, ","));
        else if constexpr (std::is_same_v<T, DType>)
          return std::string(info(value).name);
        else if constexpr (std::is_same_v<T, double>)
          return fmt::format("{:a}", value);
        else
          return fmt::format("{}", value);
      },
      attr);
}

// The same for calls that give the same.
std::string call_key(const Node& node, std::span<Value* const> operands) {
  std::string key = node.op;
  for (const Value* operand : operands) key += fmt::format("|{}", static_cast<const void*>(operand));
  for (const auto& [name, attr] : node.attrs) key += fmt::format("|{}={}", name, attr_key(attr));
  return key;
}

}  // namespace

Expected<Graph> share_results(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    // Outputs stay values of their own.
    std::unordered_set<const Value*> outputs;
    for (const Output& output : owner.outputs()) outputs.insert(output.value);
    return [outputs = std::move(outputs), known = std::map<std::string, std::vector<Value*>>()](
               Builder& build, const Node& node, std::span<Value* const> operands) mutable -> Replacement {
      // Runtimes want constants that they dequantise beside each use.
      if (!node.regions.empty() || node.op == "dequantize") return std::nullopt;
      if (std::ranges::any_of(node.results, [&](const Value* result) { return outputs.contains(result); }))
        return std::nullopt;
      auto [entry, fresh] = known.try_emplace(call_key(node, operands));
      if (fresh)
        entry->second = build.call(node.op, {operands.begin(), operands.end()}, node.attrs, node.results[0]->name);
      return entry->second;
    };
  };
  return rewrite(graph, rule_for);
}

}  // namespace taper
