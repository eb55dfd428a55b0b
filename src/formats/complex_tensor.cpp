#include "formats/complex_tensor.h"

namespace taper {

Expected<Tensor> make_complex_view(DType part, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                                   SharedBytes storage, std::int64_t offset, bool big_endian) {
  for (std::int64_t& stride : strides) {
    const auto doubled = checked_mul<std::int64_t>(stride, 2);
    if (!doubled) return fail("stride {} is too large", stride);
    stride = *doubled;
  }
  const auto bytes = checked_mul(offset, static_cast<std::int64_t>(2 * size_of(part)));
  if (!bytes) return fail("the offset {} is too large", offset);
  if (strides.size() == shape.size()) strides.push_back(1);
  shape.push_back(2);
  return make_view(part, std::move(shape), std::move(strides), std::move(storage), *bytes, big_endian);
}

Tensor part_of_complex(const Tensor& complex, std::size_t part) {
  Tensor result = complex;
  result.shape.pop_back();
  result.strides.pop_back();
  if (result.element_count() == 0) return result;
  const std::size_t skipped = part * size_of(complex.dtype);
  result.storage = complex.storage.sub(skipped, complex.storage.view.size() - skipped);
  return result;
}

}  // namespace taper
