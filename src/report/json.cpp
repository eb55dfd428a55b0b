// The content of export_results.json.
#include <nlohmann/json.hpp>

#include "report/text.h"
#include "report/weight_tree.h"
#include "taper/taper.h"

namespace taper {
namespace {

// Keeps the order of insertion. A reference into it dies with the next insertion: build parts first, then add them.
using Json = nlohmann::ordered_json;

// "fp32" for "tflite_fp32": figures of TFLite files are named by precision, that of the SavedModel by its format.
std::string figure_name(const std::string& artifact_key) {
  if (artifact_key == "tensorflow") return "saved_model";
  constexpr std::string_view kPrefix = "tflite_";
  return artifact_key.starts_with(kPrefix) ? artifact_key.substr(kPrefix.size()) : artifact_key;
}

// NaN and infinities have no number in JSON: they are null, and `verdict` says what happened.
Json agreement_json(const Agreement& agreement) {
  Json json = {{"input_shape", agreement.input_shape},       {"cosine_similarity", agreement.cosine_similarity},
               {"max_error", agreement.max_error},           {"relative_error", agreement.relative_error},
               {"top1_agreement", agreement.top1_agreement}, {"signal_to_noise_db", agreement.signal_to_noise}};
  if (agreement.samples > 1) json["samples"] = agreement.samples;
  if (agreement.input_shapes.size() > 1) json["input_shapes"] = agreement.input_shapes;
  if (agreement.unlike > 0) json["unlike_integers"] = agreement.unlike;
  if (agreement.nonfinite > 0) json["nonfinite_as_in_reference"] = agreement.nonfinite;
  if (agreement.unlike_nonfinite > 0) json["nonfinite_unlike_reference"] = agreement.unlike_nonfinite;
  return json;
}

Json judged_json(const Verification& verification) {
  Json runs = Json::array();
  for (const Agreement& run : verification.runs) runs.push_back(agreement_json(run));
  Json json = {{"passed", verification.passed},
               {"runtime", verification.runtime},
               {"runtime_version", verification.runtime_version},
               {"max_error", verification.worst.max_error},
               {"relative_error", verification.worst.relative_error},
               {"top1_agreement", verification.worst.top1_agreement},
               {"signal_to_noise_db", verification.worst.signal_to_noise},
               {"seconds", verification.seconds},
               {"runs", std::move(runs)}};
  if (verification.held_out) json["held_out_samples"] = verification.worst.samples;
  if (!verification.verdict.empty()) json["verdict"] = verification.verdict;
  return json;
}

Json verification_json(const std::vector<Verification>& verifications) {
  Json json = Json::object();
  Json files = Json::object();
  for (const Verification& verification : verifications) {
    json[figure_name(verification.key) + "_cosine_similarity"] = verification.worst.cosine_similarity;
    files[verification.key] = judged_json(verification);
  }
  if (!verifications.empty()) json["files"] = std::move(files);
  return json;
}

void add_error(Json& json, const Error& error) {
  json["error"] = error.text();
  if (!error.hint.empty()) json["next_step"] = error.hint;
}

Json types_json(const std::vector<TensorInfo>& tensors) {
  Json json = Json::array();
  for (const TensorInfo& tensor : tensors)
    json.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
  return json;
}

void add_info(Json& json, const ModelInfo& info) {
  json["family"] = info.family;
  Json values = Json::object();
  for (const HyperParameter& parameter : info.hyper_parameters) {
    values[parameter.name] = {{"value", parameter.value}, {"origin", parameter.origin}};
  }
  json["hyper_parameters"] = std::move(values);
  json["parameters"] = info.parameters;
  json["outputs"] = info.outputs;
  json["input_types"] = types_json(info.inputs);
  json["output_types"] = types_json(info.output_types);
  json["assumed"] = info.assumptions;
}

// An object with an entry for each artifact.
template <class Describe>
Json by_artifact(const ModelReport& model, Describe describe) {
  Json json = Json::object();
  for (const Artifact& artifact : model.artifacts) json[artifact.key] = describe(artifact);
  return json;
}

Json seconds_json(const ModelReport& model) {
  Json json = Json::object();
  for (const auto& [stage, seconds] : model.stage_seconds) json[stage] = seconds;
  return json;
}

Json notes_json(const ModelReport& model) {
  Json json = Json::object();
  for (const Artifact& artifact : model.artifacts) {
    if (!artifact.notes.empty()) json[artifact.key] = artifact.notes;
  }
  return json;
}

Json quantization_json(const QuantizationReport& report) {
  Json layers = Json::array();
  for (const QuantizationReport::Layer& layer : report.layers)
    if (!layer.reason.empty())
      layers.push_back({{"layer", layer.layer}, {"operation", layer.operation}, {"reason", layer.reason}});
  Json tensors = Json::object();
  for (const QuantizationReport::Tensor& tensor : report.tensors) tensors[tensor.name] = tensor.storage;
  Json json = {{"integer_share", report.integer_share}, {"calibration_samples", report.calibration_samples}};
  if (report.random_calibration) json["random_calibration"] = true;
  json["float_layers"] = std::move(layers);
  json["tensors"] = std::move(tensors);
  return json;
}

// By the files of integers.
Json quantizations_json(const ModelReport& model) {
  Json json = Json::object();
  for (const Artifact& artifact : model.artifacts)
    if (artifact.quantization) json[artifact.key] = quantization_json(*artifact.quantization);
  return json;
}

Json layer_costs_json(const ModelReport& model) {
  Json json = Json::object();
  for (const auto& [key, costs] : model.layer_costs) {
    Json layers = Json::array();
    for (const LayerCost& cost : costs)
      layers.push_back({{"layer", cost.layer},
                        {"operation", cost.operation},
                        {"weights", cost.weights},
                        {"relative_error", cost.relative_error}});
    json[key] = std::move(layers);
  }
  return json;
}

Json model_json(const ModelReport& model) {
  Json json;
  json["model_name"] = model.model_name;
  if (model.skipped) json["skipped"] = true;
  if (model.error) add_error(json, *model.error);
  if (model.found) json["found"] = weight_tree_json(*model.found);
  if (model.info) json["input_shape"] = model.info->input_shape;
  json["files"] = by_artifact(model, [](const Artifact& artifact) { return artifact.path.native(); });
  json["sizes"] = by_artifact(model, [](const Artifact& artifact) { return human_size(artifact.bytes); });
  json["verification"] = verification_json(model.verifications);
  json["bytes"] = by_artifact(model, [](const Artifact& artifact) { return artifact.bytes; });
  json["seconds"] = seconds_json(model);
  json["peak_memory_bytes"] = model.peak_memory;
  if (model.info) add_info(json, *model.info);
  json["warnings"] = model.warnings;
  json["notes"] = notes_json(model);
  if (Json quantizations = quantizations_json(model); !quantizations.empty())
    json["quantization"] = std::move(quantizations);
  if (!model.layer_costs.empty()) json["layer_costs"] = layer_costs_json(model);
  json["source"] = model.source.native();
  if (model.info) {
    json["source_kind"] = source_kind_name(model.info->kind);
    json["source_format"] = model.info->source_format;
    json["source_sha256"] = model.info->source_sha256;
  }
  return json;
}

}  // namespace

std::string_view source_kind_name(SourceKind kind) {
  switch (kind) {
    case SourceKind::family:
      return "family";
    case SourceKind::exported_program:
      return "exported program";
    case SourceKind::torchscript:
      return "TorchScript";
    case SourceKind::module:
      return "module";
    case SourceKind::onnx:
      return "ONNX";
  }
  return "";
}

std::string to_json(const ExportReport& report) {
  Json json = Json::object();
  for (const ModelReport& model : report.models) json[model.key] = model_json(model);
  if (report.error) add_error(json, *report.error);
  json["taper_version"] = version();
  // Names in files may be any bytes: what is no UTF-8 is replaced by U+FFFD.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace taper
