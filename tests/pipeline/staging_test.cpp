#include "pipeline/staging.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "pipeline/pending_files.h"
#include "scratch_folder.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

std::size_t entries_of(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Staging, is_beside_the_outputs_and_goes_with_all_that_is_in_it) {
  const testing_support::ScratchFolder scratch;
  {
    const auto staging = StagingFolder::make(scratch.path());
    ASSERT_TRUE(staging);
    EXPECT_EQ((*staging)->path().parent_path(), scratch.path());
    fs::create_directories((*staging)->path() / "a" / "b");
    std::ofstream((*staging)->path() / "a" / "b" / "c") << "x";
  }
  EXPECT_EQ(entries_of(scratch.path()), 0U);
}

TEST(Staging, of_a_live_run_is_left_alone) {
  const testing_support::ScratchFolder scratch;
  const auto first = StagingFolder::make(scratch.path());
  const auto second = StagingFolder::make(scratch.path());
  EXPECT_TRUE(fs::exists((*first)->path()));
  EXPECT_EQ(entries_of(scratch.path()), 2U);
}

TEST(Staging, never_follows_a_link_that_looks_like_one) {
  const testing_support::ScratchFolder scratch;
  const fs::path theirs = scratch.path() / "theirs";
  fs::create_directory(theirs);
  std::ofstream(theirs / "file") << "x";
  fs::create_directory(scratch.path() / "out");
  fs::create_directory_symlink(theirs, scratch.path() / "out" / ".taper-partial-aaaaaa");
  const auto staging = StagingFolder::make(scratch.path() / "out");
  EXPECT_TRUE(fs::exists(theirs / "file"));
}

// In a process of its own, which ends while another thread still writes.
TEST(Staging, is_abandoned_at_once_by_a_program_that_is_stopped) {
  const testing_support::ScratchFolder scratch;
  const fs::path folder = scratch.path();
  EXPECT_EXIT(
      {
        PendingFiles pending = *PendingFiles::in(folder);
        std::thread([&] {
          for (int i = 0;; ++i)
            static_cast<void>(pending.write("a_tf/" + std::to_string(i),
                                            [](const ByteSink& sink) { return sink(as_bytes("content")); }));
        }).detach();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        abandon_staging();
        ::_exit(fs::is_empty(folder) ? 3 : 4);
      },
      testing::ExitedWithCode(3), "");
  EXPECT_EQ(entries_of(folder), 0U);
}

}  // namespace
}  // namespace taper
