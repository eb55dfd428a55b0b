#include "formats/text.h"

#include <charconv>
#include <cstddef>
#include <optional>

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

std::optional<unsigned> hex_value(std::string_view digits) {
  unsigned value = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.empty() || end != digits.data() + digits.size() || code != std::errc{}) return std::nullopt;
  return value;
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

std::string excerpt(std::string_view text) {
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

std::string shortened(const std::vector<std::string>& items, std::size_t most, std::string_view separator) {
  const auto shown = std::min(items.size(), most);
  std::string text =
      fmt::format("{}", fmt::join(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(shown), separator));
  if (items.size() > most) text += fmt::format(" and {} more", items.size() - most);
  return text;
}

Expected<std::string> decode_raw_unicode_escape(std::string_view raw) {
  std::string text;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const bool escape = raw[i] == '\\' && i + 1 < raw.size();
    const std::size_t digits = !escape ? 0 : raw[i + 1] == 'u' ? 4 : raw[i + 1] == 'U' ? 8 : 0;
    if (digits > 0) {
      const auto point = hex_value(raw.substr(i + 2, digits));
      if (raw.size() - i - 2 < digits || !point || *point > 0x10ffff) return fail("a \\u escape is damaged");
      append_utf8(text, *point);
      i += digits + 1;
    } else {
      append_utf8(text, static_cast<unsigned char>(raw[i]));
      if (escape) append_utf8(text, static_cast<unsigned char>(raw[++i]));  // "\\u" is not an escape
    }
  }
  return text;
}

Expected<std::string> decode_python2_string(std::string_view raw) {
  if (raw.size() < 2 || (raw.front() != '\'' && raw.front() != '"') || raw.back() != raw.front())
    return fail("a string has no quotes: '{}'", excerpt(raw));
  raw = raw.substr(1, raw.size() - 2);
  constexpr std::string_view kLetters = "abfnrtv\\'\"";
  constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
  std::string text;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      text += raw[i];
      continue;
    }
    if (++i == raw.size()) return fail("a string ends in a backslash");
    if (const std::size_t letter = kLetters.find(raw[i]); letter != std::string_view::npos) {
      text += kMeanings[letter];
    } else if (raw[i] == 'x') {
      const auto value = raw.size() - i > 2 ? hex_value(raw.substr(i + 1, 2)) : std::nullopt;
      if (!value) return fail("a \\x escape is damaged");
      text += static_cast<char>(*value);
      i += 2;
    } else if (raw[i] >= '0' && raw[i] <= '7') {
      unsigned value = 0;
      std::size_t digits = 0;
      for (; digits < 3 && i + digits < raw.size() && raw[i + digits] >= '0' && raw[i + digits] <= '7'; ++digits)
        value = value * 8 + static_cast<unsigned>(raw[i + digits] - '0');
      text += static_cast<char>(value);
      i += digits - 1;
    } else {
      text += '\\';
      text += raw[i];
    }
  }
  return text;
}

}  // namespace taper
