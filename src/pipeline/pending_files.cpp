#include "pipeline/pending_files.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

Status write_file(const fs::path& path, const std::function<Status(const ByteSink&)>& write) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  if (!out) return fail("cannot create the file '{}'", path_text(path));
  if (auto status = write(sink_to(out)); !status)
    return std::unexpected(within(std::move(status).error(), fmt::format("in file '{}'", path_text(path))));
  out.close();
  if (!out) return fail("cannot write the file '{}': the disk may be full", path_text(path));
  return {};
}

// Swaps two names in one step. False where the file system can't.
bool exchange(const fs::path& a, const fs::path& b) {
  constexpr unsigned kRenameExchange = 2;  // RENAME_EXCHANGE, which older headers lack
  return syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), kRenameExchange) == 0;
}

}  // namespace

PendingFiles::~PendingFiles() {
  std::error_code ignored;
  for (const Entry& entry : entries_)
    if (!entry.published) fs::remove_all(temporary(entry), ignored);
}

fs::path PendingFiles::temporary(const Entry& entry) const {
  return folder_ / fmt::format(".{}.partial", entry.name);
}

// What a run that was killed left under the temporary name is removed.
Expected<fs::path> PendingFiles::begin(const std::string& name, bool is_folder) {
  const std::lock_guard lock(mutex_);
  const Entry entry{name, is_folder, false};
  const fs::path path = temporary(entry);
  if (std::ranges::find(entries_, name, &Entry::name) != entries_.end()) return path;
  entries_.push_back(entry);
  std::error_code error;
  // Found now and not when others already have their names.
  if (!is_folder && fs::is_directory(folder_ / name, error))
    return fail_with_hint(fmt::format("'{}' is a folder, expected a file or nothing", path_text(folder_ / name)),
                          "move it away, or choose another output folder");
  fs::remove_all(path, error);
  if (!error && is_folder) fs::create_directory(path, error);
  if (error) return fail("cannot create '{}': {}", path_text(path), error.message());
  return path;
}

Expected<std::uint64_t> PendingFiles::write(const fs::path& name, const std::function<Status(const ByteSink&)>& write) {
  const bool in_folder = name.has_parent_path();
  const std::string first = name.begin()->native();
  TAPER_ASSIGN(fs::path path, begin(first, in_folder));
  if (in_folder) {
    path /= name.lexically_relative(first);
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) return fail("cannot create '{}': {}", path_text(path.parent_path()), error.message());
  }
  TAPER_TRY(write_file(path, write));
  return fs::file_size(path);
}

Status PendingFiles::publish_folder(const Entry& entry) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(final(entry)))) {
    fs::rename(temporary(entry), final(entry), error);
  } else if (exchange(temporary(entry), final(entry))) {
    fs::remove_all(temporary(entry), error);
    error.clear();  // the new one is in place; what is left of the old one is hidden and goes with the next run
  } else {
    const fs::path old = folder_ / fmt::format(".{}.old", entry.name);
    fs::remove_all(old, error);
    fs::rename(final(entry), old, error);
    if (!error) fs::rename(temporary(entry), final(entry), error);
    std::error_code ignored;
    if (!error) fs::remove_all(old, ignored);
  }
  if (error) return fail("cannot name the folder '{}': {}", path_text(final(entry)), error.message());
  return {};
}

Status PendingFiles::publish() {
  for (Entry& entry : entries_) {
    if (entry.is_folder) {
      TAPER_TRY(publish_folder(entry));
    } else {
      std::error_code error;
      fs::rename(temporary(entry), final(entry), error);
      if (error) return fail("cannot name the file '{}': {}", path_text(final(entry)), error.message());
    }
    entry.published = true;
  }
  return {};
}

}  // namespace taper
