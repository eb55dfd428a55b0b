// ONNX's operators that read images at other places: Resize, Upsample, GridSample, AffineGrid.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/ratio.h"
#include "frontend/onnx_importer.h"
#include "frontend/padding.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

// How one axis is resized.
struct AxisChange {
  std::int64_t axis = 0;
  Dim in, out;
  double scale = 1;       // out per in
  bool by_scale = false;  // the scale was given, not the size
  double roi_start = 0, roi_end = 1;
  Value* measured = nullptr;  // the scale as a number that the file computes, of which `scale` knows nothing
};

struct Resize {
  std::string mode, coordinates, rounding;
  double cubic = -0.75, extrapolation = 0;
  bool antialias = false, exclude_outside = false;
  std::vector<AxisChange> axes;
};

// ------------------------------------------------------------------------------------------------------------ matrices

double place_of(const Resize& resize, const AxisChange& change, std::int64_t i) {
  const auto at = static_cast<double>(i), in = static_cast<double>(*change.in.constant()),
             out = static_cast<double>(*change.out.constant());
  const double scale = change.scale;
  // The length that a scale asks for need not be whole.
  const double length = change.by_scale ? scale * in : out;
  if (resize.coordinates == "align_corners") return out == 1 ? 0 : at * (in - 1) / (length - 1);
  if (resize.coordinates == "asymmetric") return at / scale;
  if (resize.coordinates == "pytorch_half_pixel") return out == 1 ? 0 : (at + 0.5) / scale - 0.5;
  if (resize.coordinates == "tf_crop_and_resize")
    return out == 1 ? 0.5 * (change.roi_start + change.roi_end) * (in - 1)
                    : change.roi_start * (in - 1) + at * (change.roi_end - change.roi_start) * (in - 1) / (out - 1);
  if (resize.coordinates == "half_pixel_symmetric") {
    const double adjustment = out / (scale * in);
    return in / 2 * (1 - adjustment) + (at + 0.5) / scale - 0.5;
  }
  return (at + 0.5) / scale - 0.5;
}

double cubic_kernel(double x, double a) {
  x = std::fabs(x);
  if (x < 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

double rounded(const std::string& rounding, double x) {
  if (rounding == "floor") return std::floor(x);
  if (rounding == "ceil") return std::ceil(x);
  return rounding == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

// Adds the shares that entries of x have in a place to a row of `in` numbers.
void add_shares(const Resize& resize, const AxisChange& change, double x, double* row) {
  const std::int64_t in = *change.in.constant();
  const auto add = [&](std::int64_t i, double share) { row[std::clamp<std::int64_t>(i, 0, in - 1)] += share; };
  if (resize.mode == "nearest") return add(static_cast<std::int64_t>(rounded(resize.rounding, x)), 1);
  const double stretch = resize.antialias ? std::max(1.0, 1 / change.scale) : 1;
  const double reach = (resize.mode == "linear" ? 1 : 2) * stretch;
  const auto first = static_cast<std::int64_t>(std::floor(x - reach)) + 1;
  const auto last = static_cast<std::int64_t>(std::ceil(x + reach)) - 1;
  // Without a stretch the places around x are fixed, even where their share is 0.
  const auto kernel = [&](std::int64_t i) {
    const double at = (static_cast<double>(i) - x) / stretch;
    return resize.mode == "linear" ? std::max(0.0, 1 - std::fabs(at)) : cubic_kernel(at, resize.cubic);
  };
  double total = 0;
  const auto counts = [&](std::int64_t i) { return !resize.exclude_outside || (i >= 0 && i < in); };
  for (std::int64_t i = first; i <= last; ++i)
    if (counts(i)) total += kernel(i);
  for (std::int64_t i = first; i <= last; ++i)
    if (counts(i) && total != 0) add(i, kernel(i) / total);
}

// x with one axis multiplied by a matrix [out, in].
Value* multiply_axis(Call& call, Value* x, std::int64_t axis, const Tensor& matrix) {
  if (call.failed()) return nullptr;
  Integers to_last(x->type.shape.size());
  std::iota(to_last.begin(), to_last.end(), std::int64_t{0});
  to_last.erase(to_last.begin() + axis);
  to_last.push_back(axis);
  Integers back(to_last.size());
  for (std::size_t i = 0; i < to_last.size(); ++i)
    back[static_cast<std::size_t>(to_last[i])] = static_cast<std::int64_t>(i);
  Value* last = call.permute(x, to_last);
  if (call.failed()) return nullptr;
  if (last->type.shape.size() == 1) {
    Value* row =
        call.build("matmul", {call.unsqueeze(last, {0}), call.build.constant(matrix)}, {{"transpose_b", true}});
    return call.squeeze(row, {0});
  }
  return call.permute(call.build("matmul", {last, call.build.constant(matrix)}, {{"transpose_b", true}}), back);
}

// Every form of Resize as one matrix per axis; sizes have to be known.
Value* resize_by_matrices(Call& call, const Resize& resize, Value* x) {
  const auto refused = [&](std::string what, std::string next = {}) -> Value* {
    call.fail(std::move(what), std::move(next));
    return nullptr;
  };
  constexpr std::int64_t kMostEntries = 1 << 22;
  const DType dtype = x->type.dtype;
  const DType real = is_floating(dtype) ? dtype : DType::f32;
  Value* result = call.cast(x, real);
  Value* inside = nullptr;
  for (const AxisChange& change : resize.axes) {
    const auto in = change.in.constant(), out = change.out.constant();
    if (!in || !out)
      return refused("this form of Resize needs known sizes", "export with fixed sizes, or give the scales as numbers");
    if (*in < 1 || *out < 1 || *in > kMostEntries / *out)
      return refused(fmt::format("{} entries resized to {}", *in, *out));
    Array matrix{real, {*out, *in}, std::vector<double>(static_cast<std::size_t>(*in * *out))};
    Array within{DType::boolean, {*out}, {}};
    for (std::int64_t i = 0; i < *out; ++i) {
      const double place = place_of(resize, change, i);
      if (!(std::fabs(place) < 1e9)) return refused("a place outside of all images");
      within.values.push_back(place >= 0 && place <= static_cast<double>(*in - 1) ? 1 : 0);
      add_shares(resize, change, place, matrix.values.data() + i * *in);
    }
    result = multiply_axis(call, result, change.axis, to_tensor(matrix));
    if (resize.coordinates == "tf_crop_and_resize" && std::ranges::find(within.values, 0.0) != within.values.end()) {
      within.shape.assign(x->type.shape.size(), 1);
      within.shape[static_cast<std::size_t>(change.axis)] = *out;
      Value* here = call.build.constant(to_tensor(within));
      inside = inside == nullptr ? here : call.build("logical_and", {inside, here});
    }
    if (call.failed()) return nullptr;
  }
  if (inside != nullptr) result = call.build("where", {inside, result, call.number(resize.extrapolation, real)});
  if (real != dtype) result = call.build("round", {result});
  return call.cast(result, dtype, call.name());
}

// ----------------------------------------------------------------------------------------------------- measured scales

// The number of entries of an axis as a float32.
Value* length_of(Call& call, const Dim& size) {
  return call.cast(size_as_number(call.build, size, DType::i64), DType::f32);
}

// Where the entries of the resized axis lie in x, [out], by a scale that is there when the file runs.
Value* measured_places(Call& call, const Resize& resize, const AxisChange& change) {
  Value* at = call.cast(call.arange(change.out), DType::f32);
  Value* in = length_of(call, change.in);
  if (resize.coordinates == "asymmetric") return call.binary("div", at, change.measured);
  if (resize.coordinates == "align_corners") {
    // Nothing but 0 is divided by a length of one.
    Value* steps = call.binary("sub", call.binary("mul", in, change.measured), 1.0);
    return call.binary("div", call.binary("mul", at, call.binary("sub", in, 1.0)), call.binary("maximum", steps, 1e-6));
  }
  Value* place = call.binary("sub", call.binary("div", call.binary("add", at, 0.5), change.measured), 0.5);
  if (resize.coordinates == "half_pixel") return place;
  Value* alone = call.binary("less", length_of(call, change.out), 1.5);
  return call.build("where", {alone, call.number(0, DType::f32), place});
}

Value* rounded(Call& call, const std::string& rounding, Value* x) {
  if (rounding == "floor" || rounding == "ceil") return call.build(rounding, {x});
  return rounding == "round_prefer_ceil" ? call.build("floor", {call.binary("add", x, 0.5)})
                                         : call.build("ceil", {call.binary("sub", x, 0.5)});
}

// x with one axis resized by such a scale: its entries, or their mixtures, are picked.
Value* resize_measured(Call& call, const Resize& resize, const AxisChange& change, Value* x) {
  const bool known = resize.coordinates == "half_pixel" || resize.coordinates == "align_corners" ||
                     resize.coordinates == "asymmetric" || resize.coordinates == "pytorch_half_pixel";
  const bool mixes = resize.mode == "linear" && x->type.dtype == DType::f32 && !resize.exclude_outside;
  if (!known || resize.antialias || !(mixes || resize.mode == "nearest")) {
    call.fail(
        fmt::format("mode '{}' with coordinates '{}' by a scale that elements say", resize.mode, resize.coordinates),
        "give the scales as numbers");
    return nullptr;
  }
  Value* place = measured_places(call, resize, change);
  Value* last = call.binary("sub", length_of(call, change.in), 1.0);
  const auto entry = [&](Value* number) {
    Value* index = call.binary("minimum", call.binary("maximum", number, 0.0), last);
    return call.build("gather", {x, call.cast(index, DType::i32)}, {{"dim", change.axis}});
  };
  if (resize.mode == "nearest") return entry(rounded(call, resize.rounding, place));
  Value* first = call.build("floor", {place});
  Value* share = call.binary("sub", place, first);
  Integers behind;
  for (std::size_t i = 1; i + static_cast<std::size_t>(change.axis) < x->type.shape.size(); ++i)
    behind.push_back(static_cast<std::int64_t>(i));
  if (!behind.empty()) share = call.unsqueeze(share, behind);
  Value* before = entry(first);
  Value* behind_it = entry(call.binary("add", first, 1.0));
  return call.binary("add", before, call.binary("mul", call.binary("sub", behind_it, before), share));
}

// -------------------------------------------------------------------------------------------------------------- resize

bool has_row(const Resize& resize) {
  const bool known = resize.coordinates == "half_pixel" || resize.coordinates == "align_corners" ||
                     resize.coordinates == "asymmetric" || resize.coordinates == "pytorch_half_pixel";
  const auto whole = [](const AxisChange& change) {
    const auto in = change.in.constant(), out = change.out.constant();
    return !change.by_scale || !in || !out || static_cast<double>(*in) * change.scale == static_cast<double>(*out);
  };
  if (resize.coordinates == "align_corners" && !std::ranges::all_of(resize.axes, whole)) return false;
  return known && !resize.antialias && !resize.exclude_outside &&
         std::ranges::all_of(resize.axes, [](const AxisChange& change) { return change.axis >= 2; });
}

Value* resized(Call& call, Resize resize, Value* x) {
  if (call.failed()) return nullptr;
  for (AxisChange& change : resize.axes) {
    const bool is_open = !change.in.constant() || !change.out.constant();
    // Sizes of batches and channels that elements say: by their quotients, which the row has for images alone.
    if (change.measured == nullptr && !change.by_scale && change.axis < 2 && is_open && change.in != change.out)
      change.measured = call.binary("div", length_of(call, change.out), length_of(call, change.in));
    if (change.measured != nullptr) x = resize_measured(call, resize, change, x);
    if (call.failed()) return nullptr;
  }
  std::erase_if(resize.axes, [](const AxisChange& change) { return change.measured != nullptr; });
  const bool cropped = resize.coordinates == "tf_crop_and_resize";
  std::erase_if(resize.axes,
                [&](const AxisChange& change) { return !cropped && change.in == change.out && change.scale == 1; });
  if (resize.axes.empty()) return x;
  if (!has_row(resize) || x->type.shape.size() > 5 || x->type.dtype != DType::f32)
    return resize_by_matrices(call, resize, x);
  Shape sizes(x->type.shape.begin() + 2, x->type.shape.end());
  Array scales{DType::f64, {static_cast<std::int64_t>(sizes.size())}, std::vector<double>(sizes.size(), 1.0)};
  bool by_scale = false;
  for (const AxisChange& change : resize.axes) {
    const auto at = static_cast<std::size_t>(change.axis - 2);
    sizes[at] = change.out;
    scales.values[at] = change.scale;
    by_scale = by_scale || change.by_scale;
  }
  Attrs attrs = {{"sizes", sizes},
                 {"mode", resize.mode},
                 {"coordinates", resize.coordinates},
                 {"rounding", resize.rounding},
                 {"cubic_coeff_a", resize.cubic}};
  if (by_scale) attrs.set("scales", to_tensor(scales));
  return call.build("resize", {x}, attrs, call.name());
}

// The size that a scale makes of another: floor(size * scale).
std::optional<Dim> scaled_size(Call& call, const Dim& size, double scale) {
  if (!(scale > 0) || scale > 1e6) {
    call.fail(fmt::format("a scale of {}", scale));
    return std::nullopt;
  }
  if (const auto number = size.constant())
    return Dim(static_cast<std::int64_t>(std::floor(static_cast<double>(*number) * scale)));
  const auto rounded = static_cast<float>(scale);
  if (const auto ratio = simple_ratio(rounded); ratio && !first_missed_size(rounded, *ratio))
    return floor_divide(size * Dim(ratio->over), Dim(ratio->under));
  const double inverse = std::round(1 / scale);
  if (std::fabs(1 / scale - inverse) < 1e-6) return floor_divide(size, Dim(static_cast<std::int64_t>(inverse)));
  call.fail(fmt::format("an axis of open size scaled by {}", scale));
  return std::nullopt;
}

bool set_scales(Call& call, Resize& resize, const std::vector<double>& scales, const Integers& axes,
                const Shape& shape) {
  if (scales.size() != axes.size()) {
    call.fail(fmt::format("{} scales for {} axes", scales.size(), axes.size()));
    return false;
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    AxisChange change{.axis = axes[i],
                      .in = shape[static_cast<std::size_t>(axes[i])],
                      .out = {},
                      .scale = scales[i],
                      .by_scale = true};
    const auto out = scaled_size(call, change.in, change.scale);
    if (!out) return false;
    change.out = *out;
    resize.axes.push_back(change);
  }
  return true;
}

bool set_sizes(Call& call, Resize& resize, const Shape& sizes, const Integers& axes, const Shape& shape,
               const std::string& policy) {
  if (sizes.size() != axes.size()) {
    call.fail(fmt::format("{} sizes for {} axes", sizes.size(), axes.size()));
    return false;
  }
  std::vector<double> scales;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const Dim in = shape[static_cast<std::size_t>(axes[i])];
    AxisChange change{.axis = axes[i], .in = in, .out = sizes[i]};
    if (in.constant().value_or(0) > 0 && sizes[i].constant())
      change.scale = static_cast<double>(*sizes[i].constant()) / static_cast<double>(*in.constant());
    else if (in != sizes[i])
      change.scale = 0;  // the row takes the quotient of the sizes
    scales.push_back(change.scale);
    resize.axes.push_back(change);
  }
  if (policy == "stretch" || policy.empty()) return true;
  const double scale = policy == "not_larger" ? *std::ranges::min_element(scales) : *std::ranges::max_element(scales);
  if (scale <= 0) {
    call.fail("keep_aspect_ratio_policy for axes of open size");
    return false;
  }
  for (AxisChange& change : resize.axes) {
    change.scale = scale;
    change.out = Dim(static_cast<std::int64_t>(std::floor(scale * static_cast<double>(*change.in.constant()) + 0.5)));
    change.by_scale = true;
  }
  return true;
}

// The size floor(size * scale), where elements say the scale: measured when the file runs.
std::optional<Dim> measured_size(Call& call, Value* scale, const Dim& size) {
  if (call.failed()) return std::nullopt;
  Value* length = call.cast(size_as_number(call.build, size, DType::i64), scale->type.dtype);
  const Value* range = measured_range(call, call.build("floor", {call.build("mul", {length, scale})}));
  return range == nullptr ? std::nullopt : std::optional(range->type.shape[0]);
}

// Scales that the file computes from sizes: quotients of wanted sizes and those that are there, and numbers, where the
// sizes cancel out.
bool set_computed_scales(Call& call, Resize& resize, const Integers& axes, const Shape& shape,
                         const std::string& policy) {
  Value* scales = call.x(2);
  Shape sizes;
  std::vector<std::optional<float>> numbers;
  std::vector<Value*> measured(axes.size(), nullptr);
  bool may_round = false;
  for (std::size_t i = 0; i < axes.size() && !call.failed(); ++i) {
    const Dim& size = shape[static_cast<std::size_t>(axes[i])];
    const auto scale = real_entry_of(call.importer, scales, static_cast<std::int64_t>(i));
    if (!scale || scale->under.is(0)) {
      measured[i] = call.build("select", {scales}, {{"dim", std::int64_t{0}}, {"index", static_cast<std::int64_t>(i)}});
      const auto size_there = measured_size(call, measured[i], size);
      if (!size_there) return false;
      sizes.push_back(*size_there);
      numbers.emplace_back();
      continue;
    }
    sizes.push_back(floor_divide(size * scale->over, scale->under));
    const auto over = scale->over.constant(), under = scale->under.constant();
    if (over && under)
      numbers.emplace_back(static_cast<float>(static_cast<double>(*over) / static_cast<double>(*under)));
    else
      numbers.emplace_back();
    may_round = may_round || !numbers.back() || !(scale->under.is(1) || scale->under.is(2) || scale->under.is(4));
  }
  if (call.failed()) return false;
  if (may_round)
    call.importer.assume(fmt::format("the sizes that the scales '{}' make are not rounded", call.node.input(2)));
  if (!set_sizes(call, resize, sizes, axes, shape, policy)) return false;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (measured[i] != nullptr) resize.axes[i].measured = call.cast(measured[i], DType::f32);
    if (numbers[i]) {
      resize.axes[i].scale = *numbers[i];
      resize.axes[i].by_scale = true;
    }
  }
  return true;
}

void read_resize(Call& call) {
  Resize content;
  content.mode = call.text("mode", "nearest");
  content.coordinates = call.text("coordinate_transformation_mode", "half_pixel");
  content.rounding = call.text("nearest_mode", "round_prefer_floor");
  content.cubic = call.real("cubic_coeff_a", -0.75);
  content.extrapolation = call.real("extrapolation_value", 0);
  content.antialias = call.flag("antialias", false);
  content.exclude_outside = call.flag("exclude_outside", false);
  const std::string policy = call.text("keep_aspect_ratio_policy", "stretch");
  const Shape shape = call.shape(0);
  Integers axes(shape.size());
  std::iota(axes.begin(), axes.end(), std::int64_t{0});
  if (const auto given = call.integers("axes")) axes = *given;
  for (std::int64_t& axis : axes) axis = call.axis(axis, shape.size());
  if (call.failed()) return;
  if (content.mode != "nearest" && content.mode != "linear" && content.mode != "cubic")
    return call.fail(fmt::format("mode '{}'", content.mode));
  std::vector<double> scales;
  const Value* given = call.has(2) && !call.constant(2) ? call.x(2) : nullptr;
  const bool computed = given != nullptr && given->type.shape == Shape{static_cast<std::int64_t>(axes.size())};
  if (call.has(2) && !computed) scales = call.reals_of(2);
  if (call.failed()) return;
  if (computed) {
    if (!set_computed_scales(call, content, axes, shape, policy)) return;
  } else if (!scales.empty()) {
    if (!set_scales(call, content, scales, axes, shape)) return;
  } else {
    const auto sizes = operand_sizes(call, 3);
    if (!sizes || !set_sizes(call, content, *sizes, axes, shape, policy)) return;
  }
  if (content.coordinates == "tf_crop_and_resize") {
    const std::vector<double> roi = call.reals_of(1);
    if (call.failed()) return;
    if (roi.size() != 2 * axes.size()) return call.fail("the region is for another number of axes");
    for (std::size_t i = 0; i < axes.size(); ++i) {
      content.axes[i].roi_start = roi[i];
      content.axes[i].roi_end = roi[i + axes.size()];
    }
  }
  call.set(0, resized(call, std::move(content), call.x(0)));
}

// Resize of opset 10, and Upsample: by scales, from the first corner on. Where an axis gets shorter, the nearest entry
// is the next one, as ONNX Runtime has it.
void read_upsample(Call& call) {
  Resize content;
  content.mode = call.text("mode", "nearest");
  if (content.mode == "bilinear") content.mode = "linear";
  content.coordinates = "asymmetric";
  content.rounding = "floor";
  const Shape shape = call.shape(0);
  auto scales = call.reals("scales");
  if (!scales) scales = call.reals_of(1);
  if (call.failed()) return;
  Integers axes(shape.size());
  std::iota(axes.begin(), axes.end(), std::int64_t{0});
  if (!set_scales(call, content, *scales, axes, shape)) return;
  Resize shorter = content;
  shorter.rounding = "ceil";
  const auto shortens = [&](const AxisChange& change) { return content.mode == "nearest" && change.scale < 1; };
  std::erase_if(shorter.axes, [&](const AxisChange& change) { return !shortens(change); });
  std::erase_if(content.axes, shortens);
  Value* y = resized(call, std::move(content), call.x(0));
  call.set(0, resized(call, std::move(shorter), y));
}

// --------------------------------------------------------------------------------------------------------------- grids

void read_grid_sample(Call& call) {
  std::string mode = call.text("mode", call.version < 20 ? "bilinear" : "linear");
  if (mode == "linear") mode = "bilinear";
  if (mode == "cubic") mode = "bicubic";
  const DType dtype = call.dtype(0);
  if (!call.failed() && !is_floating(dtype) && mode != "nearest")
    return call.fail(fmt::format("mode '{}' of {}", mode, info(dtype).name), "cast the image to float32 before it");
  Value* read = call.build("grid_sample", {call.cast(call.x(0), DType::f32), call.cast(call.x(1), DType::f32)},
                           {{"mode", mode},
                            {"padding_mode", call.text("padding_mode", "zeros")},
                            {"align_corners", call.flag("align_corners", false)}});
  call.set(0, call.cast(read, dtype, call.name()));
}

// The places of an image's pixels, from -1 to 1, turned by theta [N, d, d + 1].
void read_affine_grid(Call& call) {
  const bool corners = call.flag("align_corners", false);
  const Integers size = call.integers_of(1);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  const auto axes = static_cast<std::int64_t>(size.size()) - 2;
  if (axes != 2 && axes != 3) return call.fail(fmt::format("a size of {} axes", size.size()));
  std::int64_t count = 1;
  for (std::int64_t i = 0; i < axes; ++i) {
    const std::int64_t length = size[static_cast<std::size_t>(i + 2)];
    if (length < 1 || length > (1 << 22) / count) return call.fail("a size that is no image's");
    count *= length;
  }
  // Rows x, y(, z), 1.
  Array places{dtype, {count, axes + 1}, {}};
  for (std::int64_t flat = 0; flat < count; ++flat) {
    std::vector<double> place;
    std::int64_t rest = flat;
    for (std::int64_t i = axes; i-- > 0;) {
      const std::int64_t length = size[static_cast<std::size_t>(i + 2)];
      const auto at = static_cast<double>(rest % length), n = static_cast<double>(length);
      rest /= length;
      place.push_back(corners ? (length == 1 ? -1.0 : 2 * at / (n - 1) - 1) : (2 * at + 1) / n - 1);
    }
    place.push_back(1);
    places.values.insert(places.values.end(), place.begin(), place.end());
  }
  Value* turned = call.build("matmul", {call.build.constant(to_tensor(places)), call.x(0)}, {{"transpose_b", true}});
  Shape shape = {size[0]};
  for (std::int64_t i = 0; i < axes; ++i) shape.emplace_back(size[static_cast<std::size_t>(i + 2)]);
  shape.emplace_back(axes);
  call.set(0, call.reshape(turned, shape, call.name()));
}

}  // namespace

std::vector<Row> resample_rows() {
  return {
      {.op = "Upsample", .since = 7, .read = read_upsample},
      {.op = "Resize", .operands = 2, .since = 10, .read = read_upsample},
      {.op = "Resize", .since = 11, .read = read_resize},
      {.op = "GridSample", .operands = 2, .since = 16, .read = read_grid_sample},
      {.op = "AffineGrid", .operands = 2, .since = 20, .read = read_affine_grid},
  };
}

}  // namespace taper::onnx_reader
