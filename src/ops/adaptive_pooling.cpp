// Pools into a given number of bins per spatial axis, channels first as in PyTorch.
#include <cmath>
#include <limits>

#include "ops/families.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// Entry i of `count` is made of entries first <= j < last of an axis of size `size`.
constexpr std::int64_t kMostBins = 1 << 16;
struct Bin {
  std::int64_t first, last;
};
Bin bin_of(std::int64_t i, std::int64_t count, std::int64_t size) {
  return {i * size / count, ((i + 1) * size + count - 1) / count};
}

Expected<std::vector<Type>> infer_adaptive(const InferCall& call) {
  TAPER_TRY(check_channels_first(call.type(0)));
  const Shape& x = call.shape(0);
  const Shape& sizes = call.attrs.get<Shape>("sizes");
  if (sizes.size() != x.size() - 2) return fail("sizes {} for x of shape {}", shape_text(sizes), shape_text(x));
  Shape shape = {x[0], x[1]};
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const std::int64_t count = sizes[axis].constant().value_or(1);
    if (sizes[axis].overflowed() || count < 1 || count > kMostBins || x[axis + 2].is(0))
      return fail("{} bins of an axis of size {}", sizes[axis].text(), x[axis + 2].text());
    shape.push_back(sizes[axis]);
  }
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

// Axis by axis: means of rectangles are means of means, and so are the largest.
template <bool is_mean>
Expected<std::vector<Array>> eval_adaptive(const EvalCall& call) {
  Array x = call.operand(0);
  TAPER_ASSIGN(const auto sizes, evaluate(call.attrs.get<Shape>("sizes"), call.bindings));
  for (std::size_t axis = 2; axis < x.shape.size(); ++axis) {
    const AxisView view = axis_view(x.shape, axis);
    const std::int64_t count = sizes[axis - 2];
    if (view.size == 0 || count < 1 || count > kMostBins)
      return fail("{} bins of an axis of size {}", count, view.size);
    std::vector<std::int64_t> shape = x.shape;
    shape[axis] = count;
    Array y = make_array(x.dtype, shape);
    for (std::int64_t o = 0; o < view.outer; ++o)
      for (std::int64_t i = 0; i < count; ++i) {
        const auto [first, last] = bin_of(i, count, view.size);
        for (std::int64_t k = 0; k < view.inner; ++k) {
          double total = is_mean ? 0 : -std::numeric_limits<double>::infinity();
          for (std::int64_t j = first; j < last; ++j) {
            const double entry = x.values[static_cast<std::size_t>((o * view.size + j) * view.inner + k)];
            total = is_mean ? total + entry : (std::isnan(total) || total > entry ? total : entry);
          }
          y.values[static_cast<std::size_t>((o * count + i) * view.inner + k)] =
              is_mean ? total / static_cast<double>(last - first) : total;
        }
      }
    x = std::move(y);
  }
  return std::vector{std::move(x)};
}

// The largest of bins are found bin by bin, the means of any number of them in one product.
bool adaptive_max_expands(const Node& node, Target) {
  constexpr std::int64_t kMostSlices = 256;
  const Shape& sizes = node.attrs.get<Shape>("sizes");
  const Shape spatial = spatial_sizes(node.operands[0]->type.shape);
  for (std::size_t axis = 0; axis < sizes.size(); ++axis)
    if (spatial[axis] != sizes[axis] && sizes[axis].constant().value_or(kMostSlices + 1) > kMostSlices &&
        !(spatial[axis].constant() && sizes[axis].constant()))
      return false;
  return true;
}

// The axes whose bins are not known to be of one size, after what the others need has been built: a reduction of whole
// axes, or a pool with equal windows.
struct Remaining {
  Value* x = nullptr;
  std::vector<std::size_t> axes;
};
Remaining pool_equal_bins(Builder& build, const Node& node, Value* x, std::string_view reduction,
                          std::string_view pool) {
  const Shape& sizes = node.attrs.get<Shape>("sizes");
  const Shape spatial = spatial_sizes(node.operands[0]->type.shape);
  Integers whole, kernel;
  Remaining rest;
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const auto each = divide_exactly(spatial[axis], sizes[axis]);
    const auto size = each ? each->constant() : std::nullopt;
    kernel.push_back(size.value_or(1));
    if (sizes[axis].is(1))
      whole.push_back(static_cast<std::int64_t>(axis + 2));
    else if (!size)
      rest.axes.push_back(axis + 2);
  }
  if (whole.size() == sizes.size()) return {build(reduction, {x}, {{"dims", whole}, {"keepdim", true}}), {}};
  // One pool takes all axes that it can, and whole axes too where their size is known.
  for (std::size_t axis = 0; axis < sizes.size(); ++axis)
    if (sizes[axis].is(1) && !spatial[axis].constant())
      x = build(reduction, {x}, {{"dims", Integers{static_cast<std::int64_t>(axis + 2)}}, {"keepdim", true}});
  if (std::ranges::any_of(kernel, [](std::int64_t size) { return size > 1; })) {
    Attrs attrs = {{"kernel", kernel}, {"stride", kernel}, {"padding", Integers(2 * kernel.size(), 0)}};
    if (pool == "max_pool") attrs.set("dilation", Integers(kernel.size(), 1));
    x = build(pool, {x}, attrs);
  }
  rest.x = x;
  return rest;
}

Tensor shares_of_bins(std::int64_t count, std::int64_t size) {
  std::vector<float> shares(static_cast<std::size_t>(count * size), 0);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto [first, last] = bin_of(i, count, size);
    for (std::int64_t j = first; j < last; ++j)
      shares[static_cast<std::size_t>(i * size + j)] = 1 / static_cast<float>(last - first);
  }
  return tensor_f32({count, size}, shares);
}

// The same matrix of sizes that are open: entry j is in bin i if first <= j < last.
Value* shares_of_open_bins(Builder& build, const Dim& count, const Dim& size) {
  const auto integers = [&](const Dim& length) {
    return build("arange", {}, {{"start", Shape{0}}, {"length", Shape{length}}, {"dtype", DType::i32}});
  };
  const auto integer = [&](const Dim& value) -> Value* {
    if (const auto number = value.constant()) return build.scalar_i32(*number);
    return build("squeeze", {build("sizes", {}, {{"sizes", Shape{value}}, {"dtype", DType::i32}})},
                 {{"dims", Integers{0}}});
  };
  Value* divisor = integer(count);
  Value* start = build("mul", {integers(count), integer(size)});
  Value* end = build("add", {start, integer(size + count - 1)});
  const auto bound = [&](Value* at) {
    return build("unsqueeze", {build("floor_divide", {at, divisor})}, {{"dims", Integers{1}}});
  };
  Value* first = bound(start);
  Value* last = bound(end);
  Value* entry = integers(size);
  Value* inside = build("logical_and", {build("greater_equal", {entry, first}), build("less", {entry, last})});
  const auto real = [&](Value* x) { return build("cast", {x}, {{"to", DType::f32}}); };
  return build("div", {real(inside), real(build("sub", {last, first}))});
}

// Bins of several sizes: a product with the matrix of shares.
std::vector<Value*> expand_adaptive_avg(Builder& build, const Node& node, std::span<Value* const> operands) {
  Remaining rest = pool_equal_bins(build, node, operands[0], "mean", "avg_pool");
  const std::size_t rank = node.operands[0]->type.shape.size();
  for (const std::size_t axis : rest.axes) {
    const Dim& size = node.operands[0]->type.shape[axis];
    const Dim& count = node.attrs.get<Shape>("sizes")[axis - 2];
    if (size.constant() && count.constant())
      rest.x = multiply_along_axis(build, rest.x, axis, rank, shares_of_bins(*count.constant(), *size.constant()));
    else
      rest.x = multiply_along_axis(build, rest.x, axis, rank, shares_of_open_bins(build, count, size));
  }
  return {rest.x};
}

// Entries first <= i < last of an axis, where both may be symbols.
Value* entries_between(Builder& build, Value* x, std::int64_t dim, const Dim& first, const Dim& last) {
  if (const auto start = first.constant())
    return build("slice", {x}, {{"dim", dim}, {"start", *start}, {"end", Shape{last}}});
  Value* start =
      build("squeeze", {build("sizes", {}, {{"sizes", Shape{first}}, {"dtype", DType::i32}})}, {{"dims", Integers{0}}});
  return build("dynamic_slice", {x, start}, {{"dim", dim}, {"length", Shape{last - first}}});
}

std::vector<Value*> expand_adaptive_max(Builder& build, const Node& node, std::span<Value* const> operands) {
  Remaining rest = pool_equal_bins(build, node, operands[0], "amax", "max_pool");
  for (const std::size_t axis : rest.axes) {
    const Dim& size = node.operands[0]->type.shape[axis];
    const std::int64_t count = *node.attrs.get<Shape>("sizes")[axis - 2].constant();
    const auto dim = static_cast<std::int64_t>(axis);
    std::vector<Value*> bins;
    for (std::int64_t i = 0; i < count; ++i) {
      const Dim first = floor_divide(size * i, count), last = ceil_divide(size * (i + 1), count);
      Value* bin = entries_between(build, rest.x, dim, first, last);
      bins.push_back(build("amax", {bin}, {{"dims", Integers{dim}}, {"keepdim", true}}));
    }
    rest.x = build("concat", bins, {{"dim", dim}});
  }
  return {rest.x};
}

Op adaptive(std::string_view name, std::string_view doc, EvalFn eval, ExpandFn expand,
            bool (*expands_if)(const Node&, Target) = nullptr) {
  return {
      .name = name,
      .doc = doc,
      .operands = {"x"},
      .attrs = {{"sizes", AttrKind::shape}},
      .infer = infer_adaptive,
      .eval = eval,
      .expand = expand,
      .expands_if = expands_if,
      .examples = {{{f32({2, 3, 8})}, {{"sizes", Shape{4}}}},
                   {{f32({1, 3, 6, 8})}, {{"sizes", Shape{1, 1}}}},
                   {{f32({1, 2, 7, 8})}, {{"sizes", Shape{3, 4}}}},
                   {{f32({1, 2, 4, 5, 6})}, {{"sizes", Shape{2, 3, 1}}}}},
  };
}

}  // namespace

std::vector<Op> adaptive_pooling_ops() {
  return {adaptive("adaptive_avg_pool",
                   "the means of `sizes` bins per spatial axis: entries floor(i S / n) to ceil((i + 1) S / n)",
                   eval_adaptive<true>, expand_adaptive_avg),
          adaptive("adaptive_max_pool",
                   "the largest of `sizes` bins per spatial axis: entries floor(i S / n) to ceil((i + 1) S / n)",
                   eval_adaptive<false>, expand_adaptive_max, adaptive_max_expands)};
}

}  // namespace taper
