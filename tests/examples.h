// The examples that the rows of the op table bring, as graphs and inputs.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "ops/builder.h"
#include "ops/evaluate.h"
#include "ops/table.h"

namespace taper {

struct Case {
  const Op* op;
  std::size_t example;
};

inline void PrintTo(const Case& examined, std::ostream* out) {
  *out << examined.op->name << ", example " << examined.example;
}

template <class Wanted>
std::vector<Case> examples_where(const Wanted& wanted) {
  std::vector<Case> cases;
  for (const Op& op : op_table())
    for (std::size_t i = 0; wanted(op) && i < op.examples.size(); ++i) cases.push_back({&op, i});
  return cases;
}

inline std::vector<Case> all_examples() {
  return examples_where([](const Op&) { return true; });
}

inline std::string name_of_case(const testing::TestParamInfo<Case>& info) {
  return std::string(info.param.op->name) + "_" + std::to_string(info.param.example);
}

inline std::vector<Array> random_operands(const Example& example) {
  std::mt19937 generator(7);
  std::uniform_real_distribution<double> draw(example.low, example.high);
  const auto draw_integer = [&]() -> double {
    if (!example.integers) return std::floor(draw(generator));
    const auto& [least, most] = *example.integers;
    return static_cast<double>(std::uniform_int_distribution<std::int64_t>(least, most)(generator));
  };
  std::vector<Array> operands;
  for (const Type& type : example.operands) {
    Array array{type.dtype, *constant_sizes(type.shape), {}};
    array.values.resize(static_cast<std::size_t>(*element_count(type.shape).constant()));
    for (double& value : array.values) value = is_floating(type.dtype) ? draw(generator) : draw_integer();
    operands.push_back(std::move(array));
  }
  return operands;
}

inline std::vector<Array> random_inputs(const Example& example) {
  std::vector<Array> inputs = random_operands(example);
  inputs.resize(std::min(inputs.size(), example.inputs));
  return inputs;
}

// The operands of an example: inputs of the graph, and constants.
inline std::vector<Value*> operands_in(Graph& graph, Builder& build, const Example& example) {
  std::vector<Value*> operands;
  for (const Array& array : random_operands(example))
    operands.push_back(operands.size() < example.inputs ? graph.add_input("x", {array.dtype, to_shape(array.shape)})
                                                        : build.constant(to_tensor(array)));
  return operands;
}

// A graph of inputs, constants and one call, expanded or not.
inline Graph graph_of_call(const Op& op, const Example& example, ExpandFn expand = nullptr) {
  Graph graph;
  Builder build(graph);
  const std::vector<Value*> operands = operands_in(graph, build, example);
  std::vector<Value*> results = build.call(op.name, operands, example.attrs);
  EXPECT_TRUE(build.status()) << build.status().error().text();
  if (expand != nullptr) results = expand(build, *results[0]->producer, operands);
  EXPECT_TRUE(build.status()) << build.status().error().text();
  for (std::size_t i = 0; i < results.size(); ++i) graph.add_output("y" + std::to_string(i), results[i]);
  return graph;
}

class ExampleTest : public testing::TestWithParam<Case> {
 protected:
  const Op& op() const { return *GetParam().op; }
  const Example& example() const { return op().examples[GetParam().example]; }
  std::vector<Array> random_inputs() const { return taper::random_inputs(example()); }
  Graph call(ExpandFn expand = nullptr) const { return graph_of_call(op(), example(), expand); }
};

}  // namespace taper
