// Graphs as ONNX: opset 17, IR version 8. Spelling only: passes/legalize.h brings a graph into operators that ONNX has.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "formats/onnx.h"
#include "ir/graph.h"

namespace taper {

// What a file says about itself.
struct OnnxMetadata {
  std::string producer_name = "taper";
  std::string producer_version = {};
  std::string description = {};                                      // the model's doc_string
  std::string graph_name = {};                                       // the graph's own name if empty
  std::vector<std::pair<std::string, std::string>> properties = {};  // metadata_props
};

// A model without its weights, and the weights as the initializers of its main graph: what write_onnx and check_onnx
// take.
struct OnnxFile {
  onnx::ModelProto model;
  std::vector<OnnxWeight> weights;
};

// Spells a graph that check() accepts and in which every node is a constant or has an ONNX spelling that fits.
// Inputs and outputs have the graph's names; an output that is an input, a constant or another output already comes
// from an Identity. Symbolic dimensions are dim_params: a symbol by its name, an expression by its text. Constants
// become initializers where something uses them, once for each view of a storage; they share the storage of the graph's
// tensors, nothing is copied, so that the result may outlive the graph. Each value's type is recorded. Errors:
// operators without a form in ONNX (all of them at once), two inputs or outputs of one name, a symbolic size
// where ONNX takes a number.
Expected<OnnxFile> spell_onnx(const Graph& graph, const OnnxMetadata& metadata = {});

}  // namespace taper
