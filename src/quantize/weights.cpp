#include "quantize/weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "quantize/method_name.h"

namespace taper {
namespace {

constexpr std::array<MethodName<WeightMethod>, 3> kMethods = {
    {{WeightMethod::min_max, "min-max"}, {WeightMethod::mse, "mse"}, {WeightMethod::gptq, "gptq"}}};

double largest_magnitude(std::span<const double> values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

double square_error(std::span<const double> values, double scale, double limit) {
  double error = 0;
  for (const double value : values) {
    const double off = value - scale * rounded_to(value, scale, limit);
    error += off * off;
  }
  return error;
}

// The best of scales from that of the largest magnitude down to a third of it.
double least_error_scale(std::span<const double> values, double widest, double limit) {
  constexpr int kSteps = 64;
  double best = widest;
  double least = square_error(values, widest, limit);
  for (int step = 1; step < kSteps; ++step) {
    const double scale = widest * (1 - 0.66 * step / kSteps);
    const double error = square_error(values, scale, limit);
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

Expected<std::int64_t> block_of(const MatrixShape& shape, const ScaleLayout& layout) {
  if (layout.block == 0 || !layout.per_row) return shape.columns;
  if (layout.block < 1 || shape.columns % layout.block != 0)
    return fail("rows of {} weights can't be cut into blocks of {}", shape.columns, layout.block);
  return layout.block;
}

std::size_t at(std::int64_t row, std::int64_t columns, std::int64_t column) {
  return static_cast<std::size_t>(row * columns + column);
}

// ------------------------------------------------------------------------------------------------ triangular matrices

// Upper triangular r [n, n] with r r^T = the symmetric h, whose upper half is given: Cholesky's recurrence from the
// last row on. h is positive definite.
std::vector<double> upper_factor(std::vector<double> h, std::int64_t n) {
  std::vector<double> column(static_cast<std::size_t>(n));
  for (std::int64_t j = n - 1; j >= 0; --j) {
    const double pivot = std::sqrt(h[at(j, n, j)]);
    h[at(j, n, j)] = pivot;
    for (std::int64_t i = 0; i < j; ++i) {
      column[static_cast<std::size_t>(i)] = h[at(i, n, j)] /= pivot;
    }
    for (std::int64_t i = 0; i < j; ++i) {
      const double factor = h[at(i, n, j)];
      for (std::int64_t k = i; k < j; ++k) h[at(i, n, k)] -= factor * column[static_cast<std::size_t>(k)];
    }
  }
  return h;
}

// The inverse of an upper triangular matrix, upper triangular too: row i from the rows below it,
//   u[i, :] = (e_i - sum over k > i of r[i, k] u[k, :]) / r[i, i].
std::vector<double> upper_inverse(std::span<const double> r, std::int64_t n) {
  std::vector<double> u(static_cast<std::size_t>(n * n));
  for (std::int64_t i = n - 1; i >= 0; --i) {
    u[at(i, n, i)] = 1;
    for (std::int64_t k = i + 1; k < n; ++k) {
      const double factor = r[at(i, n, k)];
      for (std::int64_t j = k; j < n; ++j) u[at(i, n, j)] -= factor * u[at(k, n, j)];
    }
    for (std::int64_t j = i; j < n; ++j) u[at(i, n, j)] /= r[at(i, n, i)];
  }
  return u;
}

// The products with the damping on the diagonal. An input that is always zero gets a diagonal of its own: its weights
// are rounded by themselves. Few inputs show products that others won't have: the fewer they are, the more is damped.
std::vector<double> damped(const InputProducts& inputs) {
  const double shown =
      static_cast<double>(inputs.size()) / static_cast<double>(std::max<std::int64_t>(inputs.count(), 1));
  const double damping = std::clamp(shown, 0.01, 1.0);
  const std::int64_t n = inputs.size();
  std::vector<double> h(inputs.sums().begin(), inputs.sums().end());
  double mean = 0;
  for (std::int64_t i = 0; i < n; ++i) mean += h[at(i, n, i)] / static_cast<double>(n);
  for (std::int64_t i = 0; i < n; ++i) h[at(i, n, i)] += mean > 0 ? damping * mean : 1;
  return h;
}

}  // namespace

std::optional<WeightMethod> weight_method_from_name(std::string_view name) {
  return method_named<WeightMethod>(name, kMethods);
}

std::vector<std::string_view> weight_method_names() {
  return method_names(kMethods);
}

double rounded_to(double value, double scale, double limit) {
  return std::clamp(std::round(value / scale), -limit, limit);
}

double scale_for(std::span<const double> values, int bits, WeightMethod method) {
  const double limit = largest_integer(bits);
  const double widest = largest_magnitude(values) / limit;
  // What is below the smallest normal float can't be told apart by a scale in float32.
  if (!(widest > std::numeric_limits<float>::min())) return 1;
  return method == WeightMethod::min_max ? widest : least_error_scale(values, widest, limit);
}

Expected<IntegerMatrix> round_weights(std::span<const double> weights, const MatrixShape& shape, int bits,
                                      const ScaleLayout& layout, WeightMethod method) {
  TAPER_ASSIGN(const std::int64_t block, block_of(shape, layout));
  const std::size_t step = layout.per_row ? static_cast<std::size_t>(block) : weights.size();
  const double limit = largest_integer(bits);
  IntegerMatrix result;
  result.integers.reserve(weights.size());
  for (std::size_t from = 0; from < weights.size(); from += step) {
    const std::span<const double> part = weights.subspan(from, step);
    const double scale = scale_for(part, bits, method);
    result.scales.push_back(scale);
    for (const double weight : part) result.integers.push_back(rounded_to(weight, scale, limit));
  }
  return result;
}

void InputProducts::add(std::span<const double> inputs) {
  const auto n = static_cast<std::size_t>(size_);
  for (std::size_t from = 0; from + n <= inputs.size() && n > 0; from += n) {
    if (!std::ranges::all_of(inputs.subspan(from, n), [](double x) { return std::isfinite(x); })) continue;
    for (std::size_t i = 0; i < n; ++i) {
      const double factor = inputs[from + i];
      if (factor == 0) continue;
      for (std::size_t j = i; j < n; ++j) sums_[i * n + j] += factor * inputs[from + j];
    }
    ++count_;
  }
}

Expected<IntegerMatrix> compensate(std::span<const double> weights, const MatrixShape& shape, int bits,
                                   const ScaleLayout& layout, const InputProducts& inputs) {
  const auto [rows, columns] = shape;
  if (inputs.size() != columns) return fail("inputs of {} numbers for rows of {} weights", inputs.size(), columns);
  TAPER_ASSIGN(const std::int64_t block, block_of(shape, layout));
  const std::vector<double> u = upper_inverse(upper_factor(damped(inputs), columns), columns);
  const double limit = largest_integer(bits);
  std::vector<double> left(weights.begin(), weights.end());  // what is still to be rounded
  IntegerMatrix result;
  result.integers.resize(weights.size());
  const std::int64_t blocks = columns / block;
  result.scales.resize(layout.per_row ? static_cast<std::size_t>(rows * blocks) : 1);
  if (!layout.per_row) result.scales[0] = scale_for(weights, bits, WeightMethod::gptq);
  for (std::int64_t row = 0; row < rows; ++row) {
    double* w = &left[at(row, columns, 0)];
    for (std::int64_t j = 0; j < columns; ++j) {
      double& scale = result.scales[layout.per_row ? at(row, blocks, j / block) : 0];
      if (layout.per_row && j % block == 0)
        scale = scale_for({w + j, static_cast<std::size_t>(block)}, bits, WeightMethod::gptq);
      const double integer = rounded_to(w[j], scale, limit);
      result.integers[at(row, columns, j)] = integer;
      const double error = (w[j] - integer * scale) / u[at(j, columns, j)];
      for (std::int64_t k = j + 1; k < columns; ++k) w[k] -= error * u[at(j, columns, k)];
    }
  }
  return result;
}

}  // namespace taper
