// What the TFLite backend writes is read back as a graph with the same meaning; what is damaged is refused.
#include "frontend/tflite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/tflite.h"
#include "networks.h"
#include "ops/table.h"
#include "passes/passes.h"
#include "passes/quantize.h"
#include "same_results.h"

namespace taper {
namespace {

using testing::HasSubstr;
using Shapes = std::vector<std::vector<std::int64_t>>;

TfliteModel spelled(const Graph& legal) {
  auto model =
      spell_tflite(legal, {.description = "test", .default_sizes = {{"batch_size", 1}, {"sequence_length", 30}}});
  EXPECT_TRUE(model) << model.error().text();
  return std::move(*model);
}

std::vector<std::byte> bytes_of(const TfliteModel& model) {
  std::vector<std::byte> bytes;
  const Status written = write_tflite(model.model, model.buffers, sink_to(bytes));
  EXPECT_TRUE(written) << written.error().text();
  return bytes;
}

Expected<Graph> read_back(std::vector<std::byte> bytes) {
  TAPER_ASSIGN(const TfliteFile file, read_tflite(share(std::move(bytes))));
  return import_tflite(file);
}

// -------------------------------------------------------------------------------------------------------- networks

enum class Stored { floats, halves, hybrid, int8, int16x8 };
constexpr std::array kStored = {Stored::floats, Stored::halves, Stored::hybrid, Stored::int8, Stored::int16x8};
constexpr std::array kStoredNames = {"f32", "f16", "hybrid", "int8", "int16x8"};

struct Variant {
  NamedNetwork network;
  bool dynamic;
  Stored stored;
};

std::vector<Variant> all_variants() {
  std::vector<Variant> variants;
  for (const NamedNetwork& network : all_networks())
    for (const bool dynamic : {true, false})
      for (const Stored stored : kStored) variants.push_back({network, dynamic, stored});
  return variants;
}

std::string name_of(const testing::TestParamInfo<Variant>& info) {
  return fmt::format("{}_{}_{}", info.param.network.name, info.param.dynamic ? "dynamic" : "static",
                     kStoredNames[static_cast<std::size_t>(info.param.stored)]);
}

// As if all values had been seen to lie between -3 and 3.
void add_ranges(const Graph& graph, Ranges& ranges) {
  for (const Value* input : graph.inputs()) ranges[input] = {-3, 3};
  for (const Node& node : graph.nodes()) {
    for (const Value* result : node.results) ranges[result] = {-3, 3};
    for (const auto& region : node.regions) add_ranges(*region, ranges);
  }
}

Expected<Graph> with_integers(const Graph& legal, Stored stored) {
  Ranges ranges;
  add_ranges(legal, ranges);
  LayerConfig config;
  config.quantized = config.integer_compute = true;
  config.weight = TensorScheme{.per_channel = true};
  if (stored != Stored::hybrid)
    config.activation = TensorScheme{.bits = stored == Stored::int8 ? 8 : 16, .symmetric = stored != Stored::int8};
  return quantize(legal, {.config_of = [&](const Node&) { return config; }, .ranges = &ranges}, nullptr);
}

Graph legal_graph(const Variant& variant) {
  LegalizeOptions options;
  if (!variant.dynamic) options.freeze = {{"batch_size", 2}, {"sequence_length", 17}};
  auto legal = legalize(variant.network.make(), Target::tflite, options);
  EXPECT_TRUE(legal) << legal.error().text();
  if (variant.stored == Stored::floats) return std::move(*legal);
  auto stored =
      variant.stored == Stored::halves ? store_weights_as_f16(*legal, nullptr) : with_integers(*legal, variant.stored);
  EXPECT_TRUE(stored) << stored.error().text();
  return std::move(*stored);
}

class TfliteRoundTrip : public testing::TestWithParam<Variant> {};

TEST_P(TfliteRoundTrip, keeps_the_meaning_and_the_names) {
  const Graph legal = legal_graph(GetParam());
  const auto graph = read_back(bytes_of(spelled(legal)));
  ASSERT_TRUE(graph) << graph.error().text();
  ASSERT_TRUE(check(*graph)) << check(*graph).error().text();
  ASSERT_EQ(graph->inputs().size(), 1u);
  EXPECT_EQ(graph->inputs()[0]->name, "input");
  EXPECT_EQ(type_text(graph->inputs()[0]->type), GetParam().dynamic ? "f32[input_0, input_1, 6]" : "f32[2, 17, 6]");
  ASSERT_EQ(graph->outputs().size(), 1u);
  EXPECT_EQ(graph->outputs()[0].name, "output");
  const Shapes shapes = GetParam().dynamic ? Shapes{{1, 30, 6}, {3, 7, 6}, {2, 17, 6}} : Shapes{{2, 17, 6}};
  for (const auto& shape : shapes) {
    SCOPED_TRACE(testing::PrintToString(shape));
    expect_same(legal, *graph, {random_input(shape)});
  }
}

TEST_P(TfliteRoundTrip, writes_the_same_file_again) {
  const TfliteModel model = spelled(legal_graph(GetParam()));
  const auto graph = read_back(bytes_of(model));
  ASSERT_TRUE(graph) << graph.error().text();
  const auto again = spell_tflite(*graph, {.description = "test", .default_sizes = {{"input_0", 1}, {"input_1", 30}}});
  ASSERT_TRUE(again) << again.error().text();
  ASSERT_EQ(again->model.subgraphs.size(), model.model.subgraphs.size());
  for (std::size_t i = 0; i < model.model.subgraphs.size(); ++i) {
    const auto& expected = *model.model.subgraphs[i];
    const auto& actual = *again->model.subgraphs[i];
    ASSERT_EQ(actual.operators.size(), expected.operators.size());
    ASSERT_EQ(actual.tensors.size(), expected.tensors.size());
    for (std::size_t k = 0; k < expected.operators.size(); ++k) {
      const auto code = [](const TfliteModel& of, const auto& call) {
        const auto& entry = *of.model.operator_codes[call->opcode_index];
        return std::pair(entry.builtin_code, entry.version);
      };
      EXPECT_EQ(code(*again, actual.operators[k]), code(model, expected.operators[k]));
      ASSERT_EQ(actual.operators[k]->inputs.size(), expected.operators[k]->inputs.size());
      for (std::size_t n = 0; n < expected.operators[k]->outputs.size(); ++n) {
        const auto tensor = [n](const auto& subgraph, const auto& call) -> const tflite::TensorT& {
          return *subgraph.tensors[static_cast<std::size_t>(call->outputs[n])];
        };
        const tflite::TensorT& a = tensor(actual, actual.operators[k]);
        const tflite::TensorT& e = tensor(expected, expected.operators[k]);
        EXPECT_EQ(a.type, e.type);
        EXPECT_EQ(a.shape, e.shape) << e.name;
        EXPECT_EQ(a.shape_signature, e.shape_signature) << e.name;
      }
    }
  }
  EXPECT_EQ(again->buffers.size(), model.buffers.size());
}

INSTANTIATE_TEST_SUITE_P(Networks, TfliteRoundTrip, testing::ValuesIn(all_variants()), name_of);

// ------------------------------------------------------------------------------------------------------------ rows

// Small values of any dtype, within the example's range.
Array random_array(const Type& type, const Example& example, std::mt19937& generator) {
  std::uniform_real_distribution<double> draw(example.low, example.high);
  Array array{type.dtype, *constant_sizes(type.shape), {}};
  array.values.resize(static_cast<std::size_t>(*element_count(type.shape).constant()));
  for (double& value : array.values) value = is_floating(type.dtype) ? draw(generator) : std::floor(draw(generator));
  return array;
}

TEST(TfliteRows, are_read_as_they_are_written) {
  std::size_t calls = 0;
  for (const Op& op : op_table())
    for (const Example& example : op.examples) {
      SCOPED_TRACE(op.name);
      std::mt19937 generator(3);
      Graph graph;
      Builder build(graph);
      std::vector<Value*> operands;
      std::vector<Array> inputs;
      for (const Type& type : example.operands) {
        inputs.push_back(random_array(type, example, generator));
        operands.push_back(graph.add_input("x", type));
      }
      const std::vector<Value*> results = build.call(op.name, operands, example.attrs);
      ASSERT_TRUE(build.status()) << build.status().error().text();
      if (!op.spelled_in(Target::tflite, *results[0]->producer)) continue;
      for (std::size_t i = 0; i < results.size(); ++i) graph.add_output("y" + std::to_string(i), results[i]);
      const auto read = read_back(bytes_of(spelled(graph)));
      ASSERT_TRUE(read) << read.error().text();
      ASSERT_EQ(read->nodes().size(), 1u);
      EXPECT_EQ(read->nodes()[0].op, op.name);
      expect_same(graph, *read, inputs);
      ++calls;
    }
  EXPECT_GT(calls, 30u);
}

TEST(TfliteRows, resolve_sizes_that_the_file_leaves_open) {
  Graph graph;
  Builder build(graph);
  const Dim batch = Dim::symbol("batch_size"), steps = Dim::symbol("sequence_length");
  Value* x = graph.add_input("x", {DType::f32, {batch, steps, 6}});
  const auto dim = [](std::int64_t axis) { return NamedAttr("dim", axis); };
  Value* behind = build("slice", {x}, {dim(1), {"start", std::int64_t{2}}, {"end", Shape{steps}}});
  Value* inner = build("slice", {x}, {dim(1), {"start", std::int64_t{1}}, {"end", Shape{steps - 1}}});
  Value* flat = build("reshape", {build("add", {behind, inner})}, {{"shape", Shape{batch * (steps - 2), 6}}});
  graph.add_output("flat", flat);
  graph.add_output("halves", build("reshape", {x}, {{"shape", Shape{3, 2, batch * steps}}}));
  graph.add_output("first", build("select", {x}, {dim(1), {"index", std::int64_t{0}}}));
  graph.add_output("x", x);
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const auto read = read_back(bytes_of(spelled(graph)));
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_EQ(type_text(read->outputs()[0].value->type), "f32[-2*x_0 + x_0*x_1, 6]");
  EXPECT_EQ(type_text(read->outputs()[1].value->type), "f32[3, 2, x_0*x_1]");
  EXPECT_EQ(type_text(read->outputs()[2].value->type), "f32[x_0, 6]");
  EXPECT_EQ(read->outputs()[3].value, read->inputs()[0]);
  expect_same(graph, *read, {random_input({2, 5, 6})});
}

// ---------------------------------------------------------------------------------------------------------- models

// One linear layer with relu on [2, 3], then a sum over the last axis.
struct SmallModel {
  Graph graph;
  TfliteModel model;

  SmallModel() {
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {2, 3}});
    Value* w = build.constant(tensor_f32({1, 3}, std::vector<float>{1, 2, 3}), "weight");
    Value* y = build("linear", {x, w}, {{"activation", std::string("relu")}}, "layer");
    graph.add_output("y", build("sum", {y}, {{"dims", std::vector<std::int64_t>{1}}}, "total"));
    model = spelled(graph);
  }
  tflite::SubGraphT& main() { return *model.model.subgraphs[0]; }
  tflite::OperatorT& call(std::size_t i) { return *main().operators[i]; }
  tflite::TensorT& result(std::size_t i) { return *main().tensors[static_cast<std::size_t>(call(i).outputs[0])]; }
  std::string error() const {
    const auto read = read_back(bytes_of(model));
    return read ? "" : read.error().text();
  }
};

TEST(ImportTflite, accepts_the_small_model) {
  EXPECT_EQ(SmallModel().error(), "");
}

TEST(ImportTflite, names_all_unknown_operators_at_once) {
  SmallModel small;
  small.model.model.operator_codes[0]->builtin_code = tflite::BuiltinOperator::SVDF;
  small.model.model.operator_codes[1]->builtin_code = tflite::BuiltinOperator::CUSTOM;
  small.model.model.operator_codes[1]->custom_code = "Mine";
  EXPECT_EQ(small.error(), "operators that are not read: SVDF (1 times); custom 'Mine' (1 times)");
}

TEST(ImportTflite, refuses_options_that_are_not_understood) {
  SmallModel activation, transposed;
  activation.call(0).builtin_options.AsFullyConnectedOptions()->fused_activation_function =
      tflite::ActivationFunctionType::SIGN_BIT;
  EXPECT_THAT(activation.error(), HasSubstr("activation 5 is not supported"));
  transposed.call(0).builtin_options.AsFullyConnectedOptions()->asymmetric_quantize_inputs = true;
  EXPECT_THAT(transposed.error(), HasSubstr("options (FullyConnectedOptions) are not as they are written"));
}

TEST(ImportTflite, refuses_types_that_contradict_the_operators) {
  SmallModel size, dtype, quantized;
  size.result(0).shape = {2, 4};
  EXPECT_THAT(size.error(), HasSubstr("tensor 'layer' is declared as f32[2, 4], but f32[2, 1] is computed"));
  dtype.result(0).type = tflite::TensorType::INT32;
  EXPECT_THAT(dtype.error(), HasSubstr("declared as i32[2, 1]"));
  quantized.result(0).quantization = std::make_unique<tflite::QuantizationParametersT>();
  quantized.result(0).quantization->scale = {0.5f};
  EXPECT_THAT(quantized.error(), HasSubstr("the quantised tensor 'layer' is not read"));
}

TEST(ImportTflite, refuses_operators_out_of_order_and_results_computed_twice) {
  SmallModel order, twice, arity;
  std::swap(order.main().operators[0], order.main().operators[1]);
  EXPECT_THAT(order.error(), HasSubstr("tensor 'layer' is used before it is computed"));
  twice.main().operators.push_back(std::make_unique<tflite::OperatorT>(twice.call(0)));
  EXPECT_THAT(twice.error(), HasSubstr("tensor 'layer' is computed twice"));
  arity.call(1).outputs.push_back(arity.call(1).outputs[0]);
  EXPECT_THAT(arity.error(), HasSubstr("2 results, expected 1"));
}

TEST(ImportTflite, refuses_signatures_that_do_not_name_the_inputs) {
  SmallModel missing, renamed, foreign;
  missing.model.model.signature_defs[0]->inputs.clear();
  EXPECT_THAT(missing.error(), HasSubstr("0 inputs of the signature, its subgraph has 1"));
  renamed.model.model.signature_defs[0]->signature_key = "other";
  EXPECT_EQ(renamed.error(), "there is no signature 'serving_default'");
  foreign.model.model.signature_defs[0]->inputs[0]->tensor_index =
      static_cast<std::uint32_t>(foreign.call(0).inputs[1]);
  EXPECT_THAT(foreign.error(), HasSubstr("input 'x' of the signature is no input of its subgraph"));
}

TEST(ImportTflite, refuses_loops_that_hold_themselves) {
  const auto legal = legalize(gru_stack(), Target::tflite);
  ASSERT_TRUE(legal);
  for (const std::int32_t body : {0, -1, 7}) {
    TfliteModel model = spelled(*legal);
    for (const auto& call : model.model.subgraphs[0]->operators)
      if (auto* options = call->builtin_options.AsWhileOptions()) options->body_subgraph_index = body;
    const auto read = read_back(bytes_of(model));
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().text(), HasSubstr(body == 0 ? "subgraph 0 is used twice" : "does not exist"));
  }
}

TEST(ImportTflite, bounds_loops_inside_loops_and_growing_sizes) {
  // Each level carries one bool; the innermost body names a subgraph that doesn't exist.
  SmallModel nested;
  auto& model = nested.model.model;
  const std::int32_t levels = 40;
  auto code = std::make_unique<tflite::OperatorCodeT>();
  code->builtin_code = tflite::BuiltinOperator::WHILE;
  model.operator_codes.push_back(std::move(code));
  model.subgraphs.clear();
  for (std::int32_t level = 0; level <= 2 * levels; ++level) {
    auto subgraph = std::make_unique<tflite::SubGraphT>();
    for (int i = 0; i < 2; ++i) {
      subgraph->tensors.push_back(std::make_unique<tflite::TensorT>());
      subgraph->tensors.back()->type = tflite::TensorType::BOOL;
    }
    subgraph->inputs = subgraph->outputs = {0};
    if (level % 2 == 0) {
      auto loop = std::make_unique<tflite::OperatorT>();
      loop->opcode_index = static_cast<std::uint32_t>(model.operator_codes.size()) - 1;
      loop->inputs = {0};
      loop->outputs = {1};
      tflite::WhileOptionsT options;
      options.cond_subgraph_index = level + 1;
      options.body_subgraph_index = level + 2;
      loop->builtin_options.Set(std::move(options));
      subgraph->operators.push_back(std::move(loop));
    }
    model.subgraphs.push_back(std::move(subgraph));
  }
  model.signature_defs[0]->inputs[0]->tensor_index = model.signature_defs[0]->outputs[0]->tensor_index = 0;
  EXPECT_THAT(nested.error(), HasSubstr("more than 16 loops inside each other"));

  // x [B, 1, 1] B^T ... : flattening [n, n] squares the size again and again.
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {Dim::symbol("batch_size"), 1}});
  for (int i = 0; i < 6; ++i) {
    const Dim size = x->type.shape[0];
    x = build("reshape", {build("matmul", {x, x}, {{"transpose_b", true}})}, {{"shape", Shape{size * size, 1}}});
  }
  graph.add_output("y", x);
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const auto read = read_back(bytes_of(spelled(graph)));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().text(), HasSubstr("sizes are too complicated"));
}

// Flips bytes and overwrites aligned integers, mostly in the structure, which stands before the data.
std::vector<std::byte> damaged(std::vector<std::byte> bytes, std::size_t structure, std::mt19937& generator) {
  const auto below = [&](std::size_t bound) { return generator() % bound; };
  for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
    const std::size_t at = below(below(8) == 0 ? bytes.size() : structure);
    constexpr std::int32_t kInteresting[] = {0, 1, 2, 3, 8, 31, 64, 255, -1, -2, 0x7fffffff, -0x7fffffff - 1};
    if (below(2) == 0) {
      bytes[at] ^= static_cast<std::byte>(1u << below(8));
    } else if (const std::size_t word = at / 4 * 4; word + 4 <= bytes.size()) {
      std::memcpy(bytes.data() + word, &kInteresting[below(std::size(kInteresting))], 4);
    }
  }
  return bytes;
}

// Each network is damaged in ways of its own: few rounds of each are many in all, and the fuzzers go on from there.
constexpr std::uint32_t kRounds = 60;

TEST(ImportTflite, never_crashes_on_damaged_files) {
  std::uint32_t seed = 0;
  for (const Variant& variant : all_variants()) {
    // Each network as dynamic float32 and, static, in the other forms.
    if (variant.dynamic != (variant.stored == Stored::floats)) continue;
    const TfliteModel model = spelled(legal_graph(variant));
    const std::vector<std::byte> bytes = bytes_of(model);
    std::size_t data = 0;
    for (const WeightSource& buffer : model.buffers) data += buffer.byte_count();
    for (const std::uint32_t end = seed + kRounds; seed < end; ++seed) {
      SCOPED_TRACE(fmt::format("{}, seed {}", variant.network.name, seed));
      std::mt19937 generator(seed);
      const auto graph = read_back(damaged(bytes, bytes.size() - data, generator));
      if (!graph) continue;
      const Status checked = check(*graph);
      ASSERT_TRUE(checked) << checked.error().text();
    }
  }
}

// Changes the model itself, so that the file around the damage stays whole and the damage reaches the reader.
void disturb(tflite::ModelT& model, std::mt19937& generator) {
  const auto below = [&](std::size_t bound) { return bound == 0 ? 0 : generator() % bound; };
  const auto pick = [&](auto& list) -> auto& { return list[below(std::size(list))]; };
  tflite::SubGraphT& subgraph = *pick(model.subgraphs);
  tflite::TensorT& tensor = *pick(subgraph.tensors);
  const auto any_tensor = static_cast<std::int32_t>(below(subgraph.tensors.size()));
  constexpr std::int32_t kSizes[] = {-2, -1, 0, 1, 2, 3, 6, 16, 17, 0x7fffffff};
  if (subgraph.operators.empty()) return;
  tflite::OperatorT& call = *pick(subgraph.operators);
  const tflite::OperatorT& other = *pick(subgraph.operators);
  switch (below(12)) {
    case 0:
      if (!call.inputs.empty()) pick(call.inputs) = below(4) == 0 ? -1 : any_tensor;
      break;
    case 1:
      pick(call.outputs) = any_tensor;
      break;
    case 2:
      call.inputs.push_back(any_tensor);
      break;
    case 3:
      if (!call.inputs.empty()) call.inputs.pop_back();
      break;
    case 4:
      call.opcode_index = other.opcode_index;
      break;
    case 5:
      call.builtin_options = other.builtin_options;
      break;
    case 6:
      if (!tensor.shape.empty()) pick(tensor.shape) = pick(kSizes);
      if (!tensor.shape_signature.empty() && below(2) == 0) pick(tensor.shape_signature) = pick(kSizes);
      break;
    case 7:
      tensor.type = static_cast<tflite::TensorType>(below(20));
      break;
    case 8:
      tensor.buffer = pick(subgraph.tensors)->buffer;
      break;
    case 9:
      if (auto* slice = call.builtin_options.AsStridedSliceOptions())
        std::array{&slice->begin_mask, &slice->end_mask, &slice->shrink_axis_mask}[below(3)][0] ^= 1 << below(32);
      if (auto* loop = call.builtin_options.AsWhileOptions())
        loop->body_subgraph_index = static_cast<std::int32_t>(below(model.subgraphs.size() + 1)) - 1;
      if (auto* join = call.builtin_options.AsConcatenationOptions()) join->axis = pick(kSizes);
      if (auto* gather = call.builtin_options.AsGatherOptions()) gather->axis = pick(kSizes);
      if (auto* split = call.builtin_options.AsSplitOptions()) split->num_splits = pick(kSizes);
      break;
    case 11:
      if (auto* grid = tensor.quantization.get()) {
        constexpr float kScales[] = {0, -1, 1, 0.5F, 1e-38F, 1e38F, std::numeric_limits<float>::quiet_NaN()};
        if (!grid->scale.empty()) pick(grid->scale) = pick(kScales);
        if (!grid->zero_point.empty() && below(3) == 0) pick(grid->zero_point) = pick(kSizes);
        if (below(3) == 0) grid->quantized_dimension = pick(kSizes);
        if (below(4) == 0) grid->scale.resize(grid->scale.size() / 2);
      }
      break;
    case 10:
      pick(subgraph.inputs.empty() ? subgraph.outputs : subgraph.inputs) = any_tensor;
      break;
  }
}

// Whether evaluating the graph ends soon: no loops, nothing large.
bool is_small(const Graph& graph) {
  const auto small = [](const Value* value) {
    const auto count = element_count(value->type.shape).constant();
    return count && *count <= 100'000;
  };
  return std::ranges::all_of(graph.inputs(), small) && std::ranges::all_of(graph.nodes(), [&](const Node& node) {
           return node.regions.empty() && std::ranges::all_of(node.results, small);
         });
}

TEST(ImportTflite, refuses_or_evaluates_disturbed_models) {
  std::uint32_t seed = 0;
  int read_count = 0;
  for (const Variant& variant : all_variants()) {
    if (variant.dynamic != (variant.stored != Stored::floats)) continue;
    const TfliteModel model = spelled(legal_graph(variant));
    for (const std::uint32_t end = seed + kRounds; seed < end; ++seed) {
      SCOPED_TRACE(fmt::format("{}, seed {}", variant.network.name, seed));
      std::mt19937 generator(seed);
      tflite::ModelT changed(model.model);
      for (auto changes = 1 + generator() % 2; changes > 0; --changes) disturb(changed, generator);
      std::vector<std::byte> bytes;
      if (!write_tflite(changed, model.buffers, sink_to(bytes))) continue;
      const auto graph = read_back(std::move(bytes));
      if (!graph) continue;
      ++read_count;
      const Status checked = check(*graph);
      ASSERT_TRUE(checked) << checked.error().text();
      if (!is_small(*graph)) continue;
      std::vector<Array> inputs;
      for (const Value* input : graph->inputs()) {
        inputs.push_back(random_input(*constant_sizes(input->type.shape)));
        inputs.back().dtype = input->type.dtype;
      }
      static_cast<void>(evaluate(*graph, std::move(inputs)));
    }
  }
  EXPECT_GT(read_count, 0);
}

}  // namespace
}  // namespace taper
