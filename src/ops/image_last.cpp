// Rearrangements and norms of images with channels last, as TFLite and TensorFlow have them.
#include <numeric>

#include "ops/channels_last.h"
#include "ops/families.h"
#include "ops/pointwise.h"
#include "ops/table.h"

namespace taper {
namespace {

using Integers = std::vector<std::int64_t>;

// The call of a row with channels first on an image with channels last.
Expected<std::vector<Array>> eval_as(std::string_view row, const EvalCall& call, Attrs attrs) {
  const Op& op = *find_op(row);
  TAPER_TRY(complete_attrs(op, attrs));
  const Array x = last_to_first(call.operand(0));
  const Array* const operands[] = {&x};
  TAPER_ASSIGN(auto results, op.eval({operands, attrs, call.regions, call.bindings}));
  return std::vector{first_to_last(results[0])};
}

Status check_image(const InferCall& call) {
  if (call.shape(0).size() != 4) return fail("x has shape {}, expected [N, H, W, C]", shape_text(call.shape(0)));
  return {};
}

Expected<std::int64_t> block_of(const InferCall& call) {
  TAPER_TRY(check_image(call));
  const std::int64_t block = call.attrs.integer("block");
  constexpr std::int64_t kLargest = 1 << 16;
  if (block < 2 || block > kLargest) return fail("block is {}, expected 2 or more", block);
  return block;
}

Op depth_to_space_nhwc() {
  using Options = tflite::DepthToSpaceOptionsT;
  return {
      .name = "depth_to_space_nhwc",
      .doc = "x [N, H, W, b b C] as [N, H b, W b, C], channels (block row, block column, C)",
      .operands = {"x"},
      .attrs = {{"block", AttrKind::integer}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN(const std::int64_t block, block_of(call));
        const Shape& x = call.shape(0);
        const auto channels = divide_exactly(x[3], Dim(block * block));
        if (!channels) return fail("{} channels in blocks of {}", x[3].text(), block);
        return std::vector{Type{call.type(0).dtype, {x[0], x[1] * block, x[2] * block, *channels}}};
      },
      .eval = [](const EvalCall& call) { return eval_as("depth_to_space", call, call.attrs); },
      .expand_onnx = expand_blocks_onnx,
      .tflite = {.builtin = tflite::BuiltinOperator::DEPTH_TO_SPACE,
                 .since = "2.1.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::block_size, "block"}),
                 .dtypes = tflite_moved_dtypes("2.1.0", {DType::i16, DType::boolean})},
      .tensorflow = {.op = "DepthToSpace", .inputs = {operand(0)}, .attrs = {{"block_size", "block"}}},
      .examples = {{{f32({1, 3, 4, 8})}, {{"block", std::int64_t{2}}}}},
  };
}

Op space_to_depth_nhwc() {
  using Options = tflite::SpaceToDepthOptionsT;
  return {
      .name = "space_to_depth_nhwc",
      .doc = "x [N, H b, W b, C] as [N, H, W, b b C], channels (block row, block column, C)",
      .operands = {"x"},
      .attrs = {{"block", AttrKind::integer}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_ASSIGN(const std::int64_t block, block_of(call));
        const Shape& x = call.shape(0);
        const auto height = divide_exactly(x[1], Dim(block)), width = divide_exactly(x[2], Dim(block));
        if (!height || !width) return fail("{} x {} in blocks of {}", x[1].text(), x[2].text(), block);
        return std::vector{Type{call.type(0).dtype, {x[0], *height, *width, x[3] * (block * block)}}};
      },
      .eval = [](const EvalCall& call) { return eval_as("space_to_depth", call, call.attrs); },
      .expand_onnx = expand_blocks_onnx,
      .tflite = {.builtin = tflite::BuiltinOperator::SPACE_TO_DEPTH,
                 .since = "1.5.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::block_size, "block"}),
                 .dtypes = tflite_moved_dtypes("1.5.0", {DType::i16, DType::boolean})},
      .tensorflow = {.op = "SpaceToDepth", .inputs = {operand(0)}, .attrs = {{"block_size", "block"}}},
      .examples = {{{f32({1, 4, 6, 3})}, {{"block", std::int64_t{2}}}}},
  };
}

// Those of `local_response_norm`, which counts the channels and divides by them.
Attrs channels_first_norm(const Attrs& attrs) {
  const std::int64_t size = 2 * attrs.integer("radius") + 1;
  return {{"size", size},
          {"alpha", attrs.real("alpha") * static_cast<double>(size)},
          {"beta", attrs.real("beta")},
          {"k", attrs.real("bias")}};
}

Op local_response_norm_nhwc() {
  using Options = tflite::LocalResponseNormalizationOptionsT;
  return {
      .name = "local_response_norm_nhwc",
      .doc = "x / (bias + alpha * sum of x^2)^beta over `radius` channels before and after each of x [N, H, W, C]",
      .operands = {"x"},
      .attrs = {{"radius", AttrKind::integer},
                {"bias", AttrKind::real},
                {"alpha", AttrKind::real},
                {"beta", AttrKind::real}},
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_image(call));
        constexpr std::int64_t kMost = 1 << 15;
        if (call.attrs.integer("radius") < 0 || call.attrs.integer("radius") > kMost ||
            call.type(0).dtype != DType::f32)
          return fail("radius is {}, x {}", call.attrs.integer("radius"), type_text(call.type(0)));
        return same_as_first(call);
      },
      .eval = [](const EvalCall& call) -> Expected<std::vector<Array>> {
        return eval_as("local_response_norm", call, channels_first_norm(call.attrs));
      },
      .expand_onnx = [](Builder& build, const Node& node, std::span<Value* const> operands) -> std::vector<Value*> {
        Value* x = to_channels_first(build, operands[0], 2);
        return {to_channels_last(build, build("local_response_norm", {x}, channels_first_norm(node.attrs)), 2)};
      },
      .tflite = {.builtin = tflite::BuiltinOperator::LOCAL_RESPONSE_NORMALIZATION,
                 .since = "1.5.0",
                 .inputs = {operand(0)},
                 .options = tflite_options<Options>(OptionField<Options, std::int32_t>{&Options::radius, "radius"},
                                                    OptionField<Options, float>{&Options::bias, "bias"},
                                                    OptionField<Options, float>{&Options::alpha, "alpha"},
                                                    OptionField<Options, float>{&Options::beta, "beta"})},
      .tensorflow = {.op = "LRN",
                     .inputs = {operand(0)},
                     .attrs = {{"depth_radius", "radius"}, {"bias", "bias"}, {"alpha", "alpha"}, {"beta", "beta"}}},
      .examples = {{{f32({1, 3, 4, 6})},
                    {{"radius", std::int64_t{1}}, {"bias", 1.0}, {"alpha", 0.25}, {"beta", 0.75}}}},
  };
}

// Channels (C, cell) in the order (cell, C), or back.
Value* reorder_channels(Builder& build, Value* x, std::int64_t channels, std::int64_t cells, bool cells_first) {
  Integers order;
  const std::int64_t outer = cells_first ? cells : channels, inner = cells_first ? channels : cells;
  for (std::int64_t i = 0; i < outer; ++i)
    for (std::int64_t j = 0; j < inner; ++j) order.push_back(j * outer + i);
  Value* index = build.constant(converted(tensor_i64({channels * cells}, order), DType::i32), "channels");
  return build("gather", {x, index}, {{"dim", std::int64_t{3}}});
}

}  // namespace

std::vector<Value*> expand_blocks_last(Builder& build, const Node& node, std::span<Value* const> operands) {
  const bool to_space = node.op == "depth_to_space", cells_last = node.attrs.text("mode") == "CRD";
  const std::int64_t block = node.attrs.integer("block"), cells = block * block;
  const Type& spread = to_space ? node.results[0]->type : node.operands[0]->type;
  const std::int64_t channels = spread.shape[1].constant().value_or(0);
  if (block == 1) return {operands[0]};
  Value* x = to_channels_last(build, operands[0], 2);
  if (to_space && cells_last) x = reorder_channels(build, x, channels, cells, true);
  x = build(to_space ? "depth_to_space_nhwc" : "space_to_depth_nhwc", {x}, {{"block", block}});
  if (!to_space && cells_last) x = reorder_channels(build, x, channels, cells, false);
  return {to_channels_first(build, x, 2)};
}

std::vector<Op> image_last_ops() {
  return {depth_to_space_nhwc(), space_to_depth_nhwc(), local_response_norm_nhwc()};
}

}  // namespace taper
