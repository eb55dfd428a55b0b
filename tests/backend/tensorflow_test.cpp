// SavedModels as TensorFlow wants them: names, variables, functions, and the numbers that TensorFlow computes.
#include "backend/tensorflow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "examples.h"
#include "networks.h"
#include "passes/passes.h"
#include "scratch_folder.h"
#include "verify/compare.h"
#include "verify/tensorflow.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using tensorflow::NodeDef;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

SavedModelFile spelled(const Graph& graph, const Bindings& freeze = {}) {
  const auto legal = legalize(graph, Target::tensorflow, {.freeze = freeze});
  EXPECT_TRUE(legal) << legal.error().text();
  auto file = spell_tensorflow(*legal, "test");
  EXPECT_TRUE(file) << file.error().text();
  return std::move(*file);
}

const tensorflow::GraphDef& graph_of(const SavedModelFile& file) {
  return file.model.meta_graphs(0).graph_def();
}

std::vector<std::string> names_of_variables(const SavedModelFile& file) {
  std::vector<std::string> names;
  for (const SavedModelVariable& variable : file.variables) names.push_back(variable.name);
  return names;
}

const NodeDef* find_node(const SavedModelFile& file, std::string_view name) {
  for (const NodeDef& node : graph_of(file).node())
    if (node.name() == name) return &node;
  return nullptr;
}

TEST(SpellTensorflow, keeps_names_and_open_sizes_in_the_signature) {
  const SavedModelFile file = spelled(gru_stack());
  const auto& meta = file.model.meta_graphs(0);
  EXPECT_THAT(meta.meta_info_def().tags(), testing::ElementsAre("serve"));
  const auto& signature = meta.signature_def().at("serving_default");
  const auto& input = signature.inputs().at("input");
  EXPECT_EQ(input.name(), "input:0");
  ASSERT_EQ(input.tensor_shape().dim_size(), 3);
  EXPECT_EQ(input.tensor_shape().dim(0).size(), -1);
  EXPECT_EQ(input.tensor_shape().dim(1).size(), -1);
  EXPECT_EQ(input.tensor_shape().dim(2).size(), 6);
  EXPECT_EQ(signature.outputs().at("output").name(), "output:0");
  ASSERT_NE(find_node(file, "output"), nullptr);
  const SavedModelFile frozen = spelled(gru_stack(), {{"batch_size", 1}, {"sequence_length", 9}});
  EXPECT_EQ(frozen.model.meta_graphs(0)
                .signature_def()
                .at("serving_default")
                .inputs()
                .at("input")
                .tensor_shape()
                .dim(1)
                .size(),
            9);
}

TEST(SpellTensorflow, keeps_weights_as_variables_under_their_names) {
  const SavedModelFile file = spelled(transformer());
  const std::vector<std::string> names = names_of_variables(file);
  for (const char* name : {"embedding/weight", "norm1/gamma", "pe", "head/bias"}) EXPECT_THAT(names, Contains(name));
  std::vector<std::string> unique = names;
  std::ranges::sort(unique);
  EXPECT_EQ(std::ranges::adjacent_find(unique), unique.end());
  // Each is declared, restored and in the collections.
  for (const std::string& name : names) {
    const NodeDef* handle = find_node(file, name);
    ASSERT_NE(handle, nullptr) << name;
    EXPECT_EQ(handle->op(), "VarHandleOp");
    EXPECT_EQ(handle->attr().at("shared_name").s(), name);
  }
  const auto& meta = file.model.meta_graphs(0);
  const auto count = static_cast<int>(names.size());
  EXPECT_EQ(meta.collection_def().at("variables").bytes_list().value_size(), count);
  EXPECT_EQ(meta.collection_def().at("trainable_variables").bytes_list().value_size(), count);
  const NodeDef* restore_all = find_node(file, meta.saver_def().restore_op_name());
  ASSERT_NE(restore_all, nullptr);
  EXPECT_EQ(restore_all->input_size(), count);
}

TEST(SpellTensorflow, shares_the_storage_of_weights) {
  const auto legal = legalize(transformer(), Target::tensorflow);
  ASSERT_TRUE(legal);
  const auto file = spell_tensorflow(*legal);
  ASSERT_TRUE(file);
  std::vector<const std::byte*> storages;
  for (const Node& node : legal->nodes())
    if (const Tensor* tensor = constant_of(node.results[0])) storages.push_back(tensor->storage.view.data());
  for (const SavedModelVariable& variable : file->variables)
    EXPECT_THAT(storages, Contains(variable.source.tensor.storage.view.data())) << variable.name;
}

TEST(SpellTensorflow, gives_loops_the_variables_that_they_read) {
  const SavedModelFile file = spelled(ctc_gru());
  int loops = 0;
  for (const NodeDef& node : graph_of(file).node()) {
    if (node.op() != "While") continue;
    ++loops;
    const auto& types = node.attr().at("T").list().type();
    EXPECT_EQ(types.size(), node.input_size());
    EXPECT_EQ(node.attr().at("output_shapes").list().shape_size(), node.input_size());
    EXPECT_EQ(std::ranges::count(types, tensorflow::DT_RESOURCE), 2);  // weight_hh and its bias
    for (const char* kind : {"cond", "body"}) {
      const std::string& name = node.attr().at(kind).func().name();
      const auto& functions = graph_of(file).library().function();
      const auto function =
          std::ranges::find_if(functions, [&](const auto& f) { return f.signature().name() == name; });
      ASSERT_NE(function, functions.end()) << name;
      EXPECT_EQ(function->signature().input_arg_size(), node.input_size());
      EXPECT_EQ(function->signature().output_arg_size(), kind == std::string("cond") ? 1 : node.input_size());
    }
  }
  EXPECT_EQ(loops, 2);
  EXPECT_EQ(graph_of(file).library().function_size(), 4);
}

TEST(SpellTensorflow, writes_the_same_each_time) {
  const SavedModelFile first = spelled(bidirectional_gru());
  const SavedModelFile second = spelled(bidirectional_gru());
  std::vector<std::byte> a, b;
  ASSERT_TRUE(write_saved_model(first.model, sink_to(a)));
  ASSERT_TRUE(write_saved_model(second.model, sink_to(b)));
  EXPECT_EQ(a, b);
}

Graph identity_named(const std::string& input, const std::string& output) {
  Graph graph;
  graph.add_output(output, graph.add_input(input, {DType::f32, {2}}));
  return graph;
}

TEST(SpellTensorflow, keeps_names_in_the_signature_that_nodes_may_not_have) {
  for (const char* name : {"a b", "_to_copy_2", "x:0"}) {
    const auto as_input = spell_tensorflow(identity_named(name, "y"));
    ASSERT_TRUE(as_input) << name;
    const auto& signature = as_input->model.meta_graphs(0).signature_def().at("serving_default");
    ASSERT_TRUE(signature.inputs().contains(name));
    EXPECT_NE(signature.inputs().at(name).name(), fmt::format("{}:0", name));
    const auto as_output = spell_tensorflow(identity_named("y", name));
    ASSERT_TRUE(as_output) << name;
    EXPECT_TRUE(as_output->model.meta_graphs(0).signature_def().at("serving_default").outputs().contains(name));
  }
}

// The names of a graph with such inputs, whose outputs are the inputs in turn.
SignatureNames names_of(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  Graph graph;
  Builder build(graph);
  std::vector<Value*> values;
  for (const std::string& name : inputs) values.push_back(graph.add_input(name, {DType::f32, {2, 3}}));
  for (std::size_t i = 0; i < outputs.size(); ++i)
    graph.add_output(outputs[i], build("abs", {values[i % values.size()]}));
  EXPECT_TRUE(build.status());
  const SignatureNames names = signature_names(graph);
  const auto file = spell_tensorflow(graph);
  EXPECT_TRUE(file);
  if (!file) return names;
  const auto& signature = file->model.meta_graphs(0).signature_def().at("serving_default");
  std::set<std::string> nodes;
  for (const auto& [name, info] : signature.inputs()) nodes.insert(info.name());
  for (const auto& [name, info] : signature.outputs()) nodes.insert(info.name());
  EXPECT_EQ(nodes.size(), inputs.size() + outputs.size());
  for (const std::string& name : names.inputs) EXPECT_TRUE(signature.inputs().contains(name)) << name;
  for (const std::string& name : names.outputs) EXPECT_TRUE(signature.outputs().contains(name)) << name;
  return names;
}

TEST(SpellTensorflow, gives_inputs_names_that_are_parameters_in_python) {
  using testing::ElementsAre;
  EXPECT_THAT(names_of({"in", "self", "True", "inn", "x.y"}, {"y"}).inputs,
              ElementsAre("in_", "self_", "True_", "inn", "x.y"));
  EXPECT_THAT(names_of({"ü", "日本", "x\n"}, {"y"}).inputs, ElementsAre("_", "__", "x_"));
  EXPECT_THAT(names_of({"x:0", "x_0", "x.0", "x_0_1"}, {"y"}).inputs, ElementsAre("x:0", "x_0_1", "x.0_2", "x_0_1_1"));
  EXPECT_THAT(names_of({"1", "arg_1", ""}, {"y"}).inputs, ElementsAre("1", "arg_1_1", testing::_));
}

TEST(SpellTensorflow, keeps_all_names_of_outputs_that_can_be_printed) {
  using testing::ElementsAre;
  EXPECT_THAT(names_of({"x"}, {"ü", "in", "x", "a b"}).outputs, ElementsAre("ü", "in", "x", "a b"));
  EXPECT_THAT(names_of({"x"}, {"Y", "y", "X"}).outputs, ElementsAre("Y", "y", "X"));
  EXPECT_THAT(names_of({"x"}, {"", "y\n", "\xff", "y", "y"}).outputs, ElementsAre("output", "y_", "_", "y", "y_1"));
}

TEST(SpellTensorflow, tells_names_apart_in_any_case) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 3}});
  graph.add_output("sum", build("sum", {x}, {{"dims", std::vector<std::int64_t>{1}}}));
  ASSERT_TRUE(build.status());
  std::set<std::string> names;
  const SavedModelFile file = spelled(graph);
  for (const NodeDef& node : graph_of(file).node()) {
    std::string name = node.name();
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    EXPECT_TRUE(names.insert(name).second) << node.name();
  }
  EXPECT_TRUE(names.contains("sum"));
}

TEST(SpellTensorflow, changes_names_of_weights_that_tensorflow_forbids) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2}});
  const Tensor one = tensor_f32({2}, std::array{1.0f, 2.0f});
  const Tensor two = tensor_f32({2}, std::array{3.0f, 4.0f});
  Value* y = build("add", {x, build.constant(one, "_orig mod.größe")});
  y = build("add", {y, build.constant(two, "save")});
  graph.add_output("y", y);
  const SavedModelFile file = spelled(graph);
  ASSERT_EQ(file.variables.size(), 2u);
  EXPECT_EQ(file.variables[0].name, "v_orig_mod/gr____e");
  EXPECT_EQ(file.variables[1].name, "save_1");  // "save" is the place of TensorFlow's own nodes
  EXPECT_EQ(find_node(file, "save_1")->op(), "VarHandleOp");
}

TEST(SpellTensorflow, names_all_operators_that_it_does_not_have) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {2, 5, 3}});
  Value* y = build.call("onnx_gru",
                        {x, build.constant(tensor_f32({1, 3, 3}, std::vector<float>(9))),
                         build.constant(tensor_f32({1, 3, 1}, std::vector<float>(3))),
                         build.constant(tensor_f32({1, 6}, std::vector<float>(6)))},
                        {{"hidden_size", std::int64_t{1}}})[0];
  graph.add_output("y", y);
  ASSERT_TRUE(build.status()) << build.status().error().text();
  const auto file = spell_tensorflow(graph);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text(), HasSubstr("operators that TensorFlow can't express: onnx_gru (1 times"));
}

// ----------------------------------------------------------------------------------------------------- in TensorFlow

class InTensorflow : public testing::Test {
 protected:
  void SetUp() override {
    auto runtime = load_tensorflow();
    if (!runtime) {
      // AddressSanitizer and TensorFlow don't go together, whoever requires judges.
      const bool sanitized = runtime.error().message.find("AddressSanitizer") != std::string::npos;
      ASSERT_TRUE(sanitized || std::getenv("TAPER_REQUIRE_JUDGES") == nullptr) << runtime.error().text();
      GTEST_SKIP() << runtime.error().text();
    }
    runtime_ = *runtime;
    fs::create_directories(folder_ / "variables");
  }

  void write(const SavedModelFile& file) const {
    std::ofstream model(folder_ / kSavedModelFile), data(folder_ / kBundleDataFile), index(folder_ / kBundleIndexFile);
    ASSERT_TRUE(write_saved_model(file.model, sink_to(model)));
    ASSERT_TRUE(write_tensor_bundle(file.variables, sink_to(data), sink_to(index)));
  }
  // Opens what was written, runs it twice for each set of inputs, and compares.
  void expect_agreement(const Graph& graph, const std::vector<std::vector<Array>>& runs, double tolerance) {
    auto model = TensorflowModel::open(*runtime_, folder_);
    ASSERT_TRUE(model) << model.error().text();
    for (const std::vector<Array>& inputs : runs) {
      const auto reference = evaluate(graph, inputs);
      ASSERT_TRUE(reference) << reference.error().text();
      std::vector<SignatureTensor> named;
      for (std::size_t i = 0; i < inputs.size(); ++i) named.push_back({graph.inputs()[i]->name, to_tensor(inputs[i])});
      for (int repeat = 0; repeat < 2; ++repeat) {
        const auto outputs = model->run(named);
        ASSERT_TRUE(outputs) << outputs.error().text();
        ASSERT_EQ(outputs->size(), reference->size());
        for (const SignatureTensor& output : *outputs) {
          std::size_t index = 0;
          while (graph.outputs()[index].name != output.name) ++index;
          const auto agreement = compare(converted(to_tensor((*reference)[index]), output.value.dtype), output.value);
          ASSERT_TRUE(agreement) << agreement.error().text();
          EXPECT_LT(agreement->relative_error, tolerance);
        }
      }
    }
  }

  const testing_support::ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
  std::optional<Tensorflow> runtime_;
};

// All rows in one process: the runtime takes longer to load than everything else.
TEST_F(InTensorflow, rows_compute_their_formulas) {
  for (const Op& op : op_table())
    for (const Example& example : op.examples) {
      SCOPED_TRACE(op.name);
      const Graph graph = graph_of_call(op, example);
      const auto legal = legalize(graph, Target::tensorflow);
      if (!legal) continue;  // rows of other targets: frontend's tests see to it that the error says so
      const auto file = spell_tensorflow(*legal);
      ASSERT_TRUE(file) << file.error().text();
      write(*file);
      expect_agreement(graph, {random_inputs(example)}, op.tolerance);
    }
}

TEST_F(InTensorflow, networks_take_any_batch_and_length) {
  for (const NamedNetwork& network : all_networks()) {
    SCOPED_TRACE(network.name);
    write(spelled(network.make()));
    expect_agreement(network.make(), {{random_input({1, 30, 6})}, {random_input({3, 7, 6})}, {random_input({1, 1, 6})}},
                     1e-5);
  }
}

TEST_F(InTensorflow, says_what_is_wrong) {
  write(spelled(gru_stack()));
  auto model = TensorflowModel::open(*runtime_, folder_);
  ASSERT_TRUE(model) << model.error().text();
  const Tensor x = to_tensor(random_input({1, 4, 6}));
  const auto unknown = model->run(std::vector{SignatureTensor{"fnord", x}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().text(), HasSubstr("no input 'fnord'"));
  const auto missing = model->run({});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().text(), HasSubstr("0 inputs, the model takes 1"));
  const auto shape = model->run(std::vector{SignatureTensor{"input", to_tensor(random_input({1, 4, 5}))}});
  ASSERT_FALSE(shape);
  EXPECT_THAT(shape.error().text(), HasSubstr("TensorFlow can't run the model"));

  fs::resize_file(folder_ / kBundleDataFile, 10);
  const auto damaged = TensorflowModel::open(*runtime_, folder_);
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().text(), HasSubstr("TensorFlow can't load the model"));
  EXPECT_THAT(damaged.error().text(), HasSubstr(folder_.string()));
}

}  // namespace
}  // namespace taper
