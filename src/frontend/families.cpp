#include "frontend/families.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

#include "formats/text.h"
#include "formats/weights.h"
#include "frontend/network.h"
#include "frontend/outline.h"
#include "ops/table.h"

namespace taper {

const std::vector<Family>& family_table() {
  static const std::vector<Family> table = {sign_transformer(), mediapipe_gru(), sign_transformer_ctc(),
                                            mediapipe_gru_ctc()};
  return table;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const Family& family : family_table()) names.emplace_back(family.name);
  return names;
}

namespace {

using pickle::Value;

constexpr std::size_t kMostListed = 40;                         // of keys that don't fit, in one error
constexpr std::int64_t kMostUnfounded = std::int64_t{1} << 26;  // weights that fewer bytes may stand for

constexpr std::string_view kProgramHint =
    "torch.export.save(torch.export.export(model.eval(), (example_input,)), 'model.pt2')";
constexpr std::string_view kProgramLines =
    "  program = torch.export.export(model.eval(), (example_input,))\n"
    "  torch.export.save(program, \"model.pt2\")\n";
constexpr std::string_view kSaveHint =
    "in Python, save the network as a program, and convert model.pt2:\n"
    "  program = torch.export.export(model.eval(), (example_input,))\n"
    "  torch.export.save(program, \"model.pt2\")\n"
    "or, of a known family, its weights: torch.save(model.state_dict(), \"model.pt\")";

// ---- which weights are of which family

struct Match {
  WeightSet weights;
  Fit fit;
};

bool is_allowed(const Family& family, const ModelConfig& config) {
  return !config.family || family.name == *config.family;
}

// The family that has the most of these keys; those that fit go first.
Fit best_fit(const WeightSet& weights, const ModelConfig& config) {
  Fit best;
  for (const Family& family : family_table()) {
    if (!is_allowed(family, config)) continue;
    Fit fit = fit_family(family, weights);
    const auto better = [&] {
      if (fit.fits() != best.fits()) return fit.fits();
      return fit.fits() ? fit.present > best.present : fit.share_present() > best.share_present();
    };
    if (!best.family || better()) best = std::move(fit);
  }
  return best;
}

std::string place_of(const WeightSet& weights) {
  std::string place = weights.place.empty() ? "" : fmt::format(" in '{}'", excerpt(weights.place));
  if (!weights.prefix.empty()) place += fmt::format(" below '{}'", excerpt(weights.prefix));
  return place;
}

// `fitting`: the family that they are of, if they are said to be of another.
std::unexpected<Error> misfit(const WeightSet& weights, const Fit& fit, bool told, const std::string& fitting) {
  return fail_with_hint(
      fmt::format("the weights{} {} a {}, but {} fit: {}", place_of(weights), told ? "are said to be" : "look like",
                  fit.family->name,
                  fit.problems.size() == 1 ? "one key does not" : fmt::format("{} keys do not", fit.problems.size()),
                  shortened(fit.problems, kMostListed, "; ")),
      fitting.empty()
          ? fmt::format("save the complete state dict of a {}, with the keys that its PyTorch class gives them{}; a "
                        "network that was changed (more layers, weight_norm) converts as a program: {}",
                        fit.family->name, told ? ", or leave the family out of the configuration" : "", kProgramHint)
          : fmt::format("they fit a {}: say so, or leave the family out of the configuration", fitting));
}

// "3 of the 45 keys of a SignTransformer, none of a MediaPipeGRU".
std::string shares_of_families(const WeightSet& weights) {
  std::string text, none;
  for (const Family& family : family_table()) {
    const Fit fit = fit_family(family, weights);
    if (fit.present == 0)
      none += fmt::format("{}{}", none.empty() ? "none of a " : ", ", family.name);
    else
      text += fmt::format("{} of the {} keys of a {} ({}), ", fit.present, fit.keys.size(), family.name,
                          shortened(fit.problems, 1));
  }
  if (none.empty()) return text.substr(0, text.size() - 2);
  return text + none;
}

// "; 'a.weight' is a quantised tensor": what the file holds beside tensors that can be weights.
std::string unread_weights(const WeightSet& weights) {
  constexpr std::size_t kMostNamed = 4;
  std::vector<std::string> unread;
  for (const auto& [key, reason] : weights.not_a_tensor) {
    if (unread.size() == kMostNamed) break;
    unread.push_back(fmt::format("'{}' {}", excerpt(key), excerpt(reason)));
  }
  if (unread.empty()) return "";
  const std::size_t more = weights.not_a_tensor.size() - unread.size();
  return fmt::format("; {}{}", fmt::join(unread, ", "), more == 0 ? "" : fmt::format(" and {} more", more));
}

std::unexpected<Error> unknown_architecture(const WeightSet& weights) {
  const bool is_module = !weights.class_path.empty();
  const std::string kind = likely_kind(weights);
  std::string message = fmt::format(
      "the {}{} {} of no known architecture{}; there {}",
      is_module ? fmt::format("pickled module {}", excerpt(weights.class_path)) : "weights", place_of(weights),
      is_module ? "is" : "are", kind.empty() ? "" : ", perhaps " + kind, weights.tensors.size() == 1 ? "is" : "are");
  if (weights.tensors.empty()) {
    message += " no tensors that can be weights";
  } else {
    const bool ordered = !weights.order.empty();
    message +=
        fmt::format(" {} {}, '{}' to '{}'", weights.tensors.size(), weights.tensors.size() == 1 ? "tensor" : "tensors",
                    excerpt(ordered ? weights.order.front() : weights.tensors.begin()->first),
                    excerpt(ordered ? weights.order.back() : weights.tensors.rbegin()->first));
  }
  message += unread_weights(weights);
  message += fmt::format("; of the families that are known by their keys, it has {}", shares_of_families(weights));
  return fail_with_hint(
      std::move(message),
      fmt::format("weights alone don't tell what is computed with them. In Python, save the network as a program, and "
                  "convert model.pt2:\n{}If it is one of these families under other names, --config FILE with "
                  "{{\"family\": \"{}\"}} lists the keys that it expects",
                  kProgramLines, family_table().front().name));
}

// The first key of a dict, or of a dict directly inside, that is too long for a state dict. `room`: entries that may
// yet be looked at, as one dict can stand in many places.
std::optional<std::string_view> overlong_key(const Value& value, std::size_t& room, int levels = 2) {
  if (levels == 0) return std::nullopt;
  for (const pickle::Entry& entry : value.entries()) {
    if (room == 0) return std::nullopt;
    --room;
    const auto key = entry.key->text();
    if (key && key->size() > kMostKeyLength) return key;
    if (const auto inside = overlong_key(*entry.value, room, levels - 1)) return inside;
  }
  return std::nullopt;
}

std::unexpected<Error> no_weights(const Value& root) {
  if (root.object())
    return fail_with_hint(
        fmt::format(
            "the file holds an object of class {}, which would need that class's code, expected a state dict or a "
            "pickled torch.nn.Module",
            excerpt(pickle::class_path(root))),
        std::string(kSaveHint));
  std::size_t room = 1'000'000;
  if (const auto key = overlong_key(root, room))
    return fail_with_hint(fmt::format("the key '{}' has {} bytes, expected at most {} in a state dict", excerpt(*key),
                                      key->size(), kMostKeyLength),
                          "save the weights under shorter names, as torch.nn.Module.state_dict() gives them");
  std::vector<std::string> entries;
  for (const pickle::Entry& entry : root.entries())
    entries.push_back(fmt::format(
        "{}: {}", entry.key->text() ? fmt::format("'{}'", excerpt(*entry.key->text())) : pickle::describe(*entry.key),
        pickle::describe(*entry.value)));
  const std::string content = entries.empty() ? "" : fmt::format(" ({})", shortened(entries, 8));
  return fail_with_hint(
      fmt::format("no weights were found: the file holds {}{}, expected a state dict", pickle::describe(root), content),
      std::string(kSaveHint));
}

// A quick look at a part before its keys are compared with those of every family: what is recognised has most of the
// keys that its family always has.
class PartFilter {
 public:
  PartFilter() {
    for (const Family& family : family_table()) {
      const std::vector<KeyPattern> always = family.keys(KeySet(WeightSet{}));
      fewest_ = std::min(fewest_, always.size());
      for (const KeyPattern& pattern : always) tops_.insert(pattern.key.substr(0, pattern.key.find('.')));
    }
  }

  bool may_be_a_family(const WeightSet& part) const {
    if (2 * (part.tensors.size() + part.not_a_tensor.size()) < fewest_) return false;
    return std::ranges::any_of(
        tops_, [&](const std::string& top) { return begins(part.tensors, top) || begins(part.not_a_tensor, top); });
  }

 private:
  static bool begins(const auto& by_key, const std::string& top) {
    const auto first = by_key.lower_bound(top);
    return first != by_key.end() && first->first.starts_with(top);
  }

  std::size_t fewest_ = std::numeric_limits<std::size_t>::max();
  std::set<std::string> tops_;  // "gru1", "encoder_layers"
};

// Every set with its best family; where that isn't recognised, the parts of the set as well.
std::vector<Match> all_matches(std::vector<WeightSet> sets, const ModelConfig& config) {
  const PartFilter filter;
  std::vector<Match> matches;
  for (WeightSet& weights : sets) {
    Fit fit = best_fit(weights, config);
    std::vector<WeightSet> parts;
    if (!fit.recognised()) parts = branches(weights);
    matches.push_back({std::move(weights), std::move(fit)});
    for (WeightSet& part : parts) {
      if (!filter.may_be_a_family(part)) continue;
      if (Fit part_fit = best_fit(part, config); part_fit.recognised())
        matches.push_back({std::move(part), std::move(part_fit)});
    }
  }
  std::ranges::stable_partition(matches, [](const Match& match) { return !match.weights.averaged; });
  return matches;
}

// The family that some of the weights are of, whatever the configuration says; "" if none fits.
std::string fitting_family(const std::vector<WeightSet>& sets) {
  for (const Match& match : all_matches(sets, {}))
    if (match.fit.fits()) return std::string(match.fit.family->name);
  return "";
}

Expected<Match> find_match(std::vector<WeightSet> sets, const LoadOptions& options, ModelInfo& info) {
  std::optional<Match> best, nearest;
  const bool told = options.config.family.has_value();
  const std::string fitting = told ? fitting_family(sets) : "";
  for (Match& match : all_matches(std::move(sets), options.config)) {
    if (match.fit.fits() && best) {
      if (!match.weights.averaged)
        info.warnings.push_back(fmt::format("the file also holds a {}{}: the weights{} were taken",
                                            match.fit.family->name, place_of(match.weights), place_of(best->weights)));
      continue;
    }
    // Weights that are meant to be a network, but aren't whole, don't make way for their moving average.
    if (match.weights.averaged && nearest && nearest->fit.recognised()) continue;
    if (match.fit.fits()) {
      best = std::move(match);
    } else if (!nearest || match.fit.share_present() > nearest->fit.share_present()) {
      nearest = std::move(match);
    }
  }
  if (best) {
    if (best->weights.averaged)
      info.warnings.push_back(
          fmt::format("the weights{} are a moving average: no other weights were found", place_of(best->weights)));
    return std::move(*best);
  }
  if (told || nearest->fit.recognised()) return misfit(nearest->weights, nearest->fit, told, fitting);
  return unknown_architecture(nearest->weights);
}

// ---- the weights themselves

// How many bytes of the file the tensors occupy, each counted once however many tensors share it.
std::int64_t distinct_bytes(const Match& match) {
  std::vector<std::pair<const std::byte*, const std::byte*>> runs;
  for (const KeyPattern& pattern : match.fit.keys) {
    const Tensor& tensor = *match.weights.tensors.find(pattern.key)->second;
    if (tensor.element_count() == 0) continue;
    std::int64_t last = 0;
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis)
      last += (tensor.shape[axis] - 1) * tensor.strides[axis];
    const std::byte* begin = tensor.storage.view.data();
    runs.emplace_back(begin, begin + (last + 1) * static_cast<std::int64_t>(size_of(tensor.dtype)));
  }
  std::ranges::sort(runs);
  std::int64_t bytes = 0;
  const std::byte* end = nullptr;
  for (const auto& [from, to] : runs) {
    const std::byte* fresh = end == nullptr || from > end ? from : end;
    if (end != nullptr && to <= end) continue;
    bytes += to - fresh;
    end = to;
  }
  return bytes;
}

// Strides of zero make any number of weights out of few bytes: beyond what files of ordinary size hold, the file has to
// have them.
Status check_weight_count(const Match& match, std::int64_t count) {
  const std::int64_t most = std::max(kMostUnfounded, distinct_bytes(match));
  if (count <= most) return {};
  return fail("the network has more than {} weights, the file holds them in {} bytes", most, distinct_bytes(match));
}

// The tensors of the fitting keys as float32.
Expected<Tensors> float32_weights(const Match& match, ModelInfo& info) {
  std::int64_t elements = 0;
  for (const KeyPattern& pattern : match.fit.keys) {
    const std::int64_t count = match.weights.tensors.find(pattern.key)->second->element_count();
    const auto sum = checked_add(elements, count);
    elements = sum ? *sum : std::numeric_limits<std::int64_t>::max();
    if (!pattern.is_buffer) info.parameters += count;
  }
  TAPER_TRY(check_weight_count(match, elements));
  Tensors tensors;
  NotFiniteWeights not_finite;
  for (const KeyPattern& pattern : match.fit.keys) {
    const Tensor& tensor =
        tensors.emplace(pattern.key, converted(*match.weights.tensors.find(pattern.key)->second, DType::f32))
            .first->second;
    not_finite.look_at(pattern.key, tensor, false);
  }
  if (auto warning = not_finite.warning()) info.warnings.push_back(*std::move(warning));
  return tensors;
}

void warn_of_extra_keys(const Match& match, ModelInfo& info) {
  if (match.weights.outside > 0)
    info.warnings.push_back(fmt::format("the file holds {} more weights beside those{}, which were left out",
                                        match.weights.outside, place_of(match.weights)));
  std::vector<std::string> extra;
  for (const std::string& key : match.fit.extra)
    if (match.weights.tensors.contains(key)) extra.push_back(excerpt(key));
  if (!extra.empty())
    info.warnings.push_back(fmt::format("{} of the file {} no part of a {} and {} left out: {}",
                                        extra.size() == 1 ? "a weight" : fmt::format("{} weights", extra.size()),
                                        extra.size() == 1 ? "is" : "are", match.fit.family->name,
                                        extra.size() == 1 ? "was" : "were", shortened(extra, 10)));
}

std::string format_text(const Checkpoint& checkpoint, const WeightSet& weights) {
  std::string text = checkpoint.format == "safetensors" ? checkpoint.format : checkpoint.format + " checkpoint";
  if (!weights.class_path.empty()) text += fmt::format(", pickled module {}", excerpt(weights.class_path));
  return text;
}

}  // namespace

bool recognises_family(const Checkpoint& checkpoint, const ModelConfig& config) {
  if (config.family) return true;
  auto sets = find_weights(*checkpoint.root);
  return sets && std::ranges::any_of(all_matches(std::move(*sets), {}),
                                     [](const Match& match) { return match.fit.recognised(); });
}

Expected<ImportedModel> import_checkpoint(const Checkpoint& checkpoint, const LoadOptions& options) {
  if (options.sequence_length < 1 || options.sequence_length > kMostFrames)
    return fail("the sequence length is {}, expected 1 to {}", options.sequence_length, kMostFrames);
  const auto allowed = [&](const Family& family) { return is_allowed(family, options.config); };
  if (std::ranges::none_of(family_table(), allowed))
    return fail("the family is '{}', expected one of {}", excerpt(*options.config.family),
                fmt::join(family_names(), ", "));
  TAPER_ASSIGN(std::vector<WeightSet> sets, find_weights(*checkpoint.root));
  if (sets.empty()) return no_weights(*checkpoint.root);

  ImportedModel model;
  TAPER_ASSIGN(const Match match, find_match(std::move(sets), options, model.info));
  const std::string place = fmt::format("in a {}{}", match.fit.family->name, place_of(match.weights));
  TAPER_ASSIGN_WITHIN(const Tensors tensors, float32_weights(match, model.info), place);
  warn_of_extra_keys(match, model.info);
  model.info.family = match.fit.family->name;
  model.info.source_format = format_text(checkpoint, match.weights);
  model.info.input_shape = {1, options.sequence_length, match.fit.sizes.find("F")->second};
  model.graph.name = match.fit.family->name;

  Settings settings(options.config, match.weights, checkpoint);
  Network network(match.weights, match.fit, tensors, settings, options, model.graph, model.info);
  if (auto built = match.fit.family->build(network); !built)
    return std::unexpected(within(std::move(built).error(), place));
  TAPER_TRY(network.build.status());
  TAPER_TRY(check(model.graph));
  return model;
}

}  // namespace taper
