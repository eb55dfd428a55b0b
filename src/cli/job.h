// What the programs that convert have in common: flags, the request, the run, and what is shown of it.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/quantize_flags.h"
#include "cli/terminal.h"
#include "taper/taper.h"

namespace CLI {
class App;
}

namespace taper {

// The process around a program: streams, environment and the job itself are handed in.
struct ProgramContext {
  Stream out;
  Stream err;
  Environment environment;
  std::function<ExportReport(const ExportRequest&)> job = {};  // export_models
  std::vector<std::string> families = {};                      // known_families()
  std::function<Status()> give_up_rights = {};                 // of the process, unless --no-sandbox; may be empty
};

// What every command takes: how much it shows, and how.
struct ScreenTexts {
  bool json = false, quiet = false, verbose = false, no_color = false, version = false, help = false;
};
void declare_screen_flags(CLI::App& app, ScreenTexts& texts);
Status refuse_contradictions(const ScreenTexts& texts);
// How a command shows things, by its flags, the environment and the streams.
TerminalStyle style_of(const ScreenTexts& texts, const ProgramContext& context);

// What to print instead of running: help and version (status 0), or what is wrong with the command line (status 2).
struct Finish {
  int status = 0;
  std::string text;
};

// Says what is wrong with a command line, or the help or version that it asks for; then the exit status, else nothing.
// `Options` are derived of ScreenTexts.
template <class Options>
std::optional<int> answer(const Expected<Options>& options, std::string_view help, std::string_view hint,
                          const ProgramContext& context) {
  if (!options) {
    context.err.write(fmt::format("error: {}\n{}", options.error().message, hint));
    return 2;
  }
  if (options->help) {
    context.out.write(help);
  } else if (options->version) {
    context.out.write(fmt::format("taper {}\n", version()));
  } else {
    return std::nullopt;
  }
  return 0;
}

// The flags that both programs have.
struct JobOptions {
  std::filesystem::path output_dir;
  std::optional<std::filesystem::path> config;
  std::int64_t sequence_length = 300;  // as given; the job checks its range
  bool all_heads = false;
  bool verify = true;
  bool show_recipe = false;
  VerifyOptions verification;
  ConvertOptions convert;
  int jobs = 1;
  std::optional<std::uint64_t> max_memory;  // bytes
  bool sandbox = true;
  ScreenTexts screen;
};

// The same as CLI11 sees them: texts, which have yet to make sense.
struct JobTexts {
  std::string output_dir, config, sequence_length = "300", heads = "gloss", verify_input;
  std::string jobs = "1", max_memory;
  std::string to = "onnx,savedmodel,tflite", quantize = "fp32,fp16";
  QuantizeTexts quantization;
  bool static_shapes = false, no_verify = false, no_sandbox = false;
  ScreenTexts screen;
};

// The parts of --help that tell of them.
extern const std::string_view kInputsHelp, kFilesHelp, kVerificationHelp, kResourcesHelp, kScreenHelp, kStatusHelp;
// The flags that all commands have, but for those whose meaning each tells itself.
extern const std::string_view kCommonHelp;

// Declares the flags. `output_flags`: "--output-dir", or with a short form before it.
void declare_job_flags(CLI::App& app, JobTexts& texts, const std::string& output_flags);
Status read_job_options(const CLI::App& app, const JobTexts& texts, JobOptions& options);

// What is said of inputs of programs.
struct InputTexts {
  std::vector<std::string> shapes, dtypes, dynamic;
};
void declare_input_flags(CLI::App& app, InputTexts& texts);
Expected<std::vector<InputOptions>> read_input_options(const InputTexts& texts);

// All long flags of an app.
std::vector<std::string> flags_of(const CLI::App& app);
// CLI11's parsing with errors in our words.
Status parse_arguments(CLI::App& app, const std::vector<std::string>& arguments);
// "unknown option '--frob', did you mean '--from'?"
std::unexpected<Error> unknown_option(const CLI::App& app, const std::string& word);
// A path that was given. An empty one is a mistake, such as an unset variable in a script; CLI11 takes a flag for a
// value.
Status read_path(const CLI::App& app, const std::string& flag, const std::string& text,
                 std::optional<std::filesystem::path>& path);
// A whole number; nothing for any other text. What is too large for 64 bits saturates.
std::optional<std::int64_t> whole_number(std::string_view text);

// A request with everything that these options say, but for its models.
ExportRequest request_of(const JobOptions& options);
// What the configuration file says of `models`. A model that it speaks of and nobody knows (`further_keys` aside) is a
// slip of the pen, which would leave a model without its values.
Status apply_config(const std::filesystem::path& path, const std::vector<std::string>& families,
                    const std::vector<std::string>& further_keys, std::vector<ModelRequest>& models);

// Gives up rights, runs the request, or reports what kept it from being made, and shows all of it. Returns the exit
// status.
int run_job(const JobOptions& options, Expected<ExportRequest> request, const ProgramContext& context);

}  // namespace taper
