#include "formats/text.h"

#include <gtest/gtest.h>

namespace taper {
namespace {

TEST(Text, knows_valid_utf8) {
  for (const char* text : {"", "abc", "é", "手話", "🤟", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"})
    EXPECT_EQ(check_utf8(text), Utf8::valid) << text;
}

TEST(Text, refuses_what_is_not_utf8) {
  for (const char* text :
       {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\xaf", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff", "a\xe2\x82"})
    EXPECT_EQ(check_utf8(text), Utf8::invalid);
}

TEST(Text, tells_surrogates_and_replaces_them) {
  EXPECT_EQ(check_utf8("a\xed\xb3\xbf"), Utf8::surrogates);
  EXPECT_EQ(without_surrogates("a\xed\xb3\xbfz"), "a\xef\xbf\xbdz");
}

TEST(Text, prints_nothing_that_could_disturb_a_terminal) {
  EXPECT_EQ(excerpt("a\x1b[2J\n\xff"), "a\\x1b[2J\\x0a\\xff");
  EXPECT_EQ(excerpt("手\xc2\x9b"), "手\\xc2\\x9b");
  EXPECT_LE(excerpt(std::string(1000, 'x')).size(), 90u);
}

}  // namespace
}  // namespace taper
