// What written files are run with, and what the network gives for it: the graph as imported, evaluated in float64.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ops/array.h"
#include "pipeline/model.h"

namespace taper {

struct Trial {
  std::vector<Array> inputs;  // in the order of the graph's
  std::vector<Array> reference;
  std::string emptied = {};            // the first value that has no elements though all operands of its node have some
  std::set<std::size_t> reached = {};  // what ran of the network's branches and loops (pipeline/coverage.h)

  bool finite() const;
};

struct Trials {
  std::vector<Trial> all;  // the first at the usual sizes
  std::string note;        // a warning: why there is no second one where sizes are open
  bool together = false;   // samples of one kind, whose agreement is one figure
};

// Trials with the real inputs of `options`, or with seeded numbers. Floats are uniform; integers lie within the axis
// that they select from, are 1 to 8 where others are divided by them, else 0 or 1, as masks are; bools are random.
// Where the reference is not finite or fails with them, tamer values are tried, and integers from 2 to 8. The second
// trial has other sizes, within the ranges of the symbols; where the network takes them only together, others are
// tried. Where inputs decide which branches and loops run, further numbers are drawn for those that did not; the note
// tells what never ran. Errors: what the evaluation of the first trial or reading the inputs says.
// `channels_last`: images among real inputs may lie as the files take them.
Expected<Trials> make_trials(const Model& model, const VerifyOptions& options, bool static_shapes,
                             bool channels_last = false);

// The samples at `path` that are held out of calibration (pipeline/calibration_samples.h).
Expected<Trials> held_out_trials(const Model& model, const std::filesystem::path& path);

// Seeded inputs at the usual sizes, tame enough for the network to be evaluated, with the results.
Expected<Trial> random_trial(const Model& model, std::uint64_t seed);

// The same at given sizes of another graph.
Expected<Trial> random_trial_at(const Graph& graph, const Bindings& sizes, std::uint64_t seed);

// The same trial for files whose images have their channels last (passes/passes.h, put_channels_last).
Trial with_channels_last(const Graph& graph, const Trial& trial);

// Sizes for a second trial: as unlike the usual ones as the ranges allow. The same where nothing is open.
Bindings other_sizes(const Symbols& symbols);

}  // namespace taper
