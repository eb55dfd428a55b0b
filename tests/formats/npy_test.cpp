#include "formats/npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "builders.h"

namespace taper {
namespace {

using testing::HasSubstr;

std::string npy_file(const std::string& header, const std::string& data, int version = 1) {
  return raw("\x93NUMPY") + static_cast<char>(version) + '\0' + little(header.size(), version == 1 ? 2 : 4) + header +
         data;
}

std::string header_of(const std::string& descr, const std::string& shape, const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

std::string error_of(const std::string& file) {
  const auto tensor = read_npy(shared(file));
  return tensor ? "" : tensor.error().text();
}

TEST(Npy, reads_both_orders_of_axes_and_bytes) {
  const std::string six = floats_text({1, 2, 3, 4, 5, 6});
  for (const int version : {1, 2, 3}) {
    const auto tensor = read_npy(shared(npy_file(header_of("<f4", "(2, 3)"), six, version)));
    ASSERT_TRUE(tensor) << tensor.error().text();
    EXPECT_EQ(to_double(*tensor), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  }
  const auto fortran = read_npy(shared(npy_file(header_of("<f4", "(2, 3)", "True"), six)));
  EXPECT_EQ(to_double(*fortran), (std::vector<double>{1, 3, 5, 2, 4, 6}));
  const auto big = read_npy(shared(npy_file(header_of(">i2", "(2,)"), raw("\x00\x01\x01\x00"))));
  EXPECT_EQ(to_double(*big), (std::vector<double>{1, 256}));
  const auto scalar = read_npy(shared(npy_file(header_of("|b1", "()"), "\x01")));
  EXPECT_EQ(describe(*scalar), "bool []");
}

TEST(Npy, refuses_other_files) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "not a .npy file"},
      {"\x93NUMPX", "not a .npy file"},
      {npy_file("", "", 4), "version 4.0"},
      {raw("\x93NUMPY\x02\x00\xff\xff\xff\xff"), "header of 4294967295 bytes"},
      {raw("\x93NUMPY\x01\x00\x10\x00{}"), "16 bytes expected"},
      {npy_file("{}", ""), "lacks descr"},
      {npy_file("{'descr': '<f4'}", ""), "lacks descr"},
      {npy_file("{'descr': '<f4', 'descr': '<f4'}", ""), "given twice"},
      {npy_file("{'color': 1}", ""), "'color' is unknown"},
      {npy_file("{'shape': (3, 4}", ""), "where ')' should be"},
      {npy_file("{'shape': (-3,)}", ""), "where a size should be"},
      {npy_file("{'shape': (99999999999999999999,)}", ""), "where a size should be"},
      {npy_file("{'fortran_order': 1}", ""), "where True or False"},
      {npy_file("{'descr': 'x}", ""), "without an end"},
      {npy_file("{} x", ""), "after the dictionary"},
      {npy_file(header_of("|O", "(1,)"), "x"), "Python objects"},
      {npy_file(header_of("<c8", "(1,)"), "x"), "dtype '<c8'"},
      {npy_file(header_of("", "(1,)"), "x"), "dtype ''"},
      {npy_file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", ""), "structured"},
      {npy_file(header_of("<f4", "(2,)"), "1234567"), "needs 2 elements, the file has bytes for 1"},
      {npy_file(header_of("<f4", "(4294967296, 4294967296)"), ""), "2^63"},
  };
  for (const auto& [file, expected] : cases) EXPECT_THAT(error_of(file), HasSubstr(expected)) << file;
}

TEST(Npy, what_is_written_is_read_again) {
  const std::vector<std::int32_t> numbers = {1, -2, 3, 4, 5, 6};
  for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{{6}, {2, 3}, {1, 1, 6}}) {
    const Tensor tensor = tensor_i32(shape, numbers);
    const std::vector<std::byte> file = write_npy(tensor);
    const auto again = read_npy(share(file));
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_TRUE(identical(tensor, *again));
    EXPECT_EQ((file.size() - 24) % 64, 0u);
  }
  const std::vector<float> one = {2.5f};
  const auto half = read_npy(share(write_npy(converted(tensor_f32({}, one), DType::bf16))));
  EXPECT_EQ(describe(*half), "float32 []");
  EXPECT_EQ(to_double(*half)[0], 2.5);
}

TEST(Npz, reads_arrays_by_name) {
  const std::string x = npy_file(header_of("<f4", "(1,)"), floats_text({7}));
  const auto arrays = read_npz(shared(zip_file({compressed("X.npy", x), stored("y.npy", x)})));
  ASSERT_TRUE(arrays) << arrays.error().text();
  ASSERT_EQ(arrays->size(), 2u);
  EXPECT_EQ((*arrays)[0].first, "X");
  EXPECT_EQ(to_double((*arrays)[0].second), std::vector<double>{7});
  EXPECT_THAT(read_npz(shared(zip_file({stored("a.txt", "")}))).error().text(), HasSubstr("'a.txt' is not a .npy"));
  EXPECT_THAT(read_npz(shared(zip_file({stored("a.npy", "")}))).error().text(), HasSubstr("in array 'a.npy'"));
  EXPECT_FALSE(read_npz(shared("PK")));
}

TEST(Npz, reads_what_numpy_wrote) {
  const auto bytes = map_file(TAPER_SOURCE_DIR "/tests/fixtures/expected/gru.npz");
  ASSERT_TRUE(bytes) << bytes.error().text();
  const auto arrays = read_npz(*bytes);
  ASSERT_TRUE(arrays) << arrays.error().text();
  EXPECT_GT(arrays->size(), 2u);
  for (const auto& [name, tensor] : *arrays) EXPECT_EQ(tensor.dtype, DType::f32) << name;
}

}  // namespace
}  // namespace taper
