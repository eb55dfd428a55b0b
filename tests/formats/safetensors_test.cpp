#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builders.h"

namespace taper {
namespace {

using testing::HasSubstr;

std::string file_of(const std::string& header, const std::string& data) {
  return little(header.size(), 8) + header + data;
}

std::string error_of(const std::string& header, const std::string& data = "") {
  const auto file = read_safetensors(shared(file_of(header, data)));
  return file ? "" : file.error().text();
}

const std::string kTwo = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},)"
                         R"("a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}}   )";
const std::string kTwoData = raw("\x00\x3c\x00\x40") + floats_text({1.5f, 2.5f});

TEST(Safetensors, reads_tensors_in_the_order_of_the_header) {
  const auto file = read_safetensors(shared(file_of(kTwo, kTwoData)));
  ASSERT_TRUE(file) << file.error().text();
  ASSERT_EQ(file->tensors.size(), 2u);
  EXPECT_EQ(file->tensors[0].first, "b");
  EXPECT_EQ(to_double(file->tensors[0].second), (std::vector<double>{1.5, 2.5}));
  EXPECT_EQ(to_double(file->tensors[1].second), (std::vector<double>{1, 2}));
  EXPECT_EQ(describe(file->tensors[1].second), "float16 [1, 2]");
  EXPECT_EQ(file->metadata.at(0).second, "pt");
}

TEST(Safetensors, reads_every_dtype) {
  const std::pair<const char*, DType> cases[] = {
      {"F64", DType::f64}, {"F32", DType::f32}, {"F16", DType::f16},     {"BF16", DType::bf16}, {"I64", DType::i64},
      {"I32", DType::i32}, {"I16", DType::i16}, {"I8", DType::i8},       {"U8", DType::u8},     {"U16", DType::u16},
      {"U32", DType::u32}, {"U64", DType::u64}, {"BOOL", DType::boolean}};
  for (const auto& [name, dtype] : cases) {
    const std::size_t size = size_of(dtype);
    const auto file = read_safetensors(
        shared(file_of(fmt::format(R"({{"x":{{"dtype":"{}","shape":[],"data_offsets":[0,{}]}}}})", name, size),
                       std::string(size, '\0'))));
    ASSERT_TRUE(file) << file.error().text();
    EXPECT_EQ(file->tensors.at(0).second.dtype, dtype);
  }
}

TEST(Safetensors, records_dtypes_that_it_does_not_read) {
  const auto file =
      read_safetensors(shared(file_of(R"({"x":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", "x")));
  ASSERT_TRUE(file) << file.error().text();
  EXPECT_EQ(file->unsupported.at(0).second, "has dtype F8_E4M3");
}

TEST(Safetensors, refuses_whatever_stands_behind_a_nul) {
  EXPECT_THAT(error_of(raw("{}\0")), HasSubstr("NUL"));
  EXPECT_THAT(error_of(raw("{}\0{\"x\":1}")), HasSubstr("NUL"));
}

TEST(Safetensors, reads_a_file_without_tensors) {
  EXPECT_EQ(error_of("{}"), "");
}

TEST(Safetensors, refuses_wrong_headers) {
  const auto with = [](const std::string& fields) { return "{\"x\":{" + fields + "}}"; };
  const std::pair<std::string, std::string> cases[] = {
      {"", "does not start with"},
      {"[]", "does not start with"},
      {"{", "not valid JSON"},
      {"{}x", "not valid JSON"},
      {"{\"x\":1}", "a number where none belongs"},
      {"{\"x\":[]}", "an array where none belongs"},
      {"{\"x\":\"y\"}", "a text where none belongs"},
      {"{\"x\":null}", "null"},
      {"{\"x\":true}", "truth value"},
      {"{\"__metadata__\":{\"a\":1}}", "a number where none belongs"},
      {"{\"__metadata__\":{\"a\":{}}}", "an object where none belongs"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", "given twice"},
      {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "names 'a' twice"},
      {with(""), "lacks its dtype"},
      {with(R"("dtype":"U8","shape":[0])"), "lacks its dtype"},
      {with(R"("dtype":"U8","data_offsets":[0,0])"), "lacks its dtype"},
      {with(R"("dtype":"U8","shape":[0],"data_offsets":[0])"), "lacks its dtype"},
      {with(R"("dtype":"U8","dtype":"U8")"), "gives 'dtype' twice"},
      {with(R"("shape":[],"shape":[])"), "gives 'shape' twice"},
      {with(R"("data_offsets":[0,0],"data_offsets":[0,0])"), "gives 'data_offsets' twice"},
      {with(R"("color":"red")"), "unknown field 'color'"},
      {with(R"("dtype":["U8"])"), "an array where none belongs"},
      {with(R"("shape":[[1]])"), "an array where none belongs"},
      {with(R"("shape":[-1])"), "a size of -1"},
      {with(R"("shape":[1.5])"), "a fraction"},
      {with(R"("shape":["1"])"), "a text where none belongs"},
      {with(R"("shape":[18446744073709551615])"), "a size of 18446744073709551615"},
      {with(R"("shape":[{}])"), "an object where none belongs"},
      {with(R"("dtype":"U8","shape":[0],"data_offsets":[1,1])"), "expected to start at 0"},
      {with(R"("dtype":"U8","shape":[0],"data_offsets":[0,18446744073709551615])"), "the file has 0"},
      {with(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"), "2^63"},
      {with(R"("dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0])"), "takes"},
      {with(R"("dtype":"U8","shape":[1],"data_offsets":[0,0])"), "the header gives 0"},
  };
  for (const auto& [header, expected] : cases) EXPECT_THAT(error_of(header), HasSubstr(expected)) << header;
  EXPECT_THAT(
      error_of(
          R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          "ab"),
      HasSubstr("names 'x' twice"));
  EXPECT_THAT(
      error_of(
          R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
          "abc"),
      HasSubstr("expected to start at 2"));
}

TEST(Safetensors, refuses_data_that_do_not_fill_the_file) {
  EXPECT_THAT(error_of(kTwo, kTwoData + "x"), HasSubstr("the file has 13"));
  EXPECT_THAT(error_of(kTwo, kTwoData.substr(1)), HasSubstr("the file has 11"));
}

TEST(Safetensors, refuses_headers_longer_than_the_file_or_the_limit) {
  EXPECT_THAT(read_safetensors(shared(little(3, 8) + "{}")).error().text(), HasSubstr("in the header"));
  EXPECT_THAT(read_safetensors(shared(little(100'000'001, 8) + "{}")).error().text(), HasSubstr("at most 100000000"));
  EXPECT_FALSE(read_safetensors(shared("abc")));
}

}  // namespace
}  // namespace taper
