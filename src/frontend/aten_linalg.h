// What other families need of linear algebra.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "frontend/aten_table.h"

namespace taper::aten {

// The inverses of square matrices. Errors: other shapes, sizes that are not known.
Expected<Value*> inverse_of(Builder& build, Value* x);

// The state after a step for each frame, which lie along the second axis: one loop.
using MatrixStep =
    std::function<std::vector<Value*>(Builder&, std::span<Value* const> state, std::span<Value* const> frames)>;
std::vector<Value*> after_all(Builder& build, std::vector<Value*> state, std::span<Value* const> frames,
                              const MatrixStep& step);
// The last two axes exchanged; what has fewer stays.
Value* turned(Builder& build, Value* x);
// [batch, n, n]
Value* identities(Builder& build, const Dim& batch, std::int64_t n);

}  // namespace taper::aten
