#include "report/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>

#include "report/weight_tree.h"

namespace taper {
namespace {

struct Scaled {
  double value;
  std::size_t power;  // of 1000
};

// The power of 1000 at which `value` prints below 1000.
Scaled scale(double value, std::size_t powers) {
  std::size_t power = 0;
  while (value >= 999.5 && power + 1 < powers) {
    value /= 1000;
    ++power;
  }
  return {value, power};
}

// The length of the UTF-8 sequence at the start of `text` (RFC 3629: shortest form, no surrogates) and its code point.
struct CodePoint {
  std::uint32_t value;
  std::size_t length;
};

std::optional<CodePoint> decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return CodePoint{first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return std::nullopt;
  std::uint32_t value = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return std::nullopt;
    value = (value << 6) | (byte(i) & 0x3f);
  }
  constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLeast[length] || value > 0x10ffff || surrogate) return std::nullopt;
  return CodePoint{value, length};
}

// Control characters (C0, DEL, C1), line and paragraph separators, and the marks that reorder what is shown.
bool disturbs_the_terminal(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
         c == 0x200e || c == 0x200f || c == 0xfeff;
}

std::string escaped(std::uint32_t c) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return c < 0x80 ? fmt::format("\\x{:02x}", c) : fmt::format("\\u{:04x}", c);
  }
}

}  // namespace

std::string human_size(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KB", "MB", "GB", "TB"};
  const auto [value, power] = scale(static_cast<double>(bytes), kUnits.size());
  return fmt::format("{:.{}f} {}", value, value < 99.95 ? 1 : 0, kUnits[power]);
}

std::string human_seconds(double seconds) {
  if (!(seconds >= 0)) return "?";
  if (seconds < 0.9995e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 0.9995) return fmt::format("{:.{}f} ms", seconds * 1e3, seconds < 9.95e-3 ? 1 : 0);
  if (seconds < 99.5) return fmt::format("{:.{}f} s", seconds, seconds < 9.995 ? 2 : 1);
  const auto whole = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e12)));
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string human_count(std::int64_t count) {
  if (count < 1000) return fmt::format("{}", count);
  constexpr std::array<std::string_view, 5> kUnits = {"", "k", "M", "G", "T"};
  const auto [value, power] = scale(static_cast<double>(count), kUnits.size());
  return fmt::format("{:.{}f} {}", value, value < 99.95 ? 1 : 0, kUnits[power]);
}

std::string printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto point = decode(text);
    const std::size_t length = point ? point->length : 1;
    if (!point) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (disturbs_the_terminal(point->value)) {
      result += escaped(point->value);
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return result;
}

std::string error_lines(const Error& error, const WeightTree* found) {
  std::string lines = printable(error.message);
  for (const std::string& place : error.where) lines += "\n" + printable(place);
  if (found != nullptr) {
    constexpr std::size_t kMostLines = 32;
    lines += "\n" + weight_tree_title(*found) + ":";
    for (const std::string& line : weight_tree_lines(*found, kMostLines)) lines += "\n" + line;
  }
  for (const std::string& line : hint_lines(error.hint)) lines += "\n" + line;
  return lines;
}

std::vector<std::string> hint_lines(std::string_view hint) {
  std::vector<std::string> lines;
  while (!hint.empty()) {
    const std::size_t end = hint.find('\n');
    lines.push_back((lines.empty() ? "next: " : "      ") + printable(hint.substr(0, end)));
    hint.remove_prefix(end == std::string_view::npos ? hint.size() : end + 1);
  }
  return lines;
}

std::string path_text(const std::filesystem::path& path) {
  return printable(path.native());
}

}  // namespace taper
