#include <algorithm>
#include <charconv>

#include "formats/text.h"
#include "frontend/family.h"

namespace taper {
namespace {

// The symbol and the factor of a size such as `E` or `3*hidden1`.
struct Size {
  std::string symbol;
  std::int64_t factor;
};
std::optional<Size> as_size(const Dim& dim) {
  if (dim.terms().size() != 1 || dim.terms()[0].symbols.size() != 1) return std::nullopt;
  return Size{dim.terms()[0].symbols[0], dim.terms()[0].coefficient};
}

using Votes = std::map<std::string, std::map<std::int64_t, std::size_t>>;  // symbol -> value -> shapes that say so

void vote(Votes& votes, const Shape& pattern, const std::vector<std::int64_t>& shape) {
  if (pattern.size() != shape.size()) return;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const auto size = as_size(pattern[axis]);
    if (size && shape[axis] > 0 && shape[axis] % size->factor == 0) ++votes[size->symbol][shape[axis] / size->factor];
  }
}

// The shape with the sizes that are known as numbers.
Shape substituted(const Shape& pattern, const Bindings& sizes) {
  Shape shape;
  for (const Dim& dim : pattern) {
    const auto number = dim.evaluate(sizes);
    shape.push_back(number ? Dim(*number) : dim);
  }
  return shape;
}

// What is wrong with the weight of this key; nothing if it fits.
std::optional<std::string> problem_of(const KeyPattern& pattern, const Shape& expected, const WeightSet& weights) {
  const auto tensor = weights.tensors.find(pattern.key);
  if (tensor == weights.tensors.end()) {
    const auto other = weights.not_a_tensor.find(pattern.key);
    if (other == weights.not_a_tensor.end())
      return fmt::format("{} is missing, expected {}", pattern.key, shape_text(expected));
    return fmt::format("{} {}, expected a tensor {}", pattern.key, excerpt(other->second), shape_text(expected));
  }
  if (!is_floating(tensor->second->dtype))
    return fmt::format("{} is {}, expected floating-point weights", pattern.key, info(tensor->second->dtype).name);
  if (to_shape(tensor->second->shape) == expected) return std::nullopt;
  return fmt::format("{} has shape {}, expected {}", pattern.key, shape_text(tensor->second->shape),
                     shape_text(expected));
}

}  // namespace

KeySet::KeySet(const WeightSet& weights) {
  for (const auto& [key, tensor] : weights.tensors) keys_.insert(key);
  for (const auto& [key, reason] : weights.not_a_tensor) keys_.insert(key);
}

bool KeySet::any_below(std::string_view prefix) const {
  const auto first = keys_.lower_bound(prefix);
  return first != keys_.end() && first->starts_with(prefix);
}

std::int64_t KeySet::stack_size(std::string_view prefix) const {
  std::int64_t size = 1;
  for (auto at = keys_.lower_bound(prefix); at != keys_.end() && at->starts_with(prefix); ++at) {
    std::int64_t index = -1;
    const char* end = at->data() + at->size();
    const auto parsed = std::from_chars(at->data() + prefix.size(), end, index);
    const bool is_index = parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '.';
    // A stack has more keys than modules, whatever number a single key is made to name.
    if (is_index && index >= 0 && index < std::ssize(keys_)) size = std::max(size, index + 1);
  }
  return size;
}

Fit fit_family(const Family& family, const WeightSet& weights) {
  const KeySet present(weights);
  Fit fit{&family, family.keys(present), {}, 0, {}, {}};
  Votes votes;
  std::set<std::string_view> known;
  for (const KeyPattern& pattern : fit.keys) {
    known.insert(pattern.key);
    if (present.has(pattern.key)) ++fit.present;
    const auto tensor = weights.tensors.find(pattern.key);
    if (tensor != weights.tensors.end()) vote(votes, pattern.shape, tensor->second->shape);
  }
  for (const auto& [symbol, values] : votes)
    fit.sizes[symbol] = std::ranges::max_element(values, {}, [](const auto& value) { return value.second; })->first;
  for (const KeyPattern& pattern : fit.keys)
    if (auto problem = problem_of(pattern, substituted(pattern.shape, fit.sizes), weights))
      fit.problems.push_back(std::move(*problem));
  for (const std::string& key : present) {
    if (known.contains(key)) continue;
    const auto closed = std::ranges::find_if(family.closed_modules, [&](const ClosedModule& module) {
      return key.starts_with(module.path) && key[module.path.size()] == '.';
    });
    if (closed != family.closed_modules.end())
      fit.problems.push_back(
          fmt::format("{} is too much, expected {} to be {}", excerpt(key), closed->path, closed->is));
    fit.extra.push_back(key);
  }
  return fit;
}

KeyPattern key(std::string name, std::initializer_list<std::string_view> shape) {
  KeyPattern pattern{std::move(name), {}};
  for (const std::string_view size : shape) pattern.shape.push_back(*Dim::parse(size));
  return pattern;
}

void append(std::vector<KeyPattern>& keys, std::vector<KeyPattern> more) {
  keys.insert(keys.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

std::vector<KeyPattern> linear_keys(const std::string& path, std::string_view out, std::string_view in) {
  return {key(path + ".weight", {out, in}), key(path + ".bias", {out})};
}

}  // namespace taper
