#include "base/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace taper {
namespace {

SharedBytes floats(std::initializer_list<float> values) {
  const std::vector<float> copy(values);
  const auto bytes = std::as_bytes(std::span(copy));
  return share({bytes.begin(), bytes.end()});
}

TEST(Half, round_trips_every_finite_bit_pattern) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = float_from_half(half);
    if (std::isnan(value)) continue;
    EXPECT_EQ(half_from_float(value), half) << bits;
  }
}

TEST(Half, narrows_like_the_compilers_own_float16) {
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 977) {
    const auto value = std::bit_cast<float>(bits);
    EXPECT_EQ(half_from_float(value), std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))) << value;
    EXPECT_EQ(half_from_float(-value), std::bit_cast<std::uint16_t>(static_cast<_Float16>(-value))) << value;
  }
}

TEST(Half, overflow_is_infinity_and_nan_stays_nan) {
  EXPECT_EQ(half_from_float(65504.0f), 0x7bff);
  EXPECT_EQ(half_from_float(65519.9f), 0x7bff);
  EXPECT_EQ(half_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(half_from_float(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_TRUE(std::isnan(float_from_half(half_from_float(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Bfloat16, rounds_to_nearest_even) {
  EXPECT_EQ(bfloat16_from_float(1.0f), 0x3f80);
  EXPECT_EQ(bfloat16_from_float(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(bfloat16_from_float(std::bit_cast<float>(0x3f818000u)), 0x3f82);
}

TEST(View, reads_a_transposed_matrix) {
  const auto view = make_view(DType::f32, {3, 2}, {1, 3}, floats({1, 2, 3, 4, 5, 6}), 0);
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->is_plain());
  EXPECT_EQ(to_double(*view), (std::vector<double>{1, 4, 2, 5, 3, 6}));
}

TEST(View, refuses_elements_outside_the_storage) {
  const SharedBytes six = floats({1, 2, 3, 4, 5, 6});
  EXPECT_TRUE(make_view(DType::f32, {2, 3}, {3, 1}, six, 0));
  EXPECT_FALSE(make_view(DType::f32, {2, 3}, {3, 1}, six, 4));
  EXPECT_FALSE(make_view(DType::f32, {2, 3}, {4, 1}, six, 0));
  EXPECT_FALSE(make_view(DType::f32, {2, 3}, {-3, 1}, six, 0));
  EXPECT_FALSE(make_view(DType::f32, {-1}, {1}, six, 0));
  EXPECT_FALSE(make_view(DType::f32, {std::int64_t{1} << 40, std::int64_t{1} << 40}, {0, 0}, six, 0));
  EXPECT_FALSE(make_view(DType::f32, {2, 2}, {std::int64_t{1} << 62, std::int64_t{1} << 62}, six, 0));
  EXPECT_FALSE(make_view(DType::f32, {1}, {1}, six, 25));
  EXPECT_TRUE(make_view(DType::f32, {0}, {1}, six, 24));
}

TEST(View, swaps_big_endian_elements) {
  const auto view =
      make_view(DType::i32, {1}, {1}, share({std::byte{0}, std::byte{0}, std::byte{1}, std::byte{2}}), 0, true);
  ASSERT_TRUE(view);
  EXPECT_EQ(to_double(*view), std::vector<double>{258});
}

TEST(Convert, saturates_floats_that_no_integer_holds) {
  const Tensor wide = tensor_f32({4}, std::vector<float>{1e30f, -1e30f, 2.9f, std::numeric_limits<float>::quiet_NaN()});
  EXPECT_EQ(to_double(converted(wide, DType::i8)), (std::vector<double>{127, -128, 2, 0}));
}

TEST(Convert, keeps_every_dtype_through_double) {
  const Tensor values = tensor_f32({3}, std::vector<float>{0, 1, 1});
  for (int d = 0; d < kDTypeCount; ++d) {
    const auto dtype = static_cast<DType>(d);
    EXPECT_EQ(to_double(converted(values, dtype)), (std::vector<double>{0, 1, 1})) << info(dtype).name;
    EXPECT_EQ(dtype_from_name(info(dtype).name), dtype);
    EXPECT_EQ(dtype_from_name(info(dtype).short_name), dtype);
  }
}

}  // namespace
}  // namespace taper
