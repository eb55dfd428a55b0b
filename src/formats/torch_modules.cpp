// State dicts and pickled modules: walks over the values of a checkpoint.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "formats/text.h"
#include "formats/torch_checkpoint.h"

namespace taper {
namespace {

using pickle::Entry;
using pickle::Value;

// A pickle can refer to one value from many places, so what a walk visits does not follow from the file's size.
constexpr std::size_t kMostModules = 65536;
constexpr std::size_t kMostVisits = std::size_t{1} << 24;    // entries of dicts
constexpr std::size_t kMostKeyBytes = std::size_t{1} << 25;  // of all keys and class names together
constexpr int kMostPlaces = 64;                              // of one module: tied layers
constexpr int kMostDepth = 200;

struct Walk {
  ModuleTree tree;
  std::size_t visits = 0;
  std::size_t key_bytes = 0;
  std::unordered_map<const Value*, int> places = {};
};

Status count(Walk& walk, std::size_t entries) {
  walk.visits += entries;
  if (walk.visits > kMostVisits) return fail("the model has more than {} attributes and tensors", kMostVisits);
  return {};
}

Status count_bytes(Walk& walk, std::size_t bytes) {
  walk.key_bytes += bytes;
  if (walk.key_bytes > kMostKeyBytes) return fail("the model's names take more than {} bytes", kMostKeyBytes);
  return {};
}

Expected<std::string> joined(Walk& walk, const std::string& path, const Value& key) {
  const auto name = key.text();
  if (!name) return fail("a name is {}, expected a text", pickle::describe(key));
  if (path.size() + name->size() >= kMostKeyLength) return fail("a name is longer than {} bytes", kMostKeyLength);
  TAPER_TRY(count_bytes(walk, path.size() + name->size()));
  return path.empty() ? std::string(*name) : fmt::format("{}.{}", path, *name);
}

// The names in `_non_persistent_buffers_set`, sorted.
std::vector<std::string_view> hidden_names(const Value& module) {
  std::vector<std::string_view> names;
  if (const Value* set = pickle::attribute(module, "_non_persistent_buffers_set"))
    for (const Value* item : set->items())
      if (item->text()) names.push_back(*item->text());
  std::ranges::sort(names);
  return names;
}

void add_tensor(StateDict& state, std::string key, const Value& value, bool persistent) {
  if (value.tensor()) {
    state.tensors.push_back({std::move(key), value.tensor(), persistent});
  } else if (value.unsupported()) {
    state.unsupported.push_back({std::move(key), value.unsupported()->reason});
  } else if (!value.is_none()) {
    state.others.push_back(std::move(key));
  }
}

Status visit(Walk& walk, const Value& module, const std::string& path, int depth) {
  ModuleTree& tree = walk.tree;
  if (depth > kMostDepth) return fail("modules are nested deeper than {}, perhaps in a cycle", kMostDepth);
  if (tree.modules.size() >= kMostModules) return fail("the model has more than {} modules", kMostModules);
  if (++walk.places[&module] > kMostPlaces)
    return fail("module '{}' stands in more than {} places, perhaps in a cycle", excerpt(path), kMostPlaces);
  tree.modules.push_back({path, pickle::class_path(module), &module});
  TAPER_TRY(count_bytes(walk, path.size() + tree.modules.back().class_path.size()));
  const auto parameters = pickle::attribute(module, "_parameters")->entries();
  const auto buffers = pickle::attribute(module, "_buffers")->entries();
  TAPER_TRY(count(walk, module.object()->state->entries().size() + parameters.size() + buffers.size()));
  for (const Entry& entry : parameters) {
    TAPER_ASSIGN(std::string key, joined(walk, path, *entry.key));
    add_tensor(tree.state, std::move(key), *entry.value, true);
  }
  if (!buffers.empty()) {
    const std::vector<std::string_view> hidden = hidden_names(module);
    TAPER_TRY(count(walk, hidden.size()));
    for (const Entry& entry : buffers) {
      TAPER_ASSIGN(std::string key, joined(walk, path, *entry.key));
      add_tensor(tree.state, std::move(key), *entry.value, !std::ranges::binary_search(hidden, *entry.key->text()));
    }
  }
  for (const Entry& entry : pickle::attribute(module, "_modules")->entries()) {
    TAPER_TRY(count(walk, 1));
    if (entry.value->is_none()) continue;
    TAPER_ASSIGN(const std::string key, joined(walk, path, *entry.key));
    if (!is_module(*entry.value)) return fail("module '{}' is {}", key, pickle::describe(*entry.value));
    TAPER_TRY(visit(walk, *entry.value, key, depth + 1));
  }
  return {};
}

}  // namespace

std::optional<StateDict> state_dict_of(const Value& value) {
  StateDict state;
  for (const Entry& entry : value.entries()) {
    const auto key = entry.key->text();
    if (!key || key->size() > kMostKeyLength) return std::nullopt;  // many dicts may share one long key
    add_tensor(state, std::string(*key), *entry.value, true);
  }
  const std::size_t tensors = state.tensors.size() + state.unsupported.size();
  if (tensors == 0 || 2 * tensors <= value.entries().size()) return std::nullopt;
  return state;
}

bool is_module(const Value& value) {
  return std::ranges::all_of(std::to_array({"_parameters", "_buffers", "_modules"}), [&](const char* name) {
    const Value* part = pickle::attribute(value, name);
    return part && part->dict();
  });
}

Expected<ModuleTree> flatten_module(const Value& value) {
  if (!is_module(value)) return fail("{} is not a pickled module", pickle::describe(value));
  Walk walk;
  TAPER_TRY(visit(walk, value, "", 0));
  return std::move(walk.tree);
}

}  // namespace taper
