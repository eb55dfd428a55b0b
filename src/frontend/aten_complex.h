// Complex numbers, as two tensors of reals.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// Overloads that take or give complex numbers, which are a list of two tensors of one shape: the real and the imaginary
// parts. Schemas name them Complex.
std::vector<Overload> complex_overloads();
bool is_complex(const Arg& arg);

// Whether the call does the same to real and imaginary parts, each by itself: it moves elements, adds complex numbers,
// or multiplies them by reals. Part `part` of its arguments.
bool goes_by_parts(std::string_view name, std::span<const NamedArg> arguments);
std::vector<NamedArg> part_of(std::span<const NamedArg> arguments, std::size_t part);

}  // namespace taper::aten
