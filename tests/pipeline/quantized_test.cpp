// Quantised files of small networks: LiteRT's results, what reading the file back and evaluating it gives, and the
// network's own results.
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/tflite.h"
#include "frontend/tflite.h"
#include "networks.h"
#include "passes/passes.h"
#include "passes/quantize.h"
#include "pipeline/calibrate.h"
#include "pipeline/precision.h"
#include "same_results.h"
#include "verify/compare.h"
#include "verify/litert.h"

namespace taper {
namespace {

using Shapes = std::vector<std::vector<std::int64_t>>;
const Shapes kShapes = {{1, 30, 6}, {3, 7, 6}, {2, 33, 6}};

// Convolutions of all kinds over time and features, with what usually stands between them.
Graph cnn() {
  SampleNetwork net;
  Builder& build = net.build;
  const auto conv = [&](Value* x, std::vector<std::int64_t> shape, std::int64_t groups, const std::string& name) {
    const std::int64_t outputs = shape[0];
    const std::int64_t pad = shape.back() / 2;
    return build("conv", {x, net.weights(std::move(shape), name + ".weight"), net.weights({outputs}, name + ".bias")},
                 {{"stride", std::vector<std::int64_t>{1, 1}},
                  {"padding", std::vector<std::int64_t>{pad, pad, pad, pad}},
                  {"dilation", std::vector<std::int64_t>{1, 1}},
                  {"groups", groups}});
  };
  Value* x = build("unsqueeze", {net.input(6)}, {{"dims", std::vector<std::int64_t>{1}}});
  Value* wide = build("relu", {conv(x, {8, 1, 3, 3}, 1, "first")});
  Value* deep = build("hard_swish", {conv(wide, {8, 1, 3, 3}, 8, "depthwise")});
  Value* sum = build("add", {wide, conv(deep, {8, 8, 1, 1}, 1, "pointwise")});
  Value* pooled = build("mean", {build("leaky_relu", {sum}, {{"negative_slope", 0.1}})},
                        {{"dims", std::vector<std::int64_t>{2, 3}}, {"keepdim", false}});
  net.graph.add_output("output", build("softmax", {net.linear(pooled, 8, 4, "head")}, {{"dim", std::int64_t{-1}}}));
  EXPECT_TRUE(build.status()) << build.status().error().text();
  return std::move(net.graph);
}

// A product with a constant on its right, and rows of a large table.
Graph constants() {
  SampleNetwork net;
  Builder& build = net.build;
  Value* x = net.input(6);
  Value* y = build("matmul", {x, net.weights({6, 32}, "matrix")}, {{"transpose_b", false}});
  Value* largest = build("argmax", {x}, {{"dim", std::int64_t{-1}}});
  Value* rows = build("gather", {net.weights({40, 32}, "table"), largest}, {{"dim", std::int64_t{0}}});
  Value* steps = build("tanh", {build("add", {y, rows})});
  net.graph.add_output(
      "output",
      net.linear(build("amax", {steps}, {{"dims", std::vector<std::int64_t>{1}}, {"keepdim", false}}), 32, 5, "head"));
  EXPECT_TRUE(build.status()) << build.status().error().text();
  return std::move(net.graph);
}

struct Case {
  NamedNetwork network;
  Precision precision;
  double against_evaluation;  // of LiteRT: rounding that falls the other way in one of many steps
  double against_reference;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  std::vector<NamedNetwork> networks = all_networks();
  networks.push_back({"cnn", cnn});
  networks.push_back({"constants", constants});
  for (const NamedNetwork& network : networks) {
    cases.push_back({network, Precision::dynamic, 1e-4, 0.03});
    cases.push_back({network, Precision::w8, 1e-6, 0.02});
    cases.push_back({network, Precision::w4, 2e-2, 0.3});  // blocks: LiteRT's own kernel rounds x otherwise
    cases.push_back({network, Precision::int8, 0.05, 0.1});
    cases.push_back({network, Precision::int16x8, 1e-3, 0.02});
  }
  return cases;
}

Ranges measured(const Graph& legal) {
  std::size_t next = 0;
  const auto source = [&]() -> Expected<std::optional<std::vector<Array>>> {
    if (next == kShapes.size()) return std::nullopt;
    return std::vector{random_input(kShapes[next++])};
  };
  const auto measurements = measure(legal, source, {});
  EXPECT_TRUE(measurements) << measurements.error().text();
  return measurements ? measurements->ranges : Ranges{};
}

// As layers of all sizes are quantised, however small.
LayerConfig config_for(Precision precision) {
  LayerConfig config = layer_config(precision);
  config.min_weight_elements = 0;
  return config;
}

Graph quantized(const Graph& legal, Precision precision) {
  const Ranges ranges = measured(legal);
  const LayerConfig config = config_for(precision);
  QuantizationPlan plan;
  auto result = quantize(legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges}, &plan);
  EXPECT_TRUE(result) << result.error().text();
  if (!result) return {};
  return std::move(*result);
}

std::vector<std::byte> file_of(const Graph& legal) {
  const auto model =
      spell_tflite(legal, {.description = "test", .default_sizes = {{"batch_size", 1}, {"sequence_length", 30}}});
  EXPECT_TRUE(model) << model.error().text();
  std::vector<std::byte> bytes;
  if (!model) return bytes;
  EXPECT_TRUE(write_tflite(model->model, model->buffers, sink_to(bytes)));
  return bytes;
}

double difference(const Array& expected, const Tensor& actual) {
  const auto agreement = compare(to_tensor(expected), actual);
  EXPECT_TRUE(agreement) << agreement.error().text();
  return agreement ? agreement->relative_error : 1;
}

class QuantizedFile : public testing::TestWithParam<Case> {};

TEST_P(QuantizedFile, reads_back_as_it_was_and_runs_in_litert_as_it_evaluates) {
  const Graph graph = GetParam().network.make();
  auto legal = legalize(graph, Target::tflite);
  ASSERT_TRUE(legal) << legal.error().text();
  if (GetParam().precision == Precision::int8 && has_gates(*legal)) legal = part_gates(*legal);
  ASSERT_TRUE(legal) << legal.error().text();
  const Graph written = quantized(*legal, GetParam().precision);
  const std::vector<std::byte> bytes = file_of(written);
  const auto file = read_tflite(share(bytes));
  ASSERT_TRUE(file) << file.error().text();
  const auto read = import_tflite(*file);
  ASSERT_TRUE(read) << read.error().text();
  for (const auto& shape : kShapes) expect_same(written, *read, {random_input(shape)});

  const auto runtime = load_litert();
  if (!runtime) {
    ASSERT_EQ(std::getenv("TAPER_REQUIRE_JUDGES"), nullptr) << runtime.error().text();
    GTEST_SKIP() << runtime.error().text();
  }
  auto model = LitertModel::open(*runtime, share(bytes));
  ASSERT_TRUE(model) << model.error().text();
  for (const auto& shape : kShapes) {
    const Array input = random_input(shape);
    const auto reference = evaluate(graph, {input});
    const auto simulated = evaluate(written, {input});
    ASSERT_TRUE(reference && simulated);
    const OutputShapes expected = {{"output", (*reference)[0].shape}};
    for (int repeat = 0; repeat < 2; ++repeat) {
      const auto outputs = model->run(std::vector{SignatureTensor{"input", to_tensor(input)}}, expected);
      ASSERT_TRUE(outputs) << outputs.error().text();
      const double to_simulated = difference((*simulated)[0], (*outputs)[0].value);
      const double to_reference = difference((*reference)[0], (*outputs)[0].value);
      EXPECT_LT(to_simulated, GetParam().against_evaluation) << testing::PrintToString(shape);
      EXPECT_LT(to_reference, GetParam().against_reference) << testing::PrintToString(shape);
      RecordProperty(fmt::format("figures_{}", shape[1]), fmt::format("{:.2e} {:.2e}", to_simulated, to_reference));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, QuantizedFile, testing::ValuesIn(all_cases()), [](const auto& tested) {
  return fmt::format("{}_{}", tested.param.network.name, precision_name(tested.param.precision));
});

}  // namespace
}  // namespace taper
