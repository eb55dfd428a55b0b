#include "cli/inspect.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "pipeline/inspect.h"
#include "report/text.h"
#include "report/weight_tree.h"

namespace taper {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHelp =
    R"(taper inspect tells what a file is: inputs, outputs, parameters, operators, sizes. Nothing in it is executed.

Examples
  taper inspect model.pt2
  taper inspect model_fp32.tflite model.onnx model_tf
  taper inspect --graph model.pt2 > model.ir       the network in taper's text form

Files may be all that taper reads (programs of torch.export, TorchScript, ONNX, state dicts and pickled modules,
safetensors, .npy, .npz) and writes (TFLite, SavedModel folders).

  --input-shape NAME=SIZES, --input-dtype NAME=DTYPE, --dynamic NAME:AXIS
                          of the inputs of programs, as for taper convert
  --graph                 the graph as text, with constants of more than 16 elements left out
  --json                  as JSON
  --quiet                 only what can't be read
  -v, --verbose           every weight of a state dict, with none folded or left out
  --no-color, --no-colour no colours (as does the environment variable NO_COLOR; CLICOLOR_FORCE=1 keeps them in pipes)
  --version, -h, --help

Exit status: 0; 1 a file can't be read; 2 wrong usage.
)";

constexpr std::string_view kTry = "Try 'taper inspect --help'.\n";

struct Options : ScreenTexts {
  std::vector<std::string> files;
  InputTexts input_texts;
  std::vector<InputOptions> inputs;
  bool graph = false;
};

Expected<Options> parse(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app;
  declare_screen_flags(app, options);
  declare_input_flags(app, options.input_texts);
  app.add_flag("--graph", options.graph);
  TAPER_TRY(parse_arguments(app, arguments));
  if (options.help || options.version) return options;
  bool only_files = false;  // behind "--"
  for (const std::string& word : app.remaining()) {
    if (!only_files && word == "--")
      only_files = true;
    else if (!only_files && word.starts_with('-') && word.size() > 1)
      return unknown_option(app, word);
    else
      options.files.push_back(word);
  }
  if (options.files.empty()) return fail("no file is given");
  TAPER_TRY(refuse_contradictions(options));
  TAPER_ASSIGN(options.inputs, read_input_options(options.input_texts));
  return options;
}

Json tensors_json(const std::vector<TensorInfo>& tensors) {
  Json json = Json::array();
  for (const TensorInfo& tensor : tensors)
    json.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
  return json;
}

Json inspection_json(const std::string& path, const Inspection& found) {
  Json json = {{"file", path}, {"what", found.what}, {"bytes", found.bytes}};
  Json facts = Json::object();
  for (const auto& [name, value] : found.facts) facts[name] = value;
  json["facts"] = std::move(facts);
  json["inputs"] = tensors_json(found.inputs);
  json["outputs"] = tensors_json(found.outputs);
  json["parameters"] = found.parameters ? Json(*found.parameters) : Json();
  json["operators"] = found.operators;
  if (!found.tensors.empty()) json["tensors"] = tensors_json(found.tensors);
  if (found.modules) json["modules"] = weight_tree_json(*found.modules);
  json["notes"] = found.notes;
  if (!found.next_step.empty()) json["next_step"] = found.next_step;
  if (!found.graph.empty()) json["graph"] = found.graph;
  return json;
}

void add_tensors(std::string& text, std::string_view title, const std::vector<TensorInfo>& tensors) {
  constexpr std::size_t kMostShown = 1000;
  if (tensors.empty()) return;
  text += fmt::format("  {}\n", title);
  for (std::size_t i = 0; i < std::min(tensors.size(), kMostShown); ++i)
    text += fmt::format("    {}  {} {}\n", printable(tensors[i].name), printable(tensors[i].dtype),
                        printable(tensors[i].shape));
  if (tensors.size() > kMostShown) text += fmt::format("    ... and {} more\n", tensors.size() - kMostShown);
}

void add_operators(std::string& text, const Inspection& found) {
  if (found.operators.empty()) return;
  std::vector<std::pair<std::string, std::size_t>> operators(found.operators.begin(), found.operators.end());
  std::ranges::stable_sort(operators, std::ranges::greater(), [](const auto& entry) { return entry.second; });
  std::size_t all = 0;
  for (const auto& [name, count] : operators) all += count;
  text += fmt::format("  {} operators\n", all);
  for (const auto& [name, count] : operators) text += fmt::format("  {:6}  {}\n", count, printable(name));
}

void add_modules(std::string& text, const WeightTree& modules, bool all, bool colour) {
  constexpr std::size_t kMostLines = 60;
  text += fmt::format("  {}\n", weight_tree_title(modules));
  for (const std::string& line : all ? every_weight_lines(modules) : weight_tree_lines(modules, kMostLines))
    text += fmt::format("  {}\n", tree_line(colour, line));
}

std::string inspection_text(const std::string& path, const Inspection& found, const Options& options, bool colour) {
  std::string text = fmt::format("{}: {}, {}\n", printable(path), printable(found.what), human_size(found.bytes));
  add_tensors(text, "inputs", found.inputs);
  add_tensors(text, "outputs", found.outputs);
  if (found.parameters)
    text += fmt::format("  parameters  {} ({})\n", human_count(*found.parameters), *found.parameters);
  for (const auto& [name, value] : found.facts) text += fmt::format("  {}  {}\n", printable(name), printable(value));
  add_operators(text, found);
  if (found.modules)
    add_modules(text, *found.modules, options.verbose, colour);
  else
    add_tensors(text, "tensors", found.tensors);
  for (const std::string& note : found.notes) text += fmt::format("  note: {}\n", printable(note));
  for (const std::string& line : hint_lines(found.next_step)) text += fmt::format("  {}\n", line);
  return text;
}

}  // namespace

int run_inspect(const std::vector<std::string>& arguments, const ProgramContext& context) {
  const auto options = parse(arguments);
  if (const auto status = answer(options, kHelp, kTry, context)) return *status;
  const TerminalStyle style = style_of(*options, context);
  Terminal terminal(style, context.out, context.err);
  int status = 0;
  Json all = Json::array();
  for (const std::string& path : options->files) {
    InspectOptions how{.graph = options->graph, .every_module = options->verbose, .load = {}};
    how.load.inputs = options->inputs;
    auto found = inspect(path, how);
    if (found && options->graph && found->graph.empty())
      found = fail_with_hint(fmt::format("'{}' holds no graph", path_text(path)), "leave --graph out");
    if (!found) {
      terminal.show_error(found.error());
      all.push_back({{"file", path}, {"error", found.error().text()}});
      if (!found.error().hint.empty()) all.back()["next_step"] = found.error().hint;
      status = 1;
    } else if (options->json) {
      all.push_back(inspection_json(path, *found));
    } else if (!options->quiet) {
      context.out.write(options->graph ? found->graph : inspection_text(path, *found, *options, style.colour_out));
    }
  }
  const bool lone = options->files.size() == 1 && all.size() == 1;
  if (options->json)
    context.out.write((lone ? all[0] : all).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return status;
}

}  // namespace taper
