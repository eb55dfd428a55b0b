// What examples can't show: ties, signs of rests, NaN, integers that float32 can't hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/builder.h"
#include "ops/evaluate.h"

namespace taper {
namespace {

using testing::ElementsAre;

// The results of one call.
std::vector<Array> call(std::string_view op, const std::vector<Array>& operands, const Attrs& attrs = {}) {
  Graph graph;
  Builder build(graph);
  std::vector<Value*> values;
  for (const Array& array : operands) values.push_back(graph.add_input("x", {array.dtype, to_shape(array.shape)}));
  const auto results = build.call(op, values, attrs);
  EXPECT_TRUE(build.status()) << build.status().error().text();
  for (Value* result : results) graph.add_output("y", result);
  const auto outputs = evaluate(graph, operands);
  EXPECT_TRUE(outputs) << outputs.error().text();
  return *outputs;
}

Array vector(DType dtype, std::vector<double> values) {
  const auto size = static_cast<std::int64_t>(values.size());
  return {dtype, {size}, std::move(values)};
}

const double kNan = std::numeric_limits<double>::quiet_NaN();
const Attrs kAxis = {{"dim", std::int64_t{0}}};

TEST(Pointwise, rounds_halves_to_even) {
  EXPECT_THAT(call("round", {vector(DType::f32, {0.5, 1.5, 2.5, -0.5, -1.5})})[0].values, ElementsAre(0, 2, 2, 0, -2));
}

TEST(Pointwise, gives_rests_the_sign_that_the_language_gives_them) {
  for (const DType dtype : {DType::f32, DType::i64}) {
    const Array a = vector(dtype, {7, -7, 7, -7}), b = vector(dtype, {3, 3, -3, -3});
    EXPECT_THAT(call("remainder", {a, b})[0].values, ElementsAre(1, 2, -2, -1));
    EXPECT_THAT(call("fmod", {a, b})[0].values, ElementsAre(1, -1, 1, -1));
    EXPECT_THAT(call("floor_divide", {a, b})[0].values, ElementsAre(2, -3, -3, 2));
  }
  const Array a = vector(DType::i64, {7, -7}), b = vector(DType::i64, {3, 3});
  EXPECT_THAT(call("trunc_divide", {a, b})[0].values, ElementsAre(2, -2));
}

TEST(Pointwise, does_not_round_a_quotient_up_before_it_is_floored) {
  EXPECT_THAT(call("floor_divide", {vector(DType::f32, {1}), vector(DType::f32, {0.1f})})[0].values, ElementsAre(9));
}

TEST(Pointwise, keeps_integers_that_float32_can_not_hold) {
  const double large = 0x1p52 + 1;
  EXPECT_THAT(call("add", {vector(DType::i64, {large}), vector(DType::i64, {2})})[0].values, ElementsAre(large + 2));
  EXPECT_THAT(call("bitwise_and", {vector(DType::i64, {large}), vector(DType::i64, {-2})})[0].values,
              ElementsAre(large - 1));
}

TEST(Pointwise, lets_nan_win) {
  const Array a = vector(DType::f32, {1, kNan}), b = vector(DType::f32, {kNan, 1});
  for (const char* op : {"maximum", "minimum"}) {
    const std::vector<double> values = call(op, {a, b})[0].values;
    EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[1])) << op;
  }
  EXPECT_TRUE(std::isnan(call("clamp", {a}, {{"min", 0.0}, {"max", 1.0}})[0].values[1]));
}

TEST(Reductions, name_the_first_of_equals_and_nan_before_numbers) {
  EXPECT_THAT(call("argmax", {vector(DType::f32, {1, 3, 3, 2})}, kAxis)[0].values, ElementsAre(1));
  EXPECT_THAT(call("argmin", {vector(DType::i64, {2, 1, 1})}, kAxis)[0].values, ElementsAre(1));
  EXPECT_THAT(call("argmax", {vector(DType::f32, {1, kNan, 3, kNan})}, kAxis)[0].values, ElementsAre(1));
}

TEST(Order, is_stable_and_puts_nan_above_all_numbers) {
  const auto sorted = call("sort", {vector(DType::f32, {2, kNan, 1, 2})}, kAxis);
  EXPECT_THAT(sorted[1].values, ElementsAre(2, 0, 3, 1));
  const auto descending =
      call("sort", {vector(DType::f32, {2, 5, 2})}, {{"dim", std::int64_t{0}}, {"descending", true}});
  EXPECT_THAT(descending[1].values, ElementsAre(1, 0, 2));
}

}  // namespace
}  // namespace taper
