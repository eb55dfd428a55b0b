// What is computed twice from the same values is computed once.
#include <algorithm>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

// Small constants are compared by value, others by where they lie.
constexpr std::int64_t kSmall = 64;

// Keys are bytes that nobody reads: with lengths before what has no fixed size, no two calls have the same.
template <class Number>
void append(std::string& key, Number number) {
  key.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void append_text(std::string& key, std::string_view text) {
  append(key, text.size());
  key += text;
}

void append_integers(std::string& key, std::span<const std::int64_t> integers) {
  append(key, integers.size());
  for (const std::int64_t integer : integers) append(key, integer);
}

void append_tensor(std::string& key, const Tensor& tensor) {
  append(key, tensor.dtype);
  append(key, tensor.big_endian);
  append_integers(key, tensor.shape);
  const bool small = tensor.is_plain() && tensor.byte_count() <= kSmall;
  append(key, small);
  if (small) {
    append_text(key, as_text(tensor.bytes()));
    return;
  }
  append_integers(key, tensor.strides);
  append(key, tensor.storage.view.data());
}

void append_attr(std::string& key, const Attr& attr) {
  append(key, attr.index());
  std::visit(
      [&key]<class T>(const T& value) {
        if constexpr (std::is_same_v<T, Tensor>)
          append_tensor(key, value);
        else if constexpr (std::is_same_v<T, Shape>)
          append_text(key, shape_text(value));
        else if constexpr (std::is_same_v<T, std::vector<std::int64_t>>)
          append_integers(key, value);
        else if constexpr (std::is_same_v<T, std::string>)
          append_text(key, value);
        else
          append(key, value);
      },
      attr);
}

// The same for calls that give the same.
std::string call_key(const Node& node, std::span<Value* const> operands) {
  std::string key;
  append_text(key, node.op);
  append(key, operands.size());
  for (const Value* operand : operands) append(key, operand);
  for (const auto& [name, attr] : node.attrs) {
    append_text(key, name);
    append_attr(key, attr);
  }
  return key;
}

}  // namespace

Expected<Graph> share_results(const Graph& graph) {
  const RuleFor rule_for = [](const Graph& owner) -> Rule {
    // Outputs stay values of their own.
    std::unordered_set<const Value*> outputs;
    for (const Output& output : owner.outputs()) outputs.insert(output.value);
    return [outputs = std::move(outputs), known = std::unordered_map<std::string, std::vector<Value*>>()](
               Builder& build, const Node& node, std::span<Value* const> operands) mutable -> Replacement {
      // Runtimes want constants that they dequantise beside each use.
      if (!node.regions.empty() || node.op == "dequantize") return std::nullopt;
      if (std::ranges::any_of(node.results, [&](const Value* result) { return outputs.contains(result); }))
        return std::nullopt;
      auto [entry, fresh] = known.try_emplace(call_key(node, operands));
      if (fresh) entry->second = build.again(node, {operands.begin(), operands.end()}, {});
      return entry->second;
    };
  };
  return rewrite(graph, rule_for);
}

}  // namespace taper
