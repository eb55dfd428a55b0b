#include "pipeline/sources.h"

#include "formats/archive_kind.h"
#include "formats/file_look.h"
#include "frontend/exported_program.h"
#include "frontend/torchscript.h"

namespace taper {

std::optional<SourceKind> program_kind(const SharedBytes& bytes) {
  if (looks_like_zip(as_text(bytes.view))) {
    const auto archive = open_zip(bytes);
    const ArchiveKind* kind = archive ? other_archive(*archive) : nullptr;
    if (kind != nullptr && (kind->format == "TorchScript" || kind->format == "TorchScript (mobile)"))
      return SourceKind::torchscript;
    if (kind != nullptr && kind->format == "torch.export") return SourceKind::exported_program;
    return std::nullopt;
  }
  return std::nullopt;
}

Expected<ImportedProgram> import_program(SourceKind kind, const SharedBytes& bytes, const std::filesystem::path&,
                                         const ProgramOptions& options) {
  switch (kind) {
    case SourceKind::torchscript:
      return import_torchscript(bytes, options);
    case SourceKind::exported_program:
      return import_exported_program(bytes, options);
    case SourceKind::onnx:
    case SourceKind::family:
    case SourceKind::module:
      break;
  }
  return fail("a checkpoint is no program");
}

std::string_view program_format(SourceKind kind) {
  switch (kind) {
    case SourceKind::exported_program:
      return "torch.export program";
    case SourceKind::torchscript:
      return "TorchScript program";
    case SourceKind::onnx:
      return "ONNX model";
    case SourceKind::module:
      return "pickled module";
    case SourceKind::family:
      break;
  }
  return "checkpoint";
}

}  // namespace taper
