#include "passes/quantize_values.h"

#include <algorithm>

#include "ops/table.h"

namespace taper {
namespace {

const FixedGrid* prescribed_for(const Value& value, const Modes& modes) {
  return value.producer == nullptr ? nullptr : prescribed_grid(*value.producer, modes.bits(*value.producer));
}

// Whether an operand is a number that bounds others, or stands for an infinite one.
bool is_bound(const Node& node, const Value& operand) {
  const Tensor* constant = constant_of(&operand);
  if (constant == nullptr) return false;
  if (node.op == "maximum" || node.op == "minimum") return true;
  const auto range = range_of_numbers(*constant);
  return node.op == "where" && range && !(is_within_reach(range->low) && is_within_reach(range->high));
}

std::ptrdiff_t float_operands(const Node& node) {
  return std::ranges::count_if(node.operands, is_float);
}

double width(const Range& range) {
  return std::max(range.high, 0.0) - std::min(range.low, 0.0);
}

bool within(const Range& range, const Quantization& q) {
  const double step = static_cast<double>(q.scales[0]);
  const auto zero = static_cast<double>(q.zero_points[0]);
  // A step beyond the end is what a symmetric grid lacks of its negative side.
  return range.low >= (q.lowest() - zero - 1) * step && range.high <= (q.highest() - zero + 1) * step;
}

}  // namespace

GridClasses::GridClasses(const Graph& graph, const QuantizeRequest& request, const Modes& modes)
    : request_(request), modes_(modes), users_(users_of(graph)) {
  collect(graph);
  std::vector<const Value*> members;
  members.reserve(parents_.size());
  for (const auto& [value, parent] : parents_) members.push_back(value);
  for (const Value* value : members) classes_[root(value)].members.push_back(value);
  for (const auto& [member, grid] : entries_) classes_[root(member)].prescribed.push_back(grid);
  for (const Value* value : computed_) classes_[root(value)].computed = true;
  for (const Value* value : symmetric_) classes_[root(value)].symmetric = true;
}

// Not measured.
bool GridClasses::is_told(const Class& of_value) const {
  return request_.told != nullptr &&
         std::ranges::any_of(of_value.members, [&](const Value* value) { return request_.told->contains(value); });
}

Range GridClasses::range_of_all(const Class& of_value, int bits) const {
  Range all;
  for (const Value* value : of_value.members)
    if (const auto range = range_of(*value, request_, bits))
      all = {std::min(all.low, range->low), std::max(all.high, range->high)};
  return all;
}

const Value* GridClasses::root(const Value* value) {
  parents_.try_emplace(value, value);
  while (parents_[value] != value) value = parents_[value] = parents_[parents_[value]];
  return value;
}

void GridClasses::join(const Value& a, const Value& b) {
  parents_[root(&a)] = root(&b);
}

void GridClasses::enter(const Value& value, const Value& member) {
  if (const FixedGrid* grid = prescribed_for(value, modes_))
    entries_.emplace_back(&member, grid);
  else
    join(value, member);
}

void GridClasses::collect(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.op == "while") {
      for (std::size_t i = 0; i < node.operands.size(); ++i) {
        const Value& entry = *node.regions[1]->inputs()[i];
        const int bits = modes_.bits(entry);
        if (bits == 0) continue;
        join(*node.regions[0]->inputs()[i], entry);
        join(*node.results[i], entry);
        for (const Value* comes : {node.regions[1]->outputs()[i].value, node.operands[i]})
          if (modes_.bits(*comes) == bits)
            enter(*comes, entry);
          else if (modes_.bits(*comes) != 0)
            computed_.push_back(&entry);
      }
    }
    for (const auto& region : node.regions) collect(*region);
    if (modes_.bits(node) != 0) collect_node(node);
  }
}

void GridClasses::collect_node(const Node& node) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!form.shares) {
    for (const Value* result : node.results) computed_.push_back(result);
    // Kernels take matrices on the right faster with the zero point 0.
    if (form.weight && !form.bias) symmetric_.push_back(node.operands[*form.weight]);
    return;
  }
  const Value& member = *node.results[0];
  for (const Value* result : node.results)
    if (is_float(result)) join(*result, member);
  for (const Value* operand : node.operands) {
    if (!is_float(operand)) continue;
    const int bits = modes_.bits(*operand);
    const bool stored_anew =
        constant_of(operand) != nullptr || bits != modes_.bits(node) || keeps_own_grid(*operand, node);
    // Integers of other bits have a grid of their own. What bounds gave is in the range of the result, and beyond it
    // they are clipped to its ends, which are bounds too.
    if ((bits == 0 || !stored_anew) && !is_bound(node, *operand)) enter(*operand, member);
    if (stored_anew) computed_.push_back(&member);
  }
}

// Whether the join's grid would leave an operand that something else needs too, an output of the graph or another
// layer, less than half of its steps. What needs it may take it before it is moved.
bool GridClasses::keeps_own_grid(const Value& operand, const Node& join) const {
  const auto own = range_of(operand, request_), joined = range_of(*join.results[0], request_);
  if (float_operands(join) < 2 || !own || !joined || width(*joined) <= 2 * width(*own)) return false;
  for (const Value* value = &operand; value != nullptr;) {
    const auto users = users_.find(value);
    if (users == users_.end()) return false;
    if (users->second.size() > 1) return true;
    const Node* moves = value->producer;
    const bool alone = moves != nullptr && op_of(*moves).quantized.shares && float_operands(*moves) == 1;
    value = alone ? *std::ranges::find_if(moves->operands, is_float) : nullptr;
  }
  return false;
}

std::shared_ptr<const Quantization> GridClasses::grid(const Value& value, int bits) {
  const FixedGrid* fixed = prescribed_for(value, modes_);
  if (fixed == nullptr || modes_.bits(*value.producer) != bits) return class_grid(value, bits);
  return std::make_shared<const Quantization>(per_tensor_grid(bits, fixed->scale, fixed->zero_point));
}

std::shared_ptr<const Quantization> GridClasses::class_grid(const Value& value, int bits) {
  Class& of_value = classes_[root(&value)];
  if (of_value.grid != nullptr && of_value.grid->bits == bits) return of_value.grid;
  if (of_value.members.empty()) of_value.members.push_back(&value);
  const Range range = range_of_all(of_value, bits);
  const auto same = [&](const FixedGrid* each) {
    return each->scale == of_value.prescribed[0]->scale && each->zero_point == of_value.prescribed[0]->zero_point;
  };
  // 15 bits are enough for what was seen: the 16th is room for twice of it.
  const double room = bits == 16 && !is_told(of_value) ? 2 : 1;
  Quantization q = activation_grid({range.low * room, range.high * room},
                                   {.bits = bits, .symmetric = bits == 16 || of_value.symmetric});
  if (!of_value.computed && !of_value.prescribed.empty() && std::ranges::all_of(of_value.prescribed, same)) {
    const Quantization prescribed =
        per_tensor_grid(bits, of_value.prescribed[0]->scale, of_value.prescribed[0]->zero_point);
    if (within(range, prescribed)) q = prescribed;
  }
  of_value.grid = std::make_shared<const Quantization>(std::move(q));
  return of_value.grid;
}

}  // namespace taper
