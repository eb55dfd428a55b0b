// ONNX's convolutions and pools.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "frontend/onnx_importer.h"
#include "frontend/onnx_windows.h"
#include "frontend/padding.h"

namespace taper::onnx_reader {
namespace {

using Integers = std::vector<std::int64_t>;

}  // namespace

// What convolutions and pools say of their windows; padding as begins, then ends.
std::optional<Windows> windows_of(Call& call, const Shape& x, std::optional<Integers> kernel) {
  const std::size_t axes = x.size() < 2 ? 0 : x.size() - 2;
  if (axes < 1 || axes > 3) {
    call.fail(fmt::format("images of shape {}, expected one to three axes after the channels", shape_text(x)));
    return std::nullopt;
  }
  Windows windows;
  const auto given = call.integers("kernel_shape");
  if (!kernel) kernel = given;
  if (!kernel) {
    call.fail("kernel_shape is missing");
    return std::nullopt;
  }
  windows.kernel = *kernel;
  windows.stride = call.integers("strides").value_or(Integers(axes, 1));
  windows.dilation = call.integers("dilations").value_or(Integers(axes, 1));
  windows.padding = call.integers("pads").value_or(Integers(2 * axes, 0));
  if (windows.kernel.size() != axes || windows.stride.size() != axes || windows.dilation.size() != axes ||
      windows.padding.size() != 2 * axes) {
    call.fail("kernel_shape, strides, dilations or pads are for another number of axes");
    return std::nullopt;
  }
  constexpr std::int64_t kMost = 1 << 20;
  std::int64_t elements = 1;
  for (std::size_t i = 0; i < axes; ++i)
    if (windows.kernel[i] < 1 || windows.kernel[i] > kMost || windows.stride[i] < 1 || windows.stride[i] > kMost ||
        windows.dilation[i] < 1 || windows.dilation[i] > kMost || std::abs(windows.padding[i]) > kMost ||
        std::abs(windows.padding[i + axes]) > kMost) {
      call.fail("kernel_shape, strides, dilations or pads are out of range");
      return std::nullopt;
    }
  for (const std::int64_t size : windows.kernel) elements *= std::min(size, kMost / elements + 1);
  if (elements > kMost) {
    call.fail("kernel_shape is out of range");
    return std::nullopt;
  }
  windows.automatic = call.text("auto_pad", "NOTSET");
  return windows;
}

// SAME: as many windows as strides fit into the axis.
void pad_same(Call& call, const Shape& x, Windows& windows) {
  if (windows.automatic == "VALID") std::ranges::fill(windows.padding, 0);
  if (!windows.automatic.starts_with("SAME")) return;
  const std::size_t axes = windows.kernel.size();
  for (std::size_t i = 0; i < axes; ++i) {
    const std::int64_t stride = windows.stride[i];
    const std::int64_t reach = (windows.kernel[i] - 1) * windows.dilation[i] + 1;
    const auto size = x[i + 2].constant();
    if (!size && stride != 1) return call.fail("padding for an axis of open size and a stride above 1");
    const std::int64_t total =
        stride == 1 ? reach - 1
                    : std::max<std::int64_t>(((*size + stride - 1) / stride - 1) * stride + reach - *size, 0);
    const std::int64_t less = total / 2, more = total - less;
    windows.padding[i] = windows.automatic == "SAME_LOWER" ? more : less;
    windows.padding[i + axes] = windows.automatic == "SAME_LOWER" ? less : more;
  }
}

Attrs conv_attrs(const Windows& windows, std::int64_t groups) {
  return {{"stride", windows.stride}, {"padding", windows.padding}, {"dilation", windows.dilation}, {"groups", groups}};
}

Value* windows_summed(Call& call, Value* x, const Windows& windows) {
  if (call.failed()) return nullptr;
  // Each channel alone: [N, C, S] -> [N C, 1, S], with a kernel of ones.
  const Shape shape = x->type.shape;
  Shape flat = {shape[0] * shape[1], 1};
  flat.insert(flat.end(), shape.begin() + 2, shape.end());
  std::vector<std::int64_t> kernel_shape = {1, 1};
  kernel_shape.insert(kernel_shape.end(), windows.kernel.begin(), windows.kernel.end());
  Array ones{x->type.dtype, kernel_shape, {}};
  ones.values.assign(static_cast<std::size_t>(*element_count(to_shape(kernel_shape)).constant()), 1.0);
  Value* sums =
      call.build("conv", {call.reshape(x, flat), call.build.constant(to_tensor(ones))}, conv_attrs(windows, 1));
  if (call.failed()) return nullptr;
  Shape back = {shape[0], shape[1]};
  back.insert(back.end(), sums->type.shape.begin() + 2, sums->type.shape.end());
  return call.reshape(sums, back);
}

namespace {

// ---------------------------------------------------------------------------------------------------------------- conv

std::optional<Integers> spatial_sizes(Call& call, const Shape& weight) {
  Integers sizes;
  for (std::size_t i = 2; i < weight.size(); ++i) {
    if (!weight[i].constant()) {
      call.fail("the kernel's size is open");
      return std::nullopt;
    }
    sizes.push_back(*weight[i].constant());
  }
  return sizes;
}

void read_conv(Call& call) {
  const Shape x = call.shape(0), weight = call.shape(1);
  if (call.failed()) return;
  const std::int64_t groups = call.integer("group", 1);
  const auto kernel = spatial_sizes(call, weight);
  if (!kernel) return;
  auto windows = windows_of(call, x, kernel);
  if (!windows) return;
  pad_same(call, x, *windows);
  call.set(0, call.build("conv", {call.x(0), call.x(1), call.optional(2)}, conv_attrs(*windows, groups), call.name()));
}

void read_conv_transpose(Call& call) {
  const Shape x = call.shape(0), weight = call.shape(1);
  if (call.failed()) return;
  const std::int64_t groups = call.integer("group", 1);
  const auto kernel = spatial_sizes(call, weight);
  if (!kernel) return;
  auto windows = windows_of(call, x, kernel);
  const std::size_t axes = kernel->size();
  Integers extra = call.integers("output_padding").value_or(Integers(axes, 0));
  auto sizes = call.integers("output_shape");
  if (!windows) return;
  if (extra.size() != axes) return call.fail("output_padding is for another number of axes");
  if (sizes && sizes->size() == axes + 2) sizes->erase(sizes->begin(), sizes->begin() + 2);
  const bool same = windows->automatic.starts_with("SAME");
  if (windows->automatic == "VALID") std::ranges::fill(windows->padding, 0);
  if (sizes || same) {
    for (std::size_t i = 0; i < axes; ++i) {
      const auto size = x[i + 2].constant();
      std::int64_t total = (windows->kernel[i] - 1) * windows->dilation[i] + 1 - windows->stride[i] + extra[i];
      if (sizes) {
        if (!size || sizes->size() != axes) return call.fail("output_shape for an axis of open size");
        total = windows->stride[i] * (*size - 1) + extra[i] + (windows->kernel[i] - 1) * windows->dilation[i] + 1 -
                (*sizes)[i];
      }
      if (total < 0) {
        extra[i] -= total;
        total = 0;
      }
      const bool upper = windows->automatic == "SAME_UPPER";
      windows->padding[i] = upper ? total / 2 : total - total / 2;
      windows->padding[i + axes] = upper ? total - total / 2 : total / 2;
    }
  }
  Attrs attrs = conv_attrs(*windows, groups);
  attrs.set("output_padding", extra);
  call.set(0, call.build("conv_transpose", {call.x(0), call.x(1), call.optional(2)}, attrs, call.name()));
}

// --------------------------------------------------------------------------------------------------------------- pools

// The places that max_pool_with_indices gives, within one channel's image in row-major order, as ONNX counts them: over
// the whole tensor.
Value* places_in_tensor(Call& call, Value* places, const Shape& x, bool column_major) {
  if (call.failed()) return nullptr;
  Dim image = 1;
  for (std::size_t i = 2; i < x.size(); ++i) image = image * x[i];
  if (column_major && x.size() == 4) {
    if (!x[2].constant() || !x[3].constant()) {
      call.fail("column-major indices of an image of open size");
      return nullptr;
    }
    const auto width = static_cast<double>(*x[3].constant()), height = static_cast<double>(*x[2].constant());
    Value* row = call.binary("floor_divide", places, width);
    Value* column = call.binary("remainder", places, width);
    places = call.build("add", {call.binary("mul", column, height), row});
  }
  const Dim channels = x[0] * x[1];
  Value* line = call.arange(channels);
  Value* offsets = call.build("mul", {line, size_as_number(call.build, image, DType::i64)});
  Shape shape(x.size(), Dim(1));
  shape[0] = x[0];
  shape[1] = x[1];
  return call.build("add", {places, call.reshape(offsets, shape)});
}

void read_max_pool(Call& call) {
  const Shape x = call.shape(0);
  if (call.failed()) return;
  auto windows = windows_of(call, x, std::nullopt);
  const bool ceil_mode = call.flag("ceil_mode", false), column_major = call.flag("storage_order", false);
  if (!windows) return;
  pad_same(call, x, *windows);
  const Attrs attrs = {{"kernel", windows->kernel},
                       {"stride", windows->stride},
                       {"padding", windows->padding},
                       {"dilation", windows->dilation},
                       {"ceil_mode", ceil_mode}};
  if (!call.wants(1)) {
    const DType dtype = call.dtype(0);
    if (is_floating(dtype)) return call.set(0, call.build("max_pool", {call.x(0)}, attrs, call.name()));
    return call.set(0,
                    call.cast(call.build("max_pool", {call.cast(call.x(0), DType::f32)}, attrs), dtype, call.name()));
  }
  const std::vector<Value*> out = call.build.call("max_pool_with_indices", {call.x(0)}, attrs, call.name());
  call.set(0, out[0]);
  call.set(1, places_in_tensor(call, out[1], x, column_major));
}

// Ends that hold the last window where sizes are rounded up.
void pad_to_ceiling(const Shape& x, Windows& windows) {
  const std::size_t axes = windows.kernel.size();
  for (std::size_t i = 0; i < axes; ++i) {
    const auto size = x[i + 2].constant();
    if (!size) continue;
    const std::int64_t reach = (windows.kernel[i] - 1) * windows.dilation[i] + 1;
    const std::int64_t length = *size + windows.padding[i] + windows.padding[i + axes] - reach;
    std::int64_t count = (length + windows.stride[i] - 1) / windows.stride[i];
    if (count * windows.stride[i] >= *size + windows.padding[i]) --count;  // it would start in the padding
    windows.padding[i + axes] += std::max<std::int64_t>(count * windows.stride[i] - length, 0);
  }
}

void read_average_pool(Call& call) {
  const Shape x = call.shape(0);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  auto windows = windows_of(call, x, std::nullopt);
  const bool ceil_mode = call.flag("ceil_mode", false), counts_padding = call.flag("count_include_pad", false);
  if (!windows) return;
  pad_same(call, x, *windows);
  if (std::ranges::all_of(windows->dilation, [](std::int64_t step) { return step == 1; }))
    return call.set(0, call.build("avg_pool", {call.x(0)},
                                  {{"kernel", windows->kernel},
                                   {"stride", windows->stride},
                                   {"padding", windows->padding},
                                   {"ceil_mode", ceil_mode},
                                   {"count_include_pad", counts_padding}},
                                  call.name()));
  // With gaps: the sums of the windows over the numbers of elements in them.
  const Windows before = *windows;
  if (ceil_mode) pad_to_ceiling(x, *windows);
  Value* sums = windows_summed(call, call.x(0), *windows);
  if (call.failed()) return;
  Shape image = x;
  image[0] = image[1] = 1;
  Value* ones = call.full(image, 1, dtype);
  Windows counted = *windows;
  if (counts_padding) {
    const std::size_t axes = windows->kernel.size();
    Integers begin(2, 0), end(2, 0);
    begin.insert(begin.end(), before.padding.begin(), before.padding.begin() + static_cast<std::ptrdiff_t>(axes));
    end.insert(end.end(), before.padding.begin() + static_cast<std::ptrdiff_t>(axes), before.padding.end());
    ones = call.build("pad", {ones},
                      {{"before", begin}, {"after", end}, {"mode", std::string("constant")}, {"value", 1.0}});
    for (std::size_t i = 0; i < 2 * axes; ++i) counted.padding[i] -= before.padding[i];
  }
  call.set(0, call.build("div", {sums, windows_summed(call, ones, counted)}, {}, call.name()));
}

// (sum |x|^p)^(1/p) over windows
void read_lp_pool(Call& call) {
  const Shape x = call.shape(0);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  auto windows = windows_of(call, x, std::nullopt);
  const auto p = static_cast<double>(call.integer("p", 2));
  const bool ceil_mode = call.flag("ceil_mode", false);
  if (!windows) return;
  pad_same(call, x, *windows);
  if (ceil_mode) pad_to_ceiling(x, *windows);
  Value* powers = call.build("pow", {call.build("abs", {call.x(0)}), call.number(p, dtype)});
  Value* sums = windows_summed(call, powers, *windows);
  call.set(0, call.build("pow", {sums, call.number(1 / p, dtype)}, {}, call.name()));
}

Integers spatial_axes(std::size_t rank) {
  Integers axes(rank < 2 ? 0 : rank - 2);
  std::iota(axes.begin(), axes.end(), std::int64_t{2});
  return axes;
}

template <int kKind>
void read_global_pool(Call& call) {
  const Integers axes = spatial_axes(call.rank(0));
  if (call.failed()) return;
  const char* op = kKind == 0 ? "mean" : "amax";
  call.set(0, call.build(op, {call.x(0)}, {{"dims", axes}, {"keepdim", true}}, call.name()));
}

void read_global_lp_pool(Call& call) {
  const Integers axes = spatial_axes(call.rank(0));
  const DType dtype = call.dtype(0);
  const auto p = static_cast<double>(call.integer("p", 2));
  if (call.failed()) return;
  Value* powers = call.build("pow", {call.build("abs", {call.x(0)}), call.number(p, dtype)});
  Value* sums = call.build("sum", {powers}, {{"dims", axes}, {"keepdim", true}});
  call.set(0, call.build("pow", {sums, call.number(1 / p, dtype)}, {}, call.name()));
}

// The inverse of MaxPool: values at their places, zeros elsewhere. A larger image than the windows tell is filled up at
// its ends.
void read_max_unpool(Call& call) {
  const Shape x = call.shape(0);
  const DType dtype = call.dtype(0);
  if (call.failed()) return;
  auto windows = windows_of(call, x, std::nullopt);
  if (!windows) return;
  const std::size_t axes = windows->kernel.size();
  Shape image = {x[0], x[1]};
  for (std::size_t i = 0; i < axes; ++i)
    image.push_back((x[i + 2] - 1) * Dim(windows->stride[i]) +
                    Dim(windows->kernel[i] - windows->padding[i] - windows->padding[i + axes]));
  Shape target = image;
  if (call.has(2)) target = to_shape(call.integers_of(2));
  if (call.failed()) return;
  Value* places = call.reshape(call.x(1), Shape{element_count(x), 1});
  Value* flat = call.full(Shape{element_count(image)}, 0, dtype);
  flat = call.build("scatter_nd", {flat, places, call.reshape(call.x(0), Shape{element_count(x)})},
                    {{"reduction", std::string("none")}});
  Value* result = call.reshape(flat, image, call.name());
  if (target != image) {
    const auto from = constant_sizes(image), to = constant_sizes(target);
    if (!from || !to || from->size() != to->size()) return call.fail("output_shape for an image of open size");
    Integers after(from->size());
    for (std::size_t i = 0; i < after.size(); ++i) after[i] = (*to)[i] - (*from)[i];
    result = call.build(
        "pad", {result},
        {{"before", Integers(from->size(), 0)}, {"after", after}, {"mode", std::string("constant")}, {"value", 0.0}},
        call.name());
  }
  call.set(0, result);
}

void read_col2im(Call& call) {
  const Integers image = call.integers_of(1), kernel = call.integers_of(2);
  const std::size_t axes = image.size();
  const Integers stride = call.integers("strides").value_or(Integers(axes, 1));
  const Integers dilation = call.integers("dilations").value_or(Integers(axes, 1));
  const Integers padding = call.integers("pads").value_or(Integers(2 * axes, 0));
  if (call.failed()) return;
  if (padding.size() != 2 * axes || kernel.size() != axes || stride.size() != axes || dilation.size() != axes)
    return call.fail("attributes are for another number of axes");
  Integers half(padding.begin(), padding.begin() + static_cast<std::ptrdiff_t>(axes));
  if (!std::equal(half.begin(), half.end(), padding.begin() + static_cast<std::ptrdiff_t>(axes)))
    return call.fail("pads differ at the two ends");
  const DType dtype = call.dtype(0);
  Value* sums = call.build("col2im", {call.cast(call.x(0), DType::f32)},
                           {{"output_size", to_shape(image)},
                            {"kernel", kernel},
                            {"stride", stride},
                            {"padding", half},
                            {"dilation", dilation}});
  call.set(0, call.cast(sums, dtype, call.name()));
}

}  // namespace

std::vector<Row> image_rows() {
  return {
      {.op = "Conv", .operands = 2, .read = read_conv},
      {.op = "ConvTranspose", .operands = 2, .read = read_conv_transpose},
      {.op = "MaxPool", .read = read_max_pool},
      {.op = "AveragePool", .since = 7, .read = read_average_pool},
      {.op = "LpPool", .since = 2, .read = read_lp_pool},
      {.op = "GlobalAveragePool", .read = read_global_pool<0>},
      {.op = "GlobalMaxPool", .read = read_global_pool<1>},
      {.op = "GlobalLpPool", .since = 2, .read = read_global_lp_pool},
      {.op = "MaxUnpool", .operands = 2, .since = 9, .read = read_max_unpool},
      {.op = "Col2Im", .operands = 3, .since = 18, .read = read_col2im},
  };
}

}  // namespace taper::onnx_reader
