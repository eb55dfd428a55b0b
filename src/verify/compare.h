// How near a measured result is to its reference.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/error.h"
#include "base/tensor.h"

namespace taper {

// With r the reference and y the measured values, over all elements of all outputs taken together:
struct Comparison {
  // <r,y> / (|r| |y|). 1 if both are zero everywhere, 0 if only one is, NaN if either has a value that is not finite
  // and differs from the other's.
  double cosine = 1;
  // max |y - r|. Equal infinities and NaN against NaN count as 0; NaN against a number is infinite.
  double max_error = 0;
  // max r - min r over the finite values of r: what errors are measured against.
  double spread = 0;
  // max_error / spread. Where the spread is zero (one number, or a constant reference): max_error / max |r|; where that
  // is zero too: 0 if max_error is 0, else infinite.
  double relative_error = 0;
  // The share of rows (along the last axis) whose largest entry is at the same place; the first one wins ties.
  double top1_agreement = 1;
  // 10 log10(sum r^2 / sum (y-r)^2) over what is finite in both, in decibels; infinite where nothing differs.
  double signal_to_noise = 0;
  std::int64_t elements = 0;
  std::int64_t rows = 0;
  // Elements that are NaN or infinite in one of the two and not the same in the other.
  std::int64_t unlike_nonfinite = 0;
  // Elements that are NaN or the same infinity in both, r also where float32 can't hold it: they count as equal, and
  // in no other figure.
  std::int64_t same_nonfinite = 0;

  bool spread_is_zero() const { return spread == 0; }
};

// Adds up a comparison over one or more outputs.
class Comparer {
 public:
  // Errors: different counts of elements, or a last axis that does not divide them.
  Status add(std::span<const double> reference, std::span<const double> measured, std::int64_t last_axis);
  // The same for tensors of equal shape.
  Status add(const Tensor& reference, const Tensor& measured);
  Comparison result() const;

 private:
  double dot_ = 0, reference_square_ = 0, measured_square_ = 0, error_square_ = 0;
  double max_error_ = 0, lowest_ = 0, highest_ = 0;
  bool any_finite_ = false;
  std::int64_t elements_ = 0, rows_ = 0, same_top_ = 0, unlike_nonfinite_ = 0, same_nonfinite_ = 0;
};

// One output.
Expected<Comparison> compare(const Tensor& reference, const Tensor& measured);

}  // namespace taper
