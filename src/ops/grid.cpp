#include "ops/grid.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

namespace taper {

void round_to_grid(Array& array, const Quantization& q) {
  const GridIndex index(q, array.shape);
  for (std::size_t i = 0; i < array.values.size(); ++i) {
    const std::size_t grid = index.of(i);
    const double integer = quantized_integer(q, grid, array.values[i]);
    array.values[i] = (integer - static_cast<double>(q.zero_points[grid])) * static_cast<double>(q.scales[grid]);
  }
}

void round_dynamically(Array& array, std::size_t axes) {
  std::size_t stretch = 1;
  const std::size_t rank = array.shape.size();
  for (std::size_t i = rank - std::min(axes, rank); i < rank; ++i) stretch *= static_cast<std::size_t>(array.shape[i]);
  if (stretch == 0) return;
  for (std::size_t first = 0; first < array.values.size(); first += stretch) {
    const std::span<double> values = std::span(array.values).subspan(first, stretch);
    const auto [least, largest] = std::ranges::minmax(values);
    const double low = std::min(least, 0.0), high = std::max(largest, 0.0);
    if (!(high > low) || !std::isfinite(high - low)) continue;
    const double scale = (high - low) / 255;
    const double zero = std::round(-128 - low / scale);
    for (double& value : values) value = (std::clamp(std::round(value / scale) + zero, -128.0, 127.0) - zero) * scale;
  }
}

namespace {

// Bytes of `count` integers.
std::uint64_t stored_size(std::int64_t count, int bits) {
  return (static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(bits) + 7) / 8;
}

std::int64_t stored_integer(Bytes bytes, std::size_t i, int bits) {
  if (bits == 4) {
    const int nibble = std::to_integer<int>(bytes[i / 2] >> (i % 2 * 4)) & 15;
    return nibble < 8 ? nibble : nibble - 16;
  }
  const std::size_t size = static_cast<std::size_t>(bits) / 8;
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + i * size, size);
  const int unused = 64 - bits;
  return static_cast<std::int64_t>(value << unused) >> unused;
}

void store_integer(std::span<std::byte> bytes, std::size_t i, int bits, std::int64_t value) {
  if (bits == 4) {
    bytes[i / 2] |= static_cast<std::byte>((value & 15) << (i % 2 * 4));
    return;
  }
  const std::size_t size = static_cast<std::size_t>(bits) / 8;
  std::memcpy(bytes.data() + i * size, &value, size);
}

// Integers of 64 bits are beyond what a double tells apart at its end.
std::int64_t as_integer(double value) {
  constexpr double kEnd = 0x1p63;
  return value >= kEnd ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(value);
}

}  // namespace

std::vector<std::byte> stored_integers(const Tensor& tensor, const Quantization& q) {
  std::vector<std::byte> bytes(stored_size(tensor.element_count(), q.bits));
  const GridIndex index(q, tensor.shape);
  for_each_float(tensor, [&](std::size_t i, float value) {
    store_integer(bytes, i, q.bits, as_integer(quantized_integer(q, index.of(i), static_cast<double>(value))));
  });
  return bytes;
}

Expected<Tensor> from_stored_integers(Bytes bytes, std::vector<std::int64_t> shape, const Quantization& q) {
  TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
  if (count > std::numeric_limits<std::int64_t>::max() / 64 || bytes.size() != stored_size(count, q.bits))
    return fail("{} bytes for {} integers of {} bits", bytes.size(), count, q.bits);
  const GridIndex index(q, shape);
  std::vector<std::byte> reals(static_cast<std::size_t>(count) * sizeof(float));
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const std::size_t grid = index.of(i);
    const auto steps = static_cast<double>(stored_integer(bytes, i, q.bits)) - static_cast<double>(q.zero_points[grid]);
    const auto value = static_cast<float>(steps * static_cast<double>(q.scales[grid]));
    std::memcpy(reals.data() + i * sizeof(value), &value, sizeof(value));
  }
  return make_tensor(DType::f32, std::move(shape), std::move(reals));
}

}  // namespace taper
