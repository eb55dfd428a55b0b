// Files mapped into memory, and what happens when somebody changes one meanwhile.
#pragma once

#include <filesystem>

#include "base/bytes.h"

namespace taper {

// Maps a regular file read-only. Errors: missing, a symbolic link, a folder, a device, FIFO or socket (none of which is
// opened), not readable, more than 1024 files mapped at a time. An empty file is an empty span.
Expected<SharedBytes> map_file(const std::filesystem::path& path);

// Fails if the file that `mapped` views has another length or modification time than when it was mapped, or was cut off
// while it was read: then what was read is worth nothing. Bytes that are not of a mapped file are unchanged.
Status check_unchanged(const SharedBytes& mapped);

// The result of reading `mapped`, or that the file changed: this comes first, because it explains other errors.
template <class T>
Expected<T> unless_changed(const SharedBytes& mapped, Expected<T> result) {
  if (Status unchanged = check_unchanged(mapped); !unchanged) return std::unexpected(std::move(unchanged).error());
  return result;
}

// Says that these bytes are not needed soon: pages of a mapped file don't count as this process's memory any more until
// they are read again. Nothing happens to other memory.
void release_pages(Bytes bytes);

// Reading behind the end of a mapped file that somebody cut off raises SIGBUS, which ends a program. After this call
// such reads give zeros, and check_unchanged fails. For programs, once at the start; a SIGBUS of another cause ends the
// program as before.
void survive_cut_files();

}  // namespace taper
