// Tensors of complex numbers, as tensors of reals with one more axis at the end: of real and imaginary part.
#pragma once

#include "base/tensor.h"

namespace taper {

// A view of complex numbers whose parts are of dtype `part`; shape, strides and offset count complex numbers. Errors:
// as for make_view.
Expected<Tensor> make_complex_view(DType part, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                                   SharedBytes storage, std::int64_t offset, bool big_endian);

// The real (0) or imaginary (1) parts, as a view: [..., 2] to [...].
Tensor part_of_complex(const Tensor& complex, std::size_t part);

}  // namespace taper
