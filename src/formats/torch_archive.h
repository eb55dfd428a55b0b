// Zip archives of PyTorch: one top folder, pickles, and storages as entries of their own. Internal to formats.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "formats/pickle.h"
#include "formats/zip.h"

namespace taper {

struct TorchArchive {
  std::shared_ptr<const ZipArchive> zip;
  std::string top;  // the top folder with its slash ("archive/"), which is any name
  bool big_endian = false;
  std::size_t file_size = 0;
};

// Opens the archive; `top` is for the caller to find. Errors: what open_zip says, names that differ in case alone.
Expected<TorchArchive> open_torch_archive(SharedBytes bytes);

// Reads the entries that tell the version and byte order. Errors: a version that PyTorch itself doesn't read.
Status check_form(TorchArchive& archive);

// Reads the pickle `name` of the top folder into plain values and tensors (see read_torch_checkpoint), whose storages
// are entries in one of `folders`. Errors: damaged, dangerous, storages that are missing or too short.
Expected<pickle::Document> read_archived_pickle(const TorchArchive& archive, std::string_view name,
                                                std::initializer_list<const char*> folders);

}  // namespace taper
