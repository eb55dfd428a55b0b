// Sizes that conditions on sizes choose between. Internal to the interpreter.
#pragma once

#include <optional>

#include "frontend/torchscript_value.h"

namespace taper::torchscript {

// 1 where a comparison holds, else 0.
Dim flag_of(const Undecided::Comparison& comparison);
// The comparison that holds where this one does not.
Undecided::Comparison inverse_of(const Undecided::Comparison& comparison);

// Narrows the ranges of symbols to where a condition holds, or does not.
void narrow(aten::Context& context, const Undecided& condition, bool holds);

// A size that is `a` where the condition holds, else `b`: the simplest that there is. Nothing if it can't be said.
std::optional<Dim> chosen_size(const aten::Context& context, const Undecided& condition, const Dim& a, const Dim& b);

}  // namespace taper::torchscript
