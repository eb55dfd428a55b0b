#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "cli/suggest.h"
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
  export_models --json --no-verify > results.json

Checkpoints (a file that does not exist is skipped with a warning)
  --transformer FILE      a sign transformer, to sign_transformer*; Transformer.pt if there is one
  --gru FILE              a MediaPipe GRU, to mediapipe_gru*; GRU.pt if there is one
  --model NAME=PATH       a further checkpoint of a known family, to NAME*; may be repeated
  --config FILE           JSON with family, num_heads, pooling ("mean", "max", "cls") and norm_eps, for all models or
                          per model: {"transformer": {...}, "wave": {...}}; the name of a family may stand for {...}

Files
  --output-dir DIR        where to write (exports)
  --sequence-length N     frames of the default input shape (300); dynamic files take other lengths too
  --heads gloss|all       all: the category head too, as the output `category` (gloss)
  --static                freeze batch 1 and the sequence length
  --to LIST               of onnx, savedmodel, tflite (all of them)
  --quantize LIST         which TFLite files: of fp32, fp16 (fp32,fp16)

Verification (TFLite files are run in LiteRT, SavedModels in TensorFlow if it is there, against the checkpoint's own
arithmetic)
  --verify-input FILE     .npz (array X, or the only one) or .npy with frames [T, F] or [N, T, F]
  --no-verify             write only

Resources
  --jobs N                models exported side by side (1), as far as memory allows; the files are the same
  --max-memory SIZE       refuse what would need more, before it is converted: 500M, 2G (powers of 1024)
  --no-sandbox            keep the rights to open sockets and to start programs, which are given up otherwise

Screen
  --json                  print the results as JSON to standard output and nothing else there
  --quiet                 only warnings and errors
  -v, --verbose           also where each value comes from and the agreement at each shape
  --no-color              no colours (as does the environment variable NO_COLOR)
  --version, -h, --help

Exit status: 0 all models that were found are exported and verified; 1 a model failed, or none was found; 2 wrong usage;
130, 143, 129 stopped by SIGINT, SIGTERM, SIGHUP: then nothing half-written is left.
)";

constexpr std::string_view kTry = "Try 'export_models --help'.\n";

// The command line as CLI11 sees it: texts, which have yet to make sense.
struct Texts {
  std::string transformer, gru, output_dir = "exports", config, sequence_length = "300", heads = "gloss", verify_input;
  std::string jobs = "1", max_memory;
  std::string to = "onnx,savedmodel,tflite", quantize = "fp32,fp16";
  std::vector<std::string> models;
  bool static_shapes = false, no_verify = false, no_sandbox = false, json = false, quiet = false, verbose = false,
       no_color = false;
  bool help = false, version = false;
};

void declare(CLI::App& app, Texts& texts) {
  app.set_help_flag("");
  app.allow_extras();
  app.add_option("--transformer", texts.transformer)->type_name("FILE");
  app.add_option("--gru", texts.gru)->type_name("FILE");
  app.add_option("--model", texts.models)->type_name("NAME=PATH")->allow_extra_args(false);
  app.add_option("--config", texts.config)->type_name("FILE");
  app.add_option("--output-dir", texts.output_dir)->type_name("DIR");
  app.add_option("--sequence-length", texts.sequence_length)->type_name("N");
  app.add_option("--heads", texts.heads)->type_name("gloss|all");
  app.add_flag("--static", texts.static_shapes);
  app.add_option("--to", texts.to)->type_name("LIST");
  app.add_option("--quantize", texts.quantize)->type_name("LIST");
  app.add_option("--verify-input", texts.verify_input)->type_name("FILE");
  app.add_flag("--no-verify", texts.no_verify);
  app.add_option("--jobs", texts.jobs)->type_name("N");
  app.add_option("--max-memory", texts.max_memory)->type_name("SIZE");
  app.add_flag("--no-sandbox", texts.no_sandbox);
  app.add_flag("--json", texts.json);
  app.add_flag("--quiet", texts.quiet);
  app.add_flag("-v,--verbose", texts.verbose);
  app.add_flag("--no-color", texts.no_color);
  app.add_flag("--version", texts.version);
  app.add_flag("-h,--help", texts.help);
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

// CLI11 says "--gru: 1 required FILE missing" and "--gru: At Most 1 required but received 2".
std::string mismatch_text(const std::string& message) {
  const std::size_t colon = message.find(": ");
  const std::string flag = message.substr(0, colon);
  if (message.ends_with(" missing")) {
    const std::size_t type = message.find("required ") + 9;
    return fmt::format("{} needs a value: {}", flag, message.substr(type, message.size() - 8 - type));
  }
  if (message.find("received") != std::string::npos) return fmt::format("{} is given more than once", flag);
  return message;
}

Status refuse_leftovers(const CLI::App& app) {
  const std::vector<std::string> leftovers = app.remaining();
  if (leftovers.empty()) return {};
  const std::string& first = leftovers.front();
  if (!first.starts_with('-')) {
    return fail("unexpected argument '{}': checkpoints are given by --transformer, --gru or --model NAME=PATH",
                printable(first));
  }
  const std::string flag = first.substr(0, first.find('='));
  const auto suggestion = nearest(flag, flags_of(app));
  return fail("unknown option '{}'{}", printable(flag),
              suggestion ? fmt::format(", did you mean '{}'?", *suggestion) : "");
}

// A whole number; what is too large for 64 bits saturates, as it is out of any range.
Expected<std::int64_t> read_length(const std::string& text) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, value);
  if (rest != end || problem == std::errc::invalid_argument) {
    return fail("--sequence-length is '{}', expected a number of frames", printable(text));
  }
  if (problem == std::errc::result_out_of_range) {
    return text.starts_with('-') ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
  }
  return value;
}

Expected<int> read_jobs(const std::string& text) {
  constexpr int kMost = 256;
  int jobs = 0;
  const char* end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, jobs);
  if (rest != end || problem != std::errc() || jobs < 1 || jobs > kMost)
    return fail("--jobs is '{}', expected a number from 1 to {}", printable(text), kMost);
  return jobs;
}

// "1500000", "500M", "2G", "1.5GB", "2GiB": the units are powers of 1024.
Expected<std::uint64_t> read_size(const std::string& text) {
  constexpr std::string_view kUnits = "BKMGT";
  double number = 0;
  const auto [rest, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string unit(rest, text.data() + text.size());
  for (char& letter : unit) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  if (unit.empty()) unit = "B";
  const std::size_t power = kUnits.find(unit.front());
  const bool known =
      power != std::string_view::npos && (unit.size() == 1 || unit.substr(1) == "B" || unit.substr(1) == "IB");
  const double bytes = known ? number * std::pow(1024.0, static_cast<double>(power)) : 0;
  if (problem != std::errc() || !(bytes >= 1 && bytes < 0x1p63))
    return fail("--max-memory is '{}', expected a size such as 500M or 2G", printable(text));
  return static_cast<std::uint64_t>(bytes);
}

// The words of a comma-separated list, each of which must be one of `known`.
Expected<std::vector<std::string>> read_list(std::string_view flag, std::string_view text,
                                             const std::vector<std::string>& known) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t comma = text.find(',');
    std::string word(text.substr(0, comma));
    if (std::ranges::find(known, word) == known.end()) {
      return fail("{} names '{}', expected a list of: {}", flag, printable(word), fmt::join(known, ", "));
    }
    if (std::ranges::find(words, word) == words.end()) words.push_back(std::move(word));
    if (comma == std::string_view::npos) return words;
    text.remove_prefix(comma + 1);
  }
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

Status read_targets(const Texts& texts, bool quantize_given, ExportOptions& options) {
  TAPER_ASSIGN(const std::vector<std::string> targets, read_list("--to", texts.to, {"onnx", "savedmodel", "tflite"}));
  TAPER_ASSIGN(const std::vector<std::string> precisions, read_list("--quantize", texts.quantize, {"fp32", "fp16"}));
  const auto wants = [&](std::string_view target) { return std::ranges::find(targets, target) != targets.end(); };
  if (quantize_given && !wants("tflite")) return fail("--quantize chooses TFLite files, but --to leaves tflite out");
  options.convert.onnx = wants("onnx");
  options.convert.savedmodel = wants("savedmodel");
  options.convert.tflite.clear();
  for (const std::string& precision : precisions) {
    if (wants("tflite")) options.convert.tflite.push_back(precision == "fp32" ? Precision::fp32 : Precision::fp16);
  }
  return {};
}

// A path that was given. An empty one is a mistake, such as an unset variable in a script; CLI11 takes a flag for a
// value.
Status read_path(const CLI::App& app, const std::string& flag, const std::string& text,
                 std::optional<std::filesystem::path>& path) {
  if (app.count(flag) == 0) return {};
  if (text.empty()) return fail("{} is empty, expected a path", flag);
  const std::vector<std::string> flags = flags_of(app);
  if (std::ranges::find(flags, text) != flags.end()) return fail("{} needs a value, found the flag {}", flag, text);
  path = text;
  return {};
}

Status refuse_contradictions(const ExportOptions& options) {
  if (options.verify_input && !options.verify) return fail("--verify-input and --no-verify contradict each other");
  if (options.quiet && options.verbose) return fail("--quiet and --verbose contradict each other");
  return {};
}

Expected<ExportOptions> make_sense(const CLI::App& app, const Texts& texts) {
  TAPER_TRY(refuse_leftovers(app));
  ExportOptions options;
  std::optional<std::filesystem::path> output_dir;
  TAPER_TRY(read_path(app, "--transformer", texts.transformer, options.transformer));
  TAPER_TRY(read_path(app, "--gru", texts.gru, options.gru));
  TAPER_TRY(read_path(app, "--config", texts.config, options.config));
  TAPER_TRY(read_path(app, "--verify-input", texts.verify_input, options.verify_input));
  TAPER_TRY(read_path(app, "--output-dir", texts.output_dir, output_dir));
  TAPER_TRY(read_models(texts, options));
  TAPER_ASSIGN(options.sequence_length, read_length(texts.sequence_length));
  if (texts.heads != "gloss" && texts.heads != "all") {
    return fail("--heads is '{}', expected gloss or all", printable(texts.heads));
  }
  TAPER_TRY(read_targets(texts, app.count("--quantize") > 0, options));
  if (output_dir) options.output_dir = *output_dir;
  TAPER_ASSIGN(options.jobs, read_jobs(texts.jobs));
  if (app.count("--max-memory") > 0) {
    TAPER_ASSIGN(options.max_memory, read_size(texts.max_memory));
  }
  options.sandbox = !texts.no_sandbox;
  options.all_heads = texts.heads == "all";
  options.verify = !texts.no_verify;
  options.convert.static_shapes = texts.static_shapes;
  options.json = texts.json;
  options.quiet = texts.quiet;
  options.verbose = texts.verbose;
  options.colour = !texts.no_color;
  TAPER_TRY(refuse_contradictions(options));
  return options;
}

Finish wrong_usage(const std::string& message) {
  return {2, fmt::format("error: {}\n{}", message, kTry)};
}

}  // namespace

std::string help_text() {
  return std::string(kHelp);
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
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them last first
  } catch (const CLI::ArgumentMismatch& error) {
    return wrong_usage(mismatch_text(printable(error.what())));
  } catch (const CLI::ParseError& error) {
    return wrong_usage(printable(error.what()));
  }
  Expected<ExportOptions> options = make_sense(app, texts);
  if (!options) return wrong_usage(options.error().text());
  return *std::move(options);
}

}  // namespace taper
