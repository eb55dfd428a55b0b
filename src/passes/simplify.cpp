// Passes that every target wants: freezing symbols, folding constants, expansion, sizes known at run time only.
#include <algorithm>

#include "ops/evaluate.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

Dim substitute(const Dim& dim, const Bindings& bindings) {
  return substitute(dim, std::map<std::string, Dim, std::less<>>(bindings.begin(), bindings.end()));
}

Shape substitute(Shape shape, const Bindings& bindings) {
  for (Dim& dim : shape) dim = substitute(dim, bindings);
  return shape;
}

}  // namespace

Expected<Graph> freeze_symbols(const Graph& graph, const Bindings& bindings) {
  Rule rule = [&](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    Attrs attrs = node.attrs;
    bool changed = false;
    for (const auto& [name, attr] : node.attrs)
      if (const auto* shape = std::get_if<Shape>(&attr)) {
        Shape frozen = substitute(*shape, bindings);
        changed = changed || frozen != *shape;
        attrs.set(name, std::move(frozen));
      }
    if (!changed) return std::nullopt;
    return build.call(node.op, {operands.begin(), operands.end()}, attrs, node.results[0]->name);
  };
  return rewrite(
      graph, [&](const Graph&) { return rule; },
      [&](const Type& type) { return Type{type.dtype, substitute(type.shape, bindings)}; });
}

namespace {

// The name of a constant that takes the place of a result: where nobody gave the result one, that of the weights it was
// made of.
const std::string& folded_name(const Node& node, std::size_t result) {
  const std::string& name = node.results[result]->name;
  if (!name.starts_with(node.op)) return name;
  for (const Value* operand : node.operands)
    if (const Tensor* tensor = constant_of(operand); tensor != nullptr && tensor->element_count() > 1)
      return operand->name;
  return name;
}

// The results of an operator that only moves elements; nothing if it has to be computed.
Replacement rearrange_constants(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Op& op = op_of(node);
  if (op.rearrange == nullptr) return std::nullopt;
  std::vector<const Tensor*> tensors;
  for (const Value* operand : operands) {
    tensors.push_back(constant_of(operand));
    if (tensors.back()->dtype != tensors[0]->dtype) return std::nullopt;
  }
  std::vector<Tensor> results = op.rearrange(tensors, node.attrs);
  if (results.size() != node.results.size()) return std::nullopt;
  std::vector<Value*> values;
  values.reserve(results.size());
  for (std::size_t i = 0; i < results.size(); ++i)
    values.push_back(build.constant(std::move(results[i]), folded_name(node, i)));
  return values;
}

// Whether float64 tells all of these integers apart; those that wrap around to larger ones than it does are left out.
bool are_exact(const Array& array) {
  constexpr double kMostExact = 9007199254740992;  // 2^53
  if (array.dtype != DType::i64 && array.dtype != DType::u64) return true;
  const double least = array.dtype == DType::u64 ? -1 : -kMostExact;
  return std::ranges::all_of(array.values, [=](double x) { return x > least && x < kMostExact; });
}

// Zeros of a known shape are known, whatever they are like.
bool are_known_zeros(const Node& node) {
  return node.op == "zeros_like" && constant_sizes(node.results[0]->type.shape);
}

bool has_no_elements(const Value* value) {
  return std::ranges::any_of(value->type.shape, [](const Dim& size) { return size.is(0); });
}

// Results of known shapes without elements are known, whatever they are computed from.
bool are_known_empty(const Node& node) {
  return node.regions.empty() && !op_of(node).is_constant && !node.results.empty() &&
         std::ranges::all_of(node.results, [](const Value* x) {
           return has_no_elements(x) && constant_sizes(x->type.shape) && !x->quantization;
         });
}

std::vector<Value*> zeros_of_known_shapes(Builder& build, const Node& node) {
  std::vector<Value*> zeros;
  for (const Value* result : node.results) {
    Array array{result->type.dtype, *constant_sizes(result->type.shape), {}};
    array.values.resize(static_cast<std::size_t>(*element_count(result->type.shape).constant()));
    zeros.push_back(build.constant(to_tensor(array), result->name));
  }
  return zeros;
}

// Whether parts of a join add nothing to it. Runtimes don't take parts without elements.
bool joins_nothing(const Node& node) {
  return node.op == "concat" && !has_no_elements(node.results[0]) &&
         std::ranges::any_of(node.operands, has_no_elements);
}

Value* join_the_rest(Builder& build, const Node& node, std::span<Value* const> operands) {
  std::vector<Value*> parts;
  std::ranges::remove_copy_if(operands, std::back_inserter(parts), has_no_elements);
  return build("concat", parts, node.attrs, node.results[0]->name);
}

bool can_be_evaluated(const Node& node, std::span<Value* const> operands) {
  if (op_of(node).is_constant || operands.empty() || !node.regions.empty()) return false;
  // float16 constants and integers are for the runtime to dequantise.
  if (node.op == "dequantize" || node.op == "onnx_dequantize") return false;
  if (!std::ranges::all_of(operands, [](const Value* x) { return x == nullptr || constant_of(x) != nullptr; }))
    return false;
  return !names_symbols(node);  // which can't be evaluated yet
}

}  // namespace

bool is_foldable_but_zeros(const Node& node) {
  return are_known_empty(node) || joins_nothing(node) || can_be_evaluated(node, node.operands);
}

bool is_foldable(const Node& node) {
  return are_known_zeros(node) || is_foldable_but_zeros(node);
}

namespace {

Expected<Graph> fold(const Graph& graph, bool zeros_too) {
  const Rule rule = [&](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    const Op& op = op_of(node);
    if ((zeros_too && are_known_zeros(node)) || are_known_empty(node)) return zeros_of_known_shapes(build, node);
    if (joins_nothing(node)) return std::vector{join_the_rest(build, node, operands)};
    if (!can_be_evaluated(node, operands)) return std::nullopt;
    if (auto rearranged = rearrange_constants(build, node, operands)) return rearranged;
    std::vector<Array> arrays;
    arrays.reserve(operands.size());
    for (const Value* operand : operands)
      arrays.push_back(operand == nullptr ? Array{} : to_array(*constant_of(operand)));
    std::vector<const Array*> pointers;
    pointers.reserve(operands.size());
    for (std::size_t i = 0; i < operands.size(); ++i) pointers.push_back(operands[i] == nullptr ? nullptr : &arrays[i]);
    if (!std::ranges::all_of(arrays, are_exact)) return std::nullopt;
    auto results = op.eval({pointers, node.attrs, node.regions, {}});
    if (!results) {
      build.set_error(results.error());
      return std::vector<Value*>(node.results.size(), nullptr);
    }
    if (!std::ranges::all_of(*results, are_exact)) return std::nullopt;
    std::ranges::for_each(*results, wrap_integers);
    std::vector<Value*> values;
    values.reserve(node.results.size());
    for (std::size_t i = 0; i < node.results.size(); ++i)
      values.push_back(build.constant(to_tensor((*results)[i]), folded_name(node, i)));
    return values;
  };
  return rewrite(graph, rule);
}

}  // namespace

Expected<Graph> fold_constants(const Graph& graph) {
  return fold(graph, true);
}

Expected<Graph> fold_all_but_zeros(const Graph& graph) {
  return fold(graph, false);
}

bool wants_expansion(const Node& node, Target target) {
  const Op& op = op_of(node);
  return !op.is_constant && !op.spelled_in(target, node) && op.expansion_for(target, node) != nullptr;
}

Expected<Graph> expand_for(const Graph& graph, Target target) {
  // Each round expands what the one before produced. Expansions end in operators without one, so the depth of the table
  // bounds the rounds.
  constexpr int kMaxRounds = 16;
  const auto wanted = [target](const Node& node) { return wants_expansion(node, target); };
  const Rule rule = [&](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
    if (!wanted(node)) return std::nullopt;
    return op_of(node).expansion_for(target, node)(build, node, operands);
  };
  TAPER_ASSIGN(Graph result, rewrite(graph, rule));
  for (int round = 1; any_node(result, wanted); ++round) {
    if (round == kMaxRounds) return fail("expansions for {} don't end", target_name(target));
    TAPER_ASSIGN(result, rewrite(result, rule));
  }
  return result;
}

}  // namespace taper
