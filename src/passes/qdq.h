// Quantised graphs for ONNX.
#pragma once

#include "ir/graph.h"

namespace taper {

// A graph of quantize() as floats, with each value that lies on a grid turned into its integers and back behind the
// operator that computes it (`onnx_quantize`, `onnx_dequantize`), and constants stored as integers; legalized for ONNX.
// Inputs and outputs are float32. Errors: integers that ONNX has no type for, operators that it has no form for.
Expected<Graph> with_qdq(const Graph& quantised);

}  // namespace taper
