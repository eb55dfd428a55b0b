#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "cli/taper.h"

namespace {

taper::Stream stream_of(std::FILE* file) {
  return {[file](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), file);
            std::fflush(file);
          },
          isatty(fileno(file)) == 1};
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    const int status = taper::run_taper(
        std::vector<std::string>(argv + 1, argv + argc),
        {stream_of(stdout), stream_of(stderr), [](const char* name) -> const char* { return std::getenv(name); }});
    // A result that nobody could be told is no success.
    return status == 0 && std::ferror(stdout) != 0 ? 1 : status;
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "error: unexpected: %s\n", exception.what());
    return 1;
  }
}
