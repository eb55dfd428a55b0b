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
std::optional<std::int64_t> first_missed(Real value, const Ratio& ratio, std::int64_t step, std::int64_t most) {
  for (std::int64_t size = step; size <= most; size += step)
    if (std::floor(static_cast<Real>(size) * value) != static_cast<Real>(size * ratio.over / ratio.under)) return size;
  return std::nullopt;
}

}  // namespace

std::optional<Ratio> simple_ratio(double value) {
  return ratio_of(value);
}
std::optional<Ratio> simple_ratio(float value) {
  return ratio_of(value);
}

std::optional<std::int64_t> first_missed_size(double value, const Ratio& ratio) {
  // Products that are not whole are too far from whole numbers for double to miss them.
  return first_missed(value, ratio, ratio.under, std::int64_t{1} << 20);
}
std::optional<std::int64_t> first_missed_size(float value, const Ratio& ratio) {
  return first_missed(value, ratio, 1, std::int64_t{1} << 16);
}

}  // namespace taper
