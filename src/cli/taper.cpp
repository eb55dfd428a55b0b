#include "cli/taper.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/suggest.h"
#include "cli/convert.h"
#include "cli/inspect.h"
#include "cli/ops.h"
#include "cli/scan.h"
#include "report/text.h"
#include "taper/taper.h"

namespace taper {
namespace {

constexpr std::string_view kHelp =
    R"(taper turns what PyTorch saves into TFLite, SavedModel and ONNX files, and needs no PyTorch.

Commands
  taper convert FILE...   programs of torch.export, TorchScript, modules, ONNX, checkpoints: to verified files
  taper inspect FILE...   what a file is: inputs, outputs, parameters, operators, sizes
  taper scan FILE...      what checkpoints would run if Python loaded them, without running anything
  taper ops               the operators, and how each target spells them
  taper COMMAND --help    more about a command

  --version, -h, --help

Exit status: that of the command; 2 wrong usage.
)";

constexpr std::string_view kTry = "Try 'taper --help'.\n";

struct Command {
  std::string_view name;
  int (*run)(const std::vector<std::string>& arguments, const ProgramContext& context);
  bool decides_rights = false;  // gives them up itself, as its flags say
};
constexpr Command kCommands[] = {
    {"convert", run_convert, true}, {"inspect", run_inspect}, {"scan", run_scan}, {"ops", run_ops}};

int refuse(const std::string& word, const ProgramContext& context) {
  std::vector<std::string> known = {"--help", "--version"};
  for (const Command& command : kCommands) known.emplace_back(command.name);
  const auto suggestion = nearest(word, known);
  context.err.write(fmt::format("error: unknown {} '{}'{}\n{}", word.starts_with('-') ? "option" : "command",
                                printable(word), suggestion ? fmt::format(", did you mean '{}'?", *suggestion) : "",
                                kTry));
  return 2;
}

}  // namespace

int run_taper(const std::vector<std::string>& arguments, const ProgramContext& context) {
  if (arguments.empty()) {
    context.err.write(fmt::format("error: a command is missing\n{}", kTry));
    return 2;
  }
  const std::string& word = arguments.front();
  if (word == "help" && arguments.size() > 1) {
    const auto* about = std::ranges::find(kCommands, arguments[1], &Command::name);
    return about == std::end(kCommands) ? refuse(arguments[1], context) : about->run({"--help"}, context);
  }
  if (word == "-h" || word == "--help" || word == "help") {
    context.out.write(kHelp);
    return 0;
  }
  if (word == "--version") {
    context.out.write(fmt::format("taper {}\n", version()));
    return 0;
  }
  const auto* command = std::ranges::find(kCommands, word, &Command::name);
  if (command == std::end(kCommands)) return refuse(word, context);
  // Where the kernel allows it: no other command needs them.
  if (!command->decides_rights && context.give_up_rights) [[maybe_unused]]
    const Status given_up = context.give_up_rights();
  return command->run({arguments.begin() + 1, arguments.end()}, context);
}

}  // namespace taper
