#include "cli/export_models.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "base/error.h"
#include "cli/options.h"
#include "pipeline/steps.h"
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

// A model that the file speaks of and nobody knows is a slip of the pen, which would leave a model without its values.
Status refuse_unknown_models(const ConfigFile& file, const std::vector<ModelRequest>& models) {
  std::set<std::string> known;
  for (const NamedModel& named : kNamedModels) known.insert(named.key);
  for (const ModelRequest& model : models) known.insert(model.key);
  for (const auto& [key, config] : file.by_model) {
    if (!known.contains(key)) {
      return fail("it speaks of a model '{}', expected one of: {}", printable(key), fmt::join(known, ", "));
    }
  }
  return {};
}

Status apply_config(const fs::path& path, const std::vector<std::string>& families, std::vector<ModelRequest>& models) {
  TAPER_ASSIGN(const ConfigFile file, read_config_file(path, families));
  if (Status known = refuse_unknown_models(file, models); !known) {
    return std::unexpected(
        within(std::move(known).error(), fmt::format("in the configuration file '{}'", path_text(path))));
  }
  for (ModelRequest& model : models) model.config = file.of(model.key);
  return {};
}

Error no_default_files() {
  std::error_code ignored;
  return {fmt::format("no checkpoint was found: there is neither Transformer.pt nor GRU.pt in '{}'",
                      path_text(fs::current_path(ignored))),
          {},
          "export_models --transformer path/to/t.pt --gru path/to/g.pt"};
}

// The request, or what keeps it from being run.
Expected<ExportRequest> request_of(const ExportOptions& options, const std::vector<std::string>& families) {
  ExportRequest request;
  request.models = models_of(options);
  if (request.models.empty()) return std::unexpected(no_default_files());
  if (options.config) TAPER_TRY(apply_config(*options.config, families, request.models));
  request.output_dir = options.output_dir;
  request.sequence_length = options.sequence_length;
  request.all_heads = options.all_heads;
  request.verify = options.verify;
  request.convert = options.convert;
  request.verification.input = options.verify_input;
  request.jobs = options.jobs;
  request.max_memory = options.max_memory;
  return request;
}

TerminalStyle style_of(const ExportOptions& options, const ProgramContext& context) {
  TerminalStyle style = detect_style(context.out, context.err, context.environment);
  style.quiet = options.quiet || options.json;
  style.verbose = options.verbose;
  style.colour_out = style.colour_out && options.colour;
  style.colour_err = style.colour_err && options.colour;
  return style;
}

ExportReport run(const ExportOptions& options, const ProgramContext& context, Terminal& terminal) {
  Expected<ExportRequest> request = request_of(options, context.families);
  if (!request) {
    ExportReport report;
    report.error = std::move(request).error();
    return report;
  }
  request->progress = [&](const Progress& progress) { terminal.show(progress); };
  return context.job(*request);
}

}  // namespace

int run_export_models(const std::vector<std::string>& arguments, const ProgramContext& context) {
  const auto parsed = parse_options(arguments);
  if (const auto* finish = std::get_if<Finish>(&parsed)) {
    (finish->status == 0 ? context.out : context.err).write(finish->text);
    return finish->status;
  }
  const auto& options = std::get<ExportOptions>(parsed);
  Terminal terminal(style_of(options, context), context.out, context.err);
  if (options.sandbox && context.give_up_rights) {
    const Status given_up = context.give_up_rights();
    if (!given_up && options.verbose) terminal.show_warning(given_up.error());
  }
  const ExportReport report = run(options, context, terminal);
  terminal.summarize(report);
  if (options.json) context.out.write(to_json(report));
  return report.succeeded() ? 0 : 1;
}

}  // namespace taper
