// Which kind of source a file is, told by its content.
#pragma once

#include <filesystem>
#include <optional>

#include "pipeline/model.h"

namespace taper {

// The kind of a file that holds a program; nothing for one that may hold a checkpoint or is of no kind that is read.
std::optional<SourceKind> program_kind(const SharedBytes& bytes);

// Reads a program of `kind`. `path` is where files beside an ONNX model are looked for.
Expected<ImportedProgram> import_program(SourceKind kind, const SharedBytes& bytes, const std::filesystem::path& path,
                                         const ProgramOptions& options);

// "torch.export program", "TorchScript program", ...
std::string_view program_format(SourceKind kind);

// The error of a file that can't be read to its end, with a next step if it has none.
Error perhaps_damaged(Error error);

}  // namespace taper
