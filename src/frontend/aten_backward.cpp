// Gradients, as programs hold them that differentiate: what a loss changes by an operator's input, given what it
// changes by its output.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// Which results are asked for; the others are None.
bool is_wanted(const Call& call, std::size_t index) {
  const auto* mask = call.arg("output_mask").as<Arg::List>();
  const bool* flag = mask == nullptr || index >= mask->size() ? nullptr : (*mask)[index].as<bool>();
  return flag != nullptr && *flag;
}

// The three gradients of an input, a weight and a bias, each built if it is wanted.
template <class OfInput, class OfWeight, class OfBias>
Expected<Arg> wanted_gradients(const Call& call, OfInput of_input, OfWeight of_weight, OfBias of_bias) {
  Arg::List gradients(3);
  if (is_wanted(call, 0)) {
    TAPER_ASSIGN(Value * gradient, Expected<Value*>(of_input()));
    gradients[0] = fresh(gradient);
  }
  if (is_wanted(call, 1)) {
    TAPER_ASSIGN(Value * gradient, Expected<Value*>(of_weight()));
    gradients[1] = fresh(gradient);
  }
  if (is_wanted(call, 2)) {
    TAPER_ASSIGN(Value * gradient, Expected<Value*>(of_bias()));
    gradients[2] = fresh(gradient);
  }
  return Arg(std::move(gradients));
}

Value* times(Builder& build, Value* a, Value* b) {
  return build("mul", {a, b});
}
Value* times(Builder& build, Value* a, double b) {
  return build("mul", {a, number(build, b, DType::f32)});
}
Value* plus(Builder& build, Value* a, double b) {
  return build("add", {a, number(build, b, DType::f32)});
}

// --------------------------------------------------------------------------------------------------------------- norms

// dx of y = (x - mean) scale, where both are statistics of x over `dims`: scale (g - mean(g) - y mean(g y)).
Value* through_statistics(Builder& build, Value* g, Value* y, Value* scale, const Integers& dims) {
  Value* along = times(build, y, reduce(build, "mean", times(build, g, y), dims, true));
  Value* rest = build("sub", {build("sub", {g, reduce(build, "mean", g, dims, true)}), along});
  return times(build, scale, rest);
}

Expected<Arg> layer_norm_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_out");
  Value* x = call.tensor("input");
  Value* weight = call.tensor("weight");
  Value* scale = call.tensor("rstd");
  const Shape normalized = call.sizes("normalized_shape");
  const std::size_t rank = x->type.shape.size();
  if (normalized.empty() || normalized.size() > rank)
    return fail("axes {} of {}", shape_text(normalized), shape_text(x->type.shape));
  Integers outer = all_axes(rank);
  const Integers inner(outer.end() - static_cast<std::ptrdiff_t>(normalized.size()), outer.end());
  outer.resize(rank - normalized.size());
  Value* normal = times(build, build("sub", {x, call.tensor("mean")}), scale);
  const auto of_input = [&] {
    Value* g = weight != nullptr ? times(build, dy, weight) : dy;
    return through_statistics(build, g, normal, scale, inner);
  };
  const auto of_weight = [&] { return reduce(build, "sum", times(build, dy, normal), outer, false); };
  const auto of_bias = [&] { return reduce(build, "sum", dy, outer, false); };
  return wanted_gradients(call, of_input, of_weight, of_bias);
}

// Over [batch, groups, channels of a group, entries].
Expected<Arg> group_norm_backward(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("input");
  const Shape shape = x->type.shape;
  const std::int64_t groups = call.integer("group");
  const auto channels = shape.size() < 2 ? std::nullopt : shape[1].constant();
  if (!channels || groups < 1 || *channels % groups != 0) return fail("{} groups of {}", groups, shape_text(shape));
  const Dim inside = element_count(Shape(shape.begin() + 2, shape.end()));
  const Shape grouped = {shape[0], Dim(groups), Dim(*channels / groups), inside};
  const Shape of_group = {shape[0], Dim(groups), 1, 1};
  const Shape of_channel = {1, Dim(groups), Dim(*channels / groups), 1};
  Value* dy = reshape(build, call.tensor("grad_out"), grouped);
  Value* scale = reshape(build, call.tensor("rstd"), of_group);
  Value* centred = build("sub", {reshape(build, x, grouped), reshape(build, call.tensor("mean"), of_group)});
  Value* normal = times(build, centred, scale);
  const auto of_input = [&] {
    Value* weight = call.tensor("weight");
    Value* g = weight != nullptr ? times(build, dy, reshape(build, weight, of_channel)) : dy;
    return reshape(build, through_statistics(build, g, normal, scale, {2, 3}), shape);
  };
  const auto per_channel = [&](Value* terms) {
    return reshape(build, reduce(build, "sum", terms, {0, 3}, false), {Dim(*channels)});
  };
  return wanted_gradients(
      call, of_input, [&] { return per_channel(times(build, dy, normal)); }, [&] { return per_channel(dy); });
}

// In training the statistics are those of the batch, which are computed anew.
Expected<Arg> batch_norm_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_out");
  Value* x = call.tensor("input");
  const std::size_t rank = x->type.shape.size();
  if (rank < 2) return fail("channels of {}", type_text(x->type));
  Integers dims = all_axes(rank);
  dims.erase(dims.begin() + 1);
  Shape of_channel(rank, Dim(1));
  of_channel[1] = x->type.shape[1];
  const bool training = call.flag("train");
  if (!training && (!call.given("running_mean") || !call.given("running_var"))) return fail("statistics are missing");
  Value* mean =
      training ? reduce(build, "mean", x, dims, true) : reshape(build, call.tensor("running_mean"), of_channel);
  Value* variance = training ? reduce(build, "mean", build("squared_difference", {x, mean}), dims, true)
                             : reshape(build, call.tensor("running_var"), of_channel);
  Value* scale = build("rsqrt", {plus(build, variance, call.real("eps"))});
  Value* normal = times(build, build("sub", {x, mean}), scale);
  const auto of_input = [&] {
    Value* weight = call.tensor("weight");
    Value* g = weight != nullptr ? times(build, dy, reshape(build, weight, of_channel)) : dy;
    return training ? through_statistics(build, g, normal, scale, dims) : times(build, g, scale);
  };
  const auto of_weight = [&] { return reduce(build, "sum", times(build, dy, normal), dims, false); };
  return wanted_gradients(call, of_input, of_weight, [&] { return reduce(build, "sum", dy, dims, false); });
}

// --------------------------------------------------------------------------------------------------------------- pools

// Whether a gradient can be that of a pool over the last two axes of an input.
Status check_pool(const Shape& gradient, const Shape& input) {
  if ((input.size() == 3 || input.size() == 4) && gradient.size() == input.size()) return {};
  return fail("{} of a pool of {}", shape_text(gradient), shape_text(input));
}

// The entries begin <= i < end of an axis that a window averages, and by what it divides their sum.
struct Window {
  std::int64_t begin, end;
  double divisor;
};

// dy along an axis of windows to dx along one of entries: the transpose of the averages, as a product with a matrix.
template <class WindowOf>
Value* spread(Builder& build, Value* dy, std::size_t axis, std::int64_t entries, WindowOf window_of) {
  const auto windows = shape_of(dy)[axis].constant().value_or(0);
  constexpr std::int64_t kMost = std::int64_t{1} << 22;
  if (windows < 1 || entries < 1 || windows > kMost / entries) {
    build.set_error({fmt::format("{} windows over {} entries", windows, entries), {}, {}});
    return nullptr;
  }
  std::vector<float> matrix(static_cast<std::size_t>(windows * entries), 0);
  for (std::int64_t i = 0; i < windows; ++i) {
    const Window window = window_of(i);
    for (std::int64_t j = window.begin; j < window.end; ++j)
      matrix[static_cast<std::size_t>(i * entries + j)] = static_cast<float>(1 / window.divisor);
  }
  return product_along(build, dy, axis, build.constant(tensor_f32({windows, entries}, matrix), "windows"));
}

// The axes of an image, which are the last two.
struct Plane {
  std::size_t axes[2];
  std::int64_t entries[2];
};
Expected<Plane> plane_of(const Value* x, const Value* dy) {
  const Shape& shape = shape_of(x);
  const std::size_t rank = shape.size();
  TAPER_TRY(check_pool(shape_of(dy), shape));
  Plane plane{{rank - 2, rank - 1}, {}};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto entries = shape[plane.axes[i]].constant();
    if (!entries || !shape_of(dy)[plane.axes[i]].constant())
      return fail("the gradient of a pool along an axis of open size");
    plane.entries[i] = *entries;
  }
  return plane;
}

Expected<Integers> pair_of(const Call& call, std::string_view name, const Integers& fallback) {
  Integers values = call.integers(name);
  if (values.empty()) values = fallback;
  if (values.size() == 1) values.push_back(values[0]);
  if (values.size() != 2) return fail("'{}' has {} entries, expected 2", name, values.size());
  return values;
}

Expected<Arg> avg_pool_backward(Call& call) {
  Builder& build = call.build;
  Value* dx = call.tensor("grad_output");
  TAPER_ASSIGN(const Plane plane, plane_of(call.tensor("self"), dx));
  TAPER_ASSIGN(const Integers kernel, pair_of(call, "kernel_size", {}));
  TAPER_ASSIGN(const Integers stride, pair_of(call, "stride", kernel));
  TAPER_ASSIGN(const Integers padding, pair_of(call, "padding", {0}));
  const bool counts_padding = call.flag("count_include_pad");
  const std::int64_t divisor = call.integer_or("divisor_override", 0);
  for (std::size_t i = 0; i < 2; ++i) {
    if (kernel[i] < 1 || stride[i] < 1 || padding[i] < 0 || padding[i] > kernel[i] / 2 || divisor < 0)
      return fail("windows of {} by steps of {} with padding {}", kernel[i], stride[i], padding[i]);
    const std::int64_t entries = plane.entries[i];
    dx = spread(build, dx, plane.axes[i], entries, [&](std::int64_t window) {
      const std::int64_t start = window * stride[i] - padding[i];
      const std::int64_t stop = std::min(start + kernel[i], entries + padding[i]);
      const std::int64_t begin = std::clamp<std::int64_t>(start, 0, entries);
      const std::int64_t end = std::clamp<std::int64_t>(stop, begin, entries);
      return Window{begin, end, divisor > 0 ? 1.0 : static_cast<double>(counts_padding ? stop - start : end - begin)};
    });
    TAPER_TRY(build.status());
  }
  return fresh(divisor > 0 ? times(build, dx, 1 / static_cast<double>(divisor)) : dx);
}

// Averages of a whole axis leave the same to each of its entries, whatever their number.
Expected<Arg> adaptive_avg_pool_backward(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* dx = call.tensor("grad_output");
  const Shape shape = x->type.shape;
  const std::size_t rank = shape.size();
  TAPER_TRY(check_pool(shape_of(dx), shape));
  for (const std::size_t axis : {rank - 2, rank - 1}) {
    const auto windows = shape_of(dx)[axis].constant();
    const auto entries = shape[axis].constant();
    if (windows == 1) {
      dx = build("div", {dx, number(build, Arg(shape[axis]), DType::f32)});
      continue;
    }
    if (!windows || !entries) return fail("the gradient of a pool along an axis of open size");
    dx = spread(build, dx, axis, *entries, [&](std::int64_t window) {
      const std::int64_t begin = window * *entries / *windows;
      const std::int64_t end = ((window + 1) * *entries + *windows - 1) / *windows;
      return Window{begin, end, static_cast<double>(end - begin)};
    });
    TAPER_TRY(build.status());
  }
  return fresh(expand(build, dx, shape));
}

// Each window gives to the entry that was its largest.
Expected<Arg> max_pool_backward(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* dy = call.tensor("grad_output");
  const Shape shape = x->type.shape;
  const std::size_t rank = shape.size();
  TAPER_TRY(check_pool(shape_of(dy), shape));
  const auto flat = [&](const Shape& sizes) {
    Shape result(sizes.begin(), sizes.end() - 2);
    result.push_back(sizes[rank - 2] * sizes[rank - 1]);
    return result;
  };
  const Shape entries = flat(shape), windows = flat(shape_of(dy));
  Value* zeros = full(build, entries, Arg(0.0), DType::f32);
  Value* indices = reshape(build, cast(build, call.tensor("indices"), DType::i64), windows);
  Value* dx = build("scatter_elements", {zeros, indices, reshape(build, dy, windows)},
                    {{"dim", static_cast<std::int64_t>(rank - 2)}, {"reduction", std::string("add")}});
  return fresh(reshape(build, dx, shape));
}

// -------------------------------------------------------------------------------------------------------- convolutions

struct Geometry {
  Integers stride, padding, dilation, kernel;
  std::int64_t groups;

  std::size_t axes() const { return kernel.size(); }
};

Expected<Geometry> geometry_of(const Call& call, const Shape& weight) {
  if (weight.size() < 3 || weight.size() > 5) return fail("a weight of {}", shape_text(weight));
  Geometry g{call.integers("stride"), call.integers("padding"), call.integers("dilation"), {}, call.integer("groups")};
  for (std::size_t i = 2; i < weight.size(); ++i) {
    const auto size = weight[i].constant();
    if (!size) return fail("a weight of {}", shape_text(weight));
    g.kernel.push_back(*size);
  }
  for (Integers* list : {&g.stride, &g.padding, &g.dilation}) {
    if (list->size() == 1) list->resize(g.axes(), list->front());
    if (list->size() != g.axes()) return fail("{} entries for {} axes", list->size(), g.axes());
  }
  constexpr std::int64_t kMost = 1 << 20;  // so that no product of them overflows
  for (std::size_t i = 0; i < g.axes(); ++i)
    if (g.stride[i] < 1 || g.dilation[i] < 1 || g.padding[i] < 0 ||
        std::max({g.stride[i], g.dilation[i], g.padding[i], g.kernel[i]}) > kMost)
      return fail("a convolution by steps of {}, with dilation {} and padding {}", g.stride[i], g.dilation[i],
                  g.padding[i]);
  if (g.groups < 1) return fail("{} groups", g.groups);
  return g;
}

Attrs attrs_of(const Geometry& g) {
  Integers both = g.padding;
  both.insert(both.end(), g.padding.begin(), g.padding.end());
  return {{"stride", g.stride}, {"padding", std::move(both)}, {"dilation", g.dilation}, {"groups", g.groups}};
}

// dx of a convolution: the transposed convolution of dy. Entries at the end that no window reached are zeros.
Expected<Value*> through_convolution(Builder& build, Value* dy, Value* weight, const Shape& x, const Geometry& g) {
  Integers further;
  bool cut = false;
  for (std::size_t i = 0; i < g.axes(); ++i) {
    const Dim reached =
        (shape_of(dy)[i + 2] - 1) * g.stride[i] + g.dilation[i] * (g.kernel[i] - 1) + 1 - 2 * g.padding[i];
    const auto rest = (x[i + 2] - reached).constant();
    cut = cut || !rest;
    further.push_back(rest.value_or(g.stride[i] - 1));
  }
  Attrs attrs = attrs_of(g);
  attrs.set("output_padding", std::move(further));
  Value* dx = build("conv_transpose", {dy, weight, nullptr}, std::move(attrs));
  for (std::size_t i = 0; cut && i < g.axes(); ++i) dx = slice(build, dx, i + 2, 0, x[i + 2]);
  return dx;
}

// dx of a transposed convolution: the convolution of dy.
Value* through_transposed(Builder& build, Value* dy, Value* weight, const Shape& x, const Geometry& g) {
  Value* dx = build("conv", {dy, weight, nullptr}, attrs_of(g));
  for (std::size_t i = 0; dx != nullptr && i < g.axes(); ++i) dx = slice(build, dx, i + 2, 0, x[i + 2]);
  return dx;
}

// The entries `step * stride + tap * dilation` of axis 2, tap by tap: [b, n, size, ...] to [b taps, n steps, ...].
Value* taps_apart(Builder& build, Value* x, const Dim& steps, std::int64_t taps, std::int64_t stride,
                  std::int64_t dilation) {
  const Shape shape = shape_of(x);
  Value* step = reshape(build, arange(build, 0, stride, steps, DType::i64), {1, steps});
  Value* tap = reshape(build, arange(build, 0, dilation, taps, DType::i64), {Dim(taps), 1});
  Value* places = reshape(build, build("add", {tap, step}), {steps * taps});
  Value* y = build("gather", {x, places}, {{"dim", std::int64_t{2}}});
  const Shape rest(shape.begin() + 3, shape.end());
  y = permute(build, reshape(build, y, {shape[0], shape[1], Dim(taps), steps, element_count(rest)}), {0, 2, 1, 3, 4});
  Shape joined = {shape[0] * taps, shape[1] * steps};
  joined.insert(joined.end(), rest.begin(), rest.end());
  return reshape(build, y, joined);
}

// The gradient of a weight [a, b / groups, taps...]: the sum over examples n and steps s of
// narrow[n, a, s] wide[n, b, stride s - padding + dilation tap], one product of matrices per group.
Expected<Value*> of_taps(Builder& build, Value* narrow, Value* wide, const Shape& weight, const Geometry& g) {
  const Shape steps = shape_of(narrow);
  const auto outputs = weight[0].constant(), inputs = weight[1].constant();
  if (!outputs || !inputs || *outputs % g.groups != 0) return fail("{} groups of {}", g.groups, shape_text(weight));
  Integers padding(g.axes() + 2, 0);
  std::ranges::copy(g.padding, padding.begin() + 2);
  Value* taken = build("pad", {wide}, {{"before", padding}, {"after", padding}});
  taken = transpose(build, taken, 0, 1);
  std::int64_t taps = 1;
  for (std::size_t i = 0; i < g.axes(); ++i) {
    TAPER_TRY(build.status());
    taken = taps_apart(build, taken, steps[i + 2], g.kernel[i], g.stride[i], g.dilation[i]);
    taps *= g.kernel[i];
  }
  const Dim summed = steps[0] * element_count(Shape(steps.begin() + 2, steps.end()));
  Value* rows = reshape(build, transpose(build, narrow, 0, 1), {Dim(g.groups), Dim(*outputs / g.groups), summed});
  Value* columns = reshape(build, taken, {Dim(g.groups), Dim(*inputs * taps), summed});
  return reshape(build, build("matmul", {rows, transpose(build, columns, 1, 2)}), weight);
}

Expected<Arg> convolution_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  Value* x = call.tensor("input");
  Value* weight = call.tensor("weight");
  const bool transposed = call.flag("transposed");
  TAPER_ASSIGN(const Geometry g, geometry_of(call, weight->type.shape));
  const std::size_t rank = weight->type.shape.size();
  if (x->type.shape.size() != rank || dy->type.shape.size() != rank)
    return fail("{}, {} and a weight of {}", type_text(dy->type), type_text(x->type), type_text(weight->type));
  const auto of_input = [&]() -> Expected<Value*> {
    if (transposed) return through_transposed(build, dy, weight, x->type.shape, g);
    return through_convolution(build, dy, weight, x->type.shape, g);
  };
  const auto of_weight = [&] {
    return of_taps(build, transposed ? x : dy, transposed ? dy : x, weight->type.shape, g);
  };
  Integers others = all_axes(rank);
  others.erase(others.begin() + 1);
  return wanted_gradients(call, of_input, of_weight, [&] { return reduce(build, "sum", dy, others, false); });
}

// -------------------------------------------------------------------------------------------------------------- tables

// Each row of the table gets what came of its uses; the row for padding gets nothing.
Expected<Arg> embedding_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  Value* indices = cast(build, call.tensor("indices"), DType::i64);
  if (dy->type.shape.empty()) return fail("the gradient of a table by a number");
  const Dim rows = call.size("num_weights"), width = dy->type.shape.back();
  const Dim uses = element_count(shape_of(indices));
  Value* given = reshape(build, dy, {uses, width});
  Value* each = reshape(build, indices, {uses});
  const auto add_up = [&](Value* terms, const Dim& columns) {
    return build("scatter_nd", {full(build, {rows, columns}, Arg(0.0), DType::f32), unsqueeze(build, each, 1), terms},
                 {{"reduction", std::string("add")}});
  };
  if (call.flag("scale_grad_by_freq")) {
    Value* counts = add_up(full(build, {uses, 1}, Arg(1.0), DType::f32), 1);
    given = build("div", {given, build("gather", {counts, each}, {{"dim", std::int64_t{0}}})});
  }
  if (const std::int64_t padding = call.integer("padding_idx"); padding >= 0) {
    Value* is_padding = unsqueeze(build, build("equal", {each, integer_number(build, padding)}), 1);
    given = build("where", {is_padding, number(build, 0.0, DType::f32), given});
  }
  return fresh(add_up(given, width));
}

// -------------------------------------------------------------------------------------------------- what is cut or
// masked

// dy in the place that was cut from a tensor of zeros.
Expected<Arg> cut_backward(Call& call, bool one) {
  const TensorPtr zeros = Tensor::make(full(call.build, call.sizes("input_sizes"), Arg(0.0), DType::f32));
  TAPER_TRY(call.build.status());
  std::vector<NamedArg> arguments = {{"", zeros}, {"", call.arg("grad_output")}, {"", call.arg("dim")}};
  if (one)
    arguments.push_back({"", call.arg("index")});
  else
    for (const char* name : {"start", "end", "step"}) arguments.push_back({"", call.arg(name)});
  return aten::call(call.context, one ? "select_scatter" : "slice_scatter", arguments);
}

Expected<Arg> dropout_backward(Call& call) {
  Builder& build = call.build;
  Value* kept = cast(build, call.tensor("mask"), DType::f32);
  return fresh(times(build, times(build, call.tensor("grad_output"), kept), call.real("scale")));
}

// ----------------------------------------------------------------------------------------------------------
// activations

// dy where the condition on x holds, `otherwise` elsewhere.
Value* where(Builder& build, std::string_view comparison, Value* x, double bound, Value* then, Value* otherwise) {
  return build("where", {build(comparison, {x, number(build, bound, DType::f32)}), then, otherwise});
}
Value* zero(Builder& build) {
  return number(build, 0.0, DType::f32);
}

Expected<Arg> threshold_backward(Call& call) {
  Builder& build = call.build;
  const double threshold = call.real("threshold");
  return fresh(where(build, "greater", call.tensor("self"), threshold, call.tensor("grad_output"), zero(build)));
}

Expected<Arg> hardtanh_backward(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* inside = where(build, "less", x, call.real("max_val"), call.tensor("grad_output"), zero(build));
  return fresh(where(build, "greater", x, call.real("min_val"), inside, zero(build)));
}

Expected<Arg> leaky_relu_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  return fresh(where(build, "greater", call.tensor("self"), 0, dy, times(build, dy, call.real("negative_slope"))));
}

// y = scale x above 0, scale alpha (exp(input_scale x) - 1) below; of y itself where `is_result`.
Expected<Arg> elu_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  Value* x = call.tensor("self_or_result");
  const double scale = call.real("scale"), inner = call.real("input_scale"), steepness = scale * call.real("alpha");
  Value* slope = call.flag("is_result") ? times(build, plus(build, x, steepness), inner)
                                        : times(build, build("exp", {times(build, x, inner)}), steepness * inner);
  return fresh(where(build, "greater", x, 0, times(build, dy, scale), times(build, dy, slope)));
}

// x / 6 + 1 / 2 between -3 and 3
Expected<Arg> hardsigmoid_backward(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* inside = where(build, "less", x, 3, times(build, call.tensor("grad_output"), 1.0 / 6), zero(build));
  return fresh(where(build, "greater", x, -3, inside, zero(build)));
}

// x times the above
Expected<Arg> hardswish_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  Value* x = call.tensor("self");
  Value* inside = times(build, dy, plus(build, times(build, x, 1.0 / 3), 0.5));
  return fresh(where(build, "less_equal", x, -3, zero(build), where(build, "less", x, 3, inside, dy)));
}

Expected<Arg> sigmoid_backward(Call& call) {
  Builder& build = call.build;
  Value* y = call.tensor("output");
  Value* slope = times(build, y, build("sub", {number(build, 1.0, DType::f32), y}));
  return fresh(times(build, call.tensor("grad_output"), slope));
}

Expected<Arg> tanh_backward(Call& call) {
  Builder& build = call.build;
  Value* y = call.tensor("output");
  return fresh(
      times(build, call.tensor("grad_output"), build("sub", {number(build, 1.0, DType::f32), times(build, y, y)})));
}

// s (1 + x (1 - s)), s = sigmoid(x)
Expected<Arg> silu_backward(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  Value* s = build("sigmoid", {x});
  Value* rest = plus(build, times(build, x, build("sub", {number(build, 1.0, DType::f32), s})), 1);
  return fresh(times(build, call.tensor("grad_output"), times(build, s, rest)));
}

// exp(z) / (1 + exp(z)), z = beta x; 1 beyond the threshold
Expected<Arg> softplus_backward(Call& call) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  Value* z = times(build, call.tensor("self"), call.real("beta"));
  return fresh(where(build, "greater", z, call.real("threshold"), dy, times(build, dy, build("sigmoid", {z}))));
}

// The slope of x times the normal distribution's integral, or of its approximation by tanh.
Value* gelu_slope(Builder& build, Value* x, bool by_tanh) {
  if (!by_tanh) {
    Value* integral = plus(build, times(build, build("erf", {times(build, x, 1 / std::numbers::sqrt2)}), 0.5), 0.5);
    Value* bell = build("exp", {times(build, times(build, x, x), -0.5)});
    return build("add",
                 {integral, times(build, times(build, x, bell), std::numbers::inv_sqrtpi / std::numbers::sqrt2)});
  }
  constexpr double kCubic = 0.044715;
  const double kScale = std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
  Value* square = times(build, x, x);
  Value* t = build("tanh", {times(build, times(build, x, plus(build, times(build, square, kCubic), 1)), kScale)});
  Value* inner = plus(build, times(build, square, 3 * kCubic * kScale), kScale);
  Value* steep = times(build, build("sub", {number(build, 1.0, DType::f32), times(build, t, t)}), inner);
  return build("add", {plus(build, times(build, t, 0.5), 0.5), times(build, times(build, x, steep), 0.5)});
}

Expected<Arg> gelu_backward(Call& call) {
  const std::string& approximation = call.text("approximate");
  if (approximation != "none" && approximation != "tanh") return fail("gelu '{}' is not known", approximation);
  Value* slope = gelu_slope(call.build, call.tensor("self"), approximation == "tanh");
  return fresh(times(call.build, call.tensor("grad_output"), slope));
}

// y (dy - sum(y dy)), or for its logarithm dy - exp(y) sum(dy)
Expected<Arg> softmax_backward(Call& call, bool logarithm) {
  Builder& build = call.build;
  Value* dy = call.tensor("grad_output");
  Value* y = call.tensor("output");
  TAPER_ASSIGN(const std::size_t axis, call.axis("dim", y->type.shape.size()));
  if (y->type.shape.empty()) return fail("an axis of a number");
  const Integers dims = {static_cast<std::int64_t>(axis)};
  if (logarithm)
    return fresh(build("sub", {dy, times(build, build("exp", {y}), reduce(build, "sum", dy, dims, true))}));
  Value* share = times(build, y, dy);
  return fresh(build("sub", {share, times(build, y, reduce(build, "sum", share, dims, true))}));
}

// 2 (x - target) dy, divided by the number of entries for their mean
Expected<Arg> mse_loss_backward(Call& call) {
  constexpr std::int64_t kMean = 1;
  Builder& build = call.build;
  Value* difference = build("sub", {call.tensor("self"), call.tensor("target")});
  TAPER_TRY(build.status());
  Value* slope = times(build, difference, 2);
  if (call.integer("reduction") == kMean)
    slope = build("div", {slope, number(build, Arg(element_count(difference->type.shape)), DType::f32)});
  return fresh(times(build, call.tensor("grad_output"), slope));
}

}  // namespace

std::vector<Overload> backward_overloads() {
  return {
      {"native_layer_norm_backward(Tensor grad_out, Tensor input, SymInt[] normalized_shape, Tensor mean, Tensor rstd, "
       "Tensor? weight, Tensor? bias, bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
       layer_norm_backward},
      {"native_group_norm_backward(Tensor grad_out, Tensor input, Tensor mean, Tensor rstd, Tensor? weight, SymInt N, "
       "SymInt C, SymInt HxW, int group, bool[3] output_mask) -> (Tensor, Tensor, Tensor)",
       group_norm_backward},
      {"native_batch_norm_backward(Tensor grad_out, Tensor input, Tensor? weight, Tensor? running_mean, Tensor? "
       "running_var, Tensor? save_mean, Tensor? save_invstd, bool train, float eps, bool[3] output_mask) -> (Tensor, "
       "Tensor, Tensor)",
       batch_norm_backward},
      {"avg_pool2d_backward(Tensor grad_output, Tensor self, int[2] kernel_size, int[2] stride, int[2] padding, bool "
       "ceil_mode, bool count_include_pad, int? divisor_override) -> Tensor",
       avg_pool_backward},
      {"_adaptive_avg_pool2d_backward(Tensor grad_output, Tensor self) -> Tensor", adaptive_avg_pool_backward},
      {"max_pool2d_with_indices_backward(Tensor grad_output, Tensor self, int[2] kernel_size, int[2] stride, int[2] "
       "padding, int[2] dilation, bool ceil_mode, Tensor indices) -> Tensor",
       max_pool_backward},
      {"convolution_backward(Tensor grad_output, Tensor input, Tensor weight, SymInt[]? bias_sizes, int[] stride, "
       "int[] padding, int[] dilation, bool transposed, int[] output_padding, int groups, bool[3] output_mask) -> "
       "(Tensor, Tensor, Tensor)",
       convolution_backward},
      {"embedding_dense_backward(Tensor grad_output, Tensor indices, SymInt num_weights, int padding_idx, bool "
       "scale_grad_by_freq) -> Tensor",
       embedding_backward},
      {"select_backward(Tensor grad_output, SymInt[] input_sizes, int dim, SymInt index) -> Tensor",
       [](Call& call) { return cut_backward(call, true); }},
      {"slice_backward(Tensor grad_output, SymInt[] input_sizes, int dim, SymInt start, SymInt end, SymInt step) -> "
       "Tensor",
       [](Call& call) { return cut_backward(call, false); }},
      {"native_dropout_backward(Tensor grad_output, Tensor mask, float scale) -> Tensor", dropout_backward},
      {"threshold_backward(Tensor grad_output, Tensor self, Scalar threshold) -> Tensor", threshold_backward},
      {"hardtanh_backward(Tensor grad_output, Tensor self, Scalar min_val, Scalar max_val) -> Tensor",
       hardtanh_backward},
      {"leaky_relu_backward(Tensor grad_output, Tensor self, Scalar negative_slope, bool self_is_result) -> Tensor",
       leaky_relu_backward},
      {"elu_backward(Tensor grad_output, Scalar alpha, Scalar scale, Scalar input_scale, bool is_result, Tensor "
       "self_or_result) -> Tensor",
       elu_backward},
      {"hardsigmoid_backward(Tensor grad_output, Tensor self) -> Tensor", hardsigmoid_backward},
      {"hardswish_backward(Tensor grad_output, Tensor self) -> Tensor", hardswish_backward},
      {"sigmoid_backward(Tensor grad_output, Tensor output) -> Tensor", sigmoid_backward},
      {"tanh_backward(Tensor grad_output, Tensor output) -> Tensor", tanh_backward},
      {"silu_backward(Tensor grad_output, Tensor self) -> Tensor", silu_backward},
      {"softplus_backward(Tensor grad_output, Tensor self, Scalar beta, Scalar threshold) -> Tensor",
       softplus_backward},
      {"gelu_backward(Tensor grad_output, Tensor self, *, str approximate='none') -> Tensor", gelu_backward},
      {"_softmax_backward_data(Tensor grad_output, Tensor output, int dim, ScalarType input_dtype) -> Tensor",
       [](Call& call) { return softmax_backward(call, false); }},
      {"_log_softmax_backward_data(Tensor grad_output, Tensor output, int dim, ScalarType input_dtype) -> Tensor",
       [](Call& call) { return softmax_backward(call, true); }},
      {"mse_loss_backward(Tensor grad_output, Tensor self, Tensor target, int reduction) -> Tensor", mse_loss_backward},
  };
}

}  // namespace taper::aten
