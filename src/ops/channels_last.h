// Images with their channels last, as TFLite and TensorFlow take them: [N, H, W, C] or [N, D, H, W, C].
#pragma once

#include "ops/rules.h"
#include "ops/windows.h"

namespace taper {

// x [N, C, *S] as [N, *S, C]; a single spatial axis becomes the second of two.
Value* to_channels_last(Builder& build, Value* x, std::size_t axes);
// Back again.
Value* to_channels_first(Builder& build, Value* y, std::size_t axes);

// Windows over one axis as windows over two, the first of size 1.
Windows over_two_axes(Windows windows);

// Padding that a target's operator applies itself, or zeros written around x before it.
struct AppliedPadding {
  Value* x = nullptr;  // channels last
  std::string padding = "VALID";
};
// `spatial`: the sizes of x [N, *S, C]; `value`: what stands in the padding; `same_is_padding`: whether the operator's
// SAME means such padding.
AppliedPadding apply_padding(Builder& build, Value* x, const Shape& spatial, const Windows& windows, double value);

// The attributes of windows in rows with channels last: an entry per axis of x, 1 for batch and channels; padding SAME
// (so that there are ceil(size / stride) windows, the odd padding at the end) or VALID (none).
Attrs channels_last_attrs(const Windows& windows, const std::string& padding, bool with_dilation);

std::vector<Value*> expand_conv_tflite(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_conv_tensorflow(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_conv_transpose_tflite(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_conv_transpose_tensorflow(Builder& build, const Node& node,
                                                     std::span<Value* const> operands);
bool conv_expands(const Node& node, Target target);
bool conv_transpose_expands(const Node& node, Target target);

// A pool without dilation that does not reach beyond its padding, in the row `pool`; `value` stands in the padding.
std::vector<Value*> expand_pool(Builder& build, const Node& node, Value* x, std::string_view pool, double value);
// Whether expand_pool's row pads as the call does.
bool pads_as_same(const Shape& spatial, const Windows& windows);

// Blocks of images into channels and back; the number of channels must be known.
std::vector<Value*> expand_blocks_last(Builder& build, const Node& node, std::span<Value* const> operands);

// Rows with channels last in those with channels first, for ONNX.
std::vector<Value*> expand_conv_onnx(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_conv3d_onnx(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_transpose_conv_onnx(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_pool_onnx(Builder& build, const Node& node, std::span<Value* const> operands);
std::vector<Value*> expand_blocks_onnx(Builder& build, const Node& node, std::span<Value* const> operands);
// Whether a call with channels last is of some elements, and its padding can be told in numbers.
bool padding_is_known(const Node& node, Target);
// Whether a transposed convolution's result is larger or smaller than what its kernel reaches by a number.
bool transposed_padding_is_known(const Node& node, Target);

// Results of a convolution or pool on `sizes` with SAME or VALID padding.
Expected<Shape> channels_last_counts(const Shape& x, const std::vector<std::int64_t>& kernel, const Attrs& attrs);
// The windows, where sizes are numbers.
Windows channels_last_windows(std::span<const std::int64_t> x, std::vector<std::int64_t> kernel, const Attrs& attrs);
Array first_to_last(const Array& x);
Array last_to_first(const Array& x);

// The field of TFLite's options tables that rows with channels last fill.
template <class Options>
TfliteOptions window_options() {
  return {
      [](const Node& node, tflite::BuiltinOptionsUnion& out) {
        Options options{};
        options.padding = node.attrs.text("padding") == "SAME" ? tflite::Padding::SAME : tflite::Padding::VALID;
        const std::vector<std::int64_t>& stride = node.attrs.integers("stride");
        const std::size_t w = stride.size() - 2;
        const auto entry = [&](std::string_view name, std::size_t axis) {
          return static_cast<std::int32_t>(node.attrs.integers(name)[axis]);
        };
        options.stride_w = entry("stride", w);
        options.stride_h = entry("stride", w - 1);
        if constexpr (requires { options.stride_d; }) options.stride_d = entry("stride", w - 2);
        if constexpr (requires { options.dilation_w_factor; }) {
          options.dilation_w_factor = entry("dilation", w);
          options.dilation_h_factor = entry("dilation", w - 1);
        }
        if constexpr (requires { options.dilation_d_factor; }) options.dilation_d_factor = entry("dilation", w - 2);
        if constexpr (requires { options.filter_width; }) {
          options.filter_width = entry("kernel", w);
          options.filter_height = entry("kernel", w - 1);
        } else {
          options.fused_activation_function = activation_code(node.attrs.text("activation"));
        }
        if constexpr (requires { options.depth_multiplier; })
          options.depth_multiplier = static_cast<std::int32_t>(
              node.operands[1]->type.shape.back().constant().value_or(0) /
              std::max<std::int64_t>(1, node.operands[0]->type.shape.back().constant().value_or(1)));
        out.Set(std::move(options));
      },
      [](const tflite::BuiltinOptionsUnion& in, Attrs& attrs) -> Status {
        if (in.type != tflite::BuiltinOptionsTraits<typename Options::TableType>::enum_value || in.value == nullptr)
          return fail("an operator of windows without options");
        const Options& options = *static_cast<const Options*>(in.value);
        attrs.set("padding", std::string(options.padding == tflite::Padding::SAME ? "SAME" : "VALID"));
        std::vector<std::int64_t> stride = {1, options.stride_h, options.stride_w, 1};
        if constexpr (requires { options.stride_d; }) stride.insert(stride.begin() + 1, options.stride_d);
        attrs.set("stride", stride);
        if constexpr (requires { options.dilation_w_factor; }) {
          std::vector<std::int64_t> dilation = {1, options.dilation_h_factor, options.dilation_w_factor, 1};
          if constexpr (requires { options.dilation_d_factor; })
            dilation.insert(dilation.begin() + 1, options.dilation_d_factor);
          attrs.set("dilation", dilation);
        }
        if constexpr (requires { options.filter_width; }) {
          attrs.set("kernel", std::vector<std::int64_t>{1, options.filter_height, options.filter_width, 1});
        } else {
          const auto activation = activation_name(options.fused_activation_function);
          if (!activation) return fail("activation {} is not supported", int(options.fused_activation_function));
          attrs.set("activation", *activation);
        }
        return {};
      },
  };
}

}  // namespace taper
