// The column `quantized` of the table: what TFLite's kernels compute on integers, from which version of the operator
// on and since which runtime. It stands in one place because its facts have one source, LiteRT's kernels.
#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

constexpr TfliteVersion kNone = {0, {}};

struct NamedForm {
  std::string_view op;
  QuantizedForm form;
};

// Elements that are computed anew, on any grids.
QuantizedForm computes(TfliteVersion int8, TfliteVersion int16 = kNone) {
  return {.int8 = int8, .int16 = int16};
}

// Elements that only move, or of which some are chosen.
QuantizedForm moves(TfliteVersion int8, TfliteVersion int16 = kNone) {
  return {.int8 = int8, .int16 = int16, .shares = true};
}

// Results on a grid that the kernel prescribes; that of int16 is 1/32768 for all of them.
QuantizedForm onto(Grid grid8, TfliteVersion int8, TfliteVersion int16 = kNone) {
  return {.int8 = int8, .int16 = int16, .grid8 = grid8, .grid16 = Grid{1.0F / 32768, 0}};
}

// Products with constant weights that have a scale per entry of `axis`.
template <std::int64_t axis>
QuantizedForm multiplies(TfliteVersion int8, TfliteVersion int16, TfliteVersion hybrid, std::size_t bias) {
  return {.int8 = int8,
          .int16 = int16,
          .hybrid = hybrid,
          .weight = 1,
          .channels = [](const Node&) { return axis; },
          .input_axes = 3,
          .bias = bias};
}

QuantizedForm linear_form() {
  QuantizedForm form = multiplies<0>({4, "1.14.0"}, {7, "2.3.0"}, {12, "2.17.0"}, 2);
  form.hybrid_int4 = {12, "2.17.0"};
  form.hybrid_blocks = true;
  form.input_axes = 1;
  return form;
}

// Only a constant is a weight; the product of two computed matrices has no hybrid kernel.
QuantizedForm matmul_form() {
  return {.int8 = {2, "2.3.0"},
          .int16 = {3, "2.4.0"},
          .hybrid = {4, "2.5.0"},
          .weight = 1,
          .channels =
              [](const Node& node) {
                const auto rank = static_cast<std::int64_t>(node.operands[1]->type.shape.size());
                return node.attrs.flag("transpose_b") ? rank - 2 : rank - 1;
              },
          .input_axes = 1};
}

// Which kernel computes a product follows from its scales: from version 3 on they may be any.
std::vector<NamedForm> forms() {
  return {
      {"linear", linear_form()},
      {"matmul", matmul_form()},
      {"conv_nhwc", multiplies<0>({3, "1.14.0"}, {4, "2.3.0"}, {5, "2.4.0"}, 2)},
      {"depthwise_conv_nhwc", multiplies<3>({3, "1.14.0"}, {5, "2.3.0"}, {6, "2.3.0"}, 2)},
      {"transpose_conv_nhwc", multiplies<0>({2, "2.2.0"}, {3, "2.3.0"}, kNone, 3)},

      {"relu", computes({2, "2.1.0"}, {3, "2.5.0"})},
      {"relu6", computes({2, "1.14.0"}, {3, "2.5.0"})},
      {"leaky_relu", computes({1, "1.13.1"}, {2, "2.3.0"})},
      {"elu", computes({1, "1.14.0"})},
      {"gelu", computes({2, "2.9.0"})},
      {"hard_swish", computes({1, "1.15.0"})},
      {"rsqrt", computes({2, "2.5.0"})},
      {"add", computes({2, "1.14.0"}, {3, "2.4.0"})},
      {"sub", computes({2, "1.14.0"}, {5, "2.4.0"})},
      {"mul", computes({3, "1.15.0"}, {4, "2.3.0"})},
      {"squared_difference", computes({2, "2.5.0"})},
      {"mean", computes({2, "1.14.0"}, {3, "2.4.0"})},
      {"sum", computes({2, "1.15.0"})},

      {"sigmoid", onto({1.0F / 256, -128}, {2, "1.14.0"}, {3, "2.3.0"})},
      {"softmax", onto({1.0F / 256, -128}, {2, "1.14.0"}, {3, "2.3.0"})},
      {"tanh", onto({1.0F / 128, 0}, {2, "1.14.0"}, {3, "2.3.0"})},
      {"log_softmax", onto({16.0F / 256, 127}, {2, "1.14.0"})},

      {"maximum", moves({2, "1.14.0"}, {4, "2.3.0"})},
      {"minimum", moves({2, "1.14.0"}, {4, "2.3.0"})},
      {"amax", moves({2, "1.14.0"}, {3, "2.5.0"})},
      {"amin", moves({2, "1.14.0"}, {3, "2.5.0"})},
      {"max_pool_nhwc", moves({2, "1.14.0"}, {3, "2.3.0"})},
      {"avg_pool_nhwc", moves({2, "1.14.0"}, {3, "2.3.0"})},
      {"resize_nearest_nhwc", moves({2, "1.14.0"}, {4, "2.4.0"})},
      {"resize_bilinear_nhwc", moves({2, "1.14.0"}, {4, "2.5.0"})},
      {"depth_to_space_nhwc", moves({2, "2.1.0"})},
      {"space_to_depth_nhwc", moves({2, "1.14.0"})},
      {"reshape", moves({1, "1.5.0"}, {1, "1.5.0"})},
      {"reshape_to", moves({1, "1.5.0"}, {1, "1.5.0"})},
      {"unsqueeze", moves({1, "1.10.0"}, {1, "1.10.0"})},
      {"squeeze", moves({1, "1.6.0"}, {1, "1.6.0"})},
      {"permute", moves({2, "1.14.0"}, {5, "2.4.0"})},
      {"expand", moves({3, "2.5.0"}, {3, "2.5.0"})},
      {"expand_to", moves({3, "2.5.0"}, {3, "2.5.0"})},
      {"tile", moves({3, "2.8.0"})},
      {"concat", moves({2, "1.14.0"}, {3, "2.3.0"})},
      {"split", moves({2, "1.14.0"}, {4, "2.3.0"})},
      {"slice", moves({2, "1.14.0"}, {2, "2.3.0"})},
      {"narrow_to", moves({2, "1.14.0"}, {2, "2.3.0"})},
      {"select", moves({2, "1.14.0"}, {2, "2.3.0"})},
      {"update_slice", moves({1, "2.9.0"}, {4, "2.20.0"})},
      {"flip", moves({3, "2.5.0"})},
      {"gather", moves({2, "1.14.0"}, {4, "2.4.0"})},
      {"gather_nd", moves({1, "1.14.0"}, {3, "2.5.0"})},
      {"where", moves({1, "2.2.0"}, {1, "2.2.0"})},
      {"pad", moves({2, "1.14.0"}, {3, "2.4.0"})},
      {"mirror_pad", moves({2, "2.3.0"}, {3, "2.12.0"})},
  };
}

}  // namespace

void add_quantized_forms(std::vector<Op>& rows) {
  for (NamedForm& named : forms()) {
    const auto row = std::ranges::find(rows, named.op, &Op::name);
    if (row != rows.end()) row->quantized = named.form;
  }
}

}  // namespace taper
