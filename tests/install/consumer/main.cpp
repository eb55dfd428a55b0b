// What an application does with the library: reads a network and writes files of it.
#include <cstdio>

#include "taper/taper.h"

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const auto model = taper::load(arguments[1]);
  if (!model) {
    std::fputs((model.error().text() + "\n").c_str(), stderr);
    return 1;
  }
  const auto files = taper::convert(*model, arguments[2], "net", {});
  if (!files) {
    std::fputs((files.error().text() + "\n").c_str(), stderr);
    return 1;
  }
  for (const taper::Artifact& file : *files) std::printf("%s\n", file.key.c_str());
  return 0;
}
