// Zip archives in memory: the directory, checked as a whole, and entries as views or inflated buffers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace taper {

struct ZipEntry {
  std::string name;
  bool deflated = false;    // else stored
  std::uint32_t crc32 = 0;  // as declared, of the uncompressed bytes
  std::uint64_t size = 0;   // uncompressed, as declared
  std::uint64_t compressed_size = 0;
  std::uint64_t data_offset = 0;  // where the entry's bytes start in the archive
};

// An opened archive. Invariants, established by open_zip: names are unique, each entry's bytes lie inside the archive,
// before the directory, and no two entries share bytes.
class ZipArchive {
 public:
  // In the order of the directory.
  const std::vector<ZipEntry>& entries() const { return entries_; }
  // The entry of that name, or null. Logarithmic.
  const ZipEntry* find(std::string_view name) const;
  // The uncompressed bytes. A stored entry is a view of the archive and its CRC is not computed (see `verify`); a
  // deflated one is inflated into a buffer of its own and its CRC is checked. Errors: damaged data, a size that the
  // data doesn't have.
  Expected<SharedBytes> read(const ZipEntry& entry) const;
  // Checks the CRC of a stored entry too; reads every byte of it.
  Status verify(const ZipEntry& entry) const;

 private:
  friend Expected<ZipArchive> open_zip(SharedBytes bytes);
  SharedBytes bytes_;
  std::vector<ZipEntry> entries_;
  std::vector<std::uint32_t> by_name_;  // indices of entries_, sorted by name
};

// Reads the directory (zip and zip64) and the header of each entry. Errors: not an archive, truncated, encrypted
// entries, methods other than stored and deflated, sizes that can't be true (deflate expands at most 1032 times),
// entries that overlap or are named twice, names that are empty, absolute, or climb out of their folder with "..".
// Time: n log n of the entries.
Expected<ZipArchive> open_zip(SharedBytes bytes);

}  // namespace taper
