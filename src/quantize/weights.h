// Scales of weights, and integers for them that make up for one another's rounding.
//
// A matrix is row-major, [rows, columns]; a row is what shares an output: channels of a linear layer are rows. Integers
// are symmetric, from -limit to limit with limit = 2^(bits-1) - 1, and stand for integer * scale.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace taper {

enum class WeightMethod {
  min_max,  // the largest magnitude fits
  mse,      // the least mean square error of the weights
  gptq      // the scales of mse; integers with the least error of the layer's output (see compensate)
};
// "min-max", "mse", "gptq".
std::optional<WeightMethod> weight_method_from_name(std::string_view name);
std::vector<std::string_view> weight_method_names();

// The largest integer of so many bits: 127 for 8, 7 for 4.
inline double largest_integer(int bits) {
  return static_cast<double>((std::int64_t{1} << (bits - 1)) - 1);
}

// The integer that stands for `value`: rounded half away from zero, saturating.
double rounded_to(double value, double scale, double limit);

// The scale for numbers that share one; never zero, so that numbers that are all zero have a scale too. gptq is as mse.
double scale_for(std::span<const double> values, int bits, WeightMethod method);

// How the scales of a matrix lie: one for all, one per row, or one per row and block of columns.
struct MatrixShape {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};
struct ScaleLayout {
  bool per_row = true;
  std::int64_t block = 0;  // columns that share a scale; 0: all of a row
};

struct IntegerMatrix {
  std::vector<double> integers;  // [rows, columns]
  std::vector<double> scales;    // [1], [rows] or [rows, columns / block]
};

// Rounds each weight by itself. Errors: blocks that don't divide the columns.
Expected<IntegerMatrix> round_weights(std::span<const double> weights, const MatrixShape& shape, int bits,
                                      const ScaleLayout& layout, WeightMethod method);

// ------------------------------------------------------------------------------------------------- compensated
// rounding

// Sums x^T x over the inputs x [n, size] of a linear layer: half the second derivative of |x w - x q|^2 in the weights
// w of an output.
class InputProducts {
 public:
  explicit InputProducts(std::int64_t size) : size_(size), sums_(static_cast<std::size_t>(size * size)) {}
  void add(std::span<const double> inputs);  // [n, size]
  std::int64_t size() const { return size_; }
  std::int64_t count() const { return count_; }           // n of all that were added
  std::span<const double> sums() const { return sums_; }  // [size, size]; only j >= i is kept

 private:
  std::int64_t size_;
  std::int64_t count_ = 0;
  std::vector<double> sums_;
};

// Rounds column after column; the error of a column is made up for by the columns after it, as the inputs tell:
//   w[:, k] -= (w[:, j] - q[:, j]) u[j, k] / u[j, j] for k > j, with u upper triangular and u^T u = (H + damping)^-1
// (Frantar et al. 2022, "GPTQ"; columns in their order). H is sums(); to its diagonal is added its mean times size / n,
// at least a hundredth of it and at most all of it: few inputs show products that others won't have. Scales are those
// of the weights as they are when their block begins. Errors: inputs of another size, blocks that don't divide the
// columns.
Expected<IntegerMatrix> compensate(std::span<const double> weights, const MatrixShape& shape, int bits,
                                   const ScaleLayout& layout, const InputProducts& inputs);

}  // namespace taper
