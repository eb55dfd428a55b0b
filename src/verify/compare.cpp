#include "verify/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace taper {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// |y - r|, where the same infinity and NaN against NaN agree and anything else that is not finite is infinitely far.
double distance(double reference, double measured) {
  if (std::isfinite(reference) && std::isfinite(measured)) return std::abs(measured - reference);
  if (std::isnan(reference) && std::isnan(measured)) return 0;
  return reference == measured ? 0 : kInfinity;
}

// What a float32 can't hold is infinite in the files, and in PyTorch.
double as_measured(double reference, double measured) {
  const bool overflows = std::isinf(measured) && std::abs(reference) > std::numeric_limits<float>::max();
  return overflows && std::signbit(reference) == std::signbit(measured) ? measured : reference;
}

// The place of the largest entry, the first one of equals; a NaN counts as larger than any number, as in PyTorch.
std::ptrdiff_t top(std::span<const double> row) {
  const auto less = [](double a, double b) { return !std::isnan(a) && (std::isnan(b) || a < b); };
  return std::ranges::max_element(row, less) - row.begin();
}

}  // namespace

Status Comparer::add(std::span<const double> reference, std::span<const double> measured, std::int64_t last_axis) {
  if (reference.size() != measured.size())
    return fail("{} values to compare with {} of the reference", measured.size(), reference.size());
  if (last_axis < 0 || (last_axis == 0 && !reference.empty()))
    return fail("a last axis of {} for {} values", last_axis, reference.size());
  const auto row = static_cast<std::size_t>(last_axis);
  if (row > 0 && reference.size() % row != 0)
    return fail("a last axis of {} does not divide {} values", last_axis, reference.size());
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double y = measured[i];
    const double r = as_measured(reference[i], y);
    const double error = distance(r, y);
    max_error_ = std::max(max_error_, error);
    if (std::isfinite(r)) {
      lowest_ = any_finite_ ? std::min(lowest_, r) : r;
      highest_ = any_finite_ ? std::max(highest_, r) : r;
      any_finite_ = true;
    }
    if (std::isfinite(r) && std::isfinite(y)) {
      dot_ += r * y;
      reference_square_ += r * r;
      measured_square_ += y * y;
      error_square_ += error * error;
    } else {
      ++(error > 0 ? unlike_nonfinite_ : same_nonfinite_);
    }
  }
  for (std::size_t start = 0; row > 0 && start < reference.size(); start += row) {
    ++rows_;
    if (top(reference.subspan(start, row)) == top(measured.subspan(start, row))) ++same_top_;
  }
  elements_ += static_cast<std::int64_t>(reference.size());
  return {};
}

Status Comparer::add(const Tensor& reference, const Tensor& measured) {
  if (reference.shape != measured.shape)
    return fail("shape {}, expected {} as the reference's", shape_text(measured.shape), shape_text(reference.shape));
  const std::int64_t last_axis = reference.shape.empty() ? 1 : reference.shape.back();
  return add(to_double(reference), to_double(measured), last_axis);
}

Comparison Comparer::result() const {
  Comparison result;
  result.elements = elements_;
  result.rows = rows_;
  result.unlike_nonfinite = unlike_nonfinite_;
  result.same_nonfinite = same_nonfinite_;
  result.max_error = max_error_;
  result.spread = highest_ - lowest_;
  const double scale = result.spread > 0 ? result.spread : std::max(std::abs(highest_), std::abs(lowest_));
  if (scale > 0)
    result.relative_error = max_error_ / scale;
  else
    result.relative_error = max_error_ == 0 ? 0 : kInfinity;
  if (unlike_nonfinite_ > 0)
    result.cosine = std::numeric_limits<double>::quiet_NaN();
  else if (reference_square_ > 0 && measured_square_ > 0)
    result.cosine = dot_ / (std::sqrt(reference_square_) * std::sqrt(measured_square_));
  else
    result.cosine = reference_square_ == measured_square_ ? 1 : 0;
  result.signal_to_noise = error_square_ > 0 ? 10 * std::log10(reference_square_ / error_square_) : kInfinity;
  if (rows_ > 0) result.top1_agreement = static_cast<double>(same_top_) / static_cast<double>(rows_);
  return result;
}

Expected<Comparison> compare(const Tensor& reference, const Tensor& measured) {
  Comparer comparer;
  TAPER_TRY(comparer.add(reference, measured));
  return comparer.result();
}

}  // namespace taper
