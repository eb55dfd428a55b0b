// The passes, and the visible ordered list of them for each target.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"
#include "ops/builder.h"
#include "ops/op.h"

namespace taper {

// ------------------------------------------------------------------------------------------------- single passes

// Replaces symbols by numbers in the types of inputs and in attributes, and so everywhere.
Expected<Graph> freeze_symbols(const Graph& graph, const Bindings& bindings);
// Evaluates nodes whose operands are all constant. Their values are rounded to their dtype once.
Expected<Graph> fold_constants(const Graph& graph);
// The same, but zeros that are like another value are made where they are used.
Expected<Graph> fold_all_but_zeros(const Graph& graph);
bool is_foldable(const Node& node);
bool is_foldable_but_zeros(const Node& node);
// Copies inputs and constants that are outputs too, and outputs that are the same value: runtimes write no output that
// no operator computes, and each value once.
Expected<Graph> copy_passed_inputs(const Graph& graph);
bool passes_inputs(const Graph& graph);
// Copies results of branches that are the same value as another one, and what bodies of loops hand on from one place to
// another.
Expected<Graph> copy_spoiled_results(const Graph& graph);
// Errors: branches in which LiteRT writes to memory that it freed.
Status check_branches(const Graph& graph);
bool spoils_results(const Node& node);
// Copies outputs of operators that get their sizes at run time: LiteRT's compiled models give outputs buffers of a size
// that is known before, and an operator that makes its own result would corrupt memory.
Expected<Graph> copy_sized_outputs(const Graph& graph);
// Whether an operator makes its results itself, as large as they come out.
bool makes_its_results(const Node& node);
// Computes in float32 what is float16, bfloat16 or float64; inputs and outputs keep their types.
Expected<Graph> compute_in_f32(const Graph& graph);
bool has_other_floats(const Graph& graph);
// The same of bfloat16 alone.
Expected<Graph> compute_bf16_in_f32(const Graph& graph);
bool has_bf16(const Graph& graph);
// Casts operands of calls that the target knows for wider integers only, and their results back.
Expected<Graph> widen_operands(const Graph& graph, Target target);
// Computes on uint64 as on int64 of the same bits.
Expected<Graph> compute_on_signed(const Graph& graph, Target target);
bool holds_long_unsigned(const Graph& graph);
// Replaces calls that the target can't spell by their expansions, again and again. What has none stays.
Expected<Graph> expand_for(const Graph& graph, Target target);
bool wants_expansion(const Node& node, Target target);
// Replaces calls whose sizes are symbols that the target can't leave open by calls that get their sizes at run time,
// computed from those of the graph's inputs.
Expected<Graph> materialize_dims(const Graph& graph, Target target);
// Joins calls of one operator on the same values.
Expected<Graph> share_results(const Graph& graph);
// Removes results of scans that nothing uses.
Expected<Graph> drop_unused_results(const Graph& graph);
// Joins a scan with the scan that consumes its stacked result, where one loop is faster than two.
Expected<Graph> fuse_scans(const Graph& graph);
// Moves what doesn't depend on the state out of scans: one product over all frames instead of one per frame.
Expected<Graph> hoist_from_scans(const Graph& graph);
// Spells scans as while loops in the form that suits the target.
Expected<Graph> lower_scans(const Graph& graph, Target target);
// Spells while loops as ONNX's Loop.
Expected<Graph> lower_loops(const Graph& graph);
// Gives operators that broadcast their operands as they were before they were expanded.
Expected<Graph> drop_expands(const Graph& graph);
// Whether a node is a linear layer, or multiplies what one gives, such that constants around it may become a part of
// its weights.
bool may_fold_scale(const Node& node);
// Folds constant factors and summands around a linear layer into its weights.
Expected<Graph> fold_scales(const Graph& graph);
// Lets an operator apply the activation that follows it.
Expected<Graph> fuse_activations(const Graph& graph);

// Gives inputs and outputs that hold images the order [N, ..., C]: all that have four axes ([N, C, H, W]) or five
// ([N, C, D, H, W]), of whatever dtype. Pictures of bytes, masks and label maps lie as the floats do that they belong
// to.
Expected<Graph> put_channels_last(const Graph& graph);
bool holds_image(const Type& type);
// The orders of axes for permute: from [N, C, ...] to [N, ..., C], and back.
std::vector<std::int64_t> channels_last_order(std::size_t rank);
std::vector<std::int64_t> channels_first_order(std::size_t rank);
// Folds norms by given means and variances into the convolution or linear layer before them.
Expected<Graph> fold_batch_norms(const Graph& graph);
// Lets a convolution do the padding with zeros before it.
Expected<Graph> fold_pads(const Graph& graph);
// Moves permutations of axes through what works in any order of axes, until they meet their inverses.
Expected<Graph> assign_layout(const Graph& graph);

// Splits linear layers whose results are taken apart into the gates of a loop's step into a layer per gate, which then
// have ranges of their own: one range for all of them would be that of the widest.
Expected<Graph> part_gates(const Graph& graph);
bool has_gates(const Graph& graph);

// What store_weights_as_f16 did not store as float16, and why.
struct HalfPrecisionNote {
  std::string tensor;
  std::string reason;
};
// Stores the weights of matrix products as float16 constants that are dequantised where they are used. Weights with
// values that float16 can't hold stay float32 and are noted.
Expected<Graph> store_weights_as_f16(const Graph& graph, std::vector<HalfPrecisionNote>* notes);
// One such call; nothing where it has no weight that can be stored so. The weight's new operand may be nothing: then it
// is copied too.
std::optional<std::vector<Value*>> with_half_weight(Builder& build, const Node& node, std::span<Value* const> operands,
                                                    std::vector<HalfPrecisionNote>* notes);

// Whether the target can spell the call, or what it expands to.
bool can_be_said(const Node& node, Target target);
// An error that names every operator that the target can't spell, with counts and places; nothing if all can be.
Status check_spelled(const Graph& graph, Target target);

// ------------------------------------------------------------------------------------------------------ the list

struct Pass {
  std::string_view name;
  std::string_view reason;
  std::function<Expected<Graph>(const Graph&)> run;
  // Whether a graph holds anything that it would change: a copy for nothing costs time.
  std::function<bool(const Graph&)> concerns;
};

struct LegalizeOptions {
  Bindings freeze;  // symbols to freeze; empty for a dynamic file
};

// The passes that take an imported graph to one that the target's backend can spell, in order.
std::vector<Pass> passes_for(Target target, const LegalizeOptions& options);

// Called after each pass that ran, with its name and the graph it left.
using PassObserver = std::function<void(std::string_view, const Graph&)>;

// Runs the passes that a graph concerns in order; each has to leave a graph that check() accepts. The result satisfies
// check_spelled.
Expected<Graph> legalize(const Graph& graph, Target target, const LegalizeOptions& options = {},
                         const PassObserver& observer = {});

}  // namespace taper
