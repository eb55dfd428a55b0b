// One entry for checkpoints of all forms: looks at the first bytes, never at the file's name.
#pragma once

#include <filesystem>

#include "formats/torch_checkpoint.h"

namespace taper {

// Maps and reads a checkpoint: torch.save's zip and legacy formats, or safetensors (whose root is a dict of tensors).
// Errors carry "in file '...'"; a file of another kind is named by what it looks like (a git-lfs pointer, an HTML page,
// ONNX, TFLite, HDF5, an empty file, a truncated archive...), with a hint. The result keeps the mapping alive.
Expected<Checkpoint> read_checkpoint(const std::filesystem::path& path);
// The same for bytes already in memory, without the file's name in errors.
Expected<Checkpoint> read_checkpoint(SharedBytes bytes);

}  // namespace taper
