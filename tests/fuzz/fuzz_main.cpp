// libFuzzer's entry points. One program holds all targets; the name by which it is called, fuzz_<target>, says which.
#include <cstdio>
#include <filesystem>
#include <string>

#include "targets.h"

namespace {

namespace fs = std::filesystem;
using taper::fuzz::Target;

const Target* chosen = nullptr;

// Gives the program its names, beside itself, and prints them.
int make_links(const fs::path& program) {
  for (const Target& target : taper::fuzz::targets()) {
    const fs::path link = program.parent_path() / ("fuzz_" + std::string(target.name));
    fs::remove(link);
    fs::create_symlink(program.filename(), link);
    std::printf("%s\n", std::string(target.name).c_str());
  }
  return 0;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

std::string change_bytes(std::string bytes, taper::fuzz::Random&) {
  const std::size_t size = bytes.size();
  bytes.resize(size + size / 4 + 16);
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), size, bytes.size()));
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const fs::path program = (*argv)[0];
  if (*argc > 1 && std::string((*argv)[1]) == "--make-links") std::exit(make_links(program));
  const std::string name = program.filename().string();
  if (name.starts_with("fuzz_")) chosen = taper::fuzz::find_target(name.substr(5));
  if (chosen != nullptr) return 0;
  std::fprintf(stderr, "%s: no target has this name; --make-links makes those that there are\n", name.c_str());
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  taper::fuzz::Random random(seed);
  constexpr std::size_t kBytesOnly = 8;  // one change in so many disregards the structure
  if (chosen->mutate != nullptr && !random.one_in(kBytesOnly)) {
    const std::string changed =
        chosen->mutate(std::string(reinterpret_cast<const char*>(data), size), random, change_bytes);
    if (!changed.empty() && changed.size() <= max_size) {
      std::copy(changed.begin(), changed.end(), data);
      return changed.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
