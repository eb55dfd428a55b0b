// Pools and resampling with channels last, as TFLite and TensorFlow have them.
#include <cmath>
#include <limits>

#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/moves.h"
#include "ops/rules.h"
#include "ops/table.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

constexpr double kLowest = -std::numeric_limits<double>::infinity();

Integers inner_kernel(const Attrs& attrs) {
  const Integers& kernel = attrs.integers("kernel");
  return kernel.size() < 2 ? Integers{} : Integers(kernel.begin() + 1, kernel.end() - 1);
}

Expected<std::vector<Type>> infer_pool_last(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Integers kernel = inner_kernel(call.attrs);
  if (x.size() != 4 || kernel.size() != 2 || !is_floating(call.type(0).dtype))
    return fail("x is {}, expected floating numbers [N, H, W, C]", type_text(call.type(0)));
  TAPER_ASSIGN(Shape counts, channels_last_counts(x, kernel, call.attrs));
  counts.insert(counts.begin(), x[0]);
  counts.push_back(x[3]);
  return std::vector{Type{call.type(0).dtype, std::move(counts)}};
}

template <bool is_mean>
Expected<std::vector<Array>> eval_pool_last(const EvalCall& call) {
  const Array& given = call.operand(0);
  const Windows windows = channels_last_windows(given.shape, inner_kernel(call.attrs), call.attrs);
  const Array x = last_to_first(given);
  std::vector<std::int64_t> shape = {x.size(0), x.size(1)};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t room = x.shape[axis + 2] + windows.before[axis] + windows.after[axis] - windows.kernel[axis];
    if (room < 0) return fail("a window of size {} in an axis of size {}", windows.kernel[axis], x.shape[axis + 2]);
    shape.push_back(room / windows.stride[axis] + 1);
  }
  const Grid grid = grid_of(std::span(x.shape).subspan(2), std::span(shape).subspan(2), windows);
  Array y = make_array(x.dtype, shape);
  if (!is_mean) std::ranges::fill(y.values, kLowest);
  std::vector<double> counts(static_cast<std::size_t>(grid.out_count()), 0);
  for_each_run(grid, [&](std::int64_t, std::int64_t window, std::int64_t, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) ++counts[static_cast<std::size_t>(window + i)];
  });
  for (std::int64_t plane = 0; plane < x.size(0) * x.size(1); ++plane) {
    const double* from = x.values.data() + plane * grid.in_count();
    double* to = y.values.data() + plane * grid.out_count();
    for_each_run(grid, [&](std::int64_t, std::int64_t window, std::int64_t at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        const double entry = from[at + i * grid.stride[2]];
        double& value = to[window + i];
        value = is_mean ? value + entry : (std::isnan(value) || value > entry ? value : entry);
      }
    });
    if (is_mean)
      for (std::size_t i = 0; i < counts.size(); ++i) to[i] /= counts[i];
  }
  return std::vector{first_to_last(y)};
}

Op pool_last(std::string_view name, std::string_view doc, EvalFn eval, tflite::BuiltinOperator builtin,
             std::string_view tensorflow) {
  const auto attrs = [](Integers kernel, Integers stride, std::string padding) {
    return Attrs{{"kernel", std::move(kernel)}, {"stride", std::move(stride)}, {"padding", std::move(padding)}};
  };
  return {
      .name = name,
      .doc = doc,
      .operands = {"x"},
      .attrs = {{"kernel", AttrKind::integers}, {"stride", AttrKind::integers}, {"padding", AttrKind::text}},
      .infer = infer_pool_last,
      .eval = eval,
      .expands_if = padding_is_known,
      .expand_onnx = expand_pool_onnx,
      .tflite = {.builtin = builtin,
                 .since = "1.5.0",
                 .inputs = {operand(0)},
                 .options = window_options<tflite::Pool2DOptionsT>()},
      .tensorflow = {.op = tensorflow,
                     .inputs = {operand(0)},
                     .attrs = {{"ksize", "kernel"}, {"strides", "stride"}, {"padding", "padding"}}},
      .examples = {{{f32({1, 5, 6, 3})}, attrs({1, 3, 3, 1}, {1, 2, 2, 1}, "SAME")},
                   {{f32({2, 5, 6, 3})}, attrs({1, 2, 3, 1}, {1, 2, 1, 1}, "VALID")}},
  };
}

Value* build_pool(Builder& build, Value* x, std::string_view row, Integers kernel, Integers stride,
                  const std::string& padding) {
  for (Integers* entries : {&kernel, &stride}) {
    entries->insert(entries->begin(), 1);
    entries->push_back(1);
  }
  if (kernel == Integers{1, 1, 1, 1} && stride == kernel) return x;
  return build(row, {x}, {{"kernel", kernel}, {"stride", stride}, {"padding", padding}});
}

}  // namespace

// Three axes are pooled in two steps: height and width in planes, then depth beside them.
std::vector<Value*> expand_pool(Builder& build, const Node& node, Value* x, std::string_view row, double value) {
  const std::size_t axes = node.operands[0]->type.shape.size() - 2;
  const Windows windows = over_two_axes(accepted_windows(node.attrs, node.attrs.integers("kernel")));
  Shape spatial = spatial_sizes(node.operands[0]->type.shape);
  if (axes == 1) spatial.insert(spatial.begin(), Dim(1));
  Value* last = to_channels_last(build, x, axes);
  if (axes < 3) {
    const auto [padded, padding] = apply_padding(build, last, spatial, windows, value);
    return {to_channels_first(build, build_pool(build, padded, row, windows.kernel, windows.stride, padding), axes)};
  }
  Integers before = windows.before, after = windows.after;
  for (Integers* amounts : {&before, &after}) {
    amounts->insert(amounts->begin(), 0);
    amounts->push_back(0);
  }
  if (std::ranges::max(before) > 0 || std::ranges::max(after) > 0)
    last = build("pad", {last}, {{"before", before}, {"after", after}, {"value", value}});
  if (last == nullptr) return {nullptr};
  const Shape in = last->type.shape;
  const Shape& out = node.results[0]->type.shape;
  const auto reshaped = [&](Value* from, Shape shape) {
    return build("reshape", {from}, {{"shape", std::move(shape)}});
  };
  Value* y = reshaped(last, {in[0] * in[1], in[2], in[3], in[4]});
  y = build_pool(build, y, row, {windows.kernel[1], windows.kernel[2]}, {windows.stride[1], windows.stride[2]},
                 "VALID");
  y = reshaped(y, {in[0], in[1], out[3] * out[4], in[4]});
  y = build_pool(build, y, row, {windows.kernel[0], 1}, {windows.stride[0], 1}, "VALID");
  y = reshaped(y, {in[0], out[2], out[3], out[4], in[4]});
  return {to_channels_first(build, y, 3)};
}

namespace {

// ---------------------------------------------------------------------------------------------------------- resampling

Expected<std::vector<Type>> infer_resize_last(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Shape& size = call.attrs.get<Shape>("size");
  if (x.size() != 4 || size.size() != 2 || call.type(1) != Type{DType::i32, Shape{2}} ||
      call.type(0).dtype != DType::f32)
    return fail("x is {}, sizes {}, expected f32 [N, H, W, C] and i32[2]", type_text(call.type(0)),
                type_text(call.type(1)));
  constexpr std::int64_t kLargestAxis = 1 << 24;
  for (std::size_t axis = 0; axis < 2; ++axis)
    for (const Dim& dim : {x[axis + 1], size[axis]})
      if (dim.constant().value_or(1) < 1 || dim.constant().value_or(1) > kLargestAxis)
        return fail("{} resized to {}", shape_text(x), shape_text(size));
  if (call.attrs.flag("align_corners") && call.attrs.flag("half_pixel_centers"))
    return fail("corners are aligned and centers half a pixel away");
  return std::vector{Type{call.type(0).dtype, {x[0], size[0], size[1], x[3]}}};
}

// Those of `resize`, which has channels first.
Attrs channels_first_resize(const Attrs& attrs, Shape sizes, bool is_linear) {
  const bool half_pixel = attrs.flag("half_pixel_centers"), corners = attrs.flag("align_corners");
  return {{"sizes", std::move(sizes)},
          {"mode", std::string(is_linear ? "linear" : "nearest")},
          {"coordinates", std::string(corners      ? "align_corners"
                                      : half_pixel ? "half_pixel"
                                                   : "asymmetric")},
          {"rounding", std::string(half_pixel || corners ? "round_prefer_ceil" : "floor")}};
}

template <bool is_linear>
std::vector<Value*> expand_resize_last_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Attrs attrs = channels_first_resize(node.attrs, node.attrs.get<Shape>("size"), is_linear);
  return {to_channels_last(build, build("resize", {to_channels_first(build, operands[0], 2)}, attrs), 2)};
}

template <bool is_linear>
Expected<std::vector<Array>> eval_resize_last(const EvalCall& call) {
  TAPER_ASSIGN(const auto size, evaluate(call.attrs.get<Shape>("size"), call.bindings));
  if (std::ranges::min(size) < 1) return fail("a size of {}", std::ranges::min(size));
  Attrs attrs = channels_first_resize(call.attrs, to_shape(size), is_linear);
  const Op& resize = *find_op("resize");
  TAPER_TRY(complete_attrs(resize, attrs));
  const Array x = last_to_first(call.operand(0));
  const Array* const operands[] = {&x};
  TAPER_ASSIGN(auto results, resize.eval({operands, attrs, call.regions, call.bindings}));
  return std::vector{first_to_last(results[0])};
}

Status read_resize_size(std::span<Value* const> operands, Attrs& attrs) {
  return resolve_height_and_width(operands.size() > 1 ? operands[1] : nullptr, 2, 0, "resampling to", attrs);
}

template <class Options, bool is_linear>
Op resize_last(std::string_view name, std::string_view doc, tflite::BuiltinOperator builtin, std::string_view since,
               std::string_view tensorflow) {
  return {
      .name = name,
      .doc = doc,
      .operands = {"x", "sizes"},
      .attrs = {{"size", AttrKind::shape},
                {"align_corners", AttrKind::flag, false},
                {"half_pixel_centers", AttrKind::flag, false}},
      .infer = infer_resize_last,
      .eval = eval_resize_last<is_linear>,
      .expand_onnx = expand_resize_last_onnx<is_linear>,
      .tflite = {.builtin = builtin,
                 .version = 3,
                 .since = since,
                 .inputs = {operand(0), operand(1)},
                 .options = tflite_options<Options>(
                     OptionField<Options, bool>{&Options::align_corners, "align_corners"},
                     OptionField<Options, bool>{&Options::half_pixel_centers, "half_pixel_centers"}),
                 .read_operands = read_resize_size},
      .tensorflow = {.op = tensorflow,
                     .result = "resized_images",
                     .inputs = {operand(0), operand(1)},
                     .attrs = {{"align_corners", "align_corners"}, {"half_pixel_centers", "half_pixel_centers"}},
                     .read_operands = read_resize_size},
  };
}

}  // namespace

std::vector<Op> pooling_last_ops() {
  return {pool_last("max_pool_nhwc", "the largest of each window of x [N, H, W, C]; padding SAME or VALID",
                    eval_pool_last<false>, tflite::BuiltinOperator::MAX_POOL_2D, "MaxPool"),
          pool_last("avg_pool_nhwc", "the mean of the elements in each window of x [N, H, W, C]; padding SAME or VALID",
                    eval_pool_last<true>, tflite::BuiltinOperator::AVERAGE_POOL_2D, "AvgPool"),
          resize_last<tflite::ResizeBilinearOptionsT, true>(
              "resize_bilinear_nhwc", "x [N, H, W, C] resampled linearly to `size`, which `sizes` holds",
              tflite::BuiltinOperator::RESIZE_BILINEAR, "2.2.0", "ResizeBilinear"),
          resize_last<tflite::ResizeNearestNeighborOptionsT, false>(
              "resize_nearest_nhwc", "the nearest entries of x [N, H, W, C] in the sizes `size`, which `sizes` holds",
              tflite::BuiltinOperator::RESIZE_NEAREST_NEIGHBOR, "2.3.0", "ResizeNearestNeighbor")};
}

}  // namespace taper
