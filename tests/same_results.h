// Whether two graphs mean the same.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/evaluate.h"

namespace taper {

// Both graphs computed from the same inputs; 1e-9 of the largest value.
inline void expect_same(const Graph& expected, const Graph& actual, const std::vector<Array>& inputs) {
  const auto reference = evaluate(expected, inputs);
  ASSERT_TRUE(reference) << reference.error().text();
  const auto result = evaluate(actual, inputs);
  ASSERT_TRUE(result) << result.error().text();
  ASSERT_EQ(result->size(), reference->size());
  for (std::size_t i = 0; i < result->size(); ++i) {
    ASSERT_EQ((*result)[i].shape, (*reference)[i].shape);
    ASSERT_EQ((*result)[i].dtype, (*reference)[i].dtype);
    double largest = 0;
    for (const double value : (*reference)[i].values) largest = std::max(largest, std::fabs(value));
    for (std::size_t k = 0; k < (*result)[i].values.size(); ++k)
      ASSERT_NEAR((*result)[i].values[k], (*reference)[i].values[k], 1e-9 * largest);
  }
}

}  // namespace taper
