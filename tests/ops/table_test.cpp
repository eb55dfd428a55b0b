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
    EXPECT_EQ((*outputs)[i].shape, *constant_sizes(type.shape));
    EXPECT_EQ((*outputs)[i].values.size(), static_cast<std::size_t>(*element_count(type.shape).constant()));
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

TEST_P(Row, moves_constants_as_it_computes_them) {
  if (op().rearrange == nullptr) GTEST_SKIP() << "it computes";
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

}  // namespace
}  // namespace taper
