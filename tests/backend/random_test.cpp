// Calls of random rows in random sizes: the formula, its expansions and LiteRT agree.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "backend/tflite.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "random_graphs.h"
#include "verify/compare.h"
#include "verify/litert.h"

namespace taper {
namespace {

// The call as a graph, expanded or not.
Graph graph_of(const RandomCall& call, ExpandFn expand = nullptr) {
  Graph graph;
  Builder build(graph);
  std::vector<Value*> operands;
  for (std::size_t i = 0; i < call.operands.size(); ++i) {
    const Array& array = call.operands[i];
    operands.push_back(i < call.example.inputs ? graph.add_input("x", {array.dtype, to_shape(array.shape)})
                                               : build.constant(to_tensor(array)));
  }
  std::vector<Value*> results = build.call(call.op->name, operands, call.example.attrs);
  if (expand != nullptr && !build.failed()) results = expand(build, *results[0]->producer, operands);
  EXPECT_TRUE(build.status()) << build.status().error().text();
  for (std::size_t i = 0; i < results.size(); ++i) graph.add_output("y" + std::to_string(i), results[i]);
  return graph;
}

std::vector<Array> inputs_of(const RandomCall& call) {
  return {call.operands.begin(),
          call.operands.begin() + static_cast<std::ptrdiff_t>(std::min(call.operands.size(), call.example.inputs))};
}

TEST(RandomCalls, have_the_types_that_rows_infer_and_mean_the_same_expanded) {
  for (const std::uint64_t seed : random_seeds(3000)) {
    Random random(seed);
    const RandomCall call = random_call(random, 0);
    const Graph graph = graph_of(call);
    SCOPED_TRACE(fmt::format("seed {}: {}", seed, print(graph)));
    ASSERT_TRUE(check(graph)) << check(graph).error().text();
    const auto expected = evaluate(graph, inputs_of(call));
    ASSERT_TRUE(expected) << expected.error().text();
    for (std::size_t i = 0; i < expected->size(); ++i)
      ASSERT_EQ(graph.outputs()[i].value->type, (Type{(*expected)[i].dtype, to_shape((*expected)[i].shape)}));
    for (const Target target : {Target::onnx, Target::tflite, Target::tensorflow}) {
      const ExpandFn expand = call.op->expansion_for(target, *graph.outputs()[0].value->producer);
      if (expand == nullptr) continue;
      const Graph simpler = graph_of(call, expand);
      ASSERT_TRUE(check(simpler)) << check(simpler).error().text();
      const auto outputs = evaluate(simpler, inputs_of(call));
      ASSERT_TRUE(outputs) << outputs.error().text();
      ASSERT_EQ(outputs->size(), expected->size());
      for (std::size_t i = 0; i < outputs->size(); ++i) {
        ASSERT_EQ((*outputs)[i].shape, (*expected)[i].shape);
        for (std::size_t k = 0; k < (*outputs)[i].values.size(); ++k) {
          const double found = (*outputs)[i].values[k], wanted = (*expected)[i].values[k];
          if (found == wanted || (std::isnan(found) && std::isnan(wanted))) continue;  // infinite ones too
          ASSERT_NEAR(found, wanted, 1e-5) << "result " << i;
        }
      }
    }
  }
}

// Runs the call in LiteRT; nothing where TFLite can't say it.
std::optional<std::vector<SignatureTensor>> run_in_litert(const Litert& runtime, const Graph& graph,
                                                          const RandomCall& call) {
  const auto legal = legalize(graph, Target::tflite);
  if (!legal) {
    EXPECT_TRUE(legal.error().text().starts_with("operators that")) << legal.error().text();
    return std::nullopt;
  }
  const auto spelled = spell_tflite(*legal, {.description = "", .default_sizes = {}});
  EXPECT_TRUE(spelled) << spelled.error().text();
  if (!spelled) return std::nullopt;
  std::vector<std::byte> bytes;
  EXPECT_TRUE(write_tflite(spelled->model, spelled->buffers, sink_to(bytes)));
  auto model = LitertModel::open(runtime, share(std::move(bytes)));
  EXPECT_TRUE(model) << model.error().text();
  if (!model) return std::nullopt;
  std::vector<SignatureTensor> named;
  const std::vector<Array> inputs = inputs_of(call);
  for (std::size_t i = 0; i < inputs.size(); ++i) named.push_back({graph.inputs()[i]->name, to_tensor(inputs[i])});
  auto outputs = model->run(named);
  EXPECT_TRUE(outputs) << outputs.error().text();
  return outputs ? std::optional(std::move(*outputs)) : std::nullopt;
}

TEST(RandomCalls, agree_with_litert) {
  const auto runtime = load_litert();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
    GTEST_SKIP() << runtime.error().text();
  }
  std::size_t judged = 0;
  const auto seeds = random_seeds(400);
  for (const std::uint64_t seed : seeds) {
    Random random(seed);
    const RandomCall call = random_call(random, 1);
    const Graph graph = graph_of(call);
    const auto is_empty = [](const Output& output) { return element_count(output.value->type.shape).is(0); };
    if (std::ranges::any_of(graph.outputs(), is_empty)) continue;  // LiteRT has no buffers without elements
    SCOPED_TRACE(fmt::format("seed {}: {}", seed, print(graph)));
    const auto outputs = run_in_litert(*runtime, graph, call);
    ASSERT_FALSE(testing::Test::HasFailure());
    if (!outputs) continue;
    const auto reference = evaluate(graph, inputs_of(call));
    ASSERT_TRUE(reference);
    for (const SignatureTensor& output : *outputs) {
      const auto index = static_cast<std::size_t>(std::stoi(output.name.substr(1)));
      // TFLite counts sizes in 32 bits.
      const Tensor expected = converted(to_tensor((*reference)[index]), output.value.dtype);
      ASSERT_EQ(output.value.shape, expected.shape);
      const auto agreement = compare(expected, output.value);
      ASSERT_TRUE(agreement) << agreement.error().text();
      // Where results cancel, errors follow the operands, which are of the order of 1.
      double largest = 1;
      for (const double value : (*reference)[index].values) largest = std::max(largest, std::fabs(value));
      ASSERT_LE(agreement->max_error, call.op->tolerance * largest) << output.name;
    }
    ++judged;
  }
  EXPECT_GT(judged, seeds.size() / 2);
}

}  // namespace
}  // namespace taper
