// Complex numbers, as two tensors of reals.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// Schemas name tensors of complex numbers Complex, as operands and as results. Where one argument of a call is complex,
// those parameters take reals too.
bool is_complex(const Arg& arg);
// Whether the argument is complex, or a list with complex numbers.
bool holds_complex(const Arg& arg);

// A call that does the same to real and imaginary parts, each by itself (it moves elements, or adds them up), or that
// is a product: real parts of complex results are those of the products of parts. Nothing if the call is neither.
std::optional<Expected<Arg>> call_by_parts(Context& context, std::string_view name,
                                           std::span<const NamedArg> arguments);

// A complex number while it is computed with.
struct Complex {
  Value* real = nullptr;
  Value* imag = nullptr;  // null: 0
};
// The named argument; reals, also numbers, have no imaginary part.
Complex complex_argument(const Call& call, std::string_view name);
// A tensor of its own, both parts of one shape.
Arg fresh(Builder& build, const Complex& z);
Complex conjugate_of(Builder& build, const Complex& z);
Complex product_of(Builder& build, const Complex& x, const Complex& y);
Complex quotient_of(Builder& build, const Complex& x, const Complex& y);
Value* size_of(Builder& build, const Complex& z);  // |z|
// A constant; the last axis of `parts` is that of real and imaginary part.
Arg complex_constant(Builder& build, const taper::Tensor& parts, std::string_view name);
// Functions of complex numbers beyond arithmetic, and what fills and chooses them.
std::vector<Overload> complex_function_overloads();
// Two views of a tensor of reals whose last axis is that of real and imaginary part, and the reverse. Errors: another
// last axis.
Expected<Arg> view_as_complex(Context& context, const TensorPtr& x);
Expected<Arg> view_as_real(Context& context, const Arg& z);

}  // namespace taper::aten
