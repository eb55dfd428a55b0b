// A dense tensor over owned or mapped bytes: dtype, shape, strides; views share their storage.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"

namespace taper {

// `storage` starts at element [0, 0, ...]; `strides` count elements. The invariant, kept by make_tensor and make_view:
// every element that shape and strides reach lies within `storage`.
struct Tensor {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  SharedBytes storage;
  bool big_endian = false;

  std::int64_t rank() const { return static_cast<std::int64_t>(shape.size()); }
  std::int64_t element_count() const;
  std::int64_t byte_count() const { return element_count() * static_cast<std::int64_t>(size_of(dtype)); }
  // Whether `storage` holds the elements in row-major order without gaps and in this machine's byte order.
  bool is_plain() const;
  // The elements' bytes; only for plain tensors.
  Bytes bytes() const { return storage.view.first(static_cast<std::size_t>(byte_count())); }
};

std::vector<std::int64_t> row_major_strides(std::span<const std::int64_t> shape);
// The product of `shape`, or an error if a size is negative or the product overflows.
Expected<std::int64_t> checked_element_count(std::span<const std::int64_t> shape);
// "float32 [3, 4]"
std::string describe(const Tensor& tensor);
// "[3, 4]"
std::string shape_text(std::span<const std::int64_t> shape);

// A view on `storage` from byte `offset` on. Errors: negative sizes or strides, overflow, elements outside the storage.
Expected<Tensor> make_view(DType dtype, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                           SharedBytes storage, std::int64_t byte_offset, bool big_endian = false);

// The entries [first, first + count) of the leading axis, as a view.
Tensor leading_part(const Tensor& tensor, std::int64_t first, std::int64_t count);

// A plain tensor that owns a copy of `values`; the product of `shape` must be their count.
Tensor make_tensor(DType dtype, std::vector<std::int64_t> shape, std::vector<std::byte> bytes);
Tensor tensor_f32(std::vector<std::int64_t> shape, std::span<const float> values);
Tensor tensor_i32(std::vector<std::int64_t> shape, std::span<const std::int32_t> values);
Tensor tensor_i64(std::vector<std::int64_t> shape, std::span<const std::int64_t> values);

// Writes the elements in row-major order, converted to `dtype`, into `out`, whose size must be element_count *
// size_of(dtype). Floats narrow with ties to even; floats become integers by truncation towards zero, saturating.
void convert_elements(const Tensor& tensor, DType dtype, std::span<std::byte> out);
// The same as a plain tensor; no copy if `tensor` is plain and of that dtype already.
Tensor converted(const Tensor& tensor, DType dtype);
// All elements as double, row-major.
std::vector<double> to_double(const Tensor& tensor);

// A plain tensor of the same dtype and shape, whose rows, the entries of the leading axis, went through `change` as
// float64. Nothing holds all of the tensor in float64, and no page of a mapped file stays in memory.
Tensor with_changed_rows(const Tensor& tensor,
                         const std::function<void(std::int64_t row, std::span<double> entries)>& change);

// Equal dtype, shape and bits of every element.
bool identical(const Tensor& a, const Tensor& b);

}  // namespace taper
