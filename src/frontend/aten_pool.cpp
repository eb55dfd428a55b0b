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

// A pool, and the axes of open size that one window takes as a whole: to the attributes they are axes of one entry.
struct Windowed {
  Attrs attrs;
  Integers whole;  // of the input with a batch
};

// A window of open size is a whole axis, or nothing that files could say.
Expected<Windowed> windowed(Call& call, const Shape& input, std::size_t axes) {
  if (input.size() != axes + 2) return fail("{} for {} spatial axes", shape_text(input), axes);
  Shape sizes = call.sizes("kernel_size"), steps = call.sizes("stride");
  if (sizes.size() == 1) sizes.resize(axes, sizes[0]);
  if (steps.empty()) steps = sizes;
  if (steps.size() == 1) steps.resize(axes, steps[0]);
  if (sizes.size() != axes || steps.size() != axes)
    return fail("{} sizes and {} steps of windows for {} axes", sizes.size(), steps.size(), axes);
  TAPER_ASSIGN(Integers padding, per_axis(call.integers("padding"), axes));
  Windowed result;
  Integers kernel, stride;
  for (std::size_t axis = 0; axis < axes; ++axis) {
    const Dim& size = input[axis + 2];
    const auto number = sizes[axis].constant(), step = steps[axis].constant();
    const bool is_whole = !number && sizes[axis] == size && padding[axis] == 0;
    if (!is_whole && !(number && step))
      return fail_with_hint(fmt::format("windows of {} entries, {} apart, along an axis of {}: only windows of fixed "
                                        "size, or of the whole axis without padding, are read",
                                        sizes[axis].text(), steps[axis].text(), size.text()),
                            "give adaptive_avg_pool or adaptive_max_pool the number of bins");
    kernel.push_back(is_whole ? 1 : *number);
    stride.push_back(is_whole ? 1 : *step);
    if (is_whole) result.whole.push_back(static_cast<std::int64_t>(axis) + 2);
  }
  padding.insert(padding.end(), padding.begin(), padding.begin() + static_cast<std::ptrdiff_t>(axes));
  result.attrs = {{"kernel", kernel}, {"stride", stride}, {"padding", padding}, {"ceil_mode", call.flag("ceil_mode")}};
  return result;
}

// The largest of axes, and where it stands among their entries: of several the first.
Expected<Arg> largest_of_axes(Builder& build, const Batched& input, std::size_t axes) {
  const Shape& shape = shape_of(input.x);
  const Shape behind(shape.begin() + 2, shape.end());
  Value* flat = reshape(build, input.x, {shape[0], shape[1], element_count(behind)});
  const auto back = [&](Value* y) {
    Shape ones = {shape[0], shape[1]};
    ones.resize(axes + 2, Dim(1));
    return without_batch(build, input, reshape(build, y, ones));
  };
  Value* values = reduce(build, "amax", flat, {2}, true);
  Value* positions = build("argmax", {flat}, {{"dim", std::int64_t{2}}, {"keepdim", true}});
  return fresh_list({back(values), back(positions)});
}

Expected<Arg> max_pool(Call& call, std::size_t axes, bool with_indices) {
  Builder& build = call.build;
  Batched input = with_batch(build, call.tensor("self"), axes);
  TAPER_TRY(build.status());
  TAPER_ASSIGN(Windowed pool, windowed(call, shape_of(input.x), axes));
  TAPER_ASSIGN(const Integers dilation, per_axis(call.integers("dilation"), axes));
  for (const std::int64_t axis : pool.whole)
    if (dilation[static_cast<std::size_t>(axis) - 2] != 1) return fail("windows of a whole axis have holes");
  if (with_indices && pool.whole.size() == axes) return largest_of_axes(build, input, axes);
  if (with_indices && !pool.whole.empty())
    return fail("positions of the largest in windows of which some axes are whole ones of open size");
  if (!pool.whole.empty()) input.x = reduce(build, "amax", input.x, pool.whole, true);
  Attrs attrs = std::move(pool.attrs);
  attrs.set("dilation", dilation);
  if (!with_indices)
    return fresh(without_batch(build, input,
                               pool.whole.size() == axes ? input.x : build("max_pool", {input.x}, std::move(attrs))));
  // Positions that nobody asks for are not computed.
  Value* values = build("max_pool", {input.x}, attrs);
  const auto results = build.call("max_pool_with_indices", {input.x}, std::move(attrs));
  return fresh_list({without_batch(build, input, values), without_batch(build, input, results[1])});
}

Expected<Arg> avg_pool(Call& call, std::size_t axes) {
  Builder& build = call.build;
  Batched input = with_batch(build, call.tensor("self"), axes);
  TAPER_TRY(build.status());
  TAPER_ASSIGN(Windowed pool, windowed(call, shape_of(input.x), axes));
  const std::int64_t divisor = axes == 1 ? 0 : call.integer_or("divisor_override", 0);
  if (!pool.whole.empty()) input.x = reduce(build, divisor == 0 ? "mean" : "sum", input.x, pool.whole, true);
  pool.attrs.set("count_include_pad", call.flag("count_include_pad"));
  pool.attrs.set("divisor", divisor);
  // What is one entry to the pool is a sum already.
  if (pool.whole.size() < axes || divisor != 0) input.x = build("avg_pool", {input.x}, std::move(pool.attrs));
  return fresh(without_batch(build, input, input.x));
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

// Where the windows along an axis start: int((i + u) a) - int(u a) with a = (size - window) / (bins - 1), in float32 as
// PyTorch reckons; the last window ends the axis.
Integers window_starts(float u, std::int64_t size, std::int64_t bins, std::int64_t window) {
  Integers starts;
  const float step = bins > 1 ? static_cast<float>(size - window) / static_cast<float>(bins - 1) : 0.0F;
  for (std::int64_t i = 0; i + 1 < bins; ++i)
    starts.push_back(static_cast<std::int64_t>((static_cast<float>(i) + u) * step) -
                     static_cast<std::int64_t>(u * step));
  starts.push_back(size - window);
  return starts;
}

// The places in an image, row-major, of the entries of each window, window by window. `starts` and `window`: by axis.
void append_places(const std::vector<Integers>& starts, const Integers& window, const Integers& size,
                   std::int64_t offset, Integers& places) {
  const std::size_t axes = size.size();
  Integers digits(2 * axes, 0);  // of the bin, then of the entry in the window
  const auto base = [&](std::size_t i) {
    return i < axes ? static_cast<std::int64_t>(starts[i].size()) : window[i - axes];
  };
  while (true) {
    std::int64_t place = 0;
    for (std::size_t i = 0; i < axes; ++i)
      place = place * size[i] + starts[i][static_cast<std::size_t>(digits[i])] + digits[axes + i];
    places.push_back(offset + place);
    std::size_t i = 2 * axes;
    while (i > 0 && ++digits[i - 1] == base(i - 1)) digits[--i] = 0;
    if (i == 0) return;
  }
}

// The samples [images, channels, axes] say where the windows of each channel lie: so they have to be known, and windows
// are gathered. In two axes the first sample is that of the last axis.
Expected<Arg> fractional_max_pool(Call& call, std::size_t axes) {
  constexpr std::int64_t kMostEntries = 1 << 22;
  Builder& build = call.build;
  const Batched input = with_batch(build, call.tensor("self"), axes);
  Value* samples = call.tensor("random_samples");
  TAPER_TRY(build.status());
  const auto known = constant_value(samples);
  if (!known)
    return fail_with_hint("where its windows lie is drawn when the program runs, or given then",
                          "give the samples to the layer, FractionalMaxPool2d(..., _random_samples=torch.rand(images, "
                          "channels, 2)): they become constants");
  const auto shape = constant_sizes(shape_of(input.x));
  const auto drawn = constant_sizes(shape_of(samples));
  TAPER_ASSIGN(const Integers window, per_axis(call.integers("kernel_size"), axes));
  TAPER_ASSIGN(const Integers bins, per_axis(call.integers("output_size"), axes));
  if (!shape || shape->size() != axes + 2)
    return fail("{}, expected numbers for images, channels and {} axes", shape_text(shape_of(input.x)), axes);
  const std::int64_t images = (*shape)[0], channels = (*shape)[1];
  if (drawn->size() != 3 || (*drawn)[0] < images || (*drawn)[1] != channels ||
      (*drawn)[2] != static_cast<std::int64_t>(axes))
    return fail("samples {} for {}", shape_text(shape_of(samples)), shape_text(shape_of(input.x)));
  const Integers size(shape->begin() + 2, shape->end());
  Dim entries = Dim(images) * channels, each = 1, pixels = 1;
  Shape out = {images, channels};
  for (std::size_t axis = 0; axis < axes; ++axis) {
    if (window[axis] < 1 || bins[axis] < 1 || bins[axis] + window[axis] - 1 > size[axis])
      return fail("{} windows of {} along an axis of {}", bins[axis], window[axis], size[axis]);
    each = each * window[axis];
    pixels = pixels * size[axis];
    out.emplace_back(bins[axis]);
    entries = entries * bins[axis];
    if (!entries.constant() || *entries.constant() > kMostEntries)
      return fail("more than {} entries in all windows", kMostEntries);
  }
  entries = entries * each;
  if (!entries.constant() || *entries.constant() > kMostEntries || !pixels.constant())
    return fail("more than {} entries in all windows", kMostEntries);
  Integers places, in_image;
  for (std::int64_t plane = 0; plane < images * channels; ++plane) {
    std::vector<Integers> starts;
    for (std::size_t axis = 0; axis < axes; ++axis) {
      const std::size_t column = axes == 2 ? 1 - axis : axis;
      const auto u = static_cast<float>(known->values[static_cast<std::size_t>(plane) * axes + column]);
      if (!(u >= 0 && u < 1)) return fail("a sample of {}, expected 0 <= u < 1", u);
      starts.push_back(window_starts(u, size[axis], bins[axis], window[axis]));
    }
    append_places(starts, window, size, plane * *pixels.constant(), places);
    append_places(starts, window, size, 0, in_image);
  }
  const Attrs first = {{"dim", std::int64_t{0}}}, last = {{"dim", std::int64_t{1}}};
  const Shape windows = {divide_exactly(entries, each).value_or(0), each};
  Value* flat = reshape(build, input.x, {pixels * images * channels});
  Value* taken = reshape(build, build("gather", {flat, integer_vector(build, places)}, first), windows);
  Value* index = build("argmax", {taken}, {{"dim", std::int64_t{1}}, {"keepdim", true}});
  Value* found = build("gather_elements", {reshape(build, integer_vector(build, in_image), windows), index}, last);
  return fresh_list({without_batch(build, input, reshape(build, reduce(build, "amax", taken, {1}, false), out)),
                     without_batch(build, input, reshape(build, found, out))});
}

}  // namespace

#define TAPER_POOL(size)                                                                                           \
  "(Tensor self, SymInt[" #size "] kernel_size, SymInt[" #size "] stride=[], int[" #size "] padding=0, int[" #size \
  "] dilation=1, bool ceil_mode=False) -> "
#define TAPER_AVERAGE(size) \
  "(Tensor self, SymInt[" #size "] kernel_size, SymInt[" #size "] stride=[], int[" #size "] padding=0, bool "

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
      {"fractional_max_pool2d(Tensor self, int[2] kernel_size, int[2] output_size, Tensor random_samples) -> (Tensor, "
       "Tensor)",
       [](Call& call) { return fractional_max_pool(call, 2); }},
      {"fractional_max_pool3d(Tensor self, int[3] kernel_size, int[3] output_size, Tensor random_samples) -> (Tensor, "
       "Tensor)",
       [](Call& call) { return fractional_max_pool(call, 3); }},
      {"max_unpool1d(Tensor self, Tensor indices, SymInt[1] output_size) -> Tensor",
       [](Call& call) { return max_unpool(call, 1); }},
      {"max_unpool2d(Tensor self, Tensor indices, SymInt[2] output_size) -> Tensor",
       [](Call& call) { return max_unpool(call, 2); }},
      {"max_unpool3d(Tensor self, Tensor indices, SymInt[3] output_size, int[3] stride, int[3] padding) -> Tensor",
       [](Call& call) { return max_unpool(call, 3); }},
  };
}

}  // namespace taper::aten
