// The element types of tensors and conversions between their bit patterns.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace taper {

enum class DType : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, u16, u32, u64, boolean };
inline constexpr int kDTypeCount = 13;

// Facts about one dtype. `name` is PyTorch's ("float32"), `short_name` that of the text form ("f32").
struct DTypeInfo {
  DType dtype;
  std::string_view name;
  std::string_view short_name;
  std::size_t size;  // bytes per element
  bool floating;
};

const DTypeInfo& info(DType dtype);
// The dtype whose PyTorch name or short name is `name`; nothing if there is none.
std::optional<DType> dtype_from_name(std::string_view name);

inline std::size_t size_of(DType dtype) {
  return info(dtype).size;
}
inline bool is_floating(DType dtype) {
  return info(dtype).floating;
}

// IEEE 754 binary16 <-> binary32. Narrowing rounds to nearest, ties to even; overflow gives infinity; NaN stays NaN.
inline float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t rest = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  // Scaling by 2^112 moves the exponent bias from 15 to 127 and normalises subnormals.
  const float scaled = std::bit_cast<float>(rest) * 0x1p112f;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(scaled);
  const std::uint32_t inf_or_nan = rest >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(sign | bits | inf_or_nan);
}

inline std::uint16_t half_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  // Normal halves: rebias by integer subtraction after adding the rounding term (ties to even).
  const std::uint32_t rounded = (magnitude - 0x38000000u + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal halves: adding 0.5 aligns the mantissa so that the float unit itself rounds to nearest even.
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  std::uint32_t half = magnitude < 0x38800000u ? subnormal : rounded;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;  // rounds past 65504: infinity
  half = magnitude > 0x7f800000u ? 0x7e00u : half;   // NaN
  return static_cast<std::uint16_t>(sign | half);
}

// bfloat16 is the upper half of a binary32.
inline float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t bfloat16_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace taper
