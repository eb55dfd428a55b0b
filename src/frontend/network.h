// A network under construction: what the builders of the families use.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/family.h"
#include "frontend/settings.h"
#include "ops/builder.h"

namespace taper {

// A value that a family falls back to, and what it is called in the sentence that says so.
template <class T>
struct Fallback {
  T value;
  std::string_view meaning;  // "the number of attention heads"
  std::string_view remedy;   // how to tell it; may be empty
};

using Tensors = std::map<std::string, Tensor, std::less<>>;  // by key

class Network {
 public:
  // `constants` are the weights of all keys of `fit` as plain float32. Everything must outlive the network.
  Network(const WeightSet& weights, const Fit& fit, const Tensors& constants, Settings& settings,
          const LoadOptions& options, Graph& graph, ModelInfo& info);

  Builder build;
  const LoadOptions& options;
  const WeightSet& weights;

  std::int64_t size(std::string_view symbol) const { return fit_.sizes.find(symbol)->second; }
  // Whether the family, given these weights, has this key.
  bool has(std::string_view key) const { return constants_.contains(key); }

  // The input [batch_size, sequence_length, F].
  Value* input();
  void output(std::string name, Value* value);
  bool wants_category() const { return options.all_heads && has_category_; }

  // The weight of a key as a float32 constant named by it.
  Value* weight(const std::string& key);
  // x W^T + b with the weights below `path`.
  Value* linear(const std::string& path, Value* x);
  // Normalisation over the last axis with the weights `<path>.<scale>` and `<path>.<shift>`.
  Value* norm(const std::string& path, Value* x, double eps, std::string_view scale, std::string_view shift);

  // Settings for the module at `path`, remembered for the report. Claims of a lower precedence that differ are warned
  // of, and so are those of another kind, which don't count. What nothing tells is assumed, with a sentence.
  std::int64_t integer(const Setting& setting, std::string_view path, const Fallback<std::int64_t>& fallback);
  double real(const Setting& setting, std::string_view path, const Fallback<double>& fallback);
  std::string text(const Setting& setting, std::string_view path, const Fallback<std::string>& fallback);

  // Reports a value that the shapes tell; claims that differ are warned of. `path` is the module whose attribute it is.
  void told_by_shapes(const Setting& setting, Scalar value, std::string_view path = {});

  void warn(std::string text);
  void report(std::string_view name, std::string value, std::string_view origin);

 private:
  template <class T>
  T choose(const Setting& setting, std::string_view path, const Fallback<T>& fallback);

  const Fit& fit_;
  const Tensors& constants_;
  Settings& settings_;
  ModelInfo& info_;
  bool has_category_ = false;
  std::map<std::string, Value*, std::less<>> values_;  // of the weights used so far
};

}  // namespace taper
