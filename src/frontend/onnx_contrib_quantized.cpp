// ONNX Runtime's own operators on quantized numbers: what they stand for in reals, rounded to the grid of the result.
#include "frontend/onnx_importer.h"
#include "frontend/onnx_quantized.h"

namespace taper::onnx_reader {
namespace {

// (x - zero) scale of three operands in a row, the first at `i`.
Value* real_of(Call& call, std::size_t i) {
  Value* x = centred(call, call.x(i), call.has(i + 2) ? call.x(i + 2) : nullptr);
  return call.build("mul", {x, call.cast(call.x(i + 1), DType::f32)});
}

// The result of the node: y on the grid of the operands at `scale` and after it.
void set_on_grid(Call& call, Value* y, std::size_t scale, std::size_t of = 0) {
  const bool has_zero = call.has(scale + 1);
  const DType dtype = has_zero ? call.dtype(scale + 1) : call.dtype(of);
  Value* scaled = call.build("div", {y, call.cast(call.x(scale), DType::f32)});
  call.set(0, quantize(call, scaled, has_zero ? call.x(scale + 1) : nullptr, 0, dtype, call.name()));
}

void read_binary(Call& call, std::string_view op) {
  set_on_grid(call, call.build(op, {real_of(call, 0), real_of(call, 3)}), 6);
}

// An operator of ONNX on x, with these of its attributes. Images may have their channels last.
void read_unary(Call& call, std::string_view op, std::int64_t version, std::initializer_list<std::string_view> kept) {
  const bool last = call.flag("channels_last", false);
  Value* x = real_of(call, 0);
  Value* y = call.apply(op, version, {last ? channels_to_front(call, x) : x}, kept)[0];
  set_on_grid(call, last ? channels_to_back(call, y) : y, 3);
}

void read_average_pool(Call& call) {
  read_unary(call, "AveragePool", 11,
             {"auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"});
}

// Before version 13 over all axes from one on: `opset` says which is meant.
void read_softmax(Call& call) {
  read_unary(call, "Softmax", call.integer("opset", 13), {"axis"});
}

void read_concat(Call& call) {
  const std::int64_t axis = call.integer("axis", 0);
  std::vector<Value*> parts;
  for (std::size_t i = 2; i + 2 < call.inputs(); i += 3) parts.push_back(real_of(call, i));
  if (parts.empty() && !call.failed()) return call.fail("nothing to join");
  set_on_grid(call, call.build("concat", parts, {{"dim", axis}}), 0, 2);
}

void read_where(Call& call) {
  set_on_grid(call, call.build("where", {call.x(0), real_of(call, 1), real_of(call, 4)}), 7, 1);
}

void read_max_pool_last(Call& call) {
  Value* y = call.apply("MaxPool", 12, {channels_to_front(call, call.x(0))},
                        {"auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"})[0];
  call.set(0, channels_to_back(call, y));
}

// alpha A' B' + C, where C lies on the grid of the products; in reals where the result has no scale.
void read_gemm(Call& call) {
  const double alpha = call.real("alpha", 1);
  const bool transpose_a = call.flag("transA", false), transpose_b = call.flag("transB", false);
  Value* a = centred(call, call.x(0), call.optional(2));
  Value* b = call.x(3);
  if (call.failed()) return;
  if (call.rank(0) != 2 || call.rank(3) != 2) return call.fail("expected two matrices");
  if (transpose_a) a = call.permute(a, {1, 0});
  if (transpose_b) b = call.permute(b, {1, 0});
  b = centred(call, b, call.has(5) ? per_column(call, call.x(5)) : nullptr);
  Value* sums = call.build("matmul", {a, b});
  if (call.has(6)) sums = call.build("add", {sums, call.cast(call.x(6), DType::f32)});
  Value* scale = call.build("mul", {call.x(1), per_column(call, call.x(4))});
  if (call.failed()) return;
  Value* result = call.build("mul", {sums, alpha == 1 ? scale : call.binary("mul", scale, alpha)});
  if (call.has(7)) return set_on_grid(call, result, 7);
  call.set(0, result);
}

// (a - zero) (b - zero) scale + bias
void set_product(Call& call, Value* a, std::size_t b, Value* b_zero, Value* a_scale, Value* b_scale, std::size_t bias) {
  Value* sums = call.build("matmul", {a, centred(call, call.x(b), per_column(call, b_zero))});
  Value* result = call.build("mul", {sums, call.build("mul", {a_scale, per_column(call, b_scale)})});
  if (call.has(bias)) result = call.build("add", {result, call.x(bias)}, {}, call.name());
  call.set(0, result);
}

// A is quantized by its own range.
void read_dynamic_matmul(Call& call) {
  const QuantizedValue a = quantize_dynamically(call, call.x(0), "");
  set_product(call, centred(call, a.integers, a.zero), 1, call.optional(3), a.scale, call.x(2), 4);
}

void read_matmul_to_float(Call& call) {
  Value* a = centred(call, call.x(0), call.optional(4));
  set_product(call, a, 1, call.optional(5), call.x(2), call.x(3), 6);
}

// The weights of a recurrent layer: [directions, inputs, gates h] of bytes, with a scale and a zero point per
// direction, and maybe per column -> [directions, gates h, inputs].
Value* recurrent_weights(Call& call, std::size_t weights, std::size_t scale) {
  const auto bytes = call.needed_constant(weights), factor = call.needed_constant(scale),
             point = call.needed_constant(scale + 1);
  if (call.failed()) return nullptr;
  const auto& shape = bytes->shape;
  const auto fits = [&](const Tensor& x) {
    return x.rank() >= 1 && x.rank() <= 2 && x.shape[0] == shape[0] && (x.rank() == 1 || x.shape[1] == shape[2]);
  };
  if (bytes->rank() != 3 || !fits(*factor) || !fits(*point)) {
    call.fail(
        fmt::format("weights {}, scales {}, zero points {}", describe(*bytes), describe(*factor), describe(*point)));
    return nullptr;
  }
  const std::vector<double> integers = to_double(*bytes), factors = to_double(*factor), points = to_double(*point);
  const auto at = [&](const Tensor& x, const std::vector<double>& values, std::int64_t direction, std::int64_t column) {
    return values[static_cast<std::size_t>(x.rank() == 1 ? direction : direction * shape[2] + column)];
  };
  std::vector<float> values(integers.size());
  for (std::int64_t d = 0; d < shape[0]; ++d)
    for (std::int64_t row = 0; row < shape[1]; ++row)
      for (std::int64_t column = 0; column < shape[2]; ++column)
        values[static_cast<std::size_t>((d * shape[2] + column) * shape[1] + row)] =
            static_cast<float>((integers[static_cast<std::size_t>((d * shape[1] + row) * shape[2] + column)] -
                                at(*point, points, d, column)) *
                               at(*factor, factors, d, column));
  return call.build.constant(tensor_f32({shape[0], shape[2], shape[1]}, values),
                             call.node.input(static_cast<int>(weights)));
}

void read_dynamic_lstm(Call& call) {
  Value* input = recurrent_weights(call, 1, 8);
  Value* hidden = recurrent_weights(call, 2, 10);
  const std::vector<Value*> results = call.apply(
      "LSTM", 7,
      {call.x(0), input, hidden, call.optional(3), call.optional(4), call.optional(5), call.optional(6),
       call.optional(7)},
      {"direction", "hidden_size", "activations", "activation_alpha", "activation_beta", "clip", "input_forget"}, 3);
  call.importer.assume(
      "DynamicQuantizeLSTM is computed with its integer weights and float inputs: ONNX Runtime rounds the inputs to 8 "
      "bits too, so results differ slightly");
  for (std::size_t i = 0; i < 3; ++i) call.set(i, results[i]);
}

Row contrib(std::string_view op, std::size_t operands, void (*read)(Call&)) {
  return {.op = op, .operands = operands, .read = read, .domain = kContrib};
}

}  // namespace

std::vector<Row> contrib_quantized_rows() {
  return {
      contrib("QLinearAdd", 2, [](Call& c) { read_binary(c, "add"); }),
      contrib("QLinearMul", 2, [](Call& c) { read_binary(c, "mul"); }),
      contrib("QLinearSigmoid", 2, [](Call& c) { read_unary(c, "Sigmoid", 13, {}); }),
      contrib("QLinearLeakyRelu", 2, [](Call& c) { read_unary(c, "LeakyRelu", 13, {"alpha"}); }),
      contrib("QLinearAveragePool", 2, read_average_pool),
      contrib("QLinearGlobalAveragePool", 2, [](Call& c) { read_unary(c, "GlobalAveragePool", 1, {}); }),
      contrib("QLinearReduceMean", 2, [](Call& c) { read_unary(c, "ReduceMean", 13, {"axes", "keepdims"}); }),
      contrib("QLinearSoftmax", 2, read_softmax),
      contrib("QLinearConcat", 1, read_concat),
      contrib("QLinearWhere", 3, read_where),
      contrib("NhwcMaxPool", 1, read_max_pool_last),
      contrib("QGemm", 4, read_gemm),
      contrib("DynamicQuantizeMatMul", 3, read_dynamic_matmul),
      contrib("MatMulIntegerToFloat", 4, read_matmul_to_float),
      contrib("DynamicQuantizeLSTM", 3, read_dynamic_lstm),
  };
}

}  // namespace taper::onnx_reader
