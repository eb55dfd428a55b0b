#include "cli/ops.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "frontend/aten.h"
#include "frontend/onnx.h"
#include "ops/documentation.h"
#include "report/text.h"

namespace taper {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kHelp =
    R"(taper ops lists the operators of taper's graph, how ONNX, TFLite and TensorFlow spell them, and how many operators
of PyTorch and ONNX are read.

  --markdown              with their formulas, as docs/operators.md
  --json                  as JSON, with the names of PyTorch's and ONNX's operators that are read
  --quiet                 the rows alone
  -v, --verbose           also what each computes
)";

constexpr std::string_view kTry = "Try 'taper ops --help'.\n";

struct Options : ScreenTexts {
  bool markdown = false;
};

Expected<Options> parse(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app;
  declare_screen_flags(app, options);
  app.add_flag("--markdown", options.markdown);
  TAPER_TRY(parse_arguments(app, arguments));
  if (options.help || options.version) return options;
  if (const std::vector<std::string> words = app.remaining(); !words.empty()) {
    const std::string& word = words.front();
    if (!word.starts_with('-')) return fail("unexpected argument '{}': taper ops takes flags alone", printable(word));
    return unknown_option(app, word);
  }
  if (options.markdown && options.json) return fail("--markdown and --json contradict each other");
  TAPER_TRY(refuse_contradictions(options));
  return options;
}

std::string operators_text(const Options& options) {
  std::vector<OperatorRow> rows = operator_rows();
  if (!options.quiet) rows.insert(rows.begin(), {"operator", "", "ONNX", "TFLite", "since", "TensorFlow"});
  std::size_t name = 0, onnx = 0, tflite = 0, since = 0;
  for (const OperatorRow& row : rows) {
    name = std::max(name, row.name.size());
    onnx = std::max(onnx, row.onnx.size());
    tflite = std::max(tflite, row.tflite.size());
    since = std::max(since, row.since.size());
  }
  std::string text;
  for (const OperatorRow& row : rows) {
    text += fmt::format("{:{}}  {:{}}  {:{}}  {:{}}  {}\n", row.name, name, row.onnx, onnx, row.tflite, tflite,
                        row.since, since, row.tensorflow);
    if (options.verbose && !row.doc.empty()) text += fmt::format("    {}\n", row.doc);
  }
  if (options.quiet) return text;
  return text +
         fmt::format("\n{} overloads of PyTorch's operators and {} operators of ONNX are read (--json names them).\n",
                     aten::known_overloads().size(), known_onnx_operators().size());
}

std::string operators_json() {
  Json operators = Json::array();
  for (const OperatorRow& row : operator_rows())
    operators.push_back({{"name", row.name},
                         {"meaning", row.doc},
                         {"onnx", row.onnx},
                         {"tflite", row.tflite},
                         {"tflite_since", row.since},
                         {"tensorflow", row.tensorflow}});
  return Json{{"operators", std::move(operators)}, {"aten", aten::known_overloads()}, {"onnx", known_onnx_operators()}}
             .dump(2) +
         "\n";
}

}  // namespace

int run_ops(const std::vector<std::string>& arguments, const ProgramContext& context) {
  const auto options = parse(arguments);
  if (const auto status = answer(options, fmt::format("{}{}", kHelp, kCommonHelp), kTry, context)) return *status;
  context.out.write(options->markdown ? operators_markdown()
                    : options->json   ? operators_json()
                                      : operators_text(*options));
  return 0;
}

}  // namespace taper
