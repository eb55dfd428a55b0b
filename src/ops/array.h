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
// Rounds the values to `array.dtype`.
Tensor to_tensor(const Array& array);

}  // namespace taper
