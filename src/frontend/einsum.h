// Einstein's summation convention.
#pragma once

#include <string_view>
#include <vector>

#include "ops/builder.h"

namespace taper {

// The sum over all labels that the result does not have, of the product of the operands: "bij,bjk->bik". An ellipsis
// stands for axes that broadcast; without an arrow the result has the labels that occur once, in order. Operands are
// joined from the left, each pair as one product of matrices. Errors (in the builder): labels that don't match the
// operands, a label twice in one operand.
Value* einsum(Builder& build, std::string_view equation, std::vector<Value*> operands);

}  // namespace taper
