// The mean of what goes into a layer, told from samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace taper {

// Looks at arrays [..., channels] sample by sample, in constant memory.
class ChannelMeans {
 public:
  explicit ChannelMeans(std::int64_t channels) : of_sample_(static_cast<std::size_t>(channels)) {
    sums_ = squares_ = of_sample_;
  }

  // Numbers of the current sample, of which a loop may show many parts.
  void observe(std::span<const double> values);
  void end_sample();
  // Of each channel m m^2 / (m^2 + v / n), with m the mean of the samples' means, v their variance and n their number:
  // less of it, the more of it may be by chance. Zeros if there was no number, or one that is not finite.
  std::vector<double> means() const;

 private:
  std::vector<double> of_sample_, sums_, squares_;
  std::int64_t rows_ = 0;  // of the current sample
  std::int64_t samples_ = 0;
};

}  // namespace taper
