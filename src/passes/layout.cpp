// The order of axes over the whole graph: permutations move through what works in any order, until they meet their
// inverses.
#include <algorithm>
#include <map>
#include <numeric>

#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

bool is_identity(const Integers& dims, std::size_t rank) {
  if (dims.size() != rank) return false;
  for (std::size_t i = 0; i < rank; ++i)
    if (dims[i] != static_cast<std::int64_t>(i)) return false;
  return true;
}

// Whether the last `count` axes of a view are the last ones of its base, in order.
bool ends_alike(const Integers& dims, std::int64_t base_rank, std::size_t count) {
  for (std::size_t i = 1; i <= count; ++i)
    if (dims[dims.size() - i] != base_rank - static_cast<std::int64_t>(i)) return false;
  return true;
}

// A value as another one in another order of axes: its axis i is axis dims[i] of the base. Axes of the base that it
// does not have are of size 1.
struct View {
  Value* base = nullptr;
  Integers dims;
};

class Layout {
 public:
  explicit Layout(Builder& build) : build_(build) {}

  Replacement rewrite(const Node& node, std::span<Value* const> operands);

 private:
  std::optional<View> moved(const Node& node, Value* x);
  Value* make(const View& view);
  Value* as_base(Value* value, const View& like);
  std::optional<View> view_of(const Value* value) const {
    const auto found = views_.find(value);
    return found == views_.end() ? std::nullopt : std::optional(found->second);
  }

  Builder& build_;
  std::unordered_map<const Value*, View> views_;
  std::map<std::pair<const Value*, Integers>, Value*> made_;  // by base and order
};

// What an operator that only moves axes makes of x, as a view of x or of x's base.
std::optional<View> Layout::moved(const Node& node, Value* x) {
  const auto known = view_of(x);
  View view = known ? *known : View{x, {}};
  const std::size_t rank = view.base->type.shape.size();
  if (!known) {
    view.dims.resize(rank);
    std::iota(view.dims.begin(), view.dims.end(), 0);
  }
  // Axes of the base that x does not have may come back.
  Integers unused;
  for (std::size_t axis = 0; axis < rank; ++axis)
    if (std::ranges::find(view.dims, static_cast<std::int64_t>(axis)) == view.dims.end())
      unused.push_back(static_cast<std::int64_t>(axis));
  Integers dims;
  for (const std::int64_t axis : op_of(node).axes_of_x(node)) {
    if (axis >= 0) {
      dims.push_back(view.dims[static_cast<std::size_t>(axis)]);
    } else if (!unused.empty()) {
      dims.push_back(unused.front());
      unused.erase(unused.begin());
    } else {
      return std::nullopt;
    }
  }
  return View{view.base, std::move(dims)};
}

// The view as a value of its own. Where only axes of size 1 move, no element does.
Value* Layout::make(const View& view) {
  const Shape& base = view.base->type.shape;
  if (is_identity(view.dims, base.size())) return view.base;
  const auto [entry, fresh] = made_.try_emplace({view.base, view.dims}, nullptr);
  if (!fresh) return entry->second;
  Shape shape;
  std::int64_t last = -1;
  bool in_order = true;
  std::size_t symbols = 0;
  for (const std::int64_t dim : view.dims) {
    const Dim& size = base[static_cast<std::size_t>(dim)];
    shape.push_back(size);
    symbols += size.constant() ? 0 : 1;
    if (size.is(1)) continue;
    in_order = in_order && dim > last;
    last = dim;
  }
  Value* value = view.base;
  if (in_order && symbols <= 1) {
    value = build_("reshape", {value}, {{"shape", shape}});
  } else {
    Integers dropped, order;
    for (std::size_t axis = 0; axis < base.size(); ++axis)
      if (std::ranges::find(view.dims, static_cast<std::int64_t>(axis)) == view.dims.end())
        dropped.push_back(static_cast<std::int64_t>(axis));
    for (const std::int64_t dim : view.dims)
      order.push_back(dim - std::ranges::count_if(dropped, [dim](std::int64_t axis) { return axis < dim; }));
    if (!dropped.empty()) value = build_("squeeze", {value}, {{"dims", dropped}});
    if (value != nullptr && !is_identity(order, order.size())) value = build_("permute", {value}, {{"dims", order}});
  }
  entry->second = value;
  if (value != nullptr) views_.try_emplace(value, view);
  return value;
}

// The value whose view in the order of `like` is `value`, which may broadcast along axes that it lacks.
Value* Layout::as_base(Value* value, const View& like) {
  if (value == nullptr) return nullptr;
  const std::size_t rank = value->type.shape.size(), base_rank = like.base->type.shape.size();
  if (const auto view = view_of(value);
      view && view->dims == like.dims && view->base->type.shape.size() == like.base->type.shape.size())
    return view->base;
  // One number broadcasts in any order. At full rank it may be a part that is joined to others.
  if (rank == 0 || (rank == 1 && rank < like.dims.size() && value->type.shape[0].is(1))) return value;
  // So do last axes that are the last ones there too: weights keep their shape, and their name.
  if (rank < like.dims.size() && ends_alike(like.dims, static_cast<std::int64_t>(base_rank), rank)) return value;
  Value* full = value;
  for (std::size_t i = rank; i < like.dims.size(); ++i) full = build_("unsqueeze", {full}, {{"dims", Integers{0}}});
  for (std::size_t i = like.dims.size(); i < base_rank; ++i)
    full = build_("unsqueeze", {full}, {{"dims", Integers{-1}}});
  if (full == nullptr) return nullptr;
  // Axis dims[i] of the base is axis i here; those that the view lacks are the ones added at the end.
  Integers order(base_rank, -1);
  for (std::size_t i = 0; i < like.dims.size(); ++i)
    order[static_cast<std::size_t>(like.dims[i])] = static_cast<std::int64_t>(i);
  auto next = static_cast<std::int64_t>(like.dims.size());
  for (std::int64_t& axis : order)
    if (axis < 0) axis = next++;
  return make({full, std::move(order)});
}

Replacement Layout::rewrite(const Node& node, std::span<Value* const> operands) {
  const Op& op = op_of(node);
  if (op.axes_of_x != nullptr && operands[0] != nullptr && constant_of(operands[0]) == nullptr) {
    const auto view = moved(node, operands[0]);
    if (!view) return std::nullopt;
    Value* value = make(*view);
    return std::vector{value};
  }
  if (op.on_bases == nullptr || !node.regions.empty()) return std::nullopt;
  // Of operands that are views, the first of full rank says the order.
  std::optional<View> like;
  std::size_t rank = 0;
  for (const Value* operand : node.operands)
    if (operand != nullptr) rank = std::max(rank, operand->type.shape.size());
  for (const Value* operand : operands)
    if (operand != nullptr && !like && operand->type.shape.size() == rank) like = view_of(operand);
  if (!like) return std::nullopt;
  const auto call = op.on_bases(node, like->dims, static_cast<std::int64_t>(like->base->type.shape.size()));
  if (!call) return std::nullopt;
  // More copies of operands than there are views would cost more than they save.
  std::size_t views = 0, copies = 0;
  for (std::size_t i = 0; i < operands.size() && i < call->viewed; ++i) {
    if (operands[i] == nullptr || constant_of(operands[i]) != nullptr || operands[i]->type.shape.empty()) continue;
    const auto view = view_of(operands[i]);
    ++(view && view->dims == like->dims ? views : copies);
  }
  if (copies > views) return std::nullopt;
  std::vector<Value*> bases(operands.begin(), operands.end());
  for (std::size_t i = 0; i < bases.size() && i < call->viewed; ++i) bases[i] = as_base(operands[i], *like);
  const std::vector<Value*> results = build_.call(node.op, std::move(bases), call->attrs, node.results[0]->name);
  std::vector<Value*> values;
  for (std::size_t i = 0; i < node.results.size(); ++i)
    values.push_back(results[i] == nullptr ? nullptr : make({results[i], call->dims}));
  return values;
}

// Permutations of values that are not known yet.
std::size_t count_copies(const Graph& graph) {
  std::size_t count = 0;
  const NodeSet live = live_nodes(graph);
  for (const Node& node : graph.nodes())
    if (node.op == "permute" && constant_of(node.operands[0]) == nullptr && live.contains(&node)) ++count;
  return count;
}

}  // namespace

Expected<Graph> assign_layout(const Graph& graph) {
  const RuleFor rule_for = [](const Graph&) -> Rule {
    auto layout = std::make_shared<std::optional<Layout>>();
    return [layout](Builder& build, const Node& node, std::span<Value* const> operands) -> Replacement {
      if (!*layout) layout->emplace(build);
      return (*layout)->rewrite(node, operands);
    };
  };
  // What was made for nobody goes with the copy.
  TAPER_ASSIGN(const Graph moved, rewrite(graph, rule_for));
  TAPER_ASSIGN(Graph result, drop_dead_nodes(moved));
  if (count_copies(result) > count_copies(graph)) return drop_dead_nodes(graph);
  return result;
}

}  // namespace taper
