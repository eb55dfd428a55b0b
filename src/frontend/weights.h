// The sets of weights that a checkpoint holds: state dicts and pickled modules, at its top or inside training dicts.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/torch_checkpoint.h"

namespace taper {

struct WeightSet {
  std::string place;  // keys from the root: "checkpoint.state_dict"; "" for the root itself
  std::map<std::string, const Tensor*, std::less<>> tensors;     // by key, without the prefix
  std::vector<std::string> order;                                // of these keys in the file; empty: not known
  std::map<std::string, std::string, std::less<>> not_a_tensor;  // key -> "is a sparse tensor", "is object a.B"
  std::string prefix;                                            // what all keys had before them: "module."
  std::string class_path;                                        // of a pickled module, else ""
  std::vector<Module> modules;                                   // of a pickled module, paths without the prefix
  std::vector<const pickle::Value*> enclosing;                   // the dicts around it, innermost first
  std::size_t outside = 0;                                       // weights beside this part of a larger module
  bool averaged = false;                                         // a moving average of the weights
};

// All sets in a checkpoint, in the order of their usual names (`model_state_dict`, `state_dict`, `model`, `net`, ...),
// then as they lie in the file. Optimizer states are left out. Errors: nothing but a pickled module that can't be
// flattened.
Expected<std::vector<WeightSet>> find_weights(const pickle::Value& root);

// The weights below each name at the top, as sets of their own: a network that is a part of a larger module, such as
// `net` beside a loss with weights.
std::vector<WeightSet> branches(const WeightSet& weights);

}  // namespace taper
