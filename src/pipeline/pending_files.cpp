#include "pipeline/pending_files.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>

#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// ------------------------------------------------------------------------------------------------------------- writing

// A file descriptor that is closed with its last owner; null if the system gave none.
std::shared_ptr<const int> owned(int descriptor) {
  if (descriptor < 0) return nullptr;
  return {new int(descriptor), [](const int* open) {
            ::close(*open);
            delete open;
          }};
}

// A file that is being written. Its bytes are sent on to the disk as they come, so that syncing it in the end, during
// which a program can't be stopped, is short for large files too.
class OutputFile {
 public:
  explicit OutputFile(const fs::path& path) {
    const auto lock = staging_lock();
    file_ = owned(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  }

  bool is_open() const { return file_ != nullptr; }
  std::uint64_t size() const { return size_; }
  const std::shared_ptr<const int>& descriptor() const { return file_; }

  bool write(Bytes bytes) {
    if (buffer_.size() + bytes.size() > kBuffer) {
      if (!flush()) return false;
      if (bytes.size() >= kBuffer) return write_all(bytes);
    }
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return true;
  }

  // Writes what is left and starts to send it to the disk.
  bool finish() {
    if (!flush()) return false;
    static_cast<void>(::sync_file_range(*file_, static_cast<off_t>(sent_), 0, SYNC_FILE_RANGE_WRITE));
    return true;
  }

 private:
  static constexpr std::size_t kBuffer = 64 << 10;
  static constexpr std::size_t kStretch = 8 << 20;  // at least as much goes to the disk at a time

  bool flush() {
    const bool done = write_all(buffer_);
    buffer_.clear();
    return done;
  }

  bool write_all(Bytes bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(*file_, bytes.data(), std::min(bytes.size(), kStretch));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      size_ += static_cast<std::uint64_t>(written);
      send_on();
    }
    return true;
  }

  // Starts to write the last stretch to the disk and waits for the one before; errors show in the last sync.
  void send_on() {
    if (size_ - sent_ < kStretch) return;
    const auto from = static_cast<off_t>(sent_);
    const auto length = static_cast<off_t>(size_ - sent_);
    static_cast<void>(::sync_file_range(*file_, from, length, SYNC_FILE_RANGE_WRITE));
    if (sent_ > 0) {
      constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
      static_cast<void>(::sync_file_range(*file_, from - last_, last_, kWait));
    }
    last_ = length;
    sent_ = size_;
  }

  std::shared_ptr<const int> file_;
  std::uint64_t size_ = 0;
  std::uint64_t sent_ = 0;  // up to here the disk has been told
  off_t last_ = 0;          // length of the last stretch
  std::vector<std::byte> buffer_;
};

// What to do about an error number of writing.
std::string writing_hint(int problem) {
  switch (problem) {
    case ENOSPC:
    case EDQUOT:
      return "make room on the disk, or choose a folder on another one; --to and --quantize with less write less";
    case EFBIG:
      return "allow larger files (ulimit -f), or choose a folder on another file system";
    case ENOENT:
      return "the folder was removed while it was written to: run again, and leave it in place";
    default:
      return "choose a folder that can be written to";
  }
}

std::unexpected<Error> write_error(const fs::path& name, int problem = errno) {
  return fail_with_hint(fmt::format("cannot write the file '{}': {}", path_text(name), std::strerror(problem)),
                        writing_hint(problem));
}

Status write_file(OutputFile& file, const fs::path& name, const std::function<Status(const ByteSink&)>& write) {
  if (!file.is_open()) return write_error(name);
  const Status written = write([&](Bytes bytes) -> Status {
    if (!file.write(bytes)) return write_error(name);
    return {};
  });
  if (!written) return std::unexpected(within(written.error(), fmt::format("in file '{}'", path_text(name))));
  if (!file.finish()) return write_error(name);
  return {};
}

// The names in a folder reach the disk. Not every file system knows this for folders, and none loses by it.
void sync_folder(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  static_cast<void>(::fsync(descriptor));
  ::close(descriptor);
}

void sync_folders_of(const fs::path& path) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error))
    if (entry->is_directory(error)) sync_folder(entry->path());
  sync_folder(path);
}

// -------------------------------------------------------------------------------------------------------------- naming

constexpr unsigned kNoReplace = 1;  // RENAME_NOREPLACE and RENAME_EXCHANGE, which older headers lack
constexpr unsigned kExchange = 2;

// Renames in one step. Returns 0 or the system's error number.
int rename_with(const fs::path& from, const fs::path& to, unsigned flags) {
  return syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0 ? 0 : errno;
}

// For file systems that know neither flag: a file is replaced in one step, a folder in two.
int rename_plainly(const fs::path& from, const fs::path& to, bool is_folder) {
  if (is_folder && ::access(to.c_str(), F_OK) == 0) {
    const fs::path old = from.native() + ".old";
    if (::rename(to.c_str(), old.c_str()) != 0) return errno;
    if (::rename(from.c_str(), to.c_str()) == 0) return 0;
    const int problem = errno;
    static_cast<void>(::rename(old.c_str(), to.c_str()));
    return problem;
  }
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

bool is_real_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::directory;
}

std::unexpected<Error> folder_in_the_way(const fs::path& path) {
  return fail_with_hint(fmt::format("'{}' is a folder, expected a file or nothing", path_text(path)),
                        "move it away, or choose another output folder");
}

}  // namespace

Expected<PendingFiles> PendingFiles::in(const fs::path& folder) {
  TAPER_ASSIGN(std::unique_ptr<StagingFolder> staging, StagingFolder::make(folder));
  return PendingFiles(folder, std::move(staging));
}

Status PendingFiles::add(const std::string& name, bool is_folder) {
  const auto lock = staging_lock();
  if (std::ranges::find(entries_, name, &Entry::name) != entries_.end()) return {};
  // Found now and not when others already have their names.
  if (!is_folder && is_real_folder(folder_ / name)) return folder_in_the_way(folder_ / name);
  entries_.push_back({name, is_folder});
  return {};
}

Expected<std::uint64_t> PendingFiles::write(const fs::path& name, const std::function<Status(const ByteSink&)>& write) {
  TAPER_TRY(add(name.begin()->native(), name.has_parent_path()));
  const fs::path path = staging_->path() / name;
  if (name.has_parent_path()) {
    const auto lock = staging_lock();
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error)
      return fail_with_hint(
          fmt::format("cannot create '{}': {}", path_text(folder_ / name.parent_path()), error.message()),
          writing_hint(error.value()));
  }
  OutputFile file(path);
  TAPER_TRY(write_file(file, folder_ / name, write));
  const auto lock = staging_lock();
  unsynced_.push_back({folder_ / name, file.descriptor()});
  return file.size();
}

// All at once: each waits for the disk's cache to be flushed, and one flush serves all that wait.
Status PendingFiles::sync() const {
  std::vector<std::future<int>> files;
  files.reserve(unsynced_.size());
  for (const Unsynced& file : unsynced_)
    files.push_back(std::async(std::launch::async, [&] { return ::fsync(*file.descriptor) == 0 ? 0 : errno; }));
  std::vector<std::future<void>> folders;
  for (const Entry& entry : entries_)
    if (entry.is_folder) folders.push_back(std::async(std::launch::async, [&] { sync_folders_of(staged(entry)); }));
  for (std::size_t i = 0; i < files.size(); ++i) {
    errno = files[i].get();
    if (errno != 0) return write_error(unsynced_[i].name);
  }
  return {};
}

Status PendingFiles::give_name(Entry& entry) const {
  constexpr int kTries = 4;  // another run may give or take the name in between
  int problem = EEXIST;
  for (int i = 0; i < kTries && (problem == EEXIST || problem == ENOENT); ++i) {
    entry.replaced = problem == EEXIST && i > 0;
    problem = rename_with(staged(entry), final(entry), entry.replaced ? kExchange : kNoReplace);
  }
  if (problem == EINVAL || problem == ENOSYS) {
    if (!entry.is_folder && is_real_folder(final(entry))) return folder_in_the_way(final(entry));
    problem = rename_plainly(staged(entry), final(entry), entry.is_folder);
  } else if (problem == 0 && entry.replaced && !entry.is_folder && is_real_folder(staged(entry))) {
    take_back(entry);  // somebody's folder, which must not go
    return folder_in_the_way(final(entry));
  }
  if (problem != 0)
    return fail_with_hint(fmt::format("cannot name '{}': {}", path_text(final(entry)), std::strerror(problem)),
                          writing_hint(problem));
  return {};
}

void PendingFiles::take_back(const Entry& entry) const {
  static_cast<void>(rename_with(final(entry), staged(entry), entry.replaced ? kExchange : kNoReplace));
}

void PendingFiles::withdraw(const std::string& name) {
  withdrawn_.push_back(name);
}

Status PendingFiles::publish() {
  TAPER_TRY(sync());
  {
    const auto lock = staging_lock();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (Status named = give_name(*entry); !named) {
        while (entry != entries_.begin()) take_back(*--entry);
        return named;
      }
    }
    for (const std::string& name : withdrawn_)
      if (!is_real_folder(folder_ / name)) static_cast<void>(::unlink((folder_ / name).c_str()));
  }
  sync_folder(folder_);
  return {};
}

}  // namespace taper
