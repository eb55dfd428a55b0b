// Reads TFLite models as graphs: the inverse of backend/tflite.h, driven by the same columns of the table of operators.
#pragma once

#include "formats/tflite.h"
#include "frontend/read_back.h"
#include "ir/graph.h"

namespace taper {

// Builds the graph of the signature `serving_default`, with its names for inputs and outputs; types are inferred anew,
// and check() accepts the result. Sizes of -1 become symbols `<input>_<axis>`: the file does not say which of them are
// equal, so each is a symbol of its own. Constants are views that share the file's owner.
//
// What is read is exactly what the backend writes: each operator is spelled again from what was understood of it, and
// whatever differs from the file is an error rather than a guess. Errors: operators without a row (all at once, with
// counts); options, inputs or masks that no row has; tensors that are quantized, sparse, used before they are computed
// or computed twice; a declared type that contradicts the inferred one; subgraphs that don't exist, are used twice or
// lie more than 16 deep.
//
// `file` is as read_tflite returned it, which has checked the indices of tensors, buffers and operator codes.
// Sizes in `known` take the place of -1.
Expected<Graph> import_tflite(const TfliteFile& file, const KnownShapes& known = {});

}  // namespace taper
