// Checkpoints made in memory: state dicts of the families with small seeded weights, training dicts, pickled modules.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "frontend/families.h"

namespace taper {

using Weights = std::vector<std::pair<std::string, Tensor>>;

inline Tensor random_tensor(std::vector<std::int64_t> shape, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> draw(-0.5f, 0.5f);
  std::vector<float> values(static_cast<std::size_t>(*checked_element_count(shape)));
  for (float& value : values) value = draw(generator);
  return tensor_f32(std::move(shape), values);
}

// The rows of the sinusoid as PyTorch code computes them, in float32.
inline Tensor sinusoid_table(std::int64_t rows, std::int64_t width) {
  std::vector<float> values;
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < width; ++column) {
      const float scale = -std::log(10000.0f) / static_cast<float>(width);
      const float angle = static_cast<float>(row) * std::exp(static_cast<float>(column - column % 2) * scale);
      values.push_back(column % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return tensor_f32({1, rows, width}, values);
}

inline void add_random(Weights& weights, const std::string& key, std::vector<std::int64_t> shape) {
  weights.emplace_back(key, random_tensor(std::move(shape), static_cast<std::uint32_t>(weights.size() + 1)));
}

inline void add_linear(Weights& weights, const std::string& path, std::int64_t out, std::int64_t in) {
  add_random(weights, path + ".weight", {out, in});
  add_random(weights, path + ".bias", {out});
}

// A SignTransformer with F=4, E=8, ff=12, 20 positions, G=5, C=3.
inline Weights transformer_weights(std::int64_t layers = 1) {
  Weights weights;
  const auto norm = [&](const std::string& path) {
    add_random(weights, path + ".gamma", {8});
    add_random(weights, path + ".beta", {8});
  };
  add_random(weights, "cls_token", {1, 1, 8});
  add_linear(weights, "embedding", 8, 4);
  weights.emplace_back("pos_encoder.pe", sinusoid_table(20, 8));
  norm("input_norm");
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string layer = "encoder_layers." + std::to_string(i);
    for (const char* name : {"W_q", "W_k", "W_v", "W_o"}) add_linear(weights, layer + ".attention." + name, 8, 8);
    add_linear(weights, layer + ".feed_forward.linear1", 12, 8);
    add_linear(weights, layer + ".feed_forward.linear2", 8, 12);
    norm(layer + ".residual1.norm");
    norm(layer + ".residual2.norm");
  }
  add_linear(weights, "gloss_head.0", 4, 8);
  add_linear(weights, "gloss_head.3", 5, 4);
  add_linear(weights, "category_head.0", 4, 8);
  add_linear(weights, "category_head.3", 3, 4);
  return weights;
}

inline void add_gru(Weights& weights, const std::string& path, std::int64_t hidden, std::int64_t in, bool biased) {
  add_random(weights, path + ".weight_ih_l0", {3 * hidden, in});
  add_random(weights, path + ".weight_hh_l0", {3 * hidden, hidden});
  if (!biased) return;
  add_random(weights, path + ".bias_ih_l0", {3 * hidden});
  add_random(weights, path + ".bias_hh_l0", {3 * hidden});
}

// A MediaPipeGRU with F=4, hidden 6 and 5, G=5, C=3.
inline Weights gru_weights(bool biased = true) {
  Weights weights;
  add_gru(weights, "gru1", 6, 4, biased);
  add_gru(weights, "gru2", 5, 6, biased);
  add_linear(weights, "gloss_head", 5, 5);
  add_linear(weights, "category_head", 3, 5);
  return weights;
}

// A MediaPipeGRUCtc without category head.
inline Weights gru_ctc_weights() {
  Weights weights;
  add_gru(weights, "gru1", 6, 4, true);
  add_random(weights, "ln1.weight", {6});
  add_random(weights, "ln1.bias", {6});
  add_gru(weights, "gru2", 5, 6, true);
  add_random(weights, "ln2.weight", {5});
  add_random(weights, "ln2.bias", {5});
  add_linear(weights, "ctc_head", 6, 5);
  return weights;
}

inline Tensor& tensor_of(Weights& weights, const std::string& key) {
  for (auto& [name, tensor] : weights)
    if (name == key) return tensor;
  return weights.emplace_back(key, Tensor{}).second;
}

inline Weights without(Weights weights, const std::string& key) {
  std::erase_if(weights, [&](const auto& entry) { return entry.first == key; });
  return weights;
}

inline Weights with_prefix(Weights weights, const std::string& prefix) {
  for (auto& [key, tensor] : weights) key = prefix + key;
  return weights;
}

// Makes the values of a checkpoint.
class Values {
 public:
  using Value = pickle::Value;
  using Entries = std::vector<std::pair<std::string, const Value*>>;

  const Value* text(std::string text) { return arena_->add_text(std::move(text)); }
  const Value* number(std::int64_t number) { return arena_->add(number); }
  const Value* real(double number) { return arena_->add(number); }
  const Value* flag(bool flag) { return arena_->add(flag); }
  const Value* tensor(Tensor tensor) {
    pickle::TensorValue value;
    value.tensor = std::move(tensor);
    return arena_->add_tensor(std::move(value));
  }
  // A tensor that can't be a weight: "is a quantised tensor".
  const Value* unsupported(std::string reason) {
    return arena_->add(&arena_->unsupported.emplace_back(pickle::Unsupported{"", std::move(reason)}));
  }
  const Value* dict(const Entries& entries) {
    std::vector<pickle::Entry> pairs;
    for (const auto& [key, value] : entries) pairs.push_back({text(key), value});
    return arena_->add_dict(std::move(pairs));
  }
  const Value* state(const Weights& weights) {
    Entries entries;
    for (const auto& [key, tensor_value] : weights) entries.emplace_back(key, tensor(tensor_value));
    return dict(entries);
  }
  // An object of the class `module.name` with these attributes.
  const Value* object(std::string module, std::string name, const Entries& attributes) {
    arena_->strings.push_back(std::move(module));
    const std::string_view module_text = arena_->strings.back();
    arena_->strings.push_back(std::move(name));
    pickle::Object object;
    object.type = arena_->add(&arena_->globals.emplace_back(pickle::Global{module_text, arena_->strings.back()}));
    object.state = dict(attributes);
    return arena_->add(&arena_->objects.emplace_back(object));
  }
  // A pickled module whose submodules follow from the keys; `attributes` by path.
  const Value* module(const Weights& weights, const std::map<std::string, Entries>& attributes,
                      const std::string& path = "") {
    Entries parameters, modules, all;
    std::vector<std::string> seen;
    for (const auto& [key, value] : weights) {
      const std::size_t dot = key.find('.');
      const std::string name = key.substr(0, dot);
      if (dot == std::string::npos) {
        parameters.emplace_back(key, tensor(value));
      } else if (std::ranges::find(seen, name) == seen.end()) {
        seen.push_back(name);
        Weights below;
        for (const auto& [other, tensor_value] : weights)
          if (other.starts_with(name + ".")) below.emplace_back(other.substr(dot + 1), tensor_value);
        modules.emplace_back(name, module(below, attributes, path.empty() ? name : path + "." + name));
      }
    }
    if (const auto own = attributes.find(path); own != attributes.end()) all = own->second;
    all.emplace_back("_parameters", dict(parameters));
    all.emplace_back("_buffers", dict({}));
    all.emplace_back("_modules", dict(modules));
    return object("networks", path.empty() ? "Net" : "Part", all);
  }

  Checkpoint checkpoint(const Value* root) const { return {"PyTorch zip", arena_, root, {}}; }

 private:
  std::shared_ptr<pickle::Arena> arena_ = std::make_shared<pickle::Arena>();
};

}  // namespace taper
