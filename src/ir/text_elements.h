// Numbers and names in the text form, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/dtype.h"

namespace taper {

// One element from its bits: the shortest decimal number that gives the same bits again, `true`, `inf`, `nan`; or the
// bits in hexadecimal where no number says them (a NaN with a payload, a bool that is neither 0 nor 1).
std::string element_text(DType dtype, std::uint64_t bits);
// The bits of one element; nothing if `text` is no number of that dtype.
std::optional<std::uint64_t> element_from_text(DType dtype, std::string_view text);

// Characters of names that stand without quotes.
inline bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_symbol_char(char c) {
  return is_letter(c) || is_digit(c);
}
inline bool is_word_char(char c) {
  return is_symbol_char(c) || c == '.';
}
inline bool is_value_char(char c) {
  return is_word_char(c) || c == '/' || c == '-';
}

}  // namespace taper
