// Recurrent layers over sequences of unlike lengths.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "ops/builder.h"
#include "ops/evaluate.h"

namespace taper {
namespace {

constexpr std::int64_t kBatch = 3, kSteps = 5, kFeatures = 3, kHidden = 2;
constexpr std::int64_t kLengthsOfRows[kBatch] = {4, 5, 1};

struct Layer {
  std::string_view op;
  std::int64_t gates;
  std::size_t states, lengths;
  bool reverse;
};

Array draw(std::vector<std::int64_t> shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> numbers(-1, 1);
  Array array{DType::f32, std::move(shape), {}};
  std::int64_t count = 1;
  for (const std::int64_t size : array.shape) count *= size;
  for (std::int64_t i = 0; i < count; ++i) array.values.push_back(numbers(generator));
  return array;
}

// Rows `first` <= b < `past` of x [B, steps, ...], and of these the first steps.
Array part_of(const Array& x, std::int64_t first, std::int64_t past, std::int64_t steps) {
  std::int64_t entry = 1;
  for (std::size_t i = 2; i < x.shape.size(); ++i) entry *= x.shape[i];
  Array part = x;
  part.shape[0] = past - first;
  part.shape[1] = steps;
  part.values.clear();
  for (std::int64_t b = first; b < past; ++b)
    for (std::int64_t i = 0; i < steps * entry; ++i)
      part.values.push_back(x.values[static_cast<std::size_t>(b * x.shape[1] * entry + i)]);
  return part;
}

// The layer over x [B, T, F] from states [B, h], with or without lengths [B].
std::vector<Array> run(const Layer& layer, const Array& x, const std::vector<Array>& states, const Array* lengths) {
  Graph graph;
  Builder build(graph);
  const std::int64_t rows = layer.gates * kHidden;
  std::vector<Value*> operands = {graph.add_input("x", {x.dtype, to_shape(x.shape)})};
  std::vector<Array> inputs = {x};
  unsigned seed = 1;
  for (const auto& shape : {std::vector{rows, kFeatures}, {rows, kHidden}, {rows}, {rows}})
    operands.push_back(build.constant(to_tensor(draw(shape, seed++))));
  for (const Array& state : states) {
    operands.push_back(graph.add_input("state", {state.dtype, to_shape(state.shape)}));
    inputs.push_back(state);
  }
  if (lengths != nullptr) {
    operands.resize(layer.lengths, nullptr);
    operands.push_back(graph.add_input("lengths", {lengths->dtype, to_shape(lengths->shape)}));
    inputs.push_back(*lengths);
  }
  const std::vector<Value*> results = build.call(layer.op, std::move(operands), {{"reverse", layer.reverse}});
  EXPECT_TRUE(build.status()) << build.status().error().text();
  for (Value* result : results) graph.add_output(result->name, result);
  auto found = evaluate(graph, std::move(inputs));
  EXPECT_TRUE(found) << found.error().text();
  return found ? *std::move(found) : std::vector<Array>{};
}

// But for the order in which products of one row and of several are summed up.
auto same_numbers(const std::vector<double>& expected) {
  return testing::Pointwise(testing::DoubleNear(1e-12), expected);
}

class Lengths : public testing::TestWithParam<Layer> {};

TEST_P(Lengths, each_sequence_is_computed_as_if_it_were_alone) {
  const Layer& layer = GetParam();
  const Array x = draw({kBatch, kSteps, kFeatures}, 20);
  std::vector<Array> states;
  for (std::size_t i = 0; i < layer.states; ++i)
    states.push_back(draw({kBatch, kHidden}, 30 + static_cast<unsigned>(i)));
  Array lengths{DType::i64, {kBatch}, {}};
  for (const std::int64_t length : kLengthsOfRows) lengths.values.push_back(static_cast<double>(length));
  const std::vector<Array> together = run(layer, x, states, &lengths);
  ASSERT_EQ(together.size(), 1 + layer.states);
  for (std::int64_t b = 0; b < kBatch; ++b) {
    const std::int64_t length = kLengthsOfRows[b];
    std::vector<Array> own;
    for (const Array& state : states) own.push_back(part_of(state, b, b + 1, kHidden));
    const std::vector<Array> alone = run(layer, part_of(x, b, b + 1, length), own, nullptr);
    Array steps = part_of(together[0], b, b + 1, kSteps);
    for (std::size_t i = static_cast<std::size_t>(length * kHidden); i < steps.values.size(); ++i)
      EXPECT_EQ(steps.values[i], 0) << "behind the end of sequence " << b;
    steps.values.resize(static_cast<std::size_t>(length * kHidden));
    EXPECT_THAT(steps.values, same_numbers(alone[0].values)) << "sequence " << b;
    for (std::size_t i = 1; i < together.size(); ++i)
      EXPECT_THAT(part_of(together[i], b, b + 1, kHidden).values, same_numbers(alone[i].values))
          << "last state of sequence " << b;
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, Lengths,
                         testing::Values(Layer{"gru", 3, 1, 6, false}, Layer{"gru", 3, 1, 6, true},
                                         Layer{"rnn", 1, 1, 6, false}, Layer{"rnn", 1, 1, 6, true},
                                         Layer{"lstm", 4, 2, 8, false}, Layer{"lstm", 4, 2, 8, true}),
                         [](const auto& layer) {
                           return std::string(layer.param.op) + (layer.param.reverse ? "_backwards" : "");
                         });

TEST(RecurrentLayers, want_an_integer_for_each_sequence) {
  for (const Type& wrong : {Type{DType::i64, {2}}, Type{DType::i64, {3, 1}}, Type{DType::f32, {3}}}) {
    Graph graph;
    Builder build(graph);
    std::vector<Value*> operands = {graph.add_input("x", {DType::f32, {3, 5, 3}}),
                                    build.constant(to_tensor(draw({6, 3}, 1))),
                                    build.constant(to_tensor(draw({6, 2}, 2)))};
    operands.resize(6, nullptr);
    operands.push_back(graph.add_input("lengths", wrong));
    build.call("gru", std::move(operands));
    ASSERT_FALSE(build.status());
    EXPECT_NE(build.status().error().text().find("expected i32 or i64[3]"), std::string::npos)
        << build.status().error().text();
  }
}

}  // namespace
}  // namespace taper
