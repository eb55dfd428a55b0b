#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>

#include "base/error.h"
#include "pipeline/steps.h"
#include "report/text.h"

namespace taper {
namespace {

constexpr std::string_view kHelp =
    R"(export_models turns PyTorch checkpoints into verified TFLite, SavedModel and ONNX files, and needs no PyTorch.

Examples
  export_models                                    Transformer.pt and GRU.pt of this folder, to exports/
  export_models --transformer runs/t.pt --gru runs/g.pt
  export_models --sequence-length 500 --output-dir my_exports
  export_models --verify-input recording.npz       verify with your frames instead of random numbers
  export_models --model wave=runs/wave.pt          a further checkpoint, to exports/wave_fp32.tflite, ...
  export_models --config heads.json                say what shapes can't: {"transformer": {"num_heads": 4}}
  export_models --quantize fp16 --to tflite        only the float16 TFLite files
  export_models --quantize int8 --calibration windows.npz
  export_models --json --no-verify > results.json

Checkpoints (a file that does not exist is skipped with a warning)
  --transformer FILE      a sign transformer, to sign_transformer*; Transformer.pt if there is one
  --gru FILE              a MediaPipe GRU, to mediapipe_gru*; GRU.pt if there is one
  --model NAME=PATH       a further checkpoint of a known family, to NAME*; may be repeated
  --config FILE           JSON with family, num_heads, pooling ("mean", "max", "cls") and norm_eps, for all models or
                          per model: {"transformer": {...}, "wave": {...}}; the name of a family may stand for {...}

Files
  --output-dir DIR        where to write (exports)
)";

constexpr std::string_view kTry = "Try 'export_models --help'.\n";

struct Texts {
  std::string transformer, gru;
  std::vector<std::string> models;
  JobTexts job;
};

void declare(CLI::App& app, Texts& texts) {
  app.add_option("--transformer", texts.transformer)->type_name("FILE");
  app.add_option("--gru", texts.gru)->type_name("FILE");
  app.add_option("--model", texts.models)->type_name("NAME=PATH")->allow_extra_args(false);
  declare_job_flags(app, texts.job, "--output-dir");
}

Status refuse_leftovers(const CLI::App& app) {
  const std::vector<std::string> leftovers = app.remaining();
  if (leftovers.empty()) return {};
  const std::string& first = leftovers.front();
  if (!first.starts_with('-')) {
    return fail("unexpected argument '{}': checkpoints are given by --transformer, --gru or --model NAME=PATH",
                printable(first));
  }
  return unknown_option(app, first);
}

Expected<NamedPath> read_named_path(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals + 1 == text.size()) {
    return fail("--model is '{}', expected NAME=PATH", printable(text));
  }
  NamedPath model{text.substr(0, equals), text.substr(equals + 1)};
  TAPER_TRY(check_model_name(model.name));
  return model;
}

Status read_models(const Texts& texts, ExportOptions& options) {
  std::set<std::string> taken = {"transformer", "gru", "sign_transformer", "mediapipe_gru"};
  for (const std::string& text : texts.models) {
    TAPER_ASSIGN(NamedPath model, read_named_path(text));
    if (!taken.insert(model.name).second) return fail("the model name '{}' is taken, choose another", model.name);
    options.models.push_back(std::move(model));
  }
  return {};
}

Expected<ExportOptions> make_sense(const CLI::App& app, const Texts& texts) {
  TAPER_TRY(refuse_leftovers(app));
  ExportOptions options;
  TAPER_TRY(read_path(app, "--transformer", texts.transformer, options.transformer));
  TAPER_TRY(read_path(app, "--gru", texts.gru, options.gru));
  TAPER_TRY(read_models(texts, options));
  TAPER_TRY(read_job_options(app, texts.job, options));
  return options;
}

Finish wrong_usage(const std::string& message) {
  return {2, fmt::format("error: {}\n{}", message, kTry)};
}

}  // namespace

std::string help_text() {
  return fmt::format("{}{}\n{}\n{}\n{}\n{}\n{}", kHelp, kFilesHelp, kQuantizeHelp, kVerificationHelp, kResourcesHelp,
                     kScreenHelp, kStatusHelp);
}

std::vector<std::string> known_flags() {
  CLI::App app;
  Texts texts;
  declare(app, texts);
  return flags_of(app);
}

std::variant<ExportOptions, Finish> parse_options(const std::vector<std::string>& arguments) {
  const auto given = [&](std::string_view flag) { return std::ranges::find(arguments, flag) != arguments.end(); };
  if (given("--help") || given("-h")) return Finish{0, help_text()};
  if (given("--version")) return Finish{0, fmt::format("taper {}\n", version())};

  CLI::App app;
  Texts texts;
  declare(app, texts);
  if (const Status parsed = parse_arguments(app, arguments); !parsed) return wrong_usage(parsed.error().message);
  Expected<ExportOptions> options = make_sense(app, texts);
  if (!options) return wrong_usage(options.error().text());
  return *std::move(options);
}

}  // namespace taper
