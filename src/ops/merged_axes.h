// Calls on fewer axes, for kernels that stop at some number of them: neighbouring axes that a call doesn't tell apart
// become one.
#pragma once

#include "ops/moves.h"

namespace taper {

// XNNPACK joins and splits no values of more axes.
inline constexpr std::size_t kMostJoinedAxes = 6;

// Whether an operand or a result of the call has more axes.
inline bool has_more_axes(const Node& node, std::size_t most) {
  const auto more = [most](const Value* value) { return value != nullptr && value->type.shape.size() > most; };
  return std::ranges::any_of(node.operands, more) || std::ranges::any_of(node.results, more);
}

inline Value* with_shape(Builder& build, Value* x, const Shape& shape) {
  return x == nullptr || x->type.shape == shape ? x : build("reshape", {x}, {{"shape", shape}});
}

// The product of sizes begin <= i < end.
inline Dim merged_size(const Shape& shape, std::size_t begin, std::size_t end) {
  Dim size = 1;
  for (std::size_t i = begin; i < end; ++i) size = size * shape[i];
  return size;
}

// A call along `dim`, with the axes before it as one and those behind it as one: [outer, size, inner], or [outer, size]
// where it is the last.
inline std::vector<Value*> call_around_axis(Builder& build, const Node& node, std::span<Value* const> operands) {
  const std::size_t axis = axis_of(node);
  std::vector<Value*> merged;
  for (Value* x : operands) {
    const Shape& shape = x->type.shape;
    Shape around = {merged_size(shape, 0, axis), shape[axis]};
    if (axis + 1 < shape.size()) around.push_back(merged_size(shape, axis + 1, shape.size()));
    merged.push_back(with_shape(build, x, around));
  }
  Attrs attrs = node.attrs;
  attrs.set("dim", std::int64_t{1});
  std::vector<Value*> results = build.call(node.op, std::move(merged), std::move(attrs));
  for (std::size_t i = 0; i < results.size(); ++i)
    results[i] = with_shape(build, results[i], node.results[i]->type.shape);
  return results;
}

}  // namespace taper
