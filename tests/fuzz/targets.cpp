#include "targets.h"

#include <algorithm>

namespace taper::fuzz {

namespace {
constexpr Target kTargets[] = {
    {"zip", zip, mutate_zip},
    {"pickle", pickle, mutate_pickle},
    {"pickle_scan", pickle_scan, mutate_checkpoint},
    {"checkpoint", checkpoint, mutate_checkpoint},
    {"torch_pickle", torch_pickle, mutate_pickle},
    {"safetensors", safetensors, mutate_safetensors},
    {"npy", npy},
    {"tensor_bundle", tensor_bundle, mutate_tensor_bundle},
    {"saved_model", saved_model, mutate_message},
    {"onnx", onnx, mutate_message},
    {"onnx_graph", onnx_graph, mutate_message},
    {"config", config},
    {"recipe", recipe},
    {"ir", ir},
    {"tflite", tflite, mutate_tflite},
    {"tensorflow", tensorflow, mutate_tensorflow},
    {"torchscript", torchscript},
    {"exported_program", exported_program, mutate_zip},
    {"export", export_model, mutate_checkpoint},
};
}  // namespace

std::span<const Target> targets() {
  return kTargets;
}

const Target* find_target(std::string_view name) {
  const auto* const found = std::ranges::find(kTargets, name, &Target::name);
  return found == std::end(kTargets) ? nullptr : found;
}

Bytes take_part(Bytes& bytes) {
  if (bytes.size() < 2) return {};
  const auto length = std::to_integer<std::size_t>(bytes[0]) | std::to_integer<std::size_t>(bytes[1]) << 8;
  const std::size_t cut = std::min(length, bytes.size() - 2);
  const Bytes part = bytes.subspan(2, cut);
  bytes = bytes.subspan(2 + cut);
  return part;
}

}  // namespace taper::fuzz
