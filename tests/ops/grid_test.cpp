// Rounding to the integers that kernels compute with, and evaluation of quantised graphs.
#include "ops/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/evaluate.h"
#include "ops/table.h"

namespace taper {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Graph checked(std::string_view text) {
  auto graph = parse(text);
  EXPECT_TRUE(graph) << graph.error().text();
  if (!graph) return {};
  const Status status = check(*graph);
  EXPECT_TRUE(status) << status.error().text();
  return std::move(*graph);
}

std::string error_of(std::string_view text) {
  const auto graph = parse(text);
  EXPECT_TRUE(graph) << graph.error().text();
  const Status status = check(*graph);
  return status ? "no error" : status.error().text();
}

std::vector<double> rounded(std::vector<double> values, const Quantization& grid) {
  const auto count = static_cast<std::int64_t>(values.size());
  Array array{DType::f32, {count}, std::move(values)};
  round_to_grid(array, grid);
  return array.values;
}

TEST(Grid, rounds_half_away_from_zero_and_saturates) {
  EXPECT_THAT(rounded({0.25, -0.25, 0.24, 63.4, 70, -64, -70}, per_tensor_grid(8, 0.5F, 0)),
              ElementsAre(0.5, -0.5, 0, 63.5, 63.5, -64, -64));
  EXPECT_THAT(rounded({0, 127.5, -0.2}, per_tensor_grid(8, 0.5F, -128)), ElementsAre(0, 127.5, 0));
  EXPECT_THAT(rounded({std::nan("")}, per_tensor_grid(8, 0.5F, 3)), ElementsAre(0));
}

TEST(Grid, stores_what_it_rounds_to) {
  Quantization grid{.bits = 4, .scales = {1, 2, 0.5, 4}, .zero_points = {0, 0, 0, 0}, .axis = 0, .block = 2};
  const Tensor weight = tensor_f32({2, 4}, std::vector<float>{1, -7, 4, -30, 0.5, 9, 8, 28});
  const std::vector<std::byte> bytes = stored_integers(weight, grid);
  // 1, -7 | 2, -8 (saturated) | 1, 7 (saturated) | 2, 7; the first of a pair is the lower half.
  EXPECT_THAT(bytes, ElementsAre(std::byte{0x91}, std::byte{0x82}, std::byte{0x71}, std::byte{0x72}));
  const auto back = from_stored_integers(bytes, {2, 4}, grid);
  ASSERT_TRUE(back);
  EXPECT_THAT(to_double(*back), ElementsAre(1, -7, 4, -16, 0.5, 3.5, 8, 28));
  EXPECT_FALSE(from_stored_integers(bytes, {2, 5}, grid));
}

TEST(Grid, keeps_integers_of_every_width) {
  for (const int bits : {4, 8, 16, 32, 64}) {
    const Quantization grid = per_tensor_grid(bits, 0.25F, bits == 8 ? -5 : 0);
    const Tensor values = tensor_f32({3}, std::vector<float>{-1.25, 0, 1.75});
    const auto back = from_stored_integers(stored_integers(values, grid), {3}, grid);
    ASSERT_TRUE(back) << bits;
    EXPECT_TRUE(identical(*back, values)) << bits;
  }
}

TEST(Grid, of_hybrid_kernels_has_255_steps_and_zero_for_each_row) {
  Array array{DType::f32, {2, 3}, {0.1, 255, 3.4, -51, 0, 204}};
  round_dynamically(array, 1);
  EXPECT_THAT(array.values, ElementsAre(0, 255, 3, -51, 0, 204));
}

TEST(QuantisedEvaluation, rounds_inputs_weights_and_results) {
  const Graph graph = checked(R"(graph g (%x: f32[2] as i8 scale [0.5] zero [0]) {
  %w = constant() {value = f32[1, 2] {0.9, 2.2}} : f32[1, 2] as i8 scale [1] zero [0] axis 0
  %b = constant() {value = f32[1] {0.3}} : f32[1] as i32 scale [0.5] zero [0] axis 0
  %y = linear(%x, %w, %b) {activation = "none"} : f32[1] as i8 scale [2] zero [1]
  return y = %y
})");
  // 0.5 * 1 + 1 * 2 + 0.5 = 3, a step and a half.
  const auto result = evaluate(graph, {Array{DType::f32, {2}, {0.6, 1.2}}});
  ASSERT_TRUE(result) << result.error().text();
  EXPECT_THAT((*result)[0].values, ElementsAre(4));
}

TEST(QuantisedEvaluation, shows_values_of_loops_to_an_observer) {
  const Graph graph = checked(R"(graph g (%x: f32[2]) {
  %zero = constant() {value = i32[] {0}} : i32[]
  %i, %y = while(%zero, %x) : i32[], f32[2] {
    graph "" (%i: i32[], %h: f32[2]) {
      %end = constant() {value = i32[] {3}} : i32[]
      %less = less(%i, %end) : bool[]
      return go_on = %less
    }
    graph "" (%i: i32[], %h: f32[2]) {
      %one = constant() {value = i32[] {1}} : i32[]
      %next = add(%i, %one) {activation = "none"} : i32[]
      %sum = add(%h, %h) {activation = "none"} : f32[2]
      return i = %next, h = %sum
    }
  }
  return y = %y
})");
  std::map<std::string, std::vector<double>> largest;
  const ValueObserver observer = [&](const Value& value, const Array& array) {
    if (value.type.dtype == DType::f32) largest[value.name].push_back(array.values.back());
  };
  PreparedGraph prepared(graph);
  prepared.observe(&observer);
  ASSERT_TRUE(prepared.run({Array{DType::f32, {2}, {0, 1}}}));
  EXPECT_THAT(largest["x"], ElementsAre(1));
  EXPECT_THAT(largest["sum"], ElementsAre(2, 4, 8));
  EXPECT_THAT(largest["y"], ElementsAre(8));
}

TEST(Evaluation, ends_loops_that_do_not_end) {
  const Graph graph = checked(R"(graph g (%x: f32[]) {
  %y = while(%x) : f32[] {
    graph "" (%h: f32[]) {
      %end = constant() {value = f32[] {3}} : f32[]
      %less = less(%h, %end) : bool[]
      return go_on = %less
    }
    graph "" (%h: f32[]) {
      %sum = add(%h, %h) {activation = "none"} : f32[]
      return h = %sum
    }
  }
  return y = %y
})");
  EXPECT_TRUE(evaluate(graph, {Array{DType::f32, {}, {1}}}));
  const auto endless = evaluate(graph, {Array{DType::f32, {}, {-1}}});
  ASSERT_FALSE(endless);
  EXPECT_THAT(endless.error().text(), testing::HasSubstr("a loop has not ended after"));
  EXPECT_THAT(endless.error().hint, testing::HasSubstr("--verify-input"));
}

TEST(CheckOfGrids, wants_kernels_on_one_kind_of_numbers) {
  const auto with = [](std::string_view x, std::string_view w, std::string_view y) {
    return error_of(fmt::format(R"(graph g (%x: f32[2]{}) {{
  %w = constant() {{value = f32[1, 2] {{1, 2}}}} : f32[1, 2]{}
  %y = linear(%x, %w) {{activation = "none"}} : f32[1]{}
  return y = %y
}})",
                                x, w, y));
  };
  const std::string_view i8 = " as i8 scale [1] zero [0]", i4 = " as i4 scale [1] zero [0]";
  EXPECT_EQ(with("", "", ""), "no error");
  EXPECT_EQ(with("", i8, ""), "no error");
  EXPECT_EQ(with(i8, i8, i8), "no error");
  EXPECT_THAT(with(i8, i8, ""), HasSubstr("'x' is quantised"));
  EXPECT_THAT(with("", i8, i8), HasSubstr("'x' is not quantised"));
  EXPECT_THAT(with(i8, "", i8), HasSubstr("'w' is not quantised"));
  EXPECT_THAT(with(i8, i8, i4), HasSubstr("no kernel on integers of 4 bits"));
}

TEST(CheckOfGrids, wants_one_grid_where_elements_move) {
  const auto with = [](std::string_view y) {
    return error_of(fmt::format(R"(graph g (%x: f32[2] as i8 scale [1] zero [0]) {{
  %y = reshape(%x) {{shape = shape[2, 1]}} : f32[2, 1]{}
  return y = %y
}})",
                                y));
  };
  EXPECT_EQ(with(" as i8 scale [1] zero [0]"), "no error");
  EXPECT_THAT(with(" as i8 scale [2] zero [0]"), HasSubstr("different grids"));
  EXPECT_THAT(with(""), HasSubstr("'x' is quantised"));
}

}  // namespace
}  // namespace taper
