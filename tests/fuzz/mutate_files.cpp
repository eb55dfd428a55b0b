// Archives and checkpoints.
#include <algorithm>
#include <optional>

#include "../formats/builders.h"
#include "formats/zip.h"
#include "mutators.h"

namespace taper::fuzz {

std::uint64_t edge_number(Random& random) {
  constexpr std::uint64_t kEdges[] = {0,
                                      1,
                                      2,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x7fff,
                                      0xffff,
                                      0x10000,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x100000000,
                                      0x2000000000000000,
                                      0x7fffffffffffffff,
                                      0x8000000000000000,
                                      0xffffffffffffffff};
  return random.pick(kEdges) + random.below(3) - 1;
}

namespace {

// The entries with their contents; nothing if the archive can't be read.
std::optional<std::vector<ZipFileEntry>> entries_of(std::string_view file) {
  const auto archive = open_zip(shared(file));
  if (!archive) return std::nullopt;
  constexpr std::uint64_t kMost = 1 << 20;
  std::vector<ZipFileEntry> entries;
  for (const ZipEntry& entry : archive->entries()) {
    const auto content = entry.size < kMost ? archive->read(entry) : fail("too large");
    if (!content) return std::nullopt;
    std::string text(as_text(content->view));
    entries.push_back(entry.deflated ? compressed(entry.name, text) : stored(entry.name, std::move(text)));
  }
  return entries;
}

std::string content_of(const ZipFileEntry& entry) {
  if (entry.method == 0) return entry.data;
  const auto archive = open_zip(shared(zip_file({entry})));
  return std::string(as_text(archive->read(archive->entries()[0])->view));
}

void set_content(ZipFileEntry& entry, std::string content) {
  const std::string name = entry.name;
  entry = entry.method == 0 ? stored(name, std::move(content)) : compressed(name, content);
}

// Sizes and offset in 64 bits, as section 4.5.3 of APPNOTE.TXT stores them.
void use_zip64(ZipFileEntry& entry, Random& random) {
  const auto field = [&](std::uint64_t value) { return little(random.one_in(4) ? edge_number(random) : value, 8); };
  entry.extra = little(1, 2) + little(16, 2) + field(entry.size) + field(entry.compressed_size);
  entry.size = entry.compressed_size = 0xffffffff;
}

void lie_about(ZipFileEntry& entry, Random& random) {
  switch (random.below(8)) {
    case 0:
      entry.method = random.one_in(2) ? 8 : static_cast<std::uint16_t>(edge_number(random));
      break;
    case 1:
      entry.flags = static_cast<std::uint16_t>(1u << random.below(16));
      break;
    case 2:
      entry.crc ^= 1;
      break;
    case 3:
      entry.size += edge_number(random);
      break;
    case 4:
      entry.compressed_size += edge_number(random);
      break;
    case 5:
      entry.header_offset = static_cast<std::int64_t>(random.below(512));
      break;
    case 6:
      entry.local_name += "x";
      break;
    default:
      use_zip64(entry, random);
  }
}

void change_entries(std::vector<ZipFileEntry>& entries, Random& random, MutateBytes bytes) {
  const std::size_t at = random.below(entries.size());
  ZipFileEntry& entry = entries[at];
  switch (random.below(6)) {
    case 0:
      entry.name = entry.local_name = bytes(entry.name, random).substr(0, 0xffff);
      break;
    case 1:
      entries.push_back(entry);
      if (random.one_in(2)) entries.back().name = entries.back().local_name += "2";
      break;
    case 2:
      if (entries.size() > 1) entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 3:
      std::swap(entry, random.pick(entries));
      break;
    case 4: {
      const std::string content = content_of(entry);
      entry = entry.method == 0 ? compressed(entry.name, content) : stored(entry.name, content);
      break;
    }
    default:
      set_content(entry, bytes(content_of(entry), random));
  }
}

ZipOptions lying_options(const std::vector<ZipFileEntry>& entries, Random& random) {
  ZipOptions options;
  switch (random.below(4)) {
    case 0:
      options.entries = static_cast<std::int64_t>(entries.size() + random.below(3)) - 1;
      break;
    case 1:
      options.comment = "PK\x05\x06" + std::string(random.below(40), '\0');
      break;
    case 2:
      options.before = "PK";
      break;
    default:
      options.gap = std::string(random.below(30), 'P');
  }
  return options;
}

}  // namespace

std::string mutate_zip(std::string input, Random& random, MutateBytes bytes) {
  auto entries = entries_of(input);
  if (!entries || entries->empty()) return bytes(std::move(input), random);
  if (random.one_in(10)) return zip_file(*entries, lying_options(*entries, random));
  change_entries(*entries, random, bytes);
  if (random.one_in(6)) lie_about(random.pick(*entries), random);
  return zip_file(*entries);
}

std::string mutate_checkpoint(std::string input, Random& random, MutateBytes bytes) {
  if (input.starts_with('\x80')) return mutate_pickle(std::move(input), random, bytes);
  if (!input.starts_with("PK")) return mutate_safetensors(std::move(input), random, bytes);
  auto entries = entries_of(input);
  const auto is_pickle = [](const ZipFileEntry& entry) { return entry.name.ends_with("data.pkl"); };
  if (!entries || std::ranges::none_of(*entries, is_pickle) || random.one_in(8))
    return mutate_zip(std::move(input), random, bytes);
  ZipFileEntry& pickled = *std::ranges::find_if(*entries, is_pickle);
  if (random.one_in(4)) {
    ZipFileEntry& other = random.pick(*entries);
    set_content(other, bytes(content_of(other), random));
  } else {
    set_content(pickled, mutate_pickle(content_of(pickled), random, bytes));
  }
  return zip_file(*entries);
}

std::string mutate_safetensors(std::string input, Random& random, MutateBytes bytes) {
  constexpr std::size_t kLength = 8;
  std::uint64_t length = 0;
  if (input.size() >= kLength) std::memcpy(&length, input.data(), kLength);
  if (input.size() < kLength || length > input.size() - kLength) return bytes(std::move(input), random);
  std::string header = input.substr(kLength, length);
  std::string data = input.substr(kLength + length);
  if (random.one_in(4))
    data = bytes(std::move(data), random);
  else
    header = bytes(std::move(header), random);
  return little(header.size(), kLength) + header + data;
}

}  // namespace taper::fuzz
