// Operators that normalise along an axis.
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/families.h"
#include "ops/merged_axes.h"

namespace taper {
namespace {

// Calls `f` for each run along the axis `dim`.
template <class F>
Expected<std::vector<Array>> map_runs(const EvalCall& call, F f) {
  Array x = call.operand(0);
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("dim"), x.shape.size()));
  const AxisView view = axis_view(x.shape, axis);
  if (x.values.empty()) return std::vector{std::move(x)};
  std::vector<double> run(static_cast<std::size_t>(view.size));
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t i = 0; i < view.inner; ++i) {
      double* first = x.values.data() + o * view.size * view.inner + i;
      for (std::int64_t k = 0; k < view.size; ++k) run[static_cast<std::size_t>(k)] = first[k * view.inner];
      f(std::span(run));
      for (std::int64_t k = 0; k < view.size; ++k) first[k * view.inner] = run[static_cast<std::size_t>(k)];
    }
  return std::vector{std::move(x)};
}

// Calls `f(row, size)` for each run along the last axis.
template <class F>
Expected<std::vector<Array>> map_rows(Array x, F f) {
  const auto size = static_cast<std::size_t>(x.shape.back());
  for (std::size_t at = 0; at < x.values.size(); at += size) f(std::span(x.values).subspan(at, size));
  return std::vector{std::move(x)};
}

Expected<std::vector<Type>> infer_last_axis(const InferCall& call) {
  if (call.shape(0).empty()) return fail("x is a scalar, expected at least one axis");
  return same_as_first(call);
}

Expected<std::vector<Type>> infer_axis(const InferCall& call) {
  TAPER_ASSIGN([[maybe_unused]] const std::size_t axis,
               normalize_axis(call.attrs.integer("dim"), call.shape(0).size()));
  return same_as_first(call);
}

bool counts_last_axis_from_end(const Node& node) {
  return node.attrs.integer("dim") == -1;
}
// TFLite and TensorFlow know the last axis only, of five at most.
constexpr std::size_t kMostSoftmaxAxes = 5;
bool is_last_of_few_axes(const Node& node) {
  return axis_of(node) + 1 == node.operands[0]->type.shape.size() && !has_more_axes(node, kMostSoftmaxAxes);
}

// The axis changes places with the last one before and after.
std::vector<Value*> expand_on_last_axis(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (has_more_axes(node, kMostSoftmaxAxes)) return call_around_axis(build, node, operands);
  const std::size_t rank = node.operands[0]->type.shape.size();
  std::vector<std::int64_t> order(rank);
  std::iota(order.begin(), order.end(), 0);
  const std::int64_t dim = node.attrs.integer("dim");
  std::swap(order[static_cast<std::size_t>(dim < 0 ? dim + static_cast<std::int64_t>(rank) : dim)], order[rank - 1]);
  const Attrs swap = {{"dims", order}};
  return {build("permute", {build(node.op, {build("permute", {operands[0]}, swap)})}, swap)};
}

const AttrSpec kDim = {"dim", AttrKind::integer, std::int64_t{-1}};
const std::vector<std::int64_t> kLastAxis = {-1};

double maximum_of(std::span<const double> row) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const double x : row) largest = std::max(largest, x);
  return largest;
}

double sum_of_exponentials(std::span<const double> row, double shift) {
  double sum = 0;
  for (const double x : row) sum += std::exp(x - shift);
  return sum;
}

Op softmax() {
  using Options = tflite::SoftmaxOptionsT;
  return {
      .name = "softmax",
      .doc = "exp(x - max x) / sum exp(x - max x) over axis `dim`",
      .operands = {"x"},
      .attrs = {kDim},
      .infer = infer_axis,
      .eval =
          [](const EvalCall& call) {
            return map_runs(call, [](std::span<double> row) {
              const double largest = maximum_of(row);
              const double sum = sum_of_exponentials(row, largest);
              for (double& x : row) x = std::exp(x - largest) / sum;
            });
          },
      .per_step = true,
      .per_step_if = counts_last_axis_from_end,
      .expand = expand_on_last_axis,
      .onnx = {.op_type = "Softmax", .inputs = {operand(0)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::SOFTMAX,
                 .since = "1.5.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<Options>(FixedOption<Options, float>{&Options::beta, 1.0f}),
                 .fits = is_last_of_few_axes},
      .tensorflow = {.op = "Softmax", .result = "softmax", .inputs = {operand(0)}, .fits = is_last_of_few_axes},
      .examples = {{{f32({2, 3, 5})}},
                   {{f32({2, 3, 4})}, {{"dim", std::int64_t{1}}}},
                   {{f32({2, 1, 3, 2, 2, 3})}, {{"dim", std::int64_t{2}}}},
                   {{f32({2, 1, 2, 1, 2, 2, 3})}}},
  };
}

Op log_softmax() {
  return {
      .name = "log_softmax",
      .doc = "x - max x - ln sum exp(x - max x) over axis `dim`",
      .operands = {"x"},
      .attrs = {kDim},
      .infer = infer_axis,
      .eval =
          [](const EvalCall& call) {
            return map_runs(call, [](std::span<double> row) {
              const double largest = maximum_of(row);
              const double shift = largest + std::log(sum_of_exponentials(row, largest));
              for (double& x : row) x -= shift;
            });
          },
      .per_step = true,
      .per_step_if = counts_last_axis_from_end,
      .expand = expand_on_last_axis,
      .onnx = {.op_type = "LogSoftmax", .inputs = {operand(0)}, .attrs = {{"axis", "dim"}}},
      .tflite = {.builtin = tflite::BuiltinOperator::LOG_SOFTMAX,
                 .since = "1.14.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<tflite::LogSoftmaxOptionsT>(),
                 .fits = is_last_of_few_axes},
      .tensorflow = {.op = "LogSoftmax", .result = "logsoftmax", .inputs = {operand(0)}, .fits = is_last_of_few_axes},
      .examples = {{{f32({2, 3, 5})}},
                   {{f32({2, 3, 4})}, {{"dim", std::int64_t{0}}}},
                   {{f32({2, 1, 3, 2, 2, 3})}, {{"dim", std::int64_t{-4}}}}},
  };
}

Expected<std::vector<Type>> infer_layer_norm(const InferCall& call) {
  if (!is_floating(call.type(0).dtype)) return fail("x is {}, expected floating numbers", type_text(call.type(0)));
  TAPER_ASSIGN(std::vector<Type> types, infer_last_axis(call));
  for (std::size_t i = 1; i <= 2; ++i)
    if (call.has(i) && call.shape(i) != Shape{types[0].shape.back()})
      return fail("{} has shape {}, expected [{}]", i == 1 ? "gamma" : "beta", shape_text(call.shape(i)),
                  types[0].shape.back().text());
  return types;
}

// gamma * (x - mean) / sqrt(var + eps) + beta, var the biased variance (divided by the size of the axis).
Expected<std::vector<Array>> eval_layer_norm(const EvalCall& call) {
  const double eps = call.attrs.real("eps");
  return map_rows(call.operand(0), [&](std::span<double> row) {
    double mean = 0, variance = 0;
    for (const double x : row) mean += x;
    mean /= static_cast<double>(row.size());
    for (const double x : row) variance += (x - mean) * (x - mean);
    variance /= static_cast<double>(row.size());
    const double scale = 1 / std::sqrt(variance + eps);
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = (row[i] - mean) * scale;
      if (call.has(1)) row[i] *= call.operand(1).values[i];
      if (call.has(2)) row[i] += call.operand(2).values[i];
    }
  });
}

std::vector<Value*> expand_layer_norm(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* x = operands[0];
  const Attrs last = {{"dims", kLastAxis}, {"keepdim", true}};
  Value* mean = build("mean", {x}, last);
  Value* variance = build("mean", {build("squared_difference", {x, mean})}, last);
  Value* scale = build("rsqrt", {build("add", {variance, build.scalar(node.attrs.real("eps"))})});
  Value* y = build("mul", {build("sub", {x, mean}), scale});
  if (operands.size() > 1 && operands[1] != nullptr) y = build("mul", {y, operands[1]});
  if (operands.size() > 2 && operands[2] != nullptr) y = build("add", {y, operands[2]});
  return {y};
}

Op layer_norm() {
  return {
      .name = "layer_norm",
      .doc = "gamma * (x - mean x) / sqrt(var x + eps) + beta over the last axis, with the biased variance",
      .operands = {"x", "gamma?", "beta?"},
      .attrs = {{"eps", AttrKind::real, 1e-5}},
      .infer = infer_layer_norm,
      .eval = eval_layer_norm,
      .per_step = true,
      .expand = expand_layer_norm,
      .onnx = {.op_type = "LayerNormalization",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"epsilon", "eps"}},
               .fixed = {{"axis", std::int64_t{-1}}},
               .fits = [](const Node& node) { return node.operands.size() > 1 && node.operands[1] != nullptr; }},
      .examples = {{{f32({2, 3, 8}), f32({8}), f32({8})}}, {{f32({4, 8})}, {{"eps", 1e-6}}}},
  };
}

}  // namespace

std::vector<Op> normalization_ops() {
  return {softmax(), log_softmax(), layer_norm()};
}

}  // namespace taper
