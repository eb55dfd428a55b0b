#include "quantize/histogram.h"

#include <algorithm>
#include <cmath>

namespace taper {
namespace {

// Half of the bins stay free for what comes.
constexpr std::int64_t kBinsAtFirst = Histogram::kBins / 2;

std::int64_t half(std::int64_t index) {
  return index >> 1;  // rounds down below zero too
}

std::int64_t bin_of(double value, double width) {
  return static_cast<std::int64_t>(std::floor(value / width));
}

}  // namespace

void Histogram::add(std::span<const double> values) {
  double low = 0, high = 0;
  std::int64_t finite = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = finite == 0 ? value : std::min(low, value);
    high = finite == 0 ? value : std::max(high, value);
    ++finite;
  }
  if (finite == 0) return;
  lowest_ = total_ == 0 ? low : std::min(lowest_, low);
  highest_ = total_ == 0 ? high : std::max(highest_, high);
  make_room(lowest_, highest_);
  total_ += finite;
  for (const double value : values)
    if (std::isfinite(value)) ++counts_[static_cast<std::size_t>(bin_of(value, width_ == 0 ? 1 : width_) - first_)];
}

// Makes [low, high], which holds all numbers so far, lie within the bins.
void Histogram::make_room(double low, double high) {
  const double largest = std::max(std::abs(low), std::abs(high));
  if (largest == 0) return;
  if (width_ == 0) {  // zeros are counted in bin 0, which is where they stay
    const int exponent = std::ilogb(largest) + 1 - std::ilogb(static_cast<double>(kBinsAtFirst));
    width_ = std::ldexp(1.0, std::max(exponent, -1000));
  }
  while (bin_of(high, width_) - bin_of(low, width_) >= kBins) halve_resolution();
  const std::int64_t from = bin_of(low, width_), to = bin_of(high, width_);
  if (from < first_ || to >= first_ + kBins) place(from - (kBins - (to - from + 1)) / 2);
}

// Moves the counts so that the first bin is `first`; what holds counts must have a place.
void Histogram::place(std::int64_t first) {
  std::array<std::int64_t, kBins> moved = {};
  for (std::int64_t bin = 0; bin < kBins; ++bin)
    if (count(bin) != 0) moved[static_cast<std::size_t>(first_ + bin - first)] = count(bin);
  counts_ = moved;
  first_ = first;
}

void Histogram::halve_resolution() {
  std::array<std::int64_t, kBins> joined = {};
  const std::int64_t first = half(first_);
  for (std::int64_t bin = 0; bin < kBins; ++bin)
    joined[static_cast<std::size_t>(half(first_ + bin) - first)] += count(bin);
  counts_ = joined;
  first_ = first;
  width_ *= 2;
}

double Histogram::quantile(double q) const {
  const double wanted = q * static_cast<double>(total_);
  double below = 0;
  for (std::int64_t bin = 0; bin < kBins; ++bin) {
    const auto here = static_cast<double>(count(bin));
    if (here > 0 && below + here >= wanted)
      return std::clamp(edge(bin) + width_ * (wanted - below) / here, lowest_, highest_);
    below += here;
  }
  return highest_;
}

}  // namespace taper
