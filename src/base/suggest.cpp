#include "base/suggest.h"

#include <algorithm>
#include <vector>

namespace taper {
namespace {

// Whether leaving out letters of `whole` gives `shortened`: "--seq-length" of "--sequence-length".
bool shortens(std::string_view shortened, std::string_view whole) {
  for (const char letter : shortened) {
    const std::size_t at = whole.find(letter);
    if (at == std::string_view::npos) return false;
    whole.remove_prefix(at + 1);
  }
  return true;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // d[i][j] is the distance of the first i characters of a and the first j of b.
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
  constexpr std::size_t kLongest = 64;  // nothing longer is a mistyped flag
  if (word.size() > kLongest) return std::nullopt;
  std::optional<std::string> best;
  std::size_t least = std::max<std::size_t>(word.size() / 3, 2) + 1;  // a third of the letters may be wrong
  for (const std::string& candidate : candidates) {
    if (candidate.size() > 2 * kLongest) continue;  // names in files may be as long as these
    const bool abbreviated = word.size() > 3 && shortens(word, candidate);
    const std::size_t distance = abbreviated ? 1 : edit_distance(word, candidate);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace taper
