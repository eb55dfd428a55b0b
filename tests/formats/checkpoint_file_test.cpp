#include "formats/checkpoint_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "builders.h"

namespace taper {
namespace {

using testing::HasSubstr;

std::string error_of(const std::string& file) {
  const auto checkpoint = read_checkpoint(shared(file));
  return checkpoint ? "" : checkpoint.error().text();
}

TEST(CheckpointFile, says_what_a_file_looks_like) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "the file is empty"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:", "git-lfs pointer"},
      {"<!DOCTYPE html>\n<html>", "HTML page"},
      {raw("\x89HDF\r\n\x1a\n\x00\x00"), "HDF5"},
      {raw("\x1c\x00\x00\x00TFL3"), "TFLite model"},
      {raw("\x08\x08\x12\x07pytorch"), "ONNX model"},
      {raw("\x93NUMPY\x01\x00"), "NumPy array"},
      {raw("\x89PNG\r\n\x1a\n"), "PNG"},
      {raw("\x1f\x8b\x08\x00"), "gzip"},
      {raw("\x7f"
           "ELF\x02"),
       "program"},
      {"GGUF", "GGUF"},
      {"Dear reader,\nthis is no checkpoint", "text ('Dear reader,')"},
      {std::string(100, '\0'), "only zeros"},
      {raw("\x01\x02\x03\xff\xfe"), "bytes 01 02 03 ff fe"},
      {raw("\x80\x04N."), "not one written by torch.save"},
      {"PK\x03\x04 the rest is missing", "no directory at its end"},
  };
  for (const auto& [file, expected] : cases) EXPECT_THAT(error_of(file), HasSubstr(expected)) << file;
}

TEST(CheckpointFile, a_safetensors_file_is_a_dict_of_tensors) {
  // The header has 384 (0x180) bytes, so that the file starts with 0x80 as a pickle does.
  std::string header = R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                       R"("q":{"dtype":"F4","shape":[1],"data_offsets":[4,4]}})";
  header.resize(384, ' ');
  const auto checkpoint = read_checkpoint(shared(little(header.size(), 8) + header + floats_text({3})));
  ASSERT_TRUE(checkpoint) << checkpoint.error().text();
  EXPECT_EQ(checkpoint->format, "safetensors");
  EXPECT_EQ(to_double(pickle::find(*checkpoint->root, "w")->tensor()->tensor), std::vector<double>{3});
  EXPECT_EQ(pickle::find(*checkpoint->root, "q")->unsupported()->reason, "has dtype F4");
  EXPECT_EQ(checkpoint->metadata.at(0).first, "k");
}

TEST(CheckpointFile, tensors_outlive_everything_else) {
  Tensor tensor;
  {
    const std::string pickled = protocol2(pickled_tensor(pickled_storage("0", 1), 0, {}, {}));
    const auto checkpoint = read_checkpoint(shared(torch_zip(pickled, {stored("archive/data/0", floats_text({4}))})));
    ASSERT_TRUE(checkpoint) << checkpoint.error().text();
    tensor = checkpoint->root->tensor()->tensor;
  }
  EXPECT_EQ(to_double(tensor), std::vector<double>{4});
}

TEST(CheckpointFile, errors_name_the_file) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "taper_checkpoint_file_test";
  std::filesystem::create_directories(folder);
  EXPECT_THAT(read_checkpoint(folder / "missing.pt").error().text(), HasSubstr("missing.pt"));
  EXPECT_THAT(read_checkpoint(folder).error().text(), HasSubstr("is a folder"));
  ::mkfifo((folder / "pipe.pt").c_str(), 0600);
  EXPECT_THAT(read_checkpoint(folder / "pipe.pt").error().text(), HasSubstr("not a regular file"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace taper
