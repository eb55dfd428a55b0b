#include "quantize/ranges.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "quantize/method_name.h"

namespace taper {
namespace {

constexpr std::array<MethodName<RangeMethod>, 5> kMethods = {{{RangeMethod::min_max, "min-max"},
                                                              {RangeMethod::moving_average, "moving-average"},
                                                              {RangeMethod::percentile, "percentile"},
                                                              {RangeMethod::mse, "mse"},
                                                              {RangeMethod::kl, "kl"}}};

Range with_zero(Range range) {
  return {std::min(range.low, 0.0), std::max(range.high, 0.0)};
}

Range percentile_range(const Histogram& seen, double percentile) {
  const double outside = (1 - percentile / 100) / 2;
  return {seen.quantile(outside), seen.quantile(1 - outside)};
}

// ------------------------------------------------------------------------------------------------------- mean square

// Sums over the bins before each one, so that any part of the histogram is summed up at once.
class Moments {
 public:
  explicit Moments(const Histogram& seen) : seen_(seen), sums_(Histogram::kBins + 1) {
    for (std::int64_t bin = 0; bin < Histogram::kBins; ++bin) {
      const auto count = static_cast<double>(seen.count(bin));
      const double middle = std::clamp(seen.edge(bin) + seen.width() / 2, seen.lowest(), seen.highest());
      const Sums& before = sums_[static_cast<std::size_t>(bin)];
      sums_[static_cast<std::size_t>(bin) + 1] = {before.count + count, before.sum + count * middle,
                                                  before.square + count * middle * middle};
    }
  }

  // The sum over all numbers x of (x - what becomes of x)^2 with 2^bits integers for `range`: numbers within are
  // rounded, which costs step^2 / 12 on average, those outside are clipped.
  double square_error(const Range& range, int bits) const {
    const double step = (range.high - range.low) / (std::exp2(bits) - 1);
    const std::size_t from = bin_at(range.low), to = std::max(from, bin_at(range.high));
    const Sums inside = minus(sums_[to], sums_[from]);
    return inside.count * step * step / 12 + clipped(sums_[from], range.low) +
           clipped(minus(sums_.back(), sums_[to]), range.high);
  }

 private:
  struct Sums {
    double count = 0, sum = 0, square = 0;
  };
  static Sums minus(const Sums& a, const Sums& b) { return {a.count - b.count, a.sum - b.sum, a.square - b.square}; }
  // sum (x - bound)^2
  static double clipped(const Sums& outside, double bound) {
    return std::max(0.0, outside.square - 2 * bound * outside.sum + bound * bound * outside.count);
  }
  std::size_t bin_at(double value) const {
    const double bin = std::round((value - seen_.edge(0)) / seen_.width());
    return static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(Histogram::kBins)));
  }

  const Histogram& seen_;
  std::vector<Sums> sums_;
};

// Both ends are cut back in steps, from all that was seen to a twentieth of it.
Range least_square_error(const Histogram& seen, int bits, bool symmetric) {
  constexpr int kSteps = 96;
  const auto cut = [](int step) { return 1 - 0.95 * step / kSteps; };
  const Range all = with_zero({seen.lowest(), seen.highest()});
  const double most = std::max(-all.low, all.high);
  const Moments moments(seen);
  Range best = all;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kSteps; ++i)
    for (int j = 0; j < kSteps; ++j) {
      if (symmetric && i != j) continue;
      const Range range = symmetric ? Range{-most * cut(i), most * cut(i)} : Range{all.low * cut(i), all.high * cut(j)};
      const double error = moments.square_error(range, bits);
      if (error < least) {
        least = error;
        best = range;
      }
    }
  return best;
}

// -------------------------------------------------------------------------------------------- Kullback and Leibler

// Counts of magnitudes: numbers on both sides of zero together.
std::vector<double> magnitudes(const Histogram& seen) {
  std::vector<double> counts;
  for (std::int64_t bin = 0; bin < Histogram::kBins; ++bin) {
    if (seen.count(bin) == 0) continue;
    const auto index = static_cast<std::int64_t>(std::round(seen.edge(bin) / seen.width()));
    const auto magnitude = static_cast<std::size_t>(index >= 0 ? index : -1 - index);
    if (counts.size() <= magnitude) counts.resize(magnitude + 1);
    counts[magnitude] += static_cast<double>(seen.count(bin));
  }
  // Zeros are exact whatever the range: as many as there may be, they are no reason to clip the rest.
  if (counts.size() > 1) counts[0] = counts[1];
  return counts;
}

// The divergence sum p log(p / q) of the counts, clipped to the first `kept` bins, from the same in `levels` steps,
// each of which spreads its counts evenly over its bins that are not empty.
double divergence(std::span<const double> counts, std::size_t kept, std::size_t levels) {
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double outside = std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(kept), counts.end(), 0.0);
  const auto p = [&](std::size_t bin) { return counts[bin] + (bin + 1 == kept ? outside : 0); };
  const double inside = total - outside;
  double sum = 0;
  for (std::size_t level = 0; level < levels; ++level) {
    const std::size_t from = level * kept / levels, to = (level + 1) * kept / levels;
    double in_level = 0, filled = 0;
    for (std::size_t bin = from; bin < to; ++bin) {
      in_level += counts[bin];
      filled += p(bin) > 0 ? 1 : 0;
    }
    // What was clipped goes where nothing was: half a number stands for it, as no logarithm of nothing exists.
    const double q = std::max(in_level, 0.5) / std::max(filled, 1.0) / std::max(inside, 0.5);
    for (std::size_t bin = from; bin < to; ++bin)
      if (p(bin) > 0) sum += p(bin) / total * std::log(p(bin) / total / q);
  }
  return sum;
}

Range least_divergence(const Histogram& seen, int bits) {
  const Range all = {seen.lowest(), seen.highest()};
  const std::vector<double> counts = magnitudes(seen);
  const std::size_t levels = std::size_t{1} << (bits - 1);
  std::size_t best = counts.size();
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t kept = levels; kept <= counts.size(); kept += 1 + counts.size() / 256) {
    const double found = divergence(counts, kept, levels);
    if (found < least) {
      least = found;
      best = kept;
    }
  }
  const double bound = static_cast<double>(best) * seen.width();
  return {std::max(all.low, -bound), std::min(all.high, bound)};
}

// -------------------------------------------------------------------------------------------------------------- choice

Range joined(const std::optional<Range>& a, const Range& b) {
  return a ? Range{std::min(a->low, b.low), std::max(a->high, b.high)} : b;
}

// A histogram that is coarser than the integers tells nothing of their rounding.
bool needs_histogram(const RangeOptions& options) {
  constexpr int kMostBitsOfBins = 10;
  if (options.method == RangeMethod::kl) return options.bits <= kMostBitsOfBins;
  return options.method == RangeMethod::percentile || options.method == RangeMethod::mse;
}

Range from_histogram(const Histogram& seen, const RangeOptions& options) {
  if (options.method == RangeMethod::percentile) return percentile_range(seen, options.percentile);
  if (options.method == RangeMethod::mse) return least_square_error(seen, options.bits, options.symmetric);
  // Of fewer numbers most bins are empty by chance, and any threshold looks good.
  constexpr std::int64_t kFewest = 10 * Histogram::kBins;
  return seen.total() < kFewest ? Range{seen.lowest(), seen.highest()} : least_divergence(seen, options.bits);
}

}  // namespace

std::string_view range_method_name(RangeMethod method) {
  return std::ranges::find(kMethods, method, &MethodName<RangeMethod>::method)->name;
}

std::optional<RangeMethod> range_method_from_name(std::string_view name) {
  return method_named<RangeMethod>(name, kMethods);
}

std::vector<std::string_view> range_method_names() {
  return method_names(kMethods);
}

void RangeEstimator::observe(std::span<const double> values) {
  for (const double value : values) {
    if (is_within_reach(value)) {
      sample_ = joined(sample_, {value, value});
      continue;
    }
    masked_ = masked_ || value < 0;
    infinite_ = infinite_ || std::isinf(value);
  }
  if (!needs_histogram(options_)) return;
  if (histogram_ == nullptr) histogram_ = std::make_shared<Histogram>();
  if (std::ranges::all_of(values, is_within_reach)) return histogram_->add(values);
  std::vector<double> kept;
  std::ranges::copy_if(values, std::back_inserter(kept), is_within_reach);
  histogram_->add(kept);
}

void RangeEstimator::end_sample() {
  if (!sample_) return;
  const double kept = average_ ? options_.momentum : 0;
  const Range before = average_.value_or(Range{});
  average_ = Range{kept * before.low + (1 - kept) * sample_->low, kept * before.high + (1 - kept) * sample_->high};
  all_ = joined(all_, *sample_);
  sample_.reset();
}

Range RangeEstimator::range() const {
  if (!all_ || *all_ == Range{}) return {};
  Range range = *all_;
  if (options_.method == RangeMethod::moving_average) range = *average_;
  if (needs_histogram(options_)) range = from_histogram(*histogram_, options_);
  range = with_zero(range);
  if (!options_.symmetric) return range;
  const double most = std::max(-range.low, range.high);
  return {-most, most};
}

}  // namespace taper
