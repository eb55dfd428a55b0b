#include "base/bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace taper {
namespace {

// Owns a file descriptor for the time of a call.
struct Descriptor {
  int fd;
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

SharedBytes share(std::vector<std::byte> buffer) {
  auto owner = std::make_shared<const std::vector<std::byte>>(std::move(buffer));
  return {Bytes(*owner), owner};
}

Expected<SharedBytes> map_file(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) return fail("cannot open file '{}': {}", path.string(), std::strerror(errno));
  struct stat status = {};
  if (::fstat(file.fd, &status) != 0) return fail("cannot read file '{}': {}", path.string(), std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return fail("'{}' is a folder, expected a file", path.string());
  if (!S_ISREG(status.st_mode)) return fail("'{}' is not a regular file", path.string());
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return SharedBytes{};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED) return fail("cannot map file '{}': {}", path.string(), std::strerror(errno));
  std::shared_ptr<const void> owner(address, [size](const void* mapped) { ::munmap(const_cast<void*>(mapped), size); });
  return SharedBytes{{static_cast<const std::byte*>(address), size}, std::move(owner)};
}

Status ByteReader::seek(std::size_t offset) {
  if (offset > bytes_.size()) return fail("offset {} is past the end ({} bytes)", offset, bytes_.size());
  offset_ = offset;
  return {};
}

Expected<Bytes> ByteReader::take(std::uint64_t count) {
  if (count > remaining()) return fail("{} bytes expected at offset {}, {} left", count, offset_, remaining());
  const Bytes taken = bytes_.subspan(offset_, count);
  offset_ += count;
  return taken;
}

Expected<std::string_view> ByteReader::take_line() {
  const std::string_view rest = as_text(bytes_.subspan(offset_));
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return fail("a line that starts at offset {} has no end", offset_);
  offset_ += end + 1;
  return rest.substr(0, end);
}

}  // namespace taper
