// What the reference evaluation computes with: dense arrays of float64.
#pragma once

#include <cstdint>
#include <vector>

#include "base/tensor.h"

namespace taper {

// `values` are row-major. `dtype` is the dtype the value has in the graph; integers are exact up to 2^53 in magnitude.
struct Array {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<double> values;

  std::int64_t size(std::int64_t axis) const { return shape[static_cast<std::size_t>(axis)]; }
  std::int64_t rank() const { return static_cast<std::int64_t>(shape.size()); }
};

Array to_array(const Tensor& tensor);
// Integers of up to 32 bits wrap around, as in all runtimes. Those of 64 bits are exact up to 2^53 only.
void wrap_integers(Array& array);
// Rounds the values to `array.dtype`.
Tensor to_tensor(const Array& array);

}  // namespace taper
