// Means of what goes into layers.
#include "quantize/means.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace taper {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

TEST(ChannelMeans, are_those_of_all_rows_where_samples_agree) {
  ChannelMeans means(2);
  for (int sample = 0; sample < 3; ++sample) {
    means.observe(std::vector{1.0, -4.0});
    means.observe(std::vector{3.0, -4.0, 5.0, -4.0});
    means.end_sample();
  }
  EXPECT_THAT(means.means(), ElementsAre(3, -4));
}

TEST(ChannelMeans, leave_out_what_may_be_chance) {
  ChannelMeans means(2);
  for (const double sign : {1.0, -1.0, 1.0, -1.0}) {
    means.observe(std::vector{10 + sign, 0.1 + sign});
    means.end_sample();
  }
  // m^3 / (m^2 + v / n) with v = 4/3, n = 4.
  EXPECT_THAT(means.means(),
              ElementsAre(DoubleNear(1000 / (100 + 1.0 / 3), 1e-9), DoubleNear(0.001 / (0.01 + 1.0 / 3), 1e-9)));
}

TEST(ChannelMeans, are_zeros_without_numbers_or_with_infinite_ones) {
  ChannelMeans means(1);
  means.end_sample();
  EXPECT_THAT(means.means(), ElementsAre(0));
  means.observe(std::vector{-std::numeric_limits<double>::infinity()});
  means.end_sample();
  EXPECT_THAT(means.means(), ElementsAre(0));
}

}  // namespace
}  // namespace taper
