// Grids from weights and from ranges.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ops/grid.h"
#include "passes/quantize.h"

namespace taper {
namespace {

// The largest magnitudes suffice for min-max; other methods look at all numbers that share a scale.
std::vector<double> scales_of(const Tensor& weight, const Quantization& layout, std::size_t count,
                              WeightMethod method) {
  const GridIndex index(layout, weight.shape);
  std::vector<double> scales;
  if (method == WeightMethod::min_max) {
    std::vector<double> largest(count, 0);
    for_each_float(weight, [&](std::size_t i, float value) {
      double& known = largest[index.of(i)];
      known = std::max(known, static_cast<double>(std::fabs(value)));
    });
    for (const double value : largest) scales.push_back(scale_for({&value, 1}, layout.bits, method));
    return scales;
  }
  std::vector<std::vector<double>> groups(count);
  for_each_float(weight,
                 [&](std::size_t i, float value) { groups[index.of(i)].push_back(static_cast<double>(value)); });
  for (const std::vector<double>& group : groups) scales.push_back(scale_for(group, layout.bits, method));
  return scales;
}

// The smallest number that float16 and bfloat16 both hold and that is not below the scale: files keep scales of blocks
// in the one, kernels in the other. No subnormal one: some kernels refuse those.
float block_scale(double scale) {
  constexpr float kSmallestNormal = 0x1p-14F;
  const float wanted = std::max(static_cast<float>(scale), kSmallestNormal);
  std::uint32_t bits = std::bit_cast<std::uint32_t>(wanted);
  constexpr std::uint32_t kLost = 0xffff;  // of the mantissa
  if ((bits & kLost) != 0) bits = (bits | kLost) + 1;
  return float_from_half(half_from_float(std::bit_cast<float>(bits)));
}

}  // namespace

float stored_scale(double scale, const TensorScheme& scheme) {
  // A float of the least size keeps the quotients of the numbers and their scale finite.
  const double least = static_cast<double>(std::numeric_limits<float>::min());
  return scheme.block > 0 ? block_scale(scale) : static_cast<float>(std::max(scale, least));
}

std::optional<Range> range_of_numbers(const Tensor& constant, double floor) {
  Range range;
  bool finite = true;
  for_each_float(constant, [&](std::size_t, float value) {
    const double number = value < floor ? floor : static_cast<double>(value);
    finite = finite && std::isfinite(number);
    range = {std::min(range.low, number), std::max(range.high, number)};
  });
  return finite ? std::optional(range) : std::nullopt;
}

Expected<Quantization> weight_grid(const Tensor& weight, std::int64_t axis, const TensorScheme& scheme,
                                   WeightMethod method) {
  if (!range_of_numbers(weight)) return fail("it holds numbers that are not finite");
  Quantization q{.bits = scheme.bits, .scales = {}, .zero_points = {}, .axis = std::nullopt, .block = scheme.block};
  std::int64_t count = 1;
  if (scheme.per_channel || scheme.block > 0) {
    q.axis = axis;
    count = weight.shape[static_cast<std::size_t>(axis)];
  }
  if (scheme.block > 0) {
    if (axis == weight.rank() - 1 || weight.shape.back() % scheme.block != 0)
      return fail("its rows of {} numbers can't be cut into blocks of {}", weight.shape.back(), scheme.block);
    count *= weight.shape.back() / scheme.block;
  }
  for (const double scale : scales_of(weight, q, static_cast<std::size_t>(count), method)) {
    q.scales.push_back(stored_scale(scale, scheme));
    if (!std::isfinite(q.scales.back())) return fail("it holds numbers beyond what scales can say");
  }
  q.zero_points.assign(q.scales.size(), 0);
  return q;
}

Quantization activation_grid(const Range& range, const TensorScheme& scheme) {
  Quantization q = per_tensor_grid(scheme.bits, 1, 0);
  const double low = std::min(range.low, 0.0), high = std::max(range.high, 0.0);
  constexpr double kLeast = std::numeric_limits<float>::min();
  // Nothing but zeros, as if they were numbers up to 1: kernels that add int16 want scales of like size.
  if (high - low < kLeast) {
    q.scales = {static_cast<float>(1 / q.highest())};
    return q;
  }
  if (scheme.symmetric) {
    q.scales = {static_cast<float>(std::max(std::max(-low, high) / q.highest(), kLeast))};
    return q;
  }
  const double scale = std::max((high - low) / (q.highest() - q.lowest()), kLeast);
  q.scales = {static_cast<float>(scale)};
  q.zero_points = {
      static_cast<std::int64_t>(std::clamp(std::round(q.lowest() - low / scale), q.lowest(), q.highest()))};
  return q;
}

}  // namespace taper
