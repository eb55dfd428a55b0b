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

// x [T, B, ...] with its first two axes changed.
Array swap_time_and_batch(const Array& x);

// The products of all frames of x [B, T, F] with `weight` [gates, F], plus `bias` [gates] unless null: [B, T, gates].
std::vector<double> project_frames(const Array& x, const double* weight, const double* bias, std::int64_t gates);
// `bias` in each of `rows` rows; zeros if it is null.
void fill_rows(std::vector<double>& rows, const double* bias, std::int64_t columns);

}  // namespace taper
