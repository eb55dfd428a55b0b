#include <algorithm>
#include <charconv>
#include <regex>

#include "quantize/recipe.h"

namespace taper {
namespace {

constexpr std::size_t kLongestPattern = 512;
constexpr std::size_t kLongestName = 512;
// Counted repetitions are written out by the library: `(a{50}){50}` is 2500 states.
constexpr std::int64_t kMostStates = 4096;

// An upper bound: as if all counts were nested.
std::int64_t states_of(std::string_view text) {
  auto states = static_cast<std::int64_t>(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{' && text[i] != ',') continue;
    std::int64_t count = 0;
    const auto [rest, problem] = std::from_chars(text.data() + i + 1, text.data() + text.size(), count);
    if (problem == std::errc::result_out_of_range || count > kMostStates) return kMostStates + 1;
    if (problem == std::errc()) states = std::min(kMostStates + 1, states * std::max<std::int64_t>(count, 1));
  }
  return states;
}

}  // namespace

struct NamePattern::Compiled {
  std::regex regex;
};

Expected<NamePattern> NamePattern::parse(const std::string& text) {
  if (text.size() > kLongestPattern)
    return fail("a regular expression of {} bytes, at most {} are allowed", text.size(), kLongestPattern);
  if (states_of(text) > kMostStates) return fail("'{}' repeats too much", text);
  NamePattern pattern;
  pattern.text_ = text;
  try {
    // The library's matcher in breadth: time is polynomial, where the one in depth can take forever.
    pattern.compiled_ = std::make_shared<const Compiled>(
        std::regex(text, std::regex::ECMAScript | std::regex_constants::__polynomial | std::regex::nosubs));
  } catch (const std::regex_error& error) {
    return fail("'{}' is not a regular expression that is understood: {}", text, error.what());
  }
  return pattern;
}

bool NamePattern::found_in(std::string_view name) const {
  name = name.substr(0, kLongestName);
  return std::regex_search(name.begin(), name.end(), compiled_->regex);
}

}  // namespace taper
