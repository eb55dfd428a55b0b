// How near a measured result is to its reference.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

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
  // max r - min r over the finite values of r.
  double spread = 0;
  // The worst of all outputs: its max |y - r| over its own spread, or over a hundredth of the widest where that is
  // more, since nothing is asked of an output of rounding errors. Where a spread is zero (one number, or a constant
  // reference), and where y is within four float32 epsilons of max |r|, which rounding alone explains: over max |r|;
  // where that is zero too: 0 if nothing differs, else infinite. What masks write is left out
  // of a spread: the least number, in several places, that lies a hundred spreads of all others below them; it is to be
  // as exact for its own size as the others are for their spread.
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
  // Of the output with that number. Errors: different counts of elements, or a last axis that does not divide them.
  Status add(std::span<const double> reference, std::span<const double> measured, std::int64_t last_axis,
             std::size_t output = 0);
  // The same for tensors of equal shape.
  Status add(const Tensor& reference, const Tensor& measured);
  Comparison result() const;

 private:
  // What is known of one output: its least number and the next one above it, its largest, and the largest differences.
  struct Extent {
    double lowest = 0, next_lowest = 0, highest = 0;
    std::int64_t count = 0, of_lowest = 0;  // finite numbers
    double error = 0, error_of_lowest = 0;

    void add(double reference, double distance);
    bool is_masked() const;
    double scale() const;
    double relative_error(double least_scale) const;
  };

  double dot_ = 0, reference_square_ = 0, measured_square_ = 0, error_square_ = 0;
  std::vector<Extent> outputs_;
  std::int64_t elements_ = 0, rows_ = 0, same_top_ = 0, unlike_nonfinite_ = 0, same_nonfinite_ = 0;
};

// One output.
Expected<Comparison> compare(const Tensor& reference, const Tensor& measured);

}  // namespace taper
