// Real files of an example: what is written, and what stays as it was when that fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include "formats/saved_model.h"
#include "scratch_folder.h"
#include "taper/taper.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class Convert : public testing::Test {
 protected:
  static const Model& gru() {
    static const Model model = [] {
      auto loaded = load(TAPER_SOURCE_DIR "/examples/GRU.pt");
      EXPECT_TRUE(loaded) << loaded.error().text();
      return std::move(*loaded);
    }();
    return model;
  }
  Expected<std::vector<Artifact>> savedmodel(bool static_shapes = false) const {
    return convert(gru(), folder_, "net", {.static_shapes = static_shapes, .tflite = {}, .onnx = false});
  }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.insert(entry.path().filename());
    return found;
  }

  const testing_support::ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
};

TEST_F(Convert, writes_a_savedmodel_of_three_files) {
  const auto artifacts = savedmodel();
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  ASSERT_EQ(artifacts->size(), 1u);
  const Artifact& artifact = artifacts->front();
  EXPECT_EQ(artifact.key, "tensorflow");
  EXPECT_EQ(artifact.path, folder_ / "net_tf");
  std::uint64_t bytes = 0;
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(artifact.path))
    if (entry.is_regular_file()) {
      bytes += entry.file_size();
      files.push_back(entry.path().lexically_relative(artifact.path));
    }
  EXPECT_THAT(files, UnorderedElementsAre(kSavedModelFile, kBundleIndexFile, kBundleDataFile));
  EXPECT_EQ(artifact.bytes, bytes);
  EXPECT_THAT(names(), ElementsAre("net_tf"));
  const auto content = read_saved_model_folder(artifact.path);
  ASSERT_TRUE(content) << content.error().text();
  EXPECT_TRUE(content->variables.contains("gru1/weight_ih_l0"));
}

TEST_F(Convert, writes_all_formats_by_default) {
  const auto artifacts = convert(gru(), folder_, "net");
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  EXPECT_THAT(names(), ElementsAre("net.onnx", "net_fp16.tflite", "net_fp32.tflite", "net_tf"));
}

TEST_F(Convert, writes_the_same_bytes_again) {
  const auto content = [&] {
    EXPECT_TRUE(savedmodel());
    std::string all;
    for (const std::string_view name : {kSavedModelFile, kBundleIndexFile, kBundleDataFile}) {
      std::ifstream in(folder_ / "net_tf" / name);
      all.append(std::istreambuf_iterator<char>(in), {});
    }
    return all;
  };
  const std::string first = content();
  EXPECT_EQ(first, content());
}

TEST_F(Convert, replaces_an_older_savedmodel_and_an_empty_folder) {
  fs::create_directory(folder_ / "net_tf");
  ASSERT_TRUE(savedmodel(true));
  std::ofstream(folder_ / "net_tf" / "extra") << "old";
  ASSERT_TRUE(savedmodel());
  EXPECT_FALSE(fs::exists(folder_ / "net_tf" / "extra"));
  EXPECT_THAT(names(), ElementsAre("net_tf"));
}

TEST_F(Convert, leaves_alone_what_is_no_savedmodel) {
  fs::create_directory(folder_ / "net_tf");
  std::ofstream(folder_ / "net_tf" / "thesis.txt") << "irreplaceable";
  const auto in_folder = convert(gru(), folder_, "net");
  ASSERT_FALSE(in_folder);
  EXPECT_THAT(in_folder.error().text(), HasSubstr("net_tf' exists and holds no SavedModel"));
  EXPECT_THAT(in_folder.error().hint, HasSubstr("move it away"));
  EXPECT_TRUE(fs::exists(folder_ / "net_tf" / "thesis.txt"));
  EXPECT_THAT(names(), ElementsAre("net_tf"));

  fs::remove_all(folder_ / "net_tf");
  std::ofstream(folder_ / "net_tf") << "a file";
  const auto file = savedmodel();
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text(), HasSubstr("is not a folder"));
  EXPECT_THAT(names(), ElementsAre("net_tf"));
}

TEST_F(Convert, refuses_paths_that_tensorflow_takes_for_patterns) {
  const auto artifacts = convert(gru(), folder_, "[net]");
  ASSERT_FALSE(artifacts);
  EXPECT_THAT(artifacts.error().text(), HasSubstr("takes brackets for a pattern"));
  EXPECT_THAT(names(), ElementsAre());
  EXPECT_TRUE(convert(gru(), folder_, "[net]", {.savedmodel = false}));
}

// A limit on the size of files stands for a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST_F(Convert, keeps_the_old_savedmodel_when_the_disk_is_full) {
  ASSERT_TRUE(savedmodel());
  const auto before = fs::last_write_time(folder_ / "net_tf" / kBundleDataFile);
  {
    const FileSizeLimit limit(100'000);
    const auto full = savedmodel(true);
    ASSERT_FALSE(full);
    EXPECT_THAT(full.error().text(), HasSubstr("variables.data-00000-of-00001"));
    EXPECT_THAT(full.error().text(), HasSubstr("File too large"));
  }
  EXPECT_THAT(names(), ElementsAre("net_tf"));
  EXPECT_EQ(fs::last_write_time(folder_ / "net_tf" / kBundleDataFile), before);
  EXPECT_TRUE(read_saved_model_folder(folder_ / "net_tf"));
}

TEST_F(Convert, verifies_a_savedmodel_without_tensorflow) {
  const auto artifacts = savedmodel();
  ASSERT_TRUE(artifacts);
  const char* old = std::getenv("TAPER_TENSORFLOW");
  const std::string kept = old == nullptr ? "" : old;
  ::setenv("TAPER_TENSORFLOW", "/nowhere/libtensorflow_cc.so.2", 1);
  const auto verified = verify(gru(), *artifacts);
  if (old == nullptr)
    ::unsetenv("TAPER_TENSORFLOW");
  else
    ::setenv("TAPER_TENSORFLOW", kept.c_str(), 1);
  ASSERT_TRUE(verified) << verified.error().text();
  ASSERT_EQ(verified->size(), 1u);
  EXPECT_EQ(verified->front().runtime, "taper reference evaluation");
  EXPECT_TRUE(verified->front().passed) << verified->front().verdict;
  EXPECT_EQ(verified->front().runs.size(), 2u);
  EXPECT_THAT(verified->front().note, HasSubstr("can't be loaded"));
}

}  // namespace
}  // namespace taper
