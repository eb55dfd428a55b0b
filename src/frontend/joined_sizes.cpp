#include "frontend/joined_sizes.h"

#include <algorithm>

#include "ops/table.h"

namespace taper {

std::set<std::string, std::less<>> measured_symbols(const Graph& graph) {
  std::set<std::string, std::less<>> symbols;
  for (const Node& node : graph.nodes()) {
    if (!op_of(node).measures_sizes) continue;
    for (const Value* result : node.results)
      for (const Dim& dim : result->type.shape)
        for (std::string& symbol : symbols_of(dim)) symbols.insert(std::move(symbol));
  }
  for (const Value* input : graph.inputs())
    for (const Dim& dim : input->type.shape)
      for (const std::string& symbol : symbols_of(dim)) symbols.erase(symbol);
  return symbols;
}

namespace {

// The numbers below the size of an axis, as many as `count` names.
Value* counted_axis(Builder& build, Value* x, std::size_t axis, const Dim& count) {
  Value* sizes = build("shape_of", {x}, {{"dtype", DType::i64}});
  Value* size = build("select", {sizes}, {{"dim", std::int64_t{0}}, {"index", static_cast<std::int64_t>(axis)}});
  return counted_range(build, size, count);
}

}  // namespace

JoinedSizes::JoinedSizes(const Graph& then, const Graph& otherwise, NameCount name)
    : name_(std::move(name)), inner_{measured_symbols(then), measured_symbols(otherwise)} {}

std::optional<Type> JoinedSizes::join(const Type& then, const Type& otherwise) {
  if (then.dtype != otherwise.dtype || then.shape.size() != otherwise.shape.size()) return std::nullopt;
  Type type = then;
  for (std::size_t axis = 0; axis < type.shape.size(); ++axis) {
    const Dim &a = then.shape[axis], &b = otherwise.shape[axis];
    if (a == b && !names_one_of(a, inner_[0]) && !names_one_of(b, inner_[1])) continue;
    const Dim most = dim_max(a, b);
    if (most.overflowed()) return std::nullopt;
    const auto [known, fresh] = joined_.try_emplace({a.text(), b.text()}, Dim(0));
    if (fresh) {
      known->second = name_(most);
      for (std::string& symbol : symbols_of(known->second)) unmeasured_.insert(std::move(symbol));
    }
    type.shape[axis] = known->second;
  }
  return type;
}

void JoinedSizes::measure(Builder& build, Value* result) {
  if (result == nullptr) return;
  for (std::size_t axis = 0; axis < result->type.shape.size(); ++axis) {
    const Dim& size = result->type.shape[axis];
    if (const auto symbol = size.as_symbol(); symbol && unmeasured_.erase(*symbol) > 0)
      counted_axis(build, result, axis, size);
  }
}

Status join_regions(std::vector<std::unique_ptr<Graph>>& regions, const std::string& name) {
  if (regions.size() != 2 || regions[0]->outputs().size() != regions[1]->outputs().size()) return {};
  std::size_t count = 0;
  JoinedSizes sizes(*regions[0], *regions[1],
                    [&](const Dim&) { return Dim::symbol(fmt::format("{}_{}", name, ++count)); });
  std::vector<Type> types;
  for (std::size_t i = 0; i < regions[0]->outputs().size(); ++i) {
    const auto type = sizes.join(regions[0]->outputs()[i].value->type, regions[1]->outputs()[i].value->type);
    if (!type) return {};  // the operator's own rule will tell
    types.push_back(*type);
  }
  if (count == 0) return {};
  for (const auto& region : regions) {
    Builder build(*region);
    for (std::size_t i = 0; i < types.size(); ++i)
      region->set_output(i, as_joined(build, region->outputs()[i].value, types[i]));
    TAPER_TRY(build.status());
  }
  return {};
}

Status join_outputs(const std::array<Builder*, 2>& branches, const std::array<std::vector<Value*>, 2>& results,
                    JoinedSizes& sizes, std::string_view hint) {
  if (results[0].size() != results[1].size())
    return fail("the branches give {} and {} values", results[0].size(), results[1].size());
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    const Type &then = results[0][i]->type, &otherwise = results[1][i]->type;
    const auto type = sizes.join(then, otherwise);
    if (!type)
      return fail_with_hint(
          fmt::format("result {} is {} in one branch and {} in the other", i, type_text(then), type_text(otherwise)),
          std::string(hint));
    for (const std::size_t branch : {0, 1}) {
      Builder& build = *branches[branch];
      Value* joined = as_joined(build, results[branch][i], *type);
      TAPER_TRY(build.status());
      build.graph().add_output(fmt::format("result_{}", i), joined);
    }
  }
  return {};
}

Value* as_joined(Builder& build, Value* result, const Type& type) {
  for (std::size_t axis = 0; axis < type.shape.size() && result != nullptr; ++axis) {
    if (result->type.shape[axis] == type.shape[axis]) continue;
    Value* places = counted_axis(build, result, axis, type.shape[axis]);
    result = build("gather", {result, places}, {{"dim", static_cast<std::int64_t>(axis)}});
  }
  return result;
}

}  // namespace taper
