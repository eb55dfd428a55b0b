// Steps that pretend: each model's fate is decided by the name of its file.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "base/error.h"
#include "pipeline/steps.h"
#include "scratch_folder.h"

namespace taper::testing_support {

// What the fake steps were asked.
struct Calls {
  std::vector<LoadOptions> loads;
  std::vector<ConvertOptions> conversions;
  std::vector<VerifyOptions> verifications;
};

// load fails for "broken.pt", throws for "throwing.pt", runs out of memory for "huge.pt"; convert fails for the stem
// "stubborn"; the stem "wrong" does not verify; "unjudged" is judged without LiteRT; "blind" fails to verify at all.
inline ExportSteps fake_steps(const std::shared_ptr<Calls>& calls = std::make_shared<Calls>()) {
  auto info = std::make_shared<ModelInfo>();
  ExportSteps steps;
  steps.load = [=](const std::filesystem::path& path, const LoadOptions& options) -> Expected<Model> {
    calls->loads.push_back(options);
    if (path.filename() == "broken.pt") {
      return std::unexpected(Error{"not a PyTorch file: found 'GIF8', expected a zip archive or a pickle",
                                   {fmt::format("in file '{}'", path.native())},
                                   "save the model again with torch.save"});
    }
    if (path.filename() == "throwing.pt") throw std::runtime_error("surprise");
    if (path.filename() == "huge.pt") throw std::bad_alloc();
    info->family = "MediaPipeGRU";
    info->hyper_parameters = {{"hidden1", "256", "shapes"}, {"norm_eps", "1e-06", "assumed"}};
    info->assumptions = {"norm_eps is taken to be 1e-06, which the checkpoint does not tell"};
    info->warnings.clear();
    if (path.filename() == "nan.pt") info->warnings = {"NaN in 'gru1.bias_ih_l0'"};
    info->input_shape = {1, options.sequence_length, 178};
    info->outputs = {"output"};
    info->parameters = 531'234;
    info->source = path;
    info->source_format = "PyTorch zip checkpoint";
    info->source_sha256 = "0123456789abcdef0123456789abcdef";
    return Model(nullptr);
  };
  steps.info = [=](const Model&) -> const ModelInfo& { return *info; };
  steps.convert = [=](const Model&, const std::filesystem::path& folder, const std::string& stem,
                      const ConvertOptions& options) -> Expected<std::vector<Artifact>> {
    calls->conversions.push_back(options);
    if (options.progress && options.quantize.calibration) options.progress("calibrating, sample 1 of 2");
    if (stem == "stubborn") return fail("the operator 'whirl' has no form in TFLite");
    std::vector<Artifact> artifacts;
    const auto add = [&](const std::string& key, const std::string& ending, std::uint64_t bytes) {
      artifacts.push_back({key, folder / (stem + ending), bytes, 0.0125, {}});
      std::ofstream(artifacts.back().path) << key;
    };
    if (options.onnx) add("onnx", ".onnx", 2'345'678);
    for (const Precision precision : options.tflite) {
      if (precision == Precision::fp32) add("tflite_fp32", "_fp32.tflite", 2'310'000);
      if (precision == Precision::fp16) add("tflite_fp16", "_fp16.tflite", 1'180'000);
      if (precision == Precision::int8) {
        add("tflite_int8", "_int8.tflite", 600'000);
        artifacts.back().quantization =
            QuantizationReport{.random_calibration = options.quantize.random_calibration, .integer_share = 0.9};
      }
    }
    return artifacts;
  };
  steps.memory = [](const Model&, const ExportRequest&) { return std::uint64_t{1} << 20; };
  steps.plan = [](const Model&, const ConvertOptions&) {
    using Plans = std::vector<std::pair<std::string, QuantizationReport>>;
    QuantizationReport report;
    report.layers = {{"head", "FULLY_CONNECTED", "float32", "it is excluded"}};
    report.tensors = {{"w", "int8 per channel, scale 0.1"}};
    return Expected<Plans>(Plans{{"tflite_int8", report}});
  };
  steps.layer_costs = [](const Model&, const ConvertOptions&, Precision) -> Expected<std::vector<LayerCost>> {
    return std::vector<LayerCost>{{"encoder.0", "FULLY_CONNECTED", 65536, 0.25},
                                  {"head", "FULLY_CONNECTED", 100, 0.01}};
  };
  steps.verify = [=](const Model&, const std::vector<Artifact>& artifacts,
                     const VerifyOptions& options) -> Expected<std::vector<Verification>> {
    calls->verifications.push_back(options);
    std::vector<Verification> verifications;
    for (const Artifact& artifact : artifacts) {
      const std::string name = artifact.path.filename().native();
      if (name.starts_with("blind")) return fail("LiteRT refuses '{}'", name);
      if (artifact.key == "onnx") continue;
      Verification verification;
      verification.key = artifact.key;
      verification.runtime = name.starts_with("unjudged") ? "taper reference evaluation" : "LiteRT";
      verification.runtime_version = name.starts_with("unjudged") ? "" : "2.3.0";
      if (name.starts_with("unjudged")) verification.note = "LiteRT was not found";
      verification.worst = {{1, 300, 178}, 0.999999, 2e-6, 3.5e-7, 1.0};
      verification.runs = {verification.worst, verification.worst};
      verification.runs[1].input_shape = {3, 77, 178};
      verification.seconds = 0.0305;
      verification.passed = !name.starts_with("wrong");
      if (!verification.passed) verification.verdict = "relative error 0.3, at most 0.0001 is allowed";
      verifications.push_back(verification);
    }
    return verifications;
  };
  return steps;
}

}  // namespace taper::testing_support
