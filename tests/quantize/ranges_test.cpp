#include "quantize/ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace taper {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

std::vector<double> uniform(double low, double high, int count, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = draw(generator);
  return values;
}

std::vector<double> normal(double deviation, int count, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> draw(0, deviation);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = draw(generator);
  return values;
}

Range range_of(const RangeOptions& options, const std::vector<std::vector<double>>& samples) {
  RangeEstimator estimator(options);
  for (const std::vector<double>& sample : samples) {
    estimator.observe(sample);
    estimator.end_sample();
  }
  return estimator.range();
}

// ---------------------------------------------------------------------------------------------------------- histograms

TEST(Histogram, counts_what_is_finite) {
  Histogram histogram;
  histogram.add(std::vector{1.0, -2.0, std::nan(""), std::numeric_limits<double>::infinity(), 0.0});
  EXPECT_EQ(histogram.total(), 3);
  EXPECT_EQ(histogram.lowest(), -2);
  EXPECT_EQ(histogram.highest(), 1);
}

TEST(Histogram, keeps_numbers_in_their_bins_while_it_widens) {
  Histogram histogram;
  histogram.add(std::vector{0.0, 0.0});
  std::mt19937 generator(3);
  std::vector<double> all = {0.0, 0.0};
  for (double reach = 1e-9; reach < 1e9; reach *= 7) {
    std::vector<double> sample = uniform(-reach, reach * 0.3, 50, static_cast<unsigned>(generator()));
    histogram.add(sample);
    all.insert(all.end(), sample.begin(), sample.end());
  }
  EXPECT_EQ(histogram.total(), static_cast<std::int64_t>(all.size()));
  std::int64_t counted = 0;
  for (std::int64_t bin = 0; bin < Histogram::kBins; ++bin) {
    const double low = histogram.edge(bin), high = histogram.edge(bin + 1);
    const auto inside = std::ranges::count_if(all, [&](double value) { return value >= low && value < high; });
    ASSERT_EQ(histogram.count(bin), inside) << "bin " << bin;
    counted += histogram.count(bin);
  }
  EXPECT_EQ(counted, histogram.total());
}

TEST(Histogram, finds_quantiles_of_a_uniform_distribution) {
  Histogram histogram;
  histogram.add(uniform(-3, 5, 100'000));
  for (const double q : {0.01, 0.25, 0.5, 0.9}) EXPECT_THAT(histogram.quantile(q), DoubleNear(-3 + 8 * q, 0.05));
  EXPECT_EQ(histogram.quantile(1), histogram.highest());
}

TEST(Histogram, bears_numbers_at_the_ends_of_float64) {
  Histogram histogram;
  histogram.add(std::vector{5e-324, 1e300});
  histogram.add(std::vector{-1e308, 1e308});
  EXPECT_EQ(histogram.total(), 4);
}

// -------------------------------------------------------------------------------------------------------------- ranges

TEST(Ranges, min_max_is_all_that_was_seen_and_zero) {
  EXPECT_EQ(range_of({}, {{1, 2}, {-3}, {0.5}}), (Range{-3, 2}));
  EXPECT_EQ(range_of({}, {{1, 2}}), (Range{0, 2}));
  EXPECT_EQ(range_of({.symmetric = true}, {{1, 2}, {-3}}), (Range{-3, 3}));
}

TEST(Ranges, leave_out_what_stands_for_an_infinite_number) {
  constexpr double kLeast = std::numeric_limits<float>::lowest();
  for (const RangeMethod method : {RangeMethod::min_max, RangeMethod::moving_average, RangeMethod::percentile,
                                   RangeMethod::mse, RangeMethod::kl}) {
    RangeEstimator estimator({.method = method});
    estimator.observe(std::vector{kLeast, -1.0, 2.0, -kLeast, std::numeric_limits<double>::infinity()});
    estimator.end_sample();
    EXPECT_GE(estimator.range().low, -1.1) << range_method_name(method);
    EXPECT_LE(estimator.range().high, 2.1) << range_method_name(method);
  }
}

TEST(Ranges, nothing_seen_and_zeros_have_no_range) {
  for (const RangeMethod method : {RangeMethod::min_max, RangeMethod::moving_average, RangeMethod::percentile,
                                   RangeMethod::mse, RangeMethod::kl}) {
    EXPECT_EQ(range_of({.method = method}, {}), Range{});
    EXPECT_EQ(range_of({.method = method}, {{0, 0, 0}}), Range{});
    EXPECT_EQ(range_of({.method = method}, {{std::nan("")}}), Range{});
  }
}

TEST(Ranges, moving_average_follows_its_recurrence) {
  const RangeOptions options{.method = RangeMethod::moving_average, .momentum = 0.75};
  // high: 8, 0.75 * 8 + 0.25 * 4 = 7; low: -4, 0.75 * -4 + 0.25 * 0 = -3
  EXPECT_EQ(range_of(options, {{8, -4}, {4, 0}}), (Range{-3, 7}));
}

TEST(Ranges, a_sample_may_come_in_parts) {
  RangeEstimator estimator({.method = RangeMethod::moving_average, .momentum = 0.75});
  for (const double value : {8.0, -4.0, 2.0}) estimator.observe(std::vector{value});
  estimator.end_sample();
  estimator.observe(std::vector{4.0, 0.0});
  estimator.end_sample();
  estimator.end_sample();  // of nothing
  EXPECT_EQ(estimator.range(), (Range{-3, 7}));
}

TEST(Ranges, percentile_cuts_both_tails) {
  const RangeOptions options{.method = RangeMethod::percentile, .percentile = 90};
  const Range range = range_of(options, {uniform(-1, 1, 50'000), uniform(-1, 1, 50'000, 2)});
  EXPECT_THAT(range.low, DoubleNear(-0.9, 0.01));
  EXPECT_THAT(range.high, DoubleNear(0.9, 0.01));
}

TEST(Ranges, percentile_leaves_an_outlier_out) {
  std::vector<double> values = uniform(0, 1, 100'000);
  values.push_back(1000);
  EXPECT_LT(range_of({.method = RangeMethod::percentile, .percentile = 99.9}, {values}).high, 1.5);
  EXPECT_EQ(range_of({}, {values}).high, 1000);
}

// Max 1960, "Quantizing for Minimum Distortion": the best uniform steps for a normal distribution of deviation 1 are
// 0.3352 with 16 outputs, 0.0308 with 256.
TEST(Ranges, mse_finds_the_best_uniform_quantiser_of_a_normal_distribution) {
  const std::vector<double> values = normal(1, 400'000);
  for (const bool symmetric : {true, false}) {
    const Range four = range_of({.method = RangeMethod::mse, .bits = 4, .symmetric = symmetric}, {values});
    EXPECT_THAT(four.high, DoubleNear(15 * 0.3352 / 2, 0.3));
    EXPECT_THAT(four.low, DoubleNear(-15 * 0.3352 / 2, 0.3));
    const Range eight = range_of({.method = RangeMethod::mse, .bits = 8, .symmetric = symmetric}, {values});
    EXPECT_THAT(eight.high, DoubleNear(255 * 0.0308 / 2, 0.5));
  }
}

TEST(Ranges, mse_keeps_all_of_a_uniform_distribution) {
  const Range range = range_of({.method = RangeMethod::mse, .bits = 8}, {uniform(-2, 1, 100'000)});
  EXPECT_THAT(range.low, DoubleNear(-2, 0.06));
  EXPECT_THAT(range.high, DoubleNear(1, 0.03));
}

// What a method promises is seen on numbers that are really rounded and clipped.
double mean_square_error(const std::vector<double>& values, const Range& range, int bits) {
  const double step = (range.high - range.low) / (std::exp2(bits) - 1);
  double error = 0;
  for (const double value : values) {
    const double clipped = std::clamp(value, range.low, range.high);
    const double off = value - (range.low + step * std::round((clipped - range.low) / step));
    error += off * off / static_cast<double>(values.size());
  }
  return error;
}

TEST(Ranges, mse_and_kl_beat_min_max_on_a_heavy_tail) {
  std::vector<double> values = normal(1, 200'000);
  for (int i = 0; i < 20; ++i) values.push_back(60.0 + i);
  const auto error = [&](RangeMethod method) {
    return mean_square_error(values, range_of({.method = method, .bits = 4}, {values}), 4);
  };
  EXPECT_LT(error(RangeMethod::mse), 0.7 * error(RangeMethod::min_max));
  const Range kl = range_of({.method = RangeMethod::kl}, {values});
  EXPECT_LT(kl.high, 40);
  EXPECT_GT(kl.high, 3);
}

TEST(Ranges, kl_keeps_all_of_numbers_that_are_too_few_to_tell) {
  std::vector<double> values = normal(1, 500);
  values.push_back(9);
  EXPECT_EQ(range_of({.method = RangeMethod::kl}, {values}).high, 9);
}

TEST(Ranges, kl_clips_nothing_because_of_zeros) {
  std::vector<double> values = uniform(-1, 1, 50'000);
  values.insert(values.end(), 500'000, 0.0);
  EXPECT_GT(range_of({.method = RangeMethod::kl}, {values}).high, 0.95);
}

TEST(Ranges, methods_have_names_both_ways) {
  for (const std::string_view name : range_method_names())
    EXPECT_EQ(range_method_name(range_method_from_name(name).value()), name);
  EXPECT_EQ(range_method_from_name("minmax"), std::nullopt);
  EXPECT_THAT(range_method_names(), ElementsAre("min-max", "moving-average", "percentile", "mse", "kl"));
}

}  // namespace
}  // namespace taper
