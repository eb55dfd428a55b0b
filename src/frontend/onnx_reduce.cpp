// ONNX's reductions, and norms over axes.
#include <cmath>
#include <numeric>

#include "frontend/onnx_importer.h"
#include "frontend/padding.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

struct Axes {
  Integers dims;
  bool keepdim = true;
};

// Axes as an attribute or, in newer versions, as an operand. None: all axes, or none at all with
// noop_with_empty_axes.
Axes axes_of(Call& call) {
  Axes axes;
  axes.keepdim = call.flag("keepdims", true);
  const bool noop = call.flag("noop_with_empty_axes", false);
  const std::size_t rank = call.rank(0);
  if (const auto given = call.integers("axes")) {
    axes.dims = *given;
  } else if (call.has(1)) {
    axes.dims = call.integers_of(1);
  }
  if (call.failed()) return axes;
  for (std::int64_t& dim : axes.dims) dim = call.axis(dim, rank);
  if (axes.dims.empty() && !noop) {
    axes.dims.resize(rank);
    std::iota(axes.dims.begin(), axes.dims.end(), std::int64_t{0});
  }
  return axes;
}

Value* reduce(Call& call, std::string_view op, Value* x, const Axes& axes, std::string_view name = {}) {
  if (axes.dims.empty()) return x;
  return call.build(op, {x}, {{"dims", axes.dims}, {"keepdim", axes.keepdim}}, name);
}

// Means of integers have no fractions.
void read_integer_mean(Call& call, Value* x, const Axes& axes) {
  Dim count = 1;
  for (const std::int64_t dim : axes.dims) count = count * x->type.shape[static_cast<std::size_t>(dim)];
  Value* sum = reduce(call, "sum", x, axes);
  call.set(0, call.build("trunc_divide", {sum, size_as_number(call.build, count, x->type.dtype)}, {}, call.name()));
}

template <int kKind>
void read_plain(Call& call) {
  static constexpr std::string_view kOps[] = {"sum", "mean", "amax", "amin", "prod"};
  const Axes axes = axes_of(call);
  Value* x = call.x(0);
  if (call.failed()) return;
  const bool is_bool = x->type.dtype == DType::boolean;
  if (is_bool && (kKind == 2 || kKind == 3))
    return call.set(0, reduce(call, kKind == 2 ? "any" : "all", x, axes, call.name()));
  if (kKind == 1 && !is_floating(x->type.dtype)) return read_integer_mean(call, x, axes);
  call.set(0, reduce(call, kOps[kKind], x, axes, call.name()));
}

Value* as_real(Call& call, Value* x) {
  return is_floating(x->type.dtype) ? x : call.cast(x, DType::f64);
}

// ln sum, sum |x|, sqrt sum x^2, sum x^2. Integers are computed as float64 where a root or logarithm follows.
void read_log_sum(Call& call) {
  const Axes axes = axes_of(call);
  if (call.failed()) return;
  Value* x = call.x(0);
  const DType dtype = x->type.dtype;
  Value* log = call.build("log", {reduce(call, "sum", as_real(call, x), axes)});
  call.set(0, call.cast(log, dtype, call.name()));
}

void read_log_sum_exp(Call& call) {
  const Axes axes = axes_of(call);
  Value* x = call.x(0);
  if (call.failed()) return;
  if (axes.dims.empty()) return call.set(0, x);
  const DType dtype = x->type.dtype;
  x = as_real(call, x);
  // The largest is taken out, so that nothing overflows; infinities stay.
  Axes kept = axes;
  kept.keepdim = true;
  Value* largest = reduce(call, "amax", x, kept);
  // Where all are -inf, or one is inf, the difference with the largest would be NaN.
  Value* zero = call.build("zeros_like", {largest});
  largest = call.build("where", {call.build("is_inf", {largest}), zero, largest});
  Value* sum = reduce(call, "sum", call.build("exp", {call.build("sub", {x, largest})}), axes);
  Value* back = axes.keepdim ? largest : call.squeeze(largest, axes.dims);
  call.set(0, call.cast(call.build("add", {call.build("log", {sum}), back}), dtype, call.name()));
}

void read_l1(Call& call) {
  const Axes axes = axes_of(call);
  if (call.failed()) return;
  call.set(0, reduce(call, "sum", call.build("abs", {call.x(0)}), axes, call.name()));
}

Value* square(Call& call, Value* x) {
  return call.build("mul", {x, x});
}

void read_sum_square(Call& call) {
  const Axes axes = axes_of(call);
  if (call.failed()) return;
  call.set(0, reduce(call, "sum", square(call, call.x(0)), axes, call.name()));
}

void read_l2(Call& call) {
  const Axes axes = axes_of(call);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  Value* sum = reduce(call, "sum", square(call, call.x(0)), axes);
  const DType real = is_floating(dtype) ? dtype : DType::f64;
  call.set(0, call.cast(call.build("sqrt", {call.cast(sum, real)}), dtype, call.name()));
}

// Softmax and LogSoftmax: before opset 13 over all axes from one on, taken as one.
template <bool kLog>
void read_softmax(Call& call) {
  const Shape shape = call.shape(0);
  const std::int64_t axis = call.axis(call.integer("axis", call.version < 13 ? 1 : -1), shape.size());
  Value* x = call.x(0);
  if (call.failed()) return;
  const char* op = kLog ? "log_softmax" : "softmax";
  const bool last = axis + 1 == static_cast<std::int64_t>(shape.size());
  if (call.version >= 13 || last) return call.set(0, call.build(op, {x}, {{"dim", axis}}, call.name()));
  const Shape outer(shape.begin(), shape.begin() + axis), inner(shape.begin() + axis, shape.end());
  Value* flat = call.reshape(x, Shape{element_count(outer), element_count(inner)});
  call.set(0, call.reshape(call.build(op, {flat}, {{"dim", std::int64_t{-1}}}), shape, call.name()));
}

// x / |x|_p over an axis
void read_lp_normalization(Call& call) {
  const std::int64_t axis = call.axis(call.integer("axis", -1), call.rank(0));
  const std::int64_t p = call.integer("p", 2);
  Value* x = call.x(0);
  if (call.failed()) return;
  if (p != 1 && p != 2) return call.fail(fmt::format("p is {}, expected 1 or 2", p));
  const Axes axes{{axis}, true};
  Value* norm = p == 1 ? reduce(call, "sum", call.build("abs", {x}), axes)
                       : call.build("sqrt", {reduce(call, "sum", square(call, x), axes)});
  // Zeros stay zeros.
  const DType dtype = x->type.dtype;
  Value* safe = call.build("where", {call.build("equal", {norm, call.number(0, dtype)}), call.number(1, dtype), norm});
  call.set(0, call.build("div", {x, safe}, {}, call.name()));
}

// (x - mean) / sqrt(var + 1e-9) over axes
void read_mean_variance(Call& call) {
  const Axes axes{call.integers("axes").value_or(Integers{0, 2, 3}), true};
  Value* x = call.x(0);
  if (call.failed()) return;
  Value* centred = call.build("sub", {x, reduce(call, "mean", x, axes)});
  Value* deviation = call.build("sqrt", {reduce(call, "mean", square(call, centred), axes)});
  call.set(0, call.build("div", {centred, call.binary("add", deviation, 1e-9)}, {}, call.name()));
}

}  // namespace

std::vector<Row> reduce_rows() {
  return {
      {.op = "ReduceSum", .read = read_plain<0>},
      {.op = "ReduceMean", .read = read_plain<1>},
      {.op = "ReduceMax", .read = read_plain<2>},
      {.op = "ReduceMin", .read = read_plain<3>},
      {.op = "ReduceProd", .read = read_plain<4>},
      {.op = "ReduceLogSum", .read = read_log_sum},
      {.op = "ReduceLogSumExp", .read = read_log_sum_exp},
      {.op = "ReduceL1", .read = read_l1},
      {.op = "ReduceL2", .read = read_l2},
      {.op = "ReduceSumSquare", .read = read_sum_square},
      {.op = "Softmax", .read = read_softmax<false>},
      {.op = "LogSoftmax", .read = read_softmax<true>},
      {.op = "LpNormalization", .read = read_lp_normalization},
      {.op = "MeanVarianceNormalization", .since = 9, .read = read_mean_variance},
  };
}

}  // namespace taper::onnx_reader
