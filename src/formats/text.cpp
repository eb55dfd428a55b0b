#include "formats/text.h"

#include <fmt/format.h>

#include <cstddef>

namespace taper {
namespace {

struct Decoded {
  std::size_t length = 0;  // 0: invalid
  char32_t point = 0;
};

bool is_surrogate(char32_t point) {
  return point >= 0xd800 && point < 0xe000;
}

// The code point at the start of a text that is not empty; surrogates are let through.
Decoded decode_first(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  char32_t point = lead & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return {};
    point = point << 6 | (at(i) & 0x3fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[length] || point > 0x10ffff) return {};
  return {length, point};
}

}  // namespace

Utf8 check_utf8(std::string_view text) {
  Utf8 verdict = Utf8::valid;
  while (!text.empty()) {
    const Decoded first = decode_first(text);
    if (first.length == 0) return Utf8::invalid;
    if (is_surrogate(first.point)) verdict = Utf8::surrogates;
    text.remove_prefix(first.length);
  }
  return verdict;
}

std::string without_surrogates(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const Decoded first = decode_first(text);
    append_utf8(result, first.point);
    text.remove_prefix(first.length > 0 ? first.length : 1);
  }
  return result;
}

void append_utf8(std::string& text, char32_t point) {
  if (is_surrogate(point) || point > 0x10ffff) point = 0xfffd;
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

std::string printable(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::string result;
  while (!text.empty()) {
    if (result.size() >= kMost) return result + "...";
    const Decoded first = decode_first(text);
    const bool control = first.point < 0x20 || (first.point >= 0x7f && first.point < 0xa0);
    const std::size_t length = first.length > 0 ? first.length : 1;
    if (first.length == 0 || control || is_surrogate(first.point)) {
      for (const char byte : text.substr(0, length))
        result += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return result;
}

}  // namespace taper
