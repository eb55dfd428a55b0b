#include "ops/windows.h"

#include <numeric>

#include "ops/rules.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

constexpr std::int64_t kLargest = (std::int64_t{1} << 31) - 1;

Status check_entries(std::string_view name, const Integers& entries, std::size_t count, std::int64_t least) {
  if (entries.size() != count)
    return fail("{} [{}] has {} entries, expected {}", name, fmt::join(entries, ", "), entries.size(), count);
  for (const std::int64_t entry : entries)
    if (entry < least || entry > kLargest)
      return fail("{} [{}] has the entry {}, expected {} or more", name, fmt::join(entries, ", "), entry, least);
  return {};
}

// Elements that the copied patches of one product may have.
constexpr std::int64_t kPatchElements = 1 << 20;

// How many rows of windows make one product.
std::int64_t rows_at_once(const Grid& grid, std::int64_t elements_per_window) {
  return std::max<std::int64_t>(1, kPatchElements / std::max<std::int64_t>(1, elements_per_window * grid.out[2]));
}

void add_bias(Array& y, const Array* bias) {
  if (bias == nullptr) return;
  const std::int64_t channels = y.size(1);
  const std::int64_t run = axis_view(y.shape, 1).inner;
  for (std::int64_t i = 0; i < y.size(0) * channels; ++i)
    std::fill_n(y.values.begin() + i * run, run, bias->values[static_cast<std::size_t>(i % channels)]);
}

}  // namespace

std::int64_t Windows::taps() const {
  std::int64_t count = 1;
  for (const std::int64_t size : kernel) count *= size;
  return count;
}

Windows accepted_windows(const Attrs& attrs, Integers kernel) {
  const std::size_t axes = kernel.size();
  Windows windows{std::move(kernel), Integers(axes, 1), Integers(axes, 0), Integers(axes, 0), Integers(axes, 1)};
  if (attrs.find("stride") != nullptr) windows.stride = attrs.integers("stride");
  if (attrs.find("dilation") != nullptr) windows.dilation = attrs.integers("dilation");
  if (attrs.find("padding") != nullptr) {
    const Integers& padding = attrs.integers("padding");
    const auto middle = padding.begin() + static_cast<std::ptrdiff_t>(axes);
    windows.before.assign(padding.begin(), middle);
    windows.after.assign(middle, padding.end());
  }
  return windows;
}

Expected<Windows> windows_of(const Attrs& attrs, Integers kernel) {
  const std::size_t axes = kernel.size();
  TAPER_TRY(check_entries("kernel", kernel, axes, 1));
  for (const std::string_view name : {"stride", "dilation"})
    if (attrs.find(name) != nullptr) TAPER_TRY(check_entries(name, attrs.integers(name), axes, 1));
  if (attrs.find("padding") != nullptr) TAPER_TRY(check_entries("padding", attrs.integers("padding"), 2 * axes, 0));
  return accepted_windows(attrs, std::move(kernel));
}

Status check_channels_first(const Type& type) {
  if (type.shape.size() < 3 || type.shape.size() > 5)
    return fail("x has shape {}, expected [N, C, ...] with one to three more axes", shape_text(type.shape));
  if (!is_floating(type.dtype)) return fail("x is {}, expected floating numbers", info(type.dtype).name);
  return {};
}

Shape spatial_sizes(const Shape& x) {
  return {x.begin() + 2, x.end()};
}

Expected<Shape> window_counts(const Shape& sizes, const Windows& windows, bool ceil_mode) {
  Shape counts;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const std::int64_t stride = windows.stride[axis];
    const Dim padded = sizes[axis] + windows.before[axis] + windows.after[axis];
    const Dim room = padded - windows.extent(axis);
    if (room.constant().value_or(0) < 0)
      return fail("a window of size {} in an axis of size {}", windows.extent(axis), padded.text());
    if (!ceil_mode) {
      counts.push_back(floor_divide(room, stride) + 1);
      continue;
    }
    const Dim reached = ceil_divide(room, stride) + 1;
    // Windows that begin behind the last element are left out, as PyTorch does.
    const bool always_inside = windows.extent(axis) - windows.after[axis] >= stride;
    const Dim inside = floor_divide(sizes[axis] + (windows.before[axis] - 1), stride) + 1;
    counts.push_back(always_inside ? reached : dim_min(reached, inside));
  }
  return counts;
}

Grid grid_of(std::span<const std::int64_t> in, std::span<const std::int64_t> out, const Windows& windows) {
  Grid grid;
  const std::size_t first = 3 - windows.axes();
  for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
    grid.in[first + axis] = in[axis];
    grid.out[first + axis] = out[axis];
    grid.kernel[first + axis] = windows.kernel[axis];
    grid.stride[first + axis] = windows.stride[axis];
    grid.before[first + axis] = windows.before[axis];
    grid.dilation[first + axis] = windows.dilation[axis];
  }
  return grid;
}

Array convolve(const Array& x, const Array& weight, const Array* bias, const Windows& windows, std::int64_t groups) {
  std::vector<std::int64_t> shape = {x.size(0), weight.size(0)};
  for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
    const std::int64_t room = x.shape[axis + 2] + windows.before[axis] + windows.after[axis] - windows.extent(axis);
    shape.push_back(room < 0 ? 0 : room / windows.stride[axis] + 1);
  }
  Array y = make_array(x.dtype, shape);
  add_bias(y, bias);
  const Grid grid = grid_of(std::span(x.shape).subspan(2), std::span(shape).subspan(2), windows);
  const std::int64_t outputs = weight.size(0) / groups, inputs = weight.size(1);
  const std::int64_t depth = inputs * grid.taps();
  const std::int64_t rows = rows_at_once(grid, depth);
  std::vector<double> patches, product;
  for (std::int64_t batch = 0; batch < x.size(0); ++batch)
    for (std::int64_t group = 0; group < groups; ++group)
      for (std::int64_t row = 0; row < grid.rows(); row += rows) {
        const std::int64_t last = std::min(grid.rows(), row + rows);
        const std::int64_t base = row * grid.out[2], count = (last - row) * grid.out[2];
        patches.assign(static_cast<std::size_t>(depth * count), 0);
        for (std::int64_t channel = 0; channel < inputs; ++channel) {
          const double* plane = x.values.data() + ((batch * groups + group) * inputs + channel) * grid.in_count();
          double* target = patches.data() + channel * grid.taps() * count;
          for_each_run(grid, row, last, [&](std::int64_t tap, std::int64_t window, std::int64_t at, std::int64_t n) {
            double* to = target + tap * count + window - base;
            for (std::int64_t i = 0; i < n; ++i) to[i] = plane[at + i * grid.stride[2]];
          });
        }
        product.assign(static_cast<std::size_t>(outputs * count), 0);
        multiply_accumulate(weight.values.data() + group * outputs * depth, patches.data(), product.data(), outputs,
                            count, depth, false);
        for (std::int64_t channel = 0; channel < outputs; ++channel) {
          double* to = y.values.data() + ((batch * groups + group) * outputs + channel) * grid.out_count() + base;
          for (std::int64_t i = 0; i < count; ++i) to[i] += product[static_cast<std::size_t>(channel * count + i)];
        }
      }
  return y;
}

Array convolve_transposed(const Array& x, const Array& weight, const Array* bias, const Windows& windows,
                          std::int64_t groups, std::span<const std::int64_t> sizes) {
  const std::int64_t outputs = weight.size(1), inputs = weight.size(0) / groups;
  std::vector<std::int64_t> shape = {x.size(0), outputs * groups};
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  Array y = make_array(x.dtype, shape);
  add_bias(y, bias);
  // Each element of x is a window over the result.
  const Grid grid = grid_of(sizes, std::span(x.shape).subspan(2), windows);
  const std::int64_t width = outputs * grid.taps();
  const std::int64_t rows = rows_at_once(grid, width);
  std::vector<double> transposed, product;
  for (std::int64_t batch = 0; batch < x.size(0); ++batch)
    for (std::int64_t group = 0; group < groups; ++group)
      for (std::int64_t row = 0; row < grid.rows(); row += rows) {
        const std::int64_t last = std::min(grid.rows(), row + rows);
        const std::int64_t base = row * grid.out[2], count = (last - row) * grid.out[2];
        transposed.assign(static_cast<std::size_t>(count * inputs), 0);
        for (std::int64_t channel = 0; channel < inputs; ++channel) {
          const double* plane =
              x.values.data() + ((batch * groups + group) * inputs + channel) * grid.out_count() + base;
          for (std::int64_t i = 0; i < count; ++i)
            transposed[static_cast<std::size_t>(i * inputs + channel)] = plane[i];
        }
        product.assign(static_cast<std::size_t>(count * width), 0);
        multiply_accumulate(transposed.data(), weight.values.data() + group * inputs * width, product.data(), count,
                            width, inputs, false);
        for (std::int64_t channel = 0; channel < outputs; ++channel) {
          double* plane = y.values.data() + ((batch * groups + group) * outputs + channel) * grid.in_count();
          for_each_run(grid, row, last, [&](std::int64_t tap, std::int64_t window, std::int64_t at, std::int64_t n) {
            for (std::int64_t i = 0; i < n; ++i)
              plane[at + i * grid.stride[2]] +=
                  product[static_cast<std::size_t>((window - base + i) * width + channel * grid.taps() + tap)];
          });
        }
      }
  return y;
}

Integers swapped_with_last(std::size_t axis, std::size_t rank) {
  Integers dims(rank);
  std::iota(dims.begin(), dims.end(), 0);
  std::swap(dims[axis], dims[rank - 1]);
  return dims;
}

Value* multiply_along_axis(Builder& build, Value* x, std::size_t axis, std::size_t rank, Tensor matrix) {
  const Attrs swapped = {{"dims", swapped_with_last(axis, rank)}};
  const bool is_last = axis + 1 == rank;
  if (!is_last) x = build("permute", {x}, swapped);
  Value* y = build("linear", {x, build.constant(std::move(matrix), "shares")});
  return is_last ? y : build("permute", {y}, swapped);
}

Value* multiply_along_axis(Builder& build, Value* x, std::size_t axis, std::size_t rank, Value* matrix) {
  const Attrs swapped = {{"dims", swapped_with_last(axis, rank)}};
  const bool is_last = axis + 1 == rank;
  if (!is_last) x = build("permute", {x}, swapped);
  Value* y = build("matmul", {x, matrix}, {{"transpose_b", true}});
  return is_last ? y : build("permute", {y}, swapped);
}

Value* size_as_real(Builder& build, const Dim& size) {
  if (const auto number = size.constant()) return build.scalar(static_cast<double>(*number));
  Value* entry = build("sizes", {}, {{"sizes", Shape{size}}, {"dtype", DType::i32}});
  entry = build("squeeze", {entry}, {{"dims", std::vector<std::int64_t>{0}}});
  return build("cast", {entry}, {{"to", DType::f32}});
}

Value* real_range(Builder& build, const Dim& length) {
  return build("arange", {}, {{"start", Shape{0}}, {"length", Shape{length}}, {"dtype", DType::f32}});
}

}  // namespace taper
