// The column `quantized` of the table: what TFLite's kernels compute on integers, from which version of the operator
// on and since which runtime. It stands in one place because its facts have one source, LiteRT's kernels.
#include "ops/families.h"
#include "ops/rules.h"
#include "ops/table.h"

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
  return {.int8 = int8, .int16 = int16, .shares = true, .chooses = true};
}

// Means of elements, on the grid of these.
QuantizedForm averages(TfliteVersion int8, TfliteVersion int16 = kNone) {
  return {.int8 = int8, .int16 = int16, .shares = true};
}

// Results on a grid that the kernel prescribes; that of int16 is 1/32768 for all of them.
QuantizedForm onto(FixedGrid grid8, TfliteVersion int8, TfliteVersion int16 = kNone) {
  return {.int8 = int8, .int16 = int16, .grid8 = grid8, .grid16 = FixedGrid{1.0F / 32768, 0}};
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
  // Runtimes before that of version 12 take the first of many scales for all of them.
  QuantizedForm form = multiplies<0>({12, "2.17.0"}, {12, "2.17.0"}, {12, "2.17.0"}, 2);
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

// The kernel of version 2 multiplies by s_x s_y / s below 1 only.
TfliteVersion mul_version(const Node& node) {
  const TfliteSpelling& spelling = op_of(node).tflite;
  TfliteVersion version = {spelling.version, spelling.since};
  for (const TfliteDType& each : spelling.dtypes)
    if (each.dtype == node.operands[0]->type.dtype) version = each.version;
  const auto scale = [](const Value* value) {
    return value->quantization == nullptr ? 0.0 : static_cast<double>(value->quantization->scales[0]);
  };
  const double result = scale(node.results[0]);
  const bool grows = result > 0 && scale(node.operands[0]) * scale(node.operands[1]) >= result;
  return grows && version.number < 3 ? TfliteVersion{3, "1.15.0"} : version;
}

// Left out: the kernels of `rsqrt` and `squared_difference`, whose results span more magnitudes than 255 steps can tell
// apart, so that norms computed with them are of no use, and that of `log_softmax`, whose steps are a sixteenth
// whatever the range.
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
      {"add", computes({2, "1.14.0"}, {3, "2.4.0"})},
      {"sub", computes({2, "1.14.0"}, {5, "2.4.0"})},
      {"mul", computes({2, "1.14.0"}, {4, "2.3.0"})},
      {"mean", computes({2, "1.14.0"}, {3, "2.4.0"})},
      {"sum", computes({2, "1.15.0"})},

      {"sigmoid", onto({1.0F / 256, -128}, {2, "1.14.0"}, {3, "2.3.0"})},
      {"softmax", onto({1.0F / 256, -128}, {2, "1.14.0"}, {3, "2.3.0"})},
      {"tanh", onto({1.0F / 128, 0}, {2, "1.14.0"}, {3, "2.3.0"})},

      {"maximum", moves({2, "1.14.0"}, {4, "2.3.0"})},
      {"minimum", moves({2, "1.14.0"}, {4, "2.3.0"})},
      {"amax", moves({2, "1.14.0"}, {3, "2.5.0"})},
      {"amin", moves({2, "1.14.0"}, {3, "2.5.0"})},
      {"max_pool_nhwc", moves({2, "1.14.0"}, {3, "2.3.0"})},
      {"avg_pool_nhwc", averages({2, "1.14.0"}, {3, "2.3.0"})},
      {"resize_nearest_nhwc", moves({2, "1.14.0"}, {4, "2.4.0"})},
      {"resize_bilinear_nhwc", averages({2, "1.14.0"}, {4, "2.5.0"})},
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
    if (row == rows.end()) continue;
    row->quantized = named.form;
    if (named.op == "mul") row->tflite.version_for = mul_version;
  }
}

namespace {

const Quantization* grid_of(const Value* value) {
  return value == nullptr ? nullptr : value->quantization.get();
}

bool same_grid(const Value* a, const Value* b) {
  const Quantization* x = grid_of(a);
  const Quantization* y = grid_of(b);
  return x == y || (x != nullptr && y != nullptr && *x == *y);
}

bool is_float(const Value* value) {
  return value != nullptr && value->type.dtype == DType::f32;
}

// What goes through regions keeps its integers.
Status check_carried_grids(const Node& node, const Op& op) {
  const std::span carried = std::span(node.operands).subspan(std::min(op.region_operands, node.operands.size()));
  for (const auto& region : node.regions) {
    for (std::size_t i = 0; i < std::min(carried.size(), region->inputs().size()); ++i)
      if (!same_grid(carried[i], region->inputs()[i]))
        return fail("'{}' enters as '{}' on another grid", carried[i]->name, region->inputs()[i]->name);
    if (region->outputs().size() != node.results.size()) continue;
    for (std::size_t i = 0; i < node.results.size(); ++i)
      // A condition gives a bool even where one float is carried.
      if (is_float(region->outputs()[i].value) && !same_grid(region->outputs()[i].value, node.results[i]))
        return fail("'{}' leaves as '{}' on another grid", region->outputs()[i].value->name, node.results[i]->name);
  }
  return {};
}

// A kernel on integers takes no floats, one on floats no integers; which operands of x are concerned.
Status check_operand_grids(const Node& node, const Op& op, bool integers) {
  const bool hybrid = op.is_hybrid(node);
  for (std::size_t i = 0; i < node.operands.size(); ++i) {
    if (!is_float(node.operands[i])) continue;
    const bool quantized = grid_of(node.operands[i]) != nullptr;
    const bool expected = integers || (hybrid && op.quantized.weight == i);
    if (quantized != expected)
      return fail("operand '{}' is {}quantised", node.operands[i]->name, quantized ? "" : "not ");
    if (quantized && op.quantized.weight != i && op.quantized.bias != i && !grid_of(node.operands[i])->per_tensor())
      return fail("operand '{}' has scales per entry", node.operands[i]->name);
  }
  return {};
}

}  // namespace

Status check_grids(const Node& node) {
  const Op& op = op_of(node);
  if (!node.regions.empty()) return check_carried_grids(node, op);
  if (op.is_constant) return {};
  const bool stores = node.op == "quantize";
  if (stores || node.op == "dequantize") {
    if ((grid_of(node.results[0]) != nullptr) == stores) return {};
    return fail("its result is {}quantised", stores ? "not " : "");
  }
  const Quantization* grid = nullptr;
  for (const Value* result : node.results)
    if (is_float(result)) grid = grid_of(result);
  TAPER_TRY(check_operand_grids(node, op, grid != nullptr));
  if (grid == nullptr) return {};
  const TfliteVersion kernel = grid->bits == 8 ? op.quantized.int8 : op.quantized.int16;
  if ((grid->bits != 8 && grid->bits != 16) || kernel.number == 0)
    return fail("there is no kernel on integers of {} bits", grid->bits);
  for (const Value* result : node.results)
    if (is_float(result) && (grid_of(result) == nullptr || !grid_of(result)->per_tensor()))
      return fail("result '{}' has no grid of its own", result->name);
  if (!op.quantized.shares) return {};
  for (const std::vector<Value*>* values : {&node.operands, &node.results})
    for (const Value* value : *values)
      if (is_float(value) && !same_grid(value, node.results[0]))
        return fail("'{}' and '{}' lie on different grids", value->name, node.results[0]->name);
  return {};
}

}  // namespace taper
