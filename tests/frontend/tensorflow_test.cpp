// What the TensorFlow backend writes is read back as a graph with the same meaning; what is damaged is refused.
#include "frontend/tensorflow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "backend/tensorflow.h"
#include "examples.h"
#include "networks.h"
#include "passes/passes.h"
#include "same_results.h"

namespace taper {
namespace {

using testing::HasSubstr;
using Shapes = std::vector<std::vector<std::int64_t>>;
using tensorflow::NodeDef;

Graph legalized(const Graph& graph, const Bindings& freeze = {}) {
  auto legal = legalize(graph, Target::tensorflow, {.freeze = freeze});
  EXPECT_TRUE(legal) << legal.error().text();
  return legal ? std::move(*legal) : Graph();
}

// As written to a folder and read from it.
SavedModelContent content_of(const Graph& legal) {
  const auto file = spell_tensorflow(legal, "test");
  EXPECT_TRUE(file) << file.error().text();
  std::vector<std::byte> model, data, index;
  EXPECT_TRUE(write_saved_model(file->model, sink_to(model)));
  EXPECT_TRUE(write_tensor_bundle(file->variables, sink_to(data), sink_to(index)));
  auto read = read_saved_model(model);
  auto variables = read_tensor_bundle(share(std::move(index)), share(std::move(data)));
  EXPECT_TRUE(read && variables);
  return {std::move(*read), std::move(*variables)};
}

// -------------------------------------------------------------------------------------------------------- networks

struct Variant {
  NamedNetwork network;
  bool dynamic;
};

std::vector<Variant> all_variants() {
  std::vector<Variant> variants;
  for (const NamedNetwork& network : all_networks())
    for (const bool dynamic : {true, false}) variants.push_back({network, dynamic});
  return variants;
}

class TensorflowRoundTrip : public testing::TestWithParam<Variant> {};

TEST_P(TensorflowRoundTrip, keeps_the_meaning_and_the_names) {
  const auto& [network, dynamic] = GetParam();
  const Graph legal =
      legalized(network.make(), dynamic ? Bindings{} : Bindings{{"batch_size", 2}, {"sequence_length", 17}});
  const auto graph = import_tensorflow(content_of(legal));
  ASSERT_TRUE(graph) << graph.error().text();
  ASSERT_TRUE(check(*graph)) << check(*graph).error().text();
  ASSERT_EQ(graph->inputs().size(), 1u);
  EXPECT_EQ(type_text(graph->inputs()[0]->type), dynamic ? "f32[input_0, input_1, 6]" : "f32[2, 17, 6]");
  ASSERT_EQ(graph->outputs().size(), 1u);
  EXPECT_EQ(graph->outputs()[0].name, "output");
  for (const auto& shape : dynamic ? Shapes{{1, 30, 6}, {3, 7, 6}, {2, 17, 6}, {1, 1, 6}} : Shapes{{2, 17, 6}}) {
    SCOPED_TRACE(testing::PrintToString(shape));
    expect_same(legal, *graph, {random_input(shape)});
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, TensorflowRoundTrip, testing::ValuesIn(all_variants()), [](const auto& variant) {
  return fmt::format("{}_{}", variant.param.network.name, variant.param.dynamic ? "dynamic" : "static");
});

class TensorflowRow : public ExampleTest {};

TEST_P(TensorflowRow, is_read_back) {
  const Graph graph = call();
  const auto legal = legalize(graph, Target::tensorflow);
  if (!legal) {
    // Rows that only another target has, or calls that don't fit the row's own spelling.
    EXPECT_TRUE(op().tensorflow.op.empty() || op().tensorflow.fits != nullptr) << legal.error().text();
    EXPECT_EQ(op().expansion_for(Target::tensorflow), nullptr) << legal.error().text();
    return;
  }
  const auto read = import_tensorflow(content_of(*legal));
  ASSERT_TRUE(read) << read.error().text();
  expect_same(*legal, *read, random_inputs());
}

INSTANTIATE_TEST_SUITE_P(Table, TensorflowRow, testing::ValuesIn(all_examples()), name_of_case);

// ---------------------------------------------------------------------------------------------------------- damage

SavedModelContent a_gru() {
  static const SavedModelContent content = content_of(legalized(gru_stack()));
  return content;
}

tensorflow::GraphDef& graph_of(SavedModelContent& content) {
  return *content.model.mutable_meta_graphs(0)->mutable_graph_def();
}

NodeDef& node_of(SavedModelContent& content, std::string_view op) {
  for (NodeDef& node : *graph_of(content).mutable_node())
    if (node.op() == op) return node;
  ADD_FAILURE() << op;
  return *graph_of(content).add_node();
}

struct Damage {
  std::string name;
  std::function<void(SavedModelContent&)> make;
  std::string message;
};

class DamagedSavedModel : public testing::TestWithParam<Damage> {};

TEST_P(DamagedSavedModel, is_refused) {
  SavedModelContent content = a_gru();
  GetParam().make(content);
  const auto graph = import_tensorflow(content);
  ASSERT_FALSE(graph);
  EXPECT_THAT(graph.error().text(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DamagedSavedModel,
    testing::Values(
        Damage{"no_signature", [](auto& c) { c.model.mutable_meta_graphs(0)->clear_signature_def(); },
               "there is no signature 'serving_default'"},
        Damage{"unknown_operators", [](auto& c) { node_of(c, "AddV2").set_op("Fnord"); },
               "operators that are not read: Fnord (1 times)"},
        Damage{"missing_variable", [](auto& c) { c.variables.clear(); }, "is not in the bundle"},
        Damage{"unknown_attribute", [](auto& c) { (*node_of(c, "AddV2").mutable_attr())["fnord"].set_i(1); },
               "attribute 'fnord' is not read"},
        Damage{"wrong_dtype",
               [](auto& c) { (*node_of(c, "AddV2").mutable_attr())["T"].set_type(tensorflow::DT_INT64); },
               "attribute 'T' is not float32"},
        Damage{"control_input", [](auto& c) { node_of(c, "AddV2").add_input("^input"); }, "it waits for 'input'"},
        Damage{"missing_function", [](auto& c) { graph_of(c).clear_library(); }, "there is no function"},
        Damage{"function_used_twice",
               [](auto& c) {
                 auto& attrs = *node_of(c, "While").mutable_attr();
                 attrs["cond"] = attrs["body"];
               },
               "is used twice"},
        Damage{"too_many_inputs", [](auto& c) { node_of(c, "BatchMatMulV2").add_input("input"); },
               "3 inputs, expected 2"},
        Damage{"too_few_inputs", [](auto& c) { node_of(c, "BatchMatMulV2").mutable_input()->RemoveLast(); },
               "1 inputs are too few"},
        Damage{"output_that_is_no_node",
               [](auto& c) {
                 auto& signature = (*c.model.mutable_meta_graphs(0)->mutable_signature_def())["serving_default"];
                 (*signature.mutable_outputs())["output"].set_name("nowhere:0");
               },
               "no nodes of the graph"},
        Damage{"use_before_definition", [](auto& c) { *node_of(c, "AddV2").mutable_input(0) = "output"; },
               "is used before it is computed"}),
    [](const auto& damage) { return damage.param.name; });

// Any field of any node, function or signature may be anything: read or refused, never a crash.
TEST(ImportTensorflow, refuses_or_reads_disturbed_models) {
  constexpr std::uint32_t kRounds = 150;  // of each network, in ways of its own
  std::uint32_t seed = 0;
  int read_count = 0;
  for (const NamedNetwork& network : all_networks()) {
    const SavedModelContent original = content_of(legalized(network.make()));
    std::string bytes = original.model.SerializeAsString();
    for (const std::uint32_t end = seed + kRounds; seed < end; ++seed) {
      SCOPED_TRACE(fmt::format("{}, seed {}", network.name, seed));
      std::mt19937 generator(seed);
      std::string changed = bytes;
      for (auto changes = 1 + generator() % 3; changes > 0; --changes)
        changed[generator() % changed.size()] = static_cast<char>(generator());
      auto model = read_saved_model(as_bytes(changed));
      if (!model) continue;
      const auto graph = import_tensorflow({std::move(*model), original.variables});
      if (!graph) continue;
      ++read_count;
      const Status checked = check(*graph);
      ASSERT_TRUE(checked) << checked.error().text();
    }
  }
  EXPECT_GT(read_count, 0);  // changes in what nobody reads
}

TEST(Tensorflow, reads_inputs_by_their_names_in_the_signature) {
  Graph graph;
  Builder build(graph);
  for (const char* name : {"input_1:0", "/x", "_u"}) {
    Value* x = graph.add_input(name, {DType::f32, {Dim::symbol("n"), 3}});
    graph.add_output(fmt::format("{} out", name), build("abs", {x}));
  }
  ASSERT_TRUE(build.status());
  const auto read = import_tensorflow(content_of(graph), {{"/x", {Dim::symbol("n"), 3}}});
  ASSERT_TRUE(read) << read.error().text();
  std::vector<std::string> names;
  for (const Value* input : read->inputs()) names.push_back(input->name);
  for (const Output& output : read->outputs()) names.push_back(output.name);
  EXPECT_THAT(names, testing::ElementsAre("input_1:0", "/x", "_u", "input_1:0 out", "/x out", "_u out"));
  EXPECT_EQ(read->inputs()[1]->type.shape, (Shape{Dim::symbol("n"), 3}));
}

}  // namespace
}  // namespace taper
