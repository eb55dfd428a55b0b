#include "base/bytes.h"

namespace taper {

SharedBytes share(std::vector<std::byte> buffer) {
  auto owner = std::make_shared<const std::vector<std::byte>>(std::move(buffer));
  return {Bytes(*owner), owner};
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
