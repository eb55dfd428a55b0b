#include "quantize/means.h"

#include <algorithm>
#include <cmath>

namespace taper {

void ChannelMeans::observe(std::span<const double> values) {
  const std::size_t channels = of_sample_.size();
  for (std::size_t from = 0; from + channels <= values.size() && channels > 0; from += channels) {
    for (std::size_t i = 0; i < channels; ++i) of_sample_[i] += values[from + i];
    ++rows_;
  }
}

void ChannelMeans::end_sample() {
  if (rows_ == 0) return;
  for (std::size_t i = 0; i < of_sample_.size(); ++i) {
    const double mean = of_sample_[i] / static_cast<double>(rows_);
    sums_[i] += mean;
    squares_[i] += mean * mean;
  }
  std::ranges::fill(of_sample_, 0);
  rows_ = 0;
  ++samples_;
}

std::vector<double> ChannelMeans::means() const {
  std::vector<double> means(sums_.size(), 0.0);
  const auto n = static_cast<double>(samples_);
  for (std::size_t i = 0; i < means.size() && samples_ > 0; ++i) {
    const double mean = sums_[i] / n, square = mean * mean;
    // One sample tells nothing of the variance: that of its mean is taken to be as large as its square.
    const double variance = samples_ > 1 ? std::max(squares_[i] / n - square, 0.0) * n / (n - 1) : square;
    means[i] = square > 0 ? mean * square / (square + variance / n) : 0;
  }
  if (!std::ranges::all_of(means, [](double mean) { return std::isfinite(mean); })) std::ranges::fill(means, 0);
  return means;
}

}  // namespace taper
