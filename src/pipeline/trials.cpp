#include "pipeline/trials.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <set>

#include "ops/evaluate.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "pipeline/array_file.h"
#include "pipeline/calibration_samples.h"
#include "pipeline/coverage.h"
#include "pipeline/fitting_sizes.h"
#include "pipeline/index_bounds.h"
#include "pipeline/verify_input.h"
#include "report/text.h"

namespace taper {
namespace {

// Where one evaluation of the reference took longer there is no second one.
constexpr double kPatience = 60;  // seconds

// How inputs are drawn.
enum class Draw {
  wide,      // floats in [-1, 1), integers that select from the whole axis, random masks
  positive,  // floats in [0, 1), for logarithms and roots
  small,     // the same, and integers of 0 and 1
  ones,      // integers and masks of 1
  zeros,     // integers and masks of 0
  lengths,   // integers from 2 to 8: how much there is of something, of which nothing or one may be too little
  // For branches and loops that nothing above reaches:
  negative,        // floats in [-1, 0)
  large,           // floats in [-100, 100)
  large_positive,  // floats in [0, 100)
  counts,          // integers from 0 to 8 that select nothing
};
constexpr Draw kDraws[] = {Draw::wide, Draw::positive, Draw::small, Draw::ones, Draw::zeros, Draw::lengths};
constexpr Draw kFurtherDraws[] = {Draw::zeros, Draw::ones,   Draw::negative,       Draw::positive,
                                  Draw::large, Draw::counts, Draw::large_positive, Draw::wide};

class Drawing {
 public:
  Drawing(const Graph& graph, Draw draw, std::uint64_t seed)
      : graph_(graph),
        draw_(draw),
        seed_(seed),
        bounds_(index_bounds(graph)),
        divisors_(integer_divisors(graph)),
        lengths_(sequence_lengths(graph)) {}

  Expected<InputSet> at(const Bindings& sizes) const {
    InputSet set;
    for (std::size_t i = 0; i < graph_.inputs().size(); ++i) {
      const Value* input = graph_.inputs()[i];
      TAPER_ASSIGN_WITHIN(Array array, one(*input, i, sizes), fmt::format("in the input '{}'", printable(input->name)));
      set.push_back(std::move(array));
    }
    return set;
  }

 private:
  Expected<Array> one(const Value& input, std::size_t index, const Bindings& sizes) const {
    TAPER_ASSIGN(std::vector<std::int64_t> shape, evaluate(input.type.shape, sizes));
    TAPER_ASSIGN(const std::int64_t count, checked_element_count(shape));
    Array array{input.type.dtype, std::move(shape), {}};
    array.values.resize(static_cast<std::size_t>(count));
    std::mt19937_64 generator(seed_ + 1'000'003 * index);
    // In [0, 1), the same on every platform.
    const auto uniform = [&] { return static_cast<double>(static_cast<float>(generator() >> 40) * 0x1p-24f); };
    if (is_floating(input.type.dtype)) {
      const auto [low, high] = interval();
      for (double& value : array.values) value = low + (high - low) * uniform();
      return array;
    }
    const bool divides = divisors_.contains(&input), is_length = lengths_.contains(&input);
    if (draw_ == Draw::ones || draw_ == Draw::zeros) {
      std::ranges::fill(array.values, draw_ == Draw::ones || divides || is_length ? 1 : 0);
      return array;
    }
    if (draw_ == Draw::lengths && input.type.dtype != DType::boolean) {
      constexpr std::int64_t kFewest = 2, kMost = 8;
      const std::int64_t last = bounds_.contains(&input) ? bound_of(input, sizes) - 1 : kMost;
      const std::int64_t most = std::clamp<std::int64_t>(last, divides ? 1 : 0, kMost);
      const std::int64_t fewest = std::min(kFewest, most);
      for (double& value : array.values)
        value = static_cast<double>(fewest) + std::floor(uniform() * static_cast<double>(most - fewest + 1));
      return array;
    }
    constexpr double kDivisors = 8;
    const double least = divides || is_length ? 1 : 0;
    const double bound = static_cast<double>(bound_of(input, sizes)) - (is_length && !divides ? 1 : 0);
    const double below = divides ? std::clamp(bound - 1, 1.0, kDivisors) : bound;
    for (double& value : array.values) value = least + std::floor(uniform() * below);
    return array;
  }

  std::pair<double, double> interval() const {
    constexpr double kLarge = 100;
    if (draw_ == Draw::negative) return {-1, 0};
    if (draw_ == Draw::large) return {-kLarge, kLarge};
    if (draw_ == Draw::large_positive) return {0, kLarge};
    return {draw_ == Draw::wide || draw_ == Draw::counts ? -1 : 0, 1};
  }

  // Numbers that select nothing are flags more often than not.
  std::int64_t bound_of(const Value& input, const Bindings& sizes) const {
    constexpr std::int64_t kFlags = 2, kCounts = 9;
    const auto found = bounds_.find(&input);
    if (input.type.dtype == DType::boolean) return kFlags;
    if (found == bounds_.end()) return draw_ == Draw::counts ? kCounts : kFlags;
    std::int64_t most = draw_ == Draw::small ? kFlags : std::int64_t{1} << 24;
    if (input.type.dtype == DType::i8) most = std::min<std::int64_t>(most, 128);
    if (input.type.dtype == DType::u8) most = std::min<std::int64_t>(most, 256);
    for (const Dim& size : found->second)
      if (const auto value = size.evaluate(sizes)) most = std::min(most, std::max<std::int64_t>(*value, 1));
    return most;
  }

  const Graph& graph_;
  Draw draw_;
  std::uint64_t seed_;
  std::map<const Value*, std::vector<Dim>> bounds_;
  std::set<const Value*> divisors_, lengths_;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Expected<Trial> trial_of(const Graph& graph, InputSet inputs) {
  PreparedGraph prepared(graph, false);
  Trial trial{std::move(inputs), {}, {}};
  std::set<const Value*> without_elements;
  Coverage coverage(graph);
  const ValueObserver observer = [&](const Value& value, const Array& array) {
    coverage.observe(value, array);
    if (!array.values.empty()) return;
    without_elements.insert(&value);
    if (value.producer == nullptr || value.producer->operands.empty() || !trial.emptied.empty()) return;
    const auto& operands = value.producer->operands;
    if (std::ranges::none_of(operands, [&](const Value* operand) { return without_elements.contains(operand); }))
      trial.emptied = value.name;
  };
  prepared.observe(&observer);
  TAPER_ASSIGN(trial.reference, prepared.run(trial.inputs));
  trial.reached = coverage.reached();
  return trial;
}

// The first finite trial of `draws` in which nothing comes out empty, else the first finite one, else the first one
// that can be evaluated at all.
Expected<Trial> tame_trial(const Graph& graph, const Bindings& sizes, std::uint64_t seed, std::span<const Draw> draws) {
  std::optional<Expected<Trial>> best;
  const auto start = std::chrono::steady_clock::now();
  for (const Draw draw : draws) {
    TAPER_ASSIGN(InputSet inputs, Drawing(graph, draw, seed).at(sizes));
    Expected<Trial> trial = trial_of(graph, std::move(inputs));
    if (trial ? trial->finite() && trial->emptied.empty() : contradicts_sizes(trial.error())) return trial;
    const auto rank = [](const Expected<Trial>& each) { return !each ? 0 : each->finite() ? 2 : 1; };
    if (!best || rank(trial) > rank(*best)) best = std::move(trial);
    if (seconds_since(start) > kPatience) break;
  }
  return std::move(*best);
}

// A size unlike the usual one: two for one, about a third of many.
std::int64_t other_size(const SymbolRange& range) {
  const std::int64_t wished = range.usual == 1 ? 2 : range.usual / 3 + 1;
  const std::int64_t allowed = std::clamp(wished, std::max<std::int64_t>(range.least, 1), range.most);
  if (allowed != range.usual) return allowed;
  return range.usual < range.most ? range.usual + 1 : std::max(range.least, range.usual - 1);
}

// Sizes for the second trial, the best first. Sizes may have to be related in ways that ranges don't tell.
std::vector<Bindings> further_sizes(const Symbols& symbols) {
  const Bindings usual = usual_sizes(symbols);
  std::vector<Bindings> choices;
  const auto add = [&](Bindings sizes) {
    if (sizes != usual && std::ranges::find(choices, sizes) == choices.end()) choices.push_back(std::move(sizes));
  };
  const auto each = [&](auto size_of_range) {
    Bindings sizes;
    for (const auto& [name, range] : symbols)
      sizes.emplace(name, std::clamp(size_of_range(range), std::max<std::int64_t>(range.least, 1), range.most));
    add(std::move(sizes));
  };
  add(other_sizes(symbols));
  constexpr std::int64_t kLarge = std::int64_t{1} << 20;
  each([](const SymbolRange& range) { return range.usual < kLarge ? 2 * range.usual : range.usual; });
  each([](const SymbolRange& range) { return range.usual < kLarge ? range.usual + 1 : range.usual; });
  for (const auto& [name, range] : symbols) {
    Bindings sizes = usual;
    sizes[name] = other_size(range);
    add(std::move(sizes));
  }
  constexpr std::size_t kMostChoices = 8;
  if (choices.size() > kMostChoices) choices.resize(kMostChoices);
  return choices;
}

// How many elements all values of a graph have together.
double elements_at(const Graph& graph, const Bindings& sizes) {
  double elements = 0;
  for (const Node& node : graph.nodes()) {
    for (const auto& region : node.regions) elements += elements_at(*region, sizes);
    if (op_of(node).is_constant) continue;
    for (const Value* result : node.results) {
      double count = 1;
      for (const Dim& size : result->type.shape) count *= static_cast<double>(size.evaluate(sizes).value_or(1));
      elements += count;
    }
  }
  return elements;
}

// Whether a network makes far more of its inputs than any that computes something: only elements that doubled and
// doubled again. A larger size would take minutes and show no more than a small one.
bool explodes_at(const Graph& graph, const Bindings& sizes) {
  constexpr double kMostElements = 1 << 26, kMostOfOne = 1 << 16;
  const double elements = elements_at(graph, sizes);
  if (elements <= kMostElements) return false;
  double inputs = 0;
  for (const Value* input : graph.inputs())
    inputs += static_cast<double>(element_count(input->type.shape).evaluate(sizes).value_or(0));
  return elements > kMostOfOne * inputs;
}

// The usual sizes, or, where the network explodes there, as large a part of each as it takes without, and at least the
// least.
Bindings first_sizes(const Graph& graph, const Symbols& symbols) {
  Bindings sizes = usual_sizes(symbols);
  constexpr int kMostHalvings = 62;
  for (int i = 0; i < kMostHalvings && explodes_at(graph, sizes); ++i)
    for (auto& [name, size] : sizes)
      if (const auto range = symbols.find(name); range != symbols.end())
        size = std::max({size / 2, range->second.least, std::int64_t{1}});
  return sizes;
}

// Larger sizes, for networks that refuse the usual ones: a window may be longer than an input whose length nobody said.
// Batches are larger only where nothing else helps.
std::vector<Bindings> larger_sizes(const Graph& graph, const Symbols& symbols) {
  std::vector<Bindings> choices;
  for (const bool batches : {false, true})
    for (const std::int64_t factor : {16, 64, 256}) {
      Bindings sizes;
      bool larger = false;
      for (const auto& [name, range] : symbols) {
        const bool grows = range.usual == 1 && range.most > 1 && (batches || !counts_samples(graph, name));
        sizes.emplace(name, grows ? std::min(factor, range.most) : range.usual);
        larger = larger || grows;
      }
      if (larger) choices.push_back(std::move(sizes));
    }
  return choices;
}

// Of families: the range of normalised keypoints.
std::span<const Draw> draws_for(const Model& model) {
  static constexpr Draw kFamilyDraws[] = {Draw::positive};
  return model.impl().info.kind == SourceKind::family ? std::span<const Draw>(kFamilyDraws) : kDraws;
}

Expected<Trials> trials_at_two_sizes(const Model& model, std::uint64_t seed, bool static_shapes) {
  const Model::Impl& impl = model.impl();
  const std::span<const Draw> draws = draws_for(model);
  Trials trials;
  const auto start = std::chrono::steady_clock::now();
  const Bindings usual = usual_sizes(impl.symbols);
  const Bindings sizes_of_first = static_shapes ? usual : first_sizes(impl.graph, impl.symbols);
  Expected<Trial> first = tame_trial(impl.graph, sizes_of_first, seed, draws);
  // Windows that are longer than their input leave nothing: PyTorch and runtimes refuse that.
  if (!static_shapes && (!first || !first->emptied.empty()))
    for (const Bindings& sizes : larger_sizes(impl.graph, impl.symbols)) {
      if (seconds_since(start) > kPatience) break;
      Expected<Trial> larger = tame_trial(impl.graph, sizes, seed, draws);
      if (!larger || !larger->emptied.empty()) continue;
      trials.all.push_back(std::move(*larger));
      trials.note =
          fmt::format("verified at {} alone: at the default sizes {}", sizes_text(sizes),
                      first ? fmt::format("'{}' is empty", printable(first->emptied)) : first.error().message);
      return trials;
    }
  if (!first) return std::unexpected(std::move(first).error());
  const bool takes_empty = !first->emptied.empty();
  trials.all.push_back(std::move(*first));
  if (static_shapes || impl.symbols.empty()) return trials;
  const auto alone = [&](const std::string& reason) {
    const std::string at = sizes_of_first == usual ? "the default sizes" : sizes_text(sizes_of_first);
    return fmt::format("verified at {} alone: {}", at, reason);
  };
  std::string reason = "no other sizes are within their ranges";
  for (const Bindings& sizes : further_sizes(impl.symbols)) {
    if (sizes == sizes_of_first) continue;
    if (explodes_at(impl.graph, sizes)) {
      reason = fmt::format("at {} its values have {} elements", sizes_text(sizes),
                           human_count(static_cast<std::int64_t>(std::min(elements_at(impl.graph, sizes), 1e18))));
      continue;
    }
    if (seconds_since(start) > kPatience) {
      reason = fmt::format("evaluating the reference takes {}", human_seconds(seconds_since(start)));
      break;
    }
    Expected<Trial> second = tame_trial(impl.graph, sizes, seed + 1, draws);
    if (second && (takes_empty || second->emptied.empty())) {
      trials.all.push_back(std::move(*second));
      return trials;
    }
    reason = second ? fmt::format("'{}' is empty at others", printable(second->emptied)) : second.error().message;
  }
  trials.note = alone(reason);
  return trials;
}

void add_note(Trials& trials, const std::string& note) {
  trials.note += (trials.note.empty() ? "" : "; ") + note;
}

void tell_what_never_ran(const Coverage& coverage, Trials& trials) {
  std::set<std::size_t> reached;
  for (const Trial& trial : trials.all) reached.insert(trial.reached.begin(), trial.reached.end());
  std::vector<std::string> missing = coverage.missing(reached);
  constexpr std::size_t kMostNamed = 4;
  const std::size_t count = missing.size();
  if (count == 0) return;
  missing.resize(std::min(count, kMostNamed));
  const std::string others = count > kMostNamed ? fmt::format(" and {} more", count - kMostNamed) : std::string();
  add_note(trials, fmt::format("never ran, and so is not verified: {}{}", fmt::join(missing, ", "), others));
}

// Whether an output tells errors from rounding: not where all its numbers come out nearly equal, as those of a loop
// that converges do.
bool tells_errors(const Array& output) {
  constexpr double kLeastSpread = 1e-3;
  if (!is_floating(output.dtype) || output.values.empty()) return true;
  const auto [low, high] = std::ranges::minmax(output.values);
  const double spread = high - low;
  return spread == 0 || spread > kLeastSpread * std::max(std::fabs(low), std::fabs(high));
}

// The sizes of a trial, and where they may vary, others in turns with them.
std::vector<Bindings> sizes_to_cover(const Model& model, const Trial& first, bool static_shapes) {
  const Model::Impl& impl = model.impl();
  std::vector<std::vector<std::int64_t>> shapes;
  shapes.reserve(first.inputs.size());
  for (const Array& input : first.inputs) shapes.push_back(input.shape);
  const auto sizes = bind_symbols(impl.graph.inputs(), shapes);
  if (!sizes) return {};
  std::vector<Bindings> choices = {*sizes};
  if (static_shapes || impl.symbols.empty()) return choices;
  for (const Bindings& other : further_sizes(impl.symbols)) {
    if (explodes_at(impl.graph, other)) continue;
    choices.push_back(other);
    choices.push_back(*sizes);
  }
  return choices;
}

// Adds trials that run branches and loops which those before did not.
void cover_the_rest(const Graph& graph, const Coverage& coverage, const std::vector<Bindings>& sizes,
                    std::uint64_t seed, Trials& trials) {
  constexpr double kBudget = 10;  // seconds
  constexpr std::uint64_t kMostDraws = 32;
  std::set<std::size_t> reached;
  for (const Trial& trial : trials.all) reached.insert(trial.reached.begin(), trial.reached.end());
  const bool takes_empty = !trials.all.front().emptied.empty();
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; !sizes.empty() && i < kMostDraws && !coverage.missing(reached).empty(); ++i) {
    if (seconds_since(start) > kBudget) break;
    const Drawing drawing(graph, kFurtherDraws[i % std::size(kFurtherDraws)], seed + i);
    auto inputs = drawing.at(sizes[i % sizes.size()]);
    if (!inputs) continue;
    Expected<Trial> trial = trial_of(graph, *std::move(inputs));
    if (!trial || !trial->finite() || (!takes_empty && !trial->emptied.empty())) continue;
    if (std::ranges::includes(reached, trial->reached) || !std::ranges::all_of(trial->reference, tells_errors))
      continue;
    reached.insert(trial->reached.begin(), trial->reached.end());
    trials.all.push_back(std::move(*trial));
  }
}

Expected<Trials> random_trials(const Model& model, std::uint64_t seed, bool static_shapes) {
  TAPER_ASSIGN(Trials trials, trials_at_two_sizes(model, seed, static_shapes));
  const Coverage coverage(model.impl().graph);
  if (coverage.is_empty()) return trials;
  const std::vector<Bindings> sizes = sizes_to_cover(model, trials.all.front(), static_shapes);
  cover_the_rest(model.impl().graph, coverage, sizes, seed + 2, trials);
  tell_what_never_ran(coverage, trials);
  return trials;
}

}  // namespace

bool Trial::finite() const {
  return std::ranges::all_of(reference, [](const Array& output) {
    return std::ranges::all_of(output.values, [](double value) { return std::isfinite(value); });
  });
}

Bindings other_sizes(const Symbols& symbols) {
  Bindings sizes;
  for (const auto& [name, range] : symbols) sizes.emplace(name, other_size(range));
  return sizes;
}

Trial with_channels_last(const Graph& graph, const Trial& trial) {
  const auto moved = [](const Array& array, const Type& type) {
    if (!holds_image(type)) return array;
    const std::size_t rank = array.shape.size();
    const std::vector<std::int64_t> order = channels_last_order(rank);
    const std::vector<std::int64_t> strides = row_major_strides(array.shape);
    Array out{array.dtype, std::vector<std::int64_t>(rank), {}};
    for (std::size_t axis = 0; axis < rank; ++axis) out.shape[axis] = array.size(order[axis]);
    out.values.reserve(array.values.size());
    std::vector<std::int64_t> index(rank, 0);
    for (std::size_t i = 0; i < array.values.size(); ++i) {
      std::int64_t at = 0;
      for (std::size_t axis = 0; axis < rank; ++axis)
        at += index[axis] * strides[static_cast<std::size_t>(order[axis])];
      out.values.push_back(array.values[static_cast<std::size_t>(at)]);
      for (std::size_t axis = rank; axis-- > 0;) {
        if (++index[axis] < out.shape[axis]) break;
        index[axis] = 0;
      }
    }
    return out;
  };
  Trial last;
  for (std::size_t i = 0; i < trial.inputs.size(); ++i)
    last.inputs.push_back(moved(trial.inputs[i], graph.inputs()[i]->type));
  for (std::size_t i = 0; i < trial.reference.size(); ++i)
    last.reference.push_back(moved(trial.reference[i], graph.outputs()[i].value->type));
  return last;
}

Expected<Trials> held_out_trials(const Model& model, const std::filesystem::path& path) {
  TAPER_ASSIGN(CalibrationSamples samples, CalibrationSamples::open(model, path));
  PreparedGraph prepared(model.impl().graph);
  Coverage coverage(model.impl().graph);
  const ValueObserver observer = [&](const Value& value, const Array& array) { coverage.observe(value, array); };
  if (!coverage.is_empty()) prepared.observe(&observer);
  Trials trials{{}, {}, true};
  for (const std::int64_t sample : split_samples(samples.count()).held_out) {
    TAPER_ASSIGN(InputSet inputs, samples.at(sample));
    TAPER_ASSIGN(std::vector<Array> reference, prepared.run(inputs));
    trials.all.push_back({std::move(inputs), std::move(reference), {}, coverage.reached()});
  }
  tell_what_never_ran(coverage, trials);
  return trials;
}

Expected<Trial> random_trial(const Model& model, std::uint64_t seed) {
  return tame_trial(model.impl().graph, usual_sizes(model.impl().symbols), seed, draws_for(model));
}

Expected<Trial> random_trial_at(const Graph& graph, const Bindings& sizes, std::uint64_t seed) {
  return tame_trial(graph, sizes, seed, kDraws);
}

Expected<Trials> make_trials(const Model& model, const VerifyOptions& options, bool static_shapes, bool channels_last) {
  if (!options.input) return random_trials(model, options.seed, static_shapes);
  TAPER_ASSIGN(std::vector<InputSet> sets, read_verify_input(model, *options.input, static_shapes, channels_last));
  Trials trials;
  for (InputSet& inputs : sets) {
    Expected<Trial> trial = trial_of(model.impl().graph, std::move(inputs));
    if (!trial) {
      Error error = within(std::move(trial).error(), fmt::format("in file '{}'", path_text(*options.input)));
      return std::unexpected(expecting_inputs(std::move(error), model.impl().graph));
    }
    trials.all.push_back(*std::move(trial));
  }
  tell_what_never_ran(Coverage(model.impl().graph), trials);
  return trials;
}

}  // namespace taper
