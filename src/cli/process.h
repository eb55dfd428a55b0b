// What a program's main hands in: the streams of its process.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "cli/terminal.h"

namespace taper {

inline Stream stream_of(std::FILE* file) {
  return {[file](std::string_view text) {
            std::fwrite(text.data(), 1, text.size(), file);
            std::fflush(file);
          },
          isatty(fileno(file)) == 1};
}

}  // namespace taper
