// Convolutions and their transposes over one to three spatial axes, channels first as in PyTorch.
#include <algorithm>
#include <functional>
#include <numeric>

#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/rules.h"
#include "ops/windows.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// The sizes of weights, which are numbers, and of a bias that fits `outputs` channels.
Expected<Integers> weight_sizes(const InferCall& call, std::size_t rank) {
  const auto sizes = constant_sizes(call.shape(1));
  if (!sizes || sizes->size() != rank)
    return fail("weight has shape {}, expected {} sizes that are numbers", shape_text(call.shape(1)), rank);
  if (call.type(1).dtype != call.type(0).dtype)
    return fail("x is {}, weight {}", info(call.type(0).dtype).name, info(call.type(1).dtype).name);
  return *sizes;
}

Status check_bias(const InferCall& call, std::int64_t outputs) {
  if (call.has(2) && call.type(2) != Type{call.type(0).dtype, Shape{Dim(outputs)}})
    return fail("bias is {}, expected {}", type_text(call.type(2)),
                type_text({call.type(0).dtype, Shape{Dim(outputs)}}));
  return {};
}

Status check_groups(std::int64_t groups, const Dim& channels, std::int64_t expected, std::int64_t divided) {
  if (groups < 1 || divided % groups != 0 || channels != Dim(expected))
    return fail("x has {} channels and weight takes {} in {} groups", channels.text(), expected, groups);
  return {};
}

Integers kernel_of(const Shape& weight) {
  Integers kernel;
  for (std::size_t axis = 2; axis < weight.size(); ++axis) kernel.push_back(weight[axis].constant().value_or(0));
  return kernel;
}
Integers kernel_of(const Array& weight) {
  return {weight.shape.begin() + 2, weight.shape.end()};
}

Expected<std::vector<Type>> infer_conv(const InferCall& call) {
  TAPER_TRY(check_one_dtype(call));
  TAPER_TRY(check_channels_first(call.type(0)));
  const Shape& x = call.shape(0);
  TAPER_ASSIGN(const Integers weight, weight_sizes(call, x.size()));
  const std::int64_t groups = call.attrs.integer("groups");
  const Dim taken = Dim(weight[1]) * groups;
  TAPER_TRY(check_groups(groups, x[1], taken.constant().value_or(-1), weight[0]));
  TAPER_TRY(check_bias(call, weight[0]));
  TAPER_ASSIGN(const Windows windows, windows_of(call.attrs, kernel_of(call.shape(1))));
  TAPER_ASSIGN(const Shape counts, window_counts(spatial_sizes(x), windows));
  Shape shape = {x[0], Dim(weight[0])};
  shape.insert(shape.end(), counts.begin(), counts.end());
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Expected<std::vector<Array>> eval_conv(const EvalCall& call) {
  const Array& weight = call.operand(1);
  return std::vector{convolve(call.operand(0), weight, call.has(2) ? &call.operand(2) : nullptr,
                              accepted_windows(call.attrs, kernel_of(weight)), call.attrs.integer("groups"))};
}

Attrs conv_attrs(Integers stride, Integers padding, Integers dilation, std::int64_t groups) {
  return {{"stride", std::move(stride)},
          {"padding", std::move(padding)},
          {"dilation", std::move(dilation)},
          {"groups", groups}};
}

Op conv() {
  return {
      .name = "conv",
      .doc =
          "y[n, o, s] = sum over c, k of x[n, c, stride s - before + dilation k] weight[o, c, k] + bias[o]; zeros "
          "around x; padding: befores, then afters",
      .operands = {"x", "weight", "bias?"},
      .attrs = {{"stride", AttrKind::integers},
                {"padding", AttrKind::integers},
                {"dilation", AttrKind::integers},
                {"groups", AttrKind::integer, std::int64_t{1}}},
      .infer = infer_conv,
      .eval = eval_conv,
      .expands_if = conv_expands,
      .expand_tflite = expand_conv_tflite,
      .expand_tensorflow = expand_conv_tensorflow,
      .onnx = {.op_type = "Conv",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"strides", "stride"}, {"pads", "padding"}, {"dilations", "dilation"}, {"group", "groups"}}},
      .examples =
          {{{f32({2, 3, 8}), f32({4, 3, 3}), f32({4})}, conv_attrs({1}, {1, 1}, {1}, 1), -2, 2, 1},
           {{f32({1, 3, 8, 7}), f32({4, 3, 3, 2}), f32({4})}, conv_attrs({2, 1}, {1, 0, 1, 1}, {1, 1}, 1), -2, 2, 1},
           {{f32({2, 4, 9, 9}), f32({4, 1, 3, 3})}, conv_attrs({2, 2}, {0, 1, 0, 1}, {1, 1}, 4), -2, 2, 1},
           {{f32({1, 4, 8, 8}), f32({6, 2, 3, 3}), f32({6})}, conv_attrs({1, 1}, {2, 2, 2, 2}, {2, 2}, 2), -2, 2, 1},
           {{f32({1, 2, 4, 5, 6}), f32({3, 2, 2, 3, 3}), f32({3})},
            conv_attrs({1, 2, 1}, {0, 1, 1, 1, 1, 1}, {1, 1, 1}, 1),
            -2,
            2,
            1}},
  };
}

Expected<std::vector<Type>> infer_conv_transpose(const InferCall& call) {
  TAPER_TRY(check_one_dtype(call));
  TAPER_TRY(check_channels_first(call.type(0)));
  const Shape& x = call.shape(0);
  TAPER_ASSIGN(const Integers weight, weight_sizes(call, x.size()));
  const std::int64_t groups = call.attrs.integer("groups");
  TAPER_TRY(check_groups(groups, x[1], weight[0], weight[0]));
  const auto outputs = (Dim(weight[1]) * groups).constant();
  if (!outputs) return fail("weight of shape {} in {} groups", shape_text(call.shape(1)), groups);
  TAPER_TRY(check_bias(call, *outputs));
  TAPER_ASSIGN(const Windows windows, windows_of(call.attrs, kernel_of(call.shape(1))));
  const Integers& extra = call.attrs.integers("output_padding");
  if (extra.size() != windows.axes())
    return fail("output_padding [{}] has {} entries, expected {}", fmt::join(extra, ", "), extra.size(),
                windows.axes());
  Shape shape = {x[0], Dim(*outputs)};
  for (std::size_t axis = 0; axis < windows.axes(); ++axis) {
    if (extra[axis] < 0 || extra[axis] >= std::max(windows.stride[axis], windows.dilation[axis]))
      return fail("output_padding [{}] has to be less than stride or dilation", fmt::join(extra, ", "));
    if (x[axis + 2].is(0)) return fail("axis {} of x {} has no entries", axis + 2, shape_text(x));
    const Dim size = (x[axis + 2] - 1) * windows.stride[axis] + windows.extent(axis) + extra[axis] -
                     windows.before[axis] - windows.after[axis];
    if (size.constant().value_or(1) < 1)
      return fail("padding [{}] leaves nothing of the result", fmt::join(call.attrs.integers("padding"), ", "));
    shape.push_back(size);
  }
  return std::vector{Type{call.type(0).dtype, std::move(shape)}};
}

Expected<std::vector<Array>> eval_conv_transpose(const EvalCall& call) {
  const Array& x = call.operand(0);
  const Array& weight = call.operand(1);
  const Windows windows = accepted_windows(call.attrs, kernel_of(weight));
  Integers sizes;
  for (std::size_t axis = 0; axis < windows.axes(); ++axis)
    sizes.push_back((x.shape[axis + 2] - 1) * windows.stride[axis] + windows.extent(axis) +
                    call.attrs.integers("output_padding")[axis] - windows.before[axis] - windows.after[axis]);
  if (std::ranges::min(sizes) < 1) return fail("the result has sizes [{}]", fmt::join(sizes, ", "));
  return std::vector{convolve_transposed(x, weight, call.has(2) ? &call.operand(2) : nullptr, windows,
                                         call.attrs.integer("groups"), sizes)};
}

// Whether more is added at an end than ONNX's runtime takes.
bool adds_strides(const Node& node) {
  return !std::ranges::equal(node.attrs.integers("output_padding"), node.attrs.integers("stride"), std::less<>());
}

// All that the windows reach, of which the padding is cut off. Entries that are added lie behind it: they are the bias.
std::vector<Value*> expand_conv_transpose_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Integers& padding = node.attrs.integers("padding");
  const Integers& added = node.attrs.integers("output_padding");
  const std::size_t axes = added.size();
  Integers before(axes + 2, 0), after = before, behind(axes);
  for (std::size_t axis = 0; axis < axes; ++axis) {
    before[axis + 2] = -padding[axis];
    after[axis + 2] = added[axis] - padding[axes + axis];
  }
  std::iota(behind.begin(), behind.end(), 1);
  Attrs attrs = node.attrs;
  attrs.set("padding", Integers(2 * axes, 0));
  attrs.set("output_padding", Integers(axes, 0));
  Value* y = build(node.op, {operands[0], operands[1]}, std::move(attrs));
  y = build("pad", {y}, {{"before", std::move(before)}, {"after", std::move(after)}});
  if (operands.size() < 3 || operands[2] == nullptr) return {y};
  return {build("add", {y, build("unsqueeze", {operands[2]}, {{"dims", std::move(behind)}})})};
}

Op conv_transpose() {
  const auto attrs = [](Integers stride, Integers padding, Integers output_padding, Integers dilation,
                        std::int64_t groups) {
    Attrs all = conv_attrs(std::move(stride), std::move(padding), std::move(dilation), groups);
    all.set("output_padding", std::move(output_padding));
    return all;
  };
  return {
      .name = "conv_transpose",
      .doc =
          "the transpose of `conv`: x[n, c, s] weight[c, o, k] is added to y[n, o, stride s - before + dilation k]; "
          "output_padding more entries at the end",
      .operands = {"x", "weight", "bias?"},
      .attrs = {{"stride", AttrKind::integers},
                {"padding", AttrKind::integers},
                {"output_padding", AttrKind::integers},
                {"dilation", AttrKind::integers},
                {"groups", AttrKind::integer, std::int64_t{1}}},
      .infer = infer_conv_transpose,
      .eval = eval_conv_transpose,
      .expands_if =
          [](const Node& node, Target target) {
            return target == Target::onnx ? adds_strides(node) : conv_transpose_expands(node, target);
          },
      .expand_onnx = expand_conv_transpose_onnx,
      .expand_tflite = expand_conv_transpose_tflite,
      .expand_tensorflow = expand_conv_transpose_tensorflow,
      .onnx = {.op_type = "ConvTranspose",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"strides", "stride"},
                         {"pads", "padding"},
                         {"output_padding", "output_padding"},
                         {"dilations", "dilation"},
                         {"group", "groups"}},
               .fits = [](const Node& node) { return !adds_strides(node); }},
      .examples =
          {{{f32({2, 3, 5}), f32({3, 4, 3}), f32({4})}, attrs({2}, {1, 1}, {1}, {1}, 1), -2, 2, 1},
           {{f32({1, 3, 4, 5}), f32({3, 2, 3, 2}), f32({2})}, attrs({2, 3}, {1, 0, 0, 1}, {1, 2}, {1, 1}, 1), -2, 2, 1},
           {{f32({1, 4, 3, 3}), f32({4, 3, 3, 3})}, attrs({1, 1}, {1, 1, 1, 1}, {0, 0}, {2, 2}, 2), -2, 2, 1},
           {{f32({1, 4, 2, 3, 3}), f32({4, 2, 2, 3, 2}), f32({4})},
            attrs({2, 1, 2}, {0, 1, 0, 1, 1, 1}, {1, 0, 1}, {1, 1, 2}, 2),
            -2,
            2,
            1},
           {{f32({1, 2, 4, 5}), f32({2, 3, 3, 3}), f32({3})},
            attrs({2, 1}, {1, 1, 1, 0}, {2, 1}, {3, 2}, 1),
            -2,
            2,
            1}},
  };
}

}  // namespace

std::vector<Op> convolution_ops() {
  return {conv(), conv_transpose()};
}

}  // namespace taper
