// Resampling: images in another size, and images read at given places.
#include <cmath>
#include <limits>
#include <numeric>

#include "base/ratio.h"
#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/resampling.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

constexpr std::int64_t kLargestAxis = 1 << 24;

bool is_one_of(const std::string& text, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, std::string_view(text)) != names.end();
}

// -------------------------------------------------------------------------------------------------------------- resize

Expected<std::vector<Type>> infer_resize(const InferCall& call) {
  TAPER_TRY(check_channels_first(call.type(0)));
  const Shape& x = call.shape(0);
  const Shape& sizes = call.attrs.get<Shape>("sizes");
  const Tensor& scales = call.attrs.get<Tensor>("scales");
  if (sizes.size() != x.size() - 2) return fail("sizes {} for x of shape {}", shape_text(sizes), shape_text(x));
  if (!is_one_of(call.attrs.text("mode"), {"nearest", "linear", "cubic"}))
    return fail("mode is '{}', expected nearest, linear or cubic", call.attrs.text("mode"));
  if (!is_one_of(call.attrs.text("coordinates"), {"half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"}))
    return fail("coordinates are '{}'", call.attrs.text("coordinates"));
  if (!is_one_of(call.attrs.text("rounding"), {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}))
    return fail("rounding is '{}'", call.attrs.text("rounding"));
  if (scales.rank() != 1 || (scales.shape[0] != 0 && scales.shape[0] != static_cast<std::int64_t>(sizes.size())))
    return fail("scales are {}, expected none or {}", describe(scales), sizes.size());
  for (const double scale : to_double(scales))
    if (!(scale > 0 && scale < 1e6)) return fail("a scale of {}", scale);
  Shape shape = {x[0], x[1]};
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const std::int64_t in = x[axis + 2].constant().value_or(1), out = sizes[axis].constant().value_or(1);
    if (in < 1 || out < 1 || in > kLargestAxis || out > kLargestAxis)
      return fail("axis {} of size {} resized to {}", axis + 2, x[axis + 2].text(), sizes[axis].text());
    shape.push_back(sizes[axis]);
  }
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Array resample_axis(const Array& x, std::size_t axis, const Sampling& sampling) {
  const AxisView view = axis_view(x.shape, axis);
  std::vector<std::int64_t> shape = x.shape;
  shape[axis] = sampling.out;
  Array y = make_array(x.dtype, shape);
  for (std::int64_t i = 0; i < sampling.out; ++i)
    for (const auto& [entry, weight] : shares_of(sampling, i))
      for (std::int64_t o = 0; o < view.outer; ++o) {
        const double* from = x.values.data() + (o * view.size + entry) * view.inner;
        double* to = y.values.data() + (o * sampling.out + i) * view.inner;
        for (std::int64_t k = 0; k < view.inner; ++k) to[k] += weight * from[k];
      }
  return y;
}

Expected<std::vector<Array>> eval_resize(const EvalCall& call) {
  Array x = call.operand(0);
  TAPER_ASSIGN(const auto sizes, evaluate(call.attrs.get<Shape>("sizes"), call.bindings));
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const std::int64_t in = x.shape[axis + 2], out = sizes[axis];
    if (in < 1 || out < 1 || in > kLargestAxis || out > kLargestAxis)
      return fail("axis {} of size {} resized to {}", axis + 2, in, out);
    x = resample_axis(x, axis + 2, sampling_of(call.attrs, axis, in, out));
  }
  return std::vector{std::move(x)};
}

// An axis that stays as it is.
bool is_same_axis(const Sampling& sampling, const Dim& in, const Dim& out) {
  return in == out && !in.constant() && (sampling.scale == 0 || sampling.scale == 1);
}

// Axis by axis a product with the matrix of shares, or for `nearest` a choice of entries. Where a size is open, both
// are computed when the file runs.
std::vector<Value*> expand_resize(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& from = node.operands[0]->type.shape;
  const Shape& to = node.results[0]->type.shape;
  Value* x = operands[0];
  for (std::size_t axis = 2; axis < from.size(); ++axis) {
    const auto in = from[axis].constant(), out = to[axis].constant();
    const Sampling sampling = sampling_of(node.attrs, axis - 2, in.value_or(1), out.value_or(1));
    if (is_same_axis(sampling, from[axis], to[axis])) continue;
    if (!in || !out) {
      x = resample_open_axis(build, x, axis, sampling, from[axis], to[axis]);
      continue;
    }
    if (sampling.mode == "nearest") {
      Integers entries;
      for (std::int64_t i = 0; i < sampling.out; ++i) entries.push_back(shares_of(sampling, i)[0].entry);
      Value* index = build.constant(converted(tensor_i64({sampling.out}, entries), DType::i32), "entries");
      x = build("gather", {x, index}, {{"dim", static_cast<std::int64_t>(axis)}});
      continue;
    }
    std::vector<float> matrix(static_cast<std::size_t>(sampling.out * sampling.in), 0);
    bool is_identity = sampling.in == sampling.out;
    for (std::int64_t i = 0; i < sampling.out; ++i) {
      for (const auto& [entry, weight] : shares_of(sampling, i))
        matrix[static_cast<std::size_t>(i * sampling.in + entry)] += static_cast<float>(weight);
      is_identity = is_identity && matrix[static_cast<std::size_t>(i * sampling.in + i)] == 1;
    }
    if (!is_identity)
      x = multiply_along_axis(build, x, axis, from.size(), tensor_f32({sampling.out, sampling.in}, matrix));
  }
  return {x};
}

// Whether the result's sizes are what the scales say, so that both give the same places.
bool scales_are_exact(const Node& node) {
  const std::vector<double> scales = to_double(node.attrs.get<Tensor>("scales"));
  const Shape from = spatial_sizes(node.operands[0]->type.shape);
  const Shape& to = node.attrs.get<Shape>("sizes");
  for (std::size_t axis = 0; axis < scales.size(); ++axis) {
    const auto in = from[axis].constant(), out = to[axis].constant();
    const bool whole = scales[axis] == std::floor(scales[axis]);
    if (in && out ? static_cast<double>(*in) * scales[axis] != static_cast<double>(*out)
                  : !whole || to[axis] != from[axis] * static_cast<std::int64_t>(scales[axis]))
      return false;
  }
  return true;
}

// Whether the operators for images with channels last say the call.
bool fits_resize_last(const Node& node) {
  const std::string& mode = node.attrs.text("mode");
  const std::string& coordinates = node.attrs.text("coordinates");
  const std::string& rounding = node.attrs.text("rounding");
  const Shape& sizes = node.attrs.get<Shape>("sizes");
  const bool one_entry = std::ranges::any_of(sizes, [](const Dim& size) { return size.is(1); });
  if (sizes.size() > 2 || node.attrs.flag("antialias") || !scales_are_exact(node) ||
      node.operands[0]->type.dtype != DType::f32 || (coordinates == "pytorch_half_pixel" && one_entry))
    return false;
  if (mode == "linear") return true;
  return mode == "nearest" && ((coordinates == "asymmetric" && rounding == "floor") ||
                               (coordinates == "half_pixel" && rounding == "round_prefer_ceil"));
}

// pytorch_half_pixel takes the first entry where the result has one. So does half_pixel of x [N, C, *S] that is cut to
// that entry where its open `sizes` turn out to be one.
Value* cut_for_one_entry(Builder& build, Value* x, const Shape& sizes) {
  for (std::size_t i = 0; i < sizes.size() && !build.failed(); ++i) {
    const Dim& in = x->type.shape[i + 2];
    if (in == sizes[i] || !may_be_one(sizes[i])) continue;
    const Dim end = 1 + (in - 1) * dim_min(sizes[i] - 1, 1);
    x = build("slice", {x}, {{"dim", static_cast<std::int64_t>(i + 2)}, {"end", Shape{end}}});
  }
  return x;
}

std::vector<Value*> expand_resize_last(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (!fits_resize_last(node)) return expand_resize(build, node, operands);
  const std::string& coordinates = node.attrs.text("coordinates");
  Shape sizes = node.attrs.get<Shape>("sizes");
  const std::size_t axes = sizes.size();
  if (axes == 1) sizes.insert(sizes.begin(), Dim(1));
  const auto numbers = constant_sizes(sizes);
  Value* size = numbers ? build.constant(converted(tensor_i64({2}, *numbers), DType::i32), "sizes")
                        : build("sizes", {}, {{"sizes", sizes}, {"dtype", DType::i32}});
  const std::string_view row = node.attrs.text("mode") == "linear" ? "resize_bilinear_nhwc" : "resize_nearest_nhwc";
  Value* x = operands[0];
  if (coordinates == "pytorch_half_pixel") x = cut_for_one_entry(build, x, node.attrs.get<Shape>("sizes"));
  Value* y = build(row, {to_channels_last(build, x, axes), size},
                   {{"size", sizes},
                    {"align_corners", coordinates == "align_corners"},
                    {"half_pixel_centers", coordinates == "half_pixel" || coordinates == "pytorch_half_pixel"}});
  return {to_channels_first(build, y, axes)};
}

std::vector<AttrSpec> resize_attrs() {
  return {{"sizes", AttrKind::shape},
          {"mode", AttrKind::text},
          {"coordinates", AttrKind::text, std::string("half_pixel")},
          {"scales", AttrKind::tensor, make_tensor(DType::f64, {0}, {})},
          {"rounding", AttrKind::text, std::string("round_prefer_floor")},
          {"cubic_coeff_a", AttrKind::real, -0.75},
          {"antialias", AttrKind::flag, false}};
}

// Whether a size times a scale, which ONNX's runtime multiplies in float32, is the size that is wanted.
bool scales_in_float32(const Dim& in, const Dim& out, double scale) {
  const auto product = [scale](std::int64_t size) {
    return static_cast<std::int64_t>(static_cast<float>(size) * static_cast<float>(scale));
  };
  if (in.constant() && out.constant()) return product(*in.constant()) == *out.constant();
  const auto ratio = simple_ratio(static_cast<float>(scale));
  return ratio && !first_missed_size(static_cast<float>(scale), *ratio) &&
         out == floor_divide(in * Dim(ratio->over), Dim(ratio->under));
}

// How often ONNX's runtime would repeat each entry of an axis of open size, where that is known.
std::optional<std::int64_t> repeats_of(const Dim& in, const Dim& out, double scale) {
  const auto quotient = divide_exactly(out, in);
  const auto repeats = quotient ? quotient->constant() : std::nullopt;
  return repeats && (scale == 0 || scale == static_cast<double>(*repeats)) ? repeats : std::nullopt;
}

// Whether ONNX's runtime takes the same entries. Of open sizes whole multiples alone are known, by a size whose places
// are as near to the next entries as those of others.
bool takes_nearest_of_onnx(const Node& node) {
  const Shape from = spatial_sizes(node.operands[0]->type.shape);
  const Shape& to = node.attrs.get<Shape>("sizes");
  constexpr std::int64_t kTelling = 1024, kMostRepeats = 1024;
  for (std::size_t axis = 0; axis < to.size(); ++axis) {
    Sampling sampling = sampling_of(node.attrs, axis, from[axis].constant().value_or(kTelling), 1);
    if (from[axis].constant() && to[axis].constant()) {
      sampling.out = *to[axis].constant();
    } else {
      const auto repeats = repeats_of(from[axis], to[axis], sampling.scale);
      if (!repeats || *repeats > kMostRepeats) return false;
      sampling.out = sampling.in * *repeats;
    }
    if (!is_nearest_of_onnx(sampling)) return false;
  }
  return true;
}

// ONNX from opset 18 on has antialiasing; its runtime takes cubic kernels for two spatial axes alone.
bool fits_onnx_resize(const Node& node) {
  const Shape from = spatial_sizes(node.operands[0]->type.shape);
  const Shape& to = node.attrs.get<Shape>("sizes");
  const std::vector<double> scales = to_double(node.attrs.get<Tensor>("scales"));
  for (std::size_t axis = 0; axis < scales.size(); ++axis)
    if (!scales_in_float32(from[axis], to[axis], scales[axis])) return false;
  if (node.attrs.text("mode") == "nearest" && !takes_nearest_of_onnx(node)) return false;
  return !node.attrs.flag("antialias") && (node.attrs.text("mode") != "cubic" || from.size() == 2);
}

// Sizes of all axes as an operand, or the scales where they are given.
std::vector<Value*> expand_resize_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (!fits_onnx_resize(node)) return expand_resize(build, node, operands);
  const Tensor& given = node.attrs.get<Tensor>("scales");
  const Shape& shape = node.results[0]->type.shape;
  Value* scales = nullptr;
  Value* sizes = nullptr;
  if (given.shape[0] != 0) {
    std::vector<float> all = {1, 1};
    for (const double scale : to_double(given)) all.push_back(static_cast<float>(scale));
    scales = build.constant(tensor_f32({static_cast<std::int64_t>(all.size())}, all), "scales");
  } else if (const auto numbers = constant_sizes(shape)) {
    sizes = build.constant(tensor_i64({static_cast<std::int64_t>(numbers->size())}, *numbers), "sizes");
  } else {
    sizes = build("sizes", {}, {{"sizes", shape}, {"dtype", DType::i64}});
  }
  return {build("onnx_resize", {operands[0], nullptr, scales, sizes}, node.attrs)};
}

// Matrices beyond this would be larger than what they save.
bool resize_expands(const Node& node, Target target) {
  if (target == Target::onnx ? fits_onnx_resize(node) : fits_resize_last(node)) return true;
  const Shape from = spatial_sizes(node.operands[0]->type.shape);
  const Shape to = spatial_sizes(node.results[0]->type.shape);
  const bool nearest = node.attrs.text("mode") == "nearest";
  constexpr std::int64_t kMostElements = 1 << 24;
  for (std::size_t axis = 0; axis < from.size(); ++axis) {
    const auto in = from[axis].constant(), out = to[axis].constant();
    if (in && out ? *in * *out > kMostElements && !nearest : !nearest && node.operands[0]->type.dtype != DType::f32)
      return false;
  }
  return true;
}

std::vector<Example> resize_examples() {
  const auto attrs = [](Shape sizes, std::string mode, std::string coordinates,
                        std::string rounding = "round_prefer_floor") {
    return Attrs{{"sizes", std::move(sizes)},
                 {"mode", std::move(mode)},
                 {"coordinates", std::move(coordinates)},
                 {"rounding", std::move(rounding)}};
  };
  return {{{f32({2, 3, 4})}, attrs({8}, "linear", "half_pixel")},
          {{f32({1, 2, 4, 5})}, attrs({8, 10}, "nearest", "asymmetric", "floor")},
          {{f32({1, 2, 4, 5})}, attrs({6, 9}, "nearest", "half_pixel", "round_prefer_ceil")},
          {{f32({1, 2, 4, 5})}, attrs({8, 10}, "linear", "half_pixel")},
          {{f32({1, 2, 4, 5})}, attrs({7, 3}, "linear", "align_corners")},
          {{f32({1, 2, 4, 5})}, attrs({8, 7}, "cubic", "half_pixel")},
          {{f32({1, 2, 3, 4, 5})}, attrs({6, 8, 7}, "linear", "half_pixel")}};
}

Op resize() {
  std::vector<Example> examples = resize_examples();
  examples.push_back(
      {{f32({1, 2, 9, 8})}, {{"sizes", Shape{4, 3}}, {"mode", std::string("linear")}, {"antialias", true}}});
  return {
      .name = "resize",
      .doc =
          "x [N, C, *S] resampled to the spatial `sizes`: the nearest entry, or weights of a linear or cubic kernel "
          "around where each entry lies in x; antialias widens the kernel where x shrinks (as PyTorch, with "
          "cubic_coeff_a -0.5 there)",
      .operands = {"x"},
      .attrs = resize_attrs(),
      .infer = infer_resize,
      .eval = eval_resize,
      .expand = expand_resize,
      .expands_if = resize_expands,
      .expand_onnx = expand_resize_onnx,
      .expand_tflite = expand_resize_last,
      .expand_tensorflow = expand_resize_last,
      .examples = std::move(examples),
  };
}

Op onnx_resize() {
  return {
      .name = "onnx_resize",
      .doc = "`resize` with the scales or the sizes of all axes as an operand, as ONNX takes them",
      .operands = {"x", "roi?", "scales?", "sizes?"},
      .attrs = resize_attrs(),
      .infer = infer_resize,
      .eval = [](const EvalCall& call) { return eval_resize(call); },
      .onnx = {.op_type = "Resize",
               .inputs = {operand(0), operand(1), operand(2), operand(3)},
               .attrs = {{"mode", "mode"},
                         {"coordinate_transformation_mode", "coordinates"},
                         {"nearest_mode", "rounding"},
                         {"cubic_coeff_a", "cubic_coeff_a"}},
               .fits = fits_onnx_resize},
  };
}

// --------------------------------------------------------------------------------------------------------- grid_sample

Expected<std::vector<Type>> infer_grid_sample(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Shape& grid = call.shape(1);
  const std::size_t axes = x.size() < 2 ? 0 : x.size() - 2;
  if (axes < 2 || axes > 3 || grid.size() != x.size() || grid[0] != x[0] ||
      !grid.back().is(static_cast<std::int64_t>(axes)) || call.type(1).dtype != call.type(0).dtype ||
      !is_floating(call.type(0).dtype))
    return fail("x is {}, grid {}, expected [N, C, H, W] and [N, *, *, 2], or one axis more and 3",
                type_text(call.type(0)), type_text(call.type(1)));
  if (!is_one_of(call.attrs.text("mode"), {"bilinear", "nearest", "bicubic"}))
    return fail("mode is '{}', expected bilinear, nearest or bicubic", call.attrs.text("mode"));
  if (call.attrs.text("mode") == "bicubic" && axes == 3) return fail("mode bicubic for three spatial axes");
  if (!is_one_of(call.attrs.text("padding_mode"), {"zeros", "border", "reflection"}))
    return fail("padding_mode is '{}', expected zeros, border or reflection", call.attrs.text("padding_mode"));
  if (std::ranges::any_of(spatial_sizes(x), [](const Dim& size) { return size.is(0); }))
    return fail("x has no elements: {}", shape_text(x));
  Shape shape = {x[0], x[1]};
  shape.insert(shape.end(), grid.begin() + 1, grid.end() - 1);
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

struct GridSampling {
  std::string mode, padding;
  bool align_corners;

  // From -1..1 to entries.
  double unnormalized(double x, std::int64_t size) const {
    const auto n = static_cast<double>(size);
    return align_corners ? (x + 1) / 2 * (n - 1) : ((x + 1) * n - 1) / 2;
  }
  // Where a place outside reads.
  double placed(double x, std::int64_t size) const {
    const auto n = static_cast<double>(size);
    if (padding == "reflection") {
      const double low = align_corners ? 0 : -0.5, span = align_corners ? n - 1 : n;
      if (span <= 0) return 0;
      const double distance = std::fabs(x - low), flips = std::floor(distance / span);
      const double rest = distance - flips * span;
      x = std::fmod(flips, 2) == 0 ? low + rest : low + span - rest;
    }
    return padding == "zeros" ? x : std::clamp(x, 0.0, n - 1);
  }
};

constexpr double kFarAway = 1e9;  // beyond any image, and still an integer

// The place that PyTorch's kernels for CPUs read for one that is NaN or infinite, which are others for images than for
// volumes; NaN: what they give is NaN.
double place_of_nonfinite(double place, const GridSampling& sampling, std::int64_t size, bool of_volume) {
  constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
  if (sampling.mode == "bicubic") return kNothing;
  if (sampling.padding == "zeros") return sampling.mode == "nearest" || of_volume ? -kFarAway : kNothing;
  if (sampling.padding == "border" && std::isinf(place)) return std::copysign(kFarAway, place);
  return of_volume ? static_cast<double>(size - 1) : 0;
}

// Entries around a place on one axis.
struct GridTaps {
  std::string mode;
  int first() const { return mode == "bicubic" ? -1 : 0; }
  int count() const { return mode == "bicubic" ? 4 : mode == "bilinear" ? 2 : 1; }
  double weight(double distance) const {
    if (mode == "nearest") return 1;
    if (mode == "bilinear") return std::max(0.0, 1 - std::fabs(distance));
    return kernel_at({.mode = "cubic"}, distance);
  }
};

Expected<std::vector<Array>> eval_grid_sample(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Array& grid = call.operand(1);
  const GridSampling s{call.attrs.text("mode"), call.attrs.text("padding_mode"), call.attrs.flag("align_corners")};
  const GridTaps taps{s.mode};
  const std::vector<std::int64_t> sizes(x.shape.begin() + 2, x.shape.end());
  const std::size_t axes = sizes.size();
  std::vector<std::int64_t> shape = {x.size(0), x.size(1)};
  shape.insert(shape.end(), grid.shape.begin() + 1, grid.shape.end() - 1);
  std::int64_t plane = 1, places = 1, combinations = 1;
  for (std::size_t axis = 0; axis < axes; ++axis) {
    plane *= sizes[axis];
    places *= shape[axis + 2];
    combinations *= taps.count();
  }
  if (plane == 0) return fail("x has no elements");
  const std::int64_t channels = x.size(1);
  Array y = make_array(x.dtype, shape);
  std::vector<double> at(axes), base(axes);
  for (std::int64_t i = 0; i < x.size(0) * places; ++i) {
    for (std::size_t axis = 0; axis < axes; ++axis) {
      // The last axis comes first in the grid.
      const double given = grid.values[static_cast<std::size_t>(i) * axes + axes - 1 - axis];
      const double place = s.unnormalized(given, sizes[axis]);
      at[axis] = std::isfinite(place) ? std::clamp(place, -kFarAway, kFarAway)
                                      : place_of_nonfinite(place, s, sizes[axis], axes == 3);
      if (s.mode != "bicubic") at[axis] = s.placed(at[axis], sizes[axis]);
      base[axis] = s.mode == "nearest" ? std::nearbyint(at[axis]) : std::floor(at[axis]);
    }
    const auto result_of = [&](std::int64_t c) -> double& {
      return y.values[static_cast<std::size_t>((i / places * channels + c) * places + i % places)];
    };
    if (std::ranges::any_of(at, [](double place) { return std::isnan(place); })) {
      for (std::int64_t c = 0; c < channels; ++c) result_of(c) = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    for (std::int64_t combination = 0; combination < combinations; ++combination) {
      std::int64_t rest = combination, entry = 0;
      double share = 1;
      for (std::size_t axis = 0; axis < axes; ++axis, rest /= taps.count()) {
        double e = base[axis] + taps.first() + static_cast<double>(rest % taps.count());
        share *= taps.weight(at[axis] - e);
        if (s.mode == "bicubic") e = std::nearbyint(s.placed(e, sizes[axis]));
        if (e < 0 || e >= static_cast<double>(sizes[axis])) share = 0;
        entry = share == 0 ? 0 : entry * sizes[axis] + static_cast<std::int64_t>(e);
      }
      if (share == 0) continue;
      for (std::int64_t c = 0; c < channels; ++c)
        result_of(c) += share * x.values[static_cast<std::size_t>((i / places * channels + c) * plane + entry)];
    }
  }
  return std::vector{std::move(y)};
}

// The image that places lie in, and how they are taken.
class GridExpansion {
 public:
  GridExpansion(Builder& build, const Node& node)
      : build_(build),
        mode_(node.attrs.text("mode")),
        padding_(node.attrs.text("padding_mode")),
        aligned_(node.attrs.flag("align_corners")) {}

  // An axis of the image: the entry before each place, and how far the place lies behind it.
  struct Axis {
    Dim size;
    Value* base;
    Value* fraction;
  };
  Axis axis(Value* grid, std::int64_t entry, const Dim& size) {
    Value* place = build_("select", {grid}, {{"dim", std::int64_t{-1}}, {"index", entry}});
    place = build_("mul", {place, of_size(size, aligned_ ? -1 : 0, 0.5)});
    place = build_("add", {place, of_size(size, -1, 0.5)});
    if (mode_ != "bicubic") place = placed(place, size);
    Value* base = build_(mode_ == "nearest" ? "round" : "floor", {place});
    return {size, base, build_("sub", {place, base})};
  }

  // The entry at a distance from the one before the place, and its weight: 0 for one that doesn't exist.
  struct Tap {
    Value* entry;
    Value* weight;
  };
  Tap tap(const Axis& axis, int distance) {
    Value* entry = distance == 0 ? axis.base : build_("add", {axis.base, build_.scalar(distance)});
    if (mode_ == "bicubic" && padding_ != "zeros") entry = build_("round", {placed(entry, axis.size)});
    Value* inside = limited(entry, axis.size);
    Value* weight = weight_of(axis.fraction, distance);
    if (padding_ == "zeros") {
      // Those outside differ from the nearest one inside by 1 or more.
      Value* outside = build_("minimum", {build_("abs", {build_("sub", {entry, inside})}), build_.scalar(1)});
      Value* share = build_("sub", {build_.scalar(1), outside});
      weight = weight == nullptr ? share : build_("mul", {weight, share});
    }
    // A place that is NaN is any integer, but kernels must find a pixel there: its weight makes the result NaN.
    Value* index = build_("cast", {inside}, {{"to", DType::i32}});
    index = build_("maximum", {index, build_.scalar_i32(0)});
    return {build_("minimum", {index, integer(axis.size - Dim(1))}), weight};
  }

  std::vector<Tap> taps(const Axis& axis) {
    const GridTaps around{mode_};
    std::vector<Tap> all;
    all.reserve(static_cast<std::size_t>(around.count()));
    for (int k = 0; k < around.count(); ++k) all.push_back(tap(axis, around.first() + k));
    return all;
  }

  Value* integer(const Dim& size) {
    if (const auto number = size.constant()) return build_.scalar_i32(*number);
    Value* entry = build_("sizes", {}, {{"sizes", Shape{size}}, {"dtype", DType::i32}});
    return build_("squeeze", {entry}, {{"dims", Integers{0}}});
  }

 private:
  // (size + offset) * factor
  Value* of_size(const Dim& size, std::int64_t offset, double factor) {
    if (const auto number = size.constant()) return build_.scalar(static_cast<double>(*number + offset) * factor);
    Value* value = size_as_real(build_, size + Dim(offset));
    return factor == 1 ? value : build_("mul", {value, build_.scalar(factor)});
  }
  Value* limited(Value* place, const Dim& size) {
    return build_("minimum", {build_("maximum", {place, build_.scalar(0)}), of_size(size, -1, 1)});
  }

  // Where a place outside reads.
  Value* placed(Value* x, const Dim& size) {
    if (padding_ == "zeros") return x;
    if (padding_ == "reflection") {
      const double low = aligned_ ? 0 : -0.5;
      // An image of one entry has no span between the middles of its outermost ones: all is this entry.
      Value* span = build_("maximum", {of_size(size, aligned_ ? -1 : 0, 1), build_.scalar(1)});
      // |x - low| = flips span + rest; after an odd number of flips the rest counts from the other end.
      Value* distance = build_("abs", {build_("sub", {x, build_.scalar(low)})});
      Value* flips = build_("floor", {build_("div", {distance, span})});
      Value* rest = build_("sub", {distance, build_("mul", {flips, span})});
      Value* pairs = build_("floor", {build_("mul", {flips, build_.scalar(0.5)})});
      Value* odd = build_("sub", {flips, build_("mul", {pairs, build_.scalar(2)})});
      Value* back = build_("sub", {span, build_("mul", {rest, build_.scalar(2)})});
      x = build_("add", {build_("add", {rest, build_.scalar(low)}), build_("mul", {odd, back})});
    }
    return limited(x, size);
  }

  // By the distance of an entry from the place; null: 1.
  Value* weight_of(Value* fraction, int distance) {
    if (mode_ == "nearest") return nullptr;
    const auto plus = [&](Value* x, double number) { return build_("add", {x, build_.scalar(number)}); };
    Value* x = distance <= 0 ? plus(fraction, -distance) : build_("sub", {build_.scalar(distance), fraction});
    if (mode_ == "bilinear") return distance == 0 ? build_("sub", {build_.scalar(1), fraction}) : fraction;
    return cubic_kernel(build_, x, Sampling{}.cubic, distance == 0 || distance == 1);
  }

  Builder& build_;
  std::string mode_, padding_;
  bool aligned_;
};

// The entries around each place gathered from the image as a table of pixels, with their weights.
std::vector<Value*> expand_grid_sample(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& shape = node.operands[0]->type.shape;
  const Shape sizes = spatial_sizes(shape);
  const std::size_t axes = sizes.size();
  const Shape pixels = {shape[0] * element_count(sizes), shape[1]};
  Value* table = build("reshape", {to_channels_last(build, operands[0], axes)}, {{"shape", pixels}});
  GridExpansion grid(build, node);
  // Numbers of pixels: that of the image, then by axis times its size plus the entry.
  std::vector<GridExpansion::Tap> found = {{nullptr, nullptr}};
  if (!shape[0].is(1)) {
    Integers behind(axes);
    std::iota(behind.begin(), behind.end(), 1);
    Value* image = build("arange", {}, {{"start", Shape{0}}, {"length", Shape{shape[0]}}, {"dtype", DType::i32}});
    for (const std::int64_t dim : behind) image = build("unsqueeze", {image}, {{"dims", Integers{dim}}});
    found[0].entry = image;
  }
  for (std::size_t axis = 0; axis < axes && !build.failed(); ++axis) {
    const auto coordinate = static_cast<std::int64_t>(axes - 1 - axis);
    const std::vector<GridExpansion::Tap> taps = grid.taps(grid.axis(operands[1], coordinate, sizes[axis]));
    std::vector<GridExpansion::Tap> next;
    for (const GridExpansion::Tap& before : found) {
      Value* start = before.entry != nullptr ? build("mul", {before.entry, grid.integer(sizes[axis])}) : nullptr;
      for (const GridExpansion::Tap& tap : taps)
        next.push_back({start != nullptr ? build("add", {start, tap.entry}) : tap.entry,
                        before.weight != nullptr ? build("mul", {before.weight, tap.weight}) : tap.weight});
    }
    found = std::move(next);
  }
  Value* sum = nullptr;
  for (const GridExpansion::Tap& tap : found) {
    Value* part = build("gather", {table, tap.entry}, {{"dim", std::int64_t{0}}});
    if (tap.weight != nullptr) part = build("mul", {part, build("unsqueeze", {tap.weight}, {{"dims", Integers{-1}}})});
    sum = sum == nullptr ? part : build("add", {sum, part});
  }
  return {to_channels_first(build, sum, axes)};
}

// Pixels are counted in float32 and int32.
bool grid_sample_expands(const Node& node, Target target) {
  constexpr std::int64_t kMostPixels = 1 << 24;
  const Shape& shape = node.operands[0]->type.shape;
  Dim pixels = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    if (axis != 1) pixels = pixels * Dim(shape[axis].constant().value_or(1));
  return (target != Target::onnx || shape.size() == 5) && pixels.constant().value_or(kMostPixels + 1) <= kMostPixels;
}

Op grid_sample() {
  const auto attrs = [](std::string mode, std::string padding, bool align_corners) {
    return Attrs{{"mode", std::move(mode)}, {"padding_mode", std::move(padding)}, {"align_corners", align_corners}};
  };
  const std::vector<Type> operands = {f32({2, 3, 4, 5}), f32({2, 3, 6, 2})};
  const std::vector<Type> volume = {f32({2, 2, 3, 4, 5}), f32({2, 2, 1, 3, 3})};
  return {
      .name = "grid_sample",
      .doc =
          "x [N, C, H, W] read at the places (x, y) of grid [N, *, *, 2], where -1 and 1 are the edges of the image "
          "or, with align_corners, the middles of its outermost entries; or x [N, C, D, H, W] at (x, y, z)",
      .operands = {"x", "grid"},
      .attrs = {{"mode", AttrKind::text, std::string("bilinear")},
                {"padding_mode", AttrKind::text, std::string("zeros")},
                {"align_corners", AttrKind::flag, false}},
      .infer = infer_grid_sample,
      .eval = eval_grid_sample,
      .expand = expand_grid_sample,
      .expands_if = grid_sample_expands,
      .onnx = {.op_type = "GridSample",
               .inputs = {operand(0), operand(1)},
               .attrs = {{"mode", "mode"}, {"padding_mode", "padding_mode"}, {"align_corners", "align_corners"}},
               .fits = [](const Node& node) { return node.operands[0]->type.shape.size() == 4; }},
      .examples = {{operands, attrs("bilinear", "zeros", false), -1.3, 1.3},
                   {operands, attrs("bilinear", "border", true), -1.3, 1.3},
                   {operands, attrs("nearest", "zeros", false), -1.3, 1.3},
                   {operands, attrs("bilinear", "reflection", false), -1.3, 1.3},
                   {operands, attrs("bicubic", "zeros", false), -1.3, 1.3},
                   {operands, attrs("bicubic", "reflection", true), -1.3, 1.3},
                   {volume, attrs("bilinear", "zeros", false), -1.3, 1.3},
                   {volume, attrs("nearest", "border", true), -1.3, 1.3}},
  };
}

}  // namespace

std::vector<Op> resize_ops() {
  return {resize(), onnx_resize(), grid_sample()};
}

}  // namespace taper
