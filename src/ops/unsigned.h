// Calls on uint64 said of int64 of the same bits, for a target whose kernels have no uint64.
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"

namespace taper {

class Builder;

// Whether there is such a form of the call.
bool has_signed_form(const Node& node);

// The call, where `operands` that were uint64 are int64 of the same bits; so are the results that are uint64.
std::vector<Value*> call_on_signed(Builder& build, const Node& node, std::span<Value* const> operands);

}  // namespace taper
