// Real numbers stored as integers: value = scale (integer - zero point).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/dim.h"
#include "base/error.h"

namespace taper {

// The grid that a value lies on. Its type stays float32: what it means is a real number, however it is stored.
struct Quantization {
  int bits = 8;                           // of the signed integers: 4, 8, 16, 32 or 64
  std::vector<float> scales;              // one; or one per entry of `axis`; or per entry and block
  std::vector<std::int64_t> zero_points;  // as many as scales
  std::optional<std::int64_t> axis;
  // Entries of the last axis that share a scale; 0: all of them do. Scales are then [entries of `axis`, blocks].
  std::int64_t block = 0;

  bool operator==(const Quantization&) const = default;

  bool per_tensor() const { return !axis.has_value(); }
  double lowest() const;   // -2^(bits-1), which narrow ranges don't use
  double highest() const;  // 2^(bits-1) - 1
};

// The grid of a whole tensor.
Quantization per_tensor_grid(int bits, float scale, std::int64_t zero_point);

// Where element i of a tensor of these sizes, in row-major order, finds its scale and zero point.
class GridIndex {
 public:
  GridIndex(const Quantization& quantization, const std::vector<std::int64_t>& sizes);
  std::size_t of(std::size_t element) const;

 private:
  std::size_t inner_ = 1, entries_ = 1, row_ = 1, block_ = 0, blocks_ = 1;
  bool single_ = true;
};

// The integer that stands for `value`: rounded half away from zero, saturating. NaN becomes the zero point.
double quantized_integer(const Quantization& quantization, std::size_t grid, double value);

// Errors: unknown bits, scales that are not finite and positive, zero points outside the integers, counts that don't
// match the shape, an axis that does not exist or has no number of entries, blocks that don't divide the last axis.
Status check_quantization(const Quantization& quantization, const Shape& shape);

// "i8 scale [0.5] zero [-3]", "i4 scale [0.5, 0.25] zero [0, 0] axis 0 block 32"
std::string quantization_text(const Quantization& quantization);

}  // namespace taper
