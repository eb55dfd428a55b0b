#include "ir/text_elements.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

namespace taper {
namespace {

constexpr std::string_view kHexPrefix = "0x";

template <class Number>
std::optional<Number> number_from(std::string_view text, int base = 10) {
  Number number{};
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  std::from_chars_result result{};
  if constexpr (std::is_floating_point_v<Number>)
    result = std::from_chars(begin, end, number);
  else
    result = std::from_chars(begin, end, number, base);
  if (result.ec != std::errc{} || result.ptr != end) return std::nullopt;
  return number;
}

// The NaN that `nan` stands for: quiet, positive, no payload.
std::uint64_t nan_bits(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 0x7ff8000000000000u;
    case DType::f32:
      return 0x7fc00000u;
    case DType::f16:
      return 0x7e00u;
    default:
      return 0x7fc0u;  // bf16
  }
}

// Floats narrower than 64 bits are exact as binary32.
float narrow_float(DType dtype, std::uint64_t bits) {
  if (dtype == DType::f32) return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  const auto half = static_cast<std::uint16_t>(bits);
  return dtype == DType::f16 ? float_from_half(half) : float_from_bfloat16(half);
}

std::string hexadecimal(DType dtype, std::uint64_t bits) {
  return fmt::format("{}{:0{}x}", kHexPrefix, bits, 2 * size_of(dtype));
}

std::string float_text(DType dtype, std::uint64_t bits) {
  const bool wide = dtype == DType::f64;
  const bool nan = wide ? std::isnan(std::bit_cast<double>(bits)) : std::isnan(narrow_float(dtype, bits));
  if (nan) return bits == nan_bits(dtype) ? "nan" : hexadecimal(dtype, bits);
  return wide ? fmt::format("{}", std::bit_cast<double>(bits)) : fmt::format("{}", narrow_float(dtype, bits));
}

std::optional<std::uint64_t> float_from_text(DType dtype, std::string_view text) {
  if (text == "nan") return nan_bits(dtype);
  if (dtype == DType::f64) {
    const auto number = number_from<double>(text);
    if (!number || std::isnan(*number)) return std::nullopt;
    return std::bit_cast<std::uint64_t>(*number);
  }
  const auto number = number_from<float>(text);
  if (!number || std::isnan(*number)) return std::nullopt;
  if (dtype == DType::f16) return half_from_float(*number);
  if (dtype == DType::bf16) return bfloat16_from_float(*number);
  return std::bit_cast<std::uint32_t>(*number);
}

bool is_signed(DType dtype) {
  return dtype == DType::i64 || dtype == DType::i32 || dtype == DType::i16 || dtype == DType::i8;
}

// The unused high bits of a narrow integer.
int spare_bits(DType dtype) {
  return 64 - 8 * static_cast<int>(size_of(dtype));
}

// `bits` as a number, its sign extended.
std::int64_t sign_extended(DType dtype, std::uint64_t bits) {
  return static_cast<std::int64_t>(bits << spare_bits(dtype)) >> spare_bits(dtype);
}

std::optional<std::uint64_t> integer_from_text(DType dtype, std::string_view text) {
  const std::uint64_t mask = ~std::uint64_t{0} >> spare_bits(dtype);
  if (!is_signed(dtype)) {
    const auto number = number_from<std::uint64_t>(text);
    return number && *number <= mask ? number : std::nullopt;
  }
  const auto number = number_from<std::int64_t>(text);
  if (!number) return std::nullopt;
  const std::uint64_t bits = static_cast<std::uint64_t>(*number) & mask;
  if (sign_extended(dtype, bits) != *number) return std::nullopt;
  return bits;
}

}  // namespace

std::string element_text(DType dtype, std::uint64_t bits) {
  if (dtype == DType::boolean) return bits == 0 ? "false" : bits == 1 ? "true" : hexadecimal(dtype, bits);
  if (is_floating(dtype)) return float_text(dtype, bits);
  return is_signed(dtype) ? std::to_string(sign_extended(dtype, bits)) : std::to_string(bits);
}

std::optional<std::uint64_t> element_from_text(DType dtype, std::string_view text) {
  if (text.starts_with(kHexPrefix)) {
    const auto bits = number_from<std::uint64_t>(text.substr(kHexPrefix.size()), 16);
    return bits && *bits <= ~std::uint64_t{0} >> spare_bits(dtype) ? bits : std::nullopt;
  }
  if (dtype == DType::boolean)
    return text == "true"    ? std::optional<std::uint64_t>(1)
           : text == "false" ? std::optional<std::uint64_t>(0)
                             : std::nullopt;
  return is_floating(dtype) ? float_from_text(dtype, text) : integer_from_text(dtype, text);
}

}  // namespace taper
