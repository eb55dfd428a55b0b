// Losses, which other readers of programs have as well.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// What becomes of the losses of single elements.
enum class Reduction { none, mean, sum };
Expected<Reduction> reduction_of(const Call& call);
Value* reduced(Builder& build, Value* losses, Reduction reduction);

// x cut to the sizes of a tensor that PyTorch wants to be as large. A program may call those by other symbols; numbers
// stay as they are.
Value* as_large_as(Builder& build, Value* x, const Shape& shape);

// -log p of the class that each target names. logs [N, C, ...], or [C], are log-probabilities, target [N, ...] are
// classes of which `ignored` counts nothing; `weight` [C]? says how much each class counts, also in the mean.
Value* negative_log_likelihood(Builder& build, Value* logs, Value* target, Value* weight,
                               std::optional<std::int64_t> ignored, Reduction reduction);

Expected<Arg> ctc_loss(Call& call);

std::vector<Overload> loss_overloads();

}  // namespace taper::aten
