// Programs saved by PyTorch with their inputs and outputs: .npz files of `in_NAME` and `out_NAME`.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "formats/npy.h"
#include "frontend/program.h"
#include "ops/evaluate.h"

namespace taper {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

inline NamedTensors fixture_arrays(const std::filesystem::path& path) {
  const auto file = map_file(path);
  EXPECT_TRUE(file) << file.error().text();
  auto arrays = read_npz(*file);
  EXPECT_TRUE(arrays) << arrays.error().text();
  return *std::move(arrays);
}

// The shapes and dtypes of the inputs.
inline ProgramOptions fixture_shapes(const NamedTensors& arrays) {
  ProgramOptions options;
  for (const auto& [name, tensor] : arrays) {
    if (!name.starts_with("in_")) continue;
    options.input_shapes[name.substr(3)] = to_shape(tensor.shape);
    options.input_dtypes[name.substr(3)] = tensor.dtype;
  }
  return options;
}

// max |a - b| over the largest |b|.
inline double relative_error(const Array& a, const std::vector<double>& b) {
  double error = 0, largest = 1e-9;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double difference = a.values[i] == b[i] ? 0 : std::abs(a.values[i] - b[i]);
    if (!(difference <= error)) error = difference;
    if (std::isfinite(b[i])) largest = std::max(largest, std::abs(b[i]));
  }
  return error / largest;
}

// Evaluating the graph gives the file's outputs.
inline void expect_pytorch(const ImportedProgram& program, const NamedTensors& arrays) {
  std::vector<Array> inputs;
  for (const Value* input : program.graph.inputs()) {
    const auto found = std::ranges::find(arrays, "in_" + input->name, &std::pair<std::string, Tensor>::first);
    ASSERT_NE(found, arrays.end()) << input->name;
    inputs.push_back(to_array(found->second));
  }
  const auto results = evaluate(program.graph, std::move(inputs));
  ASSERT_TRUE(results) << results.error().text();
  std::size_t expected = 0;
  for (const auto& [name, tensor] : arrays) {
    if (!name.starts_with("out_")) continue;
    ++expected;
    const auto output = std::ranges::find(program.graph.outputs(), name.substr(4), &Output::name);
    ASSERT_NE(output, program.graph.outputs().end()) << name;
    const Array& result = (*results)[static_cast<std::size_t>(output - program.graph.outputs().begin())];
    ASSERT_EQ(result.shape, tensor.shape) << name;
    EXPECT_LT(relative_error(result, to_double(tensor)), 1e-5) << name;
  }
  EXPECT_EQ(program.graph.outputs().size(), expected);
}

}  // namespace taper
