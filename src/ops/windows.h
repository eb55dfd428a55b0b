// Windows that slide over the spatial axes of x [N, C, *S]: those of convolutions, pools and patches.
#pragma once

#include <algorithm>
#include <array>

#include "ops/op.h"

namespace taper {

// One entry per spatial axis. Tap k of window o stands at o * stride - before + k * dilation.
struct Windows {
  std::vector<std::int64_t> kernel, stride, before, after, dilation;

  std::size_t axes() const { return kernel.size(); }
  // The size of a window, its holes included.
  std::int64_t extent(std::size_t axis) const { return dilation[axis] * (kernel[axis] - 1) + 1; }
  std::int64_t taps() const;
};

// The windows that the attributes `stride`, `padding` (befores, then afters) and `dilation` (ones where a row has no
// such attribute) say. Errors: lists of other lengths than `kernel`, numbers below 1 (padding: 0) or above 2^31 - 1.
Expected<Windows> windows_of(const Attrs& attrs, std::vector<std::int64_t> kernel);
// The same for attributes that a row has accepted.
Windows accepted_windows(const Attrs& attrs, std::vector<std::int64_t> kernel);

// x of rank 3 to 5, floating: [N, C, *S]. Errors: another type.
Status check_channels_first(const Type& type);
Shape spatial_sizes(const Shape& x);

// How many windows fit into padded axes of these sizes. With `ceil_mode` a last window may reach beyond the padding,
// but has to begin before it. Errors: a window that is larger than its padded axis.
Expected<Shape> window_counts(const Shape& sizes, const Windows& windows, bool ceil_mode = false);

// Windows over three axes, with axes of size 1 in front where there are fewer.
struct Grid {
  std::array<std::int64_t, 3> in = {1, 1, 1}, out = {1, 1, 1}, kernel = {1, 1, 1}, stride = {1, 1, 1},
                              before = {0, 0, 0}, dilation = {1, 1, 1};

  std::int64_t in_count() const { return in[0] * in[1] * in[2]; }
  std::int64_t out_count() const { return out[0] * out[1] * out[2]; }
  std::int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  std::int64_t rows() const { return out[0] * out[1]; }  // of windows along the last axis
};
Grid grid_of(std::span<const std::int64_t> in, std::span<const std::int64_t> out, const Windows& windows);

// Calls f(tap, window, element, count) for runs of windows along the last axis in which tap `tap` lies on an element:
// windows window, window + 1, ... on elements element, element + stride, ... Only rows of windows from `first_row` to
// before `last_row`.
template <class F>
void for_each_run(const Grid& grid, std::int64_t first_row, std::int64_t last_row, F f) {
  const auto position = [&grid](std::size_t axis, std::int64_t window, std::int64_t tap) {
    return window * grid.stride[axis] - grid.before[axis] + tap * grid.dilation[axis];
  };
  std::int64_t tap = 0;
  for (std::int64_t kz = 0; kz < grid.kernel[0]; ++kz)
    for (std::int64_t ky = 0; ky < grid.kernel[1]; ++ky)
      for (std::int64_t kx = 0; kx < grid.kernel[2]; ++kx, ++tap) {
        const std::int64_t start = position(2, 0, kx);
        const std::int64_t begin = start >= 0 ? 0 : (-start + grid.stride[2] - 1) / grid.stride[2];
        const std::int64_t end =
            std::min(grid.out[2], start >= grid.in[2] ? 0 : (grid.in[2] - 1 - start) / grid.stride[2] + 1);
        if (begin >= end) continue;
        for (std::int64_t row = first_row; row < last_row; ++row) {
          const std::int64_t z = position(0, row / grid.out[1], kz);
          const std::int64_t y = position(1, row % grid.out[1], ky);
          if (z < 0 || z >= grid.in[0] || y < 0 || y >= grid.in[1]) continue;
          f(tap, row * grid.out[2] + begin, (z * grid.in[1] + y) * grid.in[2] + start + begin * grid.stride[2],
            end - begin);
        }
      }
}
template <class F>
void for_each_run(const Grid& grid, F f) {
  for_each_run(grid, 0, grid.rows(), f);
}

// Convolution of x [N, C, *S] with weight [O, C/groups, *K]; `bias` may be nullptr.
Array convolve(const Array& x, const Array& weight, const Array* bias, const Windows& windows, std::int64_t groups);
// Its transpose, x [N, C, *S], weight [C, O/groups, *K], into spatial sizes `sizes`.
Array convolve_transposed(const Array& x, const Array& weight, const Array* bias, const Windows& windows,
                          std::int64_t groups, std::span<const std::int64_t> sizes);

// M x along one axis of x, M [out, in] a constant.
Value* multiply_along_axis(Builder& build, Value* x, std::size_t axis, std::size_t rank, Tensor matrix);
// The same with a matrix that is computed when the file runs.
Value* multiply_along_axis(Builder& build, Value* x, std::size_t axis, std::size_t rank, Value* matrix);
// A size as a float32 of rank 0, and the float32 numbers 0, 1, ... before one.
Value* size_as_real(Builder& build, const Dim& size);
Value* real_range(Builder& build, const Dim& length);
// The order of `rank` axes in which `axis` and the last one have changed places.
std::vector<std::int64_t> swapped_with_last(std::size_t axis, std::size_t rank);

}  // namespace taper
