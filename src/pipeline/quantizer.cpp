#include "pipeline/quantizer.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/mapped_file.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "pipeline/calibration_samples.h"
#include "pipeline/precision.h"
#include "pipeline/trials.h"
#include "report/text.h"

namespace taper {
namespace {

constexpr std::int64_t kRandomSamples = 8;

// ------------------------------------------------------------------------------------------------------------- recipes

Expected<RangeMethod> range_method_of(const QuantizeOptions& options) {
  const auto method = range_method_from_name(options.range_method);
  if (method) return *method;
  return fail("the calibration method is '{}', expected one of {}", printable(options.range_method),
              fmt::join(range_method_names(), ", "));
}

Expected<WeightMethod> weight_method_of(const QuantizeOptions& options) {
  const auto method = weight_method_from_name(options.weight_method);
  if (method) return *method;
  return fail("the weight method is '{}', expected one of {}", printable(options.weight_method),
              fmt::join(weight_method_names(), ", "));
}

Expected<Recipe> read_recipe(const std::filesystem::path& path) {
  const std::string place = fmt::format("in the recipe '{}'", path_text(path));
  TAPER_ASSIGN_WITHIN(const SharedBytes bytes, map_file(path), place);
  TAPER_ASSIGN_WITHIN(Recipe recipe, unless_changed(bytes, parse_recipe(as_text(bytes.view))), place);
  return recipe;
}

// All layers in one way.
Expected<Recipe> uniform_recipe(Precision precision, const QuantizeOptions& options) {
  LayerConfig config = layer_config(precision);
  TAPER_ASSIGN(config.weight_method, weight_method_of(options));
  if (precision == Precision::w4) {
    config.weight->block = options.block;
    config.weight->per_channel = true;
  }
  Recipe recipe;
  TAPER_ASSIGN(NamePattern all, NamePattern::parse(".*"));
  recipe.entries.push_back({std::move(all), "*", config});
  return recipe;
}

Status add_exclusions(const QuantizeOptions& options, Recipe& recipe) {
  for (const std::string& text : options.exclude) {
    TAPER_ASSIGN_WITHIN(NamePattern pattern, NamePattern::parse(text), "in what is to be excluded");
    recipe.entries.push_back({std::move(pattern), "*", {}});
  }
  return {};
}

Status add_ranges(const QuantizeOptions& options, Recipe& recipe) {
  for (const NamedRange& told : options.ranges) {
    TAPER_ASSIGN_WITHIN(NamePattern pattern, NamePattern::parse(told.pattern), "in a range that is told");
    if (!(told.low <= 0 && told.high >= 0 && told.low < told.high) || std::isinf(told.high - told.low))
      return fail("the range of '{}' is told to be {} to {}, expected one with 0 in it", printable(told.pattern),
                  told.low, told.high);
    recipe.ranges.push_back({std::move(pattern), {told.low, told.high}});
  }
  return {};
}

// ------------------------------------------------------------------------------------------------------------- samples

std::unexpected<Error> no_samples() {
  return fail_with_hint(
      "samples of the inputs are needed: the integers between the layers have to know the numbers they stand for",
      "give --calibration samples.npz (or .npy, or a folder of them); --calibration random makes a file whose accuracy "
      "says nothing; --quantize dynamic needs no samples");
}

// The samples in the order and layout of the legalized graph's inputs.
Expected<SampleSource> samples_of(const Model& model, const ConvertOptions& options) {
  const auto turned = [model, last = options.channels_last](InputSet inputs) {
    return last ? with_channels_last(model.impl().graph, {std::move(inputs), {}}).inputs : inputs;
  };
  using Next = Expected<std::optional<std::vector<Array>>>;
  if (options.quantize.random_calibration) {
    return SampleSource([model, turned, next = std::int64_t{0}]() mutable -> Next {
      if (next == kRandomSamples) return std::nullopt;
      TAPER_ASSIGN(Trial trial, random_trial(model.impl().graph, usual_sizes(model.impl().symbols),
                                             static_cast<std::uint64_t>(1000 + next++)));
      return turned(std::move(trial.inputs));
    });
  }
  if (!options.quantize.calibration) return no_samples();
  TAPER_ASSIGN(CalibrationSamples samples, CalibrationSamples::open(model, *options.quantize.calibration));
  std::vector<std::int64_t> chosen = split_samples(samples.count()).calibration;
  const auto tell = [progress = options.progress, count = chosen.size()](std::size_t sample) {
    if (progress) progress(fmt::format("calibrating, sample {} of {}", sample, count));
  };
  return SampleSource([samples = std::move(samples), chosen, turned, tell, next = std::size_t{0}]() mutable -> Next {
    if (next == chosen.size()) return std::nullopt;
    tell(next + 1);
    TAPER_ASSIGN(InputSet inputs, samples.at(chosen[next++]));
    return turned(std::move(inputs));
  });
}

// --------------------------------------------------------------------------------------------------------- what is
// told

// Replaces the ranges of all values of a graph and its regions that `recipe` tells. Each range has to be of something.
Status tell_ranges(const Graph& graph, const Recipe& recipe, Ranges& ranges, std::set<const FixedRange*>& used) {
  const auto tell = [&](const Value* value) {
    const FixedRange* told = value->type.dtype == DType::f32 ? range_for(recipe, value->name) : nullptr;
    if (told == nullptr) return;
    ranges[value] = told->range;
    used.insert(told);
  };
  for (const Value* input : graph.inputs()) tell(input);
  for (const Node& node : graph.nodes()) {
    for (const Value* result : node.results) tell(result);
    for (const auto& region : node.regions) TAPER_TRY(tell_ranges(*region, recipe, ranges, used));
  }
  return {};
}

bool some_layer(const Graph& graph, const std::function<bool(const Node&)>& fits) {
  return std::ranges::any_of(graph.nodes(), [&](const Node& node) {
    return fits(node) ||
           std::ranges::any_of(node.regions, [&](const auto& region) { return some_layer(*region, fits); });
  });
}

// An exclusion of nothing is a slip of the pen, which would leave a layer quantised.
Status check_exclusions(const Graph& graph, const QuantizeOptions& options) {
  for (const std::string& text : options.exclude) {
    TAPER_ASSIGN_WITHIN(const NamePattern pattern, NamePattern::parse(text), "in what is to be excluded");
    if (!some_layer(graph, [&](const Node& node) { return matches(pattern, layer_name(node)); }))
      return fail_with_hint(fmt::format("'{}' is to be excluded, and no layer is called so", printable(text)),
                            "--show-recipe lists the layers");
  }
  return {};
}

QuantizationReport report_of(const QuantizationPlan& plan) {
  QuantizationReport report;
  double all = 0, integers = 0;
  for (const LayerPlan& layer : plan.layers) {
    const auto count = static_cast<double>(layer.multiplications);
    all += count;
    if (layer.computes != "float32") integers += count;
    report.layers.push_back(
        {layer.scope.empty() ? layer.name : layer.scope, layer.operation, layer.computes, layer.reason});
  }
  report.integer_share = all > 0 ? integers / all : 0;
  for (const TensorPlan& tensor : plan.tensors)
    report.tensors.push_back(
        {tensor.name,
         fmt::format("int{} {}, scale {:.3g}{}", tensor.bits, tensor.scheme, tensor.scale,
                     tensor.constant || tensor.zero_point == 0 ? std::string()
                                                               : fmt::format(", zero point {}", tensor.zero_point))});
  return report;
}

}  // namespace

LayerName layer_name(const Node& node) {
  LayerName name{node.scope, {}};
  for (const Value* result : node.results) name.results.push_back(result->name);
  return name;
}

std::string tflite_operation(const Node& node) {
  const auto builtin = op_of(node).tflite.builtin;
  return builtin ? tflite::EnumNameBuiltinOperator(*builtin) : node.op;
}

Expected<Recipe> Quantizer::recipe_of(Precision precision) const {
  Recipe recipe;
  if (precision == Precision::recipe) {
    if (!options_.recipe) return fail("files of a recipe need one");
    TAPER_ASSIGN(recipe, read_recipe(*options_.recipe));
  } else {
    TAPER_ASSIGN(recipe, uniform_recipe(precision, options_));
  }
  TAPER_TRY(add_exclusions(options_, recipe));
  TAPER_TRY(add_ranges(options_, recipe));
  return recipe;
}

Expected<Quantizer> Quantizer::make(const Model& model, const Graph& legal, const ConvertOptions& options) {
  Quantizer quantizer(legal, options.quantize);
  MeasureOptions wanted;
  bool measures = false;
  for (const Precision precision : options.tflite) {
    if (!stores_integers(precision)) continue;
    TAPER_ASSIGN(Recipe recipe, quantizer.recipe_of(precision));
    measures = measures || recipe.needs_calibration();
    wanted.products = wanted.products || std::ranges::any_of(recipe.entries, [](const RecipeEntry& entry) {
                        return entry.config.weight_method == WeightMethod::gptq;
                      });
    quantizer.recipes_.emplace_back(precision, std::move(recipe));
  }
  if (!quantizer.recipes_.empty()) TAPER_TRY(check_exclusions(legal, options.quantize));
  if (measures) {
    TAPER_ASSIGN(wanted.ranges.method, range_method_of(options.quantize));
    TAPER_ASSIGN(const SampleSource samples, samples_of(model, options));
    TAPER_ASSIGN_WITHIN(quantizer.measured_, measure(legal, samples, wanted), "while calibrating");
    quantizer.ranges_ = quantizer.measured_.ranges;
  }
  for (const auto& [precision, recipe] : quantizer.recipes_) {
    std::set<const FixedRange*> used;
    TAPER_TRY(tell_ranges(legal, recipe, quantizer.ranges_, used));
    for (const FixedRange& told : recipe.ranges)
      if (!used.contains(&told))
        return fail("a range is told for '{}', and no tensor is called so", told.tensor.text());
  }
  return quantizer;
}

LayerConfig Quantizer::config_of(Precision precision, const Node& node) const {
  const auto found = std::ranges::find(recipes_, precision, &std::pair<Precision, Recipe>::first);
  const RecipeEntry* entry = entry_for(found->second, layer_name(node), tflite_operation(node));
  return entry == nullptr ? LayerConfig{} : entry->config;
}

Expected<StoredGraph> Quantizer::stored_as(Precision precision) const {
  return stored_by([&](const Node& node) { return config_of(precision, node); });
}

Expected<StoredGraph> Quantizer::stored_by(const std::function<LayerConfig(const Node&)>& config_of) const {
  QuantizationPlan plan;
  const QuantizeRequest request{.config_of = config_of,
                                .ranges = ranges_.empty() ? nullptr : &ranges_,
                                .float_io = !options_.integer_io,
                                .inputs_of = [&](const Node& node) -> const InputProducts* {
                                  const auto found = measured_.products.find(node.operands[0]);
                                  return found == measured_.products.end() ? nullptr : &found->second;
                                }};
  TAPER_ASSIGN(Graph graph, quantize(legal_, request, &plan));
  StoredGraph stored{std::move(graph), std::move(plan.notes), report_of(plan)};
  stored.report->calibration_samples = measured_.samples;
  stored.report->random_calibration = measured_.samples > 0 && options_.random_calibration;
  return stored;
}

}  // namespace taper
