// Zip archives that are no checkpoints of torch.save, told by the names of their entries. Internal to formats.
#pragma once

#include <string_view>

#include "formats/zip.h"

namespace taper {

struct ArchiveKind {
  std::string_view marker;   // an entry's name, below the top folder or not; a suffix if it starts with '*'
  std::string_view format;   // "TorchScript"
  std::string_view message;  // for who wants a checkpoint
  std::string_view hint;
  std::string_view code;  // what code it carries; empty if none
};

// The kind of an archive that holds something else than a checkpoint; null if it isn't one of those known.
const ArchiveKind* other_archive(const ZipArchive& archive);

// "data.pkl" of "archive/data.pkl".
std::string_view without_top_folder(std::string_view name);

}  // namespace taper
