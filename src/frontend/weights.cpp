#include "frontend/weights.h"

#include <algorithm>
#include <array>
#include <set>

namespace taper {
namespace {

// In the order of preference. A name that isn't listed comes after all of these.
constexpr std::array<std::string_view, 12> kNames = {
    "model_state_dict", "state_dict", "model_state", "model",   "net",    "network",
    "module",           "generator",  "encoder",     "weights", "params", "state"};
constexpr std::array<std::string_view, 9> kAverages = {"ema",      "swa",      "avg",    "average", "averaged",
                                                       "averages", "averager", "shadow", "polyak"};
// Their states are dicts of tensors too.
constexpr std::array<std::string_view, 7> kNotModels = {"optimizer",  "optimizers", "optim",    "scheduler",
                                                        "schedulers", "scaler",     "callbacks"};
constexpr std::array<std::string_view, 3> kPrefixes = {"module.", "model.", "_orig_mod."};

constexpr int kMostDepth = 5;                  // of dicts around a state dict
constexpr std::size_t kMostNameLength = 1000;  // of what is on the way to one
// A pickle can refer to one value from many places, so what a search visits does not follow from the file's size.
constexpr std::size_t kMostVisited = 10'000;              // values
constexpr std::size_t kMostBytes = std::size_t{1} << 26;  // that names take in all sets together, roughly
constexpr int kMostProblems = 8;                          // modules that can't be flattened

std::vector<std::string> words(std::string_view name) {
  std::vector<std::string> result(1);
  for (const char c : name) {
    if (c == '_' || c == '.' || c == '-' || c == ' ') {
      result.emplace_back();
    } else {
      result.back() += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
  }
  return result;
}

template <std::size_t N>
bool has_word_of(std::string_view name, const std::array<std::string_view, N>& list) {
  return std::ranges::any_of(words(name),
                             [&](const std::string& word) { return std::ranges::find(list, word) != list.end(); });
}

std::size_t rank_of(std::string_view name) {
  return static_cast<std::size_t>(std::ranges::find(kNames, name) - kNames.begin());
}

// `text` without a prefix that it is known to start with.
std::string after(std::string_view text, std::string_view prefix) {
  return std::string(text.substr(prefix.size()));
}

// The prefix, perhaps several in a row, that all weights have. Scalars may stand outside of it (`n_averaged` of
// torch.optim.swa_utils.AveragedModel).
std::string common_prefix(const StateDict& state) {
  std::string prefix;
  const auto shared = [&](std::string_view next) {
    const std::string longer = prefix + std::string(next);
    bool any = false;
    for (const NamedTensor& named : state.tensors) {
      const bool starts = named.key.starts_with(longer) && named.key.size() > longer.size();
      if (!starts && named.value->tensor.rank() > 0) return false;
      any = any || starts;
    }
    return any;
  };
  while (true) {
    const auto next = std::ranges::find_if(kPrefixes, shared);
    if (next == kPrefixes.end()) return prefix;
    prefix += *next;
  }
}

struct Search {
  struct Found {
    WeightSet weights;
    std::vector<std::size_t> ranks;  // of the names on the way
  };
  std::vector<Found> found;
  std::set<const pickle::Value*> visited;
  std::size_t bytes = 0;         // that the names in `found` take
  std::optional<Error> problem;  // of the first module that can't be flattened
  int problems = 0;

  bool goes_on() const { return visited.size() < kMostVisited && bytes < kMostBytes && problems < kMostProblems; }
};

WeightSet weight_set(const StateDict& state, const pickle::Value* dict, std::vector<Module> modules) {
  WeightSet weights;
  weights.prefix = common_prefix(state);
  const auto shortened = [&](std::string_view key) {
    return key.starts_with(weights.prefix) ? after(key, weights.prefix) : std::string(key);
  };
  for (const NamedTensor& named : state.tensors) {
    weights.order.push_back(shortened(named.key));
    weights.tensors[weights.order.back()] = &named.value->tensor;
  }
  for (const NamedProblem& problem : state.unsupported) weights.not_a_tensor[shortened(problem.key)] = problem.reason;
  for (const std::string& key : state.others) {
    const pickle::Value* value = dict ? pickle::find(*dict, key) : nullptr;
    weights.not_a_tensor[shortened(key)] = "is " + (value ? pickle::describe(*value) : std::string("no tensor"));
  }
  for (Module& module : modules) {
    const std::string path = module.path + ".";
    if (!weights.prefix.empty() && !path.starts_with(weights.prefix)) continue;
    module.path = after(path, weights.prefix);
    if (!module.path.empty()) module.path.pop_back();
    if (module.path.empty()) weights.class_path = module.class_path;
    weights.modules.push_back(std::move(module));
  }
  return weights;
}

std::size_t size_of_names(const WeightSet& weights) {
  constexpr std::size_t kEach = 100;  // what holds a name
  std::size_t bytes = 0;
  for (const auto& [key, tensor] : weights.tensors) bytes += 2 * (kEach + key.size());  // and in `order`
  for (const auto& [key, reason] : weights.not_a_tensor) bytes += kEach + key.size() + reason.size();
  for (const Module& module : weights.modules) bytes += kEach + module.path.size() + module.class_path.size();
  return bytes;
}

void search(Search& state, const pickle::Value& value, const std::vector<std::string_view>& path,
            const std::vector<const pickle::Value*>& enclosing) {
  if (path.size() > kMostDepth || !state.goes_on() || !state.visited.insert(&value).second) return;
  std::vector<const pickle::Value*> around = {&value};
  around.insert(around.end(), enclosing.begin(), enclosing.end());
  std::optional<WeightSet> weights;
  if (is_module(value)) {
    auto tree = flatten_module(value);
    if (!tree) {
      if (++state.problems == 1) state.problem = std::move(tree).error();
      return;
    }
    weights = weight_set(tree->state, nullptr, std::move(tree->modules));
  } else if (const auto dict = state_dict_of(value)) {
    weights = weight_set(*dict, &value, {});
  }
  if (weights) {
    state.bytes += size_of_names(*weights);
    weights->place = fmt::format("{}", fmt::join(path, "."));
    weights->averaged = std::ranges::any_of(path, [](std::string_view name) { return has_word_of(name, kAverages); });
    weights->enclosing = weights->modules.empty() ? around : enclosing;
    std::vector<std::size_t> ranks;
    ranks.reserve(path.size());
    for (const std::string_view name : path) ranks.push_back(rank_of(name));
    state.found.push_back({std::move(*weights), std::move(ranks)});
    return;
  }
  for (const pickle::Entry& entry : value.entries()) {
    const auto name = entry.key->text();
    if (!name || name->size() > kMostNameLength || has_word_of(*name, kNotModels)) continue;
    std::vector<std::string_view> deeper = path;
    deeper.push_back(*name);
    search(state, *entry.value, deeper, around);
  }
}

}  // namespace

Expected<std::vector<WeightSet>> find_weights(const pickle::Value& root) {
  Search state;
  search(state, root, {}, {});
  if (state.found.empty() && state.problem) return std::unexpected(std::move(*state.problem));
  std::ranges::stable_sort(state.found, {}, &Search::Found::ranks);
  std::vector<WeightSet> sets;
  sets.reserve(state.found.size());
  for (Search::Found& found : state.found) sets.push_back(std::move(found.weights));
  return sets;
}

std::vector<WeightSet> branches(const WeightSet& weights) {
  std::map<std::string, WeightSet, std::less<>> by_name;
  const auto branch_of = [&](const std::string& key) -> WeightSet* {
    const std::size_t dot = key.find('.');
    return dot == std::string::npos ? nullptr : &by_name[key.substr(0, dot)];
  };
  for (const auto& [key, tensor] : weights.tensors)
    if (WeightSet* branch = branch_of(key)) branch->tensors[key.substr(key.find('.') + 1)] = tensor;
  for (const auto& [key, reason] : weights.not_a_tensor)
    if (WeightSet* branch = branch_of(key)) branch->not_a_tensor[key.substr(key.find('.') + 1)] = reason;
  std::multimap<std::string_view, const Module*> modules;  // by the name at the top; equal ones stay in order
  for (const Module& module : weights.modules)
    modules.emplace(std::string_view(module.path).substr(0, module.path.find('.')), &module);
  std::vector<WeightSet> result;
  for (auto& [name, branch] : by_name) {
    branch.place = weights.place;
    branch.prefix = weights.prefix + name + ".";
    branch.enclosing = weights.enclosing;
    branch.outside = weights.outside + weights.tensors.size() - branch.tensors.size();
    branch.averaged = weights.averaged || has_word_of(name, kAverages);
    const auto [first, last] = modules.equal_range(name);
    for (auto at = first; at != last; ++at) {
      const Module& module = *at->second;
      const bool is_top = module.path == name;
      if (is_top) branch.class_path = module.class_path;
      branch.modules.push_back({is_top ? "" : module.path.substr(name.size() + 1), module.class_path, module.object});
    }
    result.push_back(std::move(branch));
  }
  return result;
}

}  // namespace taper
