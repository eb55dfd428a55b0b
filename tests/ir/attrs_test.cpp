#include <gtest/gtest.h>

#include "ir/graph.h"

namespace taper {
namespace {

TEST(Attrs, share_their_list_until_one_of_them_changes) {
  const Attrs original = {{"dim", std::int64_t{1}}, {"name", std::string("x")}};
  Attrs copy = original;
  EXPECT_TRUE(copy.shares_list_with(original));
  copy.set("dim", std::int64_t{2});
  EXPECT_FALSE(copy.shares_list_with(original));
  EXPECT_EQ(original.integer("dim"), 1);
  EXPECT_EQ(copy.integer("dim"), 2);
  EXPECT_EQ(copy.text("name"), "x");
}

TEST(Attrs, may_be_none) {
  Attrs attrs;
  EXPECT_EQ(attrs.begin(), attrs.end());
  EXPECT_EQ(attrs.find("dim"), nullptr);
  const Attrs none = attrs;
  attrs.set("dim", std::int64_t{1});
  EXPECT_EQ(none.find("dim"), nullptr);
}

}  // namespace
}  // namespace taper
