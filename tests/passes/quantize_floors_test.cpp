// Down to where scores count that softmax compares.
#include "passes/quantize_floors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "ops/builder.h"

namespace taper {
namespace {

using testing::ElementsAre;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// scores [2, 3] + mask [2, 3], reshaped to [1, 2, 3], to softmax.
struct Attention {
  Graph graph;
  Builder build{graph};
  Value* scores = graph.add_input("scores", {DType::f32, {2, 3}});
  Value* mask = graph.add_input("mask", {DType::f32, {2, 3}});
  Value* sum = build("add", {scores, mask});
  Value* moved = build("reshape", {sum}, {{"shape", Shape{1, 2, 3}}});
  Value* weights = build("softmax", {moved}, {{"dim", std::int64_t{-1}}});

  Floors floors() {
    graph.add_output("weights", weights);
    return floors_of(graph, {{moved, -2}}, {{scores, {-3, 4}}, {mask, {-1e9, 1}}, {sum, {-1e9, 4}}});
  }
};

TEST(Floors, come_from_the_least_largest_entry_of_a_row) {
  EXPECT_EQ(least_maximum({DType::f32, {2, 3}, {1, 5, -1e9, -1e9, -2, -7}}, 1), -2);
  EXPECT_EQ(least_maximum({DType::f32, {3, 2}, {1, 5, -1e9, -1e9, -2, -7}}, 0), 1);
  // A row that is masked altogether says nothing of the others.
  EXPECT_EQ(least_maximum({DType::f32, {2, 2}, {-1e4, -10001, 3, -kInfinite}}, 1), 3);
  EXPECT_EQ(least_maximum({DType::f32, {1, 2}, {-kInfinite, -kInfinite}}, 1), kInfinite);
}

TEST(Floors, raise_masks_to_where_softmax_makes_nothing_of_them) {
  const Array raised = without_masks({DType::f32, {2, 3}, {1, 5, -1e9, -kInfinite, -2, -7}}, 1);
  EXPECT_THAT(raised.values, ElementsAre(1, 5, 5 - floor_margin(16), -2 - floor_margin(16), -2, -7));
}

TEST(Floors, are_of_what_becomes_scores_by_moves_and_sums) {
  Attention net;
  const Floors floors = net.floors();
  EXPECT_EQ(floors.at(net.moved), -2);
  EXPECT_EQ(floors.at(net.sum), -2);
  EXPECT_EQ(floors.at(net.mask), -6);    // with the largest score, 4
  EXPECT_EQ(floors.at(net.scores), -3);  // with the largest of the mask, 1
  EXPECT_FALSE(floors.contains(net.weights));
}

TEST(Floors, are_none_where_the_numbers_themselves_are_asked_for) {
  Attention given_out;
  given_out.graph.add_output("sum", given_out.sum);
  EXPECT_FALSE(given_out.floors().contains(given_out.sum));
  Attention scaled;
  scaled.graph.add_output("scaled", scaled.build("mul", {scaled.mask, scaled.mask}));
  const Floors floors = scaled.floors();
  EXPECT_FALSE(floors.contains(scaled.mask));
  EXPECT_TRUE(floors.contains(scaled.scores));
}

TEST(Floors, are_of_masks_that_several_layers_add_the_least) {
  Attention net;
  Value* other = net.build("softmax", {net.build("add", {net.mask, net.scores})}, {{"dim", std::int64_t{-1}}});
  const Value* sum = other->producer->operands[0];
  net.graph.add_output("weights", net.weights);
  net.graph.add_output("other", other);
  const Floors floors = floors_of(net.graph, {{net.moved, -2}, {sum, -5}},
                                  {{net.scores, {-3, 4}}, {net.mask, {-1e9, 0}}, {net.sum, {-1e9, 4}}});
  EXPECT_EQ(floors.at(net.mask), -9);
}

TEST(Floors, are_of_gates_and_of_the_largest_of_an_axis) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  Value* y = graph.add_input("y", {DType::f32, {2, 3}});
  graph.add_output("gate", build("sigmoid", {x}));
  graph.add_output("largest", build("amax", {y}, {{"dims", std::vector<std::int64_t>{1}}, {"keepdim", false}}));
  ASSERT_TRUE(build.status()) << build.status().error().text();
  EXPECT_EQ(compared_values(graph).at(y), 1u);
  const Floors floors = floors_of(graph, {{y, -3}}, {});
  EXPECT_EQ(floors.at(x), 0);
  EXPECT_EQ(floors.at(y), -3);
}

TEST(Floors, may_be_of_values_that_are_compared_and_nothing_else) {
  Attention net;
  net.graph.add_output("weights", net.weights);
  EXPECT_TRUE(possible_floors(net.graph, compared_values(net.graph)).contains(net.moved));
  net.graph.add_output("scores", net.moved);
  EXPECT_FALSE(possible_floors(net.graph, compared_values(net.graph)).contains(net.moved));
}

}  // namespace
}  // namespace taper
