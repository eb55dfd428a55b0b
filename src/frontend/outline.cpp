#include "frontend/outline.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <set>

#include "formats/text.h"
#include "frontend/module_kind.h"

namespace taper {
namespace {

constexpr int kMostLevels = 32;  // of modules; what lies deeper bears the rest of its key as its name

// A weight, or a module whose class is known, on its way down the tree.
struct KeyRest {
  std::string_view rest;
  const Tensor* tensor = nullptr;
  std::string_view class_path;  // of a module
};

// What is counted once, however many keys share it.
struct Counted {
  std::set<const std::byte*> seen;
};

std::int64_t saturating_sum(std::int64_t a, std::int64_t b) {
  return checked_add(a, b).value_or(std::numeric_limits<std::int64_t>::max());
}

// Buffers of norms are no parameters, nor are counters and indices.
bool is_parameter(std::string_view name, const Tensor& tensor) {
  return is_floating(tensor.dtype) && name != "running_mean" && name != "running_var";
}

void add_weight(WeightTree& module, std::string_view name, const Tensor& tensor, Counted& counted) {
  module.weights.push_back({std::string(name), std::string(info(tensor.dtype).name), tensor.shape});
  ++module.tensors;
  if (!counted.seen.insert(tensor.storage.view.data()).second && !tensor.storage.view.empty()) return;
  const std::int64_t count = tensor.element_count();
  if (is_parameter(name, tensor)) module.parameters = saturating_sum(module.parameters, count);
  const auto bytes = checked_mul(count, static_cast<std::int64_t>(size_of(tensor.dtype)));
  module.bytes = saturating_sum(module.bytes, bytes.value_or(std::numeric_limits<std::int64_t>::max()));
}

bool is_same(const WeightTree& a, const WeightTree& b);

bool is_same_inside(const WeightTree& a, const WeightTree& b) {
  const auto same_weight = [](const WeightTree::Weight& x, const WeightTree::Weight& y) {
    return x.name == y.name && x.dtype == y.dtype && x.sizes == y.sizes;
  };
  return a.kind == b.kind && std::ranges::equal(a.weights, b.weights, same_weight) &&
         std::ranges::equal(a.parts, b.parts, is_same);
}

bool is_same(const WeightTree& a, const WeightTree& b) {
  return a.name == b.name && a.last == b.last && is_same_inside(a, b);
}

// "layer" and 12 of "layer12"; nothing for names that end otherwise or in a number beyond all layers.
struct NumberedName {
  std::string_view stem;
  std::int64_t number = 0;
};
std::optional<NumberedName> numbered(std::string_view name) {
  constexpr std::size_t kMostDigits = 9;
  const std::size_t digits = name.size() - (name.find_last_not_of("0123456789") + 1);
  if (digits == 0 || digits > kMostDigits) return std::nullopt;
  NumberedName result{name.substr(0, name.size() - digits)};
  std::from_chars(name.data() + result.stem.size(), name.data() + name.size(), result.number);
  return result;
}

bool follows(std::string_view name, std::string_view previous) {
  const auto one = numbered(previous), next = numbered(name);
  return one && next && one->stem == next->stem && next->number == one->number + 1;
}

void add_counts(WeightTree& whole, const WeightTree& part) {
  whole.tensors += part.tensors;
  whole.parameters = saturating_sum(whole.parameters, part.parameters);
  whole.bytes = saturating_sum(whole.bytes, part.bytes);
}

std::vector<WeightTree> folded(std::vector<WeightTree> parts) {
  std::vector<WeightTree> result;
  for (WeightTree& part : parts) {
    WeightTree* run = result.empty() ? nullptr : &result.back();
    if (run != nullptr && follows(part.name, run->last.empty() ? run->name : run->last) && is_same_inside(*run, part)) {
      add_counts(*run, part);
      run->last = std::move(part.name);
      ++run->alike;
    } else {
      result.push_back(std::move(part));
    }
  }
  return result;
}

// Numbers in their order; all else as it stands in the file.
void sort_numbers(std::vector<WeightTree>& parts) {
  const auto number = [](const WeightTree& part) { return numbered(part.name); };
  const bool only_numbers = std::ranges::all_of(parts, [&](const WeightTree& part) {
    const auto name = number(part);
    return name && name->stem.empty();
  });
  if (only_numbers) std::ranges::stable_sort(parts, {}, [&](const WeightTree& part) { return number(part)->number; });
}

std::string_view class_name_of(std::string_view class_path) {
  return class_path.substr(class_path.rfind('.') + 1);
}

struct OutlineBuilder {
  bool folds = true;
  Counted counted = {};

  WeightTree module(std::string_view name, const std::vector<KeyRest>& keys, std::string_view class_path, int level) {
    WeightTree tree;
    tree.name = name;
    std::vector<std::pair<std::string_view, std::vector<KeyRest>>> parts;  // in the order of the keys
    std::map<std::string_view, std::size_t> known;
    std::map<std::string_view, std::string_view> classes;
    const auto part_of = [&](std::string_view part) -> std::vector<KeyRest>& {
      const auto [place, fresh] = known.try_emplace(part, parts.size());
      if (fresh) parts.emplace_back(part, std::vector<KeyRest>());
      return parts[place->second].second;
    };
    for (const KeyRest& key : keys) {
      const std::size_t dot = level < kMostLevels ? key.rest.find('.') : std::string_view::npos;
      if (dot != std::string_view::npos) {
        part_of(key.rest.substr(0, dot)).push_back({key.rest.substr(dot + 1), key.tensor, key.class_path});
      } else if (key.tensor != nullptr) {
        add_weight(tree, key.rest, *key.tensor, counted);
      } else {
        part_of(key.rest);
        classes[key.rest] = key.class_path;
      }
    }
    for (const auto& [part, below] : parts) {
      tree.parts.push_back(module(part, below, classes.contains(part) ? classes[part] : "", level + 1));
      add_counts(tree, tree.parts.back());
    }
    sort_numbers(tree.parts);
    if (folds) tree.parts = folded(std::move(tree.parts));
    tree.kind = module_kind(tree, name, class_name_of(class_path));
    return tree;
  }
};

// "model_state_dict.model": where the weights of a set lie, and what all of their keys begin with.
std::string place_of_set(const WeightSet& weights) {
  std::string place = weights.place;
  if (!weights.prefix.empty())
    place += (place.empty() ? "" : ".") + weights.prefix.substr(0, weights.prefix.size() - 1);
  return place;
}

std::vector<KeyRest> keys_of(const WeightSet& weights) {
  std::vector<KeyRest> keys;
  // The modules first: they say in which order their parts were registered, those without weights too.
  for (const Module& module : weights.modules)
    if (!module.path.empty()) keys.push_back({module.path, nullptr, module.class_path});
  for (const std::string& key : weights.order)
    if (const auto found = weights.tensors.find(key); found != weights.tensors.end())
      keys.push_back({found->first, found->second, {}});
  if (weights.order.empty())
    for (const auto& [key, tensor] : weights.tensors) keys.push_back({key, tensor, {}});
  return keys;
}

// The rows of a recurrent layer's weights for each unit tell its cell.
std::string recurrent_cell(const WeightSet& weights) {
  for (const auto& [key, tensor] : weights.tensors) {
    if (key.find("weight_hh_l0") == std::string::npos || tensor->shape.size() != 2 || tensor->shape[1] == 0) continue;
    switch (tensor->shape[0] / tensor->shape[1]) {
      case 4:
        return "LSTM";
      case 3:
        return "GRU";
      default:
        return "RNN";
    }
  }
  return "";
}

}  // namespace

WeightTree outline(const std::vector<WeightSet>& sets, bool folds) {
  OutlineBuilder builder{folds};
  std::vector<WeightTree> trees;
  for (const WeightSet& weights : sets) {
    trees.push_back(builder.module(place_of_set(weights), keys_of(weights), weights.class_path, 0));
  }
  if (trees.size() == 1) return std::move(trees[0]);
  WeightTree all;
  for (WeightTree& tree : trees) {
    add_counts(all, tree);
    all.parts.push_back(std::move(tree));
  }
  return all;
}

std::string likely_kind(const WeightSet& weights) {
  constexpr std::array<std::string_view, 6> kAttention = {"in_proj_weight", "q_proj",    "query",
                                                          "attn",           "attention", "self_attn"};
  bool attention = false, convolution = false;
  for (const auto& [key, tensor] : weights.tensors) {
    attention = attention || std::ranges::any_of(kAttention, [&](std::string_view name) {
                  return key.find(name) != std::string::npos;
                });
    const bool one_of_many = tensor->shape.size() >= 3 && tensor->shape.size() <= 5;
    convolution = convolution || (one_of_many && key.ends_with("weight"));
  }
  std::vector<std::string> parts;
  if (convolution) parts.emplace_back("convolutions");
  if (attention) parts.emplace_back("attention");
  if (const std::string cell = recurrent_cell(weights); !cell.empty()) parts.push_back(cell + " layers");
  if (parts.empty()) return "";
  return fmt::format("a network with {}", fmt::join(parts, " and "));
}

}  // namespace taper
