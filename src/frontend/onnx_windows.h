// The windows of ONNX's convolutions and pools.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "frontend/onnx_call.h"

namespace taper::onnx_reader {

struct Windows {
  std::vector<std::int64_t> kernel, stride, dilation;
  std::vector<std::int64_t> padding;  // begins, then ends
  std::string automatic;              // auto_pad
};

// The node's attributes, checked; `kernel` where the weight tells it. Nothing after an error.
std::optional<Windows> windows_of(Call& call, const Shape& x, std::optional<std::vector<std::int64_t>> kernel);
// Resolves auto_pad.
void pad_same(Call& call, const Shape& x, Windows& windows);
Attrs conv_attrs(const Windows& windows, std::int64_t groups);
// The sum of each window of each channel.
Value* windows_summed(Call& call, Value* x, const Windows& windows);

}  // namespace taper::onnx_reader
