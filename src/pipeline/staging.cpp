#include "pipeline/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = ".taper-partial-";

struct Registry {
  std::mutex mutex;
  std::set<fs::path> folders;  // of this process, that live
};

Registry& registry() {
  static Registry* const all = new Registry;  // never destroyed: threads may outlive static objects
  return *all;
}

int open_folder(const fs::path& path) {
  return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// A live run holds the lock. Where the file system knows no locks nobody can tell, and nothing is removed.
void remove_if_abandoned(const fs::path& path) {
  const int descriptor = open_folder(path);
  if (descriptor < 0) return;
  std::error_code ignored;
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) fs::remove_all(path, ignored);
  ::close(descriptor);
}

void sweep(const fs::path& output_folder) {
  std::error_code error;
  for (fs::directory_iterator entry(output_folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().native().starts_with(kPrefix)) remove_if_abandoned(entry->path());
}

// Between its making and its locking another run may take the folder for an abandoned one.
bool lock_new(int descriptor) {
  if (::flock(descriptor, LOCK_EX) != 0) return true;  // no locks here: others will not remove it either
  struct stat status = {};
  return ::fstat(descriptor, &status) == 0 && status.st_nlink > 0;
}

}  // namespace

StagingFolder::StagingFolder(fs::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {
  registry().folders.insert(path_);
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  ::close(descriptor_);
  const auto lock = staging_lock();
  registry().folders.erase(path_);
}

Expected<std::unique_ptr<StagingFolder>> StagingFolder::make(const fs::path& output_folder) {
  sweep(output_folder);
  constexpr int kTries = 16;
  int descriptor = -1;
  std::string path;
  for (int i = 0; i < kTries; ++i) {
    const auto lock = staging_lock();
    path = (output_folder / fmt::format("{}XXXXXX", kPrefix)).native();
    if (::mkdtemp(path.data()) == nullptr) break;
    descriptor = open_folder(path);
    if (descriptor < 0) continue;
    if (lock_new(descriptor)) return std::unique_ptr<StagingFolder>(new StagingFolder(path, descriptor));
    ::close(descriptor);
  }
  return fail_with_hint(
      fmt::format("cannot write to the folder '{}': {}", path_text(output_folder), std::strerror(errno)),
      "choose a folder that can be written to, with -o or --output-dir");
}

std::unique_lock<std::mutex> staging_lock() {
  return std::unique_lock(registry().mutex);
}

void abandon_staging() {
  staging_lock().release();  // and never given back
  // Who removes a folder at the same time makes remove_all fail.
  constexpr int kTries = 100;
  std::error_code error;
  for (const fs::path& path : registry().folders)
    for (int i = 0; i < kTries && fs::exists(fs::symlink_status(path, error)); ++i) fs::remove_all(path, error);
}

}  // namespace taper
