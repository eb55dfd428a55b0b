// Tests that run over the whole table: a row brings its own examples.
#include "ops/table.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "examples.h"
#include "ops/documentation.h"

namespace taper {
namespace {

class Row : public ExampleTest {};

TEST_P(Row, evaluates_to_the_types_that_it_infers) {
  const Graph graph = call();
  ASSERT_TRUE(check(graph)) << check(graph).error().text();
  const auto outputs = evaluate(graph, random_inputs());
  ASSERT_TRUE(outputs) << outputs.error().text();
  for (std::size_t i = 0; i < outputs->size(); ++i) {
    const Type& type = graph.outputs()[i].value->type;
    EXPECT_EQ((*outputs)[i].dtype, type.dtype);
    Shape measured = type.shape;  // with the sizes that elements decide
    for (std::size_t axis = 0; op().measures_sizes && axis < measured.size(); ++axis)
      if (!measured[axis].constant()) measured[axis] = (*outputs)[i].shape.at(axis);
    EXPECT_EQ((*outputs)[i].shape, *constant_sizes(measured));
    EXPECT_EQ((*outputs)[i].values.size(), static_cast<std::size_t>(*element_count(measured).constant()));
  }
}

TEST_P(Row, means_the_same_expanded) {
  const auto expected = evaluate(call(), random_inputs());
  ASSERT_TRUE(expected);
  for (const ExpandFn expand : {op().expand, op().expand_onnx, op().expand_tflite, op().expand_tensorflow}) {
    if (expand == nullptr) continue;
    const Graph graph = call(expand);
    ASSERT_TRUE(check(graph)) << check(graph).error().text();
    const auto outputs = evaluate(graph, random_inputs());
    ASSERT_TRUE(outputs) << outputs.error().text();
    ASSERT_EQ(outputs->size(), expected->size());
    for (std::size_t i = 0; i < outputs->size(); ++i) {
      EXPECT_EQ((*outputs)[i].shape, (*expected)[i].shape);
      for (std::size_t k = 0; k < (*outputs)[i].values.size(); ++k)
        // Constants inside expansions are float32.
        EXPECT_NEAR((*outputs)[i].values[k], (*expected)[i].values[k], 1e-6) << "result " << i << ", element " << k;
    }
  }
}

// Rows that move constants without computing.
class MovingRow : public ExampleTest {};

TEST_P(MovingRow, moves_constants_as_it_computes_them) {
  const auto expected = evaluate(call(), random_inputs());
  ASSERT_TRUE(expected);
  std::vector<Tensor> tensors;
  std::vector<const Tensor*> pointers;
  for (const Array& array : random_operands(example())) tensors.push_back(to_tensor(array));
  for (const Tensor& tensor : tensors) pointers.push_back(&tensor);
  const std::vector<Tensor> results = op().rearrange(pointers, example().attrs);
  if (results.empty()) return;  // not for these operands
  ASSERT_EQ(results.size(), expected->size());
  for (std::size_t i = 0; i < results.size(); ++i)
    EXPECT_TRUE(identical(results[i], to_tensor((*expected)[i]))) << "result " << i;
}

INSTANTIATE_TEST_SUITE_P(Table, Row, testing::ValuesIn(all_examples()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Table, MovingRow,
                         testing::ValuesIn(examples_where([](const Op& op) { return op.rearrange != nullptr; })),
                         name_of_case);

TEST(Table, has_unique_names_docs_and_a_meaning_for_every_row) {
  std::set<std::string_view> names;
  for (const Op& op : op_table()) {
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_FALSE(op.doc.empty()) << op.name;
    EXPECT_NE(op.infer, nullptr) << op.name;
    EXPECT_NE(op.eval, nullptr) << op.name;
    EXPECT_EQ(find_op(op.name), &op);
  }
}

TEST(Table, is_what_the_documentation_says) {
  const std::string path = TAPER_SOURCE_DIR "/docs/operators.md";
  if (std::getenv("TAPER_UPDATE_DOCS") != nullptr) std::ofstream(path) << operators_markdown();
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  EXPECT_EQ(text, operators_markdown()) << "run ops_test with TAPER_UPDATE_DOCS=1";
}

TEST(Builder, reports_the_first_error_and_does_nothing_after_it) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  build.set_scope("head.0");
  Value* wrong = build("linear", {x, build.constant(tensor_f32({1, 4}, std::vector<float>{1, 2, 3, 4}))});
  EXPECT_EQ(wrong, nullptr);
  EXPECT_EQ(build("relu", {wrong}), nullptr);
  ASSERT_FALSE(build.status());
  EXPECT_EQ(build.status().error().text(), "linear: x has 3 features, weight [1, 4] takes 4 / in 'head.0'");
}

TEST(Builder, refuses_unknown_operators_and_attributes) {
  Graph graph;
  Value* x = graph.add_input("x", {DType::f32, {2}});
  Builder unknown_op(graph);
  unknown_op("frobnicate", {x});
  EXPECT_FALSE(unknown_op.status());
  Builder unknown_attr(graph);
  unknown_attr("relu", {x}, {{"slope", 0.1}});
  EXPECT_FALSE(unknown_attr.status());
  Builder missing_operand(graph);
  missing_operand("add", {x});
  EXPECT_FALSE(missing_operand.status());
}

std::string refusal(std::string_view op, const std::vector<Type>& operands, const Attrs& attrs) {
  Graph graph;
  Builder build(graph);
  std::vector<Value*> values;
  for (const Type& type : operands) values.push_back(graph.add_input("x", type));
  build(op, values, attrs);
  return build.status() ? "" : build.status().error().text();
}

// What random calls found that rows let through and could not compute.
TEST(Rows, refuse_operands_that_contradict_their_attributes) {
  const auto f32 = [](std::vector<std::int64_t> sizes) { return Type{DType::f32, to_shape(sizes)}; };
  EXPECT_EQ(refusal("constant_of_shape", {{DType::i64, {4, 3}}}, {{"shape", Shape{3, 3}}}),
            "constant_of_shape: sizes are i64[4, 3], expected i64[2] for shape [3, 3]");
  EXPECT_EQ(refusal("narrow", {f32({2, 5}), {DType::i64, {2}}}, {{"dim", std::int64_t{1}}, {"length", Shape{3}}}),
            "narrow: count is i64[2], expected one integer");
  EXPECT_EQ(refusal("narrow", {f32({2, 5}), {DType::i64, {1}}}, {{"dim", std::int64_t{1}}, {"length", Shape{}}}),
            "narrow: attribute 'length' holds 0 sizes, expected one");
  EXPECT_EQ(refusal("gru", {f32({2, 5, 0}), f32({6, 0}), f32({6, 2})}, {}),
            "gru: x has shape [2, 5, 0]: no steps or no features");
  EXPECT_EQ(refusal("onnx_gru", {f32({5, 2, 3}), f32({1, 12, 3}), f32({1, 12, 4}), f32({1, 24})},
                    {{"hidden_size", std::int64_t{3}}}),
            "onnx_gru: hidden_size is 3, expected 4 as in r [1, 12, 4]");
  EXPECT_NE(refusal("multi_head_attention", {f32({1, 2, 0}), f32({1, 2, 0}), f32({1, 2, 0})},
                    {{"num_heads", std::int64_t{2}}}),
            "");
}

// The sizes come from data, which may say anything.
TEST(Rows, make_no_constant_in_a_shape_other_than_their_type) {
  Graph graph;
  Builder build(graph);
  Value* sizes = graph.add_input("sizes", {DType::i64, {2}});
  graph.add_output("y", build("constant_of_shape", {sizes}, {{"shape", Shape{3, 3}}}));
  ASSERT_TRUE(build.status());
  EXPECT_TRUE(evaluate(graph, {Array{DType::i64, {2}, {3, 3}}}));
  EXPECT_FALSE(evaluate(graph, {Array{DType::i64, {2}, {1e9, 1e9}}}));
}

}  // namespace
}  // namespace taper
