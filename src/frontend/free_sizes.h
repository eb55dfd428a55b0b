// Sizes that an export froze, set free again. Internal to frontend.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/aten.h"

namespace taper {

// The sizes that freed symbols had when the program was made.
using FrozenSizes = std::map<std::string, std::int64_t, std::less<>>;

// `dim` as it was in the program.
Dim frozen(const Dim& dim, const FrozenSizes& sizes);

// The freed symbols that the dimension holds; whether it holds one.
std::vector<std::string> freed_symbols(const Dim& dim, const FrozenSizes& sizes);
bool is_freed(const Dim& dim, const FrozenSizes& sizes);

// What is known of freed sizes while a program's calls are read.
struct Freeing {
  FrozenSizes sizes;
  // Where a reshape joins a size that was 1 to its neighbours, literals don't tell to which: 0 to those behind it if
  // they are split (heads), else to those before; 1 always to those before; 2 always to those behind.
  int reading = 0;
  bool ambiguous = false;  // whether another reading would give another graph
  // Symbols of inputs' first axes alone are batches. A shape that holds one already may hold its number a second time,
  // as heads or groups: whether that is left as it is.
  std::map<std::string, bool, std::less<>> batches;
  bool batches_once = false;
  std::map<std::string, std::vector<std::string>, std::less<>> notes;         // sentences by symbol: what was decided
  std::map<std::string, std::vector<std::string>, std::less<>> kept_numbers;  // those of numbers that stay
  std::map<std::string, std::vector<std::string>, std::less<>> halves;        // of numbers that may be half of them
  std::string place;                                                          // of the call under way, for errors

  // The values that recurrent layers begin with, [layers * directions, batch, features]; whether the call under way
  // makes such a one.
  std::set<std::string, std::less<>> states;
  bool makes_state = false;

  // By the text of a padded axis' size: of what number the padding makes it a multiple, where that is tried; and what
  // it was with and without its padding.
  std::map<std::string, std::int64_t, std::less<>> fills;
  std::map<std::string, std::pair<std::int64_t, std::int64_t>, std::less<>> padded;
  std::map<std::string, std::int64_t, std::less<>> filled;  // the sizes that paddings give, and of what multiples

  // Whether literals that are one more than the freed size in front of them are taken for it and one, as masks of
  // decoders have them: only where the program needs it. Whether there are such, and whether an axis as large is cut to
  // the freed size, which shows it.
  bool takes_one_more = false, has_one_more = false, cuts_one_more = false;

  // Sizes that follow from freed ones, as results had them so far, by what they were.
  std::map<std::int64_t, std::vector<Dim>> derived;

  std::map<std::string, std::int64_t, std::less<>> least;  // sizes below which slices would have nothing left

  // Literal pieces of freed axes: a loop that the export unrolled takes all of them.
  struct Pieces {
    std::int64_t size = 0;  // of the axis, as it was
    Dim freed;
    std::string place;                                        // of the first
    std::vector<std::pair<std::int64_t, std::int64_t>> ends;  // first entry, one past the last
  };
  std::map<std::pair<const aten::Tensor*, std::int64_t>, Pieces> pieces;  // by tensor and axis
  std::map<std::string, Pieces> entries;                                  // single ones, by the axis' size
  std::map<std::string, std::int64_t, std::less<>> uses;                  // of weights, by name
  std::vector<aten::TensorPtr> kept;                                      // the tensors of `pieces`

  void note(const std::string& symbol, std::string sentence);
};

// The shape that a reshape of `from` has for the literal one, which held for frozen sizes. Nothing: it doesn't follow.
std::optional<Shape> freed_reshape(const Shape& from, const Shape& to, Freeing& freeing);

// Replaces literals of a call that follow from frozen sizes by symbols: sizes of reshapes by the products that the
// operand's shape gives, ends of slices, sizes of expansions, lengths of ranges and of new tensors. A literal 1 is left
// where broadcasting repeats it; operands of calls that don't broadcast are repeated to the freed size. `name` is
// ATen's ("view.default"). Adds a note where nothing but the number itself says that a literal is one of those sizes.
// Errors: literal parts of a freed axis.
Status free_literals(Builder& build, std::string_view name, std::vector<aten::NamedArg>& arguments, Freeing& freeing);

// Keeps the sizes of a call's result that follow from freed ones: literals of later calls may be those.
void remember_sizes(const aten::Arg& result, Freeing& freeing);

// After all calls. Errors: literal pieces that are all of a freed axis. Adds notes of weights that are used as often as
// a freed size says, as loops without entries of their own do.
Status check_loops(Freeing& freeing);

}  // namespace taper
