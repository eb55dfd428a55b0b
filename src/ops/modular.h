// Integers modulo 2^64, where sums and products of integers are exact before they wrap around: float64 loses the last
// digits of what is larger than 2^53.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "ops/array.h"

namespace taper {

inline std::uint64_t modular_of(double x) {
  if (std::isnan(x)) return 0;
  if (x >= 0x1p64) return std::numeric_limits<std::uint64_t>::max();
  if (x >= 0) return static_cast<std::uint64_t>(x);
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(std::max(x, -0x1p63)));
}

// What the bits are in `dtype`; in one of less than 32 bits after wrap_integers.
inline double number_of_modular(std::uint64_t bits, DType dtype) {
  if (dtype == DType::u64) return static_cast<double>(bits);
  if (dtype == DType::i64) return static_cast<double>(static_cast<std::int64_t>(bits));
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(bits));
}

// What an element is to formulas of real numbers and to those modulo 2^64, and their results as elements.
template <class Number>
Number operand_of(double x) {
  if constexpr (std::is_same_v<Number, double>)
    return x;
  else
    return modular_of(x);
}
inline double element_of(double x, DType) {
  return x;
}
inline double element_of(std::uint64_t bits, DType dtype) {
  return number_of_modular(bits, dtype);
}

inline bool is_unsigned(DType dtype) {
  return dtype == DType::u8 || dtype == DType::u16 || dtype == DType::u32 || dtype == DType::u64;
}

// Whether the array holds integers that float64 tells apart, so that they can be computed with modulo 2^64.
inline bool is_modular(const Array& array) {
  if (is_floating(array.dtype) || array.dtype == DType::boolean) return false;
  if (size_of(array.dtype) < 8) return true;
  return std::ranges::all_of(array.values, [](double x) { return std::fabs(x) < 0x1p53; });
}

}  // namespace taper
