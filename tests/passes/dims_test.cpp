// Sizes that are symbols: read from the inputs, or left open where the target can.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <span>
#include <string_view>
#include <tuple>

#include "ops/builder.h"
#include "ops/evaluate.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

const Dim kBatch = Dim::symbol("B");
const Dim kTime = Dim::symbol("T");

Array numbers(std::vector<std::int64_t> shape) {
  Array array{DType::f32, std::move(shape), {}};
  std::int64_t count = 1;
  for (const std::int64_t size : array.shape) count *= size;
  for (std::int64_t i = 0; i < count; ++i) array.values.push_back(static_cast<double>(i % 13) - 6);
  return array;
}

struct Network {
  std::string name;
  void (*build)(Graph& graph, Builder& build, Value* x);  // of x [B, T, 6]
};

Graph make(const Network& network) {
  Graph graph;
  Builder build(graph);
  network.build(graph, build, graph.add_input("x", {DType::f32, {kBatch, kTime, 6}}));
  EXPECT_TRUE(build.status()) << build.status().error().text();
  return graph;
}

std::size_t count_ops(const Graph& graph, std::string_view op) {
  std::size_t count = 0;
  for (const Node& node : graph.nodes()) {
    count += node.op == op;
    for (const auto& region : node.regions) count += count_ops(*region, op);
  }
  return count;
}

const std::vector<Network>& networks() {
  static const std::vector<Network> all = {
      {"heads",
       [](Graph& graph, Builder& build, Value* x) {
         Value* heads = build("reshape", {x}, {{"shape", Shape{kBatch, kTime, 2, 3}}});
         heads = build("permute", {heads}, {{"dims", std::vector<std::int64_t>{0, 2, 1, 3}}});
         graph.add_output("y", build("reshape", {heads}, {{"shape", Shape{kBatch * Dim(2), kTime, 3}}}));
       }},
      {"table_plus_time",
       [](Graph& graph, Builder& build, Value* x) {
         Value* table = build.constant(to_tensor(numbers({40, 6})));
         Value* positions = build(
             "slice", {table}, {{"dim", std::int64_t{0}}, {"start", std::int64_t{2}}, {"end", Shape{kTime + Dim(2)}}});
         graph.add_output("y", build("add", {x, positions}));
       }},
      {"token",
       [](Graph& graph, Builder& build, Value* x) {
         Value* token =
             build("expand", {build.constant(to_tensor(numbers({1, 1, 6})))}, {{"shape", Shape{kBatch, 1, 6}}});
         graph.add_output("y", build("concat", {token, x}, {{"dim", std::int64_t{1}}}));
       }},
      {"range",
       [](Graph& graph, Builder& build, Value* x) {
         Value* range = build(
             "arange", {},
             {{"start", Shape{kBatch}}, {"step", std::int64_t{2}}, {"length", Shape{kTime}}, {"dtype", DType::f32}});
         Value* zeros = build("full", {}, {{"shape", Shape{kBatch, kTime}}, {"value", 0.5}, {"dtype", DType::f32}});
         graph.add_output("y", build("add", {zeros, range}));
         graph.add_output("z", build("relu", {x}));
       }},
      {"sizes",
       [](Graph& graph, Builder& build, Value* x) {
         graph.add_output("y", build("sizes", {}, {{"sizes", Shape{kBatch * kTime * Dim(2) + Dim(1), 7, kTime}}}));
         graph.add_output("z", build("relu", {x}));
       }},
      {"attention",
       [](Graph& graph, Builder& build, Value* x) {
         graph.add_output("y", build("scaled_dot_product_attention", {x, x, x}, {{"scale", 0.5}, {"causal", true}}));
       }},
      {"resampled_by_scales",
       [](Graph& graph, Builder& build, Value* x) {
         const Shape sizes = {floor_divide(3 * kTime, 2), 9};
         const std::vector<double> scales = {1.5, 1.5};
         const auto bytes = std::as_bytes(std::span(scales));
         for (const auto& [mode, rounding, antialias] :
              {std::tuple("nearest", "floor", false), std::tuple("linear", "floor", false),
               std::tuple("cubic", "floor", false), std::tuple("linear", "floor", true),
               std::tuple("cubic", "floor", true), std::tuple("nearest", "round_prefer_ceil", false)}) {
           const bool whole = std::string_view(mode) == "nearest" && std::string_view(rounding) == "floor";
           graph.add_output(fmt::format("y{}", graph.outputs().size()),
                            build("resize", {build("unsqueeze", {x}, {{"dims", std::vector<std::int64_t>{1}}})},
                                  {{"sizes", sizes},
                                   {"scales", make_tensor(DType::f64, {2}, {bytes.begin(), bytes.end()})},
                                   {"mode", std::string(mode)},
                                   {"coordinates", std::string(whole ? "asymmetric" : "half_pixel")},
                                   {"rounding", std::string(rounding)},
                                   {"antialias", antialias}}));
         }
       }},
      {"resampled_to_sizes",
       [](Graph& graph, Builder& build, Value* x) {
         Value* image = build("unsqueeze", {x}, {{"dims", std::vector<std::int64_t>{1}}});
         for (const char* mode : {"cubic", "linear", "nearest"})
           for (const char* coordinates : {"half_pixel", "align_corners", "asymmetric"})
             graph.add_output(
                 fmt::format("y{}", graph.outputs().size()),
                 build(
                     "resize", {image},
                     {{"sizes", Shape{7, 6}}, {"mode", std::string(mode)}, {"coordinates", std::string(coordinates)}}));
       }},
      {"bins",
       [](Graph& graph, Builder& build, Value* x) {
         Value* image = build("unsqueeze", {x}, {{"dims", std::vector<std::int64_t>{1}}});
         graph.add_output("means", build("adaptive_avg_pool", {image}, {{"sizes", Shape{3, 4}}}));
         graph.add_output("largest", build("adaptive_max_pool", {image}, {{"sizes", Shape{3, 4}}}));
         graph.add_output("halves", build("adaptive_avg_pool", {image}, {{"sizes", Shape{ceil_divide(kTime, 2), 6}}}));
         graph.add_output("rows", build("adaptive_max_pool", {image}, {{"sizes", Shape{kTime, 4}}}));
       }},
      {"ones",
       [](Graph& graph, Builder& build, Value* x) {
         graph.add_output("y", build("reshape", {x}, {{"shape", Shape{kBatch, 1, kTime, 1, 6}}}));
       }},
  };
  return all;
}

// Sizes that are the quotient of others times 1.5, and images whose places are computed.
TEST(Sizes, of_images_that_grids_look_at_are_known_at_run_time) {
  for (const char* mode : {"bilinear", "nearest", "bicubic"})
    for (const char* padding : {"zeros", "border", "reflection"}) {
      SCOPED_TRACE(fmt::format("{} {}", mode, padding));
      Graph graph;
      Builder build(graph);
      Value* x = graph.add_input("x", {DType::f32, {kBatch, 2, kTime, 3}});
      Value* grid = graph.add_input("grid", {DType::f32, {kBatch, 2, 3, 2}});
      graph.add_output("y", build("grid_sample", {x, grid},
                                  {{"mode", std::string(mode)},
                                   {"padding_mode", std::string(padding)},
                                   {"align_corners", std::string_view(mode) == "bicubic"}}));
      for (const Target target : {Target::tflite, Target::tensorflow}) {
        const auto legal = legalize(graph, target);
        ASSERT_TRUE(legal) << legal.error().text();
        for (const std::int64_t time : {1, 4}) {
          Array places = numbers({2, 2, 3, 2});
          for (double& place : places.values) place *= 0.17;
          const std::vector<Array> inputs = {numbers({2, 2, time, 3}), places};
          const auto expected = evaluate(graph, inputs), result = evaluate(*legal, inputs);
          ASSERT_TRUE(expected && result);
          for (std::size_t k = 0; k < (*expected)[0].values.size(); ++k)
            ASSERT_NEAR((*result)[0].values[k], (*expected)[0].values[k], 1e-5);
        }
      }
    }
}

class Sizes : public testing::TestWithParam<Network> {};

TEST_P(Sizes, are_known_at_run_time_in_every_target) {
  const Graph graph = make(GetParam());
  for (const Target target : {Target::onnx, Target::tflite, Target::tensorflow}) {
    SCOPED_TRACE(target_name(target));
    const auto legal = legalize(graph, target);
    ASSERT_TRUE(legal) << legal.error().text();
    for (const auto& [batch, time] : {std::pair{1, 5}, std::pair{3, 2}, std::pair{2, 1}}) {
      const std::vector<Array> inputs = {numbers({batch, time, 6})};
      const auto expected = evaluate(graph, inputs);
      const auto result = evaluate(*legal, inputs);
      ASSERT_TRUE(expected) << expected.error().text();
      ASSERT_TRUE(result) << result.error().text();
      for (std::size_t i = 0; i < expected->size(); ++i) {
        EXPECT_EQ((*result)[i].shape, (*expected)[i].shape);
        for (std::size_t k = 0; k < (*expected)[i].values.size(); ++k)
          ASSERT_NEAR((*result)[i].values[k], (*expected)[i].values[k], 1e-5);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Sizes, testing::ValuesIn(networks()),
                         [](const auto& network) { return network.param.name; });

TEST(Sizes, are_not_computed_where_only_axes_of_one_come_and_go) {
  const auto legal = legalize(make(networks().back()), Target::tflite);
  ASSERT_TRUE(legal);
  EXPECT_EQ(count_ops(*legal, "shape_of"), 0u);
}

// The sizes of an input serve as the ends of a slice of the same axis: runtimes know them before anything runs.
TEST(Sizes, are_those_of_an_input_as_they_are_where_axes_agree) {
  const Graph graph = make({"table", [](Graph& made, Builder& build, Value* x) {
                              Value* table = build.constant(to_tensor(numbers({1, 40, 6})));
                              Value* rows = build("slice", {table}, {{"dim", std::int64_t{1}}, {"end", Shape{kTime}}});
                              made.add_output("y", build("add", {x, rows}));
                            }});
  for (const Target target : {Target::tflite, Target::tensorflow}) {
    const auto legal = legalize(graph, target);
    ASSERT_TRUE(legal) << legal.error().text();
    EXPECT_EQ(count_ops(*legal, "shape_of"), 1u);
    EXPECT_EQ(count_ops(*legal, "slice"), 0u);
    EXPECT_EQ(count_ops(*legal, "concat"), 0u);
  }
}

// An operator that makes its own result as large as it comes out would write past the buffer of an output.
TEST(Sizes, computed_for_an_output_leave_it_to_a_copy) {
  const Graph graph = make({"split_rows", [](Graph& made, Builder& build, Value* x) {
                              made.add_output("y", build("reshape", {x}, {{"shape", Shape{kBatch, kTime, 2, 3}}}));
                            }});
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  const Node* last = legal->outputs()[0].value->producer;
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(last->op, "concat");
  ASSERT_EQ(last->operands.size(), 1u);
  EXPECT_EQ(last->operands[0]->producer->op, "reshape_to");
}

TEST(Sizes, are_computed_once) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {kBatch, kTime, 6}});
  for (int i = 0; i < 5; ++i) {
    x = build("reshape", {build("relu", {x})}, {{"shape", Shape{kBatch, kTime, 2, 3}}});
    x = build("reshape", {build("relu", {x})}, {{"shape", Shape{kBatch, kTime, 6}}});
  }
  graph.add_output("y", x);
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(count_ops(*legal, "shape_of"), 1u);
}

}  // namespace
}  // namespace taper
