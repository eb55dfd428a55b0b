// Pieces that the rows of recurrent networks share.
#pragma once

#include <cmath>

#include "ops/rules.h"

namespace taper {

inline double logistic(double x) {
  return 1 / (1 + std::exp(-x));
}

inline Value* operand_or_null(std::span<Value* const> operands, std::size_t i) {
  return i < operands.size() ? operands[i] : nullptr;
}

// A float32 constant of zeros.
Value* zeros(Builder& build, std::vector<std::int64_t> shape);

// [B, h] of zeros where only sequences [B, T, F] know B.
Value* zero_state(Builder& build, Value* x, const Shape& x_shape, std::int64_t hidden);

// The initial state of a call: operand `i`, or zeros of the type of result `last`, the state after the last step.
Value* initial_state(Builder& build, const Node& node, std::span<Value* const> operands, std::size_t i,
                     std::size_t last = 1);

// The constant that operand `i` of a call is, inside a scan's body; null if the call has none. The body sees nothing
// that is computed outside: an error.
Value* constant_in_body(Builder& step, const Node& node, std::size_t i);

// ----------------------------------------------------------------------------------------- sequences of unlike lengths
//
// Rows of whole layers take `lengths` [B], integers: sequence b has lengths[b] steps, behind which its state stays as
// it is and the output is 0. A layer that runs backwards begins with each sequence's own last step.

// The type rule of operand `i`, `lengths`, for `batch` sequences.
Status check_lengths(const InferCall& call, std::size_t i, const Dim& batch);

// Errors: a length that is negative or more than the steps there are, which runtimes refuse. `i`: as above.
Status check_length_values(const EvalCall& call, std::size_t i, std::int64_t steps);

// The lengths that an evaluation is given, or none: every step counts then.
class StepCounts {
 public:
  StepCounts(const EvalCall& call, std::size_t i) : lengths_(call.has(i) ? &call.operand(i).values : nullptr) {}
  bool counts(std::int64_t b, std::int64_t step) const {
    return lengths_ == nullptr || static_cast<double>(step) < (*lengths_)[static_cast<std::size_t>(b)];
  }

 private:
  const std::vector<double>* lengths_;
};

// Which steps of x [B, T, ...] count, bool [B, T, 1]; null without lengths.
Value* counting_steps(Builder& build, Value* x, Value* lengths);
// The body's input for one step of these, bool [B, 1]; null where `counts` is.
Value* counts_of_step(Graph& body, const Value* counts);
// The state [B, h] after a step: `next` where the step counts (bool [B, 1], null: always), else `before`.
Value* kept_state(Builder& step, Value* counts, Value* next, Value* before, std::string_view name = {});
// y [B, T, h] with zeros for the steps that don't count; y itself where `counts` is null.
Value* zeros_behind(Builder& build, Value* counts, Value* y);

// The lengths as ONNX has them, int32; null without.
Value* onnx_lengths(Builder& build, std::span<Value* const> operands, std::size_t i);

// A layer as a scan over x, from its last step on if `reverse`, and over which steps count unless that is null. The
// body takes the states and one entry of each, and gives the next states and y. Results: y [B, T, h], 0 where steps
// don't count, and the last states.
std::vector<Value*> call_scan(Builder& build, bool reverse, std::vector<Value*> states, Value* x, Value* counts,
                              std::unique_ptr<Graph> body);

// x [T, B, ...] with its first two axes changed.
Array swap_time_and_batch(const Array& x);

// The products of all frames of x [B, T, F] with `weight` [gates, F], plus `bias` [gates] unless null: [B, T, gates].
std::vector<double> project_frames(const Array& x, const double* weight, const double* bias, std::int64_t gates);
// `bias` in each of `rows` rows; zeros if it is null.
void fill_rows(std::vector<double>& rows, const double* bias, std::int64_t columns);

}  // namespace taper
