// Pools.
#include <algorithm>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// The tensor with an axis for the batch, which pools may be called without.
struct Batched {
  Value* x;
  bool added;
};
Batched with_batch(Builder& build, Value* x, std::size_t axes) {
  const bool added = shape_of(x).size() == axes + 1;
  return {added ? unsqueeze(build, x, 0) : x, added};
}
Value* without_batch(Builder& build, const Batched& batched, Value* y) {
  return batched.added ? squeeze(build, y, 0) : y;
}

Expected<Integers> per_axis(Integers values, std::size_t axes) {
  if (values.size() == 1) values.resize(axes, values[0]);
  if (values.size() != axes) return fail("{} entries for {} axes", values.size(), axes);
  return values;
}

Expected<Attrs> pool_attrs(Call& call, std::size_t axes) {
  TAPER_ASSIGN(const Integers kernel, per_axis(call.integers("kernel_size"), axes));
  const Integers given = call.integers("stride");
  TAPER_ASSIGN(const Integers stride, per_axis(given.empty() ? kernel : given, axes));
  TAPER_ASSIGN(Integers padding, per_axis(call.integers("padding"), axes));
  padding.insert(padding.end(), padding.begin(), padding.begin() + static_cast<std::ptrdiff_t>(axes));
  return Attrs{{"kernel", kernel}, {"stride", stride}, {"padding", padding}, {"ceil_mode", call.flag("ceil_mode")}};
}

Expected<Arg> max_pool(Call& call, std::size_t axes, bool with_indices) {
  Builder& build = call.build;
  TAPER_ASSIGN(Attrs attrs, pool_attrs(call, axes));
  TAPER_ASSIGN(const Integers dilation, per_axis(call.integers("dilation"), axes));
  attrs.set("dilation", dilation);
  const Batched input = with_batch(build, call.tensor("self"), axes);
  if (!with_indices) return fresh(without_batch(build, input, build("max_pool", {input.x}, std::move(attrs))));
  // Positions that nobody asks for are not computed.
  Value* values = build("max_pool", {input.x}, attrs);
  const auto results = build.call("max_pool_with_indices", {input.x}, std::move(attrs));
  return fresh_list({without_batch(build, input, values), without_batch(build, input, results[1])});
}

Expected<Arg> avg_pool(Call& call, std::size_t axes) {
  Builder& build = call.build;
  TAPER_ASSIGN(Attrs attrs, pool_attrs(call, axes));
  attrs.set("count_include_pad", call.flag("count_include_pad"));
  attrs.set("divisor", call.integer_or("divisor_override", 0));
  const Batched input = with_batch(build, call.tensor("self"), axes);
  return fresh(without_batch(build, input, build("avg_pool", {input.x}, std::move(attrs))));
}

Expected<Shape> bins_of(Call& call, std::size_t axes) {
  Shape sizes = call.sizes("output_size");
  if (sizes.size() == 1) sizes.resize(axes, sizes[0]);
  if (sizes.size() != axes) return fail("{} sizes for {} axes", sizes.size(), axes);
  return sizes;
}

Expected<Value*> adaptive(Call& call, std::string_view row, const Batched& input, std::size_t axes) {
  const Shape& shape = shape_of(input.x);
  if (shape.size() != axes + 2) return fail("{} for {} spatial axes", shape_text(shape), axes);
  TAPER_ASSIGN(const Shape sizes, bins_of(call, axes));
  return call.build(row, {input.x}, {{"sizes", sizes}});
}

Expected<Arg> adaptive_avg_pool(Call& call, std::size_t axes) {
  const Batched input = with_batch(call.build, call.tensor("self"), axes);
  TAPER_ASSIGN(Value * y, adaptive(call, "adaptive_avg_pool", input, axes));
  return fresh(without_batch(call.build, input, y));
}

// The largest of each bin of one axis, and their positions among the entries of this axis and those after it; nullptr:
// there are none after it.
struct Largest {
  Value* values;
  Value* positions;
};
Largest largest_of_bins(Builder& build, const Largest& x, std::size_t axis, std::int64_t bins, const Dim& stride) {
  const Dim size = shape_of(x.values)[axis];
  const auto dim = static_cast<std::int64_t>(axis);
  std::vector<Value*> values, positions;
  for (std::int64_t i = 0; i < bins && !build.failed(); ++i) {
    const Dim first = floor_divide(size * i, bins), last = ceil_divide(size * (i + 1), bins);
    Value* bin = slice(build, x.values, axis, first, last);
    Value* index = build("argmax", {bin}, {{"dim", dim}, {"keepdim", true}});
    Value* position = build("add", {index, number(build, Arg(first), DType::i64)});
    if (x.positions != nullptr) {
      Value* behind = build("gather_elements", {slice(build, x.positions, axis, first, last), index}, {{"dim", dim}});
      position = build("add", {build("mul", {position, number(build, Arg(stride), DType::i64)}), behind});
    }
    values.push_back(reduce(build, "amax", bin, {dim}, true));
    positions.push_back(position);
  }
  return {concat(build, values, axis), concat(build, positions, axis)};
}

// The positions of the largest, of several the first: windows of one size are a pool, others are looked at axis by
// axis.
Expected<Value*> positions_of_largest(Call& call, Value* x, const Shape& sizes) {
  constexpr std::int64_t kMostBins = 64;
  Builder& build = call.build;
  const std::size_t axes = sizes.size();
  Integers kernel;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < axes; ++i) {
    const auto each = divide_exactly(shape_of(x)[i + 2], sizes[i]);
    if (each && each->constant()) kernel.push_back(*each->constant());
    most = std::max(most, sizes[i].constant().value_or(kMostBins + 1));
  }
  if (kernel.size() == axes)
    return build.call("max_pool_with_indices", {x},
                      {{"kernel", kernel},
                       {"stride", kernel},
                       {"padding", Integers(2 * axes, 0)},
                       {"dilation", Integers(axes, 1)},
                       {"ceil_mode", false}})[1];
  if (most > kMostBins) return nullptr;
  Largest largest{x, nullptr};
  Dim stride = 1;
  for (std::size_t axis = axes + 1; axis >= 2; --axis) {
    largest = largest_of_bins(build, largest, axis, *sizes[axis - 2].constant(), stride);
    stride = stride * shape_of(x)[axis];
  }
  return largest.positions;
}

Expected<Arg> adaptive_max_pool(Call& call, std::size_t axes) {
  Builder& build = call.build;
  const Batched input = with_batch(build, call.tensor("self"), axes);
  TAPER_ASSIGN(Value * y, adaptive(call, "adaptive_max_pool", input, axes));
  TAPER_TRY(build.status());
  TAPER_ASSIGN(const Shape sizes, bins_of(call, axes));
  TAPER_ASSIGN(Value * positions, positions_of_largest(call, input.x, sizes));
  TAPER_TRY(build.status());
  // Hardly anybody asks for the positions.
  return Arg(Arg::List{fresh(without_batch(build, input, y)),
                       positions == nullptr ? Arg{} : fresh(without_batch(build, input, positions))});
}

// Values go back to the places that a max pool gave for them, in the image of each channel; elsewhere are zeros.
Expected<Arg> max_unpool(Call& call, std::size_t axes) {
  Builder& build = call.build;
  const Batched input = with_batch(build, call.tensor("self"), axes);
  const Batched places = with_batch(build, call.tensor("indices"), axes);
  TAPER_TRY(build.status());
  const Shape& shape = shape_of(input.x);
  if (shape.size() != axes + 2 || shape_of(places.x) != shape)
    return fail("{} with places {} for {} spatial axes", shape_text(shape), shape_text(shape_of(places.x)), axes);
  const Shape sizes = call.sizes("output_size");
  if (sizes.size() != axes) return fail("{} sizes for {} axes", sizes.size(), axes);
  Shape out = {shape[0], shape[1]};
  out.insert(out.end(), sizes.begin(), sizes.end());
  const Shape flat = {shape[0], shape[1], element_count(Shape(shape.begin() + 2, shape.end()))};
  Value* zeros = full(build, {shape[0], shape[1], element_count(sizes)}, Arg(0.0), input.x->type.dtype);
  Value* y = build("scatter_elements", {zeros, reshape(build, places.x, flat), reshape(build, input.x, flat)},
                   {{"dim", std::int64_t{2}}, {"reduction", std::string("none")}});
  return fresh(without_batch(build, input, reshape(build, y, out)));
}

}  // namespace

#define TAPER_POOL(size)                                                                                     \
  "(Tensor self, int[" #size "] kernel_size, int[" #size "] stride=[], int[" #size "] padding=0, int[" #size \
  "] dilation=1, bool ceil_mode=False) -> "
#define TAPER_AVERAGE(size) \
  "(Tensor self, int[" #size "] kernel_size, int[" #size "] stride=[], int[" #size "] padding=0, bool "

std::vector<Overload> pool_overloads() {
  return {
      {"max_pool1d" TAPER_POOL(1) "Tensor", [](Call& call) { return max_pool(call, 1, false); }},
      {"max_pool2d" TAPER_POOL(2) "Tensor", [](Call& call) { return max_pool(call, 2, false); }},
      {"max_pool3d" TAPER_POOL(3) "Tensor", [](Call& call) { return max_pool(call, 3, false); }},
      {"max_pool1d_with_indices" TAPER_POOL(1) "(Tensor, Tensor)", [](Call& call) { return max_pool(call, 1, true); }},
      {"max_pool2d_with_indices" TAPER_POOL(2) "(Tensor, Tensor)", [](Call& call) { return max_pool(call, 2, true); }},
      {"max_pool3d_with_indices" TAPER_POOL(3) "(Tensor, Tensor)", [](Call& call) { return max_pool(call, 3, true); }},
      {"avg_pool1d" TAPER_AVERAGE(1) "ceil_mode=False, bool count_include_pad=True) -> Tensor",
       [](Call& call) { return avg_pool(call, 1); }},
      {"avg_pool2d" TAPER_AVERAGE(2) "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> "
                                     "Tensor",
       [](Call& call) { return avg_pool(call, 2); }},
      {"avg_pool3d" TAPER_AVERAGE(3) "ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> "
                                     "Tensor",
       [](Call& call) { return avg_pool(call, 3); }},
      {"adaptive_avg_pool1d(Tensor self, SymInt[1] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 1); }},
      {"adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 2); }},
      {"adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 3); }},
      {"_adaptive_avg_pool2d(Tensor self, SymInt[2] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 2); }},
      {"_adaptive_avg_pool3d(Tensor self, SymInt[3] output_size) -> Tensor",
       [](Call& call) { return adaptive_avg_pool(call, 3); }},
      {"adaptive_max_pool1d(Tensor self, SymInt[1] output_size) -> (Tensor, Tensor)",
       [](Call& call) { return adaptive_max_pool(call, 1); }},
      {"adaptive_max_pool2d(Tensor self, SymInt[2] output_size) -> (Tensor, Tensor)",
       [](Call& call) { return adaptive_max_pool(call, 2); }},
      {"adaptive_max_pool3d(Tensor self, SymInt[3] output_size) -> (Tensor, Tensor)",
       [](Call& call) { return adaptive_max_pool(call, 3); }},
      {"max_unpool1d(Tensor self, Tensor indices, SymInt[1] output_size) -> Tensor",
       [](Call& call) { return max_unpool(call, 1); }},
      {"max_unpool2d(Tensor self, Tensor indices, SymInt[2] output_size) -> Tensor",
       [](Call& call) { return max_unpool(call, 2); }},
      {"max_unpool3d(Tensor self, Tensor indices, SymInt[3] output_size, int[3] stride, int[3] padding) -> Tensor",
       [](Call& call) { return max_unpool(call, 3); }},
  };
}

}  // namespace taper::aten
