#include "verify/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace taper {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Comparison compared(std::vector<double> reference, std::vector<double> measured, std::int64_t last_axis) {
  Comparer comparer;
  const Status status = comparer.add(reference, measured, last_axis);
  EXPECT_TRUE(status) << status.error().text();
  return comparer.result();
}

TEST(Compare, equal_values_agree_fully) {
  const Comparison same = compared({1, 2, 3, -4}, {1, 2, 3, -4}, 2);
  EXPECT_DOUBLE_EQ(same.cosine, 1);
  EXPECT_EQ(same.max_error, 0);
  EXPECT_EQ(same.relative_error, 0);
  EXPECT_EQ(same.top1_agreement, 1);
  EXPECT_EQ(same.elements, 4);
  EXPECT_EQ(same.rows, 2);
}

TEST(Compare, follows_its_formulas) {
  const Comparison result = compared({3, 4, 0, 1}, {4, 3, 0, 1.5}, 2);
  EXPECT_DOUBLE_EQ(result.cosine, (12 + 12 + 1.5) / (std::sqrt(26.0) * std::sqrt(27.25)));
  EXPECT_DOUBLE_EQ(result.max_error, 1);
  EXPECT_DOUBLE_EQ(result.spread, 4);
  EXPECT_DOUBLE_EQ(result.relative_error, 0.25);
  EXPECT_DOUBLE_EQ(result.top1_agreement, 0.5);
}

// Cosine similarity can't see a wrong scale: the relative error has to.
TEST(Compare, a_wrong_scale_shows_in_the_relative_error_only) {
  const Comparison result = compared({1, -2, 3}, {2, -4, 6}, 3);
  EXPECT_DOUBLE_EQ(result.cosine, 1);
  EXPECT_DOUBLE_EQ(result.relative_error, 3.0 / 5);
}

TEST(Compare, nan_on_one_side_is_an_infinite_error) {
  for (const auto& [r, y] :
       {std::pair{kNan, 1.0}, {1.0, kNan}, {kInfinity, 1.0}, {kInfinity, -kInfinity}, {kNan, kInfinity}}) {
    const Comparison result = compared({r, 1, 2}, {y, 1, 2}, 3);
    EXPECT_EQ(result.max_error, kInfinity);
    EXPECT_EQ(result.relative_error, kInfinity);
    EXPECT_TRUE(std::isnan(result.cosine));
    EXPECT_EQ(result.unlike_nonfinite, 1);
  }
}

TEST(Compare, nan_and_infinity_on_both_sides_agree) {
  const Comparison result = compared({kNan, kInfinity, 2, 3}, {kNan, kInfinity, 2, 3}, 4);
  EXPECT_EQ(result.max_error, 0);
  EXPECT_DOUBLE_EQ(result.cosine, 1);
  EXPECT_DOUBLE_EQ(result.spread, 1);
  EXPECT_EQ(result.top1_agreement, 1);
  EXPECT_EQ(result.same_nonfinite, 2);
  EXPECT_EQ(result.unlike_nonfinite, 0);
}

TEST(Compare, a_constant_reference_is_measured_by_its_magnitude) {
  const Comparison off = compared({-5, -5}, {-5, -5.001}, 2);
  EXPECT_TRUE(off.spread_is_zero());
  EXPECT_NEAR(off.relative_error, 2e-4, 1e-12);
  const Comparison nothing = compared({0, 0}, {0, 1e-9}, 2);
  EXPECT_EQ(nothing.relative_error, kInfinity);
  const Comparison same = compared({5, 5}, {5, 5}, 2);
  EXPECT_EQ(same.relative_error, 0);
  const Comparison zeros = compared({0, 0}, {0, 0}, 2);
  EXPECT_EQ(zeros.cosine, 1);
  EXPECT_EQ(compared({0, 0}, {0, 1}, 2).cosine, 0);
}

TEST(Compare, what_floats_are_too_coarse_for_agrees) {
  const Comparison vanished = compared({1e-87, 3e-90}, {0, 0}, 2);
  EXPECT_EQ(vanished.relative_error, 0);
  EXPECT_EQ(vanished.cosine, 1);
  EXPECT_EQ(compared({1e-87, 1}, {0, 1}, 2).relative_error, 0);
  EXPECT_GT(compared({1e-30, 3e-30}, {0, 0}, 2).relative_error, 1);
}

TEST(Compare, the_first_of_equal_entries_is_the_top_one) {
  EXPECT_EQ(compared({1, 1, 0}, {1, 1, 0}, 3).top1_agreement, 1);
  EXPECT_EQ(compared({1, 1, 0}, {1, 2, 0}, 3).top1_agreement, 0);
}

TEST(Compare, adds_up_several_outputs) {
  Comparer comparer;
  ASSERT_TRUE(comparer.add(tensor_f32({1, 2}, std::vector<float>{0, 1}), tensor_f32({1, 2}, std::vector<float>{0, 1})));
  ASSERT_TRUE(comparer.add(tensor_f32({2, 2}, std::vector<float>{4, 1, 0, 2}),
                           tensor_f32({2, 2}, std::vector<float>{4, 5, 0, 2})));
  const Comparison result = comparer.result();
  EXPECT_EQ(result.rows, 3);
  EXPECT_DOUBLE_EQ(result.max_error, 4);
  EXPECT_DOUBLE_EQ(result.relative_error, 1);
  EXPECT_DOUBLE_EQ(result.top1_agreement, 2.0 / 3);
}

TEST(Compare, measures_each_output_by_its_own_spread) {
  const auto with_second = [](const std::vector<double>& reference, const std::vector<double>& measured) {
    Comparer comparer;
    EXPECT_TRUE(comparer.add(std::vector<double>{0, 1000}, std::vector<double>{0, 1000}, 2, 0));
    EXPECT_TRUE(comparer.add(reference, measured, 2, 1));
    return comparer.result();
  };
  EXPECT_DOUBLE_EQ(with_second({0, 100}, {0, 90}).relative_error, 0.1);
  EXPECT_DOUBLE_EQ(with_second({50, 50}, {50, 40}).relative_error, 0.2);
  // Below a hundredth of another output there may be rounding errors alone.
  EXPECT_DOUBLE_EQ(with_second({0, 1}, {0, 0.5}).relative_error, 0.05);
  EXPECT_EQ(with_second({0, 1}, {0, 0.5}).spread, 1000);
  // One output in several pieces is measured as one.
  Comparer pieces;
  EXPECT_TRUE(pieces.add(std::vector<double>{0, 1}, std::vector<double>{0, 2}, 2));
  EXPECT_TRUE(pieces.add(std::vector<double>{0, 10}, std::vector<double>{0, 10}, 2));
  EXPECT_DOUBLE_EQ(pieces.result().relative_error, 0.1);
}

TEST(Compare, leaves_masks_out_of_the_spread) {
  const Comparison masked = compared({-1e9, 0, 1, -1e9}, {-1e9, 0, 1.5, -1e9 + 64}, 4);
  EXPECT_DOUBLE_EQ(masked.relative_error, 0.5);
  EXPECT_DOUBLE_EQ(masked.max_error, 64);
  EXPECT_DOUBLE_EQ(compared({-1e9, 0, 1, -1e9}, {-1e9, 0, 1, -9e8}, 4).relative_error, 0.1);
  // A single outlier is a number like others.
  EXPECT_LT(compared({-1e9, 0, 1, 2}, {-1e9, 0, 1.5, 2}, 4).relative_error, 1e-9);
}

TEST(Compare, measures_what_is_within_rounding_over_the_size) {
  const double step = std::numeric_limits<float>::epsilon();
  EXPECT_DOUBLE_EQ(compared({1, 1 + 2 * step}, {1, 1 + step}, 2).relative_error, step / (1 + 2 * step));
  EXPECT_DOUBLE_EQ(compared({-1e9, 1, 1 + 2 * step, -1e9}, {-1e9, 1, 1 + step, -1e9}, 4).relative_error,
                   step / (1 + 2 * step));
  // Beyond it the spread counts.
  EXPECT_NEAR(compared({1, 1 + 8 * step}, {1, 1 + 16 * step}, 2).relative_error, 1, 1e-9);
}

TEST(Compare, refuses_different_shapes) {
  const auto result =
      compare(tensor_f32({1, 2}, std::vector<float>{0, 1}), tensor_f32({2, 1}, std::vector<float>{0, 1}));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "shape [2, 1], expected [1, 2] as the reference's");
  Comparer comparer;
  EXPECT_FALSE(comparer.add(std::vector<double>{1, 2}, std::vector<double>{1}, 1));
  EXPECT_FALSE(comparer.add(std::vector<double>{1, 2, 3}, std::vector<double>{1, 2, 3}, 2));
}

}  // namespace
}  // namespace taper
