// Checksums, tensor bundles and the messages of SavedModels.
#include "formats/saved_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "builders.h"
#include "formats/crc32c.h"

namespace taper {
namespace {

using testing::HasSubstr;

// RFC 3720, appendix B.4.
TEST(Crc32c, gives_the_published_values) {
  std::vector<std::byte> bytes(32, std::byte{0});
  EXPECT_EQ(crc32c(bytes), 0x8a9136aau);
  std::ranges::fill(bytes, std::byte{0xff});
  EXPECT_EQ(crc32c(bytes), 0x62a8ab43u);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  EXPECT_EQ(crc32c(bytes), 0x46dd794eu);
  std::ranges::reverse(bytes);
  EXPECT_EQ(crc32c(bytes), 0x113fdb5cu);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c({}), 0u);
}

TEST(Crc32c, continues_at_any_place) {
  std::vector<std::byte> bytes(71);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37);
  const Bytes all = bytes;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut)
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), crc32c(all)) << cut;
}

struct BundleBytes {
  std::vector<std::byte> index;
  std::vector<std::byte> data;
};

Expected<BundleBytes> write(const std::vector<SavedModelVariable>& variables) {
  BundleBytes bytes;
  TAPER_TRY(write_tensor_bundle(variables, sink_to(bytes.data), sink_to(bytes.index)));
  return bytes;
}

Expected<std::map<std::string, Tensor>> read(BundleBytes bytes) {
  return read_tensor_bundle(share(std::move(bytes.index)), share(std::move(bytes.data)));
}

Tensor counting(std::vector<std::int64_t> shape, float first) {
  std::vector<float> values(static_cast<std::size_t>(*checked_element_count(shape)));
  std::iota(values.begin(), values.end(), first);
  return tensor_f32(std::move(shape), values);
}

std::vector<SavedModelVariable> some_variables() {
  Tensor transposed = counting({3, 4}, 100);
  std::ranges::reverse(transposed.shape);
  std::ranges::reverse(transposed.strides);
  return {{"head/weight", stored_as_is(counting({5, 7}, 0))},
          {"a", stored_as_is(transposed)},
          {"head/bias", stored_as_is(tensor_i64({3}, std::array<std::int64_t, 3>{1, -2, 3}))},
          {"empty", stored_as_is(counting({0, 4}, 0))},
          {"scalar", stored_as_is(counting({}, 4))}};
}

TEST(TensorBundle, reads_what_it_writes) {
  const auto variables = some_variables();
  const auto bytes = write(variables);
  ASSERT_TRUE(bytes) << bytes.error().text();
  const auto tensors = read(*bytes);
  ASSERT_TRUE(tensors) << tensors.error().text();
  ASSERT_EQ(tensors->size(), variables.size());
  for (const SavedModelVariable& variable : variables)
    EXPECT_TRUE(identical(tensors->at(variable.name), variable.source.tensor)) << variable.name;
}

TEST(TensorBundle, holds_many_names) {
  std::vector<SavedModelVariable> variables;
  const Tensor value = counting({2}, 1);
  for (int i = 0; i < 20'000; ++i) variables.push_back({fmt::format("layer_{}/weight", i), stored_as_is(value)});
  const auto bytes = write(variables);
  ASSERT_TRUE(bytes) << bytes.error().text();
  const auto tensors = read(*bytes);
  ASSERT_TRUE(tensors) << tensors.error().text();
  EXPECT_EQ(tensors->size(), variables.size());
  EXPECT_TRUE(identical(tensors->at("layer_19999/weight"), value));
}

TEST(TensorBundle, refuses_two_variables_of_one_name) {
  const auto bytes = write({{"w", stored_as_is(counting({2}, 0))}, {"w", stored_as_is(counting({3}, 0))}});
  ASSERT_FALSE(bytes);
  EXPECT_THAT(bytes.error().text(), HasSubstr("two variables are named 'w'"));
}

TEST(TensorBundle, passes_on_what_a_sink_says) {
  const ByteSink full = [](Bytes) -> Status { return fail("the disk is full"); };
  std::vector<std::byte> index;
  const Status status = write_tensor_bundle(some_variables(), full, sink_to(index));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().text(), HasSubstr("the disk is full"));
  EXPECT_TRUE(index.empty());
}

TEST(TensorBundle, finds_every_changed_bit_of_the_data) {
  const auto bytes = write(some_variables());
  ASSERT_TRUE(bytes);
  for (std::size_t i = 0; i < bytes->data.size(); ++i) {
    BundleBytes changed = *bytes;
    changed.data[i] ^= std::byte{1} << (i % 8);
    const auto tensors = read(std::move(changed));
    ASSERT_FALSE(tensors) << i;
    EXPECT_THAT(tensors.error().text(), HasSubstr("checksum"));
  }
}

TEST(TensorBundle, is_not_misled_by_any_changed_byte_of_the_index) {
  const auto variables = some_variables();
  const auto bytes = write(variables);
  ASSERT_TRUE(bytes);
  for (std::size_t i = 0; i < bytes->index.size(); ++i) {
    BundleBytes changed = *bytes;
    changed.index[i] ^= std::byte{0x41};
    // The block of filters, of which there are none, and the padding of the footer are read by nobody; the rest is
    // checked by magic number, checksums or bounds.
    const auto tensors = read(std::move(changed));
    if (!tensors) continue;
    EXPECT_EQ(tensors->size(), variables.size()) << i;
    for (const SavedModelVariable& variable : variables)
      EXPECT_TRUE(identical(tensors->at(variable.name), variable.source.tensor)) << variable.name;
  }
}

TEST(TensorBundle, a_size_that_a_table_only_declares_is_not_allocated) {
  // The footer: the block of filters at 0 with 0 bytes, the block of blocks at 0 with 2^42.
  std::string footer = raw("\0\0\0\x80\x80\x80\x80\x80\x80\x01");
  footer.resize(40, '\0');
  footer += little(0xdb4775248b80fb57, 8);
  BundleBytes bytes;
  for (const char c : footer) bytes.index.push_back(static_cast<std::byte>(c));
  const auto tensors = read(std::move(bytes));
  ASSERT_FALSE(tensors);
  EXPECT_THAT(tensors.error().text(), HasSubstr("a block of 4398046511104 bytes at offset 0 lies outside"));
}

TEST(TensorBundle, refuses_what_is_cut_off) {
  const auto bytes = write(some_variables());
  ASSERT_TRUE(bytes);
  for (std::size_t size = 0; size < bytes->index.size(); ++size) {
    BundleBytes cut = *bytes;
    cut.index.resize(size);
    ASSERT_FALSE(read(std::move(cut))) << size;
  }
  BundleBytes cut = *bytes;
  cut.data.pop_back();
  const auto tensors = read(std::move(cut));
  ASSERT_FALSE(tensors);
  EXPECT_THAT(tensors.error().text(), HasSubstr("of a file of"));
}

TEST(SavedModel, is_written_the_same_each_time_and_read_back) {
  tensorflow::SavedModel model;
  auto& attrs = *model.add_meta_graphs()->mutable_graph_def()->add_node()->mutable_attr();
  for (int i = 0; i < 50; ++i) attrs[fmt::format("attribute_{}", i * 7919 % 50)].set_i(i);
  std::vector<std::byte> first, second;
  ASSERT_TRUE(write_saved_model(model, sink_to(first)));
  const auto read = read_saved_model(first);
  ASSERT_TRUE(read) << read.error().text();
  ASSERT_TRUE(write_saved_model(*read, sink_to(second)));
  EXPECT_EQ(first, second);
}

TEST(SavedModel, refuses_other_files) {
  const auto text = read_saved_model(as_bytes("this is no protobuf message"));
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().text(), HasSubstr("not a SavedModel"));
  const auto empty = read_saved_model({});
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().text(), HasSubstr("0 graphs"));
}

TEST(TensorflowTensor, reads_content_and_single_numbers) {
  tensorflow::TensorProto message;
  message.set_dtype(tensorflow::DT_FLOAT);
  message.mutable_tensor_shape()->add_dim()->set_size(3);
  message.add_float_val(2.5f);
  const auto splat = tensorflow_tensor(message);
  ASSERT_TRUE(splat) << splat.error().text();
  EXPECT_EQ(to_double(*splat), (std::vector{2.5, 2.5, 2.5}));
  message.clear_float_val();
  message.set_tensor_content(std::string(12, '\0'));
  const auto zeros = tensorflow_tensor(message);
  ASSERT_TRUE(zeros) << zeros.error().text();
  EXPECT_EQ(to_double(*zeros), (std::vector{0.0, 0.0, 0.0}));
}

TEST(TensorflowTensor, refuses_contents_of_another_size) {
  tensorflow::TensorProto message;
  message.set_dtype(tensorflow::DT_FLOAT);
  message.mutable_tensor_shape()->add_dim()->set_size(3);
  EXPECT_FALSE(tensorflow_tensor(message));
  message.set_tensor_content("12345678");
  EXPECT_FALSE(tensorflow_tensor(message));
  message.mutable_tensor_shape()->mutable_dim(0)->set_size(std::int64_t{1} << 62);
  EXPECT_FALSE(tensorflow_tensor(message));
  message.mutable_tensor_shape()->mutable_dim(0)->set_size(-2);
  EXPECT_FALSE(tensorflow_tensor(message));
  message.set_dtype(tensorflow::DT_STRING);
  EXPECT_FALSE(tensorflow_tensor(message));
}

TEST(TensorflowTypes, match_both_ways) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(dtype_from_tensorflow(tensorflow_type(dtype)), dtype) << info(dtype).name;
  }
  EXPECT_EQ(dtype_from_tensorflow(tensorflow::DT_RESOURCE), std::nullopt);
}

}  // namespace
}  // namespace taper
