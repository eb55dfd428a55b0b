// Pieces that rows share which read or write where integers say.
#pragma once

#include "ops/moves.h"

namespace taper {

// The offset that each position of `index` names in a contiguous array of shape `shape`: its own position, except that
// axis `axis` is as the index says.
Expected<Integers> element_offsets(const Array& index, const std::vector<std::int64_t>& shape, std::size_t axis);
// The axis of a call whose operand 1 is an index of elements: integers, as many axes as x, none longer outside of axis
// `dim`.
Expected<std::size_t> check_element_index(const InferCall& call);
// [..., rank]: the position of each element of `index`, except that axis `dim` is as the index says.
Value* element_positions(Builder& build, const Node& node, Value* index);
// How many axes of x the last axis of indices names.
Expected<std::size_t> index_depth(const Type& x, const Type& indices, std::size_t batch_axes);
// Offsets of entries that the last axis of `indices` names from axis `first` on, in units of what one entry holds.
Expected<Integers> entry_offsets(const Array& indices, std::span<const std::int64_t> shape, std::size_t first);
// The product of sizes that are known not to overflow.
std::int64_t product(std::span<const std::int64_t> sizes);
// Whether operand 1 is as ONNX takes indices.
bool has_int64_indices(const Node& node);

}  // namespace taper
