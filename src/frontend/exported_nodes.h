// The calls of an exported program, onto a graph. Internal to frontend.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/exported_program.h"
#include "frontend/aten.h"
#include "frontend/free_sizes.h"

namespace taper::exported {

// The values of one graph by name. One without content can't be known before the program runs: only assertions may use
// it.
using Values = std::map<std::string, std::optional<aten::Arg>, std::less<>>;

// What all graphs of a program share.
struct Import {
  std::map<std::string, Dim, std::less<>> replacements;  // symbols of the program that the caller named or fixed
  Freeing freeing;                                       // of sizes that the program had frozen
  std::vector<std::string> assumptions;
  std::set<aten::TensorPtr> run_time_numbers;                   // that Python takes out of tensors: of rank 0
  std::map<std::string, aten::TensorPtr, std::less<>> numbers;  // the same by the program's symbols
  std::set<std::string, std::less<>> never_negative;            // of these symbols those that the program says so of
  // Values that the program declares in a shape that they don't have, by graph and name.
  std::set<std::pair<const Graph*, std::string>> misdeclared;
  bool distrusts_declared = false;  // of the results of the call under way

  void assume(std::string sentence);
  Shape shape(const Shape& declared) const;  // with the replacements
};

// "line 12 of model.py, encoder.layers.0"
std::string place_of(const Node& node);

// All operators of the graph and its subgraphs that can't be converted.
void find_unsupported(const Graph& graph, UnsupportedOperators& unsupported);

// The values that recurrent layers of the graph begin with, [layers * directions, batch, features], and those of the
// same shape that these are computed from.
std::set<std::string, std::less<>> first_states(const Graph& graph);

// Runs the calls of `graph`, whose inputs are in `values`, and adds theirs.
Status run_nodes(Import& import, aten::Context& context, const Graph& graph, Values& values);
// What the graph gives.
Expected<std::vector<aten::Arg>> results_of(const Graph& graph, const Values& values);
// An argument of a call.
Expected<aten::Arg> argument_of(const Values& values, const Argument& argument);

// exported_control.cpp: higher-order operators, by their names without "torch.ops.higher_order.".
bool knows_higher_order(std::string_view name);
Expected<aten::Arg> call_higher_order(Import& import, aten::Context& context, std::string_view name, const Node& node,
                                      const Values& values);

}  // namespace taper::exported
