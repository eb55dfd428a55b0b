#include "report/results.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "report/text.h"

namespace taper {
namespace {

// A file descriptor and its temporary file, which is removed unless it was renamed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& folder)
      : path_((folder / ".taper-XXXXXX").native()), descriptor_(mkostemp(path_.data(), O_CLOEXEC)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (descriptor_ < 0) return;
    if (!renamed_) unlink(path_.c_str());
    close(descriptor_);
  }

  bool is_open() const { return descriptor_ >= 0; }

  bool write_all(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = write(descriptor_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }

  // mkostemp makes private files; others are made as the umask says.
  bool share_as_usual() {
    const mode_t mask = umask(0);
    umask(mask);
    return fchmod(descriptor_, 0666 & ~mask) == 0;
  }

  bool sync_and_rename(const std::filesystem::path& target) {
    renamed_ = fsync(descriptor_) == 0 && rename(path_.c_str(), target.c_str()) == 0;
    return renamed_;
  }

 private:
  std::string path_;
  int descriptor_;
  bool renamed_ = false;
};

}  // namespace

Status write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  TemporaryFile file(folder);
  if (!file.is_open() || !file.write_all(text) || !file.share_as_usual() || !file.sync_and_rename(path)) {
    return fail("cannot write '{}': {}", path_text(path), std::strerror(errno));
  }
  return {};
}

}  // namespace taper
