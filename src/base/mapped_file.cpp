#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>

namespace taper {
namespace {

// A mapping that lives. The handler of SIGBUS reads `begin` and `length`, and writes `cut`; all else is under the
// mutex.
struct Mapping {
  std::atomic<std::uintptr_t> begin = 0;  // 0: this place is free
  std::atomic<std::size_t> length = 0;    // of the file when it was mapped
  std::atomic<bool> cut = false;          // reads behind the file's end were answered with zeros
  int descriptor = -1;
  timespec modified = {};
};

struct Registry {
  std::mutex mutex;
  std::array<Mapping, 1024> mappings;
};

Registry& registry() {
  static Registry* const all = new Registry;  // never destroyed: threads may outlive static objects
  return *all;
}

const Mapping* mapping_of(std::uintptr_t address, std::size_t page) {
  for (const Mapping& mapping : registry().mappings) {
    const std::uintptr_t begin = mapping.begin.load();
    const std::size_t mapped = (mapping.length.load() + page - 1) / page * page;
    if (begin != 0 && address >= begin && address - begin < mapped) return &mapping;
  }
  return nullptr;
}

std::size_t page_size() {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

// Maps zeros over what lies behind the end of a file that was cut off. Calls nothing but system calls.
void answer_with_zeros(int signal, siginfo_t* info, void*) {
  const int saved = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const std::size_t page = page_size();
  if (const Mapping* found = mapping_of(address, page); found != nullptr) {
    auto& mapping = const_cast<Mapping&>(*found);
    mapping.cut = true;
    const std::uintptr_t from = address / page * page;
    const std::size_t rest = mapping.begin + mapping.length - from;
    void* const place = reinterpret_cast<void*>(from);  // NOLINT(performance-no-int-to-ptr)
    if (::mmap(place, rest, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
      errno = saved;
      return;
    }
  }
  struct sigaction as_before = {};
  as_before.sa_handler = SIG_DFL;
  ::sigaction(signal, &as_before, nullptr);  // the read is tried again and ends the program
}

// Owns a file descriptor until it is given away.
struct Descriptor {
  int fd;
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int release() { return std::exchange(fd, -1); }
};

Status refuse_kind(const std::filesystem::path& path, mode_t mode) {
  if (S_ISREG(mode)) return {};
  if (S_ISDIR(mode))
    return fail_with_hint(fmt::format("'{}' is a folder, expected a file", path.string()), "name a file in it");
  if (!S_ISLNK(mode))
    return fail_with_hint(fmt::format("'{}' is not a regular file but {}", path.string(),
                                      S_ISFIFO(mode)   ? "a FIFO"
                                      : S_ISSOCK(mode) ? "a socket"
                                                       : "a device"),
                          "save what it gives to a file, and name that");
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(path, error);
  return fail_with_hint(fmt::format("'{}' is a symbolic link, expected a file", path.string()),
                        error ? std::string("it leads nowhere: the file that it stands for was moved or not downloaded")
                              : fmt::format("if you mean the file that it leads to, give '{}'", target.string()));
}

// Opening a device can do something, and a FIFO waits for its writer: the kind of file is looked at first, and again
// after opening, as the name may lead elsewhere by then.
Expected<int> open_regular(const std::filesystem::path& path, struct stat& status) {
  if (::lstat(path.c_str(), &status) == 0) TAPER_TRY(refuse_kind(path, status.st_mode));
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY));
  if (const int problem = errno; file.fd < 0)
    return fail_with_hint(fmt::format("cannot open file '{}': {}", path.string(), std::strerror(problem)),
                          problem == ENOENT   ? "check the path and the current folder"
                          : problem == EACCES ? "check who may read it"
                                              : "");
  if (::fstat(file.fd, &status) != 0) return fail("cannot read file '{}': {}", path.string(), std::strerror(errno));
  TAPER_TRY(refuse_kind(path, status.st_mode));
  return file.release();
}

void unmap(Mapping& mapping) {
  const std::lock_guard lock(registry().mutex);
  void* const address = reinterpret_cast<void*>(mapping.begin.load());  // NOLINT(performance-no-int-to-ptr)
  ::munmap(address, mapping.length);
  ::close(mapping.descriptor);
  mapping.begin = 0;
}

}  // namespace

Expected<SharedBytes> map_file(const std::filesystem::path& path) {
  struct stat status = {};
  TAPER_ASSIGN(const int opened, open_regular(path, status));
  Descriptor file(opened);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return SharedBytes{};
  const std::lock_guard lock(registry().mutex);
  const auto place = std::ranges::find_if(registry().mappings, [](const Mapping& m) { return m.begin == 0; });
  if (place == registry().mappings.end()) return fail("cannot map file '{}': too many files are mapped", path.string());
  void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED) return fail("cannot map file '{}': {}", path.string(), std::strerror(errno));
  place->length = size;
  place->cut = false;
  place->descriptor = file.release();
  place->modified = status.st_mtim;
  place->begin = reinterpret_cast<std::uintptr_t>(address);
  std::shared_ptr<const void> owner(address, [place](const void*) { unmap(*place); });
  return SharedBytes{{static_cast<const std::byte*>(address), size}, std::move(owner)};
}

Status check_unchanged(const SharedBytes& mapped) {
  const std::lock_guard lock(registry().mutex);
  const Mapping* mapping = mapping_of(reinterpret_cast<std::uintptr_t>(mapped.view.data()), page_size());
  if (mapping == nullptr) return {};
  constexpr std::string_view kHint = "run again when nothing writes to the file";
  struct stat now = {};
  if (::fstat(mapping->descriptor, &now) != 0) return fail("cannot look at the file again: {}", std::strerror(errno));
  const auto size = static_cast<std::size_t>(now.st_size);
  if (size != mapping->length || mapping->cut)
    return fail_with_hint(
        fmt::format("the file changed while it was read: it had {} bytes, now {}", mapping->length.load(), size),
        std::string(kHint));
  if (now.st_mtim.tv_sec != mapping->modified.tv_sec || now.st_mtim.tv_nsec != mapping->modified.tv_nsec)
    return fail_with_hint("the file changed while it was read: it was written to", std::string(kHint));
  return {};
}

void release_pages(Bytes bytes) {
  const std::size_t page = page_size();
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + bytes.size()) / page * page;
  if (last <= first) return;
  const std::lock_guard lock(registry().mutex);
  if (mapping_of(first, page) == nullptr || mapping_of(last - 1, page) == nullptr) return;
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);  // NOLINT(performance-no-int-to-ptr)
}

void survive_cut_files() {
  page_size();
  registry();
  struct sigaction action = {};
  action.sa_sigaction = answer_with_zeros;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace taper
