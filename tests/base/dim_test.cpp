#include "base/dim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/ratio.h"

namespace taper {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSmallest = std::numeric_limits<std::int64_t>::min();

Dim symbol(const char* name) {
  return Dim::symbol(name);
}

TEST(Dim, every_operation_that_leaves_64_bits_overflows) {
  const Dim t = symbol("T");
  for (const Dim& dim : {Dim(kLargest) + 1, Dim(kSmallest) - 1, Dim(kLargest) * 2, kLargest * t + t, kLargest * t * 2,
                         Dim(0) - Dim(kSmallest), element_count({kLargest, kLargest})})
    EXPECT_TRUE(dim.overflowed()) << dim.text();
}

TEST(Dim, one_that_overflowed_stays_so_and_equals_nothing) {
  const Dim overflowed = Dim(kLargest) + 1;
  EXPECT_TRUE((overflowed * 0).overflowed());
  EXPECT_TRUE((symbol("T") - overflowed).overflowed());
  EXPECT_NE(overflowed, overflowed);
  EXPECT_NE(overflowed, Dim(0));
  EXPECT_EQ(overflowed.constant(), std::nullopt);
  EXPECT_EQ(overflowed.as_symbol(), std::nullopt);
  EXPECT_FALSE(overflowed.evaluate({}));
  EXPECT_EQ(divide_exactly(overflowed, 1), std::nullopt);
  EXPECT_EQ(divide_exactly(4, overflowed), std::nullopt);
}

TEST(Dim, shapes_whose_counts_overflow_hold_no_equal_number_of_elements) {
  EXPECT_NE(element_count({kLargest, 3}), element_count({kLargest, 5}));
  EXPECT_NE(element_count({symbol("T"), kLargest, 3}), element_count({symbol("T"), kLargest, 3}));
}

TEST(Dim, division_never_leaves_64_bits) {
  EXPECT_EQ(divide_exactly(kSmallest, Dim(-1)), std::nullopt);
  EXPECT_EQ(divide_exactly(kSmallest * symbol("T"), Dim(-1) * symbol("T")), std::nullopt);
  EXPECT_EQ(divide_exactly(kSmallest, 2), Dim(kSmallest / 2));
  EXPECT_EQ(divide_exactly(7, 0), std::nullopt);
  EXPECT_EQ(divide_exactly(6 * symbol("T"), Dim(-1)), -6 * symbol("T"));
}

// Sums times sums would have as many terms as the product of their lengths.
TEST(Dim, grows_to_a_bounded_number_of_terms_and_factors) {
  Dim sum;
  for (std::size_t i = 0; i < Dim::kMostTerms; ++i) sum = sum + symbol(("s" + std::to_string(i)).c_str());
  EXPECT_FALSE(sum.overflowed());
  EXPECT_TRUE((sum + symbol("t")).overflowed());
  EXPECT_TRUE((sum * sum).overflowed());
  Dim product = 1;
  for (std::size_t i = 0; i < Dim::kMostFactors; ++i) product = product * symbol("T");
  EXPECT_FALSE(product.overflowed());
  EXPECT_TRUE((product * symbol("T")).overflowed());
}

TEST(Dim, parsing_ends_where_a_text_overflows) {
  EXPECT_EQ(*Dim::parse("-9223372036854775807 - 1"), Dim(kSmallest));
  std::string longest = "T";
  for (int i = 0; i < 100'000; ++i) longest += "*T";
  EXPECT_THAT(Dim::parse(longest).error().text(), HasSubstr("overflows 64 bits or has too many terms"));
  std::string sum = "t";
  for (int i = 0; i < 100'000; ++i) sum += " + t" + std::to_string(i);
  EXPECT_FALSE(Dim::parse(sum));
  EXPECT_FALSE(Dim::parse("9223372036854775807 + 1"));
}

TEST(Dim, evaluation_is_checked) {
  const Dim dim = symbol("T") * symbol("T") + 1;
  EXPECT_EQ(*dim.evaluate({{"T", 3}}), 10);
  EXPECT_FALSE(dim.evaluate({{"T", std::int64_t{1} << 32}}));
  EXPECT_FALSE(dim.evaluate({{"B", 1}}));
  EXPECT_FALSE(evaluate(Shape{symbol("T") - 5}, {{"T", 3}}));
}

TEST(Dim, quotients_are_simplified) {
  const Dim h = symbol("H");
  EXPECT_EQ(floor_divide(7, 2), Dim(3));
  EXPECT_EQ(floor_divide(-7, 2), Dim(-4));
  EXPECT_EQ(floor_divide(4 * h + 6, 2), 2 * h + 3);
  EXPECT_EQ(floor_divide(4 * h + 7, 2), 2 * h + 3);
  EXPECT_EQ(floor_divide(5 * h + 7, 4).text(), "H + floor_div(H + 3, 4) + 1");
  EXPECT_EQ(floor_divide(floor_divide(h - 1, 2) + 1, 2), floor_divide(h + 1, 4));
  EXPECT_EQ(ceil_divide(h, 2), floor_divide(h + 1, 2));
  EXPECT_EQ(floor_remainder(h * 2 + 1, 2), Dim(1));
  EXPECT_TRUE(floor_divide(h, 0).overflowed());
  const Dim rest = h - floor_divide(h, 2);
  EXPECT_EQ(floor_divide(4 * rest, rest), Dim(4));
  EXPECT_EQ(floor_divide(-1 * rest, rest), Dim(-1));
  EXPECT_EQ(floor_divide(-4 * rest, -1 * rest), Dim(4));
  EXPECT_EQ(floor_divide(4 * rest * symbol("B"), rest), 4 * symbol("B"));
  EXPECT_FALSE(floor_divide(4 * rest + 1, rest).constant());
}

TEST(Dim, quotients_share_no_factors_with_what_they_divide) {
  const Dim q = Dim::symbol("q"), r = Dim::symbol("r");
  EXPECT_EQ(floor_divide(2 * q, 4).text(), "floor_div(q, 2)");
  EXPECT_EQ(floor_divide(4 * q + 3, 8).text(), "floor_div(q, 2)");
  EXPECT_EQ(floor_divide(4 * q - 1, 8).text(), Dim::parse("floor_div(q + 1, 2) - 1")->text());
  EXPECT_EQ(floor_divide(floor_divide(2 * q + 2 * r, 4), 3), floor_divide(q + r, 6));
  for (std::int64_t n = 1; n <= 12; ++n)
    for (std::int64_t a = -6; a <= 6; ++a)
      for (std::int64_t c = -7; c <= 7; ++c)
        for (std::int64_t value = 0; value <= 5; ++value) {
          const auto found = floor_divide(a * q + c, n).evaluate({{"q", value}});
          ASSERT_TRUE(found);
          EXPECT_EQ(*found, *floor_divide(a * value + c, n).constant()) << a << " " << c << " " << n << " " << value;
        }
}

TEST(Dim, functions_are_read_evaluated_and_substituted) {
  const Dim dim = floor_divide(symbol("H") + 1, 2) * 3 + dim_max(symbol("T"), dim_min(symbol("S"), 4));
  EXPECT_EQ(*Dim::parse(dim.text()), dim);
  const Bindings bindings = {{"H", 6}, {"T", 2}, {"S", 9}};
  EXPECT_EQ(*dim.evaluate(bindings), 13);
  EXPECT_EQ(substitute(dim, {{"H", Dim(6)}, {"T", Dim(2)}, {"S", Dim(9)}}), Dim(13));
  EXPECT_EQ(substitute(dim, {{"T", symbol("S")}}).text(), "3*floor_div(H + 1, 2) + max(S, min(4, S))");
  EXPECT_THAT(symbols_of(dim), testing::ElementsAre("H", "S", "T"));
  EXPECT_EQ(dim_max(symbol("T") + 2, symbol("T")), symbol("T") + 2);
  EXPECT_EQ(dim_min(2 * floor_divide(symbol("T"), 2) + 1, symbol("T") + 3), 2 * floor_divide(symbol("T"), 2) + 1);
  EXPECT_EQ(dim_max(2 * floor_divide(symbol("T") + 1, 2), symbol("T")), 2 * floor_divide(symbol("T") + 1, 2));
  EXPECT_EQ(dim_min(4 * floor_divide(symbol("T"), 4), symbol("T") - 2).text(), "min(4*floor_div(T, 4), T - 2)");
  EXPECT_EQ(floor_divide(symbol("T"), 2).as_symbol(), std::nullopt);
}

TEST(Dim, what_is_most_and_what_is_least_add_up) {
  const Dim T = symbol("T"), S = symbol("S");
  EXPECT_EQ(dim_max(T - 2, 0) + dim_min(T, 2), T);
  EXPECT_EQ(dim_max(T, S) + dim_min(S, T) + 1, T + S + 1);
  EXPECT_EQ(3 * dim_max(T, S) + 3 * dim_min(S, T), 3 * T + 3 * S);
  EXPECT_NE(dim_max(T, S) + 2 * dim_min(S, T), T + 2 * S);
  EXPECT_NE(dim_max(T, S) + dim_min(S, T + 1), T + S);
  EXPECT_NE(dim_max(T, 4) + dim_min(T, 3), T + 4);
}

TEST(Dim, functions_nest_to_a_bounded_depth) {
  Dim dim = symbol("T");
  for (int i = 0; i < 100; ++i) dim = dim_max(dim * 2, symbol("S"));
  EXPECT_TRUE(dim.overflowed());
  std::string text = "T";
  for (int i = 0; i < 100; ++i) text = "floor_div(" + text + ", 2)";
  EXPECT_FALSE(Dim::parse(text));
  EXPECT_FALSE(Dim::parse("floor_div(T, 0)"));
  EXPECT_FALSE(Dim::parse("floor_div(T)"));
  EXPECT_FALSE(Dim::parse("abs(T, 2)"));
}

TEST(Ratio, is_the_fraction_that_a_decimal_means) {
  const auto is = [](std::optional<Ratio> ratio, std::int64_t over, std::int64_t under) {
    return ratio && ratio->over == over && ratio->under == under;
  };
  EXPECT_TRUE(is(simple_ratio(0.7), 7, 10));
  EXPECT_TRUE(is(simple_ratio(1.0 / 3), 1, 3));
  EXPECT_TRUE(is(simple_ratio(2.0), 2, 1));
  EXPECT_TRUE(is(simple_ratio(1.7F), 17, 10));
  EXPECT_EQ(first_missed_size(0.7, {7, 10}), 90);  // 90 * 0.7 is 62.99999999999999
  EXPECT_EQ(first_missed_size(1.5, {3, 2}), std::nullopt);
  for (const double none : {0.0, -1.5, 3.14159265358979, 1e9, std::nan("")}) EXPECT_FALSE(simple_ratio(none));
}

}  // namespace
}  // namespace taper
