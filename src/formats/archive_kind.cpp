#include "formats/archive_kind.h"

#include <algorithm>

namespace taper {
namespace {

constexpr std::string_view kSaveHint =
    "load it in PyTorch and save its state dict: torch.save(model.state_dict(), 'model.pt')";
constexpr std::string_view kConvertHint = "convert it as the program that it is, with 'taper convert'";
constexpr std::string_view kTorchScript = "a TorchScript program, parts of which run when it is loaded";
constexpr std::string_view kExported = "an exported program";

// In the order of precedence: a TorchScript archive holds data.pkl too.
constexpr ArchiveKind kOtherArchives[] = {
    {"bytecode.pkl", "TorchScript (mobile)", "this is a TorchScript program for mobile (.ptl), expected a checkpoint",
     kConvertHint, kTorchScript},
    {"constants.pkl", "TorchScript", "this is a TorchScript program (torch.jit.save), expected a checkpoint",
     kConvertHint, kTorchScript},
    {"archive_format", "torch.export", "this is a program of torch.export (.pt2), expected a checkpoint", kConvertHint,
     kExported},
    {"serialized_exported_program.json", "torch.export",
     "this is a program of torch.export (.pt2), expected a checkpoint", kConvertHint, kExported},
    {"models/model.json", "torch.export", "this is a program of torch.export (.pt2), expected a checkpoint",
     kConvertHint, kExported},
    {"model.json", "TorchScript (PyTorch 1.0)",
     "this is a TorchScript archive of PyTorch 1.0, which taper does not read", kSaveHint, kTorchScript},
    {"model.weights.h5", "Keras (.keras)", "this is a Keras archive (.keras), expected a PyTorch checkpoint",
     "TensorFlow converts its own models (tf.lite.TFLiteConverter); taper reads them as ONNX, which tf2onnx writes",
     "a Keras model, whose Lambda layers would be Python code"},
    {"*.npy", "NumPy .npz", "this is a NumPy archive (.npz), expected a PyTorch checkpoint",
     "give it to --verify-input if it holds sample inputs", ""},
};

bool matches(const ArchiveKind& kind, std::string_view name) {
  if (kind.marker.starts_with('*')) return name.ends_with(kind.marker.substr(1));
  return name == kind.marker || without_top_folder(name) == kind.marker;
}

}  // namespace

const ArchiveKind* other_archive(const ZipArchive& archive) {
  const auto* found = std::ranges::find_if(kOtherArchives, [&](const ArchiveKind& kind) {
    return std::ranges::any_of(archive.entries(), [&](const ZipEntry& entry) { return matches(kind, entry.name); });
  });
  return found != std::end(kOtherArchives) ? found : nullptr;
}

std::string_view without_top_folder(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

}  // namespace taper
