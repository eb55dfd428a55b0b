#include "cli/convert.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "pipeline/steps.h"
#include "report/text.h"

namespace taper {
namespace {

constexpr std::string_view kHelp =
    R"(taper convert turns what PyTorch saves into verified TFLite, SavedModel and ONNX files, and needs no PyTorch.

Examples
  taper convert model.pt2                          model_fp32.tflite, model_fp16.tflite, model.onnx, model_tf
  taper convert model.pt2 -o out/ --name net --to tflite --quantize fp16
  taper convert traced.pt --input-shape image=1,3,224,224 --input-shape ids=B,16 --input-dtype ids=int64
  taper convert model.pt2 --dynamic x:0 --dynamic x:2       open sizes that export fixed
  taper convert model.pt2 --verify-input samples.npz        verify with your inputs instead of random numbers
  taper convert model.pt2 --quantize fp32,dynamic,int8 --calibration samples.npz
  taper convert model.onnx -o out/ --dump-ir passes/ --check-each

Files may be programs of torch.export (.pt2), TorchScript (traced, scripted, mobile), pickled modules of torch.nn's
classes, ONNX, and state dicts of the families that export_models knows.

)";

constexpr std::string_view kFamilyHelp =
    R"(Checkpoints of known families
  --config FILE           JSON with family, num_heads, pooling ("mean", "max", "cls") and norm_eps

Files
  -o, --output-dir DIR    where to write (the current folder)
  --name NAME             of the outputs: NAME_fp32.tflite, ... (that of the file)
  --io-layout LAYOUT      nhwc: images [N, C, H, W] become [N, H, W, C] in inputs and outputs; source: as they are
)";

constexpr std::string_view kDebugHelp =
    R"(Looking inside
  --dump-ir DIR           write the graph after each pass that changed it, as text
  --check-each            evaluate the graph after each pass and name the first one that changes results
)";

constexpr std::string_view kTry = "Try 'taper convert --help'.\n";

struct Texts {
  std::string name, dump_ir, layout = "source";
  InputTexts inputs;
  bool check_each = false;
  JobTexts job;
};

void declare(CLI::App& app, Texts& texts) {
  declare_job_flags(app, texts.job, "-o,--output-dir");
  app.add_option("--name", texts.name)->type_name("NAME");
  declare_input_flags(app, texts.inputs);
  app.add_option("--io-layout", texts.layout)->type_name("nhwc|source");
  app.add_option("--dump-ir", texts.dump_ir)->type_name("DIR");
  app.add_flag("--check-each", texts.check_each);
}

// What doesn't start with '-' is a file, and so is all that follows "--".
Status read_files(const CLI::App& app, ConvertCommand& command) {
  bool only_files = false;
  for (const std::string& word : app.remaining()) {
    if (!only_files && word == "--") {
      only_files = true;
    } else if (!only_files && word.starts_with('-')) {
      return unknown_option(app, word);
    } else {
      if (word.empty()) return fail("the name of a file is empty");
      command.files.emplace_back(word);
    }
  }
  if (command.files.empty()) return fail("no file is given");
  return {};
}

Expected<ConvertCommand> make_sense(const CLI::App& app, const Texts& texts) {
  ConvertCommand command;
  TAPER_TRY(read_files(app, command));
  TAPER_TRY(read_job_options(app, texts.job, command));
  TAPER_ASSIGN(command.inputs, read_input_options(texts.inputs));
  if (app.count("--name") > 0) {
    if (texts.name.empty()) return fail("--name is empty, expected a name for the outputs");
    if (command.files.size() > 1) return fail("--name is for one file, {} are given", command.files.size());
    TAPER_TRY(check_model_name(texts.name));
    command.name = texts.name;
  }
  if (texts.layout != "nhwc" && texts.layout != "source")
    return fail("--io-layout is '{}', expected nhwc or source", printable(texts.layout));
  command.convert.channels_last = texts.layout == "nhwc";
  TAPER_TRY(read_path(app, "--dump-ir", texts.dump_ir, command.convert.dump_ir));
  command.convert.check_each = texts.check_each;
  return command;
}

Finish wrong_usage(const std::string& message) {
  return {2, fmt::format("error: {}\n{}", message, kTry)};
}

std::string help_text_of_convert() {
  return fmt::format("{}{}\n{}{}\n{}\n{}\n{}\n{}\n{}\n{}", kHelp, kInputsHelp, kFamilyHelp, kFilesHelp, kQuantizeHelp,
                     kVerificationHelp, kDebugHelp, kResourcesHelp, kScreenHelp, kStatusHelp);
}

Expected<ExportRequest> make_request(const ConvertCommand& command, const std::vector<std::string>& families) {
  ExportRequest request = request_of(command);
  for (const std::filesystem::path& file : command.files) {
    const std::string stem = command.name.empty() ? file.stem().native() : command.name;
    request.models.push_back({stem, stem, file, {}, command.inputs});
  }
  if (command.config) TAPER_TRY(apply_config(*command.config, families, {}, request.models));
  return request;
}

}  // namespace

std::vector<std::string> known_convert_flags() {
  CLI::App app;
  Texts texts;
  declare(app, texts);
  return flags_of(app);
}

std::variant<ConvertCommand, Finish> parse_convert(const std::vector<std::string>& arguments) {
  const auto given = [&](std::string_view flag) { return std::ranges::find(arguments, flag) != arguments.end(); };
  if (given("--help") || given("-h")) return Finish{0, help_text_of_convert()};
  if (given("--version")) return Finish{0, fmt::format("taper {}\n", version())};

  CLI::App app;
  Texts texts;
  declare(app, texts);
  if (const Status parsed = parse_arguments(app, arguments); !parsed) return wrong_usage(parsed.error().message);
  Expected<ConvertCommand> command = make_sense(app, texts);
  if (!command) return wrong_usage(command.error().text());
  return *std::move(command);
}

int run_convert(const std::vector<std::string>& arguments, const ProgramContext& context) {
  const auto parsed = parse_convert(arguments);
  if (const auto* finish = std::get_if<Finish>(&parsed)) {
    (finish->status == 0 ? context.out : context.err).write(finish->text);
    return finish->status;
  }
  const auto& command = std::get<ConvertCommand>(parsed);
  return run_job(command, make_request(command, context.families), context);
}

}  // namespace taper
