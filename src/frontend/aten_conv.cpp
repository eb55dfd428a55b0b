// Convolutions.
#include <algorithm>

#include "frontend/aten_table.h"

namespace taper::aten {
namespace {

// A convolution as PyTorch has it: lists of one entry per spatial axis, or of one for all.
struct Convolution {
  Value* x;
  Value* weight;
  Value* bias;
  Integers stride, padding, dilation;
  Dim groups = 1;
  bool transposed = false;
  Integers output_padding;
};

Integers per_axis(Integers values, std::size_t axes, std::int64_t fallback) {
  if (values.empty()) values = {fallback};
  if (values.size() == 1) values.resize(axes, values[0]);
  return values;
}

// The same before and after each axis: begins, then ends.
Integers on_both_sides(const Integers& padding) {
  Integers both = padding;
  both.insert(both.end(), padding.begin(), padding.end());
  return both;
}

// As many groups as an open size has entries, which no target has: modulated convolutions take the samples for groups.
// Each is the product of its weights and the windows of its channels; transposed, the sum of windows that are products.
//
// x [N, G C, H, W], weight [G O, C, *K] (transposed [G C, O, *K]), bias? [G O] -> [N, G O, H', W']
Expected<Arg> convolve_open_groups(Builder& build, const Convolution& c) {
  constexpr std::size_t kAxes = 2;
  const Shape& x = c.x->type.shape;
  const Shape& weight = c.weight->type.shape;
  const auto refuse = [&] {
    return fail_with_hint(fmt::format("{} groups of {} and a weight of {}: no target has as many groups as a size says",
                                      c.groups.text(), type_text(c.x->type), type_text(c.weight->type)),
                          "export with a fixed size there");
  };
  if (x.size() != kAxes + 2 || weight.size() != kAxes + 2) return refuse();
  const auto channels = divide_exactly(x[1], c.groups), first = divide_exactly(weight[0], c.groups);
  const auto kernel = constant_sizes(Shape(weight.begin() + 2, weight.end()));
  if (!channels || !first || *channels != (c.transposed ? *first : weight[1]) || !kernel) return refuse();
  const Integers stride = per_axis(c.stride, kAxes, 1), padding = per_axis(c.padding, kAxes, 0);
  const Integers dilation = per_axis(c.dilation, kAxes, 1), extra = per_axis(c.output_padding, kAxes, 0);
  for (const Integers* list : {&stride, &padding, &dilation, &extra})
    if (list->size() != kAxes) return fail("{} entries for {} axes", list->size(), kAxes);
  Attrs windows = {{"kernel", *kernel}, {"stride", stride}, {"padding", padding}, {"dilation", dilation}};
  const Dim outputs = c.transposed ? weight[1] : *first;
  Shape shape = {x[0], c.groups * outputs};
  for (std::size_t i = 0; i < kAxes; ++i) {
    const Dim reach = Dim(dilation[i]) * (weight[i + 2] - 1) + 1 - Dim(padding[i]) * 2;
    shape.push_back(c.transposed ? (x[i + 2] - 1) * stride[i] + reach + extra[i]
                                 : floor_divide(x[i + 2] - reach, stride[i]) + 1);
  }
  const Dim taps = weight[2] * weight[3];
  Value* y = nullptr;
  if (c.transposed) {
    windows.set("output_size", Shape(shape.begin() + 2, shape.end()));
    Value* matrices = transpose(build, reshape(build, c.weight, {c.groups, *channels, outputs * taps}), 1, 2);
    y = build("matmul", {matrices, reshape(build, c.x, {x[0], c.groups, *channels, x[2] * x[3]})});
    y = build("col2im", {reshape(build, y, {x[0] * c.groups, outputs * taps, x[2] * x[3]})}, std::move(windows));
  } else {
    Value* planes = reshape(build, c.x, {x[0] * c.groups, *channels, x[2], x[3]});
    Value* columns = build("im2col", {planes}, std::move(windows));
    columns = reshape(build, columns, {x[0], c.groups, *channels * taps, shape[2] * shape[3]});
    y = build("matmul", {reshape(build, c.weight, {c.groups, outputs, *channels * taps}), columns});
  }
  y = reshape(build, y, shape);
  return fresh(c.bias == nullptr ? y : build("add", {y, per_channel(build, c.bias, shape.size())}));
}

Expected<Arg> convolve(Builder& build, Convolution c) {
  const auto groups = c.groups.constant();
  if (!groups) return convolve_open_groups(build, c);
  const std::size_t rank = c.weight->type.shape.size();
  if (rank < 3 || rank > 5) return fail("a weight of {}", type_text(c.weight->type));
  const std::size_t axes = rank - 2;
  const bool single = c.x->type.shape.size() == rank - 1;  // without the axis of the batch
  if (!single && c.x->type.shape.size() != rank)
    return fail("{} and a weight of {}", type_text(c.x->type), type_text(c.weight->type));
  const Integers stride = per_axis(std::move(c.stride), axes, 1);
  const Integers padding = per_axis(std::move(c.padding), axes, 0);
  const Integers dilation = per_axis(std::move(c.dilation), axes, 1);
  const Integers output_padding = per_axis(std::move(c.output_padding), axes, 0);
  for (const Integers* list : {&stride, &padding, &dilation, &output_padding})
    if (list->size() != axes) return fail("{} entries for {} axes", list->size(), axes);
  Attrs attrs = {{"stride", stride}, {"padding", on_both_sides(padding)}, {"dilation", dilation}, {"groups", *groups}};
  if (c.transposed) attrs.set("output_padding", output_padding);
  Value* x = single ? unsqueeze(build, c.x, 0) : c.x;
  Value* y = build(c.transposed ? "conv_transpose" : "conv", {x, c.weight, c.bias}, std::move(attrs));
  return fresh(single ? squeeze(build, y, 0) : y);
}

Expected<Arg> convolution(Call& call) {
  return convolve(call.build, {.x = call.tensor("input"),
                               .weight = call.tensor("weight"),
                               .bias = call.tensor("bias"),
                               .stride = call.integers("stride"),
                               .padding = call.integers("padding"),
                               .dilation = call.integers("dilation"),
                               .groups = call.size("groups"),
                               .transposed = call.flag("transposed"),
                               .output_padding = call.integers("output_padding")});
}

Expected<Arg> transposed_convolution(Call& call) {
  return convolve(call.build, {.x = call.tensor("input"),
                               .weight = call.tensor("weight"),
                               .bias = call.tensor("bias"),
                               .stride = call.integers("stride"),
                               .padding = call.integers("padding"),
                               .dilation = call.integers("dilation"),
                               .groups = call.size("groups"),
                               .transposed = true,
                               .output_padding = call.integers("output_padding")});
}

// Padding by name: "same" keeps the sizes, with the odd entry at the end.
Expected<Arg> convolution_padded(Call& call) {
  Builder& build = call.build;
  const std::string& name = call.text("padding");
  if (name != "same" && name != "valid") return fail("padding '{}', expected same or valid", name);
  Value* x = call.tensor("input");
  Value* weight = call.tensor("weight");
  const Shape& kernel = weight->type.shape;
  if (kernel.size() < 3) return fail("a weight of {}", type_text(weight->type));
  const std::size_t axes = kernel.size() - 2;
  const Integers dilation = per_axis(call.integers("dilation"), axes, 1);
  const Integers stride = per_axis(call.integers("stride"), axes, 1);
  if (dilation.size() != axes || stride.size() != axes) return fail("{} entries for {} axes", dilation.size(), axes);
  Integers before(axes, 0), after(axes, 0);
  for (std::size_t i = 0; name == "same" && i < axes; ++i) {
    const auto size = kernel[i + 2].constant();
    if (!size || stride[i] != 1) return fail("padding 'same' with stride {}", stride[i]);
    const std::int64_t total = dilation[i] * (*size - 1);
    before[i] = total / 2;
    after[i] = total - total / 2;
  }
  before.insert(before.end(), after.begin(), after.end());
  const bool single = x->type.shape.size() + 1 == kernel.size();
  if (single) x = unsqueeze(build, x, 0);
  Value* y =
      build("conv", {x, weight, call.tensor("bias")},
            {{"stride", stride}, {"padding", before}, {"dilation", dilation}, {"groups", call.integer("groups")}});
  return fresh(single ? squeeze(build, y, 0) : y);
}

// Over time, with the axes in the order [time, batch, channels].
Expected<Arg> convolution_tbc(Call& call) {
  Builder& build = call.build;
  Value* x = permute(build, call.tensor("self"), {1, 2, 0});
  Value* weight = permute(build, call.tensor("weight"), {2, 1, 0});
  const Integers padding(2, call.integer("pad"));
  Value* y =
      build("conv", {x, weight, call.tensor("bias")},
            {{"stride", Integers{1}}, {"padding", padding}, {"dilation", Integers{1}}, {"groups", std::int64_t{1}}});
  return fresh(permute(build, y, {2, 0, 1}));
}

}  // namespace

std::vector<Overload> conv_overloads() {
  return {
      {"convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, bool "
       "transposed, int[] output_padding, SymInt groups) -> Tensor",
       convolution},
      {"_convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, bool "
       "transposed, int[] output_padding, SymInt groups, bool benchmark, bool deterministic, bool cudnn_enabled, bool "
       "allow_tf32) -> Tensor",
       convolution},
      {"_convolution.deprecated(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] "
       "dilation, bool transposed, int[] output_padding, SymInt groups, bool benchmark, bool deterministic, bool "
       "cudnn_enabled) -> Tensor",
       convolution},
      {"conv1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, int[1] padding=0, int[1] dilation=1, "
       "SymInt groups=1) -> Tensor",
       convolution},
      {"conv2d(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, int[2] dilation=1, "
       "SymInt groups=1) -> Tensor",
       convolution},
      {"conv3d(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, int[3] padding=0, int[3] dilation=1, "
       "SymInt groups=1) -> Tensor",
       convolution},
      {"conv1d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, str padding='valid', int[1] "
       "dilation=1, int groups=1) -> Tensor",
       convolution_padded},
      {"conv2d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, str padding='valid', int[2] "
       "dilation=1, int groups=1) -> Tensor",
       convolution_padded},
      {"conv3d.padding(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, str padding='valid', int[3] "
       "dilation=1, int groups=1) -> Tensor",
       convolution_padded},
      {"_convolution_mode(Tensor input, Tensor weight, Tensor? bias, int[] stride, str padding, int[] dilation, int "
       "groups) -> Tensor",
       convolution_padded},
      {"conv_transpose1d(Tensor input, Tensor weight, Tensor? bias=None, int[1] stride=1, int[1] padding=0, int[1] "
       "output_padding=0, SymInt groups=1, int[1] dilation=1) -> Tensor",
       transposed_convolution},
      {"conv_transpose2d.input(Tensor input, Tensor weight, Tensor? bias=None, int[2] stride=1, int[2] padding=0, "
       "int[2] output_padding=0, SymInt groups=1, int[2] dilation=1) -> Tensor",
       transposed_convolution},
      {"conv_transpose3d.input(Tensor input, Tensor weight, Tensor? bias=None, int[3] stride=1, int[3] padding=0, "
       "int[3] output_padding=0, SymInt groups=1, int[3] dilation=1) -> Tensor",
       transposed_convolution},
      {"conv_tbc(Tensor self, Tensor weight, Tensor bias, int pad=0) -> Tensor", convolution_tbc},
  };
}

}  // namespace taper::aten
