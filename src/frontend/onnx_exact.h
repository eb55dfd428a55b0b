// Integers of 64 bits, of which float64 does not hold all.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "base/tensor.h"

namespace taper::onnx_reader {

// The bits of the elements of integers of 64 bits.
inline std::vector<std::uint64_t> long_bits(const Tensor& tensor) {
  std::vector<std::uint64_t> bits(static_cast<std::size_t>(tensor.element_count()));
  convert_elements(tensor, tensor.dtype, std::as_writable_bytes(std::span(bits)));
  return bits;
}

// Whether float64, and int64 behind it, hold each element as it is: always but for integers of 64 bits. The largest
// int64, which stands for "up to the end", counts as held: it saturates back to itself.
inline bool is_exact_in_float64(const Tensor& tensor) {
  if (tensor.dtype != DType::i64 && tensor.dtype != DType::u64) return true;
  const std::vector<double> numbers = to_double(tensor);
  if (tensor.dtype == DType::u64 && std::ranges::any_of(numbers, [](double x) { return x >= 0x1p63; })) return false;
  const auto bytes = std::as_bytes(std::span(numbers));
  const Tensor held = make_tensor(DType::f64, tensor.shape, {bytes.begin(), bytes.end()});
  return long_bits(converted(held, tensor.dtype)) == long_bits(tensor);
}

}  // namespace taper::onnx_reader
