#include "ir/quantization.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/bytes.h"

namespace taper {

double Quantization::lowest() const {
  return -std::ldexp(1.0, bits - 1);
}
double Quantization::highest() const {
  return std::ldexp(1.0, bits - 1) - 1;
}

Quantization per_tensor_grid(int bits, float scale, std::int64_t zero_point) {
  return {.bits = bits, .scales = {scale}, .zero_points = {zero_point}, .axis = std::nullopt, .block = 0};
}

GridIndex::GridIndex(const Quantization& quantization, const std::vector<std::int64_t>& sizes) {
  if (quantization.per_tensor() || sizes.empty()) return;
  single_ = false;
  const auto axis = static_cast<std::size_t>(*quantization.axis);
  entries_ = static_cast<std::size_t>(sizes[axis]);
  for (std::size_t i = axis + 1; i < sizes.size(); ++i) inner_ *= static_cast<std::size_t>(sizes[i]);
  row_ = static_cast<std::size_t>(sizes.back());
  block_ = static_cast<std::size_t>(quantization.block);
  if (block_ > 0) blocks_ = row_ / block_;
}

std::size_t GridIndex::of(std::size_t element) const {
  if (single_) return 0;
  const std::size_t entry = element / inner_ % entries_;
  return block_ == 0 ? entry : entry * blocks_ + element % row_ / block_;
}

double quantized_integer(const Quantization& quantization, std::size_t grid, double value) {
  const auto zero = static_cast<double>(quantization.zero_points[grid]);
  if (std::isnan(value)) return zero;
  return std::clamp(std::round(value / static_cast<double>(quantization.scales[grid])) + zero, quantization.lowest(),
                    quantization.highest());
}

namespace {

// How many scales a value of this shape has on such a grid.
Expected<std::int64_t> scale_count(const Quantization& q, const Shape& shape) {
  if (q.per_tensor()) {
    if (q.block != 0) return fail("blocks without an axis");
    return 1;
  }
  const auto rank = static_cast<std::int64_t>(shape.size());
  if (*q.axis < 0 || *q.axis >= rank) return fail("axis {} of {}", *q.axis, shape_text(shape));
  const auto entries = shape[static_cast<std::size_t>(*q.axis)].constant();
  if (!entries) return fail("scales along an axis of the size {}", shape[static_cast<std::size_t>(*q.axis)].text());
  if (q.block == 0) return *entries;
  const auto row = shape.back().constant();
  if (q.block < 0 || *q.axis == rank - 1 || !row || *row % q.block != 0)
    return fail("blocks of {} along the last axis of {}", q.block, shape_text(shape));
  const auto count = checked_mul<std::int64_t>(*entries, *row / q.block);
  if (!count) return fail("{} blocks overflow", shape_text(shape));
  return *count;
}

}  // namespace

Status check_quantization(const Quantization& q, const Shape& shape) {
  constexpr std::array kBits = {4, 8, 16, 32, 64};
  if (std::ranges::find(kBits, q.bits) == kBits.end()) return fail("integers of {} bits", q.bits);
  TAPER_ASSIGN(const std::int64_t count, scale_count(q, shape));
  if (q.scales.size() != static_cast<std::uint64_t>(count) || q.zero_points.size() != q.scales.size())
    return fail("{} scales and {} zero points, expected {} for {}", q.scales.size(), q.zero_points.size(), count,
                shape_text(shape));
  for (const float scale : q.scales)
    if (!std::isfinite(scale) || scale <= 0) return fail("the scale {}", scale);
  for (const std::int64_t zero : q.zero_points)
    if (static_cast<double>(zero) < q.lowest() || static_cast<double>(zero) > q.highest())
      return fail("the zero point {} of {} bits", zero, q.bits);
  return {};
}

std::string quantization_text(const Quantization& q) {
  std::string text =
      fmt::format("i{} scale [{}] zero [{}]", q.bits, fmt::join(q.scales, ", "), fmt::join(q.zero_points, ", "));
  if (q.axis) text += fmt::format(" axis {}", *q.axis);
  if (q.block != 0) text += fmt::format(" block {}", q.block);
  return text;
}

}  // namespace taper
