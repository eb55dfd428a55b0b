#include "cli/scan.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <variant>

#include "base/error.h"
#include "report/text.h"

namespace taper {
namespace {

using pickle::Mention;
using pickle::Trust;

constexpr std::string_view kHelp =
    R"(taper scan reports what checkpoints would run if Python loaded them. It runs nothing itself.

Examples
  taper scan model.pt
  taper scan downloads/*.pt downloads/*.pkl
  taper scan --trust models --trust training.state whole_model.pt
  taper scan --json *.pt > scan.json
  taper scan --sarif --output scan.sarif *.pt       for code scanning in CI

Files may be of torch.save (zip, legacy, tar), pickles, joblib, .npy and .npz, TorchScript, safetensors and others;
archives in archives and pickles in pickles are scanned too.

  --trust MODULE          a module of your own, with what is below it; may be repeated
  --output FILE           write the result to FILE instead of standard output
  --json, --sarif         the result as JSON, or as SARIF 2.1.0
  --quiet                 only files that are not clean
  -v, --verbose           all findings of a file, where it has many
  --no-color, --no-colour no colours (as does the environment variable NO_COLOR; CLICOLOR_FORCE=1 keeps them in pipes)
  --version, -h, --help

Verdicts
  clean        loading it runs nothing but what is known to rebuild data
  unknown      it names code that taper doesn't know, or is of a format that can carry code
  unreadable   damaged, or no kind of file that taper knows: something may be hidden
  dangerous    loading it runs something that no checkpoint needs

Exit status: 0 every file is clean; 1 one is not; 2 wrong usage.
)";

constexpr std::string_view kTry = "Try 'taper scan --help'.\n";

struct Options : ScreenTexts {
  std::vector<std::string> files;
  std::vector<std::string> trusted;
  std::string output;
  bool sarif = false;
};

void declare(CLI::App& app, Options& options) {
  declare_screen_flags(app, options);
  app.add_option("--trust", options.trusted)->type_name("MODULE")->allow_extra_args(false);
  app.add_option("--output", options.output)->type_name("FILE");
  app.add_flag("--sarif", options.sarif);
}

// What doesn't start with '-' is a file, and so is all that follows "--".
Status sort_leftovers(const CLI::App& app, Options& options) {
  bool only_files = false;
  for (const std::string& word : app.remaining()) {
    if (!only_files && word == "--") {
      only_files = true;
    } else if (!only_files && word.starts_with('-') && word.size() > 1) {
      return unknown_option(app, word);
    } else {
      options.files.push_back(word);
    }
  }
  return {};
}

Expected<Options> parse(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app;
  declare(app, options);
  TAPER_TRY(parse_arguments(app, arguments));
  if (options.help || options.version) return options;
  TAPER_TRY(sort_leftovers(app, options));
  if (options.files.empty()) return fail("no file is given");
  if (options.json && options.sarif) return fail("--json and --sarif contradict each other");
  TAPER_TRY(refuse_contradictions(options));
  if (app.count("--output") > 0 && options.output.empty()) return fail("--output is empty, expected a path");
  for (const std::string& module : options.trusted)
    if (!pickle::is_dotted_name(module)) return fail("--trust is '{}', expected a module's name", printable(module));
  return options;
}

// ---- text

constexpr std::string_view kBold = "1";
constexpr std::string_view kDim = "2";

std::string paint(bool colour, std::string_view look, std::string_view text) {
  return colour ? fmt::format("\x1b[{}m{}\x1b[0m", look, text) : std::string(text);
}

std::string_view look_of(Verdict verdict) {
  constexpr std::array<std::string_view, 4> kLooks = {"32", "33", "33", "1;31"};
  return kLooks[static_cast<std::size_t>(verdict)];
}

std::string use_text(const Mention& mention) {
  constexpr std::array<std::string_view, 4> kWords = {"imported", "instantiated", "called", "changed"};
  std::string text(kWords[static_cast<std::size_t>(mention.use)]);
  if (mention.calls > 1) text += fmt::format(" {} times", mention.calls);
  return text;
}

std::string place_text(const ScanFinding& finding) {
  std::string text = fmt::format("byte {}", finding.mention.offset);
  if (!finding.member.empty()) text += fmt::format(" of {}", printable(finding.member));
  return text;
}

std::string finding_lines(const ScanFinding& finding, bool colour) {
  const Mention& mention = finding.mention;
  const Verdict verdict = mention.trust == Trust::dangerous ? Verdict::dangerous
                          : mention.trust == Trust::unknown ? Verdict::unknown
                                                            : Verdict::clean;
  const auto word = paint(colour, look_of(verdict), fmt::format("{:9}", trust_name(mention.trust)));
  const std::string what = paint(colour, kBold, printable(finding_text(mention)));
  return fmt::format("  {}  {}  {}, {}\n             {}\n", word, what, use_text(mention), place_text(finding),
                     paint(colour, kDim, printable(mention.reason)));
}

std::string file_text(const ScannedFile& file, bool colour, bool all) {
  const std::size_t most_shown = all ? file.scan.findings.size() : 30;
  const FileScan& scan = file.scan;
  std::string text =
      fmt::format("{}: {} ({})\n", path_text(file.path),
                  paint(colour, look_of(scan.verdict), verdict_name(scan.verdict)), printable(scan.format));
  if (!scan.reason.empty()) text += fmt::format("  {}\n", printable(scan.reason));
  std::vector<const ScanFinding*> order;
  order.reserve(scan.findings.size());
  for (const ScanFinding& finding : scan.findings) order.push_back(&finding);
  std::ranges::stable_sort(order, std::greater(), [](const ScanFinding* finding) { return finding->mention.trust; });
  for (std::size_t i = 0; i < std::min(order.size(), most_shown); ++i) text += finding_lines(*order[i], colour);
  if (order.size() > most_shown) text += fmt::format("  ... and {} more (-v shows them)\n", order.size() - most_shown);
  return text;
}

std::string_view advice(Verdict worst) {
  switch (worst) {
    case Verdict::clean:
      return "";
    case Verdict::unknown:
      return "Load it only if you trust the code that it names (--trust MODULE says so); torch.load(...,\n"
             "weights_only=True) refuses that code, and what taper converts it reads without running any.\n";
    case Verdict::unreadable:
      return "Don't load what can't be read to its end: get the file again from where it comes from.\n";
    case Verdict::dangerous:
      return "Don't load it. torch.load(..., weights_only=True) refuses it too; delete the file, and tell where it\n"
             "comes from.\n";
  }
  return "";
}

std::string scan_text(const std::vector<ScannedFile>& files, const Options& options, bool colour) {
  std::string text;
  std::size_t clean = 0;
  for (const ScannedFile& file : files) {
    const bool is_clean = file.scan.verdict == Verdict::clean;
    clean += is_clean ? 1 : 0;
    if (!is_clean || !options.quiet) text += file_text(file, colour, options.verbose);
  }
  const std::string_view next = advice(worst_verdict(files));
  if (!next.empty()) text += fmt::format("\n{}", next);
  if (files.size() > 1 && !options.quiet) text += fmt::format("\n{} of {} files are clean\n", clean, files.size());
  return text;
}

// What is scanned would be gone.
Status check_output(const Options& options) {
  for (const std::string& path : options.files) {
    std::error_code error;
    if (!options.output.empty() && std::filesystem::equivalent(path, options.output, error))
      return fail("--output '{}' is a file that is scanned, which it would replace; name another one",
                  printable(options.output));
  }
  return {};
}

Status write_output(const std::string& path, const std::string& text) {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool written =
      file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
  const int problem = errno;
  const bool closed = file != nullptr && std::fclose(file) == 0;
  if (written && closed) return {};
  return fail_with_hint(
      fmt::format("cannot write the file '{}': {}", printable(path),
                  std::strerror(written ? errno : problem)),  // NOLINT(concurrency-mt-unsafe)
      "name a file in a folder that can be written to, or leave --output out and redirect the output");
}

}  // namespace

Verdict worst_verdict(const std::vector<ScannedFile>& files) {
  Verdict worst = Verdict::clean;
  for (const ScannedFile& file : files) worst = std::max(worst, file.scan.verdict);
  return worst;
}

int run_scan(const std::vector<std::string>& arguments, const ProgramContext& context) {
  const auto options = parse(arguments);
  if (const auto status = answer(options, kHelp, kTry, context)) return *status;
  if (const Status sound = check_output(*options); !sound) {
    context.err.write(fmt::format("error: {}\n{}", sound.error().message, kTry));
    return 2;
  }
  std::vector<ScannedFile> files;
  for (const std::string& path : options->files) files.push_back({path, scan_file(path, {options->trusted})});
  const bool colour = style_of(*options, context).colour_out && options->output.empty();
  const std::string text = options->json    ? scan_json(files)
                           : options->sarif ? scan_sarif(files)
                                            : scan_text(files, *options, colour);
  if (options->output.empty()) {
    context.out.write(text);
  } else if (Status written = write_output(options->output, text); !written) {
    Terminal(style_of(*options, context), context.out, context.err).show_error(written.error());
    return 1;
  }
  return worst_verdict(files) == Verdict::clean ? 0 : 1;
}

}  // namespace taper
