// Pieces that rows share which move elements.
#pragma once

#include <optional>
#include <span>

#include "ops/rules.h"

namespace taper {

using Integers = std::vector<std::int64_t>;

// The one size that an attribute holds.
Expected<Dim> one_size(const Attrs& attrs, std::string_view name);
// The attribute `dim` counted from the front of the first operand.
std::size_t axis_of(const Node& node);
// Entries start, start + step, ... of an axis, `length` of them.
Array slice_axis(const Array& x, std::size_t axis, std::int64_t start, std::int64_t length, std::int64_t step = 1);
// Axis i of the result is axis dims[i] of x.
Array permute_array(const Array& x, std::span<const std::int64_t> dims);
// x repeated along axes of size 1, and along new axes in front; the shape must be one that x broadcasts to.
Array broadcast_to(const Array& x, const std::vector<std::int64_t>& shape);
// Entry `i` of an integer vector that is computed from sizes; nothing if it isn't one that can be known.
std::optional<Dim> known_entry(const Value* vector, std::int64_t i);
// Entries first, first + 1, ... of such a vector, `count` of them; nothing if one of them can't be known.
std::optional<Shape> known_entries(const Value* vector, std::int64_t first, std::int64_t count);
// The same of the one number that a value without axes is.
std::optional<Dim> known_number(const Value* scalar);
// The size of axis `open` of `to` with which it holds as many elements as `from`; nothing if that can't be said. Sizes
// that both have are taken out first: products of sums can't be divided.
std::optional<Dim> remaining_size(Shape from, const Shape& to, std::size_t open);
// Completes the attribute `shape` of a call that was read, from operand `Sizes`, a vector that is computed from sizes.
Status resolve_shape(const Value* sizes, Attrs& attrs);
// That of operands (x, Sizes).
Status resolve_shape_of_sizes(std::span<Value* const> operands, Attrs& attrs);
// The same of the attribute `size`, height and width, from entries `first` and `first` + 1 of a vector of `length`;
// null for an operand that is absent. Errors speak of `what` goes into the sizes.
Status resolve_height_and_width(const Value* sizes, std::int64_t length, std::int64_t first, std::string_view what,
                                Attrs& attrs);
// An integer vector with an entry per axis of `shape`.
Status check_sizes(const Type& sizes, const Shape& shape);
// Whether an evaluated vector of sizes says what the attribute `shape` says.
Expected<std::vector<std::int64_t>> checked_sizes(const Array& sizes, const EvalCall& call);

// A call of (x, Sizes) with the sizes in the dtype that a target wants.
template <DType dtype>
std::vector<Value*> with_sizes_as(Builder& build, const Node& node, std::span<Value* const> operands) {
  return {build(node.op, {operands[0], build("cast", {operands[1]}, {{"to", dtype}})}, node.attrs)};
}
template <DType dtype>
bool has_sizes_as(const Node& node) {
  return node.operands[1]->type.dtype == dtype;
}

}  // namespace taper
