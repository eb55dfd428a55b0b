// Pools over one to three spatial axes, channels first as in PyTorch.
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

constexpr double kLowest = -std::numeric_limits<double>::infinity();

// ------------------------------------------------------------------------------------------------------------- windows

Expected<Shape> pooled_shape(const InferCall& call) {
  TAPER_TRY(check_channels_first(call.type(0)));
  const Shape& x = call.shape(0);
  if (call.attrs.integers("kernel").size() != x.size() - 2)
    return fail("kernel [{}] for x of shape {}", fmt::join(call.attrs.integers("kernel"), ", "), shape_text(x));
  TAPER_ASSIGN(const Windows windows, windows_of(call.attrs, call.attrs.integers("kernel")));
  for (std::size_t axis = 0; axis < windows.axes(); ++axis)
    if (std::max(windows.before[axis], windows.after[axis]) >= windows.extent(axis))
      return fail("padding [{}] makes windows without elements", fmt::join(call.attrs.integers("padding"), ", "));
  TAPER_ASSIGN(const Shape counts, window_counts(spatial_sizes(x), windows, call.attrs.flag("ceil_mode")));
  Shape shape = {x[0], x[1]};
  shape.insert(shape.end(), counts.begin(), counts.end());
  return shape;
}

Expected<std::vector<Type>> infer_pool(const InferCall& call) {
  TAPER_ASSIGN(Shape shape, pooled_shape(call));
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

// Windows and sizes of an evaluation.
struct Pooling {
  Windows windows;
  Integers shape;  // of the result
  Grid grid;
  std::int64_t planes = 0;
};

Expected<Pooling> pooling_of(const EvalCall& call) {
  const Array& x = call.operand(0);
  Pooling pooling;
  pooling.windows = accepted_windows(call.attrs, call.attrs.integers("kernel"));
  TAPER_ASSIGN(const Shape counts,
               window_counts(spatial_sizes(to_shape(x.shape)), pooling.windows, call.attrs.flag("ceil_mode")));
  pooling.shape = {x.size(0), x.size(1)};
  for (const Dim& count : counts) pooling.shape.push_back(count.constant().value_or(0));
  pooling.grid = grid_of(std::span(x.shape).subspan(2), std::span(pooling.shape).subspan(2), pooling.windows);
  pooling.planes = x.size(0) * x.size(1);
  return pooling;
}

// The largest of each window and the first position in its plane where it stands; NaN is larger than any number.
Expected<std::vector<Array>> largest_of_windows(const EvalCall& call, bool flat_over_all) {
  TAPER_ASSIGN(const Pooling pooling, pooling_of(call));
  const Grid& grid = pooling.grid;
  Array values = make_array(call.operand(0).dtype, pooling.shape);
  Array indices = make_array(DType::i64, pooling.shape);
  std::ranges::fill(indices.values, -1);
  for (std::int64_t plane = 0; plane < pooling.planes; ++plane) {
    const double* x = call.operand(0).values.data() + plane * grid.in_count();
    double* value = values.values.data() + plane * grid.out_count();
    double* index = indices.values.data() + plane * grid.out_count();
    for_each_run(grid, [&](std::int64_t, std::int64_t window, std::int64_t at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i, ++window, at += grid.stride[2])
        if (index[window] < 0 || x[at] > value[window] || (std::isnan(x[at]) && !std::isnan(value[window]))) {
          value[window] = x[at];
          index[window] = static_cast<double>(at);
        }
    });
    for (std::int64_t i = 0; i < grid.out_count(); ++i) {
      if (index[i] < 0) return fail("a window of the padding alone");
      if (flat_over_all) index[i] += static_cast<double>(plane * grid.in_count());
    }
  }
  return std::vector{std::move(values), std::move(indices)};
}

Expected<std::vector<Array>> eval_max_pool(const EvalCall& call) {
  TAPER_ASSIGN(std::vector<Array> results, largest_of_windows(call, false));
  results.pop_back();
  return results;
}

// ---------------------------------------------------------------------------------------------------------- expansions

// How far windows reach behind the padding, by axis; nothing if a symbol decides.
std::optional<Integers> overhang(const Node& node, const Windows& windows) {
  Integers out;
  for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
    const Dim& count = node.results[0]->type.shape[axis + 2];
    const Dim reach = (count - 1) * windows.stride[axis] + windows.extent(axis);
    const Dim padded = node.operands[0]->type.shape[axis + 2] + windows.before[axis] + windows.after[axis];
    const auto difference = (reach - padded).constant();
    if (!difference) return std::nullopt;
    out.push_back(std::max<std::int64_t>(0, *difference));
  }
  return out;
}

bool has_overhang(const Node& node) {
  if (!node.attrs.flag("ceil_mode")) return false;
  const auto behind = overhang(node, accepted_windows(node.attrs, node.attrs.integers("kernel")));
  return !behind || std::ranges::max(*behind) > 0;
}

// The amounts for `pad` of x [N, C, *S] with spatial ones.
Attrs pad_attrs(const Integers& before, const Integers& after, double value) {
  Integers first = {0, 0}, last = {0, 0};
  first.insert(first.end(), before.begin(), before.end());
  last.insert(last.end(), after.begin(), after.end());
  return {{"before", std::move(first)}, {"after", std::move(last)}, {"value", value}};
}

Value* pad_spatial(Builder& build, Value* x, const Integers& before, const Integers& after, double value) {
  const auto none = [](const Integers& amounts) { return std::ranges::all_of(amounts, [](auto n) { return n == 0; }); };
  return none(before) && none(after) ? x : build("pad", {x}, pad_attrs(before, after, value));
}

// x padded so that whole windows fit in floor mode, and how many windows too many there then are at most, by axis.
struct Padded {
  Value* x = nullptr;
  bool cut = false;
};
Padded pad_for_windows(Builder& build, const Node& node, Value* x, const Windows& windows, double value) {
  Integers after = windows.after;
  bool cut = false;
  if (node.attrs.flag("ceil_mode")) {
    const auto behind = overhang(node, windows);
    cut = !behind;
    for (std::size_t axis = 0; axis < windows.axes(); ++axis)
      after[axis] += behind ? (*behind)[axis] : windows.stride[axis] - 1;
  }
  return {pad_spatial(build, x, windows.before, after, value), cut};
}

Value* cut_to(Builder& build, Value* y, const Shape& shape) {
  for (std::size_t axis = 2; y != nullptr && axis < shape.size(); ++axis)
    if (y->type.shape[axis] != shape[axis])
      y = build("slice", {y}, {{"dim", static_cast<std::int64_t>(axis)}, {"end", Shape{shape[axis]}}});
  return y;
}

Attrs without_padding(Attrs attrs) {
  attrs.set("padding", Integers(attrs.integers("padding").size(), 0));
  attrs.set("ceil_mode", false);
  return attrs;
}

std::vector<Value*> expand_max_pool(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Windows windows = accepted_windows(node.attrs, node.attrs.integers("kernel"));
  const Padded padded = pad_for_windows(build, node, operands[0], windows, kLowest);
  Value* y = build("max_pool", {padded.x}, without_padding(node.attrs));
  return {padded.cut ? cut_to(build, y, node.results[0]->type.shape) : y};
}

// The largest over strided slices, one per tap: for windows with holes.
Value* max_of_taps(Builder& build, const Node& node, Value* padded, const Windows& windows) {
  const Shape& out = node.results[0]->type.shape;
  Value* largest = nullptr;
  Integers tap(windows.axes(), 0);
  for (std::int64_t k = 0; k < windows.taps() && !build.failed(); ++k) {
    Value* entries = padded;
    for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
      const std::int64_t start = tap[axis] * windows.dilation[axis];
      entries = build("slice", {entries},
                      {{"dim", static_cast<std::int64_t>(axis + 2)},
                       {"start", start},
                       {"end", Shape{(out[axis + 2] - 1) * windows.stride[axis] + (start + 1)}},
                       {"step", windows.stride[axis]}});
    }
    largest = largest == nullptr ? entries : build("maximum", {largest, entries});
    for (std::size_t axis = windows.axes(); axis-- > 0;) {
      if (++tap[axis] < windows.kernel[axis]) break;
      tap[axis] = 0;
    }
  }
  return largest;
}

std::vector<Value*> expand_max_pool_last(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Windows windows = accepted_windows(node.attrs, node.attrs.integers("kernel"));
  const bool holes = std::ranges::max(windows.dilation) > 1;
  if (!holes && !has_overhang(node)) return expand_pool(build, node, operands[0], "max_pool_nhwc", kLowest);
  const Padded padded = pad_for_windows(build, node, operands[0], windows, kLowest);
  if (holes) return {max_of_taps(build, node, padded.x, windows)};
  Value* y = build("max_pool", {padded.x}, without_padding(node.attrs));
  return {padded.cut ? cut_to(build, y, node.results[0]->type.shape) : y};
}

// ONNX Runtime wants padding that is smaller than the kernel, holes not counted.
bool padding_below_kernel(const Node& node) {
  const Integers& kernel = node.attrs.integers("kernel");
  const Integers& padding = node.attrs.integers("padding");
  for (std::size_t i = 0; i < padding.size(); ++i)
    if (padding[i] >= kernel[i % kernel.size()]) return false;
  return true;
}

std::vector<AttrSpec> pool_attrs() {
  return {{"kernel", AttrKind::integers},
          {"stride", AttrKind::integers},
          {"padding", AttrKind::integers},
          {"dilation", AttrKind::integers},
          {"ceil_mode", AttrKind::flag, false}};
}

Attrs example_attrs(Integers kernel, Integers stride, Integers padding, bool ceil_mode = false) {
  return {{"kernel", std::move(kernel)},
          {"stride", std::move(stride)},
          {"padding", std::move(padding)},
          {"ceil_mode", ceil_mode}};
}
Attrs dilated(Attrs attrs, Integers dilation) {
  attrs.set("dilation", std::move(dilation));
  return attrs;
}

std::vector<Example> max_pool_examples() {
  return {{{f32({2, 3, 8})}, dilated(example_attrs({3}, {2}, {1, 1}), {1})},
          {{f32({1, 3, 7, 8})}, dilated(example_attrs({3, 3}, {2, 2}, {1, 1, 1, 1}), {1, 1})},
          {{f32({1, 2, 6, 7})}, dilated(example_attrs({2, 3}, {2, 2}, {0, 1, 1, 1}, true), {1, 1})},
          {{f32({1, 2, 9, 9})}, dilated(example_attrs({3, 2}, {1, 2}, {2, 0, 2, 0}), {2, 3})},
          {{f32({1, 2, 4, 6, 5})}, dilated(example_attrs({2, 2, 2}, {2, 2, 2}, {0, 0, 0, 0, 0, 0}), {1, 1, 1})}};
}

Op max_pool() {
  return {
      .name = "max_pool",
      .doc =
          "the largest of each window of x [N, C, *S]; padding: befores, then afters; with ceil_mode a last window "
          "may reach beyond the padding",
      .operands = {"x"},
      .attrs = pool_attrs(),
      .infer = infer_pool,
      .eval = eval_max_pool,
      .expand_onnx = expand_max_pool,
      .expand_tflite = expand_max_pool_last,
      .expand_tensorflow = expand_max_pool_last,
      .onnx =
          {.op_type = "MaxPool",
           .inputs = {operand(0)},
           .attrs = {{"kernel_shape", "kernel"}, {"strides", "stride"}, {"pads", "padding"}, {"dilations", "dilation"}},
           .fits = [](const Node& node) { return !has_overhang(node) && padding_below_kernel(node); }},
      .examples = max_pool_examples(),
  };
}

Expected<std::vector<Type>> infer_pool_with_indices(const InferCall& call) {
  TAPER_ASSIGN(Shape shape, pooled_shape(call));
  return std::vector{Type{call.type(0).dtype, shape}, Type{DType::i64, shape}};
}

// What lies between neighbours along each spatial axis, in the plane.
Shape strides_in_plane(const Shape& sizes) {
  Shape strides(sizes.size(), Dim(1));
  for (std::size_t axis = sizes.size() - 1; axis-- > 0;) strides[axis] = strides[axis + 1] * sizes[axis + 1];
  return strides;
}

Value* size_value(Builder& build, const Dim& size) {
  const auto number = size.constant();
  return number ? build.constant(tensor_i64({1}, Integers{*number}))
                : build("sizes", {}, {{"sizes", Shape{size}}, {"dtype", DType::i64}});
}

// The sum over axes of what a table says for each position along it, times the axis' stride.
template <class AxisValue>
Value* position_in_plane(Builder& build, const Shape& strides, AxisValue along) {
  Value* sum = nullptr;
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    Value* part = along(axis);
    if (!strides[axis].is(1)) part = build("mul", {part, size_value(build, strides[axis])});
    sum = sum == nullptr ? part : build("add", {sum, part});
  }
  return sum;
}

// Positions by arithmetic on whole results: of the first tap of each window that holds its largest.
std::vector<Value*> expand_with_indices(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* values = build("max_pool", {operands[0]}, node.attrs);
  const Windows windows = accepted_windows(node.attrs, node.attrs.integers("kernel"));
  const Shape counts = spatial_sizes(node.results[0]->type.shape);
  const Shape strides = strides_in_plane(spatial_sizes(node.operands[0]->type.shape));
  const auto numbers = constant_sizes(strides), known_counts = constant_sizes(counts);
  Value* padded = pad_for_windows(build, node, operands[0], windows, std::numeric_limits<float>::lowest()).x;
  std::vector<Value*> taps;
  std::vector<Integers> offsets(windows.axes());  // by axis and tap
  Integers tap(windows.axes(), 0);
  for (std::int64_t k = 0; k < windows.taps(); ++k) {
    Value* entries = padded;
    for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
      const std::int64_t start = tap[axis] * windows.dilation[axis];
      offsets[axis].push_back(start);
      entries = build("slice", {entries},
                      {{"dim", static_cast<std::int64_t>(axis + 2)},
                       {"start", start},
                       {"end", Shape{(counts[axis] - 1) * windows.stride[axis] + (start + 1)}},
                       {"step", windows.stride[axis]}});
    }
    taps.push_back(build("unsqueeze", {entries}, {{"dims", Integers{-1}}}));
    for (std::size_t axis = windows.axes(); axis-- > 0;) {
      if (++tap[axis] < windows.kernel[axis]) break;
      tap[axis] = 0;
    }
  }
  Value* first = build("argmax", {build("concat", taps, {{"dim", std::int64_t{-1}}})}, {{"dim", std::int64_t{-1}}});
  const auto looked_up = [&](const Integers& table) {
    Value* entries = build.constant(tensor_i64({static_cast<std::int64_t>(table.size())}, table));
    return build("gather", {entries, first}, {{"dim", std::int64_t{0}}});
  };
  if (!numbers || !known_counts) {
    const auto corner = [&](std::size_t axis) {
      Shape along(windows.axes(), Dim(1));
      along[axis] = counts[axis];
      Value* steps = build("arange", {},
                           {{"start", Shape{Dim(-windows.before[axis])}},
                            {"step", windows.stride[axis]},
                            {"length", Shape{counts[axis]}},
                            {"dtype", DType::i64}});
      return build("add", {looked_up(offsets[axis]), build("reshape", {steps}, {{"shape", along}})});
    };
    return {values, position_in_plane(build, strides, corner)};
  }
  Integers offset(taps.size(), 0);  // in the plane, by tap
  for (std::size_t axis = 0; axis < windows.axes(); ++axis)
    for (std::size_t k = 0; k < offset.size(); ++k) offset[k] += offsets[axis][k] * (*numbers)[axis];
  Integers corners;  // of windows in the plane
  const std::int64_t count =
      std::accumulate(known_counts->begin(), known_counts->end(), std::int64_t{1}, std::multiplies{});
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, corner = 0;
    for (std::size_t axis = windows.axes(); axis-- > 0;) {
      corner += (rest % (*known_counts)[axis] * windows.stride[axis] - windows.before[axis]) * (*numbers)[axis];
      rest /= (*known_counts)[axis];
    }
    corners.push_back(corner);
  }
  return {values, build("add", {looked_up(offset), build.constant(tensor_i64(*known_counts, corners))})};
}

// ONNX counts positions through the whole tensor.
std::vector<Value*> expand_with_indices_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (has_overhang(node) || !padding_below_kernel(node)) return expand_with_indices(build, node, operands);
  const std::vector<Value*> results = build.call("onnx_max_pool", {operands[0]}, node.attrs);
  Value* size = size_value(build, element_count(spatial_sizes(node.operands[0]->type.shape)));
  return {results[0], build("remainder", {results[1], size})};
}

Op max_pool_with_indices() {
  return {
      .name = "max_pool_with_indices",
      .doc = "`max_pool`, and the position of each largest, counted through the spatial axes of x",
      .operands = {"x"},
      .attrs = pool_attrs(),
      .infer = infer_pool_with_indices,
      .eval = [](const EvalCall& call) { return largest_of_windows(call, false); },
      .expand = expand_with_indices,
      .expand_onnx = expand_with_indices_onnx,
      .examples = max_pool_examples(),
  };
}

Op onnx_max_pool() {
  return {
      .name = "onnx_max_pool",
      .doc = "`max_pool_with_indices`, positions counted through all axes of x, as ONNX does",
      .operands = {"x"},
      .attrs = pool_attrs(),
      .infer = infer_pool_with_indices,
      .eval = [](const EvalCall& call) { return largest_of_windows(call, true); },
      .onnx =
          {.op_type = "MaxPool",
           .inputs = {operand(0)},
           .attrs = {{"kernel_shape", "kernel"}, {"strides", "stride"}, {"pads", "padding"}, {"dilations", "dilation"}},
           .fits = [](const Node& node) { return !has_overhang(node) && padding_below_kernel(node); }},
      .examples = {{{f32({1, 3, 7, 8})}, dilated(example_attrs({3, 3}, {2, 2}, {1, 1, 1, 1}), {1, 1})}},
  };
}

// ------------------------------------------------------------------------------------------------------------ averages

Expected<std::vector<Type>> infer_avg_pool(const InferCall& call) {
  if (call.attrs.integer("divisor") < 0) return fail("divisor is {}", call.attrs.integer("divisor"));
  return infer_pool(call);
}

// What the sum of each window is divided by. Windows are counted up to the end of the padding, not behind it.
std::vector<double> divisors(const Pooling& pooling, bool count_include_pad, std::int64_t divisor) {
  const Grid& grid = pooling.grid;
  std::vector<double> out(static_cast<std::size_t>(grid.out_count()), static_cast<double>(divisor));
  if (divisor > 0) return out;
  if (!count_include_pad) {
    for_each_run(grid, [&](std::int64_t, std::int64_t window, std::int64_t, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) ++out[static_cast<std::size_t>(window + i)];
    });
    return out;
  }
  Integers after(3, 0);
  std::ranges::copy(pooling.windows.after, after.end() - static_cast<std::ptrdiff_t>(pooling.windows.axes()));
  for (std::size_t i = 0; i < out.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    out[i] = 1;
    for (std::size_t axis = 3; axis-- > 0;) {
      const std::int64_t start = rest % grid.out[axis] * grid.stride[axis] - grid.before[axis];
      rest /= grid.out[axis];
      out[i] *= static_cast<double>(std::min(start + grid.kernel[axis], grid.in[axis] + after[axis]) - start);
    }
  }
  return out;
}

Expected<std::vector<Array>> eval_avg_pool(const EvalCall& call) {
  TAPER_ASSIGN(const Pooling pooling, pooling_of(call));
  const Grid& grid = pooling.grid;
  Array y = make_array(call.operand(0).dtype, pooling.shape);
  const std::vector<double> divisor =
      divisors(pooling, call.attrs.flag("count_include_pad"), call.attrs.integer("divisor"));
  if (std::ranges::find(divisor, 0) != divisor.end()) return fail("a window of the padding alone");
  for (std::int64_t plane = 0; plane < pooling.planes; ++plane) {
    const double* x = call.operand(0).values.data() + plane * grid.in_count();
    double* sums = y.values.data() + plane * grid.out_count();
    for_each_run(grid, [&](std::int64_t, std::int64_t window, std::int64_t at, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) sums[window + i] += x[at + i * grid.stride[2]];
    });
    for (std::size_t i = 0; i < divisor.size(); ++i) sums[i] /= divisor[i];
  }
  return std::vector{std::move(y)};
}

// Sums in a pool without padding, then what they are divided by.
std::vector<Value*> expand_avg_pool(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Windows windows = accepted_windows(node.attrs, node.attrs.integers("kernel"));
  const bool include_pad = node.attrs.flag("count_include_pad");
  const std::int64_t divisor = node.attrs.integer("divisor");
  const Shape& shape = node.results[0]->type.shape;
  const auto taps = static_cast<double>(windows.taps());
  Attrs plain = without_padding(node.attrs);
  plain.set("count_include_pad", true);
  plain.set("divisor", std::int64_t{0});
  const Padded padded = pad_for_windows(build, node, operands[0], windows, 0);
  Value* y = build("avg_pool", {padded.x}, plain);
  if (padded.cut) y = cut_to(build, y, shape);
  if (divisor > 0) return {build("mul", {y, build.scalar(taps / static_cast<double>(divisor))})};
  const auto sizes = constant_sizes(spatial_sizes(node.operands[0]->type.shape));
  const auto counts = constant_sizes(spatial_sizes(shape));
  if (sizes && counts) {
    const Pooling pooling{windows, {}, grid_of(*sizes, *counts, windows), 1};
    std::vector<float> factors;
    for (const double count : divisors(pooling, include_pad, 0)) factors.push_back(static_cast<float>(taps / count));
    if (std::ranges::all_of(factors, [](float factor) { return factor == 1; })) return {y};
    return {build("mul", {y, build.constant(tensor_f32(*counts, factors), "shares")})};
  }
  if (include_pad && !has_overhang(node)) return {y};
  // The share of elements in each window: the same pool over ones.
  Value* plane = operands[0];
  for (const std::int64_t dim : {0, 1}) plane = build("slice", {plane}, {{"dim", dim}, {"end", Shape{1}}});
  Value* ones = build("add", {build("zeros_like", {plane}), build.scalar(1)});
  if (include_pad) ones = pad_spatial(build, ones, windows.before, windows.after, 1);
  Windows rest = windows;
  if (include_pad) rest.before = rest.after = Integers(windows.axes(), 0);
  Value* shares = build("avg_pool", {pad_for_windows(build, node, ones, rest, 0).x}, plain);
  if (padded.cut) {
    Shape cut = shape;
    cut[0] = cut[1] = 1;
    shares = cut_to(build, shares, cut);
  }
  return {build("div", {y, shares})};
}

// Without padding there is nothing to say of it; with SAME padding operators leave it out of the mean.
std::vector<Value*> expand_avg_pool_last(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Windows windows = accepted_windows(node.attrs, node.attrs.integers("kernel"));
  const bool padded = std::ranges::max(node.attrs.integers("padding")) > 0;
  const bool same = !node.attrs.flag("count_include_pad") &&
                    pads_as_same(spatial_sizes(node.operands[0]->type.shape), windows) && windows.axes() < 3;
  if (node.attrs.integer("divisor") == 0 && !has_overhang(node) && (!padded || same))
    return expand_pool(build, node, operands[0], "avg_pool_nhwc", 0);
  return expand_avg_pool(build, node, operands);
}

Op avg_pool() {
  std::vector<AttrSpec> attrs = pool_attrs();
  std::erase_if(attrs, [](const AttrSpec& attr) { return attr.name == "dilation"; });
  attrs.push_back({"count_include_pad", AttrKind::flag, true});
  attrs.push_back({"divisor", AttrKind::integer, std::int64_t{0}});
  const auto with = [](Attrs all, bool count_include_pad, std::int64_t divisor) {
    all.set("count_include_pad", count_include_pad);
    all.set("divisor", divisor);
    return all;
  };
  return {
      .name = "avg_pool",
      .doc =
          "the mean of each window of x [N, C, *S], of its elements and, with count_include_pad, zeros of the "
          "padding; or the sum by `divisor`, if that isn't 0",
      .operands = {"x"},
      .attrs = std::move(attrs),
      .infer = infer_avg_pool,
      .eval = eval_avg_pool,
      .expand_onnx = expand_avg_pool,
      .expand_tflite = expand_avg_pool_last,
      .expand_tensorflow = expand_avg_pool_last,
      .onnx = {.op_type = "AveragePool",
               .inputs = {operand(0)},
               .attrs = {{"kernel_shape", "kernel"},
                         {"strides", "stride"},
                         {"pads", "padding"},
                         {"count_include_pad", "count_include_pad"}},
               .fits =
                   [](const Node& node) {
                     return !has_overhang(node) && padding_below_kernel(node) && node.attrs.integer("divisor") == 0;
                   }},
      .examples = {{{f32({2, 3, 8})}, with(example_attrs({3}, {2}, {1, 1}), true, 0)},
                   {{f32({1, 3, 7, 8})}, with(example_attrs({3, 3}, {2, 2}, {1, 1, 1, 1}), false, 0)},
                   {{f32({1, 2, 6, 7})}, with(example_attrs({3, 2}, {2, 2}, {1, 0, 1, 0}, true), true, 0)},
                   {{f32({1, 2, 6, 7})}, with(example_attrs({3, 3}, {2, 2}, {1, 1, 1, 1}, true), false, 0)},
                   {{f32({1, 2, 6, 6})}, with(example_attrs({2, 2}, {2, 2}, {0, 0, 0, 0}), true, 3)},
                   {{f32({1, 2, 4, 6, 5})}, with(example_attrs({2, 2, 2}, {2, 2, 2}, {0, 0, 0, 0, 0, 0}), true, 0)}},
  };
}

}  // namespace

std::vector<Op> pooling_ops() {
  return {max_pool(), max_pool_with_indices(), onnx_max_pool(), avg_pool()};
}

}  // namespace taper
