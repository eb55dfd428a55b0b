// What the readers of ONNX's quantized operators share with those of ONNX Runtime's own.
#pragma once

#include <string_view>

#include "frontend/onnx_call.h"

namespace taper::onnx_reader {

// round(scaled) + zero, within the range of the result; scaled: x / scale.
Value* quantize(Call& call, Value* scaled, Value* zero, int element, DType dtype, std::string_view name);
// x - zero point as float32, where sums of products of bytes are exact up to 2^24.
Value* centred(Call& call, Value* x, Value* zero);
// A factor of each column of a matrix [.., K, N]: a number or [N].
Value* per_column(Call& call, Value* factor);

struct QuantizedValue {
  Value* integers = nullptr;
  Value* scale = nullptr;
  Value* zero = nullptr;
};
// The range of x, with 0 in it, on 0 to 255.
QuantizedValue quantize_dynamically(Call& call, Value* x, std::string_view name);

// [N, .., C] -> [N, C, ..], and back.
Value* channels_to_front(Call& call, Value* x);
Value* channels_to_back(Call& call, Value* x);

}  // namespace taper::onnx_reader
