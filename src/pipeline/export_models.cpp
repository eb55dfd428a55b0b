// The public functions over the real steps.
#include "base/error.h"
#include "pipeline/memory.h"
#include "pipeline/steps.h"

namespace taper {

Expected<ModelConfig> read_config(const std::filesystem::path& path, const std::string& model_key) {
  TAPER_ASSIGN(const ConfigFile file, read_config_file(path, known_families()));
  return file.of(model_key);
}

ExportReport export_models(const ExportRequest& request) {
  return run_export(request, {.load = load,
                              .info = [](const Model& model) -> const ModelInfo& { return model.info(); },
                              .convert = convert,
                              .verify = verify,
                              .memory = estimate_memory,
                              .plan = plan_quantization,
                              .layer_costs = [](const Model& model, const ConvertOptions& options,
                                                Precision precision) { return layer_costs(model, options, precision); },
                              .info_of_files = info_of_files,
                              .unknown_weights = unknown_weights});
}

}  // namespace taper
