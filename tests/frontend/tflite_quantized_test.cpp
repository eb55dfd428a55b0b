// Quantised tensors in TFLite files: what is not exactly as it is written is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/tflite.h"
#include "frontend/tflite.h"
#include "ir/text.h"
#include "ops/builder.h"
#include "ops/table.h"

namespace taper {
namespace {

using testing::HasSubstr;

// A layer with int8 weights of one scale per output, between an int8 input and an int8 output.
constexpr std::string_view kLayer = R"(graph g (%x: f32[3, 2] as i8 scale [0.5] zero [3]) {
  %w = constant() {value = f32[2, 2] {1, -2, 3, 4}} : f32[2, 2] as i8 scale [1, 2] zero [0, 0] axis 0
  %b = constant() {value = f32[2] {0.5, 1}} : f32[2] as i32 scale [0.5, 1] zero [0, 0] axis 0
  %y = linear(%x, %w, %b) {activation = "none"} : f32[3, 2] as i8 scale [0.25] zero [0]
  %z = reshape(%y) {shape = shape[2, 3]} : f32[2, 3] as i8 scale [0.25] zero [0]
  return y = %z
})";

// A hybrid layer with int4 weights in blocks.
std::string blocks_text() {
  std::string row = "1";
  for (int i = 1; i < 64; ++i) row += fmt::format(", {}", i % 7 - 3);
  return fmt::format(R"(graph g (%x: f32[3, 64]) {{
  %w = constant() {{value = f32[1, 64] {{{}}}}} : f32[1, 64] as i4 scale [0.5, 1] zero [0, 0] axis 0 block 32
  %y = linear(%x, %w) {{activation = "none"}} : f32[3, 1]
  return y = %y
}})",
                     row);
}

TfliteModel spelled(const Graph& graph) {
  const Status status = check(graph);
  EXPECT_TRUE(status) << status.error().text();
  auto model = spell_tflite(graph, {.description = "test", .default_sizes = {}});
  EXPECT_TRUE(model) << model.error().text();
  return std::move(*model);
}

TfliteModel spelled(std::string_view text) {
  auto graph = parse(text);
  EXPECT_TRUE(graph) << graph.error().text();
  return spelled(*graph);
}

Expected<Graph> read_back(const TfliteModel& model) {
  std::vector<std::byte> bytes;
  TAPER_TRY(write_tflite(model.model, model.buffers, sink_to(bytes)));
  TAPER_ASSIGN(const TfliteFile file, read_tflite(share(std::move(bytes))));
  return import_tflite(file);
}

tflite::TensorT& tensor_named(TfliteModel& model, std::string_view name) {
  for (const auto& tensor : model.model.subgraphs[0]->tensors)
    if (tensor->name == name) return *tensor;
  ADD_FAILURE() << name;
  return *model.model.subgraphs[0]->tensors[0];
}

// The error of reading the model after `change` did its work on a tensor.
template <class Change>
std::string error_after(std::string_view text, std::string_view tensor, Change change) {
  TfliteModel model = spelled(text);
  change(tensor_named(model, tensor));
  const auto read = read_back(model);
  return read ? "no error" : read.error().text();
}

const tflite::TensorT& written(const TfliteModel& model, std::string_view name) {
  return tensor_named(const_cast<TfliteModel&>(model), name);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

TEST(QuantisedTflite, is_written_with_scales_zero_points_and_packed_integers) {
  const TfliteModel model = spelled(kLayer);
  const tflite::TensorT& weight = written(model, "w");
  EXPECT_EQ(weight.type, tflite::TensorType::INT8);
  EXPECT_EQ(weight.quantization->scale, (std::vector<float>{1, 2}));
  EXPECT_EQ(weight.quantization->zero_point, (std::vector<std::int64_t>{0, 0}));
  EXPECT_EQ(weight.quantization->quantized_dimension, 0);
  // 3 / 2 is rounded away from zero.
  EXPECT_THAT(
      to_double(converted(Tensor{DType::i8, {4}, {1}, model.buffers[weight.buffer].tensor.storage}, DType::f32)),
      testing::ElementsAre(1, -2, 2, 2));
  EXPECT_EQ(written(model, "b").type, tflite::TensorType::INT32);
  EXPECT_EQ(model.min_runtime_version, "2.17.0");

  const TfliteModel blocks = spelled(blocks_text());
  const tflite::TensorT& packed = written(blocks, "w");
  EXPECT_EQ(packed.type, tflite::TensorType::INT4);
  EXPECT_EQ(blocks.buffers[packed.buffer].byte_count(), 32u);
  const auto* details = packed.quantization->details.AsBlockwiseQuantization();
  ASSERT_NE(details, nullptr);
  EXPECT_EQ(details->block_size, 32);
  EXPECT_EQ(blocks.model.subgraphs[0]->tensors[static_cast<std::size_t>(details->scales)]->type,
            tflite::TensorType::FLOAT16);
}

TEST(QuantisedTflite, reads_back_as_the_same_graph) {
  for (const std::string& text : {std::string(kLayer), blocks_text()}) {
    const auto read = read_back(spelled(text));
    ASSERT_TRUE(read) << read.error().text();
    const auto again = read_back(spelled(*read));  // what lies on its grid stays
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_TRUE(same_graph(*read, *again)) << print(*read) << print(*again);
    EXPECT_EQ(read->nodes().back().operands[0]->type.dtype, DType::f32);
  }
}

TEST(QuantisedTflite, refuses_grids_that_are_none) {
  using T = tflite::TensorT;
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.quantization->scale = {1, 2, 3}; }), HasSubstr("3 scales"));
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.quantization->scale = {1, 0}; }), HasSubstr("the scale 0"));
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.quantization->zero_point = {}; }), HasSubstr("0 zero points"));
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.quantization->zero_point = {0, 999}; }), HasSubstr("999"));
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.quantization->quantized_dimension = 5; }), HasSubstr("axis 5"));
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.quantization->quantized_dimension = -1; }), HasSubstr("axis -1"));
  EXPECT_THAT(error_after(kLayer, "w", [](T& t) { t.type = tflite::TensorType::INT16; }), HasSubstr("16 bits"));
  EXPECT_THAT(error_after(kLayer, "x", [](T& t) { t.type = tflite::TensorType::UINT8; }), HasSubstr("not read"));
  EXPECT_THAT(error_after(kLayer, "x", [](T& t) { t.quantization.reset(); }), HasSubstr("int8"));
}

TEST(QuantisedTflite, refuses_operators_on_grids_that_do_not_fit) {
  using T = tflite::TensorT;
  const auto without = [](T& t) {
    t.quantization.reset();
    t.type = tflite::TensorType::FLOAT32;
  };
  EXPECT_THAT(error_after(kLayer, "x", without), HasSubstr("not as they are written"));
  EXPECT_THAT(error_after(kLayer, "y", [](T& t) { t.quantization->scale[0] = 0.5F; }), HasSubstr("different grids"));
  EXPECT_THAT(error_after(kLayer, "y", [](T& t) { t.type = tflite::TensorType::INT32; }), HasSubstr("32 bits"));
}

TEST(QuantisedTflite, refuses_damaged_blocks) {
  using T = tflite::TensorT;
  const std::string text = blocks_text();
  const auto blocks = [](T& t) { return t.quantization->details.AsBlockwiseQuantization(); };
  EXPECT_THAT(error_after(text, "w", [&](T& t) { blocks(t)->scales = 77; }), HasSubstr("does not exist"));
  EXPECT_THAT(error_after(text, "w", [&](T& t) { blocks(t)->scales = -1; }), HasSubstr("does not exist"));
  EXPECT_NE(error_after(text, "w", [&](T& t) { blocks(t)->scales = 0; }), "no error");
  EXPECT_THAT(error_after(text, "w", [&](T& t) { blocks(t)->block_size = 0; }), HasSubstr("blocks of 0"));
  EXPECT_THAT(error_after(text, "w", [&](T& t) { blocks(t)->block_size = 48; }), HasSubstr("blocks of 48"));
  EXPECT_THAT(error_after(text, "w", [&](T& t) { blocks(t)->block_size = 16; }), HasSubstr("expected 4"));
  EXPECT_THAT(error_after(text, "w", [](T& t) { t.quantization->details.Set(tflite::MultiAxisQuantizationT{}); }),
              HasSubstr("kind that is not read"));
}

// Each of 100 layers has the weight in the same bytes, on a grid of its own.
TEST(QuantisedTflite, refuses_more_constants_than_the_file_has_bytes_for) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {3, 256}});
  for (int i = 0; i < 100; ++i) {
    std::vector<float> weight(256 * 256, 0.5F);
    weight[0] = static_cast<float>(i * (i + 1));  // the same integers would be stored once
    Value* w = build.constant(tensor_f32({256, 256}, weight), "w");
    w->quantization = std::make_shared<const Quantization>(per_tensor_grid(8, 1 + static_cast<float>(i), 0));
    x = build("linear", {x, w});
  }
  graph.add_output("y", x);
  ASSERT_TRUE(build.status());
  TfliteModel model = spelled(graph);
  ASSERT_TRUE(read_back(model));
  std::optional<std::uint32_t> first;
  for (const auto& tensor : model.model.subgraphs[0]->tensors)
    if (tensor->type == tflite::TensorType::INT8) {
      if (!first) first = tensor->buffer;
      tensor->buffer = *first;
    }
  for (std::size_t i = 1; i < model.buffers.size(); ++i)
    if (i != *first && model.buffers[i].byte_count() > 1000) model.buffers[i] = WeightSource{};
  const auto read = read_back(model);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().text(), HasSubstr("more quantised constants"));
}

}  // namespace
}  // namespace taper
