// Normalisations of images and sequences with their channels first, and by the root of the mean square.
#include <cmath>

#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// [N, C, ...] with weights of C entries in the operands `first` to before `last`.
Status check_channels(const InferCall& call, std::size_t first, std::size_t last) {
  const Shape& x = call.shape(0);
  if (x.size() < 2) return fail("x has shape {}, expected [N, C, ...]", shape_text(x));
  if (!is_floating(call.type(0).dtype))
    return fail("x is {}, expected floating numbers", info(call.type(0).dtype).name);
  for (std::size_t i = first; i < last; ++i)
    if (call.has(i) && call.type(i) != Type{call.type(0).dtype, Shape{x[1]}})
      return fail("operand {} is {}, expected {}", i, type_text(call.type(i)),
                  type_text({call.type(0).dtype, Shape{x[1]}}));
  return {};
}

bool has_operand(std::span<Value* const> operands, std::size_t i) {
  return i < operands.size() && operands[i] != nullptr;
}

// A vector of channels as it broadcasts over the axes behind them.
Value* over_channels(Builder& build, Value* vector, std::size_t rank) {
  for (std::size_t axis = 2; axis < rank; ++axis) vector = build("unsqueeze", {vector}, {{"dims", Integers{-1}}});
  return vector;
}

// ---------------------------------------------------------------------------------------------------------- group_norm

Expected<std::vector<Type>> infer_group_norm(const InferCall& call) {
  TAPER_TRY(check_channels(call, 1, 3));
  const auto channels = call.shape(0)[1].constant();
  const std::int64_t groups = call.attrs.integer("groups");
  if (!channels || groups < 1 || *channels % groups != 0)
    return fail("{} channels do not form {} groups", call.shape(0)[1].text(), groups);
  return same_as_first(call);
}

Expected<std::vector<Array>> eval_group_norm(const EvalCall& call) {
  Array y = call.operand(0);
  if (y.values.empty()) return std::vector{std::move(y)};
  const std::int64_t groups = call.attrs.integer("groups"), channels = y.size(1);
  const std::int64_t run = axis_view(y.shape, 1).inner, size = channels / groups * run;
  for (std::int64_t group = 0; group < y.size(0) * groups; ++group) {
    const std::span<double> values =
        std::span(y.values).subspan(static_cast<std::size_t>(group * size), static_cast<std::size_t>(size));
    double mean = 0, variance = 0;
    for (const double x : values) mean += x;
    mean /= static_cast<double>(size);
    for (const double x : values) variance += (x - mean) * (x - mean);
    const double scale = 1 / std::sqrt(variance / static_cast<double>(size) + call.attrs.real("eps"));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto channel = static_cast<std::size_t>((group % groups * size + static_cast<std::int64_t>(i)) / run);
      values[i] = (values[i] - mean) * scale;
      if (call.has(1)) values[i] *= call.operand(1).values[channel];
      if (call.has(2)) values[i] += call.operand(2).values[channel];
    }
  }
  return std::vector{std::move(y)};
}

std::vector<Value*> expand_group_norm(Builder& build, const Node& node, std::span<Value* const> operands) {
  Value* x = operands[0];
  const Shape& shape = node.operands[0]->type.shape;
  const std::int64_t groups = node.attrs.integer("groups"), channels = *shape[1].constant();
  // A group of its own per channel, or one of all channels, needs no axis of groups.
  const bool splits = groups != 1 && groups != channels;
  if (splits) {
    Shape grouped = {shape[0], Dim(groups), Dim(channels / groups)};
    grouped.insert(grouped.end(), shape.begin() + 2, shape.end());
    x = build("reshape", {x}, {{"shape", grouped}});
  }
  Integers dims;
  for (std::size_t axis = groups == 1 ? 1 : 2; axis < shape.size() + (splits ? 1 : 0); ++axis)
    dims.push_back(static_cast<std::int64_t>(axis));
  const Attrs over = {{"dims", dims}, {"keepdim", true}};
  Value* y = x;
  if (dims.empty()) {
    y = build("sub", {x, x});  // each number is its own mean
  } else {
    Value* mean = build("mean", {x}, over);
    Value* variance = build("mean", {build("squared_difference", {x, mean})}, over);
    Value* scale = build("rsqrt", {build("add", {variance, build.scalar(node.attrs.real("eps"))})});
    y = build("mul", {build("sub", {x, mean}), scale});
  }
  if (splits) y = build("reshape", {y}, {{"shape", shape}});
  if (has_operand(operands, 1)) y = build("mul", {y, over_channels(build, operands[1], shape.size())});
  if (has_operand(operands, 2)) y = build("add", {y, over_channels(build, operands[2], shape.size())});
  return {y};
}

// Over [N, C, 1, L] where each channel of [N, C, L] is a group: TensorFlow's fused form of such a graph takes weights
// in front of one axis to be no vector.
std::vector<Value*> expand_group_norm_tensorflow(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& shape = node.operands[0]->type.shape;
  if (shape.size() != 3 || Dim(node.attrs.integer("groups")) != shape[1])
    return expand_group_norm(build, node, operands);
  const Attrs axis = {{"dims", Integers{2}}};
  std::vector<Value*> all(operands.begin(), operands.end());
  all[0] = build("unsqueeze", {all[0]}, axis);
  return {build("squeeze", {build("group_norm", all, node.attrs)}, axis)};
}

// InstanceNormalization, where each channel is a group; it wants scale and bias.
std::vector<Value*> expand_group_norm_onnx(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& shape = node.operands[0]->type.shape;
  const std::int64_t channels = *shape[1].constant();
  if (node.attrs.integer("groups") != channels || shape.size() < 3) return expand_group_norm(build, node, operands);
  const auto filled = [&](std::size_t i, float value) {
    if (has_operand(operands, i)) return operands[i];
    return build.constant(tensor_f32({channels}, std::vector<float>(static_cast<std::size_t>(channels), value)));
  };
  return {build("onnx_instance_norm", {operands[0], filled(1, 1), filled(2, 0)}, {{"eps", node.attrs.real("eps")}})};
}

Op group_norm() {
  return {
      .name = "group_norm",
      .doc =
          "weight * (x - mean x) / sqrt(var x + eps) + bias, mean and biased variance over each of `groups` runs of "
          "channels of x [N, C, *S]",
      .operands = {"x", "weight?", "bias?"},
      .attrs = {{"groups", AttrKind::integer}, {"eps", AttrKind::real, 1e-5}},
      .infer = infer_group_norm,
      .eval = eval_group_norm,
      .expand = expand_group_norm,
      .expand_onnx = expand_group_norm_onnx,
      .expand_tensorflow = expand_group_norm_tensorflow,
      .examples = {{{f32({2, 4, 6}), f32({4}), f32({4})}, {{"groups", std::int64_t{2}}}, -2, 2, 1},
                   {{f32({1, 4, 5, 6}), f32({4}), f32({4})}, {{"groups", std::int64_t{4}}}, -2, 2, 1},
                   {{f32({1, 4, 5, 6})}, {{"groups", std::int64_t{1}}, {"eps", 1e-4}}}},
      .tolerance = 1e-4,
  };
}

Op onnx_instance_norm() {
  return {
      .name = "onnx_instance_norm",
      .doc = "`group_norm` with a group per channel",
      .operands = {"x", "scale", "bias"},
      .attrs = {{"eps", AttrKind::real, 1e-5}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_channels(call, 1, 3));
        return same_as_first(call);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Attrs attrs = call.attrs;
        attrs.set("groups", call.operand(0).size(1));
        return eval_group_norm({call.operands, attrs, call.regions, call.bindings});
      },
      .onnx = {.op_type = "InstanceNormalization",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"epsilon", "eps"}}},
      .examples = {{{f32({2, 3, 4}), f32({3}), f32({3})}}},
  };
}

// ---------------------------------------------------------------------------------------------------------- batch_norm

Expected<std::vector<Type>> infer_batch_norm(const InferCall& call) {
  TAPER_TRY(check_channels(call, 1, 5));
  return same_as_first(call);
}

Expected<std::vector<Array>> eval_batch_norm(const EvalCall& call) {
  Array y = call.operand(0);
  const std::int64_t run = axis_view(y.shape, 1).inner, channels = y.size(1);
  for (std::size_t i = 0; i < y.values.size(); ++i) {
    const auto channel = static_cast<std::size_t>(static_cast<std::int64_t>(i) / run % channels);
    const double scale = 1 / std::sqrt(call.operand(4).values[channel] + call.attrs.real("eps"));
    double& x = y.values[i];
    x = (x - call.operand(3).values[channel]) * scale;
    if (call.has(1)) x *= call.operand(1).values[channel];
    if (call.has(2)) x += call.operand(2).values[channel];
  }
  return std::vector{std::move(y)};
}

// x g + (bias - mean g), g = weight / sqrt(var + eps)
std::vector<Value*> expand_batch_norm(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::size_t rank = node.operands[0]->type.shape.size();
  Value* scale = build("rsqrt", {build("add", {operands[4], build.scalar(node.attrs.real("eps"))})});
  if (operands[1] != nullptr) scale = build("mul", {scale, operands[1]});
  Value* shift = build("neg", {build("mul", {operands[3], scale})});
  if (operands[2] != nullptr) shift = build("add", {shift, operands[2]});
  Value* y = build("mul", {operands[0], over_channels(build, scale, rank)});
  return {build("add", {y, over_channels(build, shift, rank)})};
}

Op batch_norm() {
  const auto examples = [](std::vector<std::int64_t> sizes) {
    return Example{{f32(sizes), f32({sizes[1]}), f32({sizes[1]}), f32({sizes[1]}), f32({sizes[1]})}, {}, 0.1, 2, 1};
  };
  return {
      .name = "batch_norm",
      .doc = "weight * (x - mean) / sqrt(var + eps) + bias by channel of x [N, C, ...], mean and var given",
      .operands = {"x", "weight?", "bias?", "mean", "var"},
      .attrs = {{"eps", AttrKind::real, 1e-5}},
      .infer = infer_batch_norm,
      .eval = eval_batch_norm,
      .expand = expand_batch_norm,
      .onnx = {.op_type = "BatchNormalization",
               .inputs = {operand(0), operand(1), operand(2), operand(3), operand(4)},
               .attrs = {{"epsilon", "eps"}},
               .fits = [](const Node& node) { return node.operands[1] != nullptr && node.operands[2] != nullptr; }},
      .examples = {examples({2, 3, 4}), examples({1, 3, 4, 5}), examples({2, 4})},
      .tolerance = 5e-5,  // shares of a sum are rounded one by one
  };
}

// ------------------------------------------------------------------------------------------------------------ rms_norm

Op rms_norm() {
  return {
      .name = "rms_norm",
      .doc = "weight * x / sqrt(mean of x^2 + eps) over the last axis",
      .operands = {"x", "weight?"},
      .attrs = {{"eps", AttrKind::real, 1e-6}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        const Shape& x = call.shape(0);
        if (x.empty() || !is_floating(call.type(0).dtype))
          return fail("x is {}, expected floating numbers of one axis or more", type_text(call.type(0)));
        if (call.has(1) && call.type(1) != Type{call.type(0).dtype, Shape{x.back()}})
          return fail("weight is {}, expected {}", type_text(call.type(1)),
                      type_text({call.type(0).dtype, Shape{x.back()}}));
        return same_as_first(call);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        Array y = call.operand(0);
        const auto size = static_cast<std::size_t>(y.shape.back());
        for (std::size_t at = 0; at < y.values.size(); at += size) {
          double square = 0;
          for (std::size_t i = 0; i < size; ++i) square += y.values[at + i] * y.values[at + i];
          const double scale = 1 / std::sqrt(square / static_cast<double>(size) + call.attrs.real("eps"));
          for (std::size_t i = 0; i < size; ++i)
            y.values[at + i] *= scale * (call.has(1) ? call.operand(1).values[i] : 1);
        }
        return std::vector{std::move(y)};
      },
      .per_step = true,
      .expand = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* x = operands[0];
        Value* square = build("mean", {build("mul", {x, x})}, {{"dims", Integers{-1}}, {"keepdim", true}});
        Value* scale = build("rsqrt", {build("add", {square, build.scalar(node.attrs.real("eps"))})});
        Value* y = build("mul", {x, scale});
        return {has_operand(operands, 1) ? build("mul", {y, operands[1]}) : y};
      },
      .examples = {{{f32({2, 3, 8}), f32({8})}, {}, -2, 2, 1}, {{f32({4, 8})}, {{"eps", 1e-5}}}},
  };
}

// ------------------------------------------------------------------------------------------------- local_response_norm

Expected<std::vector<Type>> infer_local_response_norm(const InferCall& call) {
  TAPER_TRY(check_channels(call, 0, 0));
  constexpr std::int64_t kMost = 1 << 16;
  const std::int64_t size = call.attrs.integer("size");
  if (size < 1 || size > kMost) return fail("size is {}", size);
  return same_as_first(call);
}

Expected<std::vector<Array>> eval_local_response_norm(const EvalCall& call) {
  const Array& x = call.operand(0);
  Array y = x;
  const AxisView view = axis_view(x.shape, 1);
  const std::int64_t size = call.attrs.integer("size");
  const double alpha = call.attrs.real("alpha"), beta = call.attrs.real("beta"), k = call.attrs.real("k");
  for (std::int64_t o = 0; o < view.outer; ++o)
    for (std::int64_t c = 0; c < view.size; ++c)
      for (std::int64_t i = 0; i < view.inner; ++i) {
        double sum = 0;
        const std::int64_t last = std::min(view.size - 1, c + (size - 1) / 2);
        for (std::int64_t d = std::max<std::int64_t>(0, c - size / 2); d <= last; ++d) {
          const double entry = x.values[static_cast<std::size_t>((o * view.size + d) * view.inner + i)];
          sum += entry * entry;
        }
        y.values[static_cast<std::size_t>((o * view.size + c) * view.inner + i)] /=
            std::pow(k + alpha * sum / static_cast<double>(size), beta);
      }
  return std::vector{std::move(y)};
}

std::vector<Value*> expand_local_response_norm(Builder& build, const Node& node, std::span<Value* const> operands) {
  const Shape& shape = node.operands[0]->type.shape;
  const std::int64_t size = node.attrs.integer("size");
  Integers before(shape.size(), 0), after(shape.size(), 0);
  before[1] = size / 2;
  after[1] = (size - 1) / 2;
  Value* squares = build("pad", {build("mul", {operands[0], operands[0]})}, {{"before", before}, {"after", after}});
  Value* sum = nullptr;
  for (std::int64_t i = 0; i < size; ++i) {
    Value* part = build("slice", {squares}, {{"dim", std::int64_t{1}}, {"start", i}, {"end", Shape{shape[1] + i}}});
    sum = sum == nullptr ? part : build("add", {sum, part});
  }
  Value* scaled = build("mul", {sum, build.scalar(node.attrs.real("alpha") / static_cast<double>(size))});
  Value* divisor =
      build("pow", {build("add", {scaled, build.scalar(node.attrs.real("k"))}), build.scalar(node.attrs.real("beta"))});
  return {build("div", {operands[0], divisor})};
}

// As many neighbours on both sides is what targets with channels last have.
std::vector<Value*> expand_local_response_norm_last(Builder& build, const Node& node,
                                                    std::span<Value* const> operands) {
  const std::int64_t size = node.attrs.integer("size");
  if (size % 2 == 0 || node.operands[0]->type.shape.size() != 4)
    return expand_local_response_norm(build, node, operands);
  Value* y = build("local_response_norm_nhwc", {to_channels_last(build, operands[0], 2)},
                   {{"radius", size / 2},
                    {"bias", node.attrs.real("k")},
                    {"alpha", node.attrs.real("alpha") / static_cast<double>(size)},
                    {"beta", node.attrs.real("beta")}});
  return {to_channels_first(build, y, 2)};
}

Op local_response_norm() {
  const auto attrs = [](std::int64_t size) {
    return Attrs{{"size", size}, {"alpha", 1e-2}, {"beta", 0.75}, {"k", 1.0}};
  };
  return {
      .name = "local_response_norm",
      .doc = "x / (k + alpha / size * sum of x^2)^beta over `size` neighbouring channels, size / 2 of them before",
      .operands = {"x"},
      .attrs = {{"size", AttrKind::integer},
                {"alpha", AttrKind::real, 1e-4},
                {"beta", AttrKind::real, 0.75},
                {"k", AttrKind::real, 1.0}},
      .infer = infer_local_response_norm,
      .eval = eval_local_response_norm,
      .expand = expand_local_response_norm,
      .expand_tflite = expand_local_response_norm_last,
      .expand_tensorflow = expand_local_response_norm_last,
      .onnx = {.op_type = "LRN",
               .inputs = {operand(0)},
               .attrs = {{"size", "size"}, {"alpha", "alpha"}, {"beta", "beta"}, {"bias", "k"}},
               // ONNX puts the odd neighbour of an even size behind; its runtime takes four axes.
               .fits =
                   [](const Node& node) {
                     return node.attrs.integer("size") % 2 == 1 && node.operands[0]->type.shape.size() == 4;
                   }},
      .examples = {{{f32({1, 6, 3, 4})}, attrs(3)}, {{f32({2, 6, 4})}, attrs(4)}},
  };
}

}  // namespace

std::vector<Op> channel_norm_ops() {
  return {group_norm(), onnx_instance_norm(), batch_norm(), rms_norm(), local_response_norm()};
}

}  // namespace taper
