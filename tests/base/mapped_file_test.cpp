// Files that are refused, and files that change while they are mapped.
#include "base/mapped_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <numeric>

#include "scratch_folder.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class MapFile : public testing::Test {
 protected:
  static std::string refusal(const fs::path& path) {
    const auto mapped = map_file(path);
    return mapped ? "" : mapped.error().text() + " " + mapped.error().hint;
  }
  static std::string change(const SharedBytes& mapped) {
    const Status unchanged = check_unchanged(mapped);
    return unchanged ? "" : unchanged.error().text();
  }

  const testing_support::ScratchFolder scratch_;
};

TEST_F(MapFile, gives_the_bytes_of_a_file) {
  const auto mapped = map_file(scratch_.file("a", "content"));
  ASSERT_TRUE(mapped);
  EXPECT_EQ(as_text(mapped->view), "content");
  EXPECT_EQ(change(*mapped), "");
  EXPECT_TRUE(map_file(scratch_.file("empty", ""))->view.empty());
}

TEST_F(MapFile, refuses_what_is_no_regular_file_without_opening_it) {
  const fs::path fifo = scratch_.path() / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THAT(refusal(fifo), HasSubstr("fifo' is not a regular file"));
  const fs::path socket_path = scratch_.path() / "socket";
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  socket_path.native().copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(refusal(socket_path), HasSubstr("is not a regular file"));
  ::close(socket);
  EXPECT_THAT(refusal("/dev/zero"), HasSubstr("is not a regular file"));
  EXPECT_THAT(refusal(scratch_.path()), AllOf(HasSubstr("is a folder"), HasSubstr("name a file in it")));
  EXPECT_THAT(refusal(scratch_.path() / "none"), HasSubstr("No such file"));
}

TEST_F(MapFile, refuses_a_symbolic_link_and_names_its_target) {
  const fs::path target = scratch_.file("target.pt");
  fs::create_symlink("target.pt", scratch_.path() / "link.pt");
  EXPECT_THAT(refusal(scratch_.path() / "link.pt"), HasSubstr("link.pt' is a symbolic link"));
  EXPECT_THAT(refusal(scratch_.path() / "link.pt"), HasSubstr(fs::canonical(target).native()));
  fs::create_symlink("nowhere", scratch_.path() / "broken.pt");
  EXPECT_THAT(refusal(scratch_.path() / "broken.pt"), HasSubstr("leads nowhere"));
}

TEST_F(MapFile, sees_that_the_file_was_written_to) {
  const fs::path path = scratch_.file("a", "content");
  const auto mapped = map_file(path);
  timespec times[2] = {{0, UTIME_OMIT}, {1, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_THAT(change(*mapped), HasSubstr("it was written to"));
}

TEST_F(MapFile, a_file_of_the_same_name_is_another_file) {
  const fs::path path = scratch_.file("a", "content");
  const auto mapped = map_file(path);
  fs::rename(scratch_.file("b", "other"), path);
  EXPECT_EQ(change(*mapped), "");
  EXPECT_EQ(as_text(mapped->view), "content");
}

TEST_F(MapFile, survives_that_the_file_is_cut_off_while_it_is_read) {
  survive_cut_files();
  const fs::path path = scratch_.file("a", std::string(1 << 20, '\1'));
  const auto mapped = map_file(path);
  ASSERT_TRUE(mapped);
  ASSERT_EQ(truncate(path.c_str(), 5000), 0);
  const auto sum = [&] {
    return std::accumulate(mapped->view.begin(), mapped->view.end(), 0,
                           [](int total, std::byte value) { return total + static_cast<int>(value); });
  };
  EXPECT_EQ(sum(), 5000);  // what is gone reads as zeros
  EXPECT_EQ(sum(), 5000);
  EXPECT_THAT(change(*mapped), HasSubstr("it had 1048576 bytes, now 5000"));
  EXPECT_THAT(change(mapped->sub(4096, 8)), HasSubstr("changed"));
  // Grown again to its old length: what was read was wrong all the same.
  ASSERT_EQ(truncate(path.c_str(), 1 << 20), 0);
  EXPECT_THAT(change(*mapped), HasSubstr("changed"));
}

TEST_F(MapFile, a_change_explains_the_errors_that_it_causes) {
  const fs::path path = scratch_.file("a", "content");
  const auto mapped = map_file(path);
  const Expected<int> broken = fail("an odd byte");
  EXPECT_EQ(unless_changed(*mapped, broken).error().text(), "an odd byte");
  ASSERT_EQ(truncate(path.c_str(), 1), 0);
  EXPECT_THAT(unless_changed(*mapped, broken).error().text(), HasSubstr("the file changed"));
  EXPECT_FALSE(unless_changed(*mapped, Expected<int>(1)));
}

TEST_F(MapFile, a_bus_error_of_another_cause_still_ends_the_program) {
  EXPECT_DEATH(
      {
        survive_cut_files();
        raise(SIGBUS);
        raise(SIGBUS);
      },
      "");
}

}  // namespace
}  // namespace taper
