// Weights whose network isn't known, for people and as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "taper/taper.h"

namespace taper {

// "weights in 'model_state_dict': 62 tensors, 11.7 M parameters, 46.8 MB".
std::string weight_tree_title(const WeightTree& tree);

// A line per module, indented by two spaces and two more per level: its name, its likely kind, its weights with their
// shapes and dtypes, in columns that two spaces or more divide. Text of the file is made printable, and cut where it is
// long. At most `most` lines: what doesn't fit is opened no further and counted, what is nearest to the top goes first.
std::vector<std::string> weight_tree_lines(const WeightTree& tree, std::size_t most);
// The same of all modules, with a line for each weight.
std::vector<std::string> every_weight_lines(const WeightTree& tree);

// {"name", "kind", "parameters", "tensors", "bytes", "weights": [{"name", "dtype", "shape"}], "parts": [...]}, and of
// modules that are alike "last" and "alike". What is empty is left out. Of more than 10,000 modules the rest is
// counted, in "parts_left_out".
nlohmann::ordered_json weight_tree_json(const WeightTree& tree);

}  // namespace taper
