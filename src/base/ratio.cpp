#include "base/ratio.h"

#include <cmath>

namespace taper {
namespace {

template <class Real>
std::optional<Ratio> ratio_of(Real value) {
  constexpr Real kMost = 1e6;
  constexpr std::int64_t kMostDivisor = 10000;
  if (!(value > 0 && value < kMost)) return std::nullopt;
  for (std::int64_t under = 1; under <= kMostDivisor; ++under) {
    const Real over = std::round(value * static_cast<Real>(under));
    if (over >= 1 && over / static_cast<Real>(under) == value) return Ratio{static_cast<std::int64_t>(over), under};
  }
  return std::nullopt;
}

template <class Real>
std::optional<Ratio> ratio_with_misses(Real value, std::int64_t most, bool only_whole) {
  auto ratio = ratio_of(value);
  if (!ratio) return ratio;
  const std::int64_t step = only_whole ? ratio->under : 1;
  for (std::int64_t size = step; size <= most; size += step)
    if (std::floor(static_cast<Real>(size) * value) != static_cast<Real>(size * ratio->over / ratio->under)) {
      ratio->misses = size;
      break;
    }
  return ratio;
}

}  // namespace

std::optional<Ratio> simple_ratio(double value) {
  // Products that are not whole are too far from whole numbers for double to miss them.
  return ratio_with_misses(value, std::int64_t{1} << 20, true);
}

std::optional<Ratio> simple_ratio(float value) {
  return ratio_with_misses(value, std::int64_t{1} << 16, false);
}

}  // namespace taper
