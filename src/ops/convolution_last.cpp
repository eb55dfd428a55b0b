// Convolutions with their channels last, as TFLite and TensorFlow have them, and how ours become those.
#include <numeric>

#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/moves.h"
#include "ops/rules.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// ------------------------------------------------------------------------------------------------------ layouts of
// weights

// How a row's weight is arranged.
struct WeightLayout {
  Integers to_ours;     // the order of its axes in which it is [O, I, *K]; of a transposed one [I, O, *K]
  Integers kernel;      // its axes that are the kernel's
  std::size_t outputs;  // the axis of output channels
  std::size_t inputs;
};
const WeightLayout kOhwi = {{0, 3, 1, 2}, {1, 2}, 0, 3};            // TFLite
const WeightLayout kOneHwo = {{3, 0, 1, 2}, {1, 2}, 3, 0};          // TFLite, a group per channel
const WeightLayout kHwio = {{3, 2, 0, 1}, {0, 1}, 3, 2};            // TensorFlow
const WeightLayout kDhwio = {{4, 3, 0, 1, 2}, {0, 1, 2}, 4, 3};     // both
const WeightLayout kTransposedOhwi = {{3, 0, 1, 2}, {1, 2}, 0, 3};  // TFLite
const WeightLayout kTransposedHwoi = {{3, 2, 0, 1}, {0, 1}, 2, 3};  // TensorFlow

Integers kernel_of(const std::vector<std::int64_t>& weight, const WeightLayout& layout) {
  Integers kernel;
  for (const std::int64_t axis : layout.kernel) kernel.push_back(weight[static_cast<std::size_t>(axis)]);
  return kernel;
}

// The inverse of an order of axes.
Integers inverse(const Integers& dims) {
  Integers out(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) out[static_cast<std::size_t>(dims[i])] = static_cast<std::int64_t>(i);
  return out;
}

// ---------------------------------------------------------------------------------------------------------------- rows

Expected<Integers> check_conv_operands(const InferCall& call, const WeightLayout& layout) {
  const Shape& x = call.shape(0);
  const auto weight = constant_sizes(call.shape(1));
  if (x.size() != layout.to_ours.size() || !weight || weight->size() != x.size() || !is_floating(call.type(0).dtype) ||
      call.type(1).dtype != call.type(0).dtype)
    return fail("x is {} and weight {}, expected {} axes each", type_text(call.type(0)), type_text(call.type(1)),
                layout.to_ours.size());
  return *weight;
}

Status check_conv_bias(const InferCall& call, std::size_t i, std::int64_t outputs) {
  if (call.has(i) && call.type(i) != Type{call.type(0).dtype, Shape{Dim(outputs)}})
    return fail("bias is {}, expected {} numbers", type_text(call.type(i)), outputs);
  return {};
}

template <const WeightLayout& layout>
Expected<std::vector<Type>> infer_conv_last(const InferCall& call) {
  TAPER_ASSIGN(const Integers weight, check_conv_operands(call, layout));
  const Shape& x = call.shape(0);
  const std::int64_t inputs = weight[layout.inputs], outputs = weight[layout.outputs];
  const auto channels = x.back().constant();
  if (!channels || inputs < 1 || *channels % inputs != 0 || *channels == 0 || outputs % (*channels / inputs) != 0)
    return fail("x has {} channels, weight {}", x.back().text(), shape_text(call.shape(1)));
  TAPER_TRY(check_conv_bias(call, 2, outputs));
  TAPER_ASSIGN(Shape counts, channels_last_counts(x, kernel_of(weight, layout), call.attrs));
  counts.insert(counts.begin(), x[0]);
  counts.emplace_back(outputs);
  return std::vector{Type{call.type(0).dtype, std::move(counts)}};
}

template <const WeightLayout& layout>
Expected<std::vector<Array>> eval_conv_last(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Array weight = permute_array(call.operand(1), layout.to_ours);
  const Windows windows = channels_last_windows(x.shape, kernel_of(call.operand(1).shape, layout), call.attrs);
  Array y = first_to_last(convolve(last_to_first(x), weight, call.has(2) ? &call.operand(2) : nullptr, windows,
                                   x.shape.back() / weight.size(1)));
  if (const Attr* activation = call.attrs.find("activation"))
    for (double& value : y.values) value = activate(std::get<std::string>(*activation), value);
  return std::vector{std::move(y)};
}

std::vector<AttrSpec> conv_last_attrs(bool with_activation, bool with_dilation = true) {
  std::vector<AttrSpec> attrs = {{"stride", AttrKind::integers}, {"padding", AttrKind::text}};
  if (with_dilation) attrs.push_back({"dilation", AttrKind::integers});
  if (with_activation) attrs.push_back(activation_attr());
  return attrs;
}

Attrs example_attrs(Integers stride, std::string padding, Integers dilation) {
  return {{"stride", std::move(stride)}, {"padding", std::move(padding)}, {"dilation", std::move(dilation)}};
}

std::vector<std::pair<std::string_view, std::string_view>> tensorflow_attrs() {
  return {{"strides", "stride"}, {"padding", "padding"}, {"dilations", "dilation"}};
}

// Another number of input channels than x has makes groups, since version 6.
TfliteVersion conv_version(const Node& node) {
  const bool grouped = node.operands[0]->type.shape.back() != node.operands[1]->type.shape.back();
  return grouped ? TfliteVersion{6, "2.9.0"} : TfliteVersion{1, "1.5.0"};
}
TfliteVersion depthwise_version(const Node& node) {
  const Integers& dilation = node.attrs.integers("dilation");
  return std::ranges::max(dilation) > 1 ? TfliteVersion{2, "1.12.0"} : TfliteVersion{1, "1.5.0"};
}

Op conv_nhwc() {
  return {
      .name = "conv_nhwc",
      .doc = "activation(`conv`) of x [N, H, W, C] with weight [O, h, w, C/groups]; padding SAME or VALID",
      .operands = {"x", "weight", "bias?"},
      .attrs = conv_last_attrs(true),
      .infer = infer_conv_last<kOhwi>,
      .eval = eval_conv_last<kOhwi>,
      .expands_if = padding_is_known,
      .expand_onnx = expand_conv_onnx,
      .tflite = {.builtin = tflite::BuiltinOperator::CONV_2D,
                 .since = "1.5.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = window_options<tflite::Conv2DOptionsT>(),
                 .version_for = conv_version,
                 .half_operand = 1},
      .examples = {{{f32({1, 5, 6, 3}), f32({4, 3, 3, 3}), f32({4})},
                    example_attrs({1, 2, 2, 1}, "SAME", {1, 1, 1, 1}),
                    -2,
                    2,
                    1},
                   {{f32({2, 5, 6, 4}), f32({6, 2, 2, 2}), f32({6})},
                    example_attrs({1, 1, 1, 1}, "VALID", {1, 2, 1, 1}),
                    -2,
                    2,
                    1}},
  };
}

Op depthwise_conv_nhwc() {
  return {
      .name = "depthwise_conv_nhwc",
      .doc = "activation(`conv`) of x [N, H, W, C] in C groups with weight [1, h, w, O]; padding SAME or VALID",
      .operands = {"x", "weight", "bias?"},
      .attrs = conv_last_attrs(true),
      .infer = infer_conv_last<kOneHwo>,
      .eval = eval_conv_last<kOneHwo>,
      .expands_if = padding_is_known,
      .expand_onnx = expand_conv_onnx,
      .tflite = {.builtin = tflite::BuiltinOperator::DEPTHWISE_CONV_2D,
                 .since = "1.5.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = window_options<tflite::DepthwiseConv2DOptionsT>(),
                 .version_for = depthwise_version,
                 .half_operand = 1},
      .examples = {{{f32({1, 5, 6, 3}), f32({1, 3, 3, 3}), f32({3})},
                    example_attrs({1, 2, 2, 1}, "SAME", {1, 1, 1, 1}),
                    -2,
                    2,
                    1},
                   {{f32({1, 6, 6, 3}), f32({1, 2, 3, 6}), f32({6})},
                    example_attrs({1, 1, 1, 1}, "VALID", {1, 2, 2, 1}),
                    -2,
                    2,
                    1}},
  };
}

bool has_no_activation_or_bias(const Node& node) {
  return node.attrs.text("activation") == "none" && (node.operands.size() < 3 || node.operands[2] == nullptr) &&
         std::ranges::max(node.attrs.integers("dilation")) == 1;
}

Op conv_ndhwc() {
  return {
      .name = "conv_ndhwc",
      .doc = "activation(`conv`) of x [N, D, H, W, C] with weight [d, h, w, C, O]; padding SAME or VALID",
      .operands = {"x", "weight", "bias?"},
      .attrs = conv_last_attrs(true),
      .infer = infer_conv_last<kDhwio>,
      .eval = eval_conv_last<kDhwio>,
      .expands_if = padding_is_known,
      .expand_onnx = expand_conv3d_onnx,
      .tflite = {.builtin = tflite::BuiltinOperator::CONV_3D,
                 .since = "2.5.0",
                 .inputs = {operand(0), operand(1), operand(2)},
                 .options = window_options<tflite::Conv3DOptionsT>()},
      .tensorflow = {.op = "Conv3D",
                     .inputs = {operand(0), operand(1)},
                     .attrs = tensorflow_attrs(),
                     .fits = has_no_activation_or_bias},
      .examples = {{{f32({1, 3, 4, 5, 2}), f32({2, 2, 3, 2, 3}), f32({3})},
                    example_attrs({1, 1, 2, 1, 1}, "SAME", {1, 1, 1, 1, 1}),
                    -2,
                    2,
                    1}},
  };
}

Op conv_hwio() {
  return {
      .name = "conv_hwio",
      .doc = "`conv` of x [N, H, W, C] with weight [h, w, C/groups, O]; padding SAME or VALID",
      .operands = {"x", "weight"},
      .attrs = conv_last_attrs(false),
      .infer = infer_conv_last<kHwio>,
      .eval = eval_conv_last<kHwio>,
      .tensorflow = {.op = "Conv2D", .inputs = {operand(0), operand(1)}, .attrs = tensorflow_attrs()},
      .examples =
          {{{f32({1, 5, 6, 3}), f32({3, 3, 3, 4})}, example_attrs({1, 2, 2, 1}, "SAME", {1, 1, 1, 1}), -2, 2, 1},
           {{f32({2, 5, 6, 3}), f32({2, 2, 3, 4})}, example_attrs({1, 1, 1, 1}, "VALID", {1, 2, 2, 1}), -2, 2, 1}},
  };
}

Expected<std::vector<Type>> infer_depthwise_hwcm(const InferCall& call) {
  TAPER_ASSIGN(const Integers weight, check_conv_operands(call, kHwio));
  const Shape& x = call.shape(0);
  if (x.back() != Dim(weight[2]) || weight[2] < 1)
    return fail("x has {} channels, weight {}", x.back().text(), shape_text(call.shape(1)));
  TAPER_ASSIGN(Shape counts, channels_last_counts(x, kernel_of(weight, kHwio), call.attrs));
  counts.insert(counts.begin(), x[0]);
  counts.push_back(Dim(weight[2]) * weight[3]);
  return std::vector{Type{call.type(0).dtype, std::move(counts)}};
}

// [h, w, C, M] is [h, w, 1, C M] of a convolution in C groups.
Expected<std::vector<Array>> eval_depthwise_hwcm(const EvalCall& call) {
  Array weight = call.operand(1);
  weight.shape = {weight.size(0), weight.size(1), 1, weight.size(2) * weight.size(3)};
  const Array* const operands[] = {&call.operand(0), &weight};
  return eval_conv_last<kHwio>({operands, call.attrs, call.regions, call.bindings});
}

Op depthwise_conv_hwcm() {
  return {
      .name = "depthwise_conv_hwcm",
      .doc = "`conv` of x [N, H, W, C] in C groups with weight [h, w, C, O/C]; padding SAME or VALID",
      .operands = {"x", "weight"},
      .attrs = conv_last_attrs(false),
      .infer = infer_depthwise_hwcm,
      .eval = eval_depthwise_hwcm,
      .tensorflow = {.op = "DepthwiseConv2dNative",
                     .inputs = {operand(0), operand(1)},
                     .attrs = tensorflow_attrs(),
                     // Its kernel takes one stride for both axes, and no holes.
                     .fits =
                         [](const Node& node) {
                           const Integers& stride = node.attrs.integers("stride");
                           return stride[1] == stride[2] && std::ranges::max(node.attrs.integers("dilation")) == 1;
                         }},
      .examples =
          {{{f32({1, 5, 6, 3}), f32({3, 3, 3, 2})}, example_attrs({1, 2, 2, 1}, "SAME", {1, 1, 1, 1}), -2, 2, 1}},
  };
}

// ---------------------------------------------------------------------------------------------------------- transposed

Status check_sizes_operand(const InferCall& call, std::size_t i) {
  if (call.type(i) != Type{DType::i32, Shape{4}}) return fail("sizes are {}, expected i32[4]", type_text(call.type(i)));
  return {};
}

// x [N, H, W, C] into the spatial sizes `size`: windows over the result that are as many as x has entries.
template <const WeightLayout& layout>
Expected<std::vector<Type>> infer_transposed_last(const InferCall& call) {
  TAPER_ASSIGN(const Integers weight, check_conv_operands(call, layout));
  TAPER_TRY(check_sizes_operand(call, 2));
  const Shape& x = call.shape(0);
  const Shape& size = call.attrs.get<Shape>("size");
  if (x.back() != Dim(weight[layout.inputs]) || size.size() != 2)
    return fail("x {}, weight {} and sizes {}", shape_text(x), shape_text(call.shape(1)), shape_text(size));
  TAPER_TRY(check_conv_bias(call, 3, weight[layout.outputs]));
  const Shape shape = {x[0], size[0], size[1], Dim(weight[layout.outputs])};
  TAPER_ASSIGN(const Shape counts, channels_last_counts(shape, kernel_of(weight, layout), call.attrs));
  for (std::size_t axis = 0; axis < 2; ++axis)
    if ((counts[axis] - x[axis + 1]).constant().value_or(0) != 0)
      return fail("{} windows in the result, x has {} entries", counts[axis].text(), x[axis + 1].text());
  return std::vector{Type{call.type(0).dtype, shape}};
}

template <const WeightLayout& layout>
Expected<std::vector<Array>> eval_transposed_last(const EvalCall& call) {
  const Array& x = call.operand(0);
  TAPER_ASSIGN(const auto size, evaluate(call.attrs.get<Shape>("size"), call.bindings));
  const Array weight = permute_array(call.operand(1), layout.to_ours);
  const std::vector<std::int64_t> shape = {x.size(0), size[0], size[1], weight.size(1)};
  const Windows windows = channels_last_windows(shape, kernel_of(call.operand(1).shape, layout), call.attrs);
  Array y = first_to_last(
      convolve_transposed(last_to_first(x), weight, call.has(3) ? &call.operand(3) : nullptr, windows, 1, size));
  if (const Attr* activation = call.attrs.find("activation"))
    for (double& value : y.values) value = activate(std::get<std::string>(*activation), value);
  return std::vector{std::move(y)};
}

std::vector<AttrSpec> transposed_attrs(bool with_activation) {
  std::vector<AttrSpec> attrs = conv_last_attrs(with_activation, false);
  attrs.push_back({"size", AttrKind::shape});
  return attrs;
}

// The sizes that an operand holds, which the result has.
Status read_transposed_size(std::span<Value* const> operands, Attrs& attrs) {
  return resolve_height_and_width(operands.size() > 2 ? operands[2] : nullptr, 4, 1, "a transposed convolution into",
                                  attrs);
}

Op transpose_conv_nhwc() {
  return {
      .name = "transpose_conv_nhwc",
      .doc =
          "activation(`conv_transpose`) of x [N, H, W, C] with weight [O, h, w, C] into the spatial sizes `size`, "
          "which `sizes` "
          "holds with batch and channels; padding SAME or VALID",
      .operands = {"x", "weight", "sizes", "bias?"},
      .attrs = transposed_attrs(true),
      .infer = infer_transposed_last<kTransposedOhwi>,
      .eval = eval_transposed_last<kTransposedOhwi>,
      .expands_if = transposed_padding_is_known,
      .expand_onnx = expand_transpose_conv_onnx,
      .tflite = {.builtin = tflite::BuiltinOperator::TRANSPOSE_CONV,
                 .since = "2.3.0",
                 .inputs = {operand(2), operand(1), operand(0), operand(3)},
                 .options = window_options<tflite::TransposeConvOptionsT>(),
                 .version_for =
                     [](const Node& node) {
                       const bool activates = node.attrs.text("activation") != "none";
                       const bool bias = node.operands.size() > 3 && node.operands[3] != nullptr;
                       return activates ? TfliteVersion{4, "2.13.0"}
                              : bias    ? TfliteVersion{3, "2.3.0"}
                                        : TfliteVersion{1, "1.9.0"};
                     },
                 .read_operands = read_transposed_size,
                 .half_operand = 1},
  };
}

Op transpose_conv_hwoi() {
  return {
      .name = "transpose_conv_hwoi",
      .doc =
          "`conv_transpose` of x [N, H, W, C] with weight [h, w, O, C] into the spatial sizes `size`, which `sizes` "
          "holds with batch and channels; padding SAME or VALID",
      .operands = {"x", "weight", "sizes"},
      .attrs = transposed_attrs(false),
      .infer = infer_transposed_last<kTransposedHwoi>,
      .eval = eval_transposed_last<kTransposedHwoi>,
      .tensorflow = {.op = "Conv2DBackpropInput",
                     .inputs = {operand(2), operand(1), operand(0)},
                     .attrs = {{"strides", "stride"}, {"padding", "padding"}},
                     .read_operands = read_transposed_size},
  };
}

// ---------------------------------------------------------------------------------------------------------- expansions

bool has_bias(std::span<Value* const> operands) {
  return operands.size() > 2 && operands[2] != nullptr;
}

// A weight [*, *, *K] with `dilation` - 1 zeros between its entries and `extra` behind them. A constant, or what needs
// no change.
Value* spread_weight(Builder& build, Value* weight, const Integers& dilation, const Integers& extra) {
  const auto trivial = [](const Integers& entries, std::int64_t neutral) {
    return std::ranges::all_of(entries, [neutral](std::int64_t entry) { return entry == neutral; });
  };
  if (weight == nullptr || (trivial(dilation, 1) && trivial(extra, 0))) return weight;
  // That of one axis has got another one of size 1.
  const bool moved = constant_of(weight) == nullptr;
  Array array = to_array(*constant_of(moved ? weight->producer->operands[0] : weight));
  array.shape = *constant_sizes(weight->type.shape);
  for (std::size_t axis = 2; axis < array.shape.size(); ++axis) {
    const AxisView view = axis_view(array.shape, axis);
    const std::int64_t step = dilation[axis - 2];
    std::vector<std::int64_t> shape = array.shape;
    shape[axis] = (view.size - 1) * step + 1 + extra[axis - 2];
    Array out = make_array(array.dtype, shape);
    for (std::int64_t o = 0; o < view.outer; ++o)
      for (std::int64_t i = 0; i < view.size; ++i)
        std::copy_n(array.values.data() + (o * view.size + i) * view.inner, view.inner,
                    out.values.data() + (o * shape[axis] + i * step) * view.inner);
    array = std::move(out);
  }
  return build.constant(to_tensor(array), weight->name);
}

// The call once per group of channels, and the results joined.
std::vector<Value*> group_by_group(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::int64_t groups = node.attrs.integer("groups");
  Attrs attrs = node.attrs;
  attrs.set("groups", std::int64_t{1});
  const auto part = [&](Value* value, std::int64_t dim, std::int64_t group) {
    const std::int64_t size = *value->type.shape[static_cast<std::size_t>(dim)].constant() / groups;
    // A constant stays one: holes are written into weights that are.
    if (const Tensor* constant = constant_of(value))
      return build.constant(
          to_tensor(slice_axis(to_array(*constant), static_cast<std::size_t>(dim), group * size, size)), value->name);
    return build("slice", {value}, {{"dim", dim}, {"start", group * size}, {"end", Shape{(group + 1) * size}}});
  };
  std::vector<Value*> parts;
  for (std::int64_t group = 0; group < groups && !build.failed(); ++group)
    parts.push_back(build(node.op,
                          {part(operands[0], 1, group), part(operands[1], 0, group),
                           has_bias(operands) ? part(operands[2], 0, group) : nullptr},
                          attrs));
  return {build("concat", parts, {{"dim", std::int64_t{1}}})};
}

Value* permuted(Builder& build, Value* weight, const Integers& dims) {
  return build("permute", {weight}, {{"dims", dims}});
}

Value* zero_bias(Builder& build, std::int64_t outputs) {
  return build.constant(tensor_f32({outputs}, std::vector<float>(static_cast<std::size_t>(outputs), 0)), "no_bias");
}

// Kernel and bounds of the call, over two axes or three.
struct ConvCall {
  std::size_t axes;
  Windows windows;
  Value* x;       // channels last
  Value* weight;  // [O, C/groups, *K]
  Shape spatial;
  std::int64_t groups, channels, outputs;
};

ConvCall conv_call(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& x = node.operands[0]->type.shape;
  const Shape& weight = node.operands[1]->type.shape;
  Integers kernel;
  for (std::size_t axis = 2; axis < weight.size(); ++axis) kernel.push_back(*weight[axis].constant());
  ConvCall call{x.size() - 2,
                over_two_axes(accepted_windows(node.attrs, kernel)),
                to_channels_last(build, operands[0], x.size() - 2),
                operands[1],
                spatial_sizes(x),
                node.attrs.integer("groups"),
                x[1].constant().value_or(0),
                0};
  call.outputs = *weight[0].constant();
  if (call.axes == 1) {
    call.weight = build("unsqueeze", {call.weight}, {{"dims", Integers{2}}});
    call.spatial.insert(call.spatial.begin(), Dim(1));
  }
  return call;
}

}  // namespace

bool conv_expands(const Node& node, Target target) {
  if (target == Target::onnx) return false;
  // Holes are written into the weight where an operator has none.
  const bool holes = std::ranges::max(node.attrs.integers("dilation")) > 1;
  const bool needs_constant = holes && target == Target::tensorflow &&
                              (node.attrs.integer("groups") > 1 || node.operands[0]->type.shape.size() == 5);
  return node.operands[0]->type.dtype == DType::f32 && (!needs_constant || constant_of(node.operands[1]) != nullptr);
}

std::vector<Value*> expand_conv_tflite(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (node.operands[0]->type.shape.size() == 5 && node.attrs.integer("groups") > 1)
    return group_by_group(build, node, operands);
  const ConvCall call = conv_call(build, node, operands);
  const auto [x, padding] = apply_padding(build, call.x, call.spatial, call.windows, 0);
  Value* bias = has_bias(operands) ? operands[2] : zero_bias(build, call.outputs);
  const Attrs attrs = channels_last_attrs(call.windows, padding, true);
  Value* y = nullptr;
  if (call.axes == 3)
    y = build("conv_ndhwc", {x, permuted(build, call.weight, inverse(kDhwio.to_ours)), bias}, attrs);
  else if (call.groups > 1 && call.groups == call.channels)
    y = build("depthwise_conv_nhwc", {x, permuted(build, call.weight, inverse(kOneHwo.to_ours)), bias}, attrs);
  else
    y = build("conv_nhwc", {x, permuted(build, call.weight, inverse(kOhwi.to_ours)), bias}, attrs);
  return {to_channels_first(build, y, call.axes)};
}

std::vector<Value*> expand_conv_tensorflow(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (node.operands[0]->type.shape.size() == 5 && node.attrs.integer("groups") > 1)
    return group_by_group(build, node, operands);
  ConvCall call = conv_call(build, node, operands);
  const auto [x, padding] = apply_padding(build, call.x, call.spatial, call.windows, 0);
  if (call.groups > 1 || call.axes == 3) {
    call.weight = spread_weight(build, call.weight, call.windows.dilation, Integers(call.windows.axes(), 0));
    for (std::size_t axis = 0; axis < call.windows.axes(); ++axis) {
      call.windows.kernel[axis] = call.windows.extent(axis);
      call.windows.dilation[axis] = 1;
    }
  }
  const Attrs attrs = channels_last_attrs(call.windows, padding, true);
  Value* y = nullptr;
  if (call.axes == 3) {
    y = build("conv_ndhwc", {x, permuted(build, call.weight, inverse(kDhwio.to_ours))}, attrs);
  } else if (call.groups > 1 && call.groups == call.channels && call.windows.stride[0] == call.windows.stride[1]) {
    const Shape shape = {call.windows.kernel[0], call.windows.kernel[1], call.channels, call.outputs / call.channels};
    Value* weight = permuted(build, call.weight, inverse(kHwio.to_ours));
    y = build("depthwise_conv_hwcm", {x, build("reshape", {weight}, {{"shape", shape}})}, attrs);
  } else {
    y = build("conv_hwio", {x, permuted(build, call.weight, inverse(kHwio.to_ours))}, attrs);
  }
  if (has_bias(operands)) y = build("add", {y, operands[2]});
  return {to_channels_first(build, y, call.axes)};
}

// ------------------------------------------------------------------------------------------------- transposed,
// expanded

namespace {

bool needs_spread(const Node& node) {
  if (std::ranges::max(node.attrs.integers("dilation")) > 1) return true;
  const Integers& extra = node.attrs.integers("output_padding");
  const Integers& padding = node.attrs.integers("padding");
  for (std::size_t axis = 0; axis < extra.size(); ++axis)
    if (extra[axis] > padding[extra.size() + axis]) return true;
  return false;
}

// Groups as one dense weight with zeros between them, where that is small; else group by group.
Value* dense_weight(Builder& build, Value* weight, std::int64_t groups) {
  const Tensor* tensor = constant_of(weight);
  constexpr std::int64_t kMostElements = 1 << 20;
  if (tensor == nullptr || tensor->element_count() * groups > kMostElements) return nullptr;
  const Array array = to_array(*tensor);
  const std::int64_t inputs = array.size(0), outputs = array.size(1), run = axis_view(array.shape, 1).inner;
  std::vector<std::int64_t> shape = array.shape;
  shape[1] = outputs * groups;
  Array dense = make_array(array.dtype, shape);
  for (std::int64_t c = 0; c < inputs; ++c)
    std::copy_n(array.values.data() + c * outputs * run, outputs * run,
                dense.values.data() + (c * outputs * groups + c / (inputs / groups) * outputs) * run);
  return build.constant(to_tensor(dense), weight->name);
}

// Whole windows first, of which the result is cut out; SAME where that is what the operator cuts.
std::vector<Value*> expand_transposed(Builder& build, const Node& node, std::span<Value* const> operands,
                                      Target target) {
  Value* weight = operands[1];
  if (const std::int64_t groups = node.attrs.integer("groups"); groups > 1) {
    weight = dense_weight(build, weight, groups);
    if (weight == nullptr) return group_by_group(build, node, operands);
  }
  const Shape& from = node.operands[0]->type.shape;
  const Shape& to = node.results[0]->type.shape;
  const std::size_t axes = from.size() - 2;
  Integers kernel;
  for (std::size_t axis = 2; axis < from.size(); ++axis) kernel.push_back(*weight->type.shape[axis].constant());
  Windows windows = accepted_windows(node.attrs, kernel);
  Integers extra;
  for (std::size_t axis = 0; axis < axes; ++axis)
    extra.push_back(std::max<std::int64_t>(0, node.attrs.integers("output_padding")[axis] - windows.after[axis]));
  weight = spread_weight(build, weight, windows.dilation, extra);
  for (std::size_t axis = 0; axis < axes; ++axis) {
    windows.kernel[axis] = windows.extent(axis) + extra[axis];
    windows.dilation[axis] = 1;
  }
  if (axes == 1) weight = build("unsqueeze", {weight}, {{"dims", Integers{2}}});
  Shape spatial_in = spatial_sizes(from), spatial_out = spatial_sizes(to);
  if (axes == 1) {
    spatial_in.insert(spatial_in.begin(), Dim(1));
    spatial_out.insert(spatial_out.begin(), Dim(1));
  }
  windows = over_two_axes(windows);
  // Over the result the padding of SAME depends on its size.
  Shape whole;
  bool same = true, valid = true;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    whole.push_back((spatial_in[axis] - 1) * windows.stride[axis] + windows.kernel[axis]);
    const auto cut = (whole[axis] - spatial_out[axis]).constant();
    valid = valid && cut == 0;
    // SAME cuts all that reaches beyond ceil(size / stride) windows, half of it before.
    same = same && cut && windows.before[axis] == *cut / 2 &&
           ceil_divide(spatial_out[axis], windows.stride[axis]) == spatial_in[axis];
  }
  const std::string padding = valid || !same ? "VALID" : "SAME";
  const Shape& size = padding == "SAME" ? spatial_out : whole;
  const Shape all = {from[0], size[0], size[1], to[1]};
  const auto numbers = constant_sizes(all);
  Value* sizes = numbers ? build.constant(converted(tensor_i64({4}, *numbers), DType::i32), "sizes")
                         : build("sizes", {}, {{"sizes", all}, {"dtype", DType::i32}});
  Attrs attrs = channels_last_attrs(windows, padding, false);
  attrs.set("size", size);
  Value* x = to_channels_last(build, operands[0], axes);
  Value* y = nullptr;
  if (target == Target::tflite) {
    Value* bias = has_bias(operands) ? operands[2] : zero_bias(build, *to[1].constant());
    y = build("transpose_conv_nhwc", {x, permuted(build, weight, inverse(kTransposedOhwi.to_ours)), sizes, bias},
              attrs);
  } else {
    y = build("transpose_conv_hwoi", {x, permuted(build, weight, inverse(kTransposedHwoi.to_ours)), sizes}, attrs);
  }
  if (padding == "VALID")
    for (std::size_t axis = 0; axis < 2; ++axis)
      if (size[axis] != spatial_out[axis])
        y = build("slice", {y},
                  {{"dim", static_cast<std::int64_t>(axis + 1)},
                   {"start", windows.before[axis]},
                   {"end", Shape{spatial_out[axis] + windows.before[axis]}}});
  if (target == Target::tensorflow && has_bias(operands)) y = build("add", {y, operands[2]});
  return {to_channels_first(build, y, axes)};
}

// x with stride - 1 zeros between the entries of an axis: each entry as the first of a block, seen as [outer, size, 1,
// inner].
Value* spread_axis(Builder& build, Value* x, std::size_t axis, std::int64_t stride) {
  if (stride == 1 || x == nullptr) return x;
  Shape shape = x->type.shape;
  const auto at = [&](std::size_t i) { return shape.begin() + static_cast<std::ptrdiff_t>(i); };
  const Dim outer = element_count(Shape(shape.begin(), at(axis))), size = shape[axis];
  const Dim inner = element_count(Shape(at(axis + 1), shape.end()));
  x = build("reshape", {x}, {{"shape", Shape{outer, size, 1, inner}}});
  x = build("pad", {x}, {{"before", Integers{0, 0, 0, 0}}, {"after", Integers{0, 0, stride - 1, 0}}});
  shape[axis] = size * stride;
  x = build("reshape", {x}, {{"shape", shape}});
  return build("slice", {x}, {{"dim", static_cast<std::int64_t>(axis)}, {"end", Shape{size * stride - (stride - 1)}}});
}

// [C, O/groups, *K] as the weight [O, C/groups, *K] of a convolution, from back to front.
Value* turned_weight(Builder& build, Value* weight, std::int64_t groups) {
  Shape shape = weight->type.shape;
  const std::int64_t inputs = *shape[0].constant() / groups, outputs = *shape[1].constant();
  Shape apart = {groups, inputs, outputs}, joined = {groups * outputs, inputs};
  apart.insert(apart.end(), shape.begin() + 2, shape.end());
  joined.insert(joined.end(), shape.begin() + 2, shape.end());
  Integers order(apart.size()), kernel(shape.size() - 2);
  std::iota(order.begin(), order.end(), 0);
  std::iota(kernel.begin(), kernel.end(), 2);
  std::swap(order[1], order[2]);
  if (groups > 1) {
    weight = build("permute", {build("reshape", {weight}, {{"shape", apart}})}, {{"dims", order}});
    weight = build("reshape", {weight}, {{"shape", joined}});
  } else {
    Integers swapped(shape.size());
    std::iota(swapped.begin(), swapped.end(), 0);
    std::swap(swapped[0], swapped[1]);
    weight = build("permute", {weight}, {{"dims", swapped}});
  }
  return build("flip", {weight}, {{"dims", kernel}});
}

// Over three axes: a convolution of x with zeros between its entries.
std::vector<Value*> expand_transposed_volume(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& weight = node.operands[1]->type.shape;
  Integers kernel;
  for (std::size_t axis = 2; axis < weight.size(); ++axis) kernel.push_back(*weight[axis].constant());
  const Windows windows = accepted_windows(node.attrs, kernel);
  const Integers& extra = node.attrs.integers("output_padding");
  Integers before = {0, 0}, after = {0, 0};
  Value* x = operands[0];
  for (std::size_t axis = 0; axis < kernel.size(); ++axis) {
    x = spread_axis(build, x, axis + 2, windows.stride[axis]);
    before.push_back(windows.extent(axis) - 1 - windows.before[axis]);
    after.push_back(windows.extent(axis) - 1 - windows.after[axis] + extra[axis]);
  }
  const std::int64_t groups = node.attrs.integer("groups");
  return {build("conv",
                {build("pad", {x}, {{"before", before}, {"after", after}}), turned_weight(build, operands[1], groups),
                 has_bias(operands) ? operands[2] : nullptr},
                {{"stride", Integers(kernel.size(), 1)},
                 {"padding", Integers(2 * kernel.size(), 0)},
                 {"dilation", windows.dilation},
                 {"groups", groups}})};
}

bool is_volume(const Node& node) {
  return node.operands[0]->type.shape.size() == 5;
}

}  // namespace

bool conv_transpose_expands(const Node& node, Target target) {
  const bool dilated = is_volume(node) ? std::ranges::max(node.attrs.integers("dilation")) > 1 : needs_spread(node);
  return target != Target::onnx && node.operands[0]->type.dtype == DType::f32 &&
         (!dilated || constant_of(node.operands[1]) != nullptr);
}

std::vector<Value*> expand_conv_transpose_tflite(Builder& build, const Node& node, std::span<Value* const> operands) {
  if (is_volume(node)) return expand_transposed_volume(build, node, operands);
  return expand_transposed(build, node, operands, Target::tflite);
}
std::vector<Value*> expand_conv_transpose_tensorflow(Builder& build, const Node& node,
                                                     std::span<Value* const> operands) {
  if (is_volume(node)) return expand_transposed_volume(build, node, operands);
  return expand_transposed(build, node, operands, Target::tensorflow);
}

std::vector<Op> convolution_last_ops() {
  return {conv_nhwc(),           depthwise_conv_nhwc(), conv_ndhwc(),         conv_hwio(),
          depthwise_conv_hwcm(), transpose_conv_nhwc(), transpose_conv_hwoi()};
}

}  // namespace taper
