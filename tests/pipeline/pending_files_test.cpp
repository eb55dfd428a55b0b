// Files and folders appear complete or not at all.
#include "pipeline/pending_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "scratch_folder.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Files = std::map<std::string, std::string>;  // relative path -> content

class PendingFilesTest : public testing::Test {
 protected:
  void put(const fs::path& name, std::string_view text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  Files files() const {
    Files found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path());
      found[entry.path().lexically_relative(folder_)] = {std::istreambuf_iterator<char>(in), {}};
    }
    return found;
  }
  static std::function<Status(const ByteSink&)> text(std::string_view content) {
    return [=](const ByteSink& sink) { return sink(as_bytes(content)); };
  }

  const testing_support::ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
};

TEST_F(PendingFilesTest, nothing_has_its_name_before_it_is_published) {
  PendingFiles pending(folder_);
  EXPECT_EQ(*pending.write("a.onnx", text("model")), 5u);
  EXPECT_EQ(*pending.write("a_tf/variables/index", text("i")), 1u);
  EXPECT_EQ(*pending.write("a_tf/model.pb", text("graph")), 5u);
  for (const auto& [name, content] : files()) EXPECT_TRUE(name.starts_with(".")) << name;
  ASSERT_TRUE(pending.publish());
  EXPECT_EQ(files(), (Files{{"a.onnx", "model"}, {"a_tf/model.pb", "graph"}, {"a_tf/variables/index", "i"}}));
}

TEST_F(PendingFilesTest, what_was_there_is_replaced_as_a_whole) {
  put("a.onnx", "old");
  put("a_tf/model.pb", "old");
  put("a_tf/assets/words.txt", "old");
  {
    PendingFiles pending(folder_);
    ASSERT_TRUE(pending.write("a.onnx", text("new")));
    ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
    ASSERT_TRUE(pending.publish());
  }
  EXPECT_EQ(files(), (Files{{"a.onnx", "new"}, {"a_tf/model.pb", "new"}}));
}

TEST_F(PendingFilesTest, what_was_there_stays_when_writing_fails) {
  put("a_tf/model.pb", "old");
  {
    PendingFiles pending(folder_);
    ASSERT_TRUE(pending.write("a_tf/variables/data", text("new")));
    const auto failed = pending.write("a_tf/model.pb", [](const ByteSink& sink) -> Status {
      TAPER_TRY(sink(as_bytes("half a gra")));
      return fail("no space left");
    });
    ASSERT_FALSE(failed);
    EXPECT_THAT(failed.error().text(), HasSubstr("no space left"));
    EXPECT_THAT(failed.error().text(), HasSubstr("model.pb"));
  }
  EXPECT_EQ(files(), (Files{{"a_tf/model.pb", "old"}}));
}

TEST_F(PendingFilesTest, what_a_killed_run_left_is_removed) {
  put(".a_tf.partial/variables/data", "left");
  put(".a.onnx.partial", "left");
  {
    PendingFiles pending(folder_);
    ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
    ASSERT_TRUE(pending.write("a.onnx", text("new")));
    ASSERT_TRUE(pending.publish());
  }
  EXPECT_EQ(files(), (Files{{"a.onnx", "new"}, {"a_tf/model.pb", "new"}}));
}

TEST_F(PendingFilesTest, a_link_to_a_folder_is_replaced_and_its_target_left_alone) {
  put("elsewhere/model.pb", "theirs");
  fs::create_directory_symlink("elsewhere", folder_ / "a_tf");
  PendingFiles pending(folder_);
  ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
  ASSERT_TRUE(pending.publish());
  EXPECT_EQ(files(), (Files{{"a_tf/model.pb", "new"}, {"elsewhere/model.pb", "theirs"}}));
}

TEST_F(PendingFilesTest, refuses_a_folder_in_the_place_of_a_file_before_anything_is_published) {
  put("b.onnx/theirs", "theirs");
  PendingFiles pending(folder_);
  ASSERT_TRUE(pending.write("a.onnx", text("new")));
  const auto file = pending.write("b.onnx", text("new"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text(), HasSubstr("b.onnx' is a folder"));
  EXPECT_FALSE(fs::exists(folder_ / "a.onnx"));
}

TEST_F(PendingFilesTest, says_which_file_can_not_be_made) {
  PendingFiles pending(folder_ / "missing");
  const auto file = pending.write("a.onnx", text("new"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text(), HasSubstr("a.onnx.partial"));
  const auto in_folder = pending.write("a_tf/model.pb", text("new"));
  ASSERT_FALSE(in_folder);
  EXPECT_THAT(in_folder.error().text(), HasSubstr("a_tf.partial"));
}

}  // namespace
}  // namespace taper
