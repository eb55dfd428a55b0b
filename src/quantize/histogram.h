// A histogram of numbers whose bounds are not known beforehand, in constant memory.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace taper {

// Counts numbers in bins of one width. Bin i holds [(first + i) w, (first + i + 1) w). When a number lies outside, the
// width doubles and pairs of bins become one, which moves no number into a wrong bin: w is a power of two. The
// invariant: `total` numbers are in the bins, all between `lowest` and `highest`.
class Histogram {
 public:
  static constexpr std::int64_t kBins = 2048;

  // Numbers that are not finite are left out.
  void add(std::span<const double> values);

  std::int64_t total() const { return total_; }
  double lowest() const { return lowest_; }    // of a histogram that holds something
  double highest() const { return highest_; }  // likewise
  double width() const { return width_; }
  std::int64_t count(std::int64_t bin) const { return counts_[static_cast<std::size_t>(bin)]; }
  // The lower edge of a bin.
  double edge(std::int64_t bin) const { return static_cast<double>(first_ + bin) * width_; }
  // The number below which the share `q` of all numbers lies, as if they were spread evenly within their bins.
  double quantile(double q) const;

 private:
  void make_room(double low, double high);
  void place(std::int64_t first);
  void halve_resolution();

  std::array<std::int64_t, kBins> counts_ = {};
  std::int64_t first_ = 0;
  std::int64_t total_ = 0;
  double width_ = 0;  // 0: nothing but zeros so far
  double lowest_ = 0, highest_ = 0;
};

}  // namespace taper
