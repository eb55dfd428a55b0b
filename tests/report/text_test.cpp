#include "report/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace taper {
namespace {

TEST(HumanSize, uses_powers_of_1000_and_three_digits_at_most) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(999), "999 B");
  EXPECT_EQ(human_size(1000), "1.0 KB");
  EXPECT_EQ(human_size(12'345'678), "12.3 MB");
  EXPECT_EQ(human_size(123'456'789), "123 MB");
  EXPECT_EQ(human_size(999'999), "1.0 MB");
  EXPECT_EQ(human_size(99'970'000), "100 MB");
  EXPECT_EQ(human_size(5'000'000'000), "5.0 GB");
  EXPECT_EQ(human_size(std::numeric_limits<std::uint64_t>::max()), "18446744 TB");
}

TEST(HumanSeconds, picks_the_unit_that_reads_best) {
  EXPECT_EQ(human_seconds(0), "0 us");
  EXPECT_EQ(human_seconds(0.00085), "850 us");
  EXPECT_EQ(human_seconds(0.0042), "4.2 ms");
  EXPECT_EQ(human_seconds(0.0123), "12 ms");
  EXPECT_EQ(human_seconds(0.9999), "1.00 s");
  EXPECT_EQ(human_seconds(1.239), "1.24 s");
  EXPECT_EQ(human_seconds(42.04), "42.0 s");
  EXPECT_EQ(human_seconds(125), "2 min 5 s");
  EXPECT_EQ(human_seconds(std::nan("")), "?");
  EXPECT_EQ(human_seconds(-1), "?");
}

TEST(HumanCount, counts_weights) {
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(3'412'000), "3.4 M");
}

TEST(Printable, keeps_text_in_any_script) {
  EXPECT_EQ(printable("Größe 手話 🤟 a\\b"), "Größe 手話 🤟 a\\b");
}

TEST(Printable, escapes_what_moves_the_cursor_or_changes_colours) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("a\r\nb\tc"), "a\\r\\nb\\tc");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u009b31m");  // CSI in one character
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Printable, escapes_marks_that_reorder_text) {
  EXPECT_EQ(printable("a\u202egnp.b"), "a\\u202egnp.b");
  EXPECT_EQ(printable("\u2028"), "\\u2028");
}

TEST(Printable, escapes_bytes_that_are_no_utf8) {
  EXPECT_EQ(printable("\xff"), "\\xff");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                    // cut short
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");  // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(ErrorLines, escape_each_part_so_that_none_fakes_another_line) {
  const Error error{"bad key 'a\nnext: rm'", {"in file 'x.pt'"}, "train again"};
  EXPECT_EQ(error_lines(error), "bad key 'a\\nnext: rm'\nin file 'x.pt'\nnext: train again");
}

}  // namespace
}  // namespace taper
