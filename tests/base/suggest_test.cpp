#include "base/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace taper {
namespace {

TEST(EditDistance, counts_insertions_deletions_replacements_and_swaps) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("gru", "gur"), 1U);
}

TEST(Nearest, is_nothing_when_nothing_is_near) {
  const std::vector<std::string> flags = {"--gru", "--json", "--static"};
  EXPECT_EQ(nearest("--jsno", flags), "--json");
  EXPECT_EQ(nearest("--stat", flags), "--static");
  EXPECT_EQ(nearest("--completely-else", flags), std::nullopt);
  EXPECT_EQ(nearest(std::string(1'000'000, 'a'), flags), std::nullopt);
}

}  // namespace
}  // namespace taper
