// What other families need of linear algebra.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// The inverses of square matrices. Errors: other shapes, sizes that are not known.
Expected<Value*> inverse_of(Builder& build, Value* x);

}  // namespace taper::aten
