#include "ops/resampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/ratio.h"
#include "ops/windows.h"

namespace taper {

namespace {

// Where entries are counted by their middles.
double shift_of(const Sampling& s) {
  return s.coordinates == "half_pixel" || s.coordinates == "pytorch_half_pixel" ? 0.5 : 0;
}

// Where entry i of the result lies in x. Products come before quotients: what is whole stays so.
double position_of(const Sampling& s, std::int64_t i) {
  const auto at = static_cast<double>(i), in = static_cast<double>(s.in), out = static_cast<double>(s.out);
  if (s.coordinates == "align_corners") return s.out == 1 ? 0 : at * (in - 1) / (out - 1);
  if (s.coordinates == "pytorch_half_pixel" && s.out == 1) return 0;
  const double shift = shift_of(s);
  return (s.scale > 0 ? (at + shift) / s.scale : (at + shift) * in / out) - shift;
}

// PyTorch's nearest entries, nearest and nearest-exact, are whole parts of products in float32: between two entries
// their rounding decides. TFLite's and TensorFlow's are the same.
bool is_nearest_of_pytorch(const Sampling& s) {
  return s.mode == "nearest" && ((s.coordinates == "asymmetric" && s.rounding == "floor") ||
                                 (s.coordinates == "half_pixel" && s.rounding == "round_prefer_ceil"));
}
double nearest_of_pytorch(const Sampling& s, std::int64_t i) {
  const float step =
      s.scale > 0 ? static_cast<float>(1 / s.scale) : static_cast<float>(s.in) / static_cast<float>(s.out);
  return std::floor((static_cast<float>(i) + static_cast<float>(shift_of(s))) * step);
}

double round_position(const std::string& rounding, double x) {
  if (rounding == "floor") return std::floor(x);
  if (rounding == "ceil") return std::ceil(x);
  return rounding == "round_prefer_ceil" ? std::floor(x + 0.5) : std::ceil(x - 0.5);
}

// Entries on each side of a place that have a share in it.
int reach_of(const Sampling& s) {
  return s.mode == "linear" ? 1 : 2;
}

}  // namespace

Sampling sampling_of(const Attrs& attrs, std::size_t axis, std::int64_t in, std::int64_t out) {
  const std::vector<double> scales = to_double(attrs.get<Tensor>("scales"));
  return {attrs.text("mode"),
          attrs.text("coordinates"),
          attrs.text("rounding"),
          attrs.real("cubic_coeff_a"),
          attrs.flag("antialias"),
          in,
          out,
          axis < scales.size() ? scales[axis] : 0};
}

double kernel_at(const Sampling& s, double x) {
  x = std::fabs(x);
  if (s.mode == "linear") return x < 1 ? 1 - x : 0;
  const double a = s.cubic;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

std::vector<Share> shares_of(const Sampling& s, std::int64_t i) {
  const auto inside = [&s](double x) {
    return static_cast<std::int64_t>(std::clamp(x, 0.0, static_cast<double>(s.in - 1)));
  };
  if (is_nearest_of_pytorch(s)) return {{inside(nearest_of_pytorch(s, i)), 1}};
  const double position = position_of(s, i);
  if (s.mode == "nearest") return {{inside(round_position(s.rounding, position)), 1}};
  std::vector<Share> shares;
  const double reach = reach_of(s);
  if (!s.antialias) {
    const double base = std::floor(position);
    for (double k = 1 - reach; k <= reach; ++k)
      if (const double weight = kernel_at(s, position - base - k); weight != 0)
        shares.push_back({inside(base + k), weight});
    return shares;
  }
  // The kernel widened where the image shrinks, its weights normalised over the entries that exist.
  double step = s.scale > 0 ? 1 / s.scale : static_cast<double>(s.in) / static_cast<double>(s.out);
  if (s.coordinates == "align_corners")
    step = s.out > 1 ? static_cast<double>(s.in - 1) / static_cast<double>(s.out - 1) : 0;
  const double width = std::max(step, 1.0), center = step * (static_cast<double>(i) + 0.5);
  const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(center - reach * width + 0.5));
  const auto last = std::min(s.in, static_cast<std::int64_t>(center + reach * width + 0.5));
  double sum = 0;
  for (std::int64_t j = first; j < last; ++j) {
    shares.push_back({j, kernel_at(s, (static_cast<double>(j) - center + 0.5) / width)});
    sum += shares.back().weight;
  }
  for (Share& share : shares) share.weight /= sum == 0 ? 1 : sum;
  return shares;
}

// It divides by the scale, where PyTorch multiplies with its inverse.
bool is_nearest_of_onnx(const Sampling& s) {
  if (!is_nearest_of_pytorch(s)) return true;
  const float scale = s.scale > 0 ? static_cast<float>(s.scale) : static_cast<float>(s.out) / static_cast<float>(s.in);
  const auto shift = static_cast<float>(shift_of(s));
  for (std::int64_t i = 0; i < s.out; ++i) {
    const float place = (static_cast<float>(i) + shift) / scale - shift;
    const auto entry = static_cast<std::int64_t>(shift == 0 ? std::floor(place) : std::round(place));
    if (std::clamp<std::int64_t>(entry, 0, s.in - 1) != shares_of(s, i)[0].entry) return false;
  }
  return true;
}

// ------------------------------------------------------------------------------------------- sizes that are open

namespace {

// 1 / scale in float32. Where that is so little below a fraction that its products in float32 round up to what is
// whole, the next number above: its products are there without rounding, too.
double steady_step(double scale) {
  const auto step = static_cast<float>(1 / scale);
  const auto ratio = simple_ratio(static_cast<float>(scale));
  if (!ratio) return step;
  const double exact = static_cast<double>(ratio->under) / static_cast<double>(ratio->over);
  const double missed = 1 - static_cast<double>(step) / exact;
  return missed > 0 && missed < 0x1p-25 ? std::nextafter(step, 2 * step) : step;
}

// An axis under construction, in float32 as PyTorch computes it.
class OpenAxis {
 public:
  OpenAxis(Builder& build, const Sampling& sampling, const Dim& in, const Dim& out)
      : build_(build), s_(sampling), in_(in), out_(out) {
    last_ = size_as_real(build_, in_ - Dim(1));
    step_ = step();
  }

  // The entry that each place takes.
  Value* nearest() {
    Value* place = nullptr;
    if (is_nearest_of_pytorch(s_)) {
      place = build_("floor", {build_("mul", {index(), step_})});
    } else {
      place = position();
      if (s_.rounding == "floor" || s_.rounding == "ceil")
        place = build_(s_.rounding, {place});
      else if (s_.rounding == "round_prefer_ceil")
        place = build_("floor", {plus(place, 0.5)});
      else
        place = build_("ceil", {plus(place, -0.5)});
    }
    return entry(place);
  }

  // The sum of the entries around each place by their weights.
  Value* weighted(Value* x, std::size_t axis) {
    Value* place = position();
    if (s_.mode == "linear") place = limited(place);  // beyond the ends there is one entry
    Value* base = build_("floor", {place});
    Value* fraction = build_("sub", {place, base});
    const auto behind = static_cast<std::int64_t>(x->type.shape.size() - axis - 1);
    Value* sum = nullptr;
    for (int k = 1 - reach_of(s_); k <= reach_of(s_) && !build_.failed(); ++k) {
      // The distance from an entry before the place, or at it, is fraction - k.
      Value* distance = k <= 0 ? plus(fraction, -k) : build_("sub", {build_.scalar(k), fraction});
      Value* weight = kernel(distance, k == 0 || k == 1);
      for (std::int64_t i = 0; i < behind; ++i)
        weight = build_("unsqueeze", {weight}, {{"dims", std::vector<std::int64_t>{i + 1}}});
      Value* entries = build_("gather", {x, entry(plus(base, k))}, {{"dim", static_cast<std::int64_t>(axis)}});
      Value* part = build_("mul", {entries, weight});
      sum = sum == nullptr ? part : build_("add", {sum, part});
    }
    return sum;
  }

  // The matrix [out, in] of the shares of a kernel that is widened where the image shrinks.
  Value* widened() {
    Value* width = build_("maximum", {step_, build_.scalar(1)});
    Value* center = build_("mul", {plus(real_range(build_, out_), 0.5), step_});
    center = build_("unsqueeze", {center}, {{"dims", std::vector<std::int64_t>{1}}});
    Value* distance = build_("sub", {plus(real_range(build_, in_), 0.5), center});
    distance = build_("abs", {build_("div", {distance, width})});
    Value* weights = kernel(build_("minimum", {distance, build_.scalar(1)}), true);
    if (s_.mode == "cubic") {
      Value* far = kernel(build_("minimum", {distance, build_.scalar(2)}), false);
      weights = build_("where", {build_("less", {distance, build_.scalar(1)}), weights, far});
    }
    return build_("div",
                  {weights, build_("sum", {weights}, {{"dims", std::vector<std::int64_t>{1}}, {"keepdim", true}})});
  }

 private:
  Value* plus(Value* x, double number) { return number == 0 ? x : build_("add", {x, build_.scalar(number)}); }
  Value* times(Value* x, Value* y) { return build_("mul", {x, y}); }
  Value* limited(Value* place) { return build_("minimum", {build_("maximum", {place, build_.scalar(0)}), last_}); }
  Value* entry(Value* place) { return build_("cast", {limited(place)}, {{"to", DType::i32}}); }

  // Entries of x per entry of the result.
  Value* step() {
    if (s_.coordinates == "align_corners") {
      Value* steps = build_("maximum", {size_as_real(build_, out_ - Dim(1)), build_.scalar(1)});
      return build_("div", {last_, steps});
    }
    if (s_.scale > 0) return build_.scalar(is_nearest_of_pytorch(s_) ? steady_step(s_.scale) : 1 / s_.scale);
    return build_("div", {size_as_real(build_, in_), size_as_real(build_, out_)});
  }

  Value* index() { return plus(real_range(build_, out_), shift_of(s_)); }
  Value* position() {
    Value* place = plus(times(index(), step_), -shift_of(s_));
    if (s_.coordinates != "pytorch_half_pixel" || !may_be_one(out_)) return place;
    return times(place, size_as_real(build_, dim_min(out_ - Dim(1), Dim(1))));  // one entry takes the first
  }

  Value* kernel(Value* x, bool near) {
    if (s_.mode == "linear") return build_("sub", {build_.scalar(1), x});
    return cubic_kernel(build_, x, s_.cubic, near);
  }

  Builder& build_;
  const Sampling& s_;
  Dim in_, out_;
  Value* last_ = nullptr;
  Value* step_ = nullptr;
};

}  // namespace

bool may_be_one(const Dim& size) {
  const std::vector<Dim::Term> terms = size.terms();
  return std::accumulate(terms.begin(), terms.end(), std::int64_t{0}, [](std::int64_t divisor, const Dim::Term& term) {
           return std::gcd(divisor, term.coefficient);
         }) == 1;
}

Value* cubic_kernel(Builder& build, Value* distance, double a, bool near) {
  const auto plus = [&](Value* x, double number) { return build("add", {x, build.scalar(number)}); };
  const auto times = [&](Value* x, Value* y) { return build("mul", {x, y}); };
  Value* x = distance;
  if (near) return plus(times(times(plus(times(x, build.scalar(a + 2)), -(a + 3)), x), x), 1);
  return times(plus(times(plus(times(plus(x, -5), x), 8), x), -4), build.scalar(a));
}

Value* resample_open_axis(Builder& build, Value* x, std::size_t axis, const Sampling& sampling, const Dim& in,
                          const Dim& out) {
  if (build.failed()) return nullptr;
  OpenAxis open(build, sampling, in, out);
  if (sampling.mode == "nearest")
    return build("gather", {x, open.nearest()}, {{"dim", static_cast<std::int64_t>(axis)}});
  if (sampling.antialias) return multiply_along_axis(build, x, axis, x->type.shape.size(), open.widened());
  return open.weighted(x, axis);
}

}  // namespace taper
