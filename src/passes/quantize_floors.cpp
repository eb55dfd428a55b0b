#include "passes/quantize_floors.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "ops/grid.h"
#include "ops/rules.h"
#include "ops/table.h"
#include "passes/quantize_modes.h"

namespace taper {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();
// Networks mask with -10,000 and less.
constexpr double kMasked = -5000;

// The axis along which entries are compared, and only the largest count.
std::optional<std::int64_t> compared_axis(const Node& node) {
  if (node.op == "softmax" || node.op == "argmax") return node.attrs.integer("dim");
  if (node.op != "amax") return std::nullopt;
  const auto& dims = node.attrs.integers("dims");
  return dims.size() == 1 ? std::optional(dims[0]) : std::nullopt;
}

// Calls each(place, size) for every row along an axis; place(k) is where its entry k lies.
template <class Each>
void for_each_row(const std::vector<std::int64_t>& shape, std::size_t axis, Each each) {
  const AxisView view = axis_view(shape, axis);
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < view.inner; ++i)
      each([&](std::int64_t k) { return static_cast<std::size_t>((o * view.size + k) * view.inner + i); }, view.size);
}

template <class Place>
double largest_of_row(const Array& array, const Place& place, std::int64_t size) {
  double most = kNone;
  for (std::int64_t k = 0; k < size; ++k) most = std::max(most, array.values[place(k)]);
  return most;
}

class FloorSearch {
 public:
  FloorSearch(const Floors& maxima, const std::unordered_map<const Value*, Range>& ranges)
      : maxima_(maxima), ranges_(ranges) {}

  Floors of(const Graph& graph) {
    visit(graph);
    std::erase_if(floors_, [](const auto& entry) { return entry.second == kNone; });
    return std::move(floors_);
  }

 private:
  // All users are to allow it.
  void lower(const Value* value, double floor) {
    const auto [known, added] = floors_.try_emplace(value, floor);
    if (!added) known->second = std::min(known->second, floor);
  }

  void visit(const Graph& graph) {
    for (const Output& output : graph.outputs()) floors_[output.value] = kNone;
    for (auto node = graph.nodes().rbegin(); node != graph.nodes().rend(); ++node) follow(*node);
  }

  void follow(const Node& node) {
    for (const auto& region : node.regions) visit(*region);
    for (const Value* operand : node.operands)
      if (is_float(operand)) lower(operand, floor_through(node, *operand));
  }

  double floor_through(const Node& node, const Value& operand) const {
    if (compared_axis(node)) {
      const auto seen = maxima_.find(&operand);
      return seen == maxima_.end() ? kNone : seen->second;
    }
    if (node.op == "sigmoid") return 0;
    if (!node.regions.empty()) return kNone;
    double floor = std::numeric_limits<double>::infinity();
    for (const Value* result : node.results) {
      const auto found = floors_.find(result);
      floor = std::min(floor, found == floors_.end() ? kNone : found->second);
    }
    if (op_of(node).quantized.chooses) return floor;
    return node.op == "add" ? floor - highest(*node.operands[node.operands[0] == &operand ? 1 : 0]) : kNone;
  }

  double highest(const Value& value) const {
    double high = 0;
    if (const Tensor* constant = constant_of(&value))
      for_each_float(*constant, [&](std::size_t, float number) { high = std::max(high, static_cast<double>(number)); });
    else if (const auto range = ranges_.find(&value); range != ranges_.end())
      high = range->second.high;
    else
      return std::numeric_limits<double>::infinity();
    return high;
  }

  const Floors& maxima_;
  const std::unordered_map<const Value*, Range>& ranges_;
  Floors floors_;
};

}  // namespace

ComparedValues compared_values(const Graph& graph) {
  ComparedValues values;
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) values.merge(compared_values(*region));
    const auto dim = compared_axis(node);
    if (!dim || !is_float(node.operands[0])) continue;
    const auto rank = static_cast<std::int64_t>(node.operands[0]->type.shape.size());
    if (rank > 0) values.emplace(node.operands[0], static_cast<std::size_t>(*dim < 0 ? *dim + rank : *dim));
  }
  return values;
}

double least_maximum(const Array& array, std::size_t axis) {
  double least = std::numeric_limits<double>::infinity();
  for_each_row(array.shape, axis, [&](const auto& place, std::int64_t size) {
    const double most = largest_of_row(array, place, size);
    if (most > kMasked) least = std::min(least, most);
  });
  return least;
}

Array without_masks(Array array, std::size_t axis) {
  for_each_row(array.shape, axis, [&](const auto& place, std::int64_t size) {
    const double most = largest_of_row(array, place, size);
    for (std::int64_t k = 0; k < size; ++k) {
      double& value = array.values[place(k)];
      value = std::max(value, most - floor_margin(16));
    }
  });
  return array;
}

Floors floors_of(const Graph& graph, const Floors& maxima, const std::unordered_map<const Value*, Range>& ranges) {
  return FloorSearch(maxima, ranges).of(graph);
}

Floors possible_floors(const Graph& graph, const ComparedValues& compared) {
  Floors all;
  for (const auto& [value, axis] : compared) all.emplace(value, 0);
  return floors_of(graph, all, {});
}

double floor_margin(int bits) {
  return bits == 8 ? 10 : 16;
}

}  // namespace taper
