#include "formats/tflite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <sstream>

namespace taper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// x [1, 3] -> FULLY_CONNECTED with weights [2, 3] -> GELU -> y [1, 2]; buffer 1 holds the weights, buffer 2 metadata.
tflite::ModelT small_model() {
  tflite::ModelT model;
  model.description = "small";
  for (const auto op : {tflite::BuiltinOperator::FULLY_CONNECTED, tflite::BuiltinOperator::GELU}) {
    auto code = std::make_unique<tflite::OperatorCodeT>();
    code->builtin_code = op;
    model.operator_codes.push_back(std::move(code));
  }
  auto graph = std::make_unique<tflite::SubGraphT>();
  const auto tensor = [&](std::string name, std::vector<int> shape, unsigned buffer) {
    auto value = std::make_unique<tflite::TensorT>();
    value->name = std::move(name);
    value->shape = std::move(shape);
    value->buffer = buffer;
    graph->tensors.push_back(std::move(value));
  };
  tensor("x", {1, 3}, 0);
  tensor("w", {2, 3}, 1);
  tensor("h", {1, 2}, 0);
  tensor("y", {1, 2}, 0);
  graph->inputs = {0};
  graph->outputs = {3};
  auto dense = std::make_unique<tflite::OperatorT>();
  dense->inputs = {0, 1, -1};
  dense->outputs = {2};
  tflite::FullyConnectedOptionsT options;
  options.keep_num_dims = true;
  dense->builtin_options.Set(std::move(options));
  auto gelu = std::make_unique<tflite::OperatorT>();
  gelu->opcode_index = 1;
  gelu->inputs = {2};
  gelu->outputs = {3};
  gelu->builtin_options.Set(tflite::GeluOptionsT{});
  graph->operators.push_back(std::move(dense));
  graph->operators.push_back(std::move(gelu));
  model.subgraphs.push_back(std::move(graph));
  auto metadata = std::make_unique<tflite::MetadataT>();
  metadata->name = "min_runtime_version";
  metadata->buffer = 2;
  model.metadata.push_back(std::move(metadata));
  return model;
}

const std::vector<float> kWeights = {1, -2, 3, 0.5f, 0.25f, 1e-3f};

std::vector<WeightSource> small_buffers(DType stored = DType::f32) {
  static constexpr std::string_view kVersion("2.9.0\0\0\0\0\0\0\0\0\0\0\0", 16);
  return {{}, {tensor_f32({2, 3}, kWeights), stored}, stored_bytes({as_bytes(kVersion), nullptr})};
}

SharedBytes written(const tflite::ModelT& model, std::span<const WeightSource> buffers,
                    const TfliteWriteOptions& options = {}) {
  std::vector<std::byte> bytes;
  const Status status = write_tflite(model, buffers, sink_to(bytes), options);
  EXPECT_TRUE(status) << status.error().text();
  return share(std::move(bytes));
}

TEST(Tflite, reads_back_what_it_wrote) {
  const auto file = written(small_model(), small_buffers());
  const auto read = read_tflite(file);
  ASSERT_TRUE(read) << read.error().text();
  const tflite::ModelT& model = read->model;
  EXPECT_EQ(model.version, 3u);
  EXPECT_EQ(model.description, "small");
  ASSERT_EQ(model.subgraphs.size(), 1u);
  const tflite::SubGraphT& graph = *model.subgraphs[0];
  EXPECT_THAT(graph.operators[0]->inputs, ElementsAre(0, 1, -1));
  ASSERT_NE(graph.operators[0]->builtin_options.AsFullyConnectedOptions(), nullptr);
  EXPECT_TRUE(graph.operators[0]->builtin_options.AsFullyConnectedOptions()->keep_num_dims);
  ASSERT_EQ(read->buffers.size(), 3u);
  EXPECT_TRUE(read->buffers[0].view.empty());
  EXPECT_EQ(as_text(read->buffers[2].view).substr(0, 5), "2.9.0");
  const auto weights = tflite_constant(*read, *graph.tensors[1]);
  ASSERT_TRUE(weights) << weights.error().text();
  EXPECT_TRUE(identical(*weights, tensor_f32({2, 3}, kWeights)));
}

TEST(Tflite, keeps_quantised_tensors_and_equal_zero_points_once) {
  tflite::ModelT model = small_model();
  const std::size_t plain = written(model, small_buffers()).view.size();
  for (const std::size_t i : {0, 2, 3}) {
    tflite::TensorT& tensor = *model.subgraphs[0]->tensors[i];
    tensor.type = tflite::TensorType::INT8;
    tensor.shape_signature = {-1, 2};
    tensor.has_rank = true;
    tensor.quantization = std::make_unique<tflite::QuantizationParametersT>();
    tensor.quantization->min = {-1};
    tensor.quantization->max = {static_cast<float>(i)};
    tensor.quantization->scale.assign(1000, 0.5F);
    tensor.quantization->zero_point.assign(1000, i == 3 ? 1 : 0);
    tensor.quantization->quantized_dimension = 1;
  }
  tflite::BlockwiseQuantizationT blocks;
  blocks.scales = 1;
  blocks.block_size = 32;
  model.subgraphs[0]->tensors[3]->quantization->details.Set(blocks);
  const SharedBytes file = written(model, small_buffers());
  EXPECT_LT(file.view.size(), plain + 3 * 1000 * sizeof(float) + 2 * 1000 * sizeof(std::int64_t) + 1000);
  const auto read = read_tflite(file);
  ASSERT_TRUE(read) << read.error().text();
  for (std::size_t i = 0; i < 4; ++i) {
    const tflite::TensorT& expected = *model.subgraphs[0]->tensors[i];
    const tflite::TensorT& tensor = *read->model.subgraphs[0]->tensors[i];
    EXPECT_EQ(tensor.name, expected.name);
    EXPECT_EQ(tensor.shape, expected.shape);
    EXPECT_EQ(tensor.shape_signature, expected.shape_signature);
    EXPECT_EQ(tensor.type, expected.type);
    EXPECT_EQ(tensor.buffer, expected.buffer);
    EXPECT_EQ(tensor.has_rank, expected.has_rank);
    ASSERT_EQ(tensor.quantization == nullptr, expected.quantization == nullptr);
    if (tensor.quantization == nullptr) continue;
    EXPECT_EQ(tensor.quantization->max, expected.quantization->max);
    EXPECT_EQ(tensor.quantization->scale, expected.quantization->scale);
    EXPECT_EQ(tensor.quantization->zero_point, expected.quantization->zero_point);
    EXPECT_EQ(tensor.quantization->quantized_dimension, 1);
    EXPECT_EQ(tensor.quantization->details.type, expected.quantization->details.type);
  }
}

TEST(Tflite, old_readers_find_codes_past_127_marked_as_such) {
  const auto file = written(small_model(), small_buffers());
  const auto* model = tflite::GetModel(file.view.data());
  EXPECT_EQ(model->operator_codes()->Get(0)->deprecated_builtin_code(), 9);
  EXPECT_EQ(model->operator_codes()->Get(1)->deprecated_builtin_code(), 127);
  EXPECT_EQ(model->operator_codes()->Get(1)->builtin_code(), tflite::BuiltinOperator::GELU);
}

TEST(Tflite, a_file_without_new_builtin_codes_reads_its_old_ones) {
  flatbuffers::FlatBufferBuilder builder;
  tflite::ModelT old;
  old.version = 3;
  old.operator_codes.push_back(std::make_unique<tflite::OperatorCodeT>());
  old.operator_codes[0]->deprecated_builtin_code = 25;
  builder.Finish(tflite::CreateModel(builder, &old), "TFL3");
  const std::span raw(builder.GetBufferPointer(), builder.GetSize());
  const auto bytes = std::as_bytes(raw);
  const auto read = read_tflite(share({bytes.begin(), bytes.end()}));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->model.operator_codes[0]->builtin_code, tflite::BuiltinOperator::SOFTMAX);
}

TEST(Tflite, data_is_aligned_to_16_bytes_and_shared_with_the_file) {
  const auto file = written(small_model(), small_buffers(DType::f16));
  const auto read = read_tflite(file);
  ASSERT_TRUE(read);
  for (const SharedBytes& buffer : read->buffers) {
    if (buffer.view.empty()) continue;
    EXPECT_EQ((buffer.view.data() - file.view.data()) % 16, 0);
    EXPECT_EQ(buffer.owner, file.owner);
  }
  EXPECT_EQ(read->buffers[1].view.size(), 12u);
}

TEST(Tflite, converts_strided_weights_while_writing) {
  std::vector<float> values(6);
  std::iota(values.begin(), values.end(), 0.0f);
  Tensor transposed = tensor_f32({2, 3}, values);
  transposed.shape = {3, 2};
  transposed.strides = {1, 3};
  auto buffers = small_buffers();
  buffers[1] = {transposed, DType::f64};
  const auto read = read_tflite(written(small_model(), buffers));
  ASSERT_TRUE(read);
  std::vector<double> stored(6);
  ASSERT_EQ(read->buffers[1].view.size(), 48u);
  std::memcpy(stored.data(), read->buffers[1].view.data(), 48);
  EXPECT_THAT(stored, ElementsAre(0, 3, 1, 4, 2, 5));
}

// Any cut into pieces gives the bytes of a conversion in one go.
TEST(Weights, stream_of_a_large_strided_tensor_equals_its_conversion) {
  std::vector<float> values(3 * 500 * 1400);
  std::iota(values.begin(), values.end(), -7.0f);
  Tensor tensor = tensor_f32({500, 3, 1400}, values);
  std::swap(tensor.shape[0], tensor.shape[1]);  // slices of the leading axis are larger than a piece
  std::swap(tensor.strides[0], tensor.strides[1]);
  for (const DType stored : {DType::f32, DType::f16, DType::i64}) {
    std::vector<std::byte> streamed;
    ASSERT_TRUE(stream_elements({tensor, stored}, sink_to(streamed)));
    const Tensor expected = converted(tensor, stored);
    EXPECT_TRUE(std::ranges::equal(streamed, expected.bytes())) << info(stored).name;
  }
  const Tensor plain = tensor_f32({3 * 500 * 1400}, values);
  std::vector<std::byte> streamed;
  ASSERT_TRUE(stream_elements({plain, DType::f16}, sink_to(streamed)));
  EXPECT_TRUE(std::ranges::equal(streamed, converted(plain, DType::f16).bytes()));
}

TEST(Weights, an_error_of_the_sink_ends_the_writing) {
  std::ostringstream stream;
  stream.setstate(std::ios::badbit);
  const Status status = write_tflite(small_model(), small_buffers(), sink_to(stream));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("writing"));
}

TEST(Tflite, places_data_behind_the_flatbuffer_of_a_large_file) {
  const auto file = written(small_model(), small_buffers(), {.external_above = 64});
  const auto* buffer = tflite::GetModel(file.view.data())->buffers()->Get(1);
  EXPECT_EQ(buffer->data(), nullptr);
  EXPECT_EQ(buffer->size(), 24u);
  EXPECT_EQ(buffer->offset() % 16, 0u);
  const auto read = read_tflite(file);
  ASSERT_TRUE(read) << read.error().text();
  const auto weights = tflite_constant(*read, *read->model.subgraphs[0]->tensors[1]);
  ASSERT_TRUE(weights);
  EXPECT_TRUE(identical(*weights, tensor_f32({2, 3}, kWeights)));
}

TEST(Tflite, refuses_to_write_references_to_nothing) {
  auto model = small_model();
  model.subgraphs[0]->operators[1]->inputs = {7};
  std::vector<std::byte> bytes;
  auto status = write_tflite(model, small_buffers(), sink_to(bytes));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("operand 7 does not exist, there are 4 / in subgraph 0"));
  status = write_tflite(small_model(), std::span<const WeightSource>(small_buffers()).first(2), sink_to(bytes));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("min_runtime_version"));
  status = write_tflite(small_model(), std::vector{small_buffers()[1]}, sink_to(bytes));
  ASSERT_FALSE(status);
  EXPECT_TRUE(bytes.empty());
}

TEST(Tflite, rejects_files_that_are_something_else) {
  for (const std::string_view text : {"", "TFL3", "\x1c\0\0\0TFL2", "PK\x03\x04 and so on, a zip file"}) {
    const auto read = read_tflite({as_bytes(text), nullptr});
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().text(), HasSubstr("not a TFLite file"));
  }
}

// Whatever prefix or flipped byte of a file is read: an error or a file, never a read outside the bytes.
TEST(Tflite, survives_truncation_and_flipped_bytes) {
  for (const std::uint64_t external_above : {std::uint64_t{1} << 30, std::uint64_t{64}}) {
    const auto file = written(small_model(), small_buffers(), {.external_above = external_above});
    for (std::size_t size = 0; size < file.view.size(); ++size) {
      const auto part = file.view.first(size);
      const auto read = read_tflite(share({part.begin(), part.end()}));
      (void)read;
    }
    for (std::size_t at = 0; at < file.view.size(); ++at)
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::vector<std::byte> bytes(file.view.begin(), file.view.end());
        bytes[at] ^= static_cast<std::byte>(flip);
        const auto read = read_tflite(share(std::move(bytes)));
        if (!read) continue;
        for (const auto& graph : read->model.subgraphs)
          for (const auto& tensor : graph->tensors)
            if (const auto value = tflite_constant(*read, *tensor)) (void)to_double(*value);
      }
  }
}

TEST(Tflite, rejects_data_outside_the_file) {
  const auto file = written(small_model(), small_buffers(), {.external_above = 64});
  const auto part = file.view.first(file.view.size() - 1);
  const auto read = read_tflite(share({part.begin(), part.end()}));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().text(), HasSubstr("outside the file"));
  EXPECT_THAT(read.error().text(), HasSubstr("in buffer 2"));
}

TEST(Tflite, every_dtype_has_an_element_type) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const auto type = tflite_type(dtype);
    ASSERT_TRUE(type);
    EXPECT_EQ(dtype_from_tflite(*type), dtype);
  }
  EXPECT_FALSE(dtype_from_tflite(tflite::TensorType::STRING));
}

}  // namespace
}  // namespace taper
