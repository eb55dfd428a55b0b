#include "frontend/positional_table.h"

#include <algorithm>
#include <cmath>

namespace taper {
namespace {

// 10000^(2i/E) for the columns 2i and 2i+1.
std::vector<double> wavelengths(std::int64_t width) {
  std::vector<double> result;
  result.reserve(static_cast<std::size_t>(width));
  for (std::int64_t column = 0; column < width; ++column)
    result.push_back(std::pow(10000.0, static_cast<double>(column - column % 2) / static_cast<double>(width)));
  return result;
}

double sinusoid(std::int64_t row, std::size_t column, const std::vector<double>& wavelengths) {
  const double angle = static_cast<double>(row) / wavelengths[column];
  return column % 2 == 0 ? std::sin(angle) : std::cos(angle);
}

// Rounding a value of magnitude 1 to the table's dtype: half a unit in the last place below 1.
double storage_error(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 0x1p-12;
    case DType::bf16:
      return 0x1p-9;
    default:
      return 0x1p-25;
  }
}

// PyTorch code computes t * exp(2i * -ln(10000)/E) in float32. With a = 2i ln(10000)/E, rounding a (twice) and exp
// gives the frequency a relative error of (2a + 1) 2^-24, the product another 2^-24: the angle errs by at most t e^-a
// (2a + 2) 2^-24 <= t 2^-23. A factor 2 for other orders of the same formula; 2^-7 keeps long tables honest.
double tolerance(std::int64_t row, DType dtype) {
  return std::min(static_cast<double>(row) * 0x1p-22 + 0x1p-22, 0x1p-7) + storage_error(dtype);
}

}  // namespace

bool is_sinusoid(const Tensor& table) {
  if (table.rank() != 3 || table.shape[0] != 1 || table.shape[1] < 2) return false;
  const std::vector<double> values = to_double(table);
  const std::vector<double> lengths = wavelengths(table.shape[2]);
  auto stored = values.begin();
  for (std::int64_t row = 0; row < table.shape[1]; ++row) {
    const double allowed = tolerance(row, table.dtype);
    for (std::size_t column = 0; column < lengths.size(); ++column, ++stored)
      // Written so that NaN is no sinusoid.
      if (!(std::abs(*stored - sinusoid(row, column, lengths)) <= allowed)) return false;
  }
  return true;
}

Tensor continued_sinusoid(const Tensor& table, std::int64_t rows) {
  const std::vector<double> lengths = wavelengths(table.shape[2]);
  std::vector<float> values(static_cast<std::size_t>(table.element_count()));
  convert_elements(table, DType::f32, std::as_writable_bytes(std::span(values)));
  values.reserve(static_cast<std::size_t>(rows) * lengths.size());
  for (std::int64_t row = table.shape[1]; row < rows; ++row)
    for (std::size_t column = 0; column < lengths.size(); ++column)
      values.push_back(static_cast<float>(sinusoid(row, column, lengths)));
  return tensor_f32({1, rows, table.shape[2]}, values);
}

}  // namespace taper
