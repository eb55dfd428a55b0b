// Rows with their channels last in those with channels first: how quantised graphs of TFLite become ONNX.
#include "ops/channels_last.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

Integers inner(const Integers& entries) {
  return {entries.begin() + 1, entries.end() - 1};
}

// The attributes of windows in rows with channels first. Sizes that are open don't matter where padding_is_known.
Attrs channels_first_attrs(const Node& node, Integers kernel) {
  Integers sizes;
  for (const Dim& size : node.operands[0]->type.shape) sizes.push_back(size.constant().value_or(1));
  const Windows windows = channels_last_windows(sizes, std::move(kernel), node.attrs);
  Integers padding = windows.before;
  padding.insert(padding.end(), windows.after.begin(), windows.after.end());
  return {{"stride", windows.stride}, {"padding", padding}, {"dilation", windows.dilation}};
}

// By how much the result of a transposed convolution is larger than what its kernel, [O, h, w, C], reaches along a
// spatial axis.
Dim beyond_reach(const Node& node, std::size_t axis) {
  const Dim& entries = node.operands[0]->type.shape[axis + 1];
  const std::int64_t stride = node.attrs.integers("stride")[axis + 1];
  return node.attrs.get<Shape>("size")[axis] - ((entries - 1) * stride + node.operands[1]->type.shape[axis + 1]);
}

Value* activated(Builder& build, const Node& node, Value* y) {
  const std::string& activation = node.attrs.text("activation");
  return activation == "none" ? y : build(activation, {y});
}

}  // namespace

bool padding_is_known(const Node& node, Target) {
  if (element_count(node.operands[0]->type.shape).is(0)) return false;
  if (node.attrs.text("padding") == "VALID") return true;
  const Integers& stride = node.attrs.integers("stride");
  for (std::size_t axis = 1; axis + 1 < stride.size(); ++axis)
    if (stride[axis] != 1 && !node.operands[0]->type.shape[axis].constant()) return false;
  return true;
}

// Weights [O, h, w, C/groups], or [C/groups, h, w, O] where each channel is a group.
std::vector<Value*> expand_conv_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const bool depthwise = node.op == "depthwise_conv_nhwc";
  const Shape& weight = node.operands[1]->type.shape;
  const std::int64_t channels = node.operands[0]->type.shape.back().constant().value_or(1);
  Attrs attrs = channels_first_attrs(node, {*weight[1].constant(), *weight[2].constant()});
  attrs.set("groups", channels / weight[depthwise ? 0 : 3].constant().value_or(1));
  const Integers order = depthwise ? Integers{3, 0, 1, 2} : Integers{0, 3, 1, 2};
  Value* y = build("conv",
                   {to_channels_first(build, operands[0], 2), build("permute", {operands[1]}, {{"dims", order}}),
                    operands.size() > 2 ? operands[2] : nullptr},
                   attrs);
  return {to_channels_last(build, activated(build, node, y), 2)};
}

// Weights [d, h, w, C/groups, O].
std::vector<Value*> expand_conv3d_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& weight = node.operands[1]->type.shape;
  Attrs attrs = channels_first_attrs(node, {*weight[0].constant(), *weight[1].constant(), *weight[2].constant()});
  attrs.set("groups", node.operands[0]->type.shape.back().constant().value_or(1) / weight[3].constant().value_or(1));
  Value* turned = build("permute", {operands[1]}, {{"dims", Integers{4, 3, 0, 1, 2}}});
  Value* bias = operands.size() > 2 ? operands[2] : nullptr;
  Value* y = build("conv", {to_channels_first(build, operands[0], 3), turned, bias}, attrs);
  return {to_channels_last(build, activated(build, node, y), 3)};
}

bool transposed_padding_is_known(const Node& node, Target) {
  return beyond_reach(node, 0).constant() && beyond_reach(node, 1).constant();
}

// Weights [O, h, w, C].
std::vector<Value*> expand_transpose_conv_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const bool is_same = node.attrs.text("padding") == "SAME";
  Integers padding(4), output_padding(2);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t beyond = beyond_reach(node, axis).constant().value_or(0);
    output_padding[axis] = std::max<std::int64_t>(beyond, 0);
    padding[axis] = is_same ? std::max<std::int64_t>(-beyond, 0) / 2 : 0;
    padding[axis + 2] = std::max<std::int64_t>(-beyond, 0) - padding[axis];
  }
  const Attrs attrs = {{"stride", inner(node.attrs.integers("stride"))},
                       {"padding", padding},
                       {"output_padding", output_padding},
                       {"dilation", Integers{1, 1}}};
  Value* turned = build("permute", {operands[1]}, {{"dims", Integers{3, 0, 1, 2}}});
  Value* bias = operands.size() > 3 ? operands[3] : nullptr;
  Value* y = build("conv_transpose", {to_channels_first(build, operands[0], 2), turned, bias}, attrs);
  return {to_channels_last(build, activated(build, node, y), 2)};
}

std::vector<Value*> expand_pool_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Integers kernel = inner(node.attrs.integers("kernel"));
  const Attrs windows = channels_first_attrs(node, kernel);
  Attrs attrs = {{"kernel", kernel}, {"stride", *windows.find("stride")}, {"padding", *windows.find("padding")}};
  const bool is_mean = node.op == "avg_pool_nhwc";
  if (is_mean)
    attrs.set("count_include_pad", false);
  else
    attrs.set("dilation", *windows.find("dilation"));
  Value* x = to_channels_first(build, operands[0], 2);
  return {to_channels_last(build, build(is_mean ? "avg_pool" : "max_pool", {x}, attrs), 2)};
}

std::vector<Value*> expand_blocks_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const bool to_space = node.op == "depth_to_space_nhwc";
  Value* x = to_channels_first(build, operands[0], 2);
  x = build(to_space ? "depth_to_space" : "space_to_depth", {x}, {{"block", node.attrs.integer("block")}});
  return {to_channels_last(build, x, 2)};
}

}  // namespace taper
