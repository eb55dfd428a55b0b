#include "ops/grid.h"

#include <algorithm>
#include <cmath>
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

}  // namespace taper
