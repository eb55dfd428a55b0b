// Reductions over axes.
#include <cmath>
#include <limits>

#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

Expected<std::vector<bool>> reduced_axes(const Attrs& attrs, std::size_t rank) {
  std::vector<bool> reduced(rank, false);
  for (const std::int64_t dim : attrs.integers("dims")) {
    TAPER_ASSIGN(const std::size_t axis, normalize_axis(dim, rank));
    reduced[axis] = true;
  }
  return reduced;
}

Expected<std::vector<Type>> infer_reduction(const InferCall& call) {
  TAPER_ASSIGN(const std::vector<bool> reduced, reduced_axes(call.attrs, call.shape(0).size()));
  Type out{call.type(0).dtype, {}};
  for (std::size_t axis = 0; axis < reduced.size(); ++axis) {
    if (!reduced[axis]) out.shape.push_back(call.shape(0)[axis]);
    if (reduced[axis] && call.attrs.flag("keepdim")) out.shape.emplace_back(1);
  }
  return std::vector{std::move(out)};
}

// Folds the elements of each result into `start` with `fold`, in row-major order.
template <auto Fold>
Expected<Array> fold_axes(const EvalCall& call, double start) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const std::vector<bool> reduced, reduced_axes(call.attrs, x.shape.size()));
  std::vector<std::int64_t> kept_shape, shape;
  for (std::size_t axis = 0; axis < reduced.size(); ++axis) {
    kept_shape.push_back(reduced[axis] ? 1 : x.shape[axis]);
    if (!reduced[axis] || call.attrs.flag("keepdim")) shape.push_back(kept_shape.back());
  }
  const std::vector<std::int64_t> strides = row_major_strides(kept_shape);
  Array out = make_array(x.dtype, shape);
  std::ranges::fill(out.values, start);
  std::vector<std::int64_t> index(x.shape.size(), 0);
  std::int64_t at = 0;
  for (const double value : x.values) {
    double& target = out.values[static_cast<std::size_t>(at)];
    target = Fold(target, value);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      if (!reduced[axis]) at += strides[axis];
      if (++index[axis] < x.shape[axis]) break;
      if (!reduced[axis]) at -= strides[axis] * x.shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

Expected<std::vector<Array>> eval_mean(const EvalCall& call) {
  TAPER_ASSIGN(Array out, fold_axes<[](double sum, double x) { return sum + x; }>(call, 0));
  const double count = static_cast<double>(call.operand(0).values.size()) / static_cast<double>(out.values.size());
  for (double& value : out.values) value /= count;
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_sum(const EvalCall& call) {
  TAPER_ASSIGN(Array out, fold_axes<[](double sum, double x) { return sum + x; }>(call, 0));
  return std::vector{std::move(out)};
}

Expected<std::vector<Array>> eval_amax(const EvalCall& call) {
  const auto larger = [](double a, double b) { return std::isnan(a) || a > b ? a : b; };
  TAPER_ASSIGN(Array out, fold_axes<larger>(call, -std::numeric_limits<double>::infinity()));
  return std::vector{std::move(out)};
}

Op reduction(std::string_view name, std::string_view doc, EvalFn eval, tflite::BuiltinOperator builtin,
             std::string_view since, std::string_view tensorflow) {
  using Options = tflite::ReducerOptionsT;
  return {.name = name,
          .doc = doc,
          .operands = {"x"},
          .attrs = {{"dims", AttrKind::integers}, {"keepdim", AttrKind::flag, false}},
          .infer = infer_reduction,
          .eval = eval,
          .tflite = {.builtin = builtin,
                     .since = since,
                     .inputs = {operand(0), attr_tensor("dims")},
                     .options = tflite_options<Options>(OptionField<Options, bool>{&Options::keep_dims, "keepdim"})},
          .tensorflow = {.op = tensorflow,
                         .inputs = {operand(0), attr_tensor("dims")},
                         .attrs = {{"keep_dims", "keepdim"}}},
          .examples = {{{{DType::f32, {2, 3, 4}}}, {{"dims", std::vector<std::int64_t>{-1}}, {"keepdim", true}}},
                       {{{DType::f32, {2, 3, 4}}}, {{"dims", std::vector<std::int64_t>{1}}}}}};
}

}  // namespace

std::vector<Op> reduce_ops() {
  std::vector<Op> rows;
  rows.push_back(reduction("mean", "the arithmetic mean over the axes `dims`", eval_mean, tflite::BuiltinOperator::MEAN,
                           "1.6.0", "Mean"));
  rows.push_back(reduction("amax", "the largest over the axes `dims`", eval_amax, tflite::BuiltinOperator::REDUCE_MAX,
                           "1.11.0", "Max"));
  rows.push_back(
      reduction("sum", "the sum over the axes `dims`", eval_sum, tflite::BuiltinOperator::SUM, "1.10.0", "Sum"));
  // ReduceMean and ReduceMax take their axes as an attribute until opset 17, ReduceSum as an input since 13.
  rows[0].onnx = {
      .op_type = "ReduceMean", .inputs = {operand(0)}, .attrs = {{"axes", "dims"}, {"keepdims", "keepdim"}}};
  rows[1].onnx = {.op_type = "ReduceMax", .inputs = {operand(0)}, .attrs = {{"axes", "dims"}, {"keepdims", "keepdim"}}};
  rows[2].onnx = {
      .op_type = "ReduceSum", .inputs = {operand(0), attr_tensor("dims")}, .attrs = {{"keepdims", "keepdim"}}};
  return rows;
}

}  // namespace taper
