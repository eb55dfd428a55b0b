// Quantised graphs as QDQ files of ONNX.
#include "passes/qdq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "backend/onnx.h"
#include "networks.h"
#include "passes/passes.h"
#include "passes/quantize.h"
#include "same_results.h"

namespace taper {
namespace {

using testing::HasSubstr;

// As if all values had been seen to lie between -3 and 3.
void add_ranges(const Graph& graph, Ranges& ranges) {
  for (const Value* input : graph.inputs()) ranges[input] = {-3, 3};
  for (const Node& node : graph.nodes()) {
    for (const Value* result : node.results) ranges[result] = {-3, 3};
    for (const auto& region : node.regions) add_ranges(*region, ranges);
  }
}

Graph quantised(const Graph& network, int bits = 8) {
  const auto legal = legalize(network, Target::tflite);
  EXPECT_TRUE(legal) << legal.error().text();
  LayerConfig config;
  config.quantized = config.integer_compute = true;
  config.weight = TensorScheme{.bits = 8, .per_channel = true};
  config.activation = TensorScheme{.bits = bits, .symmetric = bits == 16};
  Ranges ranges;
  add_ranges(*legal, ranges);
  auto graph = quantize(*legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges}, nullptr);
  EXPECT_TRUE(graph) << graph.error().text();
  return std::move(*graph);
}

// Convolutions of two kinds, a pool with padding, and what ends them.
Graph cnn() {
  SampleNetwork net;
  Builder& build = net.build;
  using Integers = std::vector<std::int64_t>;
  const auto conv = [&](Value* x, Integers shape, std::int64_t groups, const std::string& name) {
    const Integers ones = {1, 1}, padding(4, shape.back() / 2);
    const std::int64_t outputs = shape[0];
    return build("conv", {x, net.weights(std::move(shape), name + ".weight"), net.weights({outputs}, name + ".bias")},
                 {{"stride", ones}, {"padding", padding}, {"dilation", ones}, {"groups", groups}});
  };
  Value* x = build("unsqueeze", {net.input(6)}, {{"dims", Integers{1}}});
  x = build("relu", {conv(x, {8, 1, 3, 3}, 1, "first")});
  x = build("max_pool", {x},
            {{"kernel", Integers{3, 3}},
             {"stride", Integers{1, 1}},
             {"padding", Integers{1, 1, 1, 1}},
             {"dilation", Integers{1, 1}}});
  x = build("add", {x, conv(x, {8, 1, 3, 3}, 8, "depthwise")});
  x = build("mean", {conv(x, {8, 8, 1, 1}, 1, "pointwise")}, {{"dims", Integers{2, 3}}, {"keepdim", false}});
  net.graph.add_output("output", build("softmax", {net.linear(x, 8, 4, "head")}, {{"dim", std::int64_t{-1}}}));
  EXPECT_TRUE(build.status()) << build.status().error().text();
  return std::move(net.graph);
}

std::vector<NamedNetwork> networks() {
  std::vector<NamedNetwork> all = all_networks();
  all.push_back({"cnn", cnn});
  return all;
}

class Qdq : public testing::TestWithParam<NamedNetwork> {};

TEST_P(Qdq, computes_what_the_quantised_graph_computes) {
  const Graph graph = quantised(GetParam().make());
  const auto qdq = with_qdq(graph);
  ASSERT_TRUE(qdq) << qdq.error().text();
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{1, 30, 6}, {3, 7, 6}, {2, 33, 6}}) {
    const Array input = random_input(shape);
    const auto expected = evaluate(graph, {input}), found = evaluate(*qdq, {input});
    ASSERT_TRUE(expected) << expected.error().text();
    ASSERT_TRUE(found) << found.error().text();
    ASSERT_EQ((*found)[0].shape, (*expected)[0].shape);
    constexpr double kStep = 6.0 / 255;
    for (std::size_t i = 0; i < (*found)[0].values.size(); ++i)
      ASSERT_NEAR((*found)[0].values[i], (*expected)[0].values[i], 1.01 * kStep);
  }
}

TEST_P(Qdq, holds_its_weights_as_integers) {
  const auto qdq = with_qdq(quantised(GetParam().make()));
  ASSERT_TRUE(qdq) << qdq.error().text();
  const auto file = spell_onnx(*qdq, {});
  ASSERT_TRUE(file) << file.error().text();
  const Status valid = check_onnx(file->model, file->weights);
  EXPECT_TRUE(valid) << valid.error().text();
  EXPECT_EQ(file->model.opset_import(0).version(), 17);
  int pairs = 0;
  for (const onnx::NodeProto& node : file->model.graph().node()) pairs += node.op_type() == "QuantizeLinear" ? 1 : 0;
  EXPECT_GT(pairs, 0);
  // Weights are stored in the order in which they are multiplied.
  for (const Node& node : qdq->nodes()) {
    const Node* source = node.operands.empty() || node.operands[0] == nullptr ? nullptr : node.operands[0]->producer;
    if (node.op == "permute" && source != nullptr && source->op == "onnx_dequantize") {
      EXPECT_EQ(constant_of(source->operands[0]), nullptr) << node.results[0]->name;
    }
  }
  // What stays float is small, beside scales: norms.
  std::set<const Value*> factors;
  for (const Node& node : qdq->nodes())
    if (node.op == "onnx_quantize" || node.op == "onnx_dequantize")
      factors.insert(node.operands.begin() + 1, node.operands.end());
  std::int64_t floats = 0, integers = 0;
  for (const Node& node : qdq->nodes())
    if (const Tensor* constant = constant_of(node.results[0]);
        constant != nullptr && !factors.contains(node.results[0]))
      (constant->dtype == DType::f32 ? floats : integers) += constant->element_count();
  EXPECT_LT(floats, integers);
}

INSTANTIATE_TEST_SUITE_P(Networks, Qdq, testing::ValuesIn(networks()),
                         [](const auto& network) { return network.param.name; });

TEST(QdqRows, round_to_even_saturate_and_have_scales_along_an_axis) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  Value* scale = build.constant(tensor_f32({2}, std::vector<float>{0.5F, 2}));
  Value* zero = build.constant(converted(tensor_i64({2}, std::vector<std::int64_t>{0, -100}), DType::i8));
  Value* integers = build("onnx_quantize", {x, scale, zero}, {{"axis", std::int64_t{0}}});
  graph.add_output("integers", integers);
  graph.add_output("reals", build("onnx_dequantize", {integers, scale, zero}, {{"axis", std::int64_t{0}}}));
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const auto results = evaluate(graph, {{DType::f32, {2, 3}, {1.25, 1.75, 100, 5, -60, 6}}});
  ASSERT_TRUE(results) << results.error().text();
  EXPECT_EQ((*results)[0].values, (std::vector<double>{2, 4, 127, -98, -128, -97}));
  EXPECT_EQ((*results)[1].values, (std::vector<double>{1, 2, 63.5, 4, -56, 6}));
}

// Rows with channels last, and others that ONNX has in another form.
TEST(QdqRows, of_images_and_entries_become_those_of_onnx) {
  using Integers = std::vector<std::int64_t>;
  Graph graph;
  Builder build(graph);
  const auto numbers = [](std::int64_t count) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(std::sin(static_cast<double>(3 * i))));
    return values;
  };
  const auto integers = [&](const Integers& values) {
    return build.constant(converted(tensor_i64({static_cast<std::int64_t>(values.size())}, values), DType::i32));
  };
  Value* x = graph.add_input("x", {DType::f32, {1, 4, 5, 2}});
  Value* sizes = integers({7, 9});
  for (const char* resize : {"resize_nearest_nhwc", "resize_bilinear_nhwc"})
    for (const bool centers : {false, true})
      graph.add_output(fmt::format("{}_{}", resize, centers),
                       build(resize, {x, sizes}, {{"size", Shape{7, 9}}, {"half_pixel_centers", centers}}));
  Value* weight = build.constant(tensor_f32({3, 3, 2, 2}, numbers(36)));
  for (const auto& [padding, height, width] : {std::tuple{"SAME", 8, 9}, {"SAME", 7, 10}, {"VALID", 10, 11}})
    graph.add_output(
        fmt::format("transposed_{}_{}", padding, height),
        build("transpose_conv_nhwc", {x, weight, integers({1, height, width, 3})},
              {{"stride", Integers{1, 2, 2, 1}}, {"padding", std::string(padding)}, {"size", Shape{height, width}}}));
  Value* clip = build("reshape", {x}, {{"shape", Shape{1, 2, 2, 5, 2}}});
  graph.add_output(
      "conv3d",
      build("conv_ndhwc", {clip, build.constant(tensor_f32({2, 1, 3, 2, 3}, numbers(36)))},
            {{"stride", Integers{1, 1, 1, 2, 1}}, {"padding", std::string("SAME")}, {"dilation", Integers(5, 1)}}));
  graph.add_output("normalized", build("local_response_norm_nhwc", {x},
                                       {{"radius", std::int64_t{1}}, {"bias", 1.0}, {"alpha", 0.5}, {"beta", 0.75}}));
  Value* two = build.constant(converted(tensor_i64({}, Integers{2}), DType::i32));
  const auto top = build.call("top_entries", {x, two}, {{"length", Shape{2}}});
  graph.add_output("largest", top[0]);
  graph.add_output("places", top[1]);
  Value* places = build.constant(converted(tensor_i64({4, 1}, Integers{1, 0, 1, 2}), DType::i32));
  Value* updates = build("reshape", {x}, {{"shape", Shape{4, 10}}});
  graph.add_output("sums", build("scatter_sum", {places, updates, integers({3, 10})}, {{"shape", Shape{3, 10}}}));
  ASSERT_TRUE(build.status()) << build.status().error().text();

  const auto qdq = with_qdq(graph);
  ASSERT_TRUE(qdq) << qdq.error().text();
  Array input{DType::f32, {1, 4, 5, 2}, {}};
  for (const float value : numbers(40)) input.values.push_back(static_cast<double>(value));
  expect_same(graph, *qdq, {input});
}

TEST(QdqRefuses, integers_that_it_has_no_type_for) {
  const auto qdq = with_qdq(quantised(transformer(), 16));
  ASSERT_FALSE(qdq);
  EXPECT_THAT(qdq.error().text(), HasSubstr("QDQ files hold int8"));
}

}  // namespace
}  // namespace taper
