#include "cli/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "base/mapped_file.h"
#include "cli/interrupt.h"
#include "pipeline/staging.h"

namespace taper {
namespace {

// `problem` gets the system's number of the first error.
Stream stream_of(std::FILE* file, int* problem = nullptr) {
  return {[file, problem](std::string_view text) {
            errno = 0;
            const bool written =
                std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
            if (!written && problem != nullptr && *problem == 0) *problem = errno == 0 ? EIO : errno;
          },
          isatty(fileno(file)) == 1};
}

// Streams that are closed get a file that can't be used, lest an output becomes one of them.
void occupy_closed_streams() {
  for (int descriptor = 0; descriptor <= STDERR_FILENO; ++descriptor)
    if (::fcntl(descriptor, F_GETFD) < 0) static_cast<void>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

// Whether all that was printed went out; else says what was in the way. A reader that went away knows.
bool was_told(int problem) {
  if (problem != 0 && problem != EPIPE)
    std::fprintf(stderr, "error: cannot write to standard output: %s\n       next: make room, or send it elsewhere\n",
                 std::strerror(problem));  // NOLINT(concurrency-mt-unsafe)
  return problem == 0;
}

// Not through stdio, whose locks another thread may hold. `error_stream` is standard error as the program got it: a
// runtime that talks while it verifies has it led elsewhere.
void say_goodbye(int signal, int error_stream) {
  const bool terminal = isatty(error_stream) == 1;
  const std::string text = fmt::format("{}stopped by {}: nothing half-written was left behind\n",
                                       terminal ? "\r\x1b[K" : "", strsignal(signal));  // NOLINT(concurrency-mt-unsafe)
  static_cast<void>(::write(error_stream, text.data(), text.size()) < 0);
}

// Graphs of many layers are millions of small blocks: merged with their neighbours as they are freed, and not when a
// large one is, they take a tenth less time (10,000 layers: 590 ms, not 660).
void merge_small_blocks_at_once() {
  mallopt(M_MXFAST, 0);
}

}  // namespace

int run_program(int argc, char** argv,
                const std::function<int(const std::vector<std::string>&, const Stream&, const Stream&)>& run) {
  merge_small_blocks_at_once();
  occupy_closed_streams();
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // writing beyond `ulimit -f` fails instead, and what is not complete is removed
  survive_cut_files();
  end_on_signals([error_stream = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)](int signal) {
    abandon_staging();
    say_goodbye(signal, error_stream);
  });
  try {
    const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    int problem = 0;
    const int status = run(arguments, stream_of(stdout, &problem), stream_of(stderr));
    // A result that nobody could be told is no success.
    return !was_told(problem) && status == 0 ? 1 : status;
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "error: unexpected: %s\n", exception.what());
    return 1;
  }
}

const char* environment_variable(const char* name) {
  return std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here sets variables
}

}  // namespace taper
