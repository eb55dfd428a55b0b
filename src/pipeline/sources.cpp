#include "pipeline/sources.h"

#include "formats/archive_kind.h"
#include "formats/file_look.h"
#include "formats/onnx.h"
#include "frontend/exported_program.h"
#include "frontend/onnx.h"
#include "frontend/torchscript.h"

namespace taper {
namespace {

// ModelProto's fields may come in any order; what is no protobuf message with a graph and an opset isn't one.
bool is_onnx(const SharedBytes& bytes) {
  const std::string_view text = as_text(bytes.view);
  if (looks_like_onnx(text)) return true;
  if (text.empty() || look_of(text) != nullptr || looks_like_text(text) || looks_like_safetensors(text) ||
      looks_like_tar(text) || text.starts_with('\x80'))
    return false;
  return read_onnx(bytes.view).has_value();
}

}  // namespace

std::optional<SourceKind> program_kind(const SharedBytes& bytes) {
  if (looks_like_zip(as_text(bytes.view))) {
    const auto archive = open_zip(bytes);
    const ArchiveKind* kind = archive ? other_archive(*archive) : nullptr;
    if (kind != nullptr && kind->format == "torch.export") return SourceKind::exported_program;
    if (kind != nullptr && (kind->format == "TorchScript" || kind->format == "TorchScript (mobile)"))
      return SourceKind::torchscript;
    return std::nullopt;
  }
  if (is_onnx(bytes)) return SourceKind::onnx;
  return std::nullopt;
}

Expected<ImportedProgram> import_program(SourceKind kind, const SharedBytes& bytes, const std::filesystem::path& path,
                                         const ProgramOptions& options) {
  switch (kind) {
    case SourceKind::exported_program:
      return import_exported_program(bytes, options);
    case SourceKind::torchscript:
      return import_torchscript(bytes, options);
    case SourceKind::onnx:
      return import_onnx(path, bytes, options);
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

Error perhaps_damaged(Error error) {
  return hinted(std::move(error), "the file may be cut off or damaged: copy or download it again, or save it again");
}

}  // namespace taper
