#include "passes/quantize_bias.h"

#include <algorithm>
#include <cmath>

#include "ops/builder.h"
#include "ops/evaluate.h"
#include "ops/grid.h"
#include "ops/table.h"

namespace taper {
namespace {

// The weight less what is stored of it, as float32.
Tensor lost_weight(const Tensor& weight, const Value& stored) {
  Array rounded = to_array(*constant_of(&stored));
  round_to_grid(rounded, *stored.quantization);
  const Array exact = to_array(converted(weight, DType::f32));
  for (std::size_t i = 0; i < rounded.values.size(); ++i) rounded.values[i] = exact.values[i] - rounded.values[i];
  return to_tensor(rounded);
}

}  // namespace

bool can_shift(const Node& node) {
  const QuantizedForm& form = op_of(node).quantized;
  if (!form.bias || !form.weight || node.operands.size() <= *form.weight) return false;
  const Value& x = *node.operands[0];
  return x.type.dtype == DType::f32 && !x.type.shape.empty() && x.type.shape.back().constant() &&
         constant_of(node.operands[*form.weight]) != nullptr;
}

std::optional<std::vector<double>> lost_means(const Node& node, const Value& stored, const LayerInputs& inputs) {
  const QuantizedForm& form = op_of(node).quantized;
  const std::vector<double> means = inputs.means.means();
  if (!can_shift(node) || means.empty() || std::ranges::all_of(means, [](double mean) { return mean == 0; }))
    return std::nullopt;
  Array x{DType::f32, inputs.shape, {}};
  // A matrix does the same in all places.
  if (constant_of(node.operands[*form.weight])->rank() == 2) x.shape = {1, inputs.shape.back()};
  const std::int64_t count = checked_element_count(x.shape).value_or(0);
  x.values.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) x.values.push_back(means[static_cast<std::size_t>(i) % means.size()]);

  Graph graph;
  Builder build(graph);
  std::vector<Value*> operands = {
      graph.add_input("x", {DType::f32, {x.shape.begin(), x.shape.end()}}),
      build.constant(lost_weight(*constant_of(node.operands[*form.weight]), stored), "lost")};
  for (std::size_t i = operands.size(); i < node.operands.size(); ++i) {
    const bool absent = form.bias == i || node.operands[i] == nullptr;
    const Tensor* constant = absent ? nullptr : constant_of(node.operands[i]);
    if (!absent && constant == nullptr) return std::nullopt;
    operands.push_back(absent ? nullptr : build.constant(*constant, "fixed"));
  }
  Attrs attrs = node.attrs;
  if (attrs.find("activation") != nullptr) attrs.set("activation", std::string("none"));
  Value* y = build(node.op, operands, attrs, "y");
  if (y == nullptr) return std::nullopt;
  graph.add_output("y", y);
  const auto results = evaluate(graph, {std::move(x)});
  if (!results || results->front().values.empty()) return std::nullopt;
  const Array& lost = results->front();
  std::vector<double> shifts(static_cast<std::size_t>(lost.shape.back()), 0);
  for (std::size_t i = 0; i < lost.values.size(); ++i) shifts[i % shifts.size()] += lost.values[i];
  const std::size_t places = lost.values.size() / shifts.size();
  for (double& shift : shifts) shift /= static_cast<double>(places);
  if (!std::ranges::all_of(shifts, [](double shift) { return std::isfinite(shift); })) return std::nullopt;
  return shifts;
}

}  // namespace taper
