// Which layers cost most when a network is quantised: each is quantised alone, and the network evaluated.
#pragma once

#include <chrono>
#include <limits>
#include <vector>

#include "pipeline/calibration_samples.h"
#include "pipeline/quantizer.h"

namespace taper {

// A legalized graph's results on a few samples, to hold those of quantised ones against.
class Bench {
 public:
  // Once a sample has taken more than `seconds` to evaluate, no more are taken.
  static Expected<Bench> make(const Graph& legal, std::vector<InputSet> samples,
                              double seconds = std::numeric_limits<double>::infinity());
  // The relative error (verify/compare.h) of the evaluation of `quantised` over all samples.
  Expected<double> relative_error(const Graph& quantised) const;

 private:
  std::vector<InputSet> samples_;
  std::vector<std::vector<Array>> expected_;
};

// A few samples, or seeded inputs where there are none, as the legalized graph takes them: of those held out, or, for a
// search whose result the others judge, of those for calibration.
Expected<std::vector<InputSet>> bench_samples(const Model& model, const ConvertOptions& options, bool held_out);

// The relative error with each layer alone stored as the files of `precision` store it, worst first: what carries one
// label (its module's path, else its name) together, with what lies between it on integers where they are so in the
// file. At most 64 layers, those with the most weights; none that would end after the deadline, as far as the first
// tell. `bench` is of a graph that computes what the quantizer's do.
Expected<std::vector<LayerCost>> layer_costs(const Quantizer& quantizer, const Bench& bench, Precision precision,
                                             std::chrono::steady_clock::time_point deadline);

}  // namespace taper
