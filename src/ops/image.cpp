// Rearrangements of images: blocks into channels and back, windows into columns and back.
#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// ---------------------------------------------------------------------------------------------------------- the blocks

constexpr std::int64_t kLargestBlock = 1 << 16;

Status check_block(const InferCall& call) {
  const std::int64_t block = call.attrs.integer("block");
  if (call.shape(0).size() != 4) return fail("x has shape {}, expected [N, C, H, W]", shape_text(call.shape(0)));
  if (block < 1 || block > kLargestBlock) return fail("block is {}", block);
  if (call.attrs.text("mode") != "DCR" && call.attrs.text("mode") != "CRD")
    return fail("mode is '{}', expected DCR or CRD", call.attrs.text("mode"));
  return {};
}

Expected<Dim> divided(const Dim& size, std::int64_t by, std::string_view what) {
  const auto quotient = divide_exactly(size, Dim(by));
  if (!quotient) return fail("{} {} is no multiple of {}", what, size.text(), by);
  return *quotient;
}

Expected<std::vector<Type>> infer_depth_to_space(const InferCall& call) {
  TAPER_TRY(check_block(call));
  const Shape& x = call.shape(0);
  const std::int64_t block = call.attrs.integer("block");
  TAPER_ASSIGN(Dim channels, divided(x[1], block * block, "the number of channels"));
  return std::vector{Type{call.type(0).dtype, {x[0], std::move(channels), x[2] * block, x[3] * block}}};
}

Expected<std::vector<Type>> infer_space_to_depth(const InferCall& call) {
  TAPER_TRY(check_block(call));
  const Shape& x = call.shape(0);
  const std::int64_t block = call.attrs.integer("block");
  TAPER_ASSIGN(Dim height, divided(x[2], block, "the height"));
  TAPER_ASSIGN(Dim width, divided(x[3], block, "the width"));
  return std::vector{Type{call.type(0).dtype, {x[0], x[1] * (block * block), std::move(height), std::move(width)}}};
}

// Calls f(packed, spread) with the positions of each element in [N, C b b, H, W] and [N, C, H b, W b].
template <class F>
void for_each_block_element(std::int64_t batch, std::int64_t channels, std::int64_t height, std::int64_t width,
                            std::int64_t block, bool channels_first, F f) {
  for (std::int64_t n = 0; n < batch; ++n)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t y = 0; y < height * block; ++y)
        for (std::int64_t x = 0; x < width * block; ++x) {
          const std::int64_t cell = y % block * block + x % block;
          const std::int64_t depth = channels_first ? c * block * block + cell : cell * channels + c;
          const std::int64_t packed = ((n * channels * block * block + depth) * height + y / block) * width + x / block;
          const std::int64_t spread = ((n * channels + c) * height * block + y) * width * block + x;
          f(static_cast<std::size_t>(packed), static_cast<std::size_t>(spread));
        }
}

Expected<std::vector<Array>> eval_depth_to_space(const EvalCall& call) {
  const Array& x = call.operand(0);
  const std::int64_t b = call.attrs.integer("block"), channels = x.size(1) / b / b;
  Array y = make_array(x.dtype, {x.size(0), channels, x.size(2) * b, x.size(3) * b});
  for_each_block_element(x.size(0), channels, x.size(2), x.size(3), b, call.attrs.text("mode") == "CRD",
                         [&](std::size_t packed, std::size_t spread) { y.values[spread] = x.values[packed]; });
  return std::vector{std::move(y)};
}

Expected<std::vector<Array>> eval_space_to_depth(const EvalCall& call) {
  const Array& x = call.operand(0);
  const std::int64_t b = call.attrs.integer("block");
  if (x.size(2) % b != 0 || x.size(3) % b != 0) return fail("{} x {} in blocks of {}", x.size(2), x.size(3), b);
  Array y = make_array(x.dtype, {x.size(0), x.size(1) * b * b, x.size(2) / b, x.size(3) / b});
  for_each_block_element(x.size(0), x.size(1), x.size(2) / b, x.size(3) / b, b, call.attrs.text("mode") == "CRD",
                         [&](std::size_t packed, std::size_t spread) { y.values[packed] = x.values[spread]; });
  return std::vector{std::move(y)};
}

std::vector<Value*> expand_depth_to_space(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x = node.operands[0]->type.shape;
  const Shape& y = node.results[0]->type.shape;
  const std::int64_t b = node.attrs.integer("block");
  const bool channels_first = node.attrs.text("mode") == "CRD";
  const Shape cells = channels_first ? Shape{x[0], y[1], b, b, x[2], x[3]} : Shape{x[0], b, b, y[1], x[2], x[3]};
  const Integers order = channels_first ? Integers{0, 1, 4, 2, 5, 3} : Integers{0, 3, 4, 1, 5, 2};
  Value* blocks = build("permute", {build("reshape", {operands[0]}, {{"shape", cells}})}, {{"dims", order}});
  return {build("reshape", {blocks}, {{"shape", y}})};
}

std::vector<Value*> expand_space_to_depth(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x = node.operands[0]->type.shape;
  const Shape& y = node.results[0]->type.shape;
  const std::int64_t b = node.attrs.integer("block");
  const Shape cells = {x[0], x[1], y[2], b, y[3], b};
  const Integers order = node.attrs.text("mode") == "CRD" ? Integers{0, 1, 3, 5, 2, 4} : Integers{0, 3, 5, 1, 2, 4};
  Value* blocks = build("permute", {build("reshape", {operands[0]}, {{"shape", cells}})}, {{"dims", order}});
  return {build("reshape", {blocks}, {{"shape", y}})};
}

// Targets with channels last take blocks there, as long as the channels are known.
std::vector<Value*> expand_blocks(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (node.operands[0]->type.shape[1].constant()) return expand_blocks_last(build, node, operands);
  return node.op == "depth_to_space" ? expand_depth_to_space(build, node, operands)
                                     : expand_space_to_depth(build, node, operands);
}

std::vector<AttrSpec> block_attrs() {
  return {{"block", AttrKind::integer}, {"mode", AttrKind::text, std::string("DCR")}};
}
Attrs block_of(std::int64_t block, std::string mode) {
  return {{"block", block}, {"mode", std::move(mode)}};
}

// What ONNX Runtime has kernels for.
std::vector<DType> block_dtypes() {
  return {DType::f64, DType::f32, DType::f16, DType::i8, DType::u8};
}

Op depth_to_space() {
  return {
      .name = "depth_to_space",
      .doc =
          "x [N, C b b, H, W] as [N, C, H b, W b]: channels are (block row, block column, C) in mode DCR, (C, block "
          "row, block column) in mode CRD, that of PyTorch's pixel_shuffle",
      .operands = {"x"},
      .attrs = block_attrs(),
      .infer = infer_depth_to_space,
      .eval = eval_depth_to_space,
      .expand = expand_depth_to_space,
      .expand_tflite = expand_blocks,
      .expand_tensorflow = expand_blocks,
      .onnx = {.op_type = "DepthToSpace",
               .inputs = {operand(0)},
               .dtypes = block_dtypes(),
               .attrs = {{"blocksize", "block"}, {"mode", "mode"}}},
      .examples = {{{f32({1, 8, 3, 4})}, block_of(2, "DCR")}, {{f32({2, 9, 2, 3})}, block_of(3, "CRD")}},
  };
}

Op space_to_depth() {
  return {
      .name = "space_to_depth",
      .doc = "x [N, C, H b, W b] as [N, C b b, H, W], the inverse of `depth_to_space`",
      .operands = {"x"},
      .attrs = block_attrs(),
      .infer = infer_space_to_depth,
      .eval = eval_space_to_depth,
      .expand = expand_space_to_depth,
      .expand_tflite = expand_blocks,
      .expand_tensorflow = expand_blocks,
      .onnx = {.op_type = "SpaceToDepth",
               .inputs = {operand(0)},
               .dtypes = block_dtypes(),
               .attrs = {{"blocksize", "block"}},
               .fits = [](const Node& node) { return node.attrs.text("mode") == "DCR"; }},
      .examples = {{{f32({1, 2, 6, 4})}, block_of(2, "DCR")}, {{f32({2, 1, 6, 3})}, block_of(3, "CRD")}},
  };
}

// --------------------------------------------------------------------------------------------------------- the windows

// The windows of im2col and col2im have the same padding on both sides.
Attrs with_both_sides(const Attrs& attrs) {
  Attrs out;
  for (const std::string_view name : {"stride", "dilation"}) out.set(std::string(name), *attrs.find(name));
  Integers padding = attrs.integers("padding");
  padding.insert(padding.end(), attrs.integers("padding").begin(), attrs.integers("padding").end());
  out.set("padding", std::move(padding));
  return out;
}

Expected<Windows> patch_windows(const InferCall& call, std::size_t rank) {
  const Integers& kernel = call.attrs.integers("kernel");
  if (call.shape(0).size() != rank || !is_floating(call.type(0).dtype))
    return fail("x is {}, expected floating numbers of {} axes", type_text(call.type(0)), rank);
  if (kernel.size() != 2) return fail("kernel [{}], expected two sizes", fmt::join(kernel, ", "));
  TAPER_ASSIGN(Windows windows, windows_of(with_both_sides(call.attrs), kernel));
  constexpr std::int64_t kMostTaps = 1 << 16;
  if (kernel[0] > kMostTaps || kernel[1] > kMostTaps || windows.taps() > kMostTaps)
    return fail("kernel [{}] has too many entries", fmt::join(kernel, ", "));
  return windows;
}

Expected<std::vector<Type>> infer_im2col(const InferCall& call) {
  TAPER_ASSIGN(const Windows windows, patch_windows(call, 4));
  const Shape& x = call.shape(0);
  TAPER_ASSIGN(const Shape counts, window_counts(spatial_sizes(x), windows));
  return std::vector{Type{call.type(0).dtype, {x[0], x[1] * windows.taps(), counts[0] * counts[1]}}};
}

Expected<std::vector<Array>> eval_im2col(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Windows windows = accepted_windows(with_both_sides(call.attrs), call.attrs.integers("kernel"));
  TAPER_ASSIGN(const Shape counts, window_counts(spatial_sizes(to_shape(x.shape)), windows));
  const Grid grid = grid_of(std::span(x.shape).subspan(2), *constant_sizes(counts), windows);
  Array y = make_array(x.dtype, {x.size(0), x.size(1) * grid.taps(), grid.out_count()});
  for (std::int64_t plane = 0; plane < x.size(0) * x.size(1); ++plane)
    for_each_run(grid, [&](std::int64_t tap, std::int64_t window, std::int64_t at, std::int64_t count) {
      double* to = y.values.data() + (plane * grid.taps() + tap) * grid.out_count() + window;
      for (std::int64_t i = 0; i < count; ++i)
        to[i] = x.values[static_cast<std::size_t>(plane * grid.in_count() + at + i * grid.stride[2])];
    });
  return std::vector{std::move(y)};
}

// A convolution's weight [taps, 1, *K] whose channel k is tap k alone.
Tensor taps_apart(const Windows& windows) {
  const std::int64_t taps = windows.taps();
  std::vector<float> values(static_cast<std::size_t>(taps * taps), 0);
  for (std::int64_t i = 0; i < taps; ++i) values[static_cast<std::size_t>(i * taps + i)] = 1;
  return tensor_f32({taps, 1, windows.kernel[0], windows.kernel[1]}, values);
}

std::vector<Value*> expand_im2col(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x = node.operands[0]->type.shape;
  const Windows windows = accepted_windows(with_both_sides(node.attrs), node.attrs.integers("kernel"));
  Value* planes = build("reshape", {operands[0]}, {{"shape", Shape{x[0] * x[1], 1, x[2], x[3]}}});
  Value* taps = build("conv", {planes, build.constant(taps_apart(windows), "taps")}, with_both_sides(node.attrs));
  return {build("reshape", {taps}, {{"shape", node.results[0]->type.shape}})};
}

std::vector<AttrSpec> patch_attrs() {
  return {{"kernel", AttrKind::integers},
          {"stride", AttrKind::integers},
          {"padding", AttrKind::integers},
          {"dilation", AttrKind::integers}};
}
Attrs example_attrs(Integers kernel, Integers stride, Integers padding, Integers dilation) {
  return {{"kernel", std::move(kernel)},
          {"stride", std::move(stride)},
          {"padding", std::move(padding)},
          {"dilation", std::move(dilation)}};
}

// The matrices of taps grow with the square of their number.
bool has_few_taps(const Node& node, Target) {
  constexpr std::int64_t kMost = 1 << 10;
  const Integers& kernel = node.attrs.integers("kernel");
  return kernel[0] * kernel[1] <= kMost;
}

Op im2col() {
  return {
      .name = "im2col",
      .doc = "the windows of x [N, C, H, W] as columns: [N, C * taps, windows], zeros around x",
      .operands = {"x"},
      .attrs = patch_attrs(),
      .infer = infer_im2col,
      .eval = eval_im2col,
      .expand = expand_im2col,
      .expands_if = has_few_taps,
      .examples = {{{f32({2, 3, 5, 6})}, example_attrs({2, 3}, {1, 1}, {0, 0}, {1, 1})},
                   {{f32({1, 2, 7, 7})}, example_attrs({3, 3}, {2, 2}, {1, 1}, {1, 2})}},
  };
}

Expected<Shape> col2im_counts(const Attrs& attrs, const Windows& windows) {
  const Shape& sizes = attrs.get<Shape>("output_size");
  const auto is_size = [](const Dim& size) {
    const auto number = size.constant();
    return !size.overflowed() && (!number || (*number >= 1 && *number <= (1 << 24)));
  };
  if (sizes.size() != 2 || !std::ranges::all_of(sizes, is_size))
    return fail("output_size {}, expected two sizes", shape_text(sizes));
  return window_counts(sizes, windows);
}

Expected<std::vector<Type>> infer_col2im(const InferCall& call) {
  TAPER_ASSIGN(const Windows windows, patch_windows(call, 3));
  TAPER_ASSIGN(const Shape counts, col2im_counts(call.attrs, windows));
  const Shape& x = call.shape(0);
  if (x[2] != counts[0] * counts[1])
    return fail("x has {} columns, output_size has {} windows", x[2].text(), (counts[0] * counts[1]).text());
  TAPER_ASSIGN(Dim channels, divided(x[1], windows.taps(), "the number of rows"));
  const Shape& sizes = call.attrs.get<Shape>("output_size");
  return std::vector{Type{call.type(0).dtype, {x[0], std::move(channels), sizes[0], sizes[1]}}};
}

Expected<std::vector<Array>> eval_col2im(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Windows windows = accepted_windows(with_both_sides(call.attrs), call.attrs.integers("kernel"));
  TAPER_ASSIGN(const Integers sizes, evaluate(call.attrs.get<Shape>("output_size"), call.bindings));
  TAPER_ASSIGN(const Shape counts, window_counts(to_shape(sizes), windows));
  const Grid grid = grid_of(sizes, *constant_sizes(counts), windows);
  Array y = make_array(x.dtype, {x.size(0), x.size(1) / grid.taps(), sizes[0], sizes[1]});
  for (std::int64_t plane = 0; plane < y.size(0) * y.size(1); ++plane)
    for_each_run(grid, [&](std::int64_t tap, std::int64_t window, std::int64_t at, std::int64_t count) {
      const double* from = x.values.data() + (plane * grid.taps() + tap) * grid.out_count() + window;
      for (std::int64_t i = 0; i < count; ++i)
        y.values[static_cast<std::size_t>(plane * grid.in_count() + at + i * grid.stride[2])] += from[i];
    });
  return std::vector{std::move(y)};
}

std::vector<Value*> expand_col2im(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x = node.operands[0]->type.shape;
  const Windows windows = accepted_windows(with_both_sides(node.attrs), node.attrs.integers("kernel"));
  const Shape& sizes = node.attrs.get<Shape>("output_size");
  const Shape counts = *window_counts(sizes, windows);
  // What the windows leave over at the end; where a symbol decides, more is added than there may be, and cut off.
  Attrs attrs = with_both_sides(node.attrs);
  Integers rest, padding = attrs.integers("padding");
  std::vector<bool> cut;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const Dim reach = (counts[axis] - 1) * windows.stride[axis] + windows.extent(axis);
    const auto left = (sizes[axis] + windows.before[axis] - reach).constant();  // negative: padding at the end
    padding[2 + axis] = left ? std::max<std::int64_t>(0, -*left) : 0;
    rest.push_back(left ? std::max<std::int64_t>(0, *left) : windows.stride[axis] - 1);
    cut.push_back(!left);
  }
  attrs.set("padding", padding);
  attrs.set("output_padding", Integers{0, 0});
  const Dim planes = *divide_exactly(x[1], Dim(windows.taps())) * x[0];
  Value* taps = build("reshape", {operands[0]}, {{"shape", Shape{planes, windows.taps(), counts[0], counts[1]}}});
  Value* y = build("conv_transpose", {taps, build.constant(taps_apart(windows), "taps")}, attrs);
  if (rest[0] > 0 || rest[1] > 0)
    y = build("pad", {y}, {{"before", Integers{0, 0, 0, 0}}, {"after", Integers{0, 0, rest[0], rest[1]}}});
  for (std::size_t axis = 0; axis < 2; ++axis)
    if (cut[axis]) y = build("slice", {y}, {{"dim", static_cast<std::int64_t>(axis + 2)}, {"end", Shape{sizes[axis]}}});
  return {build("reshape", {y}, {{"shape", node.results[0]->type.shape}})};
}

Op col2im() {
  std::vector<AttrSpec> attrs = patch_attrs();
  attrs.push_back({"output_size", AttrKind::shape});
  const auto with_size = [](Attrs all, Shape sizes) {
    all.set("output_size", std::move(sizes));
    return all;
  };
  return {
      .name = "col2im",
      .doc = "the sums of columns [N, C * taps, windows] over an image [N, C, *output_size], the transpose of `im2col`",
      .operands = {"x"},
      .attrs = std::move(attrs),
      .infer = infer_col2im,
      .eval = eval_col2im,
      .expand = expand_col2im,
      .expands_if = has_few_taps,
      .examples = {{{f32({2, 18, 16})}, with_size(example_attrs({2, 3}, {1, 1}, {0, 0}, {1, 1}), {5, 6})},
                   {{f32({1, 18, 12})}, with_size(example_attrs({3, 3}, {2, 2}, {1, 1}, {1, 1}), {8, 6})}},
  };
}

}  // namespace

std::vector<Op> image_ops() {
  return {depth_to_space(), space_to_depth(), im2col(), col2im()};
}

}  // namespace taper
