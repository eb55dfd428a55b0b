#include "formats/onnx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace taper {
namespace {

using ::testing::HasSubstr;

void declare(onnx::ValueInfoProto& value, const std::string& name, const std::vector<std::string>& dims) {
  value.set_name(name);
  auto* tensor = value.mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(onnx::TensorProto::FLOAT);
  for (const std::string& dim : dims) {
    auto* target = tensor->mutable_shape()->add_dim();
    if (std::isdigit(dim[0]))
      target->set_dim_value(std::stoll(dim));
    else
      target->set_dim_param(dim);
  }
}

// x [batch, 64] -> MatMul with w [64, 32] -> Reshape to `shape` -> y [batch, 4, 8].
onnx::ModelProto small_model() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  auto* graph = model.mutable_graph();
  graph->set_name("small");
  declare(*graph->add_input(), "x", {"batch", "64"});
  declare(*graph->add_output(), "y", {"batch", "4", "8"});
  auto* product = graph->add_node();
  product->set_op_type("MatMul");
  product->add_input("x");
  product->add_input("w");
  product->add_output("h");
  auto* reshape = graph->add_node();
  reshape->set_op_type("Reshape");
  reshape->add_input("h");
  reshape->add_input("shape");
  reshape->add_output("y");
  return model;
}

Tensor weight(std::int64_t rows = 64) {
  std::vector<float> values(static_cast<std::size_t>(rows * 32));
  std::iota(values.begin(), values.end(), -100.0f);
  return tensor_f32({rows, 32}, values);
}

std::vector<OnnxWeight> small_weights() {
  return {{"w", stored_as_is(weight())}, {"shape", stored_as_is(tensor_i64({3}, std::vector<std::int64_t>{0, 4, 8}))}};
}

std::vector<std::byte> written(const onnx::ModelProto& model, std::span<const OnnxWeight> weights,
                               const OnnxExternalData* external = nullptr) {
  std::vector<std::byte> bytes;
  const Status status = write_onnx(model, weights, sink_to(bytes), external);
  EXPECT_TRUE(status) << status.error().text();
  return bytes;
}

TEST(Onnx, reads_back_what_it_streamed) {
  const auto read = read_onnx(written(small_model(), small_weights()));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(read->ir_version(), 8);
  EXPECT_EQ(read->graph().node_size(), 2);
  ASSERT_EQ(read->graph().initializer_size(), 2);
  const auto w = onnx_tensor(read->graph().initializer(0));
  ASSERT_TRUE(w) << w.error().text();
  EXPECT_TRUE(identical(*w, weight()));
  const auto shape = onnx_tensor(read->graph().initializer(1));
  ASSERT_TRUE(shape);
  EXPECT_TRUE(identical(*shape, tensor_i64({3}, std::vector<std::int64_t>{0, 4, 8})));
}

// The stream is the message that protobuf itself would write.
TEST(Onnx, streamed_weights_equal_a_message_with_raw_data) {
  onnx::ModelProto whole = small_model();
  for (const OnnxWeight& source : small_weights()) {
    auto* tensor = whole.mutable_graph()->add_initializer();
    tensor->set_name(source.name);
    tensor->set_data_type(onnx_type(source.source.dtype));
    for (const auto size : source.source.tensor.shape) tensor->add_dims(size);
    tensor->set_raw_data(std::string(as_text(source.source.tensor.bytes())));
  }
  const auto read = read_onnx(written(small_model(), small_weights()));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->SerializeAsString(), whole.SerializeAsString());
}

TEST(Onnx, libonnx_accepts_a_sound_model) {
  auto status = check_onnx(small_model(), small_weights());
  EXPECT_TRUE(status) << status.error().text();
  const auto read = read_onnx(written(small_model(), small_weights()));
  ASSERT_TRUE(read);
  status = check_onnx(*read);
  EXPECT_TRUE(status) << status.error().text();
}

TEST(Onnx, libonnx_rejects_a_missing_weight_and_a_wrong_shape) {
  auto weights = small_weights();
  auto status = check_onnx(small_model(), std::span(weights).first(1));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("shape"));

  weights[0].source = stored_as_is(weight(63));
  status = check_onnx(small_model(), weights);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("Incompatible dimensions"));

  onnx::ModelProto wrong_output = small_model();
  wrong_output.mutable_graph()
      ->mutable_output(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(2)
      ->set_dim_value(9);
  EXPECT_FALSE(check_onnx(wrong_output, small_weights()));

  onnx::ModelProto unknown = small_model();
  unknown.mutable_graph()->mutable_node(0)->set_op_type("MatMull");
  status = check_onnx(unknown, small_weights());
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("MatMull"));
}

TEST(Onnx, large_weights_go_to_an_external_file) {
  std::vector<std::byte> data;
  const OnnxExternalData external{"small.onnx.data", sink_to(data)};
  const std::vector<OnnxWeight> weights = {
      {"v", stored_as_is(weight())}, {"w", {weight(), DType::f16}}, small_weights()[1]};
  const auto bytes = written(small_model(), weights, &external);
  EXPECT_LT(bytes.size(), 1024u);
  EXPECT_EQ(data.size(), 64u * 32 * 4 + 64 * 32 * 2);  // the first is two pages long: no padding
  const auto read = read_onnx(bytes);
  ASSERT_TRUE(read);
  const auto& w = read->graph().initializer(1);
  EXPECT_EQ(w.data_location(), onnx::TensorProto::EXTERNAL);
  EXPECT_EQ(w.external_data(0).value(), "small.onnx.data");
  EXPECT_EQ(w.external_data(1).value(), "8192");
  EXPECT_EQ(w.external_data(2).value(), "4096");
  EXPECT_FALSE(onnx_tensor(w));
  EXPECT_TRUE(onnx_tensor(read->graph().initializer(2)));
  const Tensor half = converted(weight(), DType::f16);
  EXPECT_TRUE(std::ranges::equal(std::span(data).subspan(8192), half.bytes()));
}

TEST(Onnx, knows_when_a_model_is_too_large_for_one_file) {
  EXPECT_FALSE(needs_external_data(small_model(), small_weights()));
  Tensor huge = weight();
  huge.shape = {1 << 20, 1 << 10};  // never read
  const std::vector<OnnxWeight> weights = {{"huge", stored_as_is(huge)}};
  EXPECT_TRUE(needs_external_data(small_model(), weights));
  std::vector<std::byte> bytes;
  EXPECT_FALSE(write_onnx(small_model(), weights, sink_to(bytes)));
  EXPECT_TRUE(bytes.empty());
}

TEST(Onnx, reads_values_of_typed_fields) {
  onnx::TensorProto half;
  half.set_data_type(onnx::TensorProto::FLOAT16);
  half.add_dims(2);
  half.add_int32_data(0x3c00);
  half.add_int32_data(0xc000);
  const auto value = onnx_tensor(half);
  ASSERT_TRUE(value) << value.error().text();
  EXPECT_EQ(value->dtype, DType::f16);
  EXPECT_EQ(to_double(*value), (std::vector<double>{1, -2}));
  half.add_int32_data(0);
  EXPECT_FALSE(onnx_tensor(half));
}

TEST(Onnx, rejects_bytes_that_are_something_else) {
  for (const std::string_view text : {"", "\x08\x08", "PK\x03\x04 a zip", "\xff\xff\xff\xff"}) {
    const auto read = read_onnx(as_bytes(text));
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().text(), HasSubstr("not an ONNX file"));
  }
}

TEST(Onnx, every_dtype_has_an_element_type) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_onnx(onnx_type(dtype)), dtype);
  }
}

}  // namespace
}  // namespace taper
