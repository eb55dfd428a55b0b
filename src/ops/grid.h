// Rounding of values to the integers that kernels compute with.
#pragma once

#include <cstring>
#include <tuple>
#include <vector>

#include "ir/quantization.h"
#include "ops/array.h"

namespace taper {

// Calls each(place, number) with every element of a tensor of floats as float32, in row-major order.
template <class Each>
void for_each_float(const Tensor& tensor, Each each) {
  const Tensor floats = converted(tensor, DType::f32);
  const Bytes bytes = floats.bytes();
  for (std::size_t i = 0; i * sizeof(float) < bytes.size(); ++i) {
    float number = 0;
    std::memcpy(&number, bytes.data() + i * sizeof(number), sizeof(number));
    each(i, number);
  }
}

// What tells a constant from others on the same bytes, such as its transpose: where it begins, its shape and strides.
using ConstantKey = std::tuple<const std::byte*, std::vector<std::int64_t>, std::vector<std::int64_t>>;
inline ConstantKey key_of(const Tensor& tensor) {
  return {tensor.storage.view.data(), tensor.shape, tensor.strides};
}

// Each value becomes the nearest one of the grid, saturating.
void round_to_grid(Array& array, const Quantization& quantization);

// What a hybrid kernel makes of x: over each stretch of the last `axes` axes, 255 steps between the extremes, 0 among
// them.
void round_dynamically(Array& array, std::size_t axes);

// The integers of a float32 constant, row-major, as files hold them: little-endian; of 4 bits two to a byte, the first
// in the lower half.
std::vector<std::byte> stored_integers(const Tensor& tensor, const Quantization& quantization);
// The float32 constant that such bytes stand for. Errors: another number of bytes than the shape needs.
Expected<Tensor> from_stored_integers(Bytes bytes, std::vector<std::int64_t> shape, const Quantization& quantization);

}  // namespace taper
