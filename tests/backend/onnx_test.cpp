#include "backend/onnx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <onnx/shape_inference/implementation.h>

#include <random>
#include <unordered_map>

#include "examples.h"
#include "networks.h"
#include "ops/builder.h"
#include "ops/table.h"
#include "passes/passes.h"

namespace taper {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

const Dim kBatch = Dim::symbol("batch_size");
const Dim kTime = Dim::symbol("sequence_length");

// Every call that ONNX lacks in simpler operators; nothing is folded or simplified.
Graph expanded(const Graph& graph) {
  auto result = expand_for(graph, Target::onnx);
  if (result) return std::move(*result);
  ADD_FAILURE() << result.error().text();
  return {};
}

OnnxFile spelled(const Graph& graph, const OnnxMetadata& metadata = {}) {
  EXPECT_TRUE(check(graph)) << check(graph).error().text();
  auto file = spell_onnx(graph, metadata);
  if (!file) {
    ADD_FAILURE() << file.error().text();
    return {};
  }
  const Status status = check_onnx(file->model, file->weights);
  EXPECT_TRUE(status) << status.error().text() << "\n" << file->model.DebugString();
  return std::move(*file);
}

std::string error_of(const Graph& graph) {
  const auto file = spell_onnx(graph);
  return file ? "no error" : file.error().text();
}

std::vector<std::string> inputs_of(const onnx::NodeProto& node) {
  return {node.input().begin(), node.input().end()};
}

const OnnxWeight& weight_named(const OnnxFile& file, std::string_view name) {
  return *std::ranges::find(file.weights, name, &OnnxWeight::name);
}

std::string shape_of(const onnx::ValueInfoProto& value) {
  std::string out;
  for (const auto& dim : value.type().tensor_type().shape().dim())
    out += (out.empty() ? "" : ", ") + (dim.has_dim_value() ? std::to_string(dim.dim_value()) : dim.dim_param());
  return "[" + out + "]";
}

// ------------------------------------------------------------------------------------------------------ over the table

class Spelling : public testing::TestWithParam<Case> {
 protected:
  // The call on inputs; integers and what the example says are constants, as shape inference wants them.
  Graph call() const {
    const Op& op = *GetParam().op;
    const Example& example = op.examples[GetParam().example];
    Graph graph;
    Builder build(graph);
    std::mt19937 generator(7);
    std::uniform_real_distribution<double> draw(example.low, example.high);
    std::vector<Value*> operands;
    for (const Type& type : example.operands) {
      if (operands.size() < example.inputs && is_floating(type.dtype)) {
        operands.push_back(graph.add_input("x", type));
        continue;
      }
      Array array{type.dtype, *constant_sizes(type.shape), {}};
      array.values.resize(static_cast<std::size_t>(*element_count(type.shape).constant()));
      for (double& value : array.values)
        value = is_floating(type.dtype) ? draw(generator) : std::floor(draw(generator));
      operands.push_back(build.constant(to_tensor(array)));
    }
    const std::vector<Value*> results = build.call(op.name, operands, example.attrs);
    EXPECT_TRUE(build.status()) << build.status().error().text();
    for (std::size_t i = 0; i < results.size() && results[i] != nullptr; ++i)
      graph.add_output("y" + std::to_string(i), results[i]);
    return graph;
  }
};

TEST_P(Spelling, gives_the_shapes_that_libonnx_infers) {
  const Graph graph = expanded(call());
  if (!check_spelled(graph, Target::onnx)) GTEST_SKIP() << "not for ONNX";
  const OnnxFile file = spelled(graph);
  // All that libonnx knows are inputs and initializers.
  std::vector<std::byte> bytes;
  ASSERT_TRUE(write_onnx(file.model, file.weights, sink_to(bytes)));
  auto model = read_onnx(bytes);
  ASSERT_TRUE(model) << model.error().text();
  std::unordered_map<std::string, onnx::ValueInfoProto> ours;
  for (auto& value : model->graph().value_info()) ours[value.name()] = value;
  model->mutable_graph()->clear_value_info();
  for (auto& output : *model->mutable_graph()->mutable_output()) {
    ours[output.name()] = output;
    output.mutable_type()->mutable_tensor_type()->clear_shape();
  }
  onnx::shape_inference::InferShapes(*model, onnx::OpSchemaRegistry::Instance(), {true, 1, true});
  std::size_t compared = 0;
  const auto compare = [&](const onnx::ValueInfoProto& value) {
    // libonnx has names of its own for sizes that elements decide.
    std::string inferred = shape_of(value);
    if (const std::size_t at = inferred.find("unk__0"); at != std::string::npos) inferred.replace(at, 6, "n");
    EXPECT_EQ(inferred, shape_of(ours[value.name()])) << value.name();
    EXPECT_EQ(value.type().tensor_type().elem_type(), ours[value.name()].type().tensor_type().elem_type());
    ++compared;
  };
  for (const auto& value : model->graph().value_info()) compare(value);
  for (const auto& output : model->graph().output()) compare(output);
  EXPECT_EQ(compared, ours.size());
}

INSTANTIATE_TEST_SUITE_P(Table, Spelling, testing::ValuesIn(all_examples()), name_of_case);

// ----------------------------------------------------------------------------------------------------------- the file

Tensor ones(std::vector<std::int64_t> shape, std::size_t count) {
  return tensor_f32(std::move(shape), std::vector<float>(count, 1.0f));
}

// Attention over [batch_size, sequence_length, 8] and a layer after it.
Graph small_network() {
  Graph graph;
  graph.name = "small";
  Builder build(graph);
  Value* x = graph.add_input("input", {DType::f32, {kBatch, kTime, 8}});
  build.set_scope("encoder.attention");
  Value* y = build("multi_head_attention", {x, x, x}, {{"num_heads", std::int64_t{2}}});
  build.set_scope("encoder.norm");
  y = build("layer_norm", {y, build.constant(ones({8}, 8)), build.constant(ones({8}, 8))}, {{"eps", 1e-6}});
  build.set_scope("head");
  y = build("linear", {build("mean", {y}, {{"dims", std::vector<std::int64_t>{1}}}), build.constant(ones({3, 8}, 24))});
  EXPECT_TRUE(build.status()) << build.status().error().text();
  graph.add_output("output", y);
  return expanded(graph);
}

TEST(OnnxBackend, says_opset_versions_producer_and_properties) {
  const OnnxFile file = spelled(small_network(), {.producer_version = "1.2",
                                                  .description = "what it is",
                                                  .graph_name = "sign_transformer",
                                                  .properties = {{"family", "transformer"}}});
  EXPECT_EQ(file.model.ir_version(), 8);
  ASSERT_EQ(file.model.opset_import_size(), 1);
  EXPECT_EQ(file.model.opset_import(0).version(), 17);
  EXPECT_EQ(file.model.producer_name(), "taper");
  EXPECT_EQ(file.model.producer_version(), "1.2");
  EXPECT_EQ(file.model.doc_string(), "what it is");
  EXPECT_EQ(file.model.graph().name(), "sign_transformer");
  EXPECT_EQ(file.model.metadata_props(0).key(), "family");
  EXPECT_EQ(spelled(small_network()).model.graph().name(), "small");
}

TEST(OnnxBackend, keeps_symbolic_dimensions_by_name) {
  const OnnxFile file = spelled(small_network());
  const onnx::GraphProto& graph = file.model.graph();
  EXPECT_EQ(graph.input(0).name(), "input");
  EXPECT_EQ(shape_of(graph.input(0)), "[batch_size, sequence_length, 8]");
  EXPECT_EQ(graph.output(0).name(), "output");
  EXPECT_EQ(shape_of(graph.output(0)), "[batch_size, 3]");
}

TEST(OnnxBackend, copies_symbolic_sizes_in_reshapes_and_infers_one) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {kBatch, kTime, 8}});
  graph.add_output("heads", build("reshape", {x}, {{"shape", Shape{kBatch, kTime, 2, 4}}}, "heads"));
  graph.add_output("rows", build("reshape", {x}, {{"shape", Shape{kBatch * kTime, 8}}}, "rows"));
  graph.add_output("halves", build("reshape", {x}, {{"shape", Shape{kBatch, kTime * Dim(2), 4}}}, "halves"));
  const OnnxFile file = spelled(graph);
  const auto sizes = [&](int node) {
    return to_double(weight_named(file, file.model.graph().node(node).input(1)).source.tensor);
  };
  EXPECT_THAT(sizes(0), ElementsAre(0, 0, 2, 4));
  EXPECT_THAT(sizes(1), ElementsAre(-1, 8));
  EXPECT_THAT(sizes(2), ElementsAre(0, -1, 4));
  EXPECT_EQ(shape_of(file.model.graph().output(1)), "[batch_size*sequence_length, 8]");
}

TEST(OnnxBackend, refuses_reshapes_with_two_sizes_to_infer) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {kBatch * kTime, 8}});
  graph.add_output("y", build("reshape", {x}, {{"shape", Shape{kBatch, kTime, 8}}}));
  EXPECT_THAT(error_of(graph), HasSubstr("ONNX can't express: reshape"));
}

TEST(OnnxBackend, names_nodes_by_scope_and_operator_once) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2}});
  build.set_scope("block.0");
  x = build("relu", {build("relu", {x})});
  build.set_scope("");
  graph.add_output("y", build("relu", {x}));
  const OnnxFile file = spelled(graph);
  std::vector<std::string> names;
  for (const auto& node : file.model.graph().node()) names.push_back(node.name());
  EXPECT_THAT(names, ElementsAre("block.0/Relu", "block.0/Relu_1", "Relu"));
}

TEST(OnnxBackend, gives_outputs_their_names_and_renames_what_had_them) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2}});
  Value* taken = build("relu", {x}, {}, "output");
  graph.add_output("output", build("exp", {taken}, {}, "other"));
  const OnnxFile file = spelled(graph);
  const auto& nodes = file.model.graph().node();
  EXPECT_EQ(nodes[0].output(0), "output_1");
  EXPECT_EQ(nodes[1].input(0), "output_1");
  EXPECT_EQ(nodes[1].output(0), "output");
}

TEST(OnnxBackend, copies_outputs_that_are_inputs_constants_or_stand_twice) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2}});
  Value* y = build("relu", {x}, {}, "relu");
  graph.add_output("first", y);
  graph.add_output("second", y);
  graph.add_output("same", x);
  graph.add_output("weight", build.constant(ones({2}, 2), "w"));
  const OnnxFile file = spelled(graph);
  std::vector<std::string> nodes;
  for (const auto& node : file.model.graph().node())
    nodes.push_back(node.op_type() + " " + node.input(0) + " " + node.output(0));
  EXPECT_THAT(nodes, ElementsAre("Relu x first", "Identity first second", "Identity x same", "Identity w weight"));
}

TEST(OnnxBackend, refuses_two_values_of_one_outer_name) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2}});
  graph.add_output("x", build("relu", {x}));
  EXPECT_THAT(error_of(graph), HasSubstr("two inputs or outputs are named 'x'"));
}

TEST(OnnxBackend, stores_each_constant_that_is_used_once) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 2}});
  const Tensor shared = ones({2, 2}, 4);
  Tensor transposed = shared;
  transposed.strides = {1, 2};
  build.constant(ones({2, 2}, 4), "unused");
  x = build("add", {x, build.constant(shared, "a")});
  x = build("add", {x, build.constant(shared, "b")});
  x = build("add", {x, build.constant(transposed, "c")});
  for (const std::int64_t dim : {1, 1, 0})  // the axes of the first two are one initializer
    x = build("squeeze", {build("unsqueeze", {x}, {{"dims", std::vector{dim}}})}, {{"dims", std::vector{dim}}});
  graph.add_output("y", x);
  const OnnxFile file = spelled(graph);
  std::vector<std::string> names;
  for (const OnnxWeight& weight : file.weights) names.push_back(weight.name);
  EXPECT_THAT(names, ElementsAre("a", "c", "unsqueeze.dims", "unsqueeze_2.dims"));
  EXPECT_EQ(weight_named(file, "a").source.tensor.storage.view.data(), shared.storage.view.data())
      << "nothing is copied";
}

TEST(OnnxBackend, keeps_the_place_of_absent_inputs_and_drops_them_at_the_end) {
  const auto gru_inputs = [](bool initial_state) {
    Graph graph;
    Builder build(graph);
    Value* x = graph.add_input("x", {DType::f32, {kTime, kBatch, 3}});
    std::vector<Value*> operands = {x,
                                    build.constant(ones({1, 12, 3}, 36), "w"),
                                    build.constant(ones({1, 12, 4}, 48), "r"),
                                    build.constant(ones({1, 24}, 24), "b"),
                                    nullptr,
                                    nullptr};
    if (initial_state) operands[5] = graph.add_input("h", {DType::f32, {1, kBatch, 4}});
    graph.add_output("y", build("onnx_gru", operands, {{"hidden_size", std::int64_t{4}}}));
    EXPECT_TRUE(build.status()) << build.status().error().text();
    return inputs_of(spelled(graph).model.graph().node(0));
  };
  EXPECT_THAT(gru_inputs(false), ElementsAre("x", "w", "r", "b"));
  EXPECT_THAT(gru_inputs(true), ElementsAre("x", "w", "r", "b", "", "h"));
}

TEST(OnnxBackend, writes_attributes_by_kind) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3, 8}});
  Value* y = build("layer_norm", {x, build.constant(ones({8}, 8))}, {{"eps", 0.25}});
  y = build("mean", {y}, {{"dims", std::vector<std::int64_t>{-1, 0}}, {"keepdim", true}});
  graph.add_output("y", build("cast", {y}, {{"to", DType::f16}}));
  const OnnxFile file = spelled(graph);
  std::vector<std::string> attributes;
  for (const auto& node : file.model.graph().node())
    for (const auto& attribute : node.attribute()) {
      std::string text = attribute.ShortDebugString();
      attributes.push_back(std::move(text));
    }
  EXPECT_THAT(attributes,
              UnorderedElementsAre("name: \"epsilon\" f: 0.25 type: FLOAT", "name: \"axis\" i: -1 type: INT",
                                   "name: \"axes\" ints: -1 ints: 0 type: INTS", "name: \"keepdims\" i: 1 type: INT",
                                   "name: \"to\" i: 10 type: INT"));
}

TEST(OnnxBackend, names_all_operators_without_a_form_at_once) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3, 8}});
  build.set_scope("head");
  x = build("gelu", {x}, {}, "a");
  x = build("gelu", {x}, {}, "b");
  graph.add_output("y", build("rsqrt", {x}, {}, "c"));
  EXPECT_THAT(error_of(graph),
              AllOf(HasSubstr("gelu (2 times, in head, head)"), HasSubstr("rsqrt (1 times, in head)")));
}

// --------------------------------------------------------------------------------------------------------- regions

TEST(SpellRegions, gives_a_loop_its_body_and_a_branch_what_it_captures) {
  const auto legal = legalize(loop_and_branch(), Target::onnx);
  ASSERT_TRUE(legal) << legal.error().text();
  const OnnxFile file = spelled(*legal);
  std::vector<std::string> loops, branches;
  for (const auto& node : file.model.graph().node())
    for (const auto& attribute : node.attribute())
      if (attribute.has_g()) (node.op_type() == "Loop" ? loops : branches).push_back(attribute.name());
  EXPECT_THAT(loops, ElementsAre("body"));
  EXPECT_THAT(branches, ElementsAre("then_branch", "else_branch"));
}

TEST(SpellRegions, scans_along_the_second_axis) {
  SampleNetwork net;
  auto body = std::make_unique<Graph>();
  Builder step(*body);
  Value* sum = body->add_input("sum", {DType::f32, {net.batch, 6}});
  Value* next = step("add", {sum, body->add_input("frame", {DType::f32, {net.batch, 6}})});
  body->add_output("sum", next);
  body->add_output("sums", next);
  std::vector<std::unique_ptr<Graph>> regions;
  regions.push_back(std::move(body));
  Value* x = net.input(6);
  Value* first = net.build("select", {x}, {{"dim", std::int64_t{1}}, {"index", std::int64_t{0}}});
  const std::vector<std::int64_t> backwards = {1};
  const std::vector<Value*> results = net.build.call(
      "scan", {first, x}, {{"states", std::int64_t{1}}, {"reverse_inputs", backwards}, {"reverse_outputs", backwards}},
      "scan", std::move(regions));
  net.graph.add_output("sum", results[0]);
  net.graph.add_output("sums", results[1]);
  const auto legal = legalize(net.graph, Target::onnx);
  ASSERT_TRUE(legal) << legal.error().text();
  spelled(*legal);
}

}  // namespace
}  // namespace taper
