// One axis of an image in another size: which entries make each entry of the result, and with which weights.
#pragma once

#include <string>
#include <vector>

#include "ops/builder.h"
#include "ops/op.h"

namespace taper {

// How an axis of `in` entries becomes one of `out`.
struct Sampling {
  std::string mode, coordinates, rounding;
  double cubic = -0.75;  // the free parameter of the cubic kernel
  bool antialias = false;
  std::int64_t in = 1, out = 1;
  double scale = 0;  // out per in; 0: the quotient of the sizes
};

// That of a spatial axis, by the attributes of `resize`.
Sampling sampling_of(const Attrs& attrs, std::size_t axis, std::int64_t in, std::int64_t out);

// The weight of an entry at a distance from where the result lies.
double kernel_at(const Sampling& sampling, double distance);

// The cubic kernel with the free parameter `a`, for distances below 1 or for those from there to 2.
Value* cubic_kernel(Builder& build, Value* distance, double a, bool near);

struct Share {
  std::int64_t entry;
  double weight;
};
// The entries of x, with their weights, that make entry i of the result. Places outside take the outermost entries.
std::vector<Share> shares_of(const Sampling& sampling, std::int64_t i);

// Whether ONNX's runtime takes the entries of `shares_of` in mode nearest, in which it rounds in other places.
bool is_nearest_of_onnx(const Sampling& sampling);

// Whether a size is one, or may be: multiples of larger numbers are not.
bool may_be_one(const Dim& size);

// x with an axis resampled from `in` to `out`, one of them a symbol: `sampling` has no sizes. Floats, or any dtype in
// mode nearest.
Value* resample_open_axis(Builder& build, Value* x, std::size_t axis, const Sampling& sampling, const Dim& in,
                          const Dim& out);

}  // namespace taper
