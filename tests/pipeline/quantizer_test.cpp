// From what is asked for to quantised graphs: recipes, exclusions, told ranges, costs of layers and the search.
#include "pipeline/quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "passes/passes.h"
#include "pipeline/mix.h"
#include "pipeline/programs.h"
#include "scratch_folder.h"

namespace taper {
namespace {

using testing::AllOf;
using testing::Field;
using testing::HasSubstr;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using testing_support::program;

// y = w2 relu(w1 x), 32 x 64 and 64 x 32 weights; `outlier` is put among those of the second layer.
Model two_layers(float outlier = 0) {
  auto impl = std::make_shared<Model::Impl>();
  std::mt19937 generator(1);
  std::normal_distribution<float> draw(0, 0.2F);
  const auto weights = [&](std::int64_t out, std::int64_t in) {
    std::vector<float> values(static_cast<std::size_t>(out * in));
    for (float& value : values) value = draw(generator);
    if (out == 32 && outlier != 0) values[5] = outlier;
    return tensor_f32({out, in}, values);
  };
  Builder build(impl->graph);
  Value* x = impl->graph.add_input("x", {DType::f32, {Dim(1), Dim(32)}});
  build.set_scope("body.fc1");
  Value* hidden = build("relu", {build("linear", {x, build.constant(weights(64, 32), "w1")}, {}, "hidden")});
  build.set_scope("head");
  impl->graph.add_output("output", build("linear", {hidden, build.constant(weights(32, 64), "w2")}, {}, "y"));
  EXPECT_TRUE(build.status());
  impl->info.kind = SourceKind::exported_program;
  impl->info.input_shape = {1, 32};
  return Model(std::move(impl));
}

Graph legal_of(const Model& model) {
  auto legal = legalize(model.impl().graph, Target::tflite);
  EXPECT_TRUE(legal) << legal.error().text();
  return legal ? std::move(*legal) : Graph();
}

ConvertOptions for_file(Precision precision) {
  ConvertOptions options;
  options.tflite = {precision};
  options.quantize.random_calibration = true;
  return options;
}

std::string problem(const ConvertOptions& options) {
  const Model model = two_layers();
  const Graph legal = legal_of(model);
  const auto quantizer = Quantizer::make(model, legal, options);
  return quantizer ? "" : quantizer.error().text() + " / " + quantizer.error().hint;
}

TEST(Quantizer, integers_between_layers_want_samples) {
  ConvertOptions options = for_file(Precision::int8);
  options.quantize.random_calibration = false;
  EXPECT_THAT(problem(options), AllOf(HasSubstr("samples of the inputs are needed"), HasSubstr("--calibration")));
  options.tflite = {Precision::dynamic};
  EXPECT_EQ(problem(options), "");
  options.quantize.weight_method = "gptq";
  EXPECT_THAT(problem(options), HasSubstr("samples of the inputs are needed"));
}

TEST(Quantizer, refuses_names_of_nothing) {
  ConvertOptions options = for_file(Precision::int8);
  options.quantize.exclude = {"neck"};
  EXPECT_THAT(problem(options), HasSubstr("'neck' is to be excluded, and no layer is called so"));
  options.quantize.exclude = {"^head$"};
  EXPECT_EQ(problem(options), "");
  options.quantize.ranges = {{"^input$", 0, 1}};
  EXPECT_THAT(problem(options), HasSubstr("no tensor is called so"));
  options.quantize.ranges = {{"^x$", 1, 2}};
  EXPECT_THAT(problem(options), HasSubstr("0 in it"));
}

TEST(Quantizer, refuses_words_that_it_does_not_know) {
  ConvertOptions options = for_file(Precision::int8);
  options.quantize.range_method = "guess";
  EXPECT_THAT(problem(options), HasSubstr("min-max, moving-average"));
  options = for_file(Precision::w8);
  options.quantize.weight_method = "guess";
  EXPECT_THAT(problem(options), HasSubstr("min-max, mse, gptq"));
}

TEST(Quantizer, tells_what_each_layer_computes) {
  const Model model = two_layers();
  const Graph legal = legal_of(model);
  ConvertOptions options = for_file(Precision::int8);
  options.quantize.exclude = {"head"};
  const auto quantizer = Quantizer::make(model, legal, options);
  ASSERT_TRUE(quantizer) << quantizer.error().text();
  const auto stored = quantizer->stored_as(Precision::int8);
  ASSERT_TRUE(stored) << stored.error().text();
  const QuantizationReport& report = *stored->report;
  EXPECT_TRUE(report.random_calibration);
  EXPECT_EQ(report.calibration_samples, 8);
  EXPECT_EQ(report.integer_share, 0.5);
  EXPECT_EQ(std::ranges::find(report.layers, "body.fc1", &QuantizationReport::Layer::layer)->computes, "int8");
  EXPECT_EQ(std::ranges::find(report.layers, "head", &QuantizationReport::Layer::layer)->computes, "float32");
}

TEST(Quantizer, a_told_range_takes_the_place_of_the_measured_one) {
  const Model model = two_layers();
  const Graph legal = legal_of(model);
  ConvertOptions options = for_file(Precision::int8);
  options.quantize.ranges = {{"^x$", 0, 255}};
  const auto quantizer = Quantizer::make(model, legal, options);
  ASSERT_TRUE(quantizer) << quantizer.error().text();
  const auto stored = quantizer->stored_as(Precision::int8);
  ASSERT_TRUE(stored) << stored.error().text();
  bool found = false;
  const auto look = [&](const Value* value) {
    found = found || (value->quantization != nullptr && value->quantization->scales == std::vector<float>{1} &&
                      value->quantization->zero_points == std::vector<std::int64_t>{-128});
  };
  for (const Value* input : stored->graph.inputs()) look(input);
  for (const Node& node : stored->graph.nodes())
    for (const Value* result : node.results) look(result);
  EXPECT_TRUE(found);
}

// A weight that is rounded to float16 as it is written.
bool is_half(const Node& node) {
  return node.op == "cast" && node.attrs.get<DType>("to") == DType::f16 && constant_of(node.operands[0]) != nullptr;
}

TEST(Quantizer, recipes_decide_layer_by_layer) {
  const testing_support::ScratchFolder folder;
  ConvertOptions options = for_file(Precision::recipe);
  options.quantize.recipe = folder.file("r.json", R"([
    {"regex": "fc1", "operation": "FULLY_CONNECTED", "algorithm_key": "float_casting",
     "op_config": {"weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"}, "explicit_dequantize": true}},
    {"regex": "head", "algorithm_key": "MSE",
     "op_config": {"weight_tensor_config": {"num_bits": 8, "granularity": "CHANNELWISE"},
                   "compute_precision": "INTEGER"}}])");
  const Model model = two_layers();
  const Graph legal = legal_of(model);
  const auto quantizer = Quantizer::make(model, legal, options);
  ASSERT_TRUE(quantizer) << quantizer.error().text();
  const auto stored = quantizer->stored_as(Precision::recipe);
  ASSERT_TRUE(stored) << stored.error().text();
  std::size_t halves = 0, bytes = 0;
  for (const Node& node : stored->graph.nodes()) {
    halves += is_half(node) ? 1 : 0;
    bytes += constant_of(node.result()) != nullptr && node.result()->quantization != nullptr ? 1 : 0;
  }
  EXPECT_EQ(halves, 1U);
  EXPECT_EQ(bytes, 1U);
}

// Bits of a graph's constants as they are stored.
std::int64_t stored_bits(const Graph& graph) {
  std::set<const Value*> halves;
  for (const Node& node : graph.nodes())
    if (is_half(node)) halves.insert(node.operands[0]);
  std::int64_t bits = 0;
  for (const Node& node : graph.nodes())
    if (const Tensor* constant = constant_of(node.result())) {
      const auto& grid = node.result()->quantization;
      const std::int64_t plain =
          halves.contains(node.result()) ? 16 : 8 * static_cast<std::int64_t>(size_of(constant->dtype));
      bits += constant->element_count() * (grid != nullptr ? grid->bits : plain);
    }
  return bits;
}

class Mix : public testing::Test {
 protected:
  explicit Mix(float outlier = 3) : model(two_layers(outlier)), legal(legal_of(model)) {
    quantizer.emplace(Quantizer::make(model, legal, options).value());
    bench.emplace(Bench::make(legal, bench_samples(model, options, false).value()).value());
  }
  // Bytes of the weights, and the error of the mix for a bound.
  std::pair<std::int64_t, double> mixed(double bound) const {
    auto stored = find_mix(legal, *quantizer, *bench, bound);
    EXPECT_TRUE(stored) << stored.error().text();
    return {stored_bits(stored->graph) / 8, bench->relative_error(stored->graph).value()};
  }

  ConvertOptions options = for_file(Precision::mixed);
  Model model;
  Graph legal;
  std::optional<Quantizer> quantizer;
  std::optional<Bench> bench;
};

TEST_F(Mix, a_looser_bound_gives_a_smaller_file_within_it) {
  constexpr std::int64_t kWeights = std::int64_t{2} * 64 * 32;
  std::int64_t before = 2 * kWeights;
  for (const double bound : {2e-3, 1e-2, 5e-2, 1.0}) {
    const auto [bytes, error] = mixed(bound);
    EXPECT_LE(bytes, before) << bound;
    EXPECT_LT(error, bound);
    before = bytes;
  }
  EXPECT_EQ(before, kWeights / 2);
  EXPECT_EQ(mixed(1e-2), mixed(1e-2));
}

TEST_F(Mix, a_bound_below_float16_is_refused) {
  const auto stored = find_mix(legal, *quantizer, *bench, 1e-9);
  ASSERT_FALSE(stored);
  EXPECT_THAT(stored.error().message, HasSubstr("weights of float16 cost"));
}

// A single large weight of the second layer makes its scale too wide for its other weights.
TEST(LayerCosts, the_layer_that_costs_most_comes_first) {
  const testing_support::ScratchFolder folder;
  ConvertOptions options = for_file(Precision::recipe);
  options.quantize.recipe = folder.file("r.json", R"([{"regex": ".*", "algorithm_key": "min_max_uniform_quantize",
    "op_config": {"weight_tensor_config": {"num_bits": 4, "granularity": "TENSORWISE"}}}])");
  const auto costs = layer_costs(two_layers(3), options, Precision::recipe, 60);
  ASSERT_TRUE(costs) << costs.error().text();
  ASSERT_THAT(*costs, SizeIs(2));
  EXPECT_EQ((*costs)[0].layer, "head");
  EXPECT_EQ((*costs)[0].weights, 64 * 32);
  EXPECT_GT((*costs)[0].relative_error, (*costs)[1].relative_error);
}

// y = head(h tanh(h)) with h = first(x): what lies between the layers with weights costs too.
Model gated() {
  auto impl = std::make_shared<Model::Impl>();
  std::mt19937 generator(2);
  std::normal_distribution<float> draw(0, 0.3F);
  Builder build(impl->graph);
  const auto layer = [&](Value* x, const std::string& name) {
    std::vector<float> values(16 * 16);
    for (float& value : values) value = draw(generator);
    build.set_scope(name);
    return build("linear", {x, build.constant(tensor_f32({16, 16}, values), name + ".weight")}, {}, name);
  };
  Value* x = impl->graph.add_input("x", {DType::f32, {Dim(1), Dim(16)}});
  Value* first = layer(x, "first");
  build.set_scope("gate");
  Value* gated = build("mul", {first, build("tanh", {first})});
  impl->graph.add_output("output", layer(gated, "head"));
  EXPECT_TRUE(build.status());
  impl->info.kind = SourceKind::exported_program;
  impl->info.input_shape = {1, 16};
  return Model(std::move(impl));
}

TEST(LayerCosts, put_what_lies_between_layers_on_integers_too) {
  const Model model = gated();
  const auto costs = layer_costs(model, for_file(Precision::int8), Precision::int8, 60);
  ASSERT_TRUE(costs) << costs.error().text();
  std::vector<std::string> layers;
  for (const LayerCost& cost : *costs) {
    layers.push_back(cost.layer);
    EXPECT_GT(cost.relative_error, 1e-5) << cost.layer;
  }
  EXPECT_THAT(layers, testing::UnorderedElementsAre("first", "gate", "head"));
  const auto weights_alone = layer_costs(model, for_file(Precision::dynamic), Precision::dynamic, 60);
  ASSERT_TRUE(weights_alone);
  EXPECT_THAT(*weights_alone,
              UnorderedElementsAre(Field(&LayerCost::layer, "first"), Field(&LayerCost::layer, "head")));
}

TEST(LayerCosts, take_no_longer_than_they_may) {
  const auto costs = layer_costs(gated(), for_file(Precision::int8), Precision::int8, 0);
  ASSERT_TRUE(costs) << costs.error().text();
  EXPECT_THAT(*costs, SizeIs(0));
}

TEST(Quantizer, says_of_samples_only_where_a_file_needs_them) {
  const Model model = two_layers();
  const Graph legal = legal_of(model);
  ConvertOptions options = for_file(Precision::int8);
  options.tflite.push_back(Precision::dynamic);
  const auto quantizer = Quantizer::make(model, legal, options);
  ASSERT_TRUE(quantizer) << quantizer.error().text();
  EXPECT_TRUE(quantizer->stored_as(Precision::int8)->report->random_calibration);
  EXPECT_FALSE(quantizer->stored_as(Precision::dynamic)->report->random_calibration);
  EXPECT_EQ(quantizer->stored_as(Precision::dynamic)->report->calibration_samples, 0);
}

// More than was seen in few samples, less more in many; what lies inside keeps its range.
TEST(Quantizer, gives_outputs_room_beyond_what_few_samples_showed) {
  const Model model = two_layers();
  const Graph legal = legal_of(model);
  const auto scale_of = [&](const std::string& method, std::string_view name) {
    ConvertOptions options = for_file(Precision::int8);
    options.quantize.range_method = method;
    const auto quantizer = Quantizer::make(model, legal, options);
    EXPECT_TRUE(quantizer) << quantizer.error().text();
    const auto stored = quantizer->stored_as(Precision::int8);
    for (const Node& node : stored->graph.nodes())
      if (node.results[0]->name == name && node.results[0]->quantization != nullptr)
        return static_cast<double>(node.results[0]->quantization->scales[0]);
    ADD_FAILURE() << name;
    return 0.0;
  };
  const double all = scale_of("min-max", "y") / (1 + 2 / std::sqrt(8));
  EXPECT_GE(all * 1.001, scale_of("percentile", "y"));
  EXPECT_LT(all * 0.8, scale_of("percentile", "y"));
}

}  // namespace
}  // namespace taper
