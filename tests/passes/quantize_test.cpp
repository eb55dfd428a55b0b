// Which grids values get, and where floats and integers meet.
#include "passes/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <unordered_set>

#include "ir/text.h"
#include "networks.h"
#include "ops/evaluate.h"
#include "ops/grid.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "same_results.h"

namespace taper {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

// As if all values had been seen to lie between -3 and 3.
void add_ranges(const Graph& graph, Ranges& ranges) {
  for (const Value* input : graph.inputs()) ranges[input] = {-3, 3};
  for (const Node& node : graph.nodes()) {
    for (const Value* result : node.results) ranges[result] = {-3, 3};
    for (const auto& region : node.regions) add_ranges(*region, ranges);
  }
}

LayerConfig hybrid_config(int bits = 8, std::int64_t block = 0) {
  LayerConfig config;
  config.quantized = config.integer_compute = true;
  config.weight = TensorScheme{.bits = bits, .per_channel = true, .block = block};
  return config;
}

LayerConfig integer_config(int bits = 8) {
  LayerConfig config = hybrid_config();
  config.activation = TensorScheme{.bits = bits, .symmetric = bits == 16};
  return config;
}

struct Quantized {
  Graph graph;
  QuantizationPlan plan;
};

Quantized quantized(const Graph& legal, const LayerConfig& config) {
  Ranges ranges;
  add_ranges(legal, ranges);
  Quantized result;
  auto graph = quantize(legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges}, &result.plan);
  EXPECT_TRUE(graph) << graph.error().text();
  if (graph) result.graph = std::move(*graph);
  return result;
}

Graph legal_graph(const Graph& graph) {
  auto legal = legalize(graph, Target::tflite);
  EXPECT_TRUE(legal) << legal.error().text();
  return std::move(*legal);
}

void collect(const Graph& graph, std::vector<const Node*>& nodes) {
  for (const Node& node : graph.nodes()) {
    nodes.push_back(&node);
    for (const auto& region : node.regions) collect(*region, nodes);
  }
}
std::vector<const Node*> nodes_of(const Graph& graph) {
  std::vector<const Node*> nodes;
  collect(graph, nodes);
  return nodes;
}

std::size_t count_of(const Graph& graph, std::string_view op) {
  return static_cast<std::size_t>(std::ranges::count(nodes_of(graph), op, &Node::op));
}

const Node& the_node(const Graph& graph, std::string_view op) {
  for (const Node* node : nodes_of(graph))
    if (node->op == op) return *node;
  ADD_FAILURE() << op;
  return graph.nodes().front();
}

// A graph of one layer: x [2, in], weight [out, in] of these numbers, a bias.
Graph layer(std::vector<std::int64_t> shape, const std::vector<float>& weight, const std::vector<float>& bias) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, shape[1]}});
  const auto outputs = static_cast<std::int64_t>(bias.size());
  graph.add_output("y", build("linear", {x, build.constant(tensor_f32(std::move(shape), weight), "w"),
                                         build.constant(tensor_f32({outputs}, bias), "b")}));
  EXPECT_TRUE(build.status());
  return graph;
}

Graph tanh_between_layers() {
  SampleNetwork net;
  Value* gate = net.build("sigmoid", {net.linear(net.input(6), 6, 5, "gate")});
  Value* x = net.build("tanh", {net.linear(gate, 5, 5, "first")});
  net.graph.add_output("output", net.linear(x, 5, 3, "second"));
  return std::move(net.graph);
}

TEST(Quantize, gives_weights_a_symmetric_scale_per_channel_and_none_of_zero) {
  const Quantized q = quantized(layer({2, 2}, {1, -2, 0, 0}, {0, 0}), hybrid_config());
  const Quantization& weight = *the_node(q.graph, "linear").operands[1]->quantization;
  EXPECT_EQ(weight.axis, 0);
  EXPECT_THAT(weight.zero_points, Each(0));
  EXPECT_FLOAT_EQ(weight.scales[0], 2.0F / 127);
  EXPECT_GT(weight.scales[1], 0);
  EXPECT_THAT(q.plan.layers, ElementsAre(Field(&LayerPlan::computes, "hybrid")));
}

TEST(Quantize, puts_weights_behind_a_dequantize_where_floats_are_to_be_computed) {
  LayerConfig config = hybrid_config();
  config.integer_compute = false;
  const Quantized q = quantized(layer({2, 2}, {1, -2, 3, 4}, {0, 0}), config);
  const Node& linear = the_node(q.graph, "linear");
  EXPECT_EQ(linear.operands[1]->quantization, nullptr);
  EXPECT_EQ(linear.operands[1]->producer->op, "dequantize");
  EXPECT_NE(linear.operands[1]->producer->operands[0]->quantization, nullptr);
}

TEST(Quantize, stores_rows_as_int4_where_they_fill_bytes_and_blocks) {
  const std::vector<float> weight(2 * 64, 0.7F), odd(2 * 63, 0.7F);
  const auto grid = [](const Quantized& q) { return *the_node(q.graph, "linear").operands[1]->quantization; };
  const Quantization blocks = grid(quantized(layer({2, 64}, weight, {0, 0}), hybrid_config(4, 32)));
  EXPECT_EQ(blocks.bits, 4);
  EXPECT_EQ(blocks.block, 32);
  ASSERT_EQ(blocks.scales.size(), 4u);
  // In float16 and in bfloat16, in which kernels keep it; not below what the largest weight needs.
  EXPECT_EQ(float_from_half(half_from_float(blocks.scales[0])), blocks.scales[0]);
  EXPECT_EQ(float_from_bfloat16(bfloat16_from_float(blocks.scales[0])), blocks.scales[0]);
  EXPECT_GE(blocks.scales[0] * 7, 0.7F);
  EXPECT_EQ(grid(quantized(layer({2, 64}, weight, {0, 0}), hybrid_config(4, 48))).block, 0);
  EXPECT_EQ(grid(quantized(layer({2, 63}, odd, {0, 0}), hybrid_config(4, 32))).bits, 8);
}

TEST(Quantize, leaves_weights_that_are_not_finite_and_says_so) {
  using Limits = std::numeric_limits<float>;
  for (const float number : {Limits::infinity(), Limits::quiet_NaN()})
    for (const LayerConfig& config : {hybrid_config(), integer_config()}) {
      const Quantized q = quantized(layer({1, 2}, {1, number}, {0}), config);
      EXPECT_EQ(the_node(q.graph, "linear").operands[1]->quantization, nullptr);
      EXPECT_THAT(q.plan.notes, Contains(HasSubstr("'w' stays float32: it holds numbers that are not finite")));
    }
}

TEST(Quantize, gives_biases_the_scale_of_the_products) {
  for (const int bits : {8, 16}) {
    const Quantized q = quantized(layer({2, 2}, {1, -2, 3, 4}, {0.5F, -1}), integer_config(bits));
    const Node& linear = the_node(q.graph, "linear");
    const Quantization& x = *linear.operands[0]->quantization;
    const Quantization& weight = *linear.operands[1]->quantization;
    const Quantization& bias = *linear.operands[2]->quantization;
    EXPECT_EQ(bias.bits, bits == 8 ? 32 : 64);
    ASSERT_EQ(bias.scales.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(bias.scales[i], x.scales[0] * weight.scales[i]);
    EXPECT_TRUE(bits == 8 || x.zero_points[0] == 0);
  }
}

// Of a layer whose inputs have these means, with weights halfway between integers: what their rounding adds is taken
// from the bias.
TEST(Quantize, makes_up_in_biases_for_what_rounding_shifts) {
  const Graph graph = layer({2, 3}, {127, 10.25F, -3.5F, 127, 1, 2}, {1, 2});
  LayerInputs inputs{ChannelMeans(3), {2, 3}};
  for (int sample = 0; sample < 2; ++sample) {
    inputs.means.observe(std::vector{0.5, 2.0, 1.0});
    inputs.means.end_sample();
  }
  const auto shifts = [&](const Graph& legal, bool measured) {
    Ranges ranges;
    add_ranges(legal, ranges);
    auto made = quantize(legal,
                         {.config_of = [](const Node&) { return integer_config(); },
                          .ranges = &ranges,
                          .means_of = [&](const Node&) { return measured ? &inputs : nullptr; }},
                         nullptr);
    EXPECT_TRUE(made) << made.error().text();
    const Node& node = the_node(*made, "linear");
    return node.operands.size() > 2 && node.operands[2] != nullptr ? to_double(*constant_of(node.operands[2]))
                                                                   : std::vector<double>();
  };
  EXPECT_THAT(shifts(graph, false), ElementsAre(1, 2));
  // 10.25 becomes 10 and -3.5 becomes -4: 0.25 * 2 + 0.5 * 1 are lost.
  EXPECT_THAT(shifts(graph, true), ElementsAre(2, 2));

  Graph without;
  Builder build(without);
  Value* x = without.add_input("x", {DType::f32, {2, 3}});
  Value* w = build.constant(tensor_f32({2, 3}, std::vector<float>{127, 10.25F, -3.5F, 127, 1, 2}), "w");
  without.add_output("y", build("linear", {x, w}));
  EXPECT_THAT(shifts(without, false), testing::IsEmpty());
  EXPECT_THAT(shifts(without, true), ElementsAre(1, 0));
}

// Padding counts: of places at the edge, the weights that lie outside multiply nothing.
TEST(Quantize, makes_up_for_what_rounding_shifts_in_padded_convolutions) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {1, 1, 2, 1}});
  Value* w = build.constant(tensor_f32({1, 1, 3, 1}, std::vector<float>{0.25F, 127, 0.375F}), "w");
  const std::vector<std::int64_t> ones = {1, 1, 1, 1};
  Value* y = build(
      "conv_nhwc", {x, w, build.constant(tensor_f32({1}, std::vector<float>{0}), "b")},
      {{"stride", ones}, {"dilation", ones}, {"padding", std::string("SAME")}, {"activation", std::string("relu")}});
  ASSERT_TRUE(build.status()) << build.status().error().text();
  graph.add_output("y", y);
  Value* stored = build.constant(tensor_f32({1, 1, 3, 1}, std::vector<float>{0.25F, 127, 0.375F}), "stored");
  stored->quantization = std::make_shared<const Quantization>(per_tensor_grid(8, 1, 0));
  LayerInputs inputs{ChannelMeans(1), {1, 1, 2, 1}};
  for (int sample = 0; sample < 2; ++sample) {
    inputs.means.observe(std::vector{-3.0, -1.0});
    inputs.means.end_sample();
  }
  const auto lost = lost_means(*y->producer, *stored, inputs);
  ASSERT_TRUE(lost);
  // -2 in both places: the first loses -2 * 0.375, the second -2 * 0.25.
  EXPECT_THAT(*lost, ElementsAre(-0.625));
}

// An output that is joined with much larger numbers keeps its steps; one that is joined with its like shares a grid.
TEST(Quantize, keeps_the_grid_of_an_output_that_is_joined_with_larger_numbers) {
  const auto grid_of_output = [](double largest) {
    Graph graph;
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {2, 3}});
    Value* w = build.constant(tensor_f32({3, 3}, std::vector<float>(9, 0.5F)), "w");
    Value* z = build("linear", {x, w}, {}, "z");
    Value* large = build("linear", {x, w}, {}, "large");
    Value* joined = build("concat",
                          {build("unsqueeze", {z}, {{"dims", std::vector<std::int64_t>{0}}}, "moved"),
                           build("unsqueeze", {large}, {{"dims", std::vector<std::int64_t>{0}}})},
                          {{"dim", std::int64_t{0}}}, "joined");
    graph.add_output("z", z);
    graph.add_output("joined", joined);
    EXPECT_TRUE(build.status()) << build.status().error().text();
    Ranges ranges;
    add_ranges(graph, ranges);
    for (Value* value : {large, joined, large->producer->results[0]}) ranges[value] = {-largest, largest};
    auto made = quantize(
        graph, {.config_of = [](const Node&) { return integer_config(); }, .ranges = &ranges, .float_io = false},
        nullptr);
    EXPECT_TRUE(made) << made.error().text();
    return static_cast<double>(made->outputs()[0].value->quantization->scales[0]);
  };
  EXPECT_NEAR(grid_of_output(300), 6.0 / 255, 1e-6);
  EXPECT_NEAR(grid_of_output(4), 8.0 / 255, 1e-6);
}

TEST(Quantize, raises_scales_until_the_bias_fits) {
  const Quantized q = quantized(layer({2, 2}, {1e-9F, -2e-9F, 3, 4}, {1000, 1}), integer_config());
  const Node& linear = the_node(q.graph, "linear");
  const double steps = 1000 / static_cast<double>(linear.operands[2]->quantization->scales[0]);
  EXPECT_LE(steps, 0x1p30 * 1.001);
  EXPECT_THAT(q.plan.notes, Contains(HasSubstr("scales were raised")));
}

// A table [N, columns] of which rows are taken, and which is the weight of a layer behind them too.
Graph tied(std::int64_t columns) {
  Graph graph;
  Builder build(graph);
  std::vector<float> entries;
  for (std::int64_t i = 0; i < 40 * columns; ++i)
    entries.push_back(static_cast<float>(std::sin(static_cast<double>(i)) * static_cast<double>(1 + i / columns)));
  Value* table = build.constant(tensor_f32({40, columns}, entries), "table");
  Value* rows = build("gather", {table, graph.add_input("ids", {DType::i32, {2, 3}})}, {{"dim", std::int64_t{0}}});
  graph.add_output("y", build("linear", {rows, table}));
  EXPECT_TRUE(build.status());
  return graph;
}

TEST(Quantize, takes_rows_of_tables_with_a_scale_each) {
  const Graph graph = tied(16);
  const Quantized q = quantized(graph, hybrid_config());
  ASSERT_EQ(count_of(q.graph, "gather"), 2u);
  const Node& rows = the_node(q.graph, "gather");
  EXPECT_EQ(rows.operands[0]->type.dtype, DType::i8);
  // What the layer has as its weight, so that files hold it once.
  const Node& linear = the_node(q.graph, "linear");
  const Bytes integers = constant_of(rows.operands[0])->bytes();
  EXPECT_THAT(stored_integers(*constant_of(linear.operands[1]), *linear.operands[1]->quantization),
              ElementsAreArray(integers.begin(), integers.end()));
  const Array ids{DType::i32, {2, 3}, {0, 39, 7, 1, 2, 3}};
  const auto expected = evaluate(graph, {ids}), found = evaluate(q.graph, {ids});
  ASSERT_TRUE(expected && found);
  const double most = std::ranges::max((*expected)[0].values);
  for (std::size_t i = 0; i < (*expected)[0].values.size(); ++i)
    EXPECT_NEAR((*found)[0].values[i], (*expected)[0].values[i], 0.01 * most) << i;
}

TEST(Quantize, takes_short_rows_with_one_scale) {
  const Quantized q = quantized(tied(4), hybrid_config());
  EXPECT_EQ(count_of(q.graph, "gather"), 1u);
  EXPECT_EQ(the_node(q.graph, "gather").operands[0]->quantization->scales.size(), 1u);
}

TEST(Quantize, keeps_a_weight_of_several_layers_once) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 8}});
  Value* weight = build.constant(tensor_f32({8, 8}, std::vector<float>(64, 0.5F)), "w");
  Value* y = build("linear", {build("relu", {build("linear", {x, weight})}), weight});
  graph.add_output("y", y);
  for (const bool floats : {false, true}) {
    LayerConfig config = hybrid_config();
    config.integer_compute = !floats;
    const Quantized q = quantized(graph, config);
    EXPECT_EQ(count_of(q.graph, "dequantize"), floats ? 1u : 0u);
    const std::vector<const Node*> nodes = nodes_of(q.graph);
    std::set<const Value*> weights;
    for (const Node* node : nodes)
      if (node->op == "linear") weights.insert(node->operands[1]);
    EXPECT_EQ(weights.size(), 1u);
  }
}

TEST(Quantize, tells_a_weight_from_its_transpose) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 2}});
  const Tensor weight = tensor_f32({2, 2}, std::vector<float>{1, 2, 3, 4});
  Tensor turned = weight;
  std::swap(turned.strides[0], turned.strides[1]);
  Value* y = build("linear", {build("linear", {x, build.constant(weight, "w")}), build.constant(turned, "wt")});
  graph.add_output("y", y);
  const Quantized q = quantized(graph, hybrid_config());
  const Array ones{DType::f32, {2, 2}, {1, 0, 0, 1}};
  const auto expected = evaluate(graph, {ones}), found = evaluate(q.graph, {ones});
  ASSERT_TRUE(expected && found);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR((*found)[0].values[i], (*expected)[0].values[i], 0.3);
}

TEST(Quantize, keeps_bounds_from_widening_grids) {
  SampleNetwork net;
  Value* bound = net.build.constant(tensor_f32({}, std::vector<float>{1e4F}), "bound");
  Value* x = net.build("minimum", {net.linear(net.input(6), 6, 5, "first"), bound});
  net.graph.add_output("output", net.linear(x, 5, 3, "second"));
  const Quantized q = quantized(legal_graph(net.graph), integer_config());
  EXPECT_LT(the_node(q.graph, "minimum").results[0]->quantization->scales[0], 0.1F);
}

TEST(Quantize, adds_up_no_more_products_than_int32_holds) {
  const Graph graph = layer({1, 140'000}, std::vector<float>(140'000, 1), {0});
  for (const LayerConfig& config : {hybrid_config(), integer_config()}) {
    const Quantized q = quantized(graph, config);
    EXPECT_EQ(the_node(q.graph, "linear").operands[1]->producer->op, "dequantize");
    EXPECT_EQ(q.plan.layers[0].computes, "float32");
    if (config.activation) {
      EXPECT_THAT(q.plan.layers[0].reason, HasSubstr("int32"));
    }
  }
}

TEST(Quantize, keeps_activations_from_the_range_and_zero_exactly) {
  const Quantization q = activation_grid({-1, 3}, {.bits = 8, .symmetric = false});
  EXPECT_FLOAT_EQ(q.scales[0], 4.0F / 255);
  EXPECT_EQ(q.zero_points[0], -64);
  EXPECT_EQ(activation_grid({2, 3}, {.bits = 8, .symmetric = false}).zero_points[0], -128);
  EXPECT_EQ(activation_grid({-3, -2}, {.bits = 8, .symmetric = false}).zero_points[0], 127);
  EXPECT_FLOAT_EQ(activation_grid({-1, 3}, {.bits = 16, .symmetric = true}).scales[0], 3.0F / 32767);
  EXPECT_GT(activation_grid({0, 0}, {.bits = 8, .symmetric = false}).scales[0], 0);
}

TEST(Quantize, leaves_16_bits_room_for_twice_what_was_seen_but_not_beyond_what_was_told) {
  const Graph graph = layer({2, 2}, {1, -2, 3, 4}, {0, 0});
  Ranges ranges;
  add_ranges(graph, ranges);
  const std::unordered_set<const Value*> told = {graph.inputs()[0]};
  const LayerConfig config = integer_config(16);
  const auto q =
      quantize(graph, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges, .told = &told}, nullptr);
  ASSERT_TRUE(q) << q.error().text();
  const Node& linear = the_node(*q, "linear");
  EXPECT_FLOAT_EQ(linear.operands[0]->quantization->scales[0], 3.0F / 32767);
  EXPECT_FLOAT_EQ(linear.results[0]->quantization->scales[0], 6.0F / 32767);
}

TEST(Quantize, takes_layers_without_a_range_for_floats_and_says_why) {
  const Graph graph = layer({2, 2}, {1, -2, 3, 4}, {0, 0});
  QuantizationPlan plan;
  const LayerConfig config = integer_config();
  const auto q = quantize(graph, {.config_of = [&](const Node&) { return config; }}, &plan);
  ASSERT_TRUE(q) << q.error().text();
  EXPECT_THAT(plan.layers, ElementsAre(AllOf(Field(&LayerPlan::computes, "hybrid"),
                                             Field(&LayerPlan::reason, HasSubstr("range of 'x'")))));
}

TEST(Quantize, keeps_the_state_of_loops_on_one_grid_without_going_over_floats) {
  for (const auto& network : {gru_stack(), lstm_stack()}) {
    const Quantized q = quantized(legal_graph(network), integer_config());
    int carried = 0;
    for (const Node* node : nodes_of(q.graph)) {
      if (node->op != "while") continue;
      const Graph& body = *node->regions[1];
      EXPECT_EQ(count_of(body, "dequantize"), 0u);
      for (std::size_t i = 0; i < node->operands.size(); ++i) {
        if (node->operands[i]->type.dtype != DType::f32) continue;
        ASSERT_NE(node->operands[i]->quantization, nullptr) << node->operands[i]->name;
        EXPECT_EQ(*node->operands[i]->quantization, *body.inputs()[i]->quantization);
        EXPECT_EQ(*node->operands[i]->quantization, *body.outputs()[i].value->quantization);
        EXPECT_EQ(*node->operands[i]->quantization, *node->results[i]->quantization);
        ++carried;
      }
    }
    EXPECT_GT(carried, 1);
  }
}

TEST(Quantize, carries_a_single_value_through_a_loop) {
  const auto graph = parse(R"(graph g (%x: f32[2]) {
  %y = while(%x) : f32[2] {
    graph "" (%h: f32[2]) {
      %largest = amax(%h) {dims = [0], keepdim = false} : f32[]
      %limit = constant() {value = f32[] {2}} : f32[]
      %less = less(%largest, %limit) : bool[]
      return go_on = %less
    }
    graph "" (%h: f32[2]) {
      %sum = add(%h, %h) {activation = "none"} : f32[2]
      return h = %sum
    }
  }
  return y = %y
})");
  ASSERT_TRUE(graph) << graph.error().text();
  const Quantized q = quantized(*graph, integer_config());
  EXPECT_NE(the_node(q.graph, "while").operands[0]->quantization, nullptr);
  EXPECT_EQ(the_node(q.graph, "less").operands[0]->quantization, nullptr);
}

// What a step computes without weights keeps 16 bits; what it multiplies with weights are int8.
TEST(Quantize, keeps_states_and_gates_of_int8_layers_in_16_bits) {
  for (const auto& network : {gru_stack(), lstm_stack(), bidirectional_gru()}) {
    const Quantized q = quantized(legal_graph(network), integer_config());
    std::vector<std::string> wide;
    for (const Node* node : nodes_of(q.graph)) {
      const Quantization* grid = node->results.empty() ? nullptr : node->results[0]->quantization.get();
      if (grid == nullptr) continue;
      if (node->op == "linear") {
        EXPECT_EQ(grid->bits, 8);
        EXPECT_EQ(node->operands[0]->quantization->bits, 8);
        EXPECT_EQ(node->operands[1]->quantization->bits, 8);
      }
      if (grid->bits == 16) wide.push_back(node->op);
    }
    EXPECT_THAT(wide, AllOf(Contains("sigmoid"), Contains("tanh"), Contains("mul"), Contains("add")));
    EXPECT_THAT(wide, Not(Contains("linear")));
  }
}

// Frames that are collected in a loop are only moved there: they stay int8.
TEST(Quantize, collects_frames_in_8_bits) {
  const Quantized q = quantized(legal_graph(ctc_gru()), integer_config());
  EXPECT_EQ(the_node(q.graph, "update_slice").results[0]->quantization->bits, 8);
}

TEST(Quantize, widens_nothing_outside_of_loops) {
  for (const auto& network : {transformer(), tanh_between_layers()}) {
    const Quantized q = quantized(legal_graph(network), integer_config());
    for (const Node* node : nodes_of(q.graph))
      if (const Quantization* grid = node->results[0]->quantization.get(); grid != nullptr) {
        EXPECT_NE(grid->bits, 16) << node->op;
      }
  }
}

TEST(Quantize, parts_the_gates_of_loops_and_computes_the_same) {
  for (const auto& network : {gru_stack(), bidirectional_gru(), ctc_gru()}) {
    const Graph legal = legal_graph(network);
    ASSERT_TRUE(has_gates(legal));
    const auto parted = part_gates(legal);
    ASSERT_TRUE(parted) << parted.error().text();
    EXPECT_TRUE(check(*parted));
    EXPECT_FALSE(has_gates(*parted));
    EXPECT_GT(count_of(*parted, "linear"), count_of(legal, "linear") + 3);
    for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, 30, 6}, {3, 7, 6}}) {
      SCOPED_TRACE(shape[0]);
      expect_same(legal, *parted, {random_input(shape)});  // products of other widths are summed in another order
    }
  }
  EXPECT_FALSE(has_gates(legal_graph(transformer())));
}

TEST(Quantize, gives_parted_gates_ranges_of_their_own) {
  const auto parted = part_gates(legal_graph(gru_stack()));
  ASSERT_TRUE(parted) << parted.error().text();
  Ranges ranges;
  add_ranges(*parted, ranges);
  double high = 1;
  for (const Node* node : nodes_of(*parted))
    if (node->op == "linear") ranges[node->results[0]] = {-1, high += 1};
  const LayerConfig config = integer_config();
  const auto q = quantize(*parted, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges}, nullptr);
  ASSERT_TRUE(q) << q.error().text();
  std::vector<float> scales;
  for (const Node* node : nodes_of(*q))
    if (node->op == "linear") scales.push_back(node->results[0]->quantization->scales[0]);
  std::ranges::sort(scales);
  EXPECT_GT(scales.size(), 6u);
  EXPECT_EQ(std::ranges::adjacent_find(scales), scales.end());
}

TEST(Quantize, rotates_inputs_and_weights_so_that_products_stay) {
  for (const auto& [columns, parts] : {std::pair<std::int64_t, std::int64_t>{64, 1}, {96, 3}, {178, 0}}) {
    std::vector<float> weight(static_cast<std::size_t>(3 * columns), 0.01F);
    for (std::size_t i = 0; i < weight.size(); i += 7) weight[i] = -0.02F;
    weight[5] = 4;  // spread over its stretch by the rotation
    const Graph graph = layer({3, columns}, weight, {1, 2, 3});
    LayerConfig config = hybrid_config();
    config.rotation = 1024;
    const Quantized q = quantized(graph, config);
    EXPECT_EQ(count_of(q.graph, "linear"), static_cast<std::size_t>(parts + 1));
    EXPECT_EQ(count_of(q.graph, "concat"), parts > 1 ? 1u : 0u);
    const Array input = random_input({2, columns});
    const auto expected = evaluate(graph, {input}), found = evaluate(q.graph, {input});
    ASSERT_TRUE(expected && found);
    const double tolerance = parts > 0 ? 0.05 : 0.2;  // where the large weight is not spread
    for (std::size_t i = 0; i < (*expected)[0].values.size(); ++i)
      EXPECT_NEAR((*found)[0].values[i], (*expected)[0].values[i], tolerance) << columns;
  }
}

TEST(Quantize, uses_the_grids_that_kernels_prescribe) {
  for (const int bits : {8, 16}) {
    std::vector<std::string> seen;
    for (const auto& network : {transformer(), gru_stack(), tanh_between_layers()}) {
      const Quantized q = quantized(legal_graph(network), integer_config(bits));
      for (const Node* node : nodes_of(q.graph)) {
        const Quantization* grid = node->results[0]->quantization.get();
        if (grid == nullptr || (node->op != "softmax" && node->op != "sigmoid" && node->op != "tanh")) continue;
        seen.push_back(node->op);
        const bool wide = grid->bits == 16;
        EXPECT_TRUE(wide || bits == 8);
        EXPECT_EQ(grid->scales[0], wide ? 1.0F / 32768 : node->op == "tanh" ? 1.0F / 128 : 1.0F / 256);
        EXPECT_EQ(grid->zero_points[0], wide || node->op == "tanh" ? 0 : -128);
      }
    }
    EXPECT_THAT(seen, AllOf(Contains("softmax"), Contains("sigmoid"), Contains("tanh")));
  }
}

TEST(Quantize, asks_for_the_version_of_mul_that_its_scales_need) {
  const auto version = [](float x_scale, float result_scale, int bits) {
    Graph graph;
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {2}});
    Value* product = build("mul", {x, x});
    for (Value* value : {x, product})
      value->quantization =
          std::make_shared<const Quantization>(per_tensor_grid(bits, value == x ? x_scale : result_scale, 0));
    return op_of(*product->producer).tflite_version(*product->producer).number;
  };
  EXPECT_EQ(version(0.1F, 0.1F, 8), 2);
  EXPECT_EQ(version(1.0F, 0.5F, 8), 3);
  EXPECT_EQ(version(0.1F, 0.1F, 16), 4);
}

TEST(Quantize, leaves_no_pairs_that_undo_each_other) {
  for (const NamedNetwork& network : all_networks()) {
    const Quantized q = quantized(legal_graph(network.make()), integer_config());
    for (const Node* node : nodes_of(q.graph)) {
      if (node->op != "quantize" && node->op != "dequantize") continue;
      const Node* before = node->operands[0]->producer;
      if (before == nullptr) continue;
      EXPECT_FALSE(node->op == "quantize" && before->op == "dequantize") << network.name << " " << node->result()->name;
      EXPECT_FALSE(node->op == "dequantize" && before->op == "quantize") << network.name << " " << node->result()->name;
    }
  }
}

TEST(Quantize, takes_and_gives_integers_where_that_is_wanted) {
  Ranges ranges;
  const Graph legal = legal_graph(gru_stack());
  add_ranges(legal, ranges);
  const LayerConfig config = integer_config();
  const auto q = quantize(
      legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges, .float_io = false}, nullptr);
  ASSERT_TRUE(q) << q.error().text();
  ASSERT_NE(q->inputs()[0]->quantization, nullptr);
  ASSERT_NE(q->outputs()[0].value->quantization, nullptr);
  EXPECT_EQ(q->inputs()[0]->quantization->bits, 8);
  EXPECT_EQ(q->outputs()[0].value->quantization->bits, 8);
}

// Also where it is a state, which the loop keeps in more.
TEST(Quantize, gives_states_as_int8_where_integers_are_wanted) {
  SampleNetwork net;
  net.graph.add_output("state", net.gru(net.input(6), 6, 5, false, "gru")[1]);
  const Graph legal = legal_graph(net.graph);
  Ranges ranges;
  add_ranges(legal, ranges);
  for (const int bits : {8, 16}) {
    const LayerConfig config = integer_config(bits);
    const auto q = quantize(
        legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges, .float_io = false}, nullptr);
    ASSERT_TRUE(q) << q.error().text();
    EXPECT_EQ(q->outputs()[0].value->quantization->bits, bits);
  }
}

}  // namespace
}  // namespace taper
