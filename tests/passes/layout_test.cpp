// Where permutations end up, and that nothing else changes.
#include <gtest/gtest.h>

#include "ops/evaluate.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "random_graphs.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

std::size_t count_ops(const Graph& graph, std::string_view op) {
  std::size_t count = 0;
  for (const Node& node : graph.nodes()) count += node.op == op ? 1 : 0;
  return count;
}

// Builds networks of random weights.
struct Network {
  Graph graph;
  Builder build{graph};
  Random random{7};

  Value* weights(Integers shape) {
    return build.constant(to_tensor(random_array(random, DType::f32, std::move(shape), -0.5, 0.5)));
  }
  Value* conv(Value* x, std::int64_t outputs, std::int64_t size, std::int64_t stride = 1, std::int64_t groups = 1) {
    const std::size_t axes = x->type.shape.size() - 2;
    const std::int64_t inputs = *x->type.shape[1].constant();
    Integers shape = {outputs, inputs / groups};
    shape.resize(axes + 2, size);
    return build("conv", {x, weights(shape), weights({outputs})},
                 {{"stride", Integers(axes, stride)},
                  {"padding", Integers(2 * axes, size / 2)},
                  {"dilation", Integers(axes, 1)},
                  {"groups", groups}});
  }
  Value* norm(Value* x) {
    const std::int64_t channels = *x->type.shape[1].constant();
    Value* variance = build.constant(to_tensor(random_array(random, DType::f32, {channels}, 0.5, 2)));
    return build("batch_norm", {x, weights({channels}), weights({channels}), weights({channels}), variance});
  }
  Value* residual_block(Value* x, std::int64_t groups = 1) {
    const std::int64_t channels = *x->type.shape[1].constant();
    Value* y = build("relu", {norm(conv(x, channels, 3, 1, groups))});
    y = norm(conv(y, channels, 3));
    return build("relu", {build("add", {x, y})});
  }
  // Multiplies channels with what a small network makes of their means.
  Value* squeeze_excite(Value* x) {
    const std::int64_t channels = *x->type.shape[1].constant();
    Value* mean = build("mean", {x}, {{"dims", Integers{2, 3}}, {"keepdim", true}});
    Value* gate = build("sigmoid", {conv(build("relu", {conv(mean, 2, 1)}), channels, 1)});
    return build("mul", {x, gate});
  }
  Value* pool(Value* x) {
    const std::size_t axes = x->type.shape.size() - 2;
    return build("max_pool", {x},
                 {{"kernel", Integers(axes, 3)},
                  {"stride", Integers(axes, 2)},
                  {"padding", Integers(2 * axes, 1)},
                  {"dilation", Integers(axes, 1)}});
  }
};

void expect_same_after_passes(Network& network, Value* output, const Integers& shape, Target target,
                              std::size_t permutes, bool images_last = false) {
  network.graph.add_output("y", output);
  ASSERT_TRUE(network.build.status()) << network.build.status().error().text();
  const Array x = random_array(network.random, DType::f32, shape, -1, 1);
  const auto expected = evaluate(network.graph, {x});
  ASSERT_TRUE(expected) << expected.error().text();
  const auto turned = put_channels_last(network.graph);
  ASSERT_TRUE(turned) << turned.error().text();
  const auto legal = legalize(images_last ? *turned : network.graph, target);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(count_ops(*legal, "permute"), permutes) << target_name(target);
  if (images_last) return;
  const auto actual = evaluate(*legal, {x});
  ASSERT_TRUE(actual) << actual.error().text();
  ASSERT_EQ((*actual)[0].shape, (*expected)[0].shape);
  for (std::size_t i = 0; i < (*actual)[0].values.size(); ++i)
    ASSERT_NEAR((*actual)[0].values[i], (*expected)[0].values[i], 1e-4);
}

class LayoutFor : public testing::TestWithParam<Target> {};

// All sizes are the same, so that nothing can be told from them.
TEST_P(LayoutFor, leaves_one_permutation_at_the_input_and_one_at_the_output) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {4, 4, 4, 4}});
  Value* y = network.residual_block(network.conv(x, 4, 3));
  y = network.squeeze_excite(network.residual_block(y, 4));
  Value* halves = network.build("concat", {y, network.conv(y, 4, 1)}, {{"dim", std::int64_t{1}}});
  const std::vector<Value*> parts =
      network.build.call("split", {halves}, {{"dim", std::int64_t{1}}, {"parts", std::int64_t{2}}});
  y = network.build("pad", {network.build("sub", {parts[0], parts[1]})},
                    {{"before", Integers{0, 0, 1, 0}}, {"after", Integers{0, 0, 0, 1}}, {"value", 0.5}});
  y = network.conv(y, 4, 3, 2);
  expect_same_after_passes(network, y, {4, 4, 4, 4}, GetParam(), 2);
}

TEST_P(LayoutFor, joins_one_number_to_the_rest_of_a_row) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {1, 3}});
  Value* row = network.build("squeeze", {x}, {{"dims", Integers{0}}});
  Value* rest =
      network.build("slice", {row}, {{"dim", std::int64_t{0}}, {"start", std::int64_t{1}}, {"end", Shape{3}}});
  Value* y = network.build("concat", {network.weights({1}), rest}, {{"dim", std::int64_t{0}}});
  expect_same_after_passes(network, y, {1, 3}, GetParam(), 0);
}

TEST_P(LayoutFor, needs_no_permutation_behind_a_pool_over_the_whole_image) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {2, 3, 9, 9}});
  Value* y = network.pool(network.build("relu", {network.norm(network.conv(x, 8, 3, 2))}));
  y = network.residual_block(y);
  y = network.build("adaptive_avg_pool", {y}, {{"sizes", Shape{1, 1}}});
  y = network.build("reshape", {y}, {{"shape", Shape{2, 8}}});
  y = network.build("linear", {y, network.weights({5, 8}), network.weights({5})});
  expect_same_after_passes(network, y, {2, 3, 9, 9}, GetParam(), 1);
}

TEST_P(LayoutFor, normalises_groups_of_channels_where_they_are) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {2, 4, 4, 4}});
  Value* y = network.build("group_norm", {network.conv(x, 4, 3), network.weights({4}), network.weights({4})},
                           {{"groups", std::int64_t{2}}});
  y = network.conv(network.build("relu", {y}), 4, 3);
  expect_same_after_passes(network, y, {2, 4, 4, 4}, GetParam(), 2);
}

TEST_P(LayoutFor, keeps_sequences_in_one_order_through_their_convolutions) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {2, 6, 4}});
  Value* y = network.build("permute", {x}, {{"dims", Integers{0, 2, 1}}});
  y = network.build("relu", {network.conv(y, 8, 3)});
  y = network.build("relu", {network.conv(y, 8, 3)});
  y = network.build("permute", {y}, {{"dims", Integers{0, 2, 1}}});
  y = network.build("linear", {y, network.weights({5, 8})});
  expect_same_after_passes(network, y, {2, 6, 4}, GetParam(), 0);
}

// A constant that is reshaped would lose the name that variables and recipes know it by.
TEST_P(LayoutFor, leaves_weights_of_last_axes_as_they_are) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {2, 6, 4}});
  Value* y = network.build("permute", {x}, {{"dims", Integers{1, 0, 2}}});
  y = network.build("mul", {y, network.build.constant(tensor_f32({4}, std::vector<float>{1, 2, 3, 4}), "norm.weight")});
  network.graph.add_output("y", network.build("permute", {y}, {{"dims", Integers{1, 0, 2}}}));
  const auto legal = legalize(network.graph, GetParam());
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(count_ops(*legal, "permute"), 0u);
  const auto weight = std::ranges::find_if(
      legal->nodes(), [](const Node& node) { return node.op == "constant" && node.result()->name == "norm.weight"; });
  ASSERT_NE(weight, legal->nodes().end());
  EXPECT_EQ(weight->result()->type.shape, (Shape{4}));
}

TEST_P(LayoutFor, works_on_symbolic_sizes) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {Dim::symbol("N"), 3, Dim::symbol("H"), Dim::symbol("W")}});
  Value* y = network.residual_block(network.conv(x, 4, 3, 2));
  expect_same_after_passes(network, network.conv(y, 4, 1), {2, 3, 7, 6}, GetParam(), 2);
}

TEST_P(LayoutFor, needs_no_permutation_for_images_with_their_channels_last) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {1, 3, 5, 6}});
  Value* y = network.residual_block(network.conv(x, 4, 3));
  expect_same_after_passes(network, y, {1, 3, 5, 6}, GetParam(), 0, true);
}

INSTANTIATE_TEST_SUITE_P(Targets, LayoutFor, testing::Values(Target::tflite, Target::tensorflow),
                         [](const auto& target) { return std::string(target_name(target.param)); });

TEST(FoldBatchNorms, leaves_convolutions_alone_whose_results_are_used_elsewhere) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {1, 3, 5, 6}});
  Value* once = network.norm(network.conv(x, 4, 3));
  Value* shared = network.conv(x, 4, 3);
  network.graph.add_output("y", network.build("add", {once, network.build("mul", {shared, network.norm(shared)})}));
  const auto folded = fold_batch_norms(network.graph);
  ASSERT_TRUE(folded) << folded.error().text();
  EXPECT_EQ(count_ops(*folded, "batch_norm"), 1u);
}

TEST(FoldPads, gives_zeros_around_images_to_the_convolution) {
  Network network;
  Value* x = network.graph.add_input("x", {DType::f32, {1, 3, 5, 6}});
  const auto padded = [&](double value) {
    return network.build("pad", {x},
                         {{"before", Integers{0, 0, 1, 0}}, {"after", Integers{0, 0, 0, 1}}, {"value", value}});
  };
  network.graph.add_output("y", network.conv(padded(0), 4, 3));
  network.graph.add_output("z", network.conv(padded(1), 4, 3));
  const auto folded = fold_pads(network.graph);
  ASSERT_TRUE(folded) << folded.error().text();
  const auto live = live_nodes(*folded);
  const auto is_live_pad = [&live](const Node& node) { return node.op == "pad" && live.contains(&node); };
  EXPECT_EQ(std::ranges::count_if(folded->nodes(), is_live_pad), 1);
}

}  // namespace
}  // namespace taper
