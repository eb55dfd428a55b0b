// Files and folders appear complete or not at all.
#include "pipeline/pending_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

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
  PendingFiles pending_files() const { return *PendingFiles::in(folder_); }
  static std::function<Status(const ByteSink&)> text(std::string_view content) {
    return [=](const ByteSink& sink) { return sink(as_bytes(content)); };
  }

  const testing_support::ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
};

TEST_F(PendingFilesTest, nothing_has_its_name_before_it_is_published) {
  PendingFiles pending = pending_files();
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
    PendingFiles pending = pending_files();
    ASSERT_TRUE(pending.write("a.onnx", text("new")));
    ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
    ASSERT_TRUE(pending.publish());
  }
  EXPECT_EQ(files(), (Files{{"a.onnx", "new"}, {"a_tf/model.pb", "new"}}));
}

TEST_F(PendingFilesTest, what_is_withdrawn_goes_with_the_names_and_not_before) {
  put("results.json", "of others");
  PendingFiles pending = pending_files();
  ASSERT_TRUE(pending.write("a.onnx", text("new")));
  pending.withdraw("results.json");
  pending.withdraw("absent.json");
  EXPECT_TRUE(files().contains("results.json"));
  ASSERT_TRUE(pending.publish());
  EXPECT_EQ(files(), (Files{{"a.onnx", "new"}}));
}

TEST_F(PendingFilesTest, what_was_there_stays_when_writing_fails) {
  put("a_tf/model.pb", "old");
  {
    PendingFiles pending = pending_files();
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

TEST_F(PendingFilesTest, what_a_killed_run_left_is_removed_by_the_next_one) {
  put(".taper-partial-aBcDeF/a_tf/variables/data", "left");
  put(".taper-partial-of-somebody", "a file of that name is nobody's staging folder");
  PendingFiles pending = pending_files();
  EXPECT_FALSE(fs::exists(folder_ / ".taper-partial-aBcDeF"));
  EXPECT_TRUE(fs::exists(folder_ / ".taper-partial-of-somebody"));
}

TEST_F(PendingFilesTest, runs_side_by_side_leave_each_other_alone) {
  PendingFiles first = pending_files();
  ASSERT_TRUE(first.write("a.onnx", text("first")));
  PendingFiles second = pending_files();
  ASSERT_TRUE(second.write("a.onnx", text("second")));
  ASSERT_TRUE(first.publish());
  EXPECT_EQ(files().at("a.onnx"), "first");
  ASSERT_TRUE(second.publish());
  EXPECT_EQ(files().at("a.onnx"), "second");
}

TEST_F(PendingFilesTest, names_that_were_given_are_taken_back_when_a_later_one_can_not_be) {
  put("a.onnx", "old");
  put("a_tf/model.pb", "old");
  {
    PendingFiles pending = pending_files();
    ASSERT_TRUE(pending.write("a.onnx", text("new")));
    ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
    ASSERT_TRUE(pending.write("b.onnx", text("new")));
    ASSERT_TRUE(pending.write("c.onnx", text("new")));
    put("c.onnx/theirs", "made after it was looked at");
    const Status published = pending.publish();
    ASSERT_FALSE(published);
    EXPECT_THAT(published.error().text(), HasSubstr("c.onnx' is a folder"));
  }
  EXPECT_EQ(files(),
            (Files{{"a.onnx", "old"}, {"a_tf/model.pb", "old"}, {"c.onnx/theirs", "made after it was looked at"}}));
}

TEST_F(PendingFilesTest, makes_files_that_the_umask_says_others_may_read) {
  const mode_t mask = umask(022);
  PendingFiles pending = pending_files();
  ASSERT_TRUE(pending.write("a.onnx", text("new")));
  ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
  ASSERT_TRUE(pending.publish());
  umask(mask);
  EXPECT_EQ(fs::status(folder_ / "a.onnx").permissions(), fs::perms{0644});
  EXPECT_EQ(fs::status(folder_ / "a_tf").permissions(), fs::perms{0755});
}

TEST_F(PendingFilesTest, large_and_small_pieces_come_out_in_order) {
  const std::string large(20 << 20, 'L');
  PendingFiles pending = pending_files();
  const auto size = pending.write("a.onnx", [&](const ByteSink& sink) -> Status {
    for (const std::string_view piece : {std::string_view("head"), std::string_view(large), std::string_view("tail")})
      TAPER_TRY(sink(as_bytes(piece)));
    return {};
  });
  EXPECT_EQ(*size, large.size() + 8);
  ASSERT_TRUE(pending.publish());
  EXPECT_EQ(files().at("a.onnx"), "head" + large + "tail");
}

TEST_F(PendingFilesTest, a_link_to_a_folder_is_replaced_and_its_target_left_alone) {
  put("elsewhere/model.pb", "theirs");
  fs::create_directory_symlink("elsewhere", folder_ / "a_tf");
  PendingFiles pending = pending_files();
  ASSERT_TRUE(pending.write("a_tf/model.pb", text("new")));
  ASSERT_TRUE(pending.publish());
  EXPECT_EQ(files(), (Files{{"a_tf/model.pb", "new"}, {"elsewhere/model.pb", "theirs"}}));
}

TEST_F(PendingFilesTest, refuses_a_folder_in_the_place_of_a_file_before_anything_is_published) {
  put("b.onnx/theirs", "theirs");
  PendingFiles pending = pending_files();
  ASSERT_TRUE(pending.write("a.onnx", text("new")));
  const auto file = pending.write("b.onnx", text("new"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text(), HasSubstr("b.onnx' is a folder"));
  EXPECT_FALSE(fs::exists(folder_ / "a.onnx"));
}

TEST_F(PendingFilesTest, says_which_folder_can_not_be_written_to) {
  const auto pending = PendingFiles::in(folder_ / "missing");
  ASSERT_FALSE(pending);
  EXPECT_THAT(pending.error().text(), HasSubstr("missing': No such file"));
}

}  // namespace
}  // namespace taper
