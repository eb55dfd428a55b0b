// Sequences of unlike lengths, packed: the entries of all steps in one row, of each step those of the sequences that
// have it.
//
// Programs see data [P, ...] and how many sequences have each step, [longest]. The padded batch that these were made
// of stays known beside the graph: recurrent layers run over it, in the order in which the program was given it, and
// what is read of neither data nor order is never computed.
#pragma once

#include <vector>

#include "ir/graph.h"

namespace taper::aten {

struct PackedSequences {
  const Value* batch_sizes = nullptr;  // i64[longest]
  Value* lengths = nullptr;            // i64[B]
  Value* order = nullptr;              // i64[B]: entry b of a packed step is sequence order[b]; none: they are in order
  Dim batch, steps;                    // of the padded batch
  Dim longest;

  struct Content {
    const Value* data;  // [P, ...]
    Value* padded;      // [B, steps, ...]
    bool zeros_behind;  // behind the end of each sequence
  };
  std::vector<Content> contents = {};
};

}  // namespace taper::aten
