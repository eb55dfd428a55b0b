#include "cli/export_models.h"

#include <fmt/format.h>

#include "base/error.h"
#include "cli/options.h"
#include "report/text.h"

namespace taper {
namespace {

namespace fs = std::filesystem;

// The two models that have flags of their own.
struct NamedModel {
  const char* key;
  const char* stem;
  const char* default_file;
  std::optional<fs::path> ExportOptions::* path;
};
constexpr NamedModel kNamedModels[] = {
    {"transformer", "sign_transformer", "Transformer.pt", &ExportOptions::transformer},
    {"gru", "mediapipe_gru", "GRU.pt", &ExportOptions::gru},
};

bool exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

// What was asked for, whether it exists or not, and the default files that do.
std::vector<ModelRequest> models_of(const ExportOptions& options) {
  std::vector<ModelRequest> models;
  for (const NamedModel& named : kNamedModels) {
    const std::optional<fs::path>& given = options.*named.path;
    if (given) {
      models.push_back({named.key, named.stem, *given, {}});
    } else if (exists(named.default_file)) {
      models.push_back({named.key, named.stem, named.default_file, {}});
    }
  }
  for (const NamedPath& model : options.models) models.push_back({model.name, model.name, model.path, {}});
  return models;
}

Error no_default_files() {
  std::error_code ignored;
  return {fmt::format("no checkpoint was found: there is neither Transformer.pt nor GRU.pt in '{}'",
                      path_text(fs::current_path(ignored))),
          {},
          "export_models --transformer path/to/t.pt --gru path/to/g.pt"};
}

// The request, or what keeps it from being run.
Expected<ExportRequest> make_request(const ExportOptions& options, const std::vector<std::string>& families) {
  ExportRequest request = request_of(options);
  request.models = models_of(options);
  if (request.models.empty()) return std::unexpected(no_default_files());
  if (options.config) {
    std::vector<std::string> keys;
    for (const NamedModel& named : kNamedModels) keys.emplace_back(named.key);
    TAPER_TRY(apply_config(*options.config, families, keys, request.models));
  }
  return request;
}

}  // namespace

int run_export_models(const std::vector<std::string>& arguments, const ProgramContext& context) {
  const auto parsed = parse_options(arguments);
  if (const auto* finish = std::get_if<Finish>(&parsed)) {
    (finish->status == 0 ? context.out : context.err).write(finish->text);
    return finish->status;
  }
  const auto& options = std::get<ExportOptions>(parsed);
  return run_job(options, make_request(options, context.families), context);
}

}  // namespace taper
