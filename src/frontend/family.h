// What a family of networks is: the keys of its state dict with their shapes, and how to build it.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/dim.h"
#include "frontend/weights.h"
#include "taper/taper.h"

namespace taper {

class Network;

// A key and its shape, in sizes such as `E` or `3*hidden1` that one set of weights gives values to.
struct KeyPattern {
  std::string key;
  Shape shape;
  bool is_buffer = false;  // not counted among the parameters
};

// The keys of a set of weights, in order.
class KeySet {
 public:
  explicit KeySet(const WeightSet& weights);
  bool has(std::string_view key) const { return keys_.contains(key); }
  bool any_below(std::string_view prefix) const;
  // One more than the largest number n of keys `<prefix>n.`; at least 1, so that a missing stack is missed.
  std::int64_t stack_size(std::string_view prefix) const;
  auto begin() const { return keys_.begin(); }
  auto end() const { return keys_.end(); }

 private:
  std::set<std::string, std::less<>> keys_;
};

struct ClosedModule {
  std::string_view path;
  std::string_view is;  // "one layer"
};

struct Family {
  std::string_view name;
  // The keys it must have, given those that are there: optional parts and directions follow from these.
  std::vector<KeyPattern> (*keys)(const KeySet& present);
  // Modules that have no further keys: one would be a part of the computation that is not known.
  std::vector<ClosedModule> closed_modules;
  Status (*build)(Network& network);
};

Family sign_transformer();
Family sign_transformer_ctc();
Family mediapipe_gru();
Family mediapipe_gru_ctc();

// One row per family, in the order of known_families().
const std::vector<Family>& family_table();

// How a set of weights compares with a family.
struct Fit {
  const Family* family = nullptr;
  std::vector<KeyPattern> keys;
  Bindings sizes;
  std::size_t present = 0;            // keys that are there, by name
  std::vector<std::string> problems;  // "gru1.bias_ih_l0 has shape [35], expected [36]": one per key
  std::vector<std::string> extra;     // keys that the family does not have

  bool fits() const { return problems.empty(); }
  double share_present() const { return static_cast<double>(present) / static_cast<double>(keys.size()); }
  // Whether the names say that it is meant to be this family.
  bool recognised() const { return share_present() >= 0.6; }
};

// A size gets the value that most of the shapes it stands in agree on, so that a wrong tensor is blamed itself, not
// those that follow from it.
Fit fit_family(const Family& family, const WeightSet& weights);

// Patterns for the usual modules.
KeyPattern key(std::string name, std::initializer_list<std::string_view> shape);
void append(std::vector<KeyPattern>& keys, std::vector<KeyPattern> more);
std::vector<KeyPattern> linear_keys(const std::string& path, std::string_view out, std::string_view in);

}  // namespace taper
