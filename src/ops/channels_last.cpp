#include "ops/channels_last.h"

#include <numeric>

#include "ops/families.h"
#include "ops/moves.h"
#include "ops/rules.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

Integers order_to_last(std::size_t axes) {
  Integers dims = {0};
  for (std::size_t axis = 0; axis < axes; ++axis) dims.push_back(static_cast<std::int64_t>(axis + 2));
  dims.push_back(1);
  return dims;
}
Integers order_to_first(std::size_t axes) {
  Integers dims = {0, static_cast<std::int64_t>(axes + 1)};
  for (std::size_t axis = 0; axis < axes; ++axis) dims.push_back(static_cast<std::int64_t>(axis + 1));
  return dims;
}

Shape spatial_of_last(const Shape& x) {
  return {x.begin() + 1, x.end() - 1};
}

// The padding that SAME gives an axis.
struct SamePadding {
  std::int64_t before, after;
};
SamePadding same_padding(std::int64_t size, std::int64_t stride, std::int64_t extent) {
  const std::int64_t count = (size + stride - 1) / stride;
  const std::int64_t total = std::max<std::int64_t>(0, (count - 1) * stride + extent - size);
  return {total / 2, total - total / 2};
}

}  // namespace

// ------------------------------------------------------------------------------------------------- channels and axes

Value* to_channels_last(Builder& build, Value* x, std::size_t axes) {
  Value* y = build("permute", {x}, {{"dims", order_to_last(axes)}});
  return axes == 1 ? build("unsqueeze", {y}, {{"dims", Integers{1}}}) : y;
}

Value* to_channels_first(Builder& build, Value* y, std::size_t axes) {
  if (axes == 1) y = build("squeeze", {y}, {{"dims", Integers{1}}});
  return build("permute", {y}, {{"dims", order_to_first(axes)}});
}

Array first_to_last(const Array& x) {
  return permute_array(x, order_to_last(x.shape.size() - 2));
}
Array last_to_first(const Array& x) {
  return permute_array(x, order_to_first(x.shape.size() - 2));
}

// ------------------------------------------------------------------------------------------------------------- windows

Windows over_two_axes(Windows windows) {
  if (windows.axes() != 1) return windows;
  windows.kernel.insert(windows.kernel.begin(), 1);
  windows.stride.insert(windows.stride.begin(), windows.stride[0]);  // operators may want equal strides
  windows.before.insert(windows.before.begin(), 0);
  windows.after.insert(windows.after.begin(), 0);
  windows.dilation.insert(windows.dilation.begin(), 1);
  return windows;
}

bool pads_as_same(const Shape& spatial, const Windows& windows) {
  for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
    const std::int64_t stride = windows.stride[axis], extent = windows.extent(axis);
    // With a stride of 1 the size does not matter.
    const auto size = stride == 1 ? std::optional(std::max<std::int64_t>(1, extent)) : spatial[axis].constant();
    if (!size) return false;
    const auto [before, after] = same_padding(*size, stride, extent);
    // Padding at the end beyond what windows reach changes nothing, as long as it makes no window more.
    const std::int64_t count = (*size + windows.before[axis] + windows.after[axis] - extent) / stride + 1;
    if (before != windows.before[axis] || after > windows.after[axis] || count != (*size + stride - 1) / stride)
      return false;
    if (stride == 1 && after != windows.after[axis]) return false;
  }
  return true;
}

AppliedPadding apply_padding(Builder& build, Value* x, const Shape& spatial, const Windows& windows, double value) {
  const auto none = [](const Integers& amounts) { return std::ranges::all_of(amounts, [](auto n) { return n == 0; }); };
  if (none(windows.before) && none(windows.after)) return {x, "VALID"};
  if (pads_as_same(spatial, windows)) return {x, "SAME"};
  Integers before = windows.before, after = windows.after;
  for (Integers* amounts : {&before, &after}) {
    amounts->insert(amounts->begin(), 0);
    amounts->push_back(0);
  }
  return {build("pad", {x}, {{"before", before}, {"after", after}, {"value", value}}), "VALID"};
}

Attrs channels_last_attrs(const Windows& windows, const std::string& padding, bool with_dilation) {
  const auto all_axes = [](Integers entries) {
    entries.insert(entries.begin(), 1);
    entries.push_back(1);
    return entries;
  };
  Attrs attrs = {{"stride", all_axes(windows.stride)}, {"padding", padding}};
  if (with_dilation) attrs.set("dilation", all_axes(windows.dilation));
  return attrs;
}

namespace {

Integers inner(const Integers& entries) {
  return {entries.begin() + 1, entries.end() - 1};
}

Windows inner_windows(Integers kernel, const Attrs& attrs) {
  const std::size_t axes = kernel.size();
  Windows windows{std::move(kernel), inner(attrs.integers("stride")), Integers(axes, 0), Integers(axes, 0),
                  Integers(axes, 1)};
  if (attrs.find("dilation") != nullptr) windows.dilation = inner(attrs.integers("dilation"));
  return windows;
}

Status check_window_list(const Attrs& attrs, std::string_view name, std::size_t rank) {
  constexpr std::int64_t kLargest = (std::int64_t{1} << 31) - 1;
  if (attrs.find(name) == nullptr) return {};
  const Integers& entries = attrs.integers(name);
  if (entries.size() != rank || entries.front() != 1 || entries.back() != 1 || std::ranges::min(entries) < 1 ||
      std::ranges::max(entries) > kLargest)
    return fail("{} is [{}], expected {} entries, the outer ones 1", name, fmt::join(entries, ", "), rank);
  return {};
}

}  // namespace

Expected<Shape> channels_last_counts(const Shape& x, const Integers& kernel, const Attrs& attrs) {
  if (kernel.size() + 2 != x.size()) return fail("x has shape {} for {} axes", shape_text(x), kernel.size());
  for (const std::string_view name : {"stride", "dilation", "kernel"})
    TAPER_TRY(check_window_list(attrs, name, x.size()));
  if (std::ranges::min(kernel) < 1) return fail("a window of size {}", std::ranges::min(kernel));
  const Windows windows = inner_windows(kernel, attrs);
  const std::string& padding = attrs.text("padding");
  if (padding == "VALID") return window_counts(spatial_of_last(x), windows);
  if (padding != "SAME") return fail("padding is '{}', expected SAME or VALID", padding);
  Shape counts;
  for (std::size_t axis = 0; axis < kernel.size(); ++axis)
    counts.push_back(ceil_divide(x[axis + 1], windows.stride[axis]));
  return counts;
}

Windows channels_last_windows(std::span<const std::int64_t> x, Integers kernel, const Attrs& attrs) {
  Windows windows = inner_windows(std::move(kernel), attrs);
  if (attrs.text("padding") == "VALID") return windows;
  for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
    const auto [before, after] = same_padding(x[axis + 1], windows.stride[axis], windows.extent(axis));
    windows.before[axis] = before;
    windows.after[axis] = after;
  }
  return windows;
}

}  // namespace taper
