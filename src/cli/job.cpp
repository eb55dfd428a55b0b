#include "cli/job.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "base/suggest.h"
#include "pipeline/steps.h"
#include "report/text.h"

namespace taper {

const std::string_view kFilesHelp =
    R"(  --sequence-length N     frames of the default input shape (300); dynamic files take other lengths too
  --heads gloss|all       all: the category head too, as the output `category` (gloss)
  --static                freeze batch 1 and the sequence length
  --to LIST               of onnx, savedmodel, tflite (all of them)
  --quantize LIST         which TFLite files: of fp32, fp16, dynamic, w8, w4, int8, int16x8,
                          auto (fp32,fp16); auto mixes float16, int8 and int4 layers within --max-error
)";

const std::string_view kInputsHelp =
    R"(Inputs of programs
  --input-shape NAME=SIZES  1,3,224,224; a name in the place of a number leaves that size open: B,3,H,W
  --input-dtype NAME=DTYPE  float32, int64, bool, ...
  --dynamic NAME:AXIS       open an axis that the program fixed; the network has to work with other sizes too
)";

const std::string_view kVerificationHelp =
    R"(Verification (TFLite files are run in LiteRT, SavedModels in TensorFlow if it is there, against the checkpoint's own
arithmetic)
  --verify-input FILE     .npz (array X, or the only one) or .npy with frames [T, F] or [N, T, F]
  --no-verify             write only
)";

const std::string_view kResourcesHelp =
    R"(Resources
  --jobs N                models exported side by side (1), as far as memory allows; the files are the same
  --max-memory SIZE       refuse what would need more, before it is converted: 500M, 2G (powers of 1024)
  --no-sandbox            keep the rights to open sockets and to start programs, which are given up otherwise
)";

const std::string_view kScreenHelp =
    R"(Screen
  --json                  print the results as JSON to standard output and nothing else there
  --quiet                 only warnings and errors
  -v, --verbose           also where each value comes from and the agreement at each shape
  --no-color, --no-colour no colours (as does the environment variable NO_COLOR; CLICOLOR_FORCE=1 keeps them in pipes)
  --version, -h, --help
)";

const std::string_view kCommonHelp =
    R"(  --no-color, --no-colour no colours (as does the environment variable NO_COLOR; CLICOLOR_FORCE=1 keeps them in pipes)
  --version, -h, --help
)";

const std::string_view kStatusHelp =
    R"(Exit status: 0 all models that were found are exported and verified; 1 a model failed, or none was found; 2 wrong usage;
130, 143, 129 stopped by SIGINT, SIGTERM, SIGHUP: then nothing half-written is left.
)";

namespace {

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

Status read_targets(const JobTexts& texts, bool quantize_given, JobOptions& options) {
  TAPER_ASSIGN(const std::vector<std::string> targets, read_list("--to", texts.to, {"onnx", "savedmodel", "tflite"}));
  TAPER_ASSIGN(
      const std::vector<std::string> precisions,
      read_list("--quantize", texts.quantize, {"fp32", "fp16", "dynamic", "w8", "w4", "int8", "int16x8", "auto"}));
  const auto wants = [&](std::string_view target) { return std::ranges::find(targets, target) != targets.end(); };
  if (quantize_given && !wants("tflite")) return fail("--quantize chooses TFLite files, but --to leaves tflite out");
  options.convert.onnx = wants("onnx");
  options.convert.savedmodel = wants("savedmodel");
  options.convert.tflite.clear();
  for (const std::string& precision : precisions) {
    if (wants("tflite")) options.convert.tflite.push_back(*precision_from_name(precision));
  }
  return {};
}

Status refuse_contradictions(const JobOptions& options) {
  if (options.verification.input && !options.verify)
    return fail("--verify-input and --no-verify contradict each other");
  return refuse_contradictions(options.screen);
}

InputOptions& input_of(std::vector<InputOptions>& inputs, const std::string& name) {
  const auto found = std::ranges::find(inputs, name, &InputOptions::name);
  if (found != inputs.end()) return *found;
  inputs.push_back({name, {}, {}, {}});
  return inputs.back();
}

// "NAME=VALUE", "NAME:VALUE".
Expected<std::pair<std::string, std::string>> split_pair(std::string_view flag, const std::string& text, char separator,
                                                         std::string_view expected) {
  const std::size_t at = separator == ':' ? text.rfind(':') : text.find(separator);
  if (at == std::string::npos || at == 0) return fail("{} is '{}', expected {}", flag, printable(text), expected);
  return std::pair{text.substr(0, at), text.substr(at + 1)};
}

// A model that the file speaks of and nobody knows is a slip of the pen, which would leave a model without its values.
Status refuse_unknown_models(const ConfigFile& file, const std::vector<std::string>& further_keys,
                             const std::vector<ModelRequest>& models) {
  std::set<std::string> known(further_keys.begin(), further_keys.end());
  for (const ModelRequest& model : models) known.insert(model.key);
  for (const auto& [key, config] : file.by_model) {
    if (!known.contains(key)) {
      return fail("it speaks of a model '{}', expected one of: {}", printable(key), fmt::join(known, ", "));
    }
  }
  return {};
}

// What flags name has to be there before anything is done.
Status check_named_files(const JobOptions& options) {
  const QuantizeOptions& quantize = options.convert.quantize;
  const std::pair<const char*, const std::optional<std::filesystem::path>*> named[] = {
      {"--config", &options.config},
      {"--verify-input", &options.verification.input},
      {"--calibration", &quantize.calibration},
      {"--recipe", &quantize.recipe}};
  for (const auto& [flag, path] : named) {
    std::error_code error;
    if (*path && std::filesystem::symlink_status(**path, error).type() == std::filesystem::file_type::not_found)
      return fail_with_hint(fmt::format("{} names '{}', and there is no such file", flag, path_text(**path)),
                            "check the path and the current folder");
  }
  return {};
}

ExportReport run(Expected<ExportRequest> request, const ProgramContext& context, Terminal& terminal) {
  if (!request) {
    ExportReport report;
    report.error = std::move(request).error();
    return report;
  }
  request->progress = [&](const Progress& progress) { terminal.show(progress); };
  return context.job(*request);
}

}  // namespace

void declare_screen_flags(CLI::App& app, ScreenTexts& texts) {
  app.set_help_flag("");
  app.allow_extras();
  app.add_flag("--json", texts.json);
  app.add_flag("--quiet", texts.quiet);
  app.add_flag("-v,--verbose", texts.verbose);
  app.add_flag("--no-color,--no-colour", texts.no_color);
  app.add_flag("--version", texts.version);
  app.add_flag("-h,--help", texts.help);
}

Status refuse_contradictions(const ScreenTexts& texts) {
  if (texts.quiet && texts.verbose) return fail("--quiet and --verbose contradict each other");
  return {};
}

TerminalStyle style_of(const ScreenTexts& texts, const ProgramContext& context) {
  TerminalStyle style = detect_style(context.out, context.err, context.environment);
  style.quiet = texts.quiet || texts.json;
  style.verbose = texts.verbose;
  style.colour_out = style.colour_out && !texts.no_color;
  style.colour_err = style.colour_err && !texts.no_color;
  return style;
}

void declare_job_flags(CLI::App& app, JobTexts& texts, const std::string& output_flags) {
  declare_screen_flags(app, texts.screen);
  app.add_option("--config", texts.config)->type_name("FILE");
  app.add_option(output_flags, texts.output_dir)->type_name("DIR");
  app.add_option("--sequence-length", texts.sequence_length)->type_name("N");
  app.add_option("--heads", texts.heads)->type_name("gloss|all");
  app.add_flag("--static", texts.static_shapes);
  app.add_option("--to", texts.to)->type_name("LIST");
  app.add_option("--quantize", texts.quantize)->type_name("LIST");
  declare_quantize_flags(app, texts.quantization);
  app.add_option("--verify-input", texts.verify_input)->type_name("FILE");
  app.add_flag("--no-verify", texts.no_verify);
  app.add_option("--jobs", texts.jobs)->type_name("N");
  app.add_option("--max-memory", texts.max_memory)->type_name("SIZE");
  app.add_flag("--no-sandbox", texts.no_sandbox);
}

Status read_job_options(const CLI::App& app, const JobTexts& texts, JobOptions& options) {
  std::optional<std::filesystem::path> output_dir;
  TAPER_TRY(read_path(app, "--config", texts.config, options.config));
  TAPER_TRY(read_path(app, "--verify-input", texts.verify_input, options.verification.input));
  TAPER_TRY(read_path(app, "--output-dir", texts.output_dir, output_dir));
  const auto length = whole_number(texts.sequence_length);
  if (!length) return fail("--sequence-length is '{}', expected a number of frames", printable(texts.sequence_length));
  if (*length < 1 || *length > kLongestSequence)
    return fail("--sequence-length is {}, expected 1 to {}", printable(texts.sequence_length), kLongestSequence);
  options.sequence_length = *length;
  if (texts.heads != "gloss" && texts.heads != "all") {
    return fail("--heads is '{}', expected gloss or all", printable(texts.heads));
  }
  TAPER_TRY(read_targets(texts, app.count("--quantize") > 0, options));
  TAPER_TRY(read_quantize_options(app, texts.quantization, options.convert, options.verification));
  if (output_dir) options.output_dir = *output_dir;
  TAPER_ASSIGN(options.jobs, read_jobs(texts.jobs));
  if (app.count("--max-memory") > 0) {
    TAPER_ASSIGN(options.max_memory, read_size(texts.max_memory));
  }
  options.sandbox = !texts.no_sandbox;
  options.all_heads = texts.heads == "all";
  options.verify = !texts.no_verify;
  options.show_recipe = texts.quantization.show_recipe;
  options.convert.static_shapes = texts.static_shapes;
  options.screen = texts.screen;
  return refuse_contradictions(options);
}

void declare_input_flags(CLI::App& app, InputTexts& texts) {
  app.add_option("--input-shape", texts.shapes)->type_name("NAME=SIZES")->allow_extra_args(false);
  app.add_option("--input-dtype", texts.dtypes)->type_name("NAME=DTYPE")->allow_extra_args(false);
  app.add_option("--dynamic", texts.dynamic)->type_name("NAME:AXIS")->allow_extra_args(false);
}

Expected<std::vector<InputOptions>> read_input_options(const InputTexts& texts) {
  std::vector<InputOptions> inputs;
  for (const std::string& text : texts.shapes) {
    TAPER_ASSIGN(const auto pair, split_pair("--input-shape", text, '=', "NAME=SIZES such as image=1,3,224,224"));
    std::optional<std::string>& shape = input_of(inputs, pair.first).shape;
    if (shape) return fail("--input-shape is given twice for '{}'", printable(pair.first));
    shape = pair.second;
  }
  for (const std::string& text : texts.dtypes) {
    TAPER_ASSIGN(const auto pair, split_pair("--input-dtype", text, '=', "NAME=DTYPE such as ids=int64"));
    std::optional<std::string>& dtype = input_of(inputs, pair.first).dtype;
    if (dtype) return fail("--input-dtype is given twice for '{}'", printable(pair.first));
    dtype = pair.second;
  }
  for (const std::string& text : texts.dynamic) {
    TAPER_ASSIGN(const auto pair, split_pair("--dynamic", text, ':', "NAME:AXIS such as x:1"));
    const auto axis = whole_number(pair.second);
    if (!axis) return fail("--dynamic is '{}', expected NAME:AXIS such as x:1", printable(text));
    input_of(inputs, pair.first).dynamic.push_back(*axis);
  }
  return inputs;
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

Status parse_arguments(CLI::App& app, const std::vector<std::string>& arguments) {
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them last first
  } catch (const CLI::ArgumentMismatch& error) {
    return fail("{}", mismatch_text(printable(error.what())));
  } catch (const CLI::ParseError& error) {
    return fail("{}", printable(error.what()));
  }
  return {};
}

std::unexpected<Error> unknown_option(const CLI::App& app, const std::string& word) {
  const std::string flag = word.substr(0, word.find('='));
  const auto suggestion = nearest(flag, flags_of(app));
  return fail("unknown option '{}'{}", printable(flag),
              suggestion ? fmt::format(", did you mean '{}'?", *suggestion) : "");
}

Status read_path(const CLI::App& app, const std::string& flag, const std::string& text,
                 std::optional<std::filesystem::path>& path) {
  if (app.count(flag) == 0) return {};
  if (text.empty()) return fail("{} is empty, expected a path", flag);
  const std::vector<std::string> flags = flags_of(app);
  if (std::ranges::find(flags, text) != flags.end()) return fail("{} needs a value, found the flag {}", flag, text);
  path = text;
  return {};
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, value);
  if (rest != end || problem == std::errc::invalid_argument) return std::nullopt;
  if (problem == std::errc::result_out_of_range) {
    return text.starts_with('-') ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
  }
  return value;
}

ExportRequest request_of(const JobOptions& options) {
  ExportRequest request;
  request.output_dir = options.output_dir;
  request.sequence_length = options.sequence_length;
  request.all_heads = options.all_heads;
  request.verify = options.verify;
  request.show_plan = options.show_recipe;
  request.convert = options.convert;
  request.verification = options.verification;
  request.jobs = options.jobs;
  request.max_memory = options.max_memory;
  return request;
}

Status apply_config(const std::filesystem::path& path, const std::vector<std::string>& families,
                    const std::vector<std::string>& further_keys, std::vector<ModelRequest>& models) {
  TAPER_ASSIGN(const ConfigFile file, read_config_file(path, families));
  if (Status known = refuse_unknown_models(file, further_keys, models); !known) {
    return std::unexpected(
        within(std::move(known).error(), fmt::format("in the configuration file '{}'", path_text(path))));
  }
  for (ModelRequest& model : models) model.config = file.of(model.key);
  return {};
}

int run_job(const JobOptions& options, Expected<ExportRequest> request, const ProgramContext& context) {
  Terminal terminal(style_of(options.screen, context), context.out, context.err);
  if (const Status found = check_named_files(options); !found) {
    terminal.show_error(found.error());
    return 2;
  }
  if (options.sandbox && context.give_up_rights) {
    const Status given_up = context.give_up_rights();
    if (!given_up && options.screen.verbose) terminal.show_warning(given_up.error());
  }
  const ExportReport report = run(std::move(request), context, terminal);
  terminal.summarize(report);
  if (options.screen.json) context.out.write(to_json(report));
  return report.succeeded() ? 0 : 1;
}

}  // namespace taper
