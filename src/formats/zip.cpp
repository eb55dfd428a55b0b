#include "formats/zip.h"

#include <unzip.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>

namespace taper {
namespace {

// RFC 1951 codes at most 258 bytes in two bits: no deflated data expands further than this.
constexpr std::uint64_t kDeflateMaxRatio = 1032;
// What all deflated entries of an archive may expand to together: far beyond real checkpoints, far below a zip bomb.
constexpr std::uint64_t kInflatedBase = std::uint64_t{64} << 20;
constexpr std::uint64_t kInflatedRatio = 64;

constexpr std::size_t kDirectoryRecord = 46;  // APPNOTE.TXT 4.3.12, without name, extra field and comment
constexpr std::size_t kLocalHeader = 30;      // APPNOTE.TXT 4.3.7, likewise

// What minizip sees as a file.
struct MemoryFile {
  Bytes bytes;
  std::uint64_t position = 0;
};

MemoryFile& memory_file(voidpf stream) {
  return *static_cast<MemoryFile*>(stream);
}

voidpf open_memory(voidpf opaque, const void*, int) {
  return opaque;
}

uLong read_memory(voidpf, voidpf stream, void* buffer, uLong size) {
  MemoryFile& file = memory_file(stream);
  const uLong count = std::min<uLong>(size, file.bytes.size() - file.position);
  if (count > 0) std::memcpy(buffer, file.bytes.data() + file.position, count);
  file.position += count;
  return count;
}

uLong write_memory(voidpf, voidpf, const void*, uLong) {
  return 0;
}

ZPOS64_T tell_memory(voidpf, voidpf stream) {
  return memory_file(stream).position;
}

long seek_memory(voidpf, voidpf stream, ZPOS64_T offset, int origin) {
  MemoryFile& file = memory_file(stream);
  const std::uint64_t start = origin == ZLIB_FILEFUNC_SEEK_CUR   ? file.position
                              : origin == ZLIB_FILEFUNC_SEEK_END ? file.bytes.size()
                                                                 : 0;
  const auto target = checked_add<std::uint64_t>(start, offset);
  if (!target || *target > file.bytes.size()) return -1;
  file.position = *target;
  return 0;
}

int close_memory(voidpf, voidpf) {
  return 0;
}
int error_of_memory(voidpf, voidpf) {
  return 0;
}

struct CloseArchive {
  void operator()(void* archive) const { unzClose(archive); }
};
using Unzip = std::unique_ptr<void, CloseArchive>;

Status check_name(std::string_view name) {
  if (name.empty()) return fail("an entry has no name");
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return fail("an entry's name holds control characters");
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

// Reads the current entry's directory record and its local header.
Expected<Located> read_entry(unzFile archive, Bytes bytes, std::vector<char>& name_buffer) {
  unz_file_info64 info = {};
  if (unzGetCurrentFileInfo64(archive, &info, name_buffer.data(), name_buffer.size(), nullptr, 0, nullptr, 0) != UNZ_OK)
    return fail("the archive's directory is damaged");
  const std::string_view name(name_buffer.data(), info.size_filename);
  TAPER_TRY(check_name(name));
  if ((info.flag & 1) != 0) return fail("entry '{}' is encrypted", name);
  if (info.compression_method != 0 && info.compression_method != Z_DEFLATED)
    return fail("entry '{}' is compressed with method {}, expected stored (0) or deflated (8)", name,
                info.compression_method);
  ZipEntry entry{std::string(name),
                 info.compression_method == Z_DEFLATED,
                 static_cast<std::uint32_t>(info.crc),
                 info.uncompressed_size,
                 info.compressed_size,
                 0};
  TAPER_TRY(check_sizes(entry));

  int method = 0;
  if (unzOpenCurrentFile2(archive, &method, nullptr, /*raw=*/1) != UNZ_OK)
    return fail("entry '{}' has no valid header of its own", name);
  entry.data_offset = unzGetCurrentFileZStreamPos64(archive);
  const int extra = unzGetLocalExtrafield(archive, nullptr, 0);
  unzCloseCurrentFile(archive);

  const std::uint64_t header = kLocalHeader + name.size() + static_cast<std::uint64_t>(std::max(extra, 0));
  if (extra < 0 || entry.data_offset < header || entry.data_offset > bytes.size() ||
      entry.compressed_size > bytes.size() - entry.data_offset)
    return fail("entry '{}' ({} bytes at offset {}) lies outside of the archive of {} bytes", name,
                entry.compressed_size, entry.data_offset, bytes.size());
  const std::uint64_t header_offset = entry.data_offset - header;
  if (as_text(bytes.subspan(header_offset + kLocalHeader, name.size())) != name)
    return fail("entry '{}' has another name in its own header", name);
  return Located{std::move(entry), header_offset};
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

Status check_inflated_total(const std::vector<Located>& located, std::size_t archive_size) {
  std::uint64_t total = 0;
  for (const Located& each : located)
    if (each.entry.deflated) total += each.entry.size;  // each is at most 1032 times a part of the archive
  if (total > kInflatedBase && (total - kInflatedBase) / kInflatedRatio > archive_size)
    return fail("an archive of {} bytes would inflate to {} bytes, which no real checkpoint does", archive_size, total);
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

Expected<std::vector<Located>> read_directory(Bytes bytes) {
  MemoryFile file{bytes, 0};
  zlib_filefunc64_def functions = {open_memory, read_memory,  write_memory,    tell_memory,
                                   seek_memory, close_memory, error_of_memory, &file};
  const Unzip archive(unzOpen2_64("", &functions));
  if (!archive)
    return fail_with_hint("the archive has no directory at its end",
                          "the file is probably truncated: copy or download it again");
  unz_global_info64 global = {};
  if (unzGetGlobalInfo64(archive.get(), &global) != UNZ_OK) return fail("the archive's directory is damaged");
  if (global.number_entry > bytes.size() / kDirectoryRecord)
    return fail("the archive declares {} entries, more than {} bytes can hold", global.number_entry, bytes.size());

  std::vector<Located> located;
  if (global.number_entry == 0) return located;
  std::vector<char> name_buffer(std::size_t{1} << 16);
  int status = unzGoToFirstFile(archive.get());
  const std::uint64_t directory_offset = unzGetOffset64(archive.get());
  if (status != UNZ_OK || directory_offset > bytes.size() - 4 ||
      as_text(bytes.subspan(directory_offset, 4)) != "PK\x01\x02")
    return fail("the archive's directory is not where the archive says (offset {})", directory_offset);
  while (status == UNZ_OK) {
    if (located.size() == global.number_entry) return fail("the archive has more entries than declared");
    TAPER_ASSIGN(Located entry, read_entry(archive.get(), bytes, name_buffer));
    located.push_back(std::move(entry));
    status = unzGoToNextFile(archive.get());
  }
  if (status != UNZ_END_OF_LIST_OF_FILE || located.size() != global.number_entry)
    return fail("the archive's directory is damaged after {} of {} entries", located.size(), global.number_entry);
  TAPER_TRY(check_no_overlap(located, directory_offset));
  TAPER_TRY(check_inflated_total(located, bytes.size()));
  return located;
}

}  // namespace

Expected<ZipArchive> open_zip(SharedBytes bytes) {
  if (bytes.view.size() < 22) return fail("{} bytes are too few for a zip archive", bytes.view.size());
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
