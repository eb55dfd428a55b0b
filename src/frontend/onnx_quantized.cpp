// ONNX's operators on quantized numbers: q stands for (q - zero point) * scale.
#include "frontend/onnx_quantized.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "frontend/onnx_importer.h"
#include "frontend/onnx_windows.h"

namespace taper::onnx_reader {
namespace {

struct Range {
  double least, most;
};

Range range_of(int element, DType dtype) {
  switch (element) {
    case 21:
      return {0, 15};
    case 22:
      return {-8, 7};
    case 25:
      return {0, 3};
    case 26:
      return {-2, 1};
    default:
      break;
  }
  const auto bits = static_cast<int>(8 * size_of(dtype));
  const bool is_signed = dtype == DType::i8 || dtype == DType::i16 || dtype == DType::i32;
  return is_signed ? Range{-std::ldexp(1.0, bits - 1), std::ldexp(1.0, bits - 1) - 1}
                   : Range{0, std::ldexp(1.0, bits) - 1};
}

// A scale or zero point laid along the axis of x that it belongs to: a number, one per entry of the axis, or one per
// block of entries.
Value* along(Call& call, Value* factor, const Shape& x, std::int64_t axis, std::int64_t block) {
  if (call.failed() || factor == nullptr || factor->type.shape.empty()) return factor;
  const Shape own = factor->type.shape;
  if (block > 0) {
    if (own.size() != x.size()) {
      call.fail(fmt::format("blocks {} of shape {}", shape_text(own), shape_text(x)));
      return nullptr;
    }
    // [.., n, ..] -> [.., n, 1, ..] -> [.., n, block, ..] -> [.., n block, ..]
    const std::int64_t dim = call.axis(axis, x.size());
    Shape wide = own, joined = own;
    wide.insert(wide.begin() + dim + 1, Dim(block));
    joined[static_cast<std::size_t>(dim)] = own[static_cast<std::size_t>(dim)] * Dim(block);
    Value* repeated = call.build("expand", {call.unsqueeze(factor, {dim + 1})}, {{"shape", wide}});
    Value* whole = call.reshape(repeated, joined);
    const Dim size = x[static_cast<std::size_t>(dim)];
    return joined[static_cast<std::size_t>(dim)] == size ? whole : call.slice(whole, dim, 0, size);
  }
  if (own.size() != 1) return factor;
  if (own[0].is(1)) return call.reshape(factor, {});
  const std::int64_t dim = call.axis(axis, x.size());
  Shape shape(x.size(), Dim(1));
  if (call.failed()) return nullptr;
  shape[static_cast<std::size_t>(dim)] = own[0];
  return call.reshape(factor, shape);
}

}  // namespace

Value* quantize(Call& call, Value* scaled, Value* zero, int element, DType dtype, std::string_view name) {
  if (call.failed()) return nullptr;
  Value* rounded = call.build("round", {scaled});
  if (zero != nullptr) rounded = call.build("add", {rounded, call.cast(zero, scaled->type.dtype)});
  const Range range = range_of(element, dtype);
  return call.cast(call.build("clamp", {rounded}, {{"min", range.least}, {"max", range.most}}), dtype, name);
}

namespace {

void read_quantize(Call& call) {
  const std::int64_t axis = call.integer("axis", 1), block = call.integer("block_size", 0);
  const bool saturate = call.flag("saturate", true);
  int element = static_cast<int>(call.integer("output_dtype", 0));
  call.ignore({"precision"});
  const Shape shape = call.shape(0);
  const DType scale_dtype = call.dtype(1);
  if (call.failed()) return;
  DType dtype = DType::u8;
  if (call.has(2)) {
    element = call.slot(2).element;
    dtype = call.dtype(2);
  } else if (element != 0) {
    const auto given = dtype_of_element(element);
    if (!given) return call.fail(fmt::format("element type {} is not read", element));
    dtype = *given;
    if (dtype_from_onnx(element)) element = 0;
  }
  Value* scale = along(call, call.x(1), shape, axis, block);
  Value* zero = along(call, call.optional(2), shape, axis, block);
  Value* scaled = call.build("div", {call.cast(call.x(0), scale_dtype), scale});
  Slot result;
  result.element = element;
  if (is_floating(dtype))
    result.value = small_float(call, scaled, element, saturate);
  else
    result.value = quantize(call, scaled, zero, element, dtype, call.name());
  call.set(0, std::move(result));
}

void read_dequantize(Call& call) {
  const std::int64_t axis = call.integer("axis", 1), block = call.integer("block_size", 0);
  const auto wanted = call.integer("output_dtype", 0);
  const Shape shape = call.shape(0);
  const DType dtype = call.dtype(1);
  if (call.failed()) return;
  const auto target = wanted == 0 ? std::optional(dtype) : dtype_from_onnx(static_cast<int>(wanted));
  if (!target) return call.fail(fmt::format("element type {} is not read", wanted));
  // Halves hold neither all of these integers nor their differences: they are for the product.
  const DType wide = size_of(dtype) < size_of(DType::f32) ? DType::f32 : dtype;
  Value* x = call.cast(call.x(0), wide);
  Value* zero = along(call, call.optional(2), shape, axis, block);
  if (zero != nullptr) x = call.build("sub", {x, call.cast(zero, wide)});
  Value* scale = call.cast(along(call, call.x(1), shape, axis, block), wide);
  Value* result = call.build("mul", {x, scale}, {}, *target == wide ? call.name() : "");
  call.set(0, call.cast(result, *target, call.name()));
}

}  // namespace

QuantizedValue quantize_dynamically(Call& call, Value* x, std::string_view name) {
  if (call.failed()) return {};
  const DType dtype = x->type.dtype;
  std::vector<std::int64_t> dims;
  for (std::size_t i = 0; i < x->type.shape.size(); ++i) dims.push_back(static_cast<std::int64_t>(i));
  const Attrs all = {{"dims", dims}};
  Value* zero = call.number(0, dtype);
  Value* most = call.build("maximum", {call.build("amax", {x}, all), zero});
  Value* least = call.build("minimum", {call.build("amin", {x}, all), zero});
  // Where there are only zeros, by 1, as ONNX Runtime does: ONNX's formula divides by 0.
  Value* span = call.build("sub", {most, least});
  Value* scale =
      call.build("where", {call.binary("equal", span, 0.0), call.number(1, dtype), call.binary("div", span, 255.0)});
  Value* point = quantize(call, call.build("div", {call.build("neg", {least}), scale}), nullptr, 0, DType::u8, "");
  return {quantize(call, call.build("div", {x, scale}), point, 0, DType::u8, name), scale, point};
}

Value* centred(Call& call, Value* x, Value* zero) {
  Value* wide = call.cast(x, DType::f32);
  return zero == nullptr ? wide : call.build("sub", {wide, call.cast(zero, DType::f32)});
}

Value* per_column(Call& call, Value* factor) {
  if (call.failed() || factor == nullptr || factor->type.shape.size() != 1) return factor;
  return factor->type.shape[0].is(1) ? call.reshape(factor, {}) : factor;
}

namespace {

void read_dynamic_quantize(Call& call) {
  const QuantizedValue quantized = quantize_dynamically(call, call.x(0), call.name());
  call.set(0, quantized.integers);
  call.set(1, quantized.scale);
  call.set(2, quantized.zero);
}

// Factors of the rows of a.
Value* per_row(Call& call, Value* factor) {
  if (call.failed() || factor == nullptr || factor->type.shape.size() != 1) return factor;
  return factor->type.shape[0].is(1) ? call.reshape(factor, {}) : call.unsqueeze(factor, {1});
}

void read_matmul_integer(Call& call) {
  Value* a = centred(call, call.x(0), per_row(call, call.optional(2)));
  Value* b = centred(call, call.x(1), per_column(call, call.optional(3)));
  call.set(0, call.cast(call.build("matmul", {a, b}), DType::i32, call.name()));
}

void read_qlinear_matmul(Call& call) {
  const DType dtype = call.dtype(7);
  const int element = call.failed() ? 0 : call.slot(7).element;
  if (call.failed()) return;
  Value* a = centred(call, call.x(0), per_row(call, call.optional(2)));
  Value* b = centred(call, call.x(3), per_column(call, call.x(5)));
  Value* scale = call.build("mul", {per_row(call, call.x(1)), per_column(call, call.x(4))});
  scale = call.cast(call.build("div", {scale, per_row(call, call.x(6))}), DType::f32);
  Value* product = call.build("mul", {call.build("matmul", {a, b}), scale});
  call.set(0, quantize(call, product, per_row(call, call.x(7)), element, dtype, call.name()));
}

std::optional<Windows> windows_of_conv(Call& call, std::size_t weight) {
  const Shape x = call.shape(0), w = call.shape(weight);
  if (call.failed()) return std::nullopt;
  std::vector<std::int64_t> kernel;
  for (std::size_t i = 2; i < w.size(); ++i) {
    if (!w[i].constant()) {
      call.fail("the kernel's size is open");
      return std::nullopt;
    }
    kernel.push_back(*w[i].constant());
  }
  auto windows = windows_of(call, x, kernel);
  if (windows) pad_same(call, x, *windows);
  return windows;
}

// [O] along the axis `axis` of a value of rank `rank`.
Value* per_channel(Call& call, Value* factor, std::size_t rank, std::size_t axis) {
  if (call.failed() || factor == nullptr || factor->type.shape.size() != 1) return factor;
  if (factor->type.shape[0].is(1)) return call.reshape(factor, {});
  Shape shape(rank, Dim(1));
  shape[axis] = factor->type.shape[0];
  return call.reshape(factor, shape);
}

void read_conv_integer(Call& call) {
  const std::int64_t groups = call.integer("group", 1);
  const auto windows = windows_of_conv(call, 1);
  if (!windows) return;
  Value* x = centred(call, call.x(0), per_channel(call, call.optional(2), call.rank(0), 1));
  Value* w = centred(call, call.x(1), per_channel(call, call.optional(3), call.rank(1), 0));
  call.set(0, call.cast(call.build("conv", {x, w}, conv_attrs(*windows, groups)), DType::i32, call.name()));
}

void read_qlinear_conv(Call& call) {
  const std::int64_t groups = call.integer("group", 1);
  const bool last = call.flag("channels_last", false);  // in ONNX Runtime's own operator
  if (last) call.slot(0).value = channels_to_front(call, call.x(0));
  const auto windows = windows_of_conv(call, 3);
  const DType dtype = call.dtype(7);
  if (!windows || call.failed()) return;
  const std::size_t rank = call.rank(0);
  Value* x = centred(call, call.x(0), per_channel(call, call.optional(2), rank, 1));
  Value* w = centred(call, call.x(3), per_channel(call, call.optional(5), rank, 0));
  Value* bias = call.has(8) ? call.cast(call.x(8), DType::f32) : nullptr;
  Value* sums = call.build("conv", {x, w, bias}, conv_attrs(*windows, groups));
  Value* scale = call.build("mul", {call.x(1), per_channel(call, call.x(4), rank, 1)});
  scale = call.build("div", {scale, call.x(6)});
  Value* result = quantize(call, call.build("mul", {sums, scale}), call.optional(7), 0, dtype, last ? "" : call.name());
  call.set(0, last ? channels_to_back(call, result) : result);
}

}  // namespace

Value* channels_to_front(Call& call, Value* x) {
  if (call.failed()) return nullptr;
  std::vector<std::int64_t> dims(x->type.shape.size());
  std::iota(dims.begin(), dims.end(), std::int64_t{0});
  if (dims.size() > 2) std::rotate(dims.begin() + 1, dims.end() - 1, dims.end());
  return call.permute(x, dims);
}

Value* channels_to_back(Call& call, Value* x) {
  if (call.failed()) return nullptr;
  std::vector<std::int64_t> dims(x->type.shape.size());
  std::iota(dims.begin(), dims.end(), std::int64_t{0});
  if (dims.size() > 2) std::rotate(dims.begin() + 1, dims.begin() + 2, dims.end());
  return call.permute(x, dims);
}

std::vector<Row> quantized_rows() {
  return {
      {.op = "QuantizeLinear", .operands = 2, .since = 10, .read = read_quantize},
      {.op = "DequantizeLinear", .operands = 2, .since = 10, .read = read_dequantize},
      {.op = "DynamicQuantizeLinear", .since = 11, .read = read_dynamic_quantize},
      {.op = "QLinearMatMul", .operands = 8, .since = 10, .read = read_qlinear_matmul},
      {.op = "QLinearConv", .operands = 8, .since = 10, .read = read_qlinear_conv},
      {.op = "QuantizeLinear", .operands = 2, .read = read_quantize, .domain = kContrib},
      {.op = "DequantizeLinear", .operands = 2, .read = read_dequantize, .domain = kContrib},
      {.op = "QLinearConv", .operands = 8, .read = read_qlinear_conv, .domain = kContrib},
      {.op = "MatMulInteger", .operands = 2, .since = 10, .read = read_matmul_integer},
      {.op = "ConvInteger", .operands = 2, .since = 10, .read = read_conv_integer},
  };
}

}  // namespace taper::onnx_reader
