#include "formats/zip.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>

#include "formats/text.h"

namespace taper {
namespace {

// RFC 1951 codes at most 258 bytes in two bits: no deflated data expands further than this.
constexpr std::uint64_t kDeflateMaxRatio = 1032;
// What all deflated entries of an archive may expand to together: far beyond real checkpoints, far below a zip bomb.
constexpr std::uint64_t kInflatedBase = std::uint64_t{64} << 20;
constexpr std::uint64_t kInflatedRatio = 64;

// The directory is read here, not by minizip: its 1.1 (Debian 12) does not decode zip64 sizes on 64-bit machines, and
// it accepts gaps, overlaps and local headers that disagree, which other readers understand otherwise.
//
// Records of APPNOTE.TXT: sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14-16 (ends of the directory).
constexpr std::size_t kLocalSize = 30;
constexpr std::size_t kDirectorySize = 46;
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kLocatorSize = 20;
constexpr std::size_t kEnd64Size = 56;
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kDirectorySignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kLocatorSignature = 0x07064b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;

constexpr std::uint16_t kEncrypted = 1 | 1 << 6;  // flag bits, section 4.4.4
constexpr std::uint16_t kSizesFollow = 1 << 3;    // the local header has no sizes
constexpr std::uint16_t kPatched = 1 << 5;
constexpr std::uint16_t kUtf8 = 1 << 11;  // without it, some readers take names for code page 437
constexpr std::uint8_t kNewest = 63;      // version 6.3 of the format, section 4.4.3
constexpr std::uint16_t kStored = 0;
constexpr std::uint16_t kDeflated = 8;
constexpr std::uint16_t kZip64Extra = 1;
constexpr std::uint32_t kIn64 = 0xffffffff;  // the value stands in the zip64 extra field

// A little-endian number at `offset` of a record that is known to reach there.
template <class T>
T at(Bytes record, std::size_t offset) {
  T value;
  std::memcpy(&value, record.data() + offset, sizeof(T));
  return value;
}

Status check_name(std::string_view name) {
  if (name.empty()) return fail("an entry has no name");
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return fail("an entry's name holds control characters");
  if (check_utf8(name) != Utf8::valid) return fail("an entry's name is not UTF-8: '{}'", excerpt(name));
  if (name.front() == '/' || name.find('\\') != std::string_view::npos)
    return fail("entry '{}' is not named by a relative path", name);
  for (std::size_t start = 0; start <= name.size();) {
    const std::size_t end = std::min(name.find('/', start), name.size());
    if (name.substr(start, end - start) == "..") return fail("entry '{}' climbs out of its folder", name);
    start = end + 1;
  }
  return {};
}

// A deflated size must follow from the compressed bytes, a stored one is the number of bytes.
Status check_sizes(const ZipEntry& entry) {
  if (!entry.deflated && entry.size != entry.compressed_size)
    return fail("entry '{}' is stored in {} bytes but declares {}", entry.name, entry.compressed_size, entry.size);
  if (entry.deflated && entry.size / kDeflateMaxRatio > entry.compressed_size)
    return fail("entry '{}' declares {} bytes, more than {} deflated bytes can hold", entry.name, entry.size,
                entry.compressed_size);
  return {};
}

struct Located {
  ZipEntry entry;
  std::uint64_t header_offset;
};

// The fields that are kIn64 in the record, in the order in which section 4.5.3 stores them.
Status read_zip64_extra(Bytes extra, std::initializer_list<std::uint64_t*> fields) {
  ByteReader reader(extra);
  while (reader.remaining() >= 4) {
    TAPER_ASSIGN(const auto id, reader.read<std::uint16_t>());
    TAPER_ASSIGN(const auto size, reader.read<std::uint16_t>());
    TAPER_ASSIGN(const Bytes content, reader.take(size));
    if (id != kZip64Extra) continue;
    ByteReader values(content);
    for (std::uint64_t* field : fields)
      if (*field == kIn64) {
        TAPER_ASSIGN(*field, values.read<std::uint64_t>());
      }
    return {};
  }
  return {};
}

// What else a record of the directory says, which the entry's own header has to repeat.
struct Repeated {
  std::uint16_t flags;
  std::uint16_t method;
};

// Compares the entry with its local header and finds its data.
Expected<Located> locate(Bytes bytes, ZipEntry entry, Repeated repeated, std::uint64_t header_offset) {
  const auto outside = [&] {
    return fail("entry '{}' ({} bytes, header at offset {}) lies outside of the archive of {} bytes", entry.name,
                entry.compressed_size, header_offset, bytes.size());
  };
  if (bytes.size() < kLocalSize || header_offset > bytes.size() - kLocalSize) return outside();
  const Bytes header = bytes.subspan(header_offset);
  if (at<std::uint32_t>(header, 0) != kLocalSignature)
    return fail("entry '{}' has no header of its own at offset {}", entry.name, header_offset);
  const std::size_t name_size = at<std::uint16_t>(header, 26);
  const std::size_t data_start = kLocalSize + name_size + at<std::uint16_t>(header, 28);
  if (data_start > header.size() || entry.compressed_size > header.size() - data_start) return outside();
  if (as_text(header.subspan(kLocalSize, name_size)) != entry.name)
    return fail("entry '{}' has another name in its own header", entry.name);
  const auto flags = at<std::uint16_t>(header, 6);
  const auto differs = [&](std::size_t offset, std::uint64_t size) {
    const auto local = at<std::uint32_t>(header, offset);
    return (flags & kSizesFollow) == 0 && local != kIn64 && local != size;
  };
  const bool ascii = std::ranges::all_of(entry.name, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  const std::uint16_t shared_flags = ascii ? 0 : kUtf8;
  if (at<std::uint16_t>(header, 8) != repeated.method || (flags & kEncrypted) != 0 ||
      ((flags ^ repeated.flags) & shared_flags) != 0 || differs(18, entry.compressed_size) || differs(22, entry.size))
    return fail("entry '{}' is described otherwise in its own header", entry.name);
  entry.data_offset = header_offset + data_start;
  return Located{std::move(entry), header_offset};
}

// Reads one record of the directory.
Expected<Located> read_entry(Bytes bytes, ByteReader& directory) {
  TAPER_ASSIGN_WITHIN(const Bytes record, directory.take(kDirectorySize), "in the archive's directory");
  if (at<std::uint32_t>(record, 0) != kDirectorySignature) return fail("the archive's directory is damaged");
  TAPER_ASSIGN_WITHIN(const Bytes raw_name, directory.take(at<std::uint16_t>(record, 28)),
                      "in the archive's directory");
  TAPER_ASSIGN_WITHIN(const Bytes extra, directory.take(at<std::uint16_t>(record, 30)), "in the archive's directory");
  TAPER_ASSIGN_WITHIN([[maybe_unused]] const Bytes comment, directory.take(at<std::uint16_t>(record, 32)),
                      "in the archive's directory");
  const std::string_view name = as_text(raw_name);
  TAPER_TRY(check_name(name));
  const auto method = at<std::uint16_t>(record, 10);
  const auto flags = at<std::uint16_t>(record, 8);
  if ((flags & kEncrypted) != 0) return fail("entry '{}' is encrypted", name);
  const auto version = at<std::uint8_t>(record, 6);
  if ((flags & kPatched) != 0 || version > kNewest)
    return fail("entry '{}' needs version {}.{} of the zip format{}, expected at most {}.{}", name, version / 10,
                version % 10, (flags & kPatched) != 0 ? " and patches" : "", kNewest / 10, kNewest % 10);
  if (method != kStored && method != kDeflated)
    return fail("entry '{}' is compressed with method {}, expected stored (0) or deflated (8)", name, method);
  ZipEntry entry{std::string(name), method == kDeflated, at<std::uint32_t>(record, 16), 0, 0, 0};
  entry.compressed_size = at<std::uint32_t>(record, 20);
  entry.size = at<std::uint32_t>(record, 24);
  std::uint64_t header_offset = at<std::uint32_t>(record, 42);
  auto zip64 = read_zip64_extra(extra, {&entry.size, &entry.compressed_size, &header_offset});
  if (!zip64)
    return std::unexpected(within(std::move(zip64).error(), fmt::format("in the extra field of entry '{}'", name)));
  TAPER_TRY(check_sizes(entry));
  return locate(bytes, std::move(entry), {flags, method}, header_offset);
}

Status check_no_overlap(const std::vector<Located>& located, std::uint64_t directory_offset) {
  std::vector<const Located*> order;
  for (const Located& each : located) order.push_back(&each);
  std::ranges::sort(order, {}, [](const Located* each) { return each->header_offset; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const ZipEntry& entry = order[i]->entry;
    const std::uint64_t end = entry.data_offset + entry.compressed_size;
    if (i + 1 < order.size() && end > order[i + 1]->header_offset)
      return fail("entries '{}' and '{}' overlap", entry.name, order[i + 1]->entry.name);
    if (end > directory_offset) return fail("entry '{}' overlaps the archive's directory", entry.name);
  }
  return {};
}

// Counts deflated bytes alone: others, which may be padding, justify nothing.
Status check_inflated_total(const std::vector<Located>& located) {
  std::uint64_t total = 0;
  std::uint64_t deflated = 0;
  for (const Located& each : located) {
    if (!each.entry.deflated) continue;
    total += each.entry.size;  // each is at most 1032 times a part of the archive
    deflated += each.entry.compressed_size;
  }
  if (total > kInflatedBase && (total - kInflatedBase) / kInflatedRatio > deflated)
    return fail("{} deflated bytes would inflate to {} bytes, which no real checkpoint does", deflated, total);
  return {};
}

std::uint32_t crc_of(Bytes bytes) {
  uLong crc = ::crc32(0, nullptr, 0);
  while (!bytes.empty()) {
    const std::size_t count = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);
    crc = ::crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(count));
    bytes = bytes.subspan(count);
  }
  return static_cast<std::uint32_t>(crc);
}

// Inflates a raw deflate stream to exactly `out.size()` bytes.
Status inflate_into(Bytes in, std::span<std::byte> out) {
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return fail("cannot start to inflate");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  constexpr std::size_t kStep = std::size_t{1} << 30;
  std::byte past_end{};  // an empty output still needs an address; a byte written here is one too many
  int status = Z_OK;
  while (status == Z_OK || status == Z_BUF_ERROR) {
    if (stream.avail_in == 0) {
      const std::size_t count = std::min(in.size(), kStep);
      stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(in.data()));
      stream.avail_in = static_cast<uInt>(count);
      in = in.subspan(count);
    }
    const std::size_t room = std::min(out.size(), kStep);
    stream.next_out = reinterpret_cast<Bytef*>(room > 0 ? out.data() : &past_end);
    stream.avail_out = room > 0 ? static_cast<uInt>(room) : 1;
    const uInt in_before = stream.avail_in;
    const uInt out_before = stream.avail_out;
    status = ::inflate(&stream, Z_NO_FLUSH);
    const uInt written = out_before - stream.avail_out;
    if (room == 0 && written > 0) return fail("deflated data is longer than declared");
    out = out.subspan(written);
    if (written == 0 && stream.avail_in == in_before && in.empty()) break;
  }
  if (status != Z_STREAM_END) return fail("deflated data is damaged or truncated");
  if (!out.empty()) return fail("deflated data is {} bytes shorter than declared", out.size());
  return {};
}

struct Directory {
  std::uint64_t offset;
  std::uint64_t size;
  std::uint64_t entries;
  std::uint64_t end;  // where the record that says all this starts
};

// The last end record: only a comment of the length that it declares may follow. Readers differ in which one they take
// where a comment holds another.
std::optional<std::size_t> find_end(Bytes bytes) {
  constexpr std::size_t kMostComment = 0xffff;
  if (bytes.size() < kEndSize) return std::nullopt;
  const auto is_end = [&](std::size_t offset) {
    const Bytes record = bytes.subspan(offset);
    return record.size() >= kEndSize && at<std::uint32_t>(record, 0) == kEndSignature &&
           at<std::uint16_t>(record, 20) == record.size() - kEndSize;
  };
  if (is_end(bytes.size() - kEndSize)) return bytes.size() - kEndSize;  // no comment
  const std::size_t start = bytes.size() - std::min(bytes.size(), kEndSize + kMostComment);
  const std::size_t last = as_text(bytes.subspan(start)).rfind("PK\x05\x06");
  return last != std::string_view::npos && is_end(start + last) ? std::optional(start + last) : std::nullopt;
}

Expected<Directory> find_directory(Bytes bytes) {
  const auto end = find_end(bytes);
  if (!end)
    return fail_with_hint("the zip archive has no directory at its end",
                          "the file is probably truncated: copy or download it again");
  const Bytes record = bytes.subspan(*end);
  Directory directory{at<std::uint32_t>(record, 16), at<std::uint32_t>(record, 12), at<std::uint16_t>(record, 10),
                      *end};
  const bool has_locator =
      *end >= kLocatorSize && at<std::uint32_t>(bytes.subspan(*end - kLocatorSize), 0) == kLocatorSignature;
  if (has_locator) {
    const Bytes locator = bytes.subspan(*end - kLocatorSize);
    const auto offset = at<std::uint64_t>(locator, 8);
    // Some readers look right before the locator, whatever it says.
    if (*end - kLocatorSize < kEnd64Size || offset != *end - kLocatorSize - kEnd64Size ||
        at<std::uint32_t>(bytes.subspan(offset), 0) != kEnd64Signature)
      return fail("the zip archive has no zip64 directory at offset {}", offset);
    if (at<std::uint32_t>(locator, 4) != 0 || at<std::uint32_t>(locator, 16) > 1)
      return fail("the zip archive is one of several disks");
    const Bytes record64 = bytes.subspan(offset);
    directory = {at<std::uint64_t>(record64, 48), at<std::uint64_t>(record64, 40), at<std::uint64_t>(record64, 32),
                 offset};
  }
  // Readers differ in what they make of gaps and of data before the archive, so neither is accepted.
  if (checked_add(directory.offset, directory.size) != directory.end)
    return fail(
        "the zip archive's directory ({} bytes at offset {}) does not end at offset {}, where its end record is",
        directory.size, directory.offset, directory.end);
  if (directory.entries > directory.size / kDirectorySize)
    return fail("the zip archive declares {} entries in a directory of {} bytes", directory.entries, directory.size);
  return directory;
}

Expected<std::vector<Located>> read_directory(Bytes bytes) {
  TAPER_ASSIGN(const Directory directory, find_directory(bytes));
  ByteReader reader(bytes.subspan(directory.offset, directory.size));
  std::vector<Located> located;
  located.reserve(directory.entries);
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    TAPER_ASSIGN(Located entry, read_entry(bytes, reader));
    located.push_back(std::move(entry));
  }
  if (!reader.at_end()) return fail("the zip archive's directory goes on after its {} entries", directory.entries);
  TAPER_TRY(check_no_overlap(located, directory.offset));
  TAPER_TRY(check_inflated_total(located));
  return located;
}

}  // namespace

Expected<ZipArchive> open_zip(SharedBytes bytes) {
  TAPER_ASSIGN(std::vector<Located> located, read_directory(bytes.view));
  ZipArchive archive;
  archive.bytes_ = std::move(bytes);
  for (Located& each : located) archive.entries_.push_back(std::move(each.entry));
  archive.by_name_.resize(archive.entries_.size());
  std::iota(archive.by_name_.begin(), archive.by_name_.end(), 0u);
  const auto name_of = [&](std::uint32_t index) { return std::string_view(archive.entries_[index].name); };
  std::ranges::sort(archive.by_name_, {}, name_of);
  const auto twin = std::ranges::adjacent_find(archive.by_name_, {}, name_of);
  if (twin != archive.by_name_.end()) return fail("the archive has two entries named '{}'", name_of(*twin));
  return archive;
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto name_of = [&](std::uint32_t index) { return std::string_view(entries_[index].name); };
  const auto found = std::ranges::lower_bound(by_name_, name, {}, name_of);
  return found != by_name_.end() && name_of(*found) == name ? &entries_[*found] : nullptr;
}

Expected<SharedBytes> ZipArchive::read(const ZipEntry& entry) const {
  const SharedBytes stored = bytes_.sub(entry.data_offset, entry.compressed_size);
  if (!entry.deflated) return stored;
  std::vector<std::byte> buffer(entry.size);
  auto inflated = inflate_into(stored.view, buffer);
  if (inflated && crc_of(buffer) != entry.crc32) inflated = fail("the checksum of the inflated data is wrong");
  if (!inflated) return std::unexpected(within(std::move(inflated).error(), fmt::format("in entry '{}'", entry.name)));
  return share(std::move(buffer));
}

Status ZipArchive::verify(const ZipEntry& entry) const {
  TAPER_ASSIGN(const SharedBytes content, read(entry));
  if (!entry.deflated && crc_of(content.view) != entry.crc32)
    return fail("the checksum of entry '{}' is wrong", entry.name);
  return {};
}

}  // namespace taper
