// Sequences of unlike lengths, packed: the entries of all steps in one row, of each step those of the sequences that
// have it.
#pragma once

#include "frontend/aten_table.h"

namespace taper::aten {

// What `batch_sizes` tells of. An error, with what to do, if the program made it in another way.
Expected<PackedSequences*> packed_by(Context& context, const Value* batch_sizes);

// The padded batch [B, steps, ...] of packed data.
Expected<Value*> padded_of(Context& context, PackedSequences& packed, Value* data);

// The packed data of a padded batch with zeros behind the sequences' ends.
Value* data_of(Context& context, PackedSequences& packed, Value* padded);

// x with its axis of sequences in the order of packed ones, and back from there.
Value* in_packed_order(Builder& build, const PackedSequences& packed, Value* x, std::size_t axis);
Value* in_given_order(Builder& build, const PackedSequences& packed, Value* x, std::size_t axis);

// Where entries of an axis were taken in the order of a sort, and `index` puts them back: what they were taken of, else
// null.
Value* put_back(const Value* x, std::size_t axis, const Value* index);

}  // namespace taper::aten
