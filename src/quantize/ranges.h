// What range of numbers a tensor's integers are to stand for, told from samples of the tensor.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quantize/histogram.h"

namespace taper {

// How a range is chosen. The figures of a method are those of RangeOptions.
enum class RangeMethod {
  min_max,         // all that was seen
  moving_average,  // the least and the largest number of each sample, averaged
  percentile,      // the middle share of the numbers
  mse,             // the least mean square of what rounding and clipping change
  kl               // the least Kullback-Leibler divergence of the numbers from what becomes of them
};
// "min-max", "moving-average", "percentile", "mse", "kl".
std::string_view range_method_name(RangeMethod method);
std::optional<RangeMethod> range_method_from_name(std::string_view name);
std::vector<std::string_view> range_method_names();

// Whether a number counts where ranges are looked for: those beyond stand for infinite ones (the least and the largest
// float, as masks and bounds), and their products overflow in float32.
inline bool is_within_reach(double value) {
  constexpr double kMost = 1e30;
  return value >= -kMost && value <= kMost;
}

// Always holds 0: padding and activations need it exactly.
struct Range {
  double low = 0;
  double high = 0;
  bool operator==(const Range&) const = default;
};

struct RangeOptions {
  RangeMethod method = RangeMethod::min_max;
  int bits = 8;               // of the integers
  bool symmetric = false;     // low = -high
  double momentum = 0.9;      // moving_average: what a sample leaves of the range before it
  double percentile = 99.99;  // percentile: the share of the numbers that lies within, in percent
};

// Looks at a tensor sample by sample, in constant memory.
class RangeEstimator {
 public:
  explicit RangeEstimator(const RangeOptions& options) : options_(options) {}

  // Numbers of the current sample, of which a loop may show many parts; what is not within reach is left out.
  void observe(std::span<const double> values);
  void end_sample();
  // Whether there was a number below what is within reach, as masks are, and whether some was infinite.
  bool is_masked() const { return masked_; }
  bool is_infinite() const { return infinite_; }
  // The range for the samples that have ended; [0, 0] if there was nothing in them, or nothing but zeros.
  Range range() const;

 private:
  RangeOptions options_;
  bool masked_ = false, infinite_ = false;
  std::optional<Range> all_, sample_, average_;  // from the least to the largest number, whether 0 is among them or not
  std::shared_ptr<Histogram> histogram_;         // for the methods that need one
};

}  // namespace taper
