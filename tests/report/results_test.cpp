#include "report/results.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "scratch_folder.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

class AtomicWrite : public testing::Test {
 protected:
  static std::string content(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }

  const testing_support::ScratchFolder scratch;
  const fs::path folder = scratch.path();
};

TEST_F(AtomicWrite, replaces_the_file_and_leaves_nothing_else) {
  ASSERT_TRUE(write_file_atomically(folder / "a.json", "old"));
  ASSERT_TRUE(write_file_atomically(folder / "a.json", "new"));
  EXPECT_EQ(content(folder / "a.json"), "new");
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicWrite, makes_a_file_that_the_umask_says_others_may_read) {
  const mode_t mask = umask(022);
  ASSERT_TRUE(write_file_atomically(folder / "a.json", "x"));
  umask(mask);
  struct stat status{};
  ASSERT_EQ(stat((folder / "a.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0644U);
}

TEST_F(AtomicWrite, leaves_nothing_behind_when_the_target_cannot_be_replaced) {
  fs::create_directories(folder / "a.json" / "occupied");
  const Status written = write_file_atomically(folder / "a.json", "x");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("a.json"), std::string::npos);
  EXPECT_EQ(files(), 1U);
}

TEST_F(AtomicWrite, names_the_file_when_the_folder_is_missing) {
  const Status written = write_file_atomically(folder / "none" / "a.json", "x");
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("No such file"), std::string::npos);
}

}  // namespace
}  // namespace taper
