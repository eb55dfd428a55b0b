#include "cli/quantize_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

#include "cli/job.h"
#include "quantize/ranges.h"
#include "quantize/recipe.h"
#include "quantize/weights.h"
#include "report/text.h"

namespace taper {

const std::string_view kQuantizeHelp =
    R"(Files of integers (docs/quantisation.md)
  --calibration PATH      samples of the inputs, for int8, int16x8 and recipes that need them: .npz (array X, or one for
                          each input by its name), .npy, or a folder of them; a fifth is held out, to verify with;
                          random: seeded random numbers, for a file whose accuracy doesn't matter
  --calibration-method M  ranges of activations: min-max, moving-average, percentile, mse, kl (min-max)
  --weight-method M       scales of weights: min-max, mse, or gptq, which needs samples (min-max)
  --block-size N          weights of a row that share a scale in w4: 32, 64, 128, 256; 0: all of the row (32)
  --io float32|int8       int8: inputs and outputs are integers too, where all is (float32)
  --onnx-qdq              also NAME_qdq.onnx: the int8 model as ONNX, with QuantizeLinear and DequantizeLinear
  --recipe FILE           also NAME_recipe.tflite, as this JSON says layer by layer
  --exclude REGEX         layers that stay float32, by module path; may be repeated
  --range NAME=LO,HI      the range of an input or tensor, told instead of measured; may be repeated
  --max-error X           the largest relative error that passes (what docs/quantisation.md lists; of auto 0.01)
  --accept-loss           files beyond it pass too
  --layer-costs           measure the error of each layer quantised alone, which else is done for files beyond the bound
  --show-recipe           print what is done to each layer and tensor, before it is done
)";

namespace {

constexpr std::array<std::string_view, 5> kBlockSizes = {"32", "64", "128", "256", "0"};
constexpr std::array<std::string_view, 2> kInputsAndOutputs = {"float32", "int8"};

Status expect_word(std::string_view flag, const std::string& word, std::span<const std::string_view> known) {
  if (std::ranges::find(known, word) != known.end()) return {};
  return fail("{} is '{}', expected one of {}", flag, printable(word), fmt::join(known, ", "));
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [rest, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = problem == std::errc() && rest == text.data() + text.size() && std::isfinite(value);
  return whole ? std::optional(value) : std::nullopt;
}

// The pattern that finds this name alone.
std::string exactly(std::string_view name) {
  std::string pattern = "^";
  for (const char letter : name) {
    if (std::string_view(R"(\^$.|?*+()[]{})").find(letter) != std::string_view::npos) pattern += '\\';
    pattern += letter;
  }
  return pattern + "$";
}

// "input=0,1"
Expected<NamedRange> read_range(const std::string& text) {
  const std::size_t equals = text.rfind('='), comma = text.rfind(',');
  if (equals != std::string::npos && equals > 0 && comma != std::string::npos && comma > equals) {
    const auto low = number(std::string_view(text).substr(equals + 1, comma - equals - 1));
    const auto high = number(std::string_view(text).substr(comma + 1));
    if (low && high && *low <= 0 && *high >= 0 && *low < *high)
      return NamedRange{exactly(text.substr(0, equals)), *low, *high};
  }
  return fail("--range is '{}', expected NAME=LOW,HIGH with 0 between them, such as input=0,1", printable(text));
}

// Which files heed a flag. What none heeds is a slip of the pen.
Status refuse_idle_flags(const CLI::App& app, const QuantizeTexts& texts, const std::vector<Precision>& files) {
  const auto some_of = [&](std::initializer_list<Precision> wanted) {
    return std::ranges::any_of(files, [&](Precision file) { return std::ranges::find(wanted, file) != wanted.end(); });
  };
  using enum Precision;
  const bool integers = some_of({dynamic, w8, w4, int8, int16x8, recipe, mixed});
  const bool activations = some_of({int8, int16x8, recipe}) || texts.weight_method == "gptq";
  struct Rule {
    const char* flag;
    bool heeded;
    const char* by;
  };
  const Rule rules[] = {
      {"--calibration", integers, "dynamic, w8, w4, int8, int16x8, auto or a recipe"},
      {"--calibration-method", activations, "int8, int16x8 or a recipe"},
      {"--range", some_of({int8, int16x8, recipe}), "int8, int16x8 or a recipe"},
      {"--io", some_of({int8, int16x8, recipe}), "int8, int16x8 or a recipe"},
      {"--block-size", some_of({w4}), "w4"},
      {"--weight-method", some_of({dynamic, w8, w4, int8, int16x8, mixed}), "dynamic, w8, w4, int8, int16x8 or auto"},
      {"--show-recipe", integers, "dynamic, w8, w4, int8, int16x8, auto or a recipe"},
      {"--exclude", integers, "dynamic, w8, w4, int8, int16x8, auto or a recipe"},
      {"--max-error", integers, "dynamic, w8, w4, int8, int16x8, auto or a recipe"},
      {"--accept-loss", integers, "dynamic, w8, w4, int8, int16x8, auto or a recipe"},
      {"--layer-costs", integers, "dynamic, w8, w4, int8, int16x8, auto or a recipe"}};
  for (const Rule& rule : rules)
    if (app.count(rule.flag) > 0 && !rule.heeded)
      return fail("{} is for files of {}, and --quantize asks for none", rule.flag, rule.by);
  return {};
}

Status read_max_error(const std::string& text, std::optional<double>& error) {
  error = number(text);
  if (error && *error > 0) return {};
  return fail("--max-error is '{}', expected a positive number such as 0.01", printable(text));
}

}  // namespace

void declare_quantize_flags(CLI::App& app, QuantizeTexts& texts) {
  app.add_option("--calibration", texts.calibration)->type_name("PATH|random");
  app.add_option("--calibration-method", texts.calibration_method)->type_name("METHOD");
  app.add_option("--weight-method", texts.weight_method)->type_name("METHOD");
  app.add_option("--block-size", texts.block_size)->type_name("N");
  app.add_option("--io", texts.io)->type_name("float32|int8");
  app.add_option("--recipe", texts.recipe)->type_name("FILE");
  app.add_option("--exclude", texts.exclude)->type_name("REGEX")->allow_extra_args(false);
  app.add_option("--range", texts.ranges)->type_name("NAME=LO,HI")->allow_extra_args(false);
  app.add_option("--max-error", texts.max_error)->type_name("X");
  app.add_flag("--accept-loss", texts.accept_loss);
  app.add_flag("--layer-costs", texts.layer_costs);
  app.add_flag("--onnx-qdq", texts.onnx_qdq);
  app.add_flag("--show-recipe", texts.show_recipe);
}

Status read_quantize_options(const CLI::App& app, const QuantizeTexts& texts, ConvertOptions& convert,
                             VerifyOptions& verification) {
  QuantizeOptions& options = convert.quantize;
  TAPER_TRY(read_path(app, "--recipe", texts.recipe, options.recipe));
  if (options.recipe) {
    if (convert.tflite.empty()) return fail("--recipe makes a TFLite file, but --to leaves tflite out");
    convert.tflite.push_back(Precision::recipe);
  }
  convert.onnx_qdq = texts.onnx_qdq;
  if (convert.onnx_qdq && !convert.onnx) return fail("--onnx-qdq makes an ONNX file, but --to leaves onnx out");
  std::vector<Precision> made = convert.tflite;
  if (convert.onnx_qdq) made.push_back(Precision::int8);
  TAPER_TRY(refuse_idle_flags(app, texts, made));
  options.random_calibration = texts.calibration == "random";
  if (!options.random_calibration) TAPER_TRY(read_path(app, "--calibration", texts.calibration, options.calibration));
  TAPER_TRY(expect_word("--calibration-method", texts.calibration_method, range_method_names()));
  TAPER_TRY(expect_word("--weight-method", texts.weight_method, weight_method_names()));
  TAPER_TRY(expect_word("--block-size", texts.block_size, kBlockSizes));
  TAPER_TRY(expect_word("--io", texts.io, kInputsAndOutputs));
  options.range_method = texts.calibration_method;
  options.weight_method = texts.weight_method;
  options.block = *whole_number(texts.block_size);
  options.integer_io = texts.io == "int8";
  for (const std::string& pattern : texts.exclude)
    if (const auto parsed = NamePattern::parse(pattern); !parsed)
      return fail(
          "--exclude is '{}': {}; expected a regular expression that is found in names of layers, such as "
          "'head' or '^encoder[.]0'",
          printable(pattern), parsed.error().message);
  options.exclude = texts.exclude;
  options.layer_costs = texts.layer_costs;
  for (const std::string& text : texts.ranges) {
    TAPER_ASSIGN(NamedRange range, read_range(text));
    options.ranges.push_back(std::move(range));
  }
  if (app.count("--max-error") > 0) TAPER_TRY(read_max_error(texts.max_error, verification.max_error));
  options.mix_error = verification.max_error.value_or(options.mix_error);
  verification.accept_loss = texts.accept_loss;
  verification.held_out = options.calibration;
  return {};
}

}  // namespace taper
