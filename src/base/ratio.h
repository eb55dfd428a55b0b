// Fractions that programs write as decimals: 0.7 is 7 / 10.
#pragma once

#include <cstdint>
#include <optional>

namespace taper {

struct Ratio {
  std::int64_t over = 0, under = 1;
};

// The fraction with the smallest divisor, of at most 10,000, whose quotient is `value`, which lies within (0, 10^6).
std::optional<Ratio> simple_ratio(double value);
std::optional<Ratio> simple_ratio(float value);

// Products of sizes with a number are rounded, and may come out below what is whole: 90 * 0.7 is 62.99999999999999. The
// smallest size, of up to 2^20 (in float32 2^16), whose product has another whole part than that with the fraction.
std::optional<std::int64_t> first_missed_size(double value, const Ratio& ratio);
std::optional<std::int64_t> first_missed_size(float value, const Ratio& ratio);

}  // namespace taper
