// Fractions that programs write as decimals: 0.7 is 7 / 10.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace taper {

// A number as a fraction. Products of sizes with the number are rounded, and may come out below what is whole:
// 90 * 0.7 is 62.99999999999999. `misses`: the smallest size whose product has another whole part than that with the
// fraction.
struct Ratio {
  std::int64_t over = 0, under = 1;
  std::int64_t misses = std::numeric_limits<std::int64_t>::max();
};

// The fraction with the smallest divisor, of at most 10,000, whose quotient is `value`. Sizes are looked at up to 2^20.
// `value`: within (0, 10^6).
std::optional<Ratio> simple_ratio(double value);
// The same for products in float32, of sizes up to 2^16.
std::optional<Ratio> simple_ratio(float value);

}  // namespace taper
