#include "frontend/counts.h"

#include <algorithm>
#include <array>

#include "ir/computation.h"

namespace taper {

bool names_a_size(const Graph& graph, const std::string& symbol) {
  return std::ranges::any_of(graph.inputs(), [&](const Value* input) {
    return std::ranges::any_of(input->type.shape, [&](const Dim& dim) {
      const std::vector<std::string> names = symbols_of(dim);
      return std::ranges::find(names, symbol) != names.end();
    });
  });
}

Dim CountNames::fresh(const Graph& graph) {
  std::string symbol;
  do symbol = fmt::format("count_{}", ++named_);
  while (names_a_size(graph, symbol));
  return Dim::symbol(std::move(symbol));
}

Value* Measured::find(const Graph& graph, const Value* value) const {
  constexpr int kMostNodes = 256;
  constexpr std::size_t kMostLookedAt = 256;  // the last ones, so that importing stays linear
  const std::size_t first = known_.size() > kMostLookedAt ? known_.size() - kMostLookedAt : 0;
  for (std::size_t i = known_.size(); i-- > first;) {
    int budget = kMostNodes;
    if (graph.owns(known_[i].first) && same_computation(known_[i].first, value, budget)) return known_[i].second;
  }
  return nullptr;
}

namespace {

Attrs along_first_axis() {
  return {{"dim", std::int64_t{0}}};
}

Value* number(Builder& build, std::int64_t value) {
  return build.constant(tensor_i64({}, std::array{value}));
}

Value* as_i64(Builder& build, Value* x) {
  return build("cast", {x}, {{"to", DType::i64}});
}

}  // namespace

Value* counted_range(Builder& build, Value* end, const Dim& size) {
  return build("range", {number(build, 0), end, number(build, 1)}, {{"length", Shape{size}}});
}

Value* run_begins(Builder& build, Value* vector) {
  if (vector == nullptr) return nullptr;
  // The first entry, and those unlike the one before them.
  Value* place = build("arange", {}, {{"start", Shape{0}}, {"length", Shape{vector->type.shape[0]}}});
  Value* before = build("maximum", {build("sub", {place, number(build, 1)}), number(build, 0)});
  Value* unlike = build("not_equal", {vector, build("gather", {vector, before}, along_first_axis())});
  return build("logical_or", {build("equal", {place, number(build, 0)}), unlike});
}

Runs runs_of(Builder& build, Value* vector, Value* begins, Value* starts) {
  if (vector == nullptr || starts == nullptr) return {nullptr, nullptr, nullptr};
  const Attrs along = along_first_axis();
  Value* size = build("sizes", {}, {{"sizes", Shape{vector->type.shape[0]}}, {"dtype", DType::i64}});
  Value* bounds = build("concat", {starts, size}, along);
  Attrs behind = along;
  behind.set("start", std::int64_t{1});
  behind.set("end", Shape{starts->type.shape[0] + Dim(1)});
  return {.values = build("gather", {vector, starts}, along),
          .number = build("sub", {build("cumsum", {as_i64(build, begins)}, along), number(build, 1)}),
          .lengths = build("sub", {build("slice", {bounds}, behind), starts})};
}

Value* put_in_order(Builder& build, Value* order, Value* entries) {
  return build("scatter_elements", {build("zeros_like", {order}), order, entries}, along_first_axis());
}

}  // namespace taper
