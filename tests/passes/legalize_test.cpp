// The passes keep the meaning of networks, for every target, static and dynamic.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "networks.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

using Shapes = std::vector<std::vector<std::int64_t>>;

void expect_same(const Graph& expected, const Graph& actual, const Shapes& shapes, double tolerance) {
  for (const auto& shape : shapes) {
    const auto reference = evaluate(expected, {random_input(shape)});
    ASSERT_TRUE(reference) << reference.error().text();
    const auto result = evaluate(actual, {random_input(shape)});
    ASSERT_TRUE(result) << result.error().text();
    ASSERT_EQ(result->size(), reference->size());
    for (std::size_t i = 0; i < result->size(); ++i) {
      ASSERT_EQ((*result)[i].shape, (*reference)[i].shape);
      for (std::size_t k = 0; k < (*result)[i].values.size(); ++k)
        ASSERT_NEAR((*result)[i].values[k], (*reference)[i].values[k], tolerance) << testing::PrintToString(shape);
    }
  }
}

class Legalize : public testing::TestWithParam<NamedNetwork> {};

TEST_P(Legalize, keeps_the_meaning_after_each_pass_of_each_target) {
  const Graph graph = GetParam().make();
  ASSERT_TRUE(check(graph)) << check(graph).error().text();
  // 15, 16 and 17 frames: around the length of a chunk of a collecting loop.
  const Shapes shapes = {{1, 30, 6}, {3, 7, 6}, {1, 1, 6}, {2, 15, 6}, {2, 16, 6}, {2, 17, 6}};
  for (const Target target : {Target::onnx, Target::tflite}) {
    const auto legal = legalize(graph, target, {}, [&](std::string_view pass, const Graph& after) {
      SCOPED_TRACE(pass);
      expect_same(graph, after, shapes, 1e-5);
    });
    ASSERT_TRUE(legal) << legal.error().text();
  }
}

TEST_P(Legalize, freezes_symbols) {
  const Graph graph = GetParam().make();
  for (const Target target : {Target::onnx, Target::tflite}) {
    const auto legal = legalize(graph, target, {.freeze = {{"batch_size", 1}, {"sequence_length", 20}}});
    ASSERT_TRUE(legal) << legal.error().text();
    for (const Value* input : legal->inputs()) EXPECT_EQ(input->type.shape, (Shape{1, 20, 6}));
    for (const Node& node : legal->nodes()) EXPECT_NE(node.op, "shape_of");
    expect_same(graph, *legal, {{1, 20, 6}}, 1e-5);
  }
}

TEST_P(Legalize, stores_weights_as_float16_within_its_precision) {
  const auto legal = legalize(GetParam().make(), Target::tflite);
  ASSERT_TRUE(legal);
  std::vector<HalfPrecisionNote> notes;
  const auto half = store_weights_as_f16(*legal, &notes);
  ASSERT_TRUE(half);
  EXPECT_TRUE(check(*half));
  EXPECT_TRUE(notes.empty());
  expect_same(*legal, *half, {{2, 17, 6}}, 2e-2);
}

INSTANTIATE_TEST_SUITE_P(Networks, Legalize, testing::ValuesIn(all_networks()),
                         [](const auto& network) { return network.param.name; });

std::size_t count_ops(const Graph& graph, std::string_view op) {
  std::size_t count = 0;
  for (const Node& node : graph.nodes()) {
    count += node.op == op ? 1 : 0;
    for (const auto& region : node.regions) count += count_ops(*region, op);
  }
  return count;
}

TEST(LegalizeForTflite, steps_a_small_stack_in_one_loop_without_shapes_in_it) {
  const auto legal = legalize(gru_stack(), Target::tflite);
  ASSERT_TRUE(legal);
  EXPECT_EQ(count_ops(*legal, "while"), 1u);
  EXPECT_EQ(count_ops(*legal, "shape_of"), 1u);
  EXPECT_EQ(count_ops(*legal, "gather"), 1u);
  // The input's product and the head outside, W_hh of both layers and W_ih of the second inside.
  EXPECT_EQ(count_ops(*legal, "linear"), 5u);
}

TEST(LegalizeForTflite, folds_scales_and_norm_weights_into_linear_layers) {
  const auto legal = legalize(transformer(), Target::tflite);
  ASSERT_TRUE(legal);
  EXPECT_EQ(count_ops(*legal, "relu"), 0u);
  // One mul per norm remains; gamma and the scale of the scores are in the weights.
  EXPECT_EQ(count_ops(*legal, "mul"), 2u);
}

TEST(LegalizeForTflite, runs_only_the_passes_that_the_graph_concerns) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {1, 2}});
  Value* w = build.constant(tensor_f32({2, 2}, std::vector<float>{1, 2, 3, 4}), "head.weight");
  graph.add_output("y", build("relu", {build("linear", {x, w})}));
  std::vector<std::string> ran;
  const auto legal =
      legalize(graph, Target::tflite, {}, [&](std::string_view pass, const Graph&) { ran.emplace_back(pass); });
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(ran, (std::vector<std::string>{"share_results", "fuse_activations"}));
}

TEST(LegalizeForTflite, names_the_axis_that_has_to_be_a_number_in_time) {
  Graph graph;
  Builder build(graph);
  Value* count = build.constant(tensor_i64({}, std::array{std::int64_t{2}}));
  Value* half = build.constant(tensor_f32({}, std::vector<float>{0.5F}));
  constexpr int kInputs = 400;
  for (int i = 0; i < kInputs; ++i) {
    const auto size = [&](std::string_view name) { return Dim::symbol(fmt::format("{}{}", name, i)); };
    Value* boxes = graph.add_input(fmt::format("boxes{}", i), {DType::f32, {size("b"), size("n"), 4}});
    Value* scores = graph.add_input(fmt::format("scores{}", i), {DType::f32, {size("b"), 2, size("n")}});
    graph.add_output(fmt::format("y{}", i), build("non_max_suppression", {boxes, scores, count, half, half},
                                                  {{"count", Shape{size("count")}}}));
  }
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const auto refused = check_spelled(graph, Target::tflite);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().hint.find("fix axis 0 of input 'boxes0'"), std::string::npos) << refused.error().text();
}

TEST(LegalizeForTflite, leaves_no_nodes_that_nothing_reads) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {1, 2}});
  build("exp", {x});
  graph.add_output("y", build("neg", {x}));
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(legal->nodes().size(), 1u);
}

TEST(Rewrite, takes_over_types_only_where_operands_are_the_same) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {Dim::symbol("N"), 2}});
  graph.add_output("y", build("neg", {build("exp", {x})}));
  const auto frozen = freeze_symbols(graph, {{"N", 3}});
  ASSERT_TRUE(frozen) << frozen.error().text();
  EXPECT_EQ(frozen->outputs()[0].value->type.shape, (Shape{3, 2}));
  EXPECT_TRUE(check(*frozen)) << check(*frozen).error().text();
}

Array vector_of(DType dtype, std::vector<double> values) {
  const auto size = static_cast<std::int64_t>(values.size());
  return {dtype, {size}, std::move(values)};
}

// What a call of vectors gives when it is legal for a target.
std::vector<double> legal_call(std::string_view op, const std::vector<Array>& operands, Target target) {
  Graph graph;
  Builder build(graph);
  std::vector<Value*> values;
  for (const Array& array : operands) values.push_back(graph.add_input("x", {array.dtype, to_shape(array.shape)}));
  graph.add_output("y", build(op, values));
  const auto legal = legalize(graph, target);
  EXPECT_TRUE(legal) << op << ": " << legal.error().text();
  const auto outputs = legal ? evaluate(*legal, operands) : fail("none");
  return outputs ? (*outputs)[0].values : std::vector<double>{};
}

constexpr std::array kTargets = {Target::onnx, Target::tflite, Target::tensorflow};

TEST(LegalizeForAll, gives_rests_of_narrow_integers) {
  using Values = std::vector<double>;
  for (const Target target : kTargets)
    for (const DType dtype : {DType::i8, DType::u8, DType::i16}) {
      const bool negative = dtype != DType::u8;
      const Array a = vector_of(dtype, {100, 7, negative ? -7.0 : 8.0}), b = vector_of(dtype, {9, 3, 3});
      EXPECT_EQ(legal_call("remainder", {a, b}, target), (Values{1, 1, 2}));
      EXPECT_EQ(legal_call("fmod", {a, b}, target), (Values{1, 1, negative ? -1.0 : 2.0}));
    }
}

TEST(LegalizeForAll, negates_bytes) {
  for (const Target target : kTargets) {
    const Array x = vector_of(DType::u8, {0, 1, 200});
    EXPECT_EQ(legal_call("neg", {x}, target), (std::vector<double>{0, 255, 56}));
    EXPECT_EQ(legal_call("abs", {x}, target), x.values);
  }
}

TEST(LegalizeForAll, divides_integers_that_32_bits_can_not_hold) {
  const double large = 0x1p52 + 12345;
  const Array a = vector_of(DType::i64, {large, -large, large, 0x1p40, -7}),
              b = vector_of(DType::i64, {7, 7, -1, 0x1p33, 0x1p35});
  for (const Target target : kTargets) {
    EXPECT_EQ(legal_call("floor_divide", {a, b}, target),
              (std::vector<double>{std::floor(large / 7), std::floor(-large / 7), -large, 128, -1}));
    EXPECT_EQ(legal_call("trunc_divide", {a, b}, target),
              (std::vector<double>{std::floor(large / 7), -std::floor(large / 7), -large, 128, 0}));
  }
}

TEST(LegalizeForAll, tells_the_angle_of_a_zero_by_its_sign) {
  const Array y = vector_of(DType::f32, {-0.0, 0.0, -0.0, 0.0}), x = vector_of(DType::f32, {-1, -1, -0.0, -0.0});
  for (const Target target : kTargets) {
    const std::vector<double> angles = legal_call("atan2", {y, x}, target);
    ASSERT_EQ(angles.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(angles[i], i % 2 == 0 ? -M_PI : M_PI, 1e-6) << i;
  }
}

// Whether ONNX's own operator says a choice of nearest entries.
bool is_said_by_resize(const Shape& from, const Shape& to, const std::string& coordinates,
                       const std::vector<double>& scales = {}) {
  const auto bytes = std::as_bytes(std::span(scales));
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {1, 2, from[0], from[1]}});
  const std::string rounding = coordinates == "asymmetric" ? "floor" : "round_prefer_ceil";
  graph.add_output("y", build("resize", {x},
                              {{"sizes", to},
                               {"mode", std::string("nearest")},
                               {"coordinates", coordinates},
                               {"rounding", rounding},
                               {"scales", make_tensor(DType::f64, {static_cast<std::int64_t>(scales.size())},
                                                      {bytes.begin(), bytes.end()})}}));
  const auto legal = legalize(graph, Target::onnx);
  EXPECT_TRUE(legal) << legal.error().text();
  return legal && count_ops(*legal, "onnx_resize") == 1;
}

TEST(LegalizeForOnnx, resizes_to_nearest_entries_only_where_its_runtime_takes_those) {
  const Dim h = Dim::symbol("H");
  EXPECT_TRUE(is_said_by_resize({4, 5}, {8, 10}, "asymmetric"));
  EXPECT_TRUE(is_said_by_resize({4, 5}, {8, 15}, "half_pixel", {2, 3}));
  EXPECT_TRUE(is_said_by_resize({h, 5}, {2 * h, 10}, "asymmetric", {2, 2}));
  EXPECT_TRUE(is_said_by_resize({h, h}, {2 * h, h}, "half_pixel"));
  EXPECT_FALSE(is_said_by_resize({70, 91}, {42, 54}, "asymmetric", {0.6, 0.6}));
  EXPECT_FALSE(is_said_by_resize({h, 5}, {floor_divide(3 * h, 5), 3}, "asymmetric", {0.6, 0.6}));
  EXPECT_FALSE(is_said_by_resize({h, 5}, {33, 36}, "half_pixel"));
  EXPECT_FALSE(is_said_by_resize({h, 5}, {41 * h, 5}, "asymmetric"));
}

TEST(LegalizeForAll, takes_nearest_entries_of_open_sizes_by_float32_and_without_its_rounding) {
  const Dim n = Dim::symbol("N");
  const double scales[] = {1, 0.6};
  const auto bytes = std::as_bytes(std::span(scales));
  for (const std::string coordinates : {"asymmetric", "half_pixel"}) {
    Graph graph;
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {1, 1, 1, n}});
    const std::string rounding = coordinates == "asymmetric" ? "floor" : "round_prefer_ceil";
    graph.add_output("y", build("resize", {x},
                                {{"sizes", Shape{1, floor_divide(3 * n, 5)}},
                                 {"mode", std::string("nearest")},
                                 {"coordinates", coordinates},
                                 {"rounding", rounding},
                                 {"scales", make_tensor(DType::f64, {2}, {bytes.begin(), bytes.end()})}}));
    for (const Target target : kTargets) {
      const auto legal = legalize(graph, target);
      ASSERT_TRUE(legal) << legal.error().text();
      for (const std::int64_t size : {2, 31, 200}) {
        Array image{DType::f32, {1, 1, 1, size}, {}};
        for (std::int64_t i = 0; i < size; ++i) image.values.push_back(static_cast<double>(i));
        const auto expected = evaluate(graph, {image}), actual = evaluate(*legal, {image});
        ASSERT_TRUE(expected && actual);
        EXPECT_EQ((*actual)[0].values, (*expected)[0].values) << coordinates << ", " << size;
      }
    }
  }
}

TEST(Legalize, joins_no_parts_without_elements) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {Dim(2), Dim(3)}});
  Value* none = build("slice", {x}, {{"dim", std::int64_t{1}}, {"start", std::int64_t{0}}, {"end", Shape{Dim(0)}}});
  graph.add_output("y", build("relu", {build("concat", {none, x}, {{"dim", std::int64_t{1}}})}));
  graph.add_output("sums", build("sum", {none}, {{"dims", std::vector<std::int64_t>{1}}}));
  ASSERT_TRUE(build.status()) << build.status().error().text();
  for (const Target target : {Target::onnx, Target::tflite, Target::tensorflow}) {
    const auto legal = legalize(graph, target);
    ASSERT_TRUE(legal) << legal.error().text();
    EXPECT_EQ(count_ops(*legal, "slice"), 0u);
    for (const Node& node : legal->nodes())
      for (const Value* operand : node.operands) EXPECT_FALSE(element_count(operand->type.shape).is(0)) << node.op;
    const auto found = evaluate(*legal, {Array{DType::f32, {2, 3}, {1, -2, 3, -4, 5, -6}}});
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ((*found)[0].values, (std::vector<double>{1, 0, 3, 0, 5, 0}));
    EXPECT_EQ((*found)[1].values, (std::vector<double>{0, 0}));
  }
}

TEST(Legalize, computes_on_uint64_as_on_int64_of_the_same_bits) {
  for (const Target target : kTargets)
    for (const std::string_view op : {"add", "maximum", "less", "trunc_divide", "remainder", "bitwise_and"}) {
      Graph graph;
      Builder build(graph);
      Value* a = graph.add_input("a", {DType::u64, {3}});
      Value* b = graph.add_input("b", {DType::u64, {3}});
      graph.add_output("y", build(op, {a, b}));
      const auto legal = legalize(graph, target);
      ASSERT_TRUE(legal) << op << ": " << legal.error().text();
      EXPECT_EQ(count_ops(*legal, "bitcast"), op == "less" ? 2u : 3u) << op;
    }
}

TEST(Legalize, keeps_integers_that_float64_does_not_tell_apart_for_the_runtime) {
  Graph graph;
  Builder build(graph);
  const auto number = [&](std::int64_t value) { return build.constant(tensor_i64({1}, std::array{value})); };
  graph.add_output("y", build("add", {number((std::int64_t{1} << 53) + 1), number(2)}));
  const auto legal = legalize(graph, Target::onnx);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(count_ops(*legal, "add"), 1u);
}

TEST(Legalize, names_the_dtype_of_what_a_target_does_not_have) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::u64, {2, 3}});
  graph.add_output("y", build("mean", {x}, {{"dims", std::vector<std::int64_t>{1}}}));
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_FALSE(legal);
  EXPECT_THAT(legal.error().message, testing::HasSubstr("mean of uint64"));
  EXPECT_THAT(legal.error().hint, testing::HasSubstr("cast the uint64"));
}

TEST(LegalizeForOnnx, pads_short_integers_in_wider_ones) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::i16, {2}});
  const std::vector<std::int64_t> one = {1};
  graph.add_output("y", build("pad", {x}, {{"before", one}, {"after", one}, {"value", 3.0}}));
  const auto legal = legalize(graph, Target::onnx);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(count_ops(*legal, "cast"), 2u);
  const auto padded = evaluate(*legal, {vector_of(DType::i16, {1, 2})});
  ASSERT_TRUE(padded) << padded.error().text();
  EXPECT_EQ((*padded)[0].values, (std::vector<double>{3, 1, 2, 3}));
}

TEST(LegalizeForTflite, refuses_recurrent_biases_that_the_program_computes) {
  for (const std::string_view op : {"gru", "lstm", "rnn"}) {
    const std::int64_t rows = op == "gru" ? 6 : op == "lstm" ? 8 : 2;
    const auto weights = [](std::int64_t height, std::int64_t width) {
      return tensor_f32({height, width}, std::vector<float>(static_cast<std::size_t>(height * width), 0.5f));
    };
    Graph graph;
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {1, 4, 3}});
    Value* bias = graph.add_input("bias", {DType::f32, {rows}});
    graph.add_output("y", build(op, {x, build.constant(weights(rows, 3)), build.constant(weights(rows, 2)), bias}));
    ASSERT_TRUE(build.status()) << build.status().error().text();
    const auto legal = legalize(graph, Target::tflite);
    ASSERT_FALSE(legal) << op;
    EXPECT_NE(legal.error().text().find("'bias' is computed by the program"), std::string::npos)
        << legal.error().text();
  }
}

TEST(LegalizeForOnnx, keeps_the_gru_whole) {
  const auto legal = legalize(bidirectional_gru(), Target::onnx);
  ASSERT_TRUE(legal);
  EXPECT_EQ(count_ops(*legal, "onnx_gru"), 4u);
  EXPECT_EQ(count_ops(*legal, "split"), 0u) << "gates of weights are reordered at conversion time";
}

TEST(CheckSpelled, names_sizes_that_no_input_tells_and_the_next_step) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  graph.add_output("x", x);
  graph.add_output("n", build("sizes", {}, {{"sizes", Shape{Dim::symbol("T") + Dim(1)}}, {"dtype", DType::i64}}, "n"));
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const Status status = check_spelled(graph, Target::onnx);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "sizes that ONNX files can't compute from those of their inputs: T + 1 (1 times, in n)");
  EXPECT_THAT(status.error().hint, testing::HasSubstr("--input-shape"));
}

TEST(CheckSpelled, names_all_operators_that_a_target_lacks_at_once) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  build.set_scope("block.act");
  Value* y = build("erf", {x});
  graph.add_output("y", build("erf", {y}));
  const Status status = check_spelled(graph, Target::tflite);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().text(), "operators that TFLite can't express: erf (2 times, in block.act, block.act)");
}

TEST(StoreWeightsAsF16, halves_tables_of_which_rows_are_taken) {
  Graph graph;
  Builder build(graph);
  Value* ids = graph.add_input("ids", {DType::i32, {2}});
  Value* table = build.constant(tensor_f32({2, 2}, std::vector<float>{1, 2, 3, 4}), "words.weight");
  graph.add_output("y", build("gather", {table, ids}, {{"dim", std::int64_t{0}}}));
  const auto half = store_weights_as_f16(graph, nullptr);
  ASSERT_TRUE(half);
  EXPECT_EQ(count_ops(*half, "dequantize"), 1u);
}

TEST(LegalizeForTflite, writes_a_value_that_is_two_outputs_twice) {
  Graph graph;
  Builder build(graph);
  Value* y = build("relu", {graph.add_input("x", {DType::f32, {1, 2}})});
  graph.add_output("y", y);
  graph.add_output("again", y);
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_NE(legal->outputs()[0].value, legal->outputs()[1].value);
}

TEST(LegalizeForTflite, gives_each_result_of_a_branch_a_tensor_of_its_own) {
  const Type flag{DType::boolean, {}}, type{DType::f32, {2}};
  std::vector<std::unique_ptr<Graph>> branches;
  for (const bool same : {true, false}) {
    Graph& branch = *branches.emplace_back(std::make_unique<Graph>());
    Builder build(branch);
    Value* a = build("relu", {branch.add_input("x", type)});
    branch.add_output("a", a);
    branch.add_output("b", same ? a : build("neg", {a}));
  }
  Graph graph;
  Value* condition = graph.add_input("condition", flag);
  const Node* chosen =
      graph.add_node("if", {condition, graph.add_input("x", type)}, {}, {type, type}, "chosen", std::move(branches));
  graph.add_output("a", chosen->results[0]);
  graph.add_output("b", chosen->results[1]);
  ASSERT_TRUE(check(graph)) << check(graph).error().text();
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  EXPECT_EQ(count_ops(*legal, "concat"), 1u);
  for (const Node& node : legal->nodes())
    for (const auto& region : node.regions) EXPECT_NE(region->outputs()[0].value, region->outputs()[1].value);
  const std::vector<Array> given = {{DType::boolean, {}, {1}}, {DType::f32, {2}, {-1, 3}}};
  const auto found = evaluate(*legal, given);
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ((*found)[1].values, (std::vector<double>{0, 3}));
}

TEST(CopySpoiledResults, computes_results_anew_that_follow_from_constants) {
  const Type type{DType::f32, {2}};
  std::vector<std::unique_ptr<Graph>> branches;
  for (const bool known : {true, false}) {
    Graph& branch = *branches.emplace_back(std::make_unique<Graph>());
    Builder build(branch);
    Value* x = branch.add_input("x", type);
    branch.add_output("y", build("neg", {known ? build.constant(tensor_f32({2}, std::vector<float>{1, -2})) : x}));
    ASSERT_TRUE(build.status());
  }
  Graph graph;
  Value* condition = graph.add_input("condition", {DType::boolean, {}});
  const Node* chosen =
      graph.add_node("if", {condition, graph.add_input("x", type)}, {}, {type}, "chosen", std::move(branches));
  graph.add_output("y", chosen->results[0]);
  ASSERT_TRUE(check(graph)) << check(graph).error().text();
  EXPECT_TRUE(spoils_results(*chosen));
  const auto copied = copy_spoiled_results(graph);
  ASSERT_TRUE(copied) << copied.error().text();
  EXPECT_TRUE(check(*copied));
  const Node& after = copied->nodes().front();
  EXPECT_EQ(after.regions[0]->outputs()[0].value->producer->op, "mul") << "by 1";
  EXPECT_EQ(after.regions[1]->outputs()[0].value->producer->op, "neg");
  for (const double flag : {1.0, 0.0}) {
    const std::vector<Array> given = {{DType::boolean, {}, {flag}}, {DType::f32, {2}, {5, 6}}};
    const auto found = evaluate(*copied, given);
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ((*found)[0].values, flag == 1 ? (std::vector<double>{-1, 2}) : (std::vector<double>{-5, -6}));
  }
}

TEST(StoreWeightsAsF16, keeps_weights_that_overflow_and_says_so) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {1, 2}});
  Value* w = build.constant(tensor_f32({1, 2}, std::vector<float>{70000, 1}), "head.weight");
  graph.add_output("y", build("linear", {x, w}));
  std::vector<HalfPrecisionNote> notes;
  const auto half = store_weights_as_f16(graph, &notes);
  ASSERT_TRUE(half);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_EQ(notes[0].tensor, "head.weight");
  EXPECT_EQ(count_ops(*half, "dequantize"), 0u);
}

}  // namespace
}  // namespace taper
