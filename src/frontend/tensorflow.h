// Reads SavedModels as graphs: the inverse of backend/tensorflow.h, driven by the same columns of the table of
// operators.
#pragma once

#include "formats/saved_model.h"
#include "frontend/read_back.h"
#include "ir/graph.h"

namespace taper {

// Builds the graph of the signature `serving_default`, with its names for inputs and outputs; types are inferred anew,
// and check() accepts the result. Sizes of -1 become symbols `<input>_<axis>`: the file does not say which of them are
// equal, so each is a symbol of its own. Variables become constants that share the storage of `content`.
//
// What is read is what the backend writes: nodes that the outputs need, in an order in which each comes after its
// operands. Errors: operators without a row (all at once, with counts); attributes, inputs or masks that no row has;
// values that are used before they are computed or computed twice; variables that the bundle doesn't have; functions
// that don't exist, are used twice or lie more than 16 deep.
// Sizes in `known` take the place of -1.
Expected<Graph> import_tensorflow(const SavedModelContent& content, const KnownShapes& known = {});

}  // namespace taper
