#include "quantize/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace taper {
namespace {

using testing::DoubleEq;
using testing::DoubleNear;

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<double> normal(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> draw;
  std::vector<double> values(count);
  for (double& value : values) value = draw(generator);
  return values;
}

double scale_of(const IntegerMatrix& matrix, const MatrixShape& shape, std::size_t element) {
  if (matrix.scales.size() == 1) return matrix.scales[0];
  const std::size_t per_scale = static_cast<std::size_t>(shape.rows * shape.columns) / matrix.scales.size();
  return matrix.scales[element / per_scale];
}

// Mean over inputs and rows of (x w - x q)^2.
double output_error(const std::vector<double>& weights, const IntegerMatrix& matrix, const MatrixShape& shape,
                    const std::vector<double>& inputs) {
  const auto columns = static_cast<std::size_t>(shape.columns);
  double error = 0;
  for (std::size_t from = 0; from < inputs.size(); from += columns)
    for (std::size_t row = 0; row < static_cast<std::size_t>(shape.rows); ++row) {
      double off = 0;
      for (std::size_t j = 0; j < columns; ++j) {
        const std::size_t i = row * columns + j;
        off += inputs[from + j] * (weights[i] - matrix.integers[i] * scale_of(matrix, shape, i));
      }
      error += off * off;
    }
  return error / static_cast<double>(inputs.size());
}

TEST(Weights, round_half_away_from_zero_and_saturate) {
  EXPECT_EQ(rounded_to(2.5, 1, 127), 3);
  EXPECT_EQ(rounded_to(-2.5, 1, 127), -3);
  EXPECT_EQ(rounded_to(-1000, 1, 127), -127);
  EXPECT_EQ(largest_integer(8), 127);
  EXPECT_EQ(largest_integer(4), 7);
}

TEST(Weights, scales_fit_the_largest_magnitude) {
  EXPECT_THAT(scale_for(std::vector{1.0, -12.7}, 8, WeightMethod::min_max), DoubleEq(0.1));
  EXPECT_EQ(scale_for(std::vector{0.0, 0.0}, 8, WeightMethod::mse), 1);
  EXPECT_EQ(scale_for(std::vector{1e-42, 0.0}, 4, WeightMethod::min_max), 1);
}

TEST(Weights, scales_are_per_matrix_row_or_block) {
  const std::vector<double> weights = {7, 1, 2, 14, 70, 7, 0, 0};
  const MatrixShape shape{2, 4};
  const auto scales = [&](const ScaleLayout& layout) {
    return round_weights(weights, shape, 4, layout, WeightMethod::min_max).value().scales;
  };
  EXPECT_THAT(scales({.per_row = false}), ElementsAre(10));
  EXPECT_THAT(scales({}), ElementsAre(2, 10));
  EXPECT_THAT(scales({.block = 2}), ElementsAre(1, 2, 10, 1));
  EXPECT_THAT(round_weights(weights, shape, 4, {.block = 2}, WeightMethod::min_max)->integers,
              ElementsAre(7, 1, 1, 7, 7, 1, 0, 0));
}

TEST(Weights, refuses_blocks_that_do_not_divide_the_columns) {
  const auto result = round_weights(std::vector<double>(6), {2, 3}, 4, {.block = 2}, WeightMethod::min_max);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("3 weights can't be cut into blocks of 2"));
}

TEST(Weights, mse_has_the_least_error_of_all_scales) {
  const std::vector<double> weights = normal(4096, 5);
  const auto error = [&](double scale) {
    double sum = 0;
    for (const double weight : weights) sum += std::pow(weight - scale * rounded_to(weight, scale, 7), 2);
    return sum;
  };
  const double found = scale_for(weights, 4, WeightMethod::mse);
  EXPECT_LT(error(found), 0.8 * error(scale_for(weights, 4, WeightMethod::min_max)));
  // Max 1960: 0.335 for a normal distribution and 16 outputs, of which a symmetric range leaves one unused.
  EXPECT_THAT(found, DoubleNear(0.35, 0.03));
}

// Inputs that depend on one another, as activations do: x = z m with a random m.
std::vector<double> correlated_inputs(std::size_t count, std::size_t size) {
  const std::vector<double> mix = normal(size * size / 4, 7);
  const std::vector<double> z = normal(count * size / 4, 8);
  const std::vector<double> noise = normal(count * size, 9);
  std::vector<double> x(count * size);
  for (std::size_t n = 0; n < count; ++n)
    for (std::size_t j = 0; j < size; ++j) {
      double sum = 0.1 * noise[n * size + j];
      for (std::size_t k = 0; k < size / 4; ++k) sum += z[n * size / 4 + k] * mix[k * size + j];
      x[n * size + j] = sum;
    }
  return x;
}

TEST(Weights, compensation_lowers_the_error_of_the_output) {
  const MatrixShape shape{24, 64};
  const std::vector<double> weights = normal(24 * 64, 1);
  const std::vector<double> seen = correlated_inputs(400, 64);
  InputProducts products(64);
  products.add(std::span(seen).first(200 * 64));
  products.add(std::span(seen).subspan(200 * 64));
  for (const ScaleLayout& layout : {ScaleLayout{}, ScaleLayout{.block = 32}, ScaleLayout{.per_row = false}}) {
    const auto plain = round_weights(weights, shape, 4, layout, WeightMethod::mse);
    const auto compensated = compensate(weights, shape, 4, layout, products);
    ASSERT_TRUE(plain && compensated);
    const std::vector<double> others = correlated_inputs(100, 64);
    EXPECT_LT(output_error(weights, *compensated, shape, others), 0.5 * output_error(weights, *plain, shape, others));
    for (const double integer : compensated->integers) ASSERT_LE(std::abs(integer), 7);
  }
}

// What few inputs seem to tell of one another is damped the more, the fewer they are.
TEST(Weights, compensation_trusts_many_inputs_more_than_few) {
  const std::vector<double> seen = correlated_inputs(400, 64);
  InputProducts products(64);
  products.add(seen);
  EXPECT_EQ(products.count(), 400);
  const std::vector<double> weights = normal(24 * 64, 1), others = correlated_inputs(100, 64);
  const MatrixShape shape{24, 64};
  const auto compensated = compensate(weights, shape, 4, {}, products);
  const auto plain = round_weights(weights, shape, 4, {}, WeightMethod::mse);
  ASSERT_TRUE(plain && compensated);
  EXPECT_LT(output_error(weights, *compensated, shape, others), 0.35 * output_error(weights, *plain, shape, others));
}

TEST(Weights, compensation_passes_over_inputs_that_are_not_finite) {
  InputProducts products(2);
  products.add(std::vector{1.0, 2.0, 3.0, -std::numeric_limits<double>::infinity()});
  EXPECT_EQ(products.count(), 1);
  EXPECT_EQ(std::vector<double>(products.sums().begin(), products.sums().end()), (std::vector{1.0, 2.0, 0.0, 4.0}));
}

// Inputs that are independent tell nothing of each other: nothing can be made up for.
TEST(Weights, compensation_rounds_by_itself_where_inputs_are_independent) {
  const MatrixShape shape{3, 4};
  const std::vector<double> weights = normal(12, 2);
  std::vector<double> identity(16);
  for (std::size_t i = 0; i < 4; ++i) identity[5 * i] = 1;
  InputProducts products(4);
  products.add(identity);
  EXPECT_EQ(compensate(weights, shape, 8, {}, products)->integers,
            round_weights(weights, shape, 8, {}, WeightMethod::mse)->integers);
}

TEST(Weights, compensation_bears_inputs_that_are_always_zero) {
  const MatrixShape shape{2, 3};
  const std::vector<double> weights = normal(6, 3);
  InputProducts products(3);
  products.add(std::vector(3, 0.0));
  const auto result = compensate(weights, shape, 8, {}, products);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->integers, round_weights(weights, shape, 8, {}, WeightMethod::mse)->integers);
  products.add(std::vector{1.0, 0.0, 2.0});
  const auto again = compensate(weights, shape, 8, {}, products);
  ASSERT_TRUE(again);
  for (const double integer : again->integers) ASSERT_TRUE(std::isfinite(integer));
}

// The products of an input of two numbers, with the update of the second weight worked out by hand: without damping it
// moves by error * h01 / h11, which is what keeps x w nearest.
TEST(Weights, compensation_follows_its_formula) {
  InputProducts products(2);
  for (int i = 0; i < 100; ++i)
    products.add(std::vector{1.0, 1.0, 1.0, 0.0});  // H = 100 [[2, 1], [1, 1]], damped by 1.5
  const auto result = compensate(std::vector{6.6, 7.0}, {1, 2}, 4, {.per_row = true}, products);
  ASSERT_TRUE(result);
  const double scale = result->scales[0];
  const double first = rounded_to(6.6, scale, 7);
  const double moved = 7.0 + (6.6 - first * scale) * 1 / 1.015;
  EXPECT_THAT(result->integers, ElementsAre(first, rounded_to(moved, scale, 7)));
}

// Fewer inputs than weights in a row, drawn independently: what they seem to tell of each other is chance.
TEST(Weights, compensation_trusts_few_inputs_little) {
  const MatrixShape shape{16, 64};
  const std::vector<double> weights = normal(16 * 64, 7);
  InputProducts few(64);
  few.add(normal(32 * 64, 8));
  const std::vector<double> others = normal(1000 * 64, 9);
  const auto plain = round_weights(weights, shape, 4, {}, WeightMethod::mse);
  const auto compensated = compensate(weights, shape, 4, {}, few);
  ASSERT_TRUE(plain && compensated);
  EXPECT_LT(output_error(weights, *compensated, shape, others), 1.3 * output_error(weights, *plain, shape, others));
}

TEST(Weights, refuses_inputs_of_another_size) {
  const auto result = compensate(std::vector<double>(6), {2, 3}, 4, {}, InputProducts(4));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("inputs of 4 numbers for rows of 3 weights"));
}

}  // namespace
}  // namespace taper
