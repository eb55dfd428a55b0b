#include "verify/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace taper {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// |y - r|, where the same infinity and NaN against NaN agree and anything else that is not finite is infinitely far.
double distance(double reference, double measured) {
  if (std::isfinite(reference) && std::isfinite(measured)) return std::abs(measured - reference);
  if (std::isnan(reference) && std::isnan(measured)) return 0;
  return reference == measured ? 0 : kInfinity;
}

// What a float32 can't hold is infinite in the files, and in PyTorch; what is too small for it is nothing, or what it
// rounds to.
double as_measured(double reference, double measured) {
  constexpr double kLeast = std::numeric_limits<float>::min();
  if (std::abs(reference) < kLeast && std::abs(measured) <= kLeast) return measured;
  const bool overflows = std::isinf(measured) && std::abs(reference) > std::numeric_limits<float>::max();
  return overflows && std::signbit(reference) == std::signbit(measured) ? measured : reference;
}

// The place of the largest entry, the first one of equals; a NaN counts as larger than any number, as in PyTorch.
std::ptrdiff_t top(std::span<const double> row) {
  const auto less = [](double a, double b) { return !std::isnan(a) && (std::isnan(b) || a < b); };
  return std::ranges::max_element(row, less) - row.begin();
}

}  // namespace

void Comparer::Extent::add(double reference, double distance) {
  if (!std::isfinite(reference)) {
    error = std::max(error, distance);
    return;
  }
  highest = count == 0 ? reference : std::max(highest, reference);
  if (count == 0 || reference < lowest) {
    next_lowest = count == 0 ? reference : lowest;
    lowest = reference;
    error = std::max(error, error_of_lowest);
    error_of_lowest = distance;
    of_lowest = 1;
  } else if (reference == lowest) {
    error_of_lowest = std::max(error_of_lowest, distance);
    ++of_lowest;
  } else {
    next_lowest = next_lowest == lowest ? reference : std::min(next_lowest, reference);
    error = std::max(error, distance);
  }
  ++count;
}

bool Comparer::Extent::is_masked() const {
  constexpr double kMask = 100;
  const double others = highest - next_lowest;
  return of_lowest > 1 && others > 0 && next_lowest - lowest > kMask * others;
}

double Comparer::Extent::scale() const {
  const double spread = highest - (is_masked() ? next_lowest : lowest);
  return spread > 0 ? spread : std::max(std::abs(highest), std::abs(lowest));
}

double Comparer::Extent::relative_error(double least_scale) const {
  double measure = std::max(scale(), least_scale);
  const double size = std::max(std::abs(highest), std::abs(is_masked() ? next_lowest : lowest));
  const double largest = is_masked() ? error : std::max(error, error_of_lowest);
  constexpr double kRounding = 4 * std::numeric_limits<float>::epsilon();
  if (largest <= kRounding * size) measure = std::max(measure, size);
  const double of_masks = is_masked() ? error_of_lowest * measure / std::abs(lowest) : error_of_lowest;
  const double most = std::max(error, of_masks);
  return most == 0 ? 0 : measure > 0 ? most / measure : kInfinity;
}

Status Comparer::add(std::span<const double> reference, std::span<const double> measured, std::int64_t last_axis,
                     std::size_t output) {
  if (reference.size() != measured.size())
    return fail("{} values to compare with {} of the reference", measured.size(), reference.size());
  if (last_axis < 0 || (last_axis == 0 && !reference.empty()))
    return fail("a last axis of {} for {} values", last_axis, reference.size());
  const auto row = static_cast<std::size_t>(last_axis);
  if (row > 0 && reference.size() % row != 0)
    return fail("a last axis of {} does not divide {} values", last_axis, reference.size());
  if (outputs_.size() <= output) outputs_.resize(output + 1);
  Extent& extent = outputs_[output];
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double y = measured[i];
    const double r = as_measured(reference[i], y);
    const double error = distance(r, y);
    extent.add(r, error);
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
  std::optional<double> lowest, highest;
  double widest = 0;
  for (const Extent& output : outputs_) {
    result.max_error = std::max({result.max_error, output.error, output.error_of_lowest});
    if (output.count == 0) continue;
    lowest = std::min(lowest.value_or(output.lowest), output.lowest);
    highest = std::max(highest.value_or(output.highest), output.highest);
    widest = std::max(widest, output.scale());
  }
  result.spread = highest.value_or(0) - lowest.value_or(0);
  for (const Extent& output : outputs_)
    result.relative_error = std::max(result.relative_error, output.relative_error(widest / 100));
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
