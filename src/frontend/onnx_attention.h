// What the readers of ONNX's attention share with those of ONNX Runtime's own.
#pragma once

#include <string_view>

#include "frontend/onnx_call.h"

namespace taper::onnx_reader {

// [B, L, heads D] -> [B, heads, L, D]; four axes stay as they are.
Value* split_heads(Call& call, Value* x, std::int64_t heads);
// [B, heads, L, D] -> [B, L, heads D]
Value* join_heads(Call& call, Value* x, std::string_view name);
// Each head of keys or values as often as it serves heads of queries.
Value* repeat_heads(Call& call, Value* x, std::int64_t times);

// What is looked at: bool, or what is added to the scores. nullptr: everything.
struct Mask {
  Value* allowed = nullptr;
  Value* added = nullptr;
};
// At most one of both: what is not allowed gets -inf added.
Mask combined(Call& call, Mask mask);

// The first `turned` of the numbers of each head, in pairs, turned by the angles of their positions: pairs are
// neighbours if interleaved, else they lie half of them apart. x [B, L, heads, D], cosine and sine [B or 1, L, turned /
// 2].
Value* turn(Call& call, Value* x, Value* cosine, Value* sine, std::int64_t turned, bool interleaved);

}  // namespace taper::onnx_reader
