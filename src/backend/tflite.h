// Spells legalized graphs as TFLite models.
#pragma once

#include <string>
#include <vector>

#include "formats/tflite.h"
#include "ir/graph.h"

namespace taper {

struct TfliteMetadata {
  std::string description;
  // Sizes that take the place of the inputs' symbols in the tensors' `shape`; `shape_signature` keeps them open as -1.
  Bindings default_sizes;
};

// A model whose buffers are still tensors; write_tflite (formats/tflite.h) puts it into a file.
struct TfliteModel {
  tflite::ModelT model;
  std::vector<WeightSource> buffers;
  std::string min_runtime_version;  // the first TensorFlow Lite runtime with all operators in these versions
};

// One operator per node, one tensor per value, one subgraph per region, and the signature `serving_default` with the
// graph's input and output names. Constants with the same bytes share a buffer. Errors: a node without a spelling, a
// dtype that TFLite doesn't have.
Expected<TfliteModel> spell_tflite(const Graph& graph, const TfliteMetadata& metadata);

}  // namespace taper
