#include "pipeline/quantizer.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_set>

#include "base/mapped_file.h"
#include "base/suggest.h"
#include "formats/text.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/quantize_weights.h"
#include "passes/rewrite.h"
#include "pipeline/array_file.h"
#include "pipeline/calibration_samples.h"
#include "pipeline/fitting_sizes.h"
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
  auto recipe = unless_changed(bytes, parse_recipe(as_text(bytes.view)));
  if (recipe) return recipe;
  return std::unexpected(hinted(within(std::move(recipe).error(), place),
                                "a recipe is JSON in the form of ai-edge-quantizer; docs/quantisation.md shows one"));
}

// Small weights stay as exact as they are while all of them together would save less than a hundredth of the others'
// integers. Returns the size from which on weights are stored as integers: at most `most`, beyond which all are.
std::int64_t least_weights(const Graph& legal, std::int64_t most) {
  constexpr std::int64_t kBytesSaved = 3, kLeastShare = 100;
  std::vector<std::int64_t> sizes;
  std::int64_t stored = 0;
  for (const Node* layer : layers_with_weights(legal)) {
    sizes.push_back(weights_of_layer(*layer));
    stored += sizes.back();
  }
  std::ranges::sort(sizes);
  std::int64_t forgone = 0;
  for (const std::int64_t size : sizes) {
    forgone += kBytesSaved * size;
    if (size >= most || forgone * kLeastShare > stored) return std::min(size, most);
  }
  return most;
}

// All layers in one way.
Expected<Recipe> uniform_recipe(const Graph& legal, Precision precision, const QuantizeOptions& options) {
  LayerConfig config = layer_config(precision);
  config.min_weight_elements = least_weights(legal, config.min_weight_elements);
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

// They stand behind all other entries.
Status add_exclusions(const QuantizeOptions& options, Recipe& recipe) {
  for (const std::string& text : options.exclude) {
    TAPER_ASSIGN_WITHIN(NamePattern pattern, NamePattern::parse(text), "in what is to be excluded");
    recipe.entries.push_back({std::move(pattern), "*", {}});
  }
  return {};
}

std::span<const RecipeEntry> exclusions(const Recipe& recipe, const QuantizeOptions& options) {
  return std::span(recipe.entries).last(options.exclude.size());
}

Status add_ranges(const QuantizeOptions& options, Recipe& recipe) {
  for (const NamedRange& told : options.ranges) {
    TAPER_ASSIGN_WITHIN(NamePattern pattern, NamePattern::parse(told.pattern), "in a range that is told");
    constexpr double kMost = 1e30;  // beyond it float32 numbers overflow when they are multiplied
    if (!(told.low <= 0 && told.high >= 0 && told.low < told.high) || told.high > kMost || told.low < -kMost)
      return fail("the range of '{}' is told to be {} to {}, expected one with 0 in it, within {}",
                  printable(told.pattern), told.low, told.high, kMost);
    recipe.ranges.push_back({std::move(pattern), {told.low, told.high}});
  }
  return {};
}

// ------------------------------------------------------------------------------------------------------------- samples

std::unexpected<Error> no_samples(const ConvertOptions& options) {
  const bool integers = std::ranges::any_of(options.tflite, [](Precision precision) {
    return precision == Precision::int8 || precision == Precision::int16x8 || precision == Precision::recipe;
  });
  if (!integers)
    return fail_with_hint(
        "samples of the inputs are needed: GPTQ makes up for what it rounds by what the layers are fed with",
        "give --calibration samples.npz (or .npy, or a folder of them), or another --weight-method");
  return fail_with_hint(
      "samples of the inputs are needed: the integers between the layers have to know the numbers they stand for",
      "give --calibration samples.npz (or .npy, or a folder of them); --calibration random makes a file whose accuracy "
      "says nothing; --quantize dynamic needs no samples");
}

// The samples in the order and layout of the legalized graph's inputs.
Expected<SampleSource> samples_of(const Model& model, const ConvertOptions& options, Quantizer::Clock::time_point end) {
  const auto turned = [model, last = options.channels_last](InputSet inputs) {
    return last ? with_channels_last(model.impl().graph, {std::move(inputs), {}}).inputs : inputs;
  };
  using Next = Expected<std::optional<std::vector<Array>>>;
  if (options.quantize.random_calibration) {
    return SampleSource([model, turned, end, next = std::int64_t{0}]() mutable -> Next {
      if (next == kRandomSamples || (next > 0 && Quantizer::Clock::now() > end)) return std::nullopt;
      Expected<Trial> trial = random_trial(model, static_cast<std::uint64_t>(1000 + next++));
      if (!trial) return std::unexpected(wanting_sizes(std::move(trial).error(), model));
      return turned(std::move(trial->inputs));
    });
  }
  if (!options.quantize.calibration) return no_samples(options);
  auto opened = CalibrationSamples::open(model, *options.quantize.calibration);
  if (!opened) return std::unexpected(expecting_inputs(std::move(opened).error(), model.impl().graph));
  CalibrationSamples samples = *std::move(opened);
  std::vector<std::int64_t> chosen = split_samples(samples.count()).calibration;
  const auto tell = [progress = options.progress, count = chosen.size()](std::size_t sample) {
    if (progress) progress(fmt::format("calibrating, sample {} of {}", sample, count));
  };
  return SampleSource(
      [samples = std::move(samples), chosen, turned, tell, end, next = std::size_t{0}]() mutable -> Next {
        if (next == chosen.size() || (next > 0 && Quantizer::Clock::now() > end)) return std::nullopt;
        tell(next + 1);
        TAPER_ASSIGN(InputSet inputs, samples.at(chosen[next++]));
        return turned(std::move(inputs));
      });
}

// ------------------------------------------------------------------------------------------------- what is told

// Replaces the ranges of all values of a graph and its regions that `recipe` tells. Each range has to be of something.
Status tell_ranges(const Graph& graph, const Recipe& recipe, Ranges& ranges, std::unordered_set<const Value*>& told,
                   std::set<const FixedRange*>& used) {
  const auto tell = [&](const Value* value) {
    const FixedRange* range = value->type.dtype == DType::f32 ? range_for(recipe, value->name) : nullptr;
    if (range == nullptr) return;
    ranges[value] = range->range;
    told.insert(value);
    used.insert(range);
  };
  for (const Value* input : graph.inputs()) tell(input);
  for (const Node& node : graph.nodes()) {
    for (const Value* result : node.results) tell(result);
    for (const auto& region : node.regions) TAPER_TRY(tell_ranges(*region, recipe, ranges, told, used));
  }
  return {};
}

std::unexpected<Error> unknown_tensor(const Graph& graph, const std::string& pattern) {
  // What --range names is a pattern of the whole name, with what means something there behind backslashes.
  std::string name;
  for (const char letter : pattern)
    if (letter != '\\' && letter != '^' && letter != '$') name += letter;
  std::vector<std::string> ports, tensors;
  for (const Value* input : graph.inputs()) ports.push_back(input->name);
  for (const Output& output : graph.outputs()) ports.push_back(output.name);
  tensors = ports;
  for (const Node& node : graph.nodes())
    for (const Value* result : node.results) tensors.push_back(result->name);
  const auto meant = nearest(name, tensors);
  return fail_with_hint(fmt::format("a range is told for '{}', and no tensor is called so", printable(name)),
                        meant ? fmt::format("did you mean '{}'?", printable(*meant))
                              : fmt::format("the inputs and outputs are {}; --dump-ir shows all tensors",
                                            printable(shortened(ports, 8))));
}

bool some_layer(const Graph& graph, const std::function<bool(const Node&)>& fits) {
  return std::ranges::any_of(graph.nodes(), [&](const Node& node) {
    return fits(node) ||
           std::ranges::any_of(node.regions, [&](const auto& region) { return some_layer(*region, fits); });
  });
}

// An exclusion of nothing is a slip of the pen, which would leave a layer quantised.
Status check_exclusions(const Graph& graph, std::span<const RecipeEntry> excluded) {
  for (const RecipeEntry& entry : excluded)
    if (!some_layer(graph, [&](const Node& node) { return matches(entry.scope, layer_name(node)); }))
      return fail_with_hint(
          fmt::format("'{}' is to be excluded, and no layer is called so", printable(entry.scope.text())),
          "--show-recipe lists the layers");
  return {};
}

// Entries of a recipe that speak of no layer: a slip of the pen, or meant for another network.
std::vector<std::string> idle_entries(const Graph& graph, std::span<const RecipeEntry> entries) {
  std::vector<std::string> notes;
  for (const RecipeEntry& entry : entries)
    if (!some_layer(graph, [&](const Node& node) { return matches(entry.scope, layer_name(node)); }))
      notes.push_back(fmt::format("no layer is called like '{}' of the recipe (--show-recipe lists them)",
                                  printable(entry.scope.text())));
  return notes;
}

bool has_asymmetric_weights(const RecipeEntry& entry) {
  const auto& weight = entry.config.weight;
  return entry.config.quantized && weight && !weight->floating && !weight->symmetric;
}

// Whether nothing is stored or computed otherwise than in the float32 file.
bool changes_nothing(const QuantizationPlan& plan, const std::function<LayerConfig(const Node&)>& config_of) {
  return plan.tensors.empty() && std::ranges::all_of(plan.layers, [&](const LayerPlan& layer) {
           const LayerConfig config = config_of(*layer.node);
           const bool half = config.quantized && config.weight && config.weight->floating && config.weight->bits == 16;
           return layer.computes == "float32" && !half;
         });
}

// Whether some layer is to give integers of 8 bits.
bool stores_int8(const Recipe& recipe) {
  return std::ranges::any_of(recipe.entries, [](const RecipeEntry& entry) {
    const auto& activation = entry.config.activation;
    return entry.config.quantized && activation && !activation->floating && activation->bits == 8;
  });
}

bool compensates(const Recipe& recipe) {
  return std::ranges::any_of(recipe.entries,
                             [](const RecipeEntry& entry) { return entry.config.weight_method == WeightMethod::gptq; });
}

// Inputs like no sample are told from what is given out: few samples show less of its range than of what lies inside,
// which saturates in gates and is bounded by norms. So what only leaves the graph gets room beyond what was seen, the
// more the fewer samples there were: a clipped result is wrong by far more than a coarser one.
void make_room_for_outputs(const Graph& graph, std::int64_t samples, Ranges& ranges) {
  const double room = 1 + 2 / std::sqrt(static_cast<double>(samples));
  const Users users = users_of(graph);
  std::set<const Value*> seen;
  for (const Output& output : graph.outputs()) {
    const auto range = ranges.find(output.value);
    const bool leaves_only = std::ranges::all_of(users.at(output.value), [](const Node* user) { return !user; });
    if (range == ranges.end() || !leaves_only || !seen.insert(output.value).second) continue;
    range->second = {range->second.low * room, range->second.high * room};
  }
}

// A grid has to tell masks from all else: it reaches down to where numbers begin to count, if that is known. What is
// infinite elsewhere stays float32.
void reach_masks(const Measurements& measured, const Floors& floors, Ranges& ranges) {
  for (const Value* value : measured.infinite)
    if (!floors.contains(value)) ranges.erase(value);
  for (const Value* value : measured.masked)
    if (const auto floor = floors.find(value); floor != floors.end())
      if (const auto range = ranges.find(value); range != ranges.end())
        range->second.low = std::min(range->second.low, floor->second - floor_margin(16));
}

// Of inputs that samples show to be infinite.
std::vector<std::string> notes_on_masks(const Graph& graph, const Measurements& measured) {
  std::vector<std::string> notes;
  for (const Value* input : graph.inputs())
    if (measured.infinite.contains(input))
      notes.push_back(fmt::format("samples of '{}' hold -inf, which is taken for a mask and is in no range",
                                  printable(input->name)));
  return notes;
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
    TAPER_ASSIGN(recipe, uniform_recipe(*plain_.graph, precision, options_));
  }
  TAPER_TRY(add_exclusions(options_, recipe));
  TAPER_TRY(add_ranges(options_, recipe));
  return recipe;
}

Status Quantizer::read_recipes(const std::vector<Precision>& precisions) {
  for (const Precision precision : precisions) {
    if (!stores_integers(precision)) continue;
    TAPER_ASSIGN(Recipe recipe, recipe_of(precision));
    recipes_.emplace_back(precision, std::move(recipe));
  }
  return {};
}

Status Quantizer::part_gates_for_int8() {
  const bool int8 = std::ranges::any_of(recipes_, [](const auto& entry) { return stores_int8(entry.second); });
  if (!int8 || !has_gates(*plain_.graph)) return {};
  TAPER_ASSIGN(Graph parted, part_gates(*plain_.graph));
  TAPER_TRY(check(parted));
  parted_.owned = std::make_unique<const Graph>(std::move(parted));
  parted_.graph = parted_.owned.get();
  return {};
}

// What the files that are made of the subject need.
Status Quantizer::know_ranges(Subject& subject, const Model& model, const ConvertOptions& options,
                              Clock::time_point deadline) {
  MeasureOptions wanted;
  bool measures = false;
  for (const auto& [precision, recipe] : recipes_) {
    if (&subject_of(precision) != &subject) continue;
    measures = measures || recipe.needs_calibration();
    wanted.products = wanted.products || compensates(recipe);
    wanted.inputs = wanted.inputs || recipe.needs_ranges();
  }
  if (measures) {
    TAPER_ASSIGN(wanted.ranges.method, range_method_of(options_));
    TAPER_ASSIGN(const SampleSource samples, samples_of(model, options, deadline));
    TAPER_ASSIGN_WITHIN(subject.measured, measure(*subject.graph, samples, wanted), "while calibrating");
    subject.ranges = subject.measured.ranges;
    subject.floors = floors_of(*subject.graph, subject.measured.maxima, subject.ranges);
    reach_masks(subject.measured, subject.floors, subject.ranges);
    if (wanted.ranges.method == RangeMethod::min_max)
      make_room_for_outputs(*subject.graph, subject.measured.samples, subject.ranges);
  }
  for (const auto& [precision, recipe] : recipes_) {
    if (&subject_of(precision) != &subject) continue;
    std::set<const FixedRange*> used;
    TAPER_TRY(tell_ranges(*subject.graph, recipe, subject.ranges, subject.told, used));
    for (const FixedRange& told : recipe.ranges)
      if (!used.contains(&told)) return unknown_tensor(*subject.graph, told.tensor.text());
  }
  return {};
}

Expected<Quantizer> Quantizer::make(const Model& model, const Graph& legal, const ConvertOptions& options,
                                    Clock::time_point deadline) {
  Quantizer quantizer(legal, options.quantize);
  TAPER_TRY(quantizer.read_recipes(options.tflite));
  if (!quantizer.recipes_.empty())
    TAPER_TRY(check_exclusions(legal, exclusions(quantizer.recipes_.front().second, options.quantize)));
  TAPER_TRY(quantizer.part_gates_for_int8());
  TAPER_TRY(quantizer.know_ranges(quantizer.plain_, model, options, deadline));
  if (quantizer.parted_.graph != nullptr) TAPER_TRY(quantizer.know_ranges(quantizer.parted_, model, options, deadline));
  return quantizer;
}

const Recipe& Quantizer::recipe_for(Precision precision) const {
  return std::ranges::find(recipes_, precision, &std::pair<Precision, Recipe>::first)->second;
}

const Quantizer::Subject& Quantizer::subject_of(Precision precision) const {
  return parted_.graph != nullptr && stores_int8(recipe_for(precision)) ? parted_ : plain_;
}

LayerConfig Quantizer::config_of(Precision precision, const Node& node) const {
  const auto possible = [&](const RecipeEntry& entry) { return entry.config.rotation == 0 || can_rotate(node); };
  const RecipeEntry* entry = entry_for(recipe_for(precision), layer_name(node), tflite_operation(node), possible);
  return entry == nullptr ? LayerConfig{} : entry->config;
}

Expected<StoredGraph> Quantizer::stored_as(Precision precision, QuantizationPlan* plan) const {
  const auto config = [&](const Node& node) { return config_of(precision, node); };
  QuantizationPlan unused;
  QuantizationPlan& made = plan != nullptr ? *plan : unused;
  TAPER_ASSIGN(StoredGraph stored, stored_by(precision, config, false, &made));
  if (precision == Precision::recipe) {
    const std::span entries(recipe_for(precision).entries);
    const auto idle =
        idle_entries(*subject_of(precision).graph, entries.first(entries.size() - options_.exclude.size()));
    stored.notes.insert(stored.notes.end(), idle.begin(), idle.end());
    if (std::ranges::any_of(entries, has_asymmetric_weights))
      stored.notes.emplace_back("weights are symmetric, also where the recipe says otherwise: kernels take no others");
  }
  if (changes_nothing(made, config))
    stored.notes.emplace_back("all of it stays float32 (why: float_layers in the results)");
  return stored;
}

Expected<StoredGraph> Quantizer::stored_by(Precision precision,
                                           const std::function<LayerConfig(const Node&)>& config_of, bool forced,
                                           QuantizationPlan* plan) const {
  const Subject& subject = subject_of(precision);
  const auto& products = subject.measured.products;
  const auto& inputs = subject.measured.inputs;
  QuantizationPlan unused;
  QuantizationPlan& made = plan != nullptr ? *plan : unused;
  const QuantizeRequest request{.config_of = config_of,
                                .ranges = subject.ranges.empty() ? nullptr : &subject.ranges,
                                .floors = &subject.floors,
                                .told = &subject.told,
                                .float_io = !options_.integer_io,
                                .inputs_of = [&](const Node& node) -> const InputProducts* {
                                  const auto found = products.find(node.operands[0]);
                                  return found == products.end() ? nullptr : &found->second;
                                },
                                .means_of = [&](const Node& node) -> const LayerInputs* {
                                  const auto found = inputs.find(node.operands[0]);
                                  return found == inputs.end() ? nullptr : &found->second;
                                },
                                .forced = forced};
  TAPER_ASSIGN(Graph graph, quantize(*subject.graph, request, &made));
  StoredGraph stored{std::move(graph), made.notes, report_of(made)};
  if (recipe_for(precision).needs_calibration()) {
    stored.report->calibration_samples = subject.measured.samples;
    stored.report->random_calibration = options_.random_calibration;
    constexpr std::int64_t kFew = 32;
    if (subject.measured.samples < kFew && !options_.random_calibration && recipe_for(precision).needs_ranges())
      stored.notes.push_back(
          subject.measured.samples == 1
              ? std::string(
                    "its ranges were seen on 1 sample, and inputs unlike it are clipped: give --calibration some "
                    "dozen of them")
              : fmt::format("its ranges were seen on {} samples: inputs unlike those are clipped",
                            subject.measured.samples));
    for (std::string& note : notes_on_masks(*subject.graph, subject.measured)) stored.notes.push_back(std::move(note));
  }
  return stored;
}

}  // namespace taper
