// Resampling, padding and rearranging of images.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/ratio.h"
#include "frontend/aten_table.h"
#include "frontend/padding.h"

namespace taper::aten {
namespace {

// ---------------------------------------------------------------------------------------------------------- resampling

struct Resampling {
  std::string mode, coordinates;
  std::string rounding = "round_prefer_floor";
  bool antialias = false;
};

// Where the results are this many rows and columns at most, PyTorch's kernel for images copies the nearest entries of
// an axis that keeps its size, and takes each twice where the size doubles, whatever scale made it so.
constexpr std::int64_t kMostCopiedLines = 128;

bool copies_nearest(const Shape& sizes) {
  const auto rows = sizes[0].constant(), columns = sizes[1].constant();
  return rows && columns && *rows + *columns <= kMostCopiedLines;
}

// The scale that the axis has then. Sizes that are open are told of.
double copied_scale(Call& call, const Dim& from, const Dim& to, double scale, bool small) {
  const double whole = std::floor(scale), rest = scale - whole;
  if (rest == 0 || whole < 1 || whole > 2) return scale;
  const auto in = from.constant(), out = to.constant();
  const auto least = static_cast<std::int64_t>(std::ceil(1 / rest));
  if (in && out && small) return *out == static_cast<std::int64_t>(whole) * *in ? whole : scale;
  const auto symbol = from.as_symbol();
  const auto range = symbol ? call.context.symbols.find(*symbol) : call.context.symbols.end();
  const std::int64_t smallest = in ? *in : range == call.context.symbols.end() ? 1 : range->second.least;
  if (smallest >= least || (in && out && !small) || least <= 2) return scale;
  warn_once(call, fmt::format("sizes scaled by {} are taken to be {} or more: of smaller ones PyTorch takes other "
                              "entries in mode nearest",
                              scale, least));
  return scale;
}

Expected<Arg> resample(Call& call, std::size_t axes, Resampling how) {
  Value* x = call.tensor(call.schema.parameters[0].name);
  const Shape& shape = x->type.shape;
  if (shape.size() != axes + 2) return fail("{}, expected {} spatial axes", type_text(x->type), axes);
  Shape sizes = call.sizes("output_size");
  std::vector<double> scales = call.reals("scale_factors");
  // One scale per axis, from the last letters of their names: scales, scales_h, scales_w.
  if (scales.empty())
    for (const std::string_view name : {"scales", "scales_d", "scales_h", "scales_w"})
      if (call.given(name)) scales.push_back(call.real(name));
  if (sizes.empty()) {
    if (scales.size() != axes) return fail("neither sizes nor {} scales", axes);
    for (std::size_t i = 0; i < axes; ++i) {
      TAPER_ASSIGN(Dim size, scaled_size(call.context, shape[i + 2], scales[i]));
      sizes.push_back(std::move(size));
    }
  }
  if (sizes.size() != axes) return fail("{} sizes for {} axes", sizes.size(), axes);
  if (call.flag("align_corners")) how.coordinates = "align_corners";
  if (axes == 2 && scales.size() == 2 && how.mode == "nearest" && how.coordinates == "asymmetric")
    for (std::size_t i = 0; i < axes; ++i)
      scales[i] = copied_scale(call, shape[i + 2], sizes[i], scales[i], copies_nearest(sizes));
  Attrs attrs = {
      {"sizes", sizes},           {"mode", how.mode},           {"coordinates", how.coordinates},
      {"rounding", how.rounding}, {"antialias", how.antialias}, {"cubic_coeff_a", how.antialias ? -0.5 : -0.75}};
  if (scales.size() == axes && !call.flag("align_corners")) {
    const auto bytes = std::as_bytes(std::span(scales));
    attrs.set("scales", make_tensor(DType::f64, {static_cast<std::int64_t>(axes)}, {bytes.begin(), bytes.end()}));
  }
  return fresh(call.build("resize", {x}, std::move(attrs)));
}

template <std::size_t axes>
Expected<Arg> nearest(Call& call) {
  return resample(call, axes, {.mode = "nearest", .coordinates = "asymmetric", .rounding = "floor"});
}
template <std::size_t axes>
Expected<Arg> nearest_exact(Call& call) {
  return resample(call, axes, {.mode = "nearest", .coordinates = "half_pixel", .rounding = "round_prefer_ceil"});
}
template <std::size_t axes>
Expected<Arg> linear(Call& call) {
  return resample(call, axes, {.mode = "linear", .coordinates = "half_pixel"});
}
Expected<Arg> cubic(Call& call) {
  return resample(call, 2, {.mode = "cubic", .coordinates = "half_pixel"});
}
Expected<Arg> linear_smoothed(Call& call) {
  return resample(call, 2, {.mode = "linear", .coordinates = "half_pixel", .antialias = true});
}
Expected<Arg> cubic_smoothed(Call& call) {
  return resample(call, 2, {.mode = "cubic", .coordinates = "half_pixel", .antialias = true});
}

Expected<Arg> grid_sample(Call& call) {
  const std::int64_t mode = call.integer("interpolation_mode"), padding = call.integer("padding_mode");
  if (mode < 0 || mode > 2 || padding < 0 || padding > 2) return fail("mode {} with padding {}", mode, padding);
  constexpr const char* kModes[] = {"bilinear", "nearest", "bicubic"};
  constexpr const char* kPaddings[] = {"zeros", "border", "reflection"};
  return fresh(call.build("grid_sample", {call.tensor("input"), call.tensor("grid")},
                          {{"mode", std::string(kModes[mode])},
                           {"padding_mode", std::string(kPaddings[padding])},
                           {"align_corners", call.flag("align_corners")}}));
}

// The places of `size` entries within [-1, 1]: of their middles, or of the first and last at the ends.
Value* grid_line(Builder& build, const Dim& size, bool align_corners) {
  Value* index = arange(build, 0, 1, size, DType::f32);
  if (align_corners && size.is(1)) return full(build, {Dim(1)}, Arg(0.0), DType::f32);
  const auto real = [&](double value) { return number(build, value, DType::f32); };
  Value* count = number(build, Arg(align_corners ? size - Dim(1) : size), DType::f32);
  Value* doubled = build("mul", {index, real(2)});
  if (!align_corners) doubled = build("add", {doubled, real(1)});
  return build("sub", {build("div", {doubled, count}), real(1)});
}

// Places of an image's entries, [H W, 3] or [D H W, 4], times the matrices theta [N, 2, 3] or [N, 3, 4].
Expected<Arg> affine_grid(Call& call) {
  Builder& build = call.build;
  Value* theta = call.tensor("theta");
  const Shape size = call.sizes("size");
  if (size.size() != 4 && size.size() != 5)
    return fail("a grid of sizes {}, expected those of images", shape_text(size));
  Shape spatial(size.begin() + 2, size.end());
  const std::size_t axes = spatial.size();
  for (const Dim& one : spatial)
    if (one.constant().value_or(1) < 1) return fail("a grid of sizes {}", shape_text(size));
  // The last axis comes first, and a column of ones last.
  Shape column = spatial;
  column.emplace_back(1);
  std::vector<Value*> columns;
  for (std::size_t axis = axes; axis-- > 0;) {
    Shape line(axes + 1, Dim(1));
    line[axis] = spatial[axis];
    Value* places = grid_line(build, spatial[axis], call.flag("align_corners"));
    columns.push_back(expand(build, reshape(build, places, line), column));
  }
  columns.push_back(full(build, column, Arg(1.0), DType::f32));
  const auto count = static_cast<std::int64_t>(axes);
  Value* base = reshape(build, concat(build, std::move(columns), axes), {element_count(spatial), Dim(count + 1)});
  Value* grid = build("matmul", {base, theta}, {{"transpose_b", true}});
  TAPER_TRY(build.status());
  Shape shape = spatial;
  shape.insert(shape.begin(), theta->type.shape[0]);
  shape.emplace_back(count);
  return fresh(reshape(build, grid, shape));
}

// ------------------------------------------------------------------------------------------------------------- padding

// x gathered entry by entry along an axis, with amounts of any sign.
Value* gathered_padding(const Context& context, Value* x, std::size_t axis, const std::array<Dim, 2>& amounts,
                        const Padding& padding) {
  const Dim size = shape_of(x)[axis];
  Value* places = arange(context.build, Dim(0) - amounts[0], 1, amounts[0] + size + amounts[1], DType::i32);
  return entries_at(context.build, x, axis, places, padding, may_be_nothing(context, size));
}

// x with amounts that are symbols at both sides of an axis; what is below 0 crops.
Value* padded_axis(Call& call, Value* x, std::size_t axis, std::array<Dim, 2> amounts, const Padding& padding) {
  Builder& build = call.build;
  const auto is_positive = [&](const Dim& amount) { return known_less(call.context, amount, 0) == false; };
  const auto is_negative = [&](const Dim& amount) { return known_less_equal(call.context, amount, 0) == true; };
  const bool known = std::ranges::all_of(amounts, [&](const Dim& a) { return is_positive(a) || is_negative(a); });
  if (padding.mode != "constant" || !known) return gathered_padding(call.context, x, axis, amounts, padding);
  Dim start = 0, end = shape_of(x)[axis];
  if (is_negative(amounts[0])) start = Dim(0) - std::exchange(amounts[0], 0);
  if (is_negative(amounts[1])) end = end + std::exchange(amounts[1], 0);
  x = slice(build, x, axis, start, end);
  if (x == nullptr) return x;
  const auto block = [&](const Dim& amount) {
    Shape shape = shape_of(x);
    shape[axis] = amount;
    return full(build, shape, Arg(padding.fill), x->type.dtype);
  };
  return concat(build, {block(amounts[0]), x, block(amounts[1])}, axis);
}

// x without what amounts below 0 cut off, which become 0: the entries that are left are what is reflected or repeated.
Value* cropped(Builder& build, Value* x, Integers& before, Integers& after) {
  for (std::size_t axis = 0; axis < before.size(); ++axis) {
    if (before[axis] >= 0 && after[axis] >= 0) continue;
    const Dim start = -std::min<std::int64_t>(0, before[axis]);
    x = slice(build, x, axis, start, shape_of(x)[axis] + std::min<std::int64_t>(0, after[axis]));
    if (x == nullptr) return nullptr;
    before[axis] = std::max<std::int64_t>(0, before[axis]);
    after[axis] = std::max<std::int64_t>(0, after[axis]);
  }
  return x;
}

double fill_of(const Arg& value) {
  if (const auto* real = value.as<double>()) return *real;
  if (const bool* flag = value.as<bool>()) return *flag ? 1 : 0;
  return static_cast<double>(constant_integer(value).value_or(0));
}

// Amounts come in pairs, from the last axis on.
Expected<Arg> padded(Call& call, std::string mode, const Arg& value) {
  Builder& build = call.build;
  Value* x = call.tensor(call.schema.parameters[0].name);
  const Shape amounts = call.sizes(call.schema.parameters[1].name);
  const std::size_t rank = x->type.shape.size();
  if (amounts.size() % 2 != 0 || amounts.size() / 2 > rank) return fail("{} amounts for {} axes", amounts.size(), rank);
  const Padding padding{std::move(mode), fill_of(value)};
  Integers before(rank, 0), after(rank, 0);
  bool any = false;
  for (std::size_t i = 0; i < amounts.size() / 2; ++i) {
    const std::size_t axis = rank - 1 - i;
    const auto first = amounts[2 * i].constant(), last = amounts[2 * i + 1].constant();
    if (first && last) {
      before[axis] = *first;
      after[axis] = *last;
      any |= *first != 0 || *last != 0;
      continue;
    }
    x = padded_axis(call, x, axis, {amounts[2 * i], amounts[2 * i + 1]}, padding);
    TAPER_TRY(build.status());
  }
  if (!any) return fresh(x);
  if (padding.mode != "constant") x = cropped(build, x, before, after);
  return fresh(
      build("pad", {x}, {{"before", before}, {"after", after}, {"mode", padding.mode}, {"value", padding.fill}}));
}

Expected<Arg> pad(Call& call) {
  const std::string& mode = call.text("mode");
  if (mode != "constant" && mode != "reflect" && mode != "replicate" && mode != "circular")
    return fail("mode '{}' is not known", mode);
  return padded(call, mode, call.arg("value"));
}

Expected<Arg> pad_constant(Call& call) {
  return padded(call, "constant", call.arg("value"));
}
Expected<Arg> pad_reflected(Call& call) {
  return padded(call, "reflect", Arg{});
}
Expected<Arg> pad_replicated(Call& call) {
  return padded(call, "replicate", Arg{});
}
Expected<Arg> pad_circular(Call& call) {
  return padded(call, "circular", Arg{});
}

// --------------------------------------------------------------------------------------------------------- rearranging

// The last three axes as an image; those before are one batch.
Expected<Arg> rearranged(Call& call, std::string_view row, std::int64_t block) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Shape shape = x->type.shape;
  if (shape.size() < 3) return fail("{}, expected an image", type_text(x->type));
  const auto image = shape.end() - 3;
  const Shape batch(shape.begin(), image);
  x = reshape(build, x, {element_count(batch), image[0], image[1], image[2]});
  Value* y = build(row, {x}, {{"block", block}, {"mode", std::string("CRD")}});
  TAPER_TRY(build.status());
  Shape out = batch;
  out.insert(out.end(), shape_of(y).begin() + 1, shape_of(y).end());
  return fresh(reshape(build, y, out));
}

// Channels of groups side by side: [N, g, C / g, *] with the two axes exchanged.
Expected<Arg> channel_shuffle(Call& call) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const Shape shape = x->type.shape;
  const std::int64_t groups = call.integer("groups");
  const auto each = shape.size() > 2 && groups > 0 ? divide_exactly(shape[1], Dim(groups)) : std::nullopt;
  if (!each) return fail("{} groups of the channels of {}", groups, type_text(x->type));
  Shape apart = {shape[0], Dim(groups), *each};
  apart.insert(apart.end(), shape.begin() + 2, shape.end());
  return fresh(reshape(build, transpose(build, reshape(build, x, apart), 1, 2), shape));
}

Expected<Arg> columns(Call& call, std::string_view row) {
  Builder& build = call.build;
  Value* x = call.tensor("self");
  const bool to_image = row == "col2im";
  const bool single = x->type.shape.size() == (to_image ? 2 : 3);
  if (single) x = unsqueeze(build, x, 0);
  Attrs attrs = {{"kernel", call.integers("kernel_size")},
                 {"stride", call.integers("stride")},
                 {"padding", call.integers("padding")},
                 {"dilation", call.integers("dilation")}};
  if (to_image) attrs.set("output_size", call.sizes("output_size"));
  Value* y = build(row, {x}, std::move(attrs));
  return fresh(single ? squeeze(build, y, 0) : y);
}

}  // namespace

std::vector<Overload> image_overloads() {
  return {
      {"upsample_nearest1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor", nearest<1>},
      {"upsample_nearest1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor", nearest<1>},
      {"upsample_nearest2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float? scales_w=None) -> Tensor",
       nearest<2>},
      {"upsample_nearest2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor", nearest<2>},
      {"upsample_nearest3d(Tensor self, SymInt[3] output_size, float? scales_d=None, float? scales_h=None, float? "
       "scales_w=None) -> Tensor",
       nearest<3>},
      {"upsample_nearest3d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor", nearest<3>},
      {"_upsample_nearest_exact1d(Tensor self, SymInt[1] output_size, float? scales=None) -> Tensor", nearest_exact<1>},
      {"_upsample_nearest_exact1d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
       nearest_exact<1>},
      {"_upsample_nearest_exact2d(Tensor self, SymInt[2] output_size, float? scales_h=None, float? scales_w=None) -> "
       "Tensor",
       nearest_exact<2>},
      {"_upsample_nearest_exact2d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
       nearest_exact<2>},
      {"_upsample_nearest_exact3d(Tensor self, SymInt[3] output_size, float? scales_d=None, float? scales_h=None, "
       "float? scales_w=None) -> Tensor",
       nearest_exact<3>},
      {"_upsample_nearest_exact3d.vec(Tensor input, SymInt[]? output_size, float[]? scale_factors) -> Tensor",
       nearest_exact<3>},
      {"upsample_linear1d(Tensor self, SymInt[1] output_size, bool align_corners, float? scales=None) -> Tensor",
       linear<1>},
      {"upsample_linear1d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> "
       "Tensor",
       linear<1>},
      {"upsample_bilinear2d(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? "
       "scales_w=None) -> Tensor",
       linear<2>},
      {"upsample_bilinear2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> "
       "Tensor",
       linear<2>},
      {"upsample_trilinear3d(Tensor self, SymInt[3] output_size, bool align_corners, float? scales_d=None, float? "
       "scales_h=None, float? scales_w=None) -> Tensor",
       linear<3>},
      {"upsample_trilinear3d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> "
       "Tensor",
       linear<3>},
      {"upsample_bicubic2d(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? "
       "scales_w=None) -> Tensor",
       cubic},
      {"upsample_bicubic2d.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> "
       "Tensor",
       cubic},
      {"_upsample_bilinear2d_aa(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? "
       "scales_w=None) -> Tensor",
       linear_smoothed},
      {"_upsample_bilinear2d_aa.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) "
       "-> "
       "Tensor",
       linear_smoothed},
      {"_upsample_bicubic2d_aa(Tensor self, SymInt[2] output_size, bool align_corners, float? scales_h=None, float? "
       "scales_w=None) -> Tensor",
       cubic_smoothed},
      {"_upsample_bicubic2d_aa.vec(Tensor input, SymInt[]? output_size, bool align_corners, float[]? scale_factors) -> "
       "Tensor",
       cubic_smoothed},
      {"grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> "
       "Tensor",
       grid_sample},
      {"grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> "
       "Tensor",
       grid_sample},
      {"grid_sampler_3d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> "
       "Tensor",
       grid_sample},
      {"affine_grid_generator(Tensor theta, SymInt[] size, bool align_corners) -> Tensor", affine_grid},
      {"constant_pad_nd(Tensor self, SymInt[] pad, Scalar value=0) -> Tensor", pad_constant},
      {"pad(Tensor self, SymInt[] pad, str mode='constant', float? value=None) -> Tensor", pad},
      {"reflection_pad1d(Tensor self, SymInt[2] padding) -> Tensor", pad_reflected},
      {"reflection_pad2d(Tensor self, SymInt[4] padding) -> Tensor", pad_reflected},
      {"reflection_pad3d(Tensor self, SymInt[6] padding) -> Tensor", pad_reflected},
      {"replication_pad1d(Tensor self, SymInt[2] padding) -> Tensor", pad_replicated},
      {"replication_pad2d(Tensor self, SymInt[4] padding) -> Tensor", pad_replicated},
      {"replication_pad3d(Tensor self, SymInt[6] padding) -> Tensor", pad_replicated},
      {"_pad_circular(Tensor self, SymInt[] pad) -> Tensor", pad_circular},
      {"pixel_shuffle(Tensor self, int upscale_factor) -> Tensor",
       [](Call& call) { return rearranged(call, "depth_to_space", call.integer("upscale_factor")); }},
      {"pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor",
       [](Call& call) { return rearranged(call, "space_to_depth", call.integer("downscale_factor")); }},
      {"channel_shuffle(Tensor self, int groups) -> Tensor", channel_shuffle},
      {"native_channel_shuffle(Tensor self, int groups) -> Tensor", channel_shuffle},
      {"im2col(Tensor self, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) -> Tensor",
       [](Call& call) { return columns(call, "im2col"); }},
      {"col2im(Tensor self, SymInt[2] output_size, int[2] kernel_size, int[2] dilation, int[2] padding, int[2] stride) "
       "-> "
       "Tensor",
       [](Call& call) { return columns(call, "col2im"); }},
  };
}

}  // namespace taper::aten
