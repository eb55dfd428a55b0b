#include "cli/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

namespace taper {
namespace {

// Runs `act` in a process of its own that has given up its rights, and returns the exit status: what `act` returns, or
// 77 where the kernel knows no sandbox.
template <class Act>
int without_rights(Act act) {
  const pid_t child = fork();
  if (child == 0) {
    if (!give_up_rights()) ::_exit(77);
    ::_exit(act());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int refusal_of(long result) {
  return result < 0 ? errno : 0;
}

class Sandbox : public testing::Test {
 protected:
  void SetUp() override {
    if (without_rights([] { return 0; }) == 77) GTEST_SKIP() << "the kernel allows no sandbox here";
  }
};

TEST_F(Sandbox, makes_no_sockets) {
  EXPECT_EQ(without_rights([] { return refusal_of(::socket(AF_INET, SOCK_STREAM, 0)); }), EPERM);
  EXPECT_EQ(without_rights([] { return refusal_of(::socket(AF_UNIX, SOCK_STREAM, 0)); }), EPERM);
}

TEST_F(Sandbox, starts_no_processes_and_no_programs) {
  EXPECT_EQ(without_rights([] { return refusal_of(fork()); }), EPERM);
  EXPECT_EQ(without_rights([] { return refusal_of(::execl("/bin/true", "true", nullptr)); }), EPERM);
  EXPECT_NE(without_rights([] { return std::system("true") == 0 ? 0 : 1; }), 0);  // NOLINT(concurrency-mt-unsafe)
  EXPECT_EQ(without_rights([] {
              char program[] = "/bin/true";
              char* arguments[] = {program, nullptr};
              pid_t pid = 0;
              return posix_spawn(&pid, program, nullptr, nullptr, arguments, environ);
            }),
            EPERM);
}

TEST_F(Sandbox, still_has_threads_and_files) {
  EXPECT_EQ(without_rights([] {
              int answer = 0;
              std::thread([&] { answer = 42; }).join();
              return answer;
            }),
            42);
  EXPECT_EQ(without_rights([] { return refusal_of(::open("/dev/null", O_WRONLY | O_CLOEXEC)); }), 0);
}

TEST_F(Sandbox, holds_for_threads_that_there_were_before) {
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<bool> given_up = false;
    std::atomic<int> result = -1;
    std::thread before([&] {
      while (!given_up) std::this_thread::yield();
      result = refusal_of(::socket(AF_INET, SOCK_STREAM, 0));
    });
    if (!give_up_rights()) ::_exit(77);
    given_up = true;
    before.join();
    ::_exit(result);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), EPERM);
}

}  // namespace
}  // namespace taper
