// What the TFLite backend writes, judged by LiteRT.
#include "backend/tflite.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "networks.h"
#include "passes/passes.h"
#include "verify/compare.h"
#include "verify/litert.h"

namespace taper {
namespace {

SharedBytes file_of(const Graph& legal) {
  const auto model =
      spell_tflite(legal, {.description = "test", .default_sizes = {{"batch_size", 1}, {"sequence_length", 30}}});
  EXPECT_TRUE(model) << model.error().text();
  std::vector<std::byte> bytes;
  const Status written = write_tflite(model->model, model->buffers, sink_to(bytes));
  EXPECT_TRUE(written) << written.error().text();
  return share(std::move(bytes));
}

class TfliteBackend : public testing::TestWithParam<NamedNetwork> {};

TEST_P(TfliteBackend, computes_the_reference_in_litert_at_every_shape_twice) {
  const auto runtime = load_litert();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
    GTEST_SKIP() << runtime.error().text();
  }
  const Graph graph = GetParam().make();
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  for (const bool half : {false, true}) {
    const auto halved = store_weights_as_f16(*legal, nullptr);
    ASSERT_TRUE(halved);
    auto model = LitertModel::open(*runtime, file_of(half ? *halved : *legal));
    ASSERT_TRUE(model) << model.error().text();
    const std::vector<std::vector<std::int64_t>> shapes = {{1, 30, 6}, {3, 7, 6}, {1, 1, 6}, {2, 299, 6}, {1, 16, 6}};
    for (const auto& shape : shapes) {
      const Array input = random_input(shape);
      const auto reference = evaluate(graph, {input});
      ASSERT_TRUE(reference);
      const OutputShapes expected = {{"output", (*reference)[0].shape}};
      for (int repeat = 0; repeat < 2; ++repeat) {
        const auto outputs = model->run(std::vector{SignatureTensor{"input", to_tensor(input)}}, expected);
        ASSERT_TRUE(outputs) << outputs.error().text();
        ASSERT_EQ(outputs->size(), 1u);
        EXPECT_EQ((*outputs)[0].name, "output");
        const auto agreement = compare(to_tensor((*reference)[0]), (*outputs)[0].value);
        ASSERT_TRUE(agreement) << agreement.error().text();
        EXPECT_LT(agreement->relative_error, half ? 2e-2 : 1e-5) << testing::PrintToString(shape);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, TfliteBackend, testing::ValuesIn(all_networks()),
                         [](const auto& network) { return network.param.name; });

// A transposed convolution computes the size of its result from the batch: LiteRT learns it while it runs.
TEST(TfliteFile, runs_in_litert_where_the_size_of_the_output_is_computed) {
  const auto runtime = load_litert();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
    GTEST_SKIP() << runtime.error().text();
  }
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("input", {DType::f32, {Dim::symbol("batch_size"), 2, 3, 3}});
  Value* weight = build.constant(to_tensor(random_input({2, 1, 2, 2})));
  graph.add_output("output", build("conv_transpose", {x, weight},
                                   {{"stride", std::vector<std::int64_t>{2, 2}},
                                    {"padding", std::vector<std::int64_t>{0, 0, 0, 0}},
                                    {"dilation", std::vector<std::int64_t>{1, 1}},
                                    {"output_padding", std::vector<std::int64_t>{0, 0}},
                                    {"groups", std::int64_t{1}}}));
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  auto model = LitertModel::open(*runtime, file_of(*legal));
  ASSERT_TRUE(model) << model.error().text();
  for (const std::int64_t batch : {1, 3, 2}) {
    const Array input = random_input({batch, 2, 3, 3});
    const auto reference = evaluate(graph, {input});
    ASSERT_TRUE(reference);
    const OutputShapes expected = {{"output", (*reference)[0].shape}};
    const auto outputs = model->run(std::vector{SignatureTensor{"input", to_tensor(input)}}, expected);
    ASSERT_TRUE(outputs) << outputs.error().text();
    const auto agreement = compare(to_tensor((*reference)[0]), (*outputs)[0].value);
    ASSERT_TRUE(agreement) << agreement.error().text();
    EXPECT_LT(agreement->relative_error, 1e-5) << batch;
  }
}

TEST(TfliteFile, has_default_sizes_open_signature_and_runtime_version) {
  const auto legal = legalize(gru_stack(), Target::tflite);
  ASSERT_TRUE(legal);
  const auto file = read_tflite(file_of(*legal));
  ASSERT_TRUE(file) << file.error().text();
  const auto& main = *file->model.subgraphs[0];
  const auto& input = *main.tensors[static_cast<std::size_t>(main.inputs[0])];
  EXPECT_EQ(input.shape, (std::vector<std::int32_t>{1, 30, 6}));
  EXPECT_EQ(input.shape_signature, (std::vector<std::int32_t>{-1, -1, 6}));
  ASSERT_EQ(file->model.signature_defs.size(), 1u);
  EXPECT_EQ(file->model.signature_defs[0]->signature_key, "serving_default");
  EXPECT_EQ(file->model.signature_defs[0]->inputs[0]->name, "input");
  EXPECT_EQ(file->model.signature_defs[0]->outputs[0]->name, "output");
  ASSERT_EQ(file->model.metadata.size(), 1u);
  EXPECT_EQ(file->model.metadata[0]->name, "min_runtime_version");
  EXPECT_EQ(as_text(file->buffers[file->model.metadata[0]->buffer].view).substr(0, 6), std::string_view("2.0.0\0", 6));
}

TEST(TfliteFile, stores_equal_zeros_once) {
  const auto buffers = [](float second) {
    Graph graph;
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {10, 100}});
    for (const float number : {0.0F, second})
      x = build("add", {x, build.constant(tensor_f32({10, 100}, std::vector<float>(1000, number)))});
    graph.add_output("y", x);
    const auto model = spell_tflite(graph, {});
    EXPECT_TRUE(model) << model.error().text();
    return model ? model->buffers.size() : 0;
  };
  EXPECT_EQ(buffers(0) + 1, buffers(1));
}

TEST(TfliteFile, names_each_tensor_once_over_all_subgraphs) {
  const auto legal = legalize(bidirectional_gru(), Target::tflite);
  ASSERT_TRUE(legal);
  const auto model = spell_tflite(*legal, {.default_sizes = {{"batch_size", 1}, {"sequence_length", 30}}});
  ASSERT_TRUE(model) << model.error().text();
  ASSERT_GT(model->model.subgraphs.size(), 1u);
  std::set<std::string> names;
  for (const auto& subgraph : model->model.subgraphs)
    for (const auto& tensor : subgraph->tensors) EXPECT_TRUE(names.insert(tensor->name).second) << tensor->name;
  const auto& main = *model->model.subgraphs[0];
  EXPECT_EQ(main.tensors[static_cast<std::size_t>(main.inputs[0])]->name, "input");
  EXPECT_EQ(main.tensors[static_cast<std::size_t>(main.outputs[0])]->name, "output");
}

TEST(TfliteFile, is_as_large_for_10_frames_as_for_10000) {
  const auto measured = [](std::int64_t frames) {
    const auto legal =
        legalize(bidirectional_gru(), Target::tflite, {.freeze = {{"batch_size", 1}, {"sequence_length", frames}}});
    EXPECT_TRUE(legal);
    const auto model = spell_tflite(*legal, {.description = "", .default_sizes = {}});
    EXPECT_TRUE(model);
    std::size_t operators = 0, bytes = 0;
    for (const auto& subgraph : model->model.subgraphs) operators += subgraph->operators.size();
    for (const auto& buffer : model->buffers) bytes += buffer.byte_count();
    return std::pair(operators, bytes);
  };
  EXPECT_EQ(measured(10), measured(10000));
}

}  // namespace
}  // namespace taper
