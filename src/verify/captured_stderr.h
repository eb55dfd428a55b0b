// Keeps what a foreign runtime prints off the terminal.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <mutex>
#include <string>

namespace taper {

// While one exists, what is written to standard error goes to memory and, at its end, to `log`: the runtime and its
// delegates write their lines there, and not all of them have a switch. One at a time in a process; lines that other
// threads write meanwhile are caught too.
class CapturedStderr {
 public:
  explicit CapturedStderr(std::string& log) : lock_(mutex()), log_(log) {
    std::fflush(stderr);
    memory_ = ::memfd_create("runtime-log", MFD_CLOEXEC);
    if (memory_ >= 0) saved_ = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (saved_ >= 0) ::dup2(memory_, STDERR_FILENO);
  }
  ~CapturedStderr() {
    if (saved_ >= 0) {
      std::fflush(stderr);
      ::dup2(saved_, STDERR_FILENO);
      ::close(saved_);
      append_captured();
    }
    if (memory_ >= 0) ::close(memory_);
  }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  // The first 64 KiB: what comes first is the cause.
  void append_captured() {
    std::array<char, 1 << 16> text;
    const ssize_t size = ::pread(memory_, text.data(), text.size(), 0);
    if (size > 0) log_.append(text.data(), static_cast<std::size_t>(size));
  }

  std::unique_lock<std::mutex> lock_;
  std::string& log_;
  int memory_ = -1;
  int saved_ = -1;
};

}  // namespace taper
