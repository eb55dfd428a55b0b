// Graphs as TensorFlow SavedModels. Spelling only: passes/passes.h brings a graph into operators that TensorFlow has.
#pragma once

#include <string>
#include <vector>

#include "formats/saved_model.h"
#include "ir/graph.h"

namespace taper {

// The names of a graph's inputs and outputs in the signature, in the graph's order.
struct SignatureNames {
  std::vector<std::string> inputs, outputs;
};

// Those that the graph has, as far as TensorFlow takes them. Inputs are parameters in Python: letters that are not of
// ASCII become '_', keywords (and `self`) get one behind, and those that TensorFlow would turn into one parameter
// ("x:0", "x_0") get a number, as outputs of one name do. Control characters become '_' in both.
SignatureNames signature_names(const Graph& graph);

// Spells a graph that check() accepts and in which every node is a constant or has a TensorFlow spelling that fits.
//
// One MetaGraph with the tag `serve` and the signature `serving_default`, whose inputs and outputs have the names that
// signature_names gives; symbolic sizes are -1. Floating constants of two or more elements become resource variables
// under the names of their values ("gru1.weight_hh" is "gru1/weight_hh"), restored from the tensor bundle by the
// operators that SaverDef names; others, and constants of zeros alone, stay constants of the graph. Loops are
// functional While operators in the function library, which get the variables that they read as further arguments. The
// variables share the storage of the graph's tensors. `description` goes to the graph's version string. Errors:
// operators without a form in TensorFlow (all of them at once), a dtype that a constant can't have.
Expected<SavedModelFile> spell_tensorflow(const Graph& graph, const std::string& description = {});

}  // namespace taper
