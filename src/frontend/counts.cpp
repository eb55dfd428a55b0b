#include "frontend/counts.h"

#include <algorithm>
#include <array>

#include "ir/computation.h"
#include "ops/selecting.h"

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
  names_.insert(symbol);
  return Dim::symbol(std::move(symbol));
}

bool CountNames::occur_in(const Dim& size) const {
  return names_one_of(size, names_);
}

Dim CountNames::at_most(const Dim& size) const {
  constexpr int kMostSteps = 8;  // limits may be measured, too
  Dim raised = size;
  for (int step = 0; step < kMostSteps && !most_.empty(); ++step) {
    Dim next = raised;
    for (const Dim::Term& term : raised.terms()) {
      if (term.coefficient < 0 || term.symbols.size() != 1) continue;
      const auto most = most_.find(term.symbols[0]);
      if (most != most_.end()) next = next + (most->second - Dim::symbol(most->first)) * Dim(term.coefficient);
    }
    if (next.overflowed() || next == raised) break;
    raised = next;
  }
  return raised;
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

Value* places_where(Builder& build, Measured& measured, Value* mask, const NameCount& name) {
  if (mask == nullptr) return nullptr;
  if (Value* known = measured.find(build.graph(), mask)) return known;
  // Elements picked where a mask is repeated are so many times those that it picks itself.
  const auto [narrow, times] = repeated_mask(mask);
  const Value* of_narrow = narrow == mask ? nullptr : places_where(build, measured, narrow, name);
  const Dim count = of_narrow != nullptr ? of_narrow->type.shape[0] * times : name(element_count(mask->type.shape));
  Value* places = build("nonzero", {mask}, {{"count", Shape{count}}});
  measured.add(mask, places);
  return places;
}

Dim length_between(const Dim& start, const Dim& end) {
  // x - min(x, c) is max(x - c, 0), which other slices have for a size.
  if (const auto function = as_function(start); function && function->name == "min")
    for (const auto& [same, other] : {std::pair(function->a, function->b), std::pair(function->b, function->a)})
      if (same == end) return dim_max(end - other, 0);
  return end - start;
}

Ordered rows_in_order(Builder& build, Value* rows) {
  if (rows == nullptr) return {nullptr, nullptr};
  const Attrs along = along_first_axis();
  Value* order = build("arange", {}, {{"start", Shape{0}}, {"length", Shape{rows->type.shape[0]}}});
  // Sorting keeps the order of equals: by the last column first, by the first one last.
  for (std::int64_t column = rows->type.shape[1].constant().value_or(0); column-- > 0;) {
    Value* key = build("select", {rows}, {{"dim", std::int64_t{1}}, {"index", column}});
    const std::vector<Value*> sorted = build.call("sort", {build("gather", {key, order}, along)}, along);
    if (build.failed()) return {nullptr, nullptr};
    order = build("gather", {order, sorted[1]}, along);
  }
  return {build("gather", {rows, order}, along), order};
}

Value* run_begins(Builder& build, Value* entries) {
  if (entries == nullptr) return nullptr;
  // The first entry, and those unlike the one before them.
  Value* place = build("arange", {}, {{"start", Shape{0}}, {"length", Shape{entries->type.shape[0]}}});
  Value* before = build("maximum", {build("sub", {place, number(build, 1)}), number(build, 0)});
  Value* unlike = build("not_equal", {entries, build("gather", {entries, before}, along_first_axis())});
  if (entries->type.shape.size() == 2) unlike = build("any", {unlike}, {{"dims", std::vector<std::int64_t>{1}}});
  return build("logical_or", {build("equal", {place, number(build, 0)}), unlike});
}

Runs runs_of(Builder& build, Value* entries, Value* begins, Value* starts) {
  if (entries == nullptr || starts == nullptr) return {nullptr, nullptr, nullptr};
  const Attrs along = along_first_axis();
  Value* size = build("sizes", {}, {{"sizes", Shape{entries->type.shape[0]}}, {"dtype", DType::i64}});
  Value* bounds = build("concat", {starts, size}, along);
  Attrs behind = along;
  behind.set("start", std::int64_t{1});
  behind.set("end", Shape{starts->type.shape[0] + Dim(1)});
  return {.values = build("gather", {entries, starts}, along),
          .number = build("sub", {build("cumsum", {as_i64(build, begins)}, along), number(build, 1)}),
          .lengths = build("sub", {build("slice", {bounds}, behind), starts})};
}

Value* put_in_order(Builder& build, Value* order, Value* entries) {
  return build("scatter_elements", {build("zeros_like", {order}), order, entries}, along_first_axis());
}

}  // namespace taper
