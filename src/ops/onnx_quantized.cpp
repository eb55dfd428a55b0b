// ONNX's operators between real numbers and the integers that stand for them.
#include <cmath>

#include "ops/families.h"
#include "ops/rules.h"

namespace taper {
namespace {

// One scale, or one for each entry of `axis`; zero points likewise.
Status check_factors(const InferCall& call) {
  const Shape& x = call.shape(0);
  const Shape& scale = call.shape(1);
  if (call.type(1).dtype != DType::f32 || scale.size() > 1) return fail("scales are {}", type_text(call.type(1)));
  if (call.has(2) && call.shape(2) != scale)
    return fail("scales have shape {}, zero points {}", shape_text(scale), shape_text(call.shape(2)));
  if (scale.empty()) return {};
  TAPER_ASSIGN(const std::size_t axis, normalize_axis(call.attrs.integer("axis"), x.size()));
  if (x[axis] != scale[0]) return fail("{} scales for axis {} of {}", scale[0].text(), axis, shape_text(x));
  return {};
}

// Calls f(element, scale, zero point) for each element of x.
template <class F>
Expected<std::vector<Array>> eval_elements(const EvalCall& call, DType dtype, const F& f) {
  const Array& x = call.operand(0);
  const std::vector<double>& scales = call.operand(1).values;
  std::size_t inner = 1;
  if (!call.operand(1).shape.empty())
    for (auto axis = static_cast<std::size_t>(call.attrs.integer("axis")) + 1; axis < x.shape.size(); ++axis)
      inner *= static_cast<std::size_t>(x.shape[axis]);
  Array out = make_array(dtype, x.shape);
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    const std::size_t entry = i / inner % scales.size();
    out.values[i] = f(x.values[i], scales[entry], call.has(2) ? call.operand(2).values[entry] : 0.0);
  }
  return std::vector{std::move(out)};
}

std::vector<AttrSpec> axis_attr() {
  return {{"axis", AttrKind::integer, std::int64_t{0}}};
}

Op onnx_quantize() {
  return {
      .name = "onnx_quantize",
      .doc = "ONNX's QuantizeLinear: x / scale, rounded to even, + zero, saturating",
      .operands = {"x", "scale", "zero"},
      .attrs = axis_attr(),
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_factors(call));
        if (call.type(0).dtype != DType::f32 || call.type(2).dtype != DType::i8)
          return fail("x is {}, the zero point {}", type_text(call.type(0)), type_text(call.type(2)));
        return std::vector{Type{DType::i8, call.shape(0)}};
      },
      .eval =
          [](const EvalCall& call) {
            return eval_elements(call, DType::i8, [](double x, double scale, double zero) {
              const double integer = std::isnan(x) ? zero : std::nearbyint(x / scale) + zero;
              return std::clamp(integer, -128.0, 127.0);
            });
          },
      .onnx = {.op_type = "QuantizeLinear",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"axis", "axis"}}},
  };
}

Op onnx_dequantize() {
  return {
      .name = "onnx_dequantize",
      .doc = "ONNX's DequantizeLinear: (q - zero) scale",
      .operands = {"q", "scale", "zero?"},
      .attrs = axis_attr(),
      .infer = [](const InferCall& call) -> Expected<std::vector<Type>> {
        TAPER_TRY(check_factors(call));
        const DType dtype = call.type(0).dtype;
        if ((dtype != DType::i8 && dtype != DType::i32) || (call.has(2) && call.type(2).dtype != dtype))
          return fail("q is {}, expected int8 or int32 and zero points of that type", type_text(call.type(0)));
        return std::vector{Type{DType::f32, call.shape(0)}};
      },
      .eval =
          [](const EvalCall& call) {
            return eval_elements(call, DType::f32,
                                 [](double q, double scale, double zero) { return (q - zero) * scale; });
          },
      .onnx = {.op_type = "DequantizeLinear",
               .inputs = {operand(0), operand(1), operand(2)},
               .attrs = {{"axis", "axis"}}},
  };
}

}  // namespace

std::vector<Op> onnx_quantized_ops() {
  return {onnx_quantize(), onnx_dequantize()};
}

}  // namespace taper
