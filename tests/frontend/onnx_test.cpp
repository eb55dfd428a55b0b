// ONNX models as graphs: what has to be known is followed, what is hostile is refused. Single operators are judged by
// ONNX's own tests (tests/judge/test_onnx_nodes.py).
#include "frontend/onnx.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "formats/onnx.h"
#include "frontend/onnx_call.h"
#include "ops/evaluate.h"
#include "ops/table.h"
#include "scratch_folder.h"

namespace taper {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A model of opset 17 whose graph is given in protobuf's text form.
SharedBytes model_of(const std::string& graph, const std::string& rest = "opset_import { version: 17 }") {
  onnx::ModelProto model;
  const std::string text = "ir_version: 8 " + rest + " graph { name: 'test' " + graph + " }";
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &model)) << text;
  const std::string bytes = model.SerializeAsString();
  const Bytes view = as_bytes(bytes);
  return share({view.begin(), view.end()});
}

// "input { name: 'x' type { ... } }" of float32; sizes are numbers or names.
std::string value(const std::string& field, const std::string& name, const std::vector<std::string>& sizes,
                  int type = 1) {
  std::string dims;
  for (const std::string& size : sizes)
    dims += std::isdigit(static_cast<unsigned char>(size[0])) != 0 ? "dim { dim_value: " + size + " } "
                                                                   : "dim { dim_param: '" + size + "' } ";
  return fmt::format("{} {{ name: '{}' type {{ tensor_type {{ elem_type: {} shape {{ {} }} }} }} }} ", field, name,
                     type, dims);
}

std::string node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::string& rest = "") {
  std::string text = "node { op_type: '" + op + "' name: 'the_" + op + "' ";
  for (const std::string& input : inputs) text += "input: '" + input + "' ";
  for (const std::string& output : outputs) text += "output: '" + output + "' ";
  return text + rest + " } ";
}

std::string integers(const std::string& name, const std::vector<int>& values) {
  return fmt::format("initializer {{ name: '{}' data_type: 7 dims: {} int64_data: [{}] }} ", name, values.size(),
                     fmt::join(values, ", "));
}

Expected<ImportedProgram> read(const SharedBytes& bytes, const ProgramOptions& options = {},
                               const std::filesystem::path& path = "model.onnx") {
  return import_onnx(path, bytes, options);
}

std::string error_or_none(const SharedBytes& bytes) {
  const auto program = read(bytes);
  return program ? "" : program.error().text();
}

std::string error_of(const SharedBytes& bytes, const std::filesystem::path& path = "model.onnx") {
  const auto program = read(bytes, {}, path);
  EXPECT_FALSE(program);
  return program ? "" : program.error().text();
}

std::vector<std::string> operators_of(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes())
    if (node.op != "constant") names.push_back(node.op);
  return names;
}

// ------------------------------------------------------------------------------------------------------------- inputs

TEST(Onnx, casts_inputs_of_given_dtypes_to_those_that_the_file_declares) {
  ProgramOptions options;
  options.input_dtypes["x"] = DType::u8;
  const auto program = read(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                                     node("Mul", {"x", "x"}, {"t"}) + node("Add", {"t", "x"}, {"y"})),
                            options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs()[0]->type.dtype, DType::u8);
  EXPECT_THAT(operators_of(program->graph), ElementsAre("cast", "mul", "add"));
  const auto results = evaluate(program->graph, {Array{DType::u8, {2}, {200, 100}}});
  ASSERT_TRUE(results) << results.error().text();
  EXPECT_EQ((*results)[0].dtype, DType::f32);
  EXPECT_THAT((*results)[0].values, ElementsAre(40200, 10100));
}

SharedBytes softmax_of(const std::vector<std::string>& sizes) {
  return model_of(value("input", "x", sizes) + value("output", "y", sizes) + node("Softmax", {"x"}, {"y"}));
}

TEST(Onnx, opens_axes_of_the_file_and_of_given_shapes) {
  ProgramOptions options;
  options.dynamic["x"] = {0, -2};
  const auto declared = read(softmax_of({"2", "3", "8"}), options);
  ASSERT_TRUE(declared) << declared.error().text();
  EXPECT_EQ(shape_text(declared->graph.inputs()[0]->type.shape), "[x_0, x_1, 8]");
  EXPECT_EQ(declared->symbols.at("x_0").usual, 2);

  options.input_shapes["x"] = {4, 5, 6};
  const auto given = read(softmax_of({"2", "3", "8"}), options);
  ASSERT_TRUE(given) << given.error().text();
  EXPECT_EQ(shape_text(given->graph.inputs()[0]->type.shape), "[x_0, x_1, 6]");
  EXPECT_EQ(given->symbols.at("x_0").usual, 4);
}

TEST(Onnx, tells_of_axes_that_are_open_already_or_not_there) {
  ProgramOptions options;
  options.dynamic["x"] = {0};
  const auto open = read(softmax_of({"B", "8"}), options);
  ASSERT_TRUE(open) << open.error().text();
  EXPECT_EQ(shape_text(open->graph.inputs()[0]->type.shape), "[B, 8]");
  EXPECT_THAT(open->assumptions, ElementsAre(HasSubstr("axis 0 of input 'x' is open already")));

  options.dynamic["x"] = {2};
  const auto beyond = read(softmax_of({"2", "8"}), options);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().text(), "input 'x' has no axis 2: its rank is 2");
  EXPECT_EQ(beyond.error().hint, "axes are counted from 0: --dynamic x:0 to x:1");
}

// ------------------------------------------------------------------------------------------------------------- shapes

TEST(Onnx, reads_arithmetic_on_shapes_as_symbolic_sizes) {
  const auto program = read(model_of(
      value("input", "x", {"B", "T", "12"}) + value("output", "y", {"B", "3", "4", "T"}) + integers("zero", {0}) +
      integers("one", {1}) + integers("split", {3, 4}) + node("Shape", {"x"}, {"shape"}) +
      node("Gather", {"shape", "zero"}, {"batch"}, "attribute { name: 'axis' type: INT i: 0 }") +
      node("Gather", {"shape", "one"}, {"steps"}) +
      node("Concat", {"batch", "split", "steps"}, {"target"}, "attribute { name: 'axis' type: INT i: 0 }") +
      node("Reshape", {"x", "target"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(shape_text(program->graph.outputs()[0].value->type.shape), "[B, 3, 4, T]");
  EXPECT_THAT(operators_of(program->graph), ElementsAre("reshape"));
  EXPECT_TRUE(program->symbols.contains("B"));
}

TEST(Onnx, slices_up_to_a_symbolic_size_note_what_they_assume) {
  const auto program = read(
      model_of(value("input", "x", {"1", "T"}) + value("input", "table", {"1", "50"}) +
               value("output", "y", {"1", "T"}) + integers("zero", {0}) + integers("one", {1}) + integers("two", {2}) +
               node("Shape", {"x"}, {"shape"}) + node("Slice", {"shape", "one", "two", "zero"}, {"steps"}) +
               node("Slice", {"table", "zero", "steps", "one"}, {"part"}) + node("Add", {"x", "part"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->symbols.at("T").most, 50);
}

TEST(Onnx, counts_slices_from_the_back_by_a_symbolic_size) {
  const auto program = read(model_of(
      value("input", "x", {"1", "T"}) + value("input", "table", {"1", "50"}) + value("output", "y", {"1", "T"}) +
      value("output", "z", {"1", "T"}) + integers("zero", {0}) + integers("one", {1}) + integers("two", {2}) +
      integers("far", {2147483647}) + node("Shape", {"x"}, {"shape"}) +
      node("Slice", {"shape", "one", "two", "zero"}, {"steps"}) + node("Neg", {"steps"}, {"back"}) +
      node("Slice", {"x", "back", "far", "one"}, {"y"}) + node("Slice", {"table", "back", "far", "one"}, {"z"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(shape_text(program->graph.outputs()[0].value->type.shape), "[1, T]");
  EXPECT_EQ(shape_text(program->graph.outputs()[1].value->type.shape), "[1, T]");
  EXPECT_EQ(program->symbols.at("T").most, 50);
}

TEST(Onnx, names_the_inputs_whose_values_have_to_be_known) {
  const SharedBytes bytes = model_of(value("input", "x", {"2", "3"}) + value("input", "axes", {"1"}, 7) +
                                     value("output", "y", {"2"}) + node("Unsqueeze", {"x", "axes"}, {"y"}));
  std::vector<std::string> wanted;
  EXPECT_FALSE(import_onnx("", bytes, {}, &wanted));
  EXPECT_THAT(wanted, ElementsAre("axes"));
  ProgramOptions options;
  options.input_values.emplace("axes", tensor_i64({1}, std::array{std::int64_t{0}}));
  const auto program = read(bytes, options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs().size(), 1);
}

TEST(Onnx, takes_initializers_that_are_listed_as_inputs_for_constants) {
  const auto program = read(
      model_of(value("input", "x", {"2"}) + value("input", "w", {"2"}) + value("output", "y", {"2"}) +
               "initializer { name: 'w' data_type: 1 dims: 2 float_data: [1, 2] } " + node("Add", {"x", "w"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs().size(), 1);
}

// ------------------------------------------------------------------------------------------------------ control flow

std::string body_of_loop() {
  return "attribute { name: 'body' type: GRAPH g { name: 'body' " + value("input", "i", {}, 7) +
         value("input", "go", {}, 9) + value("input", "sum", {"2"}) + value("output", "go_on", {}, 9) +
         value("output", "next", {"2"}) + value("output", "each", {"2"}) + node("Identity", {"go"}, {"go_on"}) +
         node("Add", {"sum", "x"}, {"next"}) + node("Identity", {"next"}, {"each"}) + " } }";
}

TEST(Onnx, stacks_the_results_of_a_loop_in_a_scan) {
  const auto program =
      read(model_of(value("input", "x", {"2"}) + value("output", "last", {"2"}) + value("output", "all", {"3", "2"}) +
                    "initializer { name: 'turns' data_type: 7 int64_data: [3] } " +
                    node("Loop", {"turns", "", "x"}, {"last", "all"}, body_of_loop())));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(operators_of(program->graph), testing::Contains("scan"));
  const auto results = evaluate(program->graph, {{DType::f32, {2}, {1, 10}}});
  ASSERT_TRUE(results) << results.error().text();
  EXPECT_THAT((*results)[0].values, ElementsAre(4, 40));
  EXPECT_THAT((*results)[1].values, ElementsAre(2, 20, 3, 30, 4, 40));
}

// A loop that adds x until the largest sum is 5 or more, and stacks the sums.
Expected<ImportedProgram> loop_until(const std::string& limit) {
  const std::string body = "attribute { name: 'body' type: GRAPH g { name: 'body' " + value("input", "i", {}, 7) +
                           value("input", "go", {}, 9) + value("input", "sum", {"2"}) +
                           value("output", "go_on", {}, 9) + value("output", "next", {"2"}) +
                           value("output", "each", {"2"}) + node("Add", {"sum", "x"}, {"next"}) +
                           node("ReduceMax", {"next"}, {"most"}, "attribute { name: 'keepdims' type: INT i: 0 }") +
                           node("Less", {"most", "five"}, {"go_on"}) + node("Identity", {"next"}, {"each"}) + " } }";
  return read(model_of(value("input", "x", {"2"}) + value("output", "last", {"2"}) +
                       value("output", "all", {"n", "2"}) +
                       "initializer { name: 'turns' data_type: 7 int64_data: [9] } "
                       "initializer { name: 'five' data_type: 1 float_data: [5] } " +
                       node("Loop", {limit, "", "x"}, {"last", "all"}, body)));
}

TEST(Onnx, stacks_the_results_of_loops_that_their_condition_ends) {
  for (const std::string limit : {"turns", ""}) {
    const auto program = loop_until(limit);
    ASSERT_TRUE(program) << program.error().text();
    EXPECT_THAT(operators_of(program->graph), testing::Contains("while"));
    const auto results = evaluate(program->graph, {{DType::f32, {2}, {1, 2}}});
    ASSERT_TRUE(results) << results.error().text();
    EXPECT_THAT((*results)[0].values, ElementsAre(3, 6));
    EXPECT_EQ((*results)[1].shape, (std::vector<std::int64_t>{2, 2})) << limit;
    EXPECT_THAT((*results)[1].values, ElementsAre(2, 4, 3, 6));
  }
}

TEST(Onnx, repeats_an_axis_no_times) {
  const auto program = read(model_of(value("input", "x", {"2", "3"}) + value("output", "y", {"0", "6"}) +
                                     integers("times", {0, 2}) + node("Tile", {"x", "times"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(shape_text(program->graph.outputs()[0].value->type.shape), "[0, 6]");
}

TEST(Onnx, pads_with_a_value_that_is_computed) {
  const auto program =
      read(model_of(value("input", "x", {"2"}) + value("input", "v", {}) + value("output", "y", {"3"}) +
                    integers("pads", {1, 0}) + node("Pad", {"x", "pads", "v"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  const auto results = evaluate(program->graph, {{DType::f32, {2}, {1, 2}}, {DType::f32, {}, {7}}});
  ASSERT_TRUE(results) << results.error().text();
  EXPECT_THAT((*results)[0].values, ElementsAre(7, 1, 2));
}

TEST(Onnx, integers_that_float64_does_not_tell_apart_are_not_computed_when_the_file_is_read) {
  const auto program =
      read(model_of("initializer { name: 'a' data_type: 7 dims: 1 int64_data: [9007199254740993] } "
                    "initializer { name: 'b' data_type: 7 dims: 1 int64_data: [2] } " +
                    value("input", "x", {"1"}, 7) + value("output", "y", {"1"}, 7) + node("Add", {"a", "b"}, {"c"}) +
                    node("Mul", {"c", "x"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(operators_of(program->graph), ElementsAre("add", "mul"));
}

TEST(Onnx, products_of_constants_wrap_around_with_all_their_digits) {
  const auto program =
      read(model_of("initializer { name: 'a' data_type: 12 dims: 1 uint64_data: [2654435761] } "
                    "initializer { name: 'b' data_type: 12 dims: 1 uint64_data: [2246822519] } " +
                    value("input", "x", {"1"}, 12) + value("output", "y", {"1"}, 12) + node("Mul", {"a", "b"}, {"c"}) +
                    node("Add", {"c", "x"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  const auto results = evaluate(program->graph, {{DType::u32, {1}, {0}}});
  ASSERT_TRUE(results) << results.error().text();
  EXPECT_THAT((*results)[0].values, ElementsAre(4232723271));
}

TEST(Onnx, ranges_of_large_constants_keep_all_digits) {
  const auto program =
      read(model_of("initializer { name: 'a' data_type: 7 int64_data: [9007199254740993] } "
                    "initializer { name: 'b' data_type: 7 int64_data: [9007199254740999] } "
                    "initializer { name: 'c' data_type: 7 int64_data: [2] } " +
                    value("output", "y", {"3"}, 7) + node("Range", {"a", "b", "c"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  const Tensor* range = constant_of(program->graph.outputs()[0].value);
  ASSERT_NE(range, nullptr);
  std::vector<std::int64_t> values(3);
  convert_elements(*range, DType::i64, std::as_writable_bytes(std::span(values)));
  EXPECT_THAT(values, ElementsAre(9007199254740993, 9007199254740995, 9007199254740997));
}

TEST(Onnx, a_branch_on_a_known_condition_is_the_only_one) {
  const auto branch = [](const std::string& name, const std::string& op) {
    return "attribute { name: '" + name + "' type: GRAPH g { name: '" + name + "' " +
           value("output", op + "_y", {"2"}) + node(op, {"x"}, {op + "_y"}) + " } } ";
  };
  const auto program =
      read(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                    "initializer { name: 'c' data_type: 9 int32_data: [1] } " +
                    node("If", {"c"}, {"y"}, branch("then_branch", "Relu") + branch("else_branch", "Exp"))));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(operators_of(program->graph), ElementsAre("relu"));
}

// --------------------------------------------------------------------------------------------------------- functions

constexpr const char* kImports = "opset_import { version: 17 } opset_import { domain: 'own' version: 1 } ";

TEST(Onnx, inlines_functions_with_their_attributes) {
  const auto program =
      read(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                        "node { op_type: 'Leak' domain: 'own' input: 'x' output: 'y' attribute { name: 'slope' type: "
                        "FLOAT f: 0.5 } }",
                    std::string(kImports) + "functions { name: 'Leak' domain: 'own' input: 'a' output: 'b' attribute: "
                                            "'slope' opset_import { version: 17 } "
                                            "node { op_type: 'LeakyRelu' input: 'a' output: 'b' attribute { name: "
                                            "'alpha' ref_attr_name: 'slope' type: FLOAT } } }"));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.nodes()[0].attrs.real("negative_slope"), 0.5);
}

TEST(Onnx, refuses_functions_that_call_themselves) {
  EXPECT_THAT(
      error_of(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                            "node { op_type: 'F' domain: 'own' input: 'x' output: 'y' }",
                        std::string(kImports) +
                            "functions { name: 'F' domain: 'own' input: 'a' output: 'b' opset_import { domain: 'own' "
                            "version: 1 } node { op_type: 'F' domain: 'own' input: 'a' output: 'b' } }")),
      HasSubstr("calls itself"));
}

// ------------------------------------------------------------------------------------------------------ external data

std::string external(const std::string& location, int offset, int elements) {
  return fmt::format(
      "initializer {{ name: 'w' data_type: 1 dims: {} data_location: EXTERNAL "
      "external_data {{ key: 'location' value: '{}' }} external_data {{ key: 'offset' value: '{}' }} }} ",
      elements, location, offset);
}

SharedBytes with_external(const std::string& location, int offset = 0, int elements = 2) {
  return model_of(value("input", "x", {"1"}) + value("output", "y", {std::to_string(elements)}) +
                  external(location, offset, elements) + node("Add", {"x", "w"}, {"y"}));
}

TEST(Onnx, reads_external_data_where_it_lies) {
  const testing_support::ScratchFolder folder;
  std::filesystem::create_directory(folder.path() / "data");
  const std::array<float, 3> weights = {0, 1, 2};
  std::ofstream(folder.path() / "data/w.bin").write(reinterpret_cast<const char*>(weights.data()), sizeof weights);
  const auto program = read(with_external("data/w.bin", 4), {}, folder.path() / "model.onnx");
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(to_double(*constant_of(program->graph.nodes()[0].result())), ElementsAre(1, 2));
}

TEST(Onnx, refuses_external_data_outside_of_its_folder_or_file) {
  const testing_support::ScratchFolder outside, folder;
  outside.file("secret", std::string(64, 's'));
  folder.file("w.bin", std::string(8, 'w'));
  std::filesystem::create_symlink(outside.path() / "secret", folder.path() / "link");
  std::filesystem::create_directory_symlink(outside.path(), folder.path() / "linked");
  const auto path = folder.path() / "model.onnx";
  EXPECT_THAT(error_of(with_external("../" + outside.path().filename().string() + "/secret"), path),
              HasSubstr("outside"));
  EXPECT_THAT(error_of(with_external((outside.path() / "secret").string()), path), HasSubstr("no path inside"));
  EXPECT_THAT(error_of(with_external("link"), path), HasSubstr("symbolic link"));
  EXPECT_THAT(error_of(with_external("linked/secret"), path), HasSubstr("symbolic link"));
  EXPECT_THAT(error_of(with_external("absent"), path), HasSubstr("absent"));
  EXPECT_THAT(error_of(with_external("w.bin", 4), path), HasSubstr("which has 8"));
}

// ------------------------------------------------------------------------------------------------------ wrong models

TEST(Onnx, reports_all_operators_that_it_does_not_read) {
  const std::string text =
      error_of(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) + node("Foo", {"x"}, {"a"}) +
                        node("Bar", {"a"}, {"b"}) + node("Foo", {"b"}, {"y"})));
  EXPECT_THAT(text, HasSubstr("2 operators"));
  EXPECT_THAT(text, HasSubstr("Foo (2 times"));
  EXPECT_THAT(text, HasSubstr("the_Bar"));
}

TEST(Onnx, reads_nodes_in_the_order_in_which_they_can_be_computed) {
  const auto program = read(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                                     node("Relu", {"z"}, {"y"}) + node("Exp", {"x"}, {"z"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(operators_of(program->graph), ElementsAre("exp", "relu"));
}

TEST(Onnx, refuses_values_that_are_computed_of_themselves_or_twice) {
  EXPECT_THAT(error_of(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) + node("Relu", {"z"}, {"y"}) +
                                node("Exp", {"y"}, {"z"}))),
              HasSubstr("'z' is used before"));
  EXPECT_THAT(error_of(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) + node("Relu", {"x"}, {"y"}) +
                                node("Exp", {"x"}, {"y"}))),
              HasSubstr("'y' is computed twice"));
}

TEST(Onnx, counts_the_entries_of_filled_vectors_as_old_exporters_do) {
  const auto program = read(
      model_of(value("input", "x", {"T"}) + value("output", "y", {"1", "T"}, 7) + node("Shape", {"x"}, {"length"}) +
               node("ConstantOfShape", {"length"}, {"ones"},
                    "attribute { name: 'value' type: TENSOR t { data_type: 7 dims: 1 int64_data: 1 } }") +
               node("NonZero", {"ones"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(operators_of(program->graph), testing::Contains("arange"));
}

TEST(Onnx, measures_how_many_entries_are_not_zero) {
  const auto program =
      read(model_of(value("input", "x", {"4"}) + value("output", "y", {"1", "N"}, 7) + node("NonZero", {"x"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  const auto found = evaluate(program->graph, {Array{DType::f32, {4}, {0, 2, 0, -1}}});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ((*found)[0].shape, (std::vector<std::int64_t>{1, 2}));
  EXPECT_THAT((*found)[0].values, testing::ElementsAre(1, 3));
}

// A number of the elements of x that are above 0, as a vector of one: "count".
std::string counted() {
  return node("Sign", {"x"}, {"signs"}) + node("Relu", {"signs"}, {"ones"}) +
         node("Cast", {"ones"}, {"whole"}, "attribute { name: 'to' type: INT i: 7 }") +
         node("ReduceSum", {"whole"}, {"count"});
}

TEST(Onnx, takes_computed_operands_for_sizes) {
  struct Case {
    std::string nodes;
    std::vector<std::int64_t> shape;
    std::vector<double> values;
  };
  const std::vector<Case> cases = {
      {node("TopK", {"x", "count"}, {"y", "places"}), {2}, {5, 2}},
      {node("Tile", {"x", "count"}, {"y"}), {8}, {2, -1, 5, 0, 2, -1, 5, 0}},
      {integers("none", {0}) +
           node("Concat", {"none", "count"}, {"pads"}, "attribute { name: 'axis' type: INT i: 0 }") +
           node("Pad", {"x", "pads"}, {"y"}),
       {6},
       {2, -1, 5, 0, 0, 0}},
      {integers("none", {0}) + node("Neg", {"count"}, {"less"}) +
           node("Concat", {"less", "none"}, {"pads"}, "attribute { name: 'axis' type: INT i: 0 }") +
           node("Pad", {"x", "pads"}, {"y"}),
       {2},
       {5, 0}},
      {integers("four", {4}) + node("Sub", {"four", "count"}, {"rest"}) +
           node("Concat", {"count", "rest"}, {"parts"}, "attribute { name: 'axis' type: INT i: 0 }") +
           node("Split", {"x", "parts"}, {"first", "y"}),
       {2},
       {5, 0}},
  };
  for (const Case& each : cases) {
    const auto program =
        read(model_of(value("input", "x", {"4"}) + value("output", "y", {"N"}) + counted() + each.nodes));
    ASSERT_TRUE(program) << each.nodes << program.error().text();
    const auto found = evaluate(program->graph, {Array{DType::f32, {4}, {2, -1, 5, 0}}});
    ASSERT_TRUE(found) << each.nodes << found.error().text();
    EXPECT_EQ((*found)[0].shape, each.shape) << each.nodes;
    EXPECT_EQ((*found)[0].values, each.values) << each.nodes;
  }
}

TEST(Onnx, pads_open_axes_to_multiples) {
  for (const std::string mode : {"constant", "reflect", "edge"}) {
    const auto program = read(model_of(
        value("input", "x", {"T"}) + value("output", "y", {"N"}) + integers("four", {4}) + integers("none", {0}) +
        node("Shape", {"x"}, {"size"}) + node("Mod", {"size", "four"}, {"over"}) +
        node("Sub", {"four", "over"}, {"left"}) + node("Mod", {"left", "four"}, {"pad"}) +
        node("Concat", {"none", "pad"}, {"pads"}, "attribute { name: 'axis' type: INT i: 0 }") +
        node("Pad", {"x", "pads"}, {"y"}, fmt::format("attribute {{ name: 'mode' type: STRING s: '{}' }}", mode))));
    ASSERT_TRUE(program) << program.error().text();
    const auto found = evaluate(program->graph, {Array{DType::f32, {6}, {1, 2, 3, 4, 5, 6}}});
    ASSERT_TRUE(found) << found.error().text();
    std::vector<double> expected = {1, 2, 3, 4, 5, 6, 0, 0};
    if (mode == "reflect") expected[6] = 5, expected[7] = 4;
    if (mode == "edge") expected[6] = expected[7] = 6;
    EXPECT_EQ((*found)[0].values, expected) << mode;
  }
}

TEST(Onnx, follows_sizes_through_real_numbers) {
  const auto program =
      read(model_of(value("input", "x", {"T"}) + value("output", "y", {"N"}) + node("Shape", {"x"}, {"size"}) +
                    node("Cast", {"size"}, {"real"}, "attribute { name: 'to' type: INT i: 1 }") +
                    "initializer { name: 'scale' data_type: 1 dims: 1 float_data: 2.5 }" +
                    node("Mul", {"real", "scale"}, {"scaled"}) + node("Floor", {"scaled"}, {"floored"}) +
                    node("Cast", {"floored"}, {"wanted"}, "attribute { name: 'to' type: INT i: 7 }") +
                    node("ConstantOfShape", {"wanted"}, {"y"})));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.outputs()[0].value->type.shape[0].text(), "2*T + floor_div(T, 2)");
}

TEST(Onnx, joins_branches_of_unlike_sizes) {
  const auto program =
      read(model_of(value("input", "x", {"3"}) + value("output", "y", {"N"}) +
                    node("ReduceMax", {"x"}, {"largest"}, "attribute { name: 'keepdims' type: INT i: 0 }") +
                    node("Cast", {"largest"}, {"flag"}, "attribute { name: 'to' type: INT i: 9 }") +
                    node("If", {"flag"}, {"y"},
                         "attribute { name: 'then_branch' type: GRAPH g { name: 't' " +
                             node("Concat", {"x", "x"}, {"a"}, "attribute { name: 'axis' type: INT i: 0 }") +
                             " output { name: 'a' } } } attribute { name: 'else_branch' type: GRAPH g { name: 'e' " +
                             node("Neg", {"x"}, {"b"}) + " output { name: 'b' } } }")));
  ASSERT_TRUE(program) << program.error().text();
  for (const bool taken : {true, false}) {
    const double largest = taken ? 1 : 0;
    const auto found = evaluate(program->graph, {Array{DType::f32, {3}, {largest, -1, -2}}});
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_EQ((*found)[0].shape, (std::vector<std::int64_t>{taken ? 6 : 3}));
  }
}

TEST(Onnx, finds_rows_without_repetitions) {
  const auto program = read(model_of(
      value("input", "x", {"4", "2"}) + value("output", "y", {"N", "2"}) + value("output", "counts", {"N"}, 7) +
      node("Unique", {"x"}, {"y", "", "", "counts"}, "attribute { name: 'axis' type: INT i: 0 }")));
  ASSERT_TRUE(program) << program.error().text();
  const auto found = evaluate(program->graph, {Array{DType::f32, {4, 2}, {2, 1, 1, 3, 2, 1, 1, 2}}});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_THAT((*found)[0].values, testing::ElementsAre(1, 2, 1, 3, 2, 1));
  EXPECT_THAT((*found)[1].values, testing::ElementsAre(1, 1, 2));
}

TEST(Onnx, says_what_to_do_about_sizes_that_an_exporter_fixed) {
  const auto program = read(model_of(value("input", "x", {"B", "3"}) + value("output", "y", {"3", "2"}) +
                                     integers("shape", {3, 2}) + node("Reshape", {"x", "shape"}, {"y"})));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().hint, HasSubstr("--input-shape"));
}

TEST(Onnx, says_what_to_do_about_opsets_that_are_too_old) {
  const auto program =
      read(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                        node("Add", {"x", "x"}, {"y"}, "attribute { name: 'broadcast' type: INT i: 1 }"),
                    "opset_import { version: 6 }"));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().hint, HasSubstr("convert_version"));
}

TEST(Onnx, refuses_attributes_that_it_does_not_read) {
  EXPECT_THAT(error_of(model_of(value("input", "x", {"2"}) + value("output", "y", {"2"}) +
                                node("Relu", {"x"}, {"y"}, "attribute { name: 'strength' type: INT i: 2 }"))),
              HasSubstr("'strength'"));
}

TEST(Onnx, refuses_opsets_that_it_does_not_know) {
  EXPECT_THAT(error_of(model_of(value("input", "x", {"2"}), "opset_import { version: 99 }")), HasSubstr("opset 99"));
}

TEST(Onnx, refuses_sizes_that_no_tensor_has) {
  EXPECT_THAT(error_of(model_of("initializer { name: 'w' data_type: 1 dims: [-1] raw_data: '' } ")), HasSubstr("w"));
  EXPECT_THAT(error_of(model_of("initializer { name: 'w' data_type: 1 dims: [4294967296, 4294967296] raw_data: '' } ")),
              HasSubstr("w"));
  EXPECT_THAT(error_of(model_of("initializer { name: 'w' data_type: 22 dims: [1000000000] raw_data: 'abc' } ")),
              HasSubstr("3 bytes"));
}

TEST(Onnx, widens_integers_of_four_bits) {
  const auto program =
      read(model_of("initializer { name: 'q' data_type: 22 dims: [3] raw_data: '\\xf1\\x08' } " +
                        value("input", "s", {}) + value("output", "y", {"3"}) +
                        node("DequantizeLinear", {"q", "s"}, {"y"}, "attribute { name: 'axis' type: INT i: 0 }"),
                    "opset_import { version: 21 }"));
  ASSERT_TRUE(program) << program.error().text();
  const auto results = evaluate(program->graph, {{DType::f32, {}, {0.5}}});
  ASSERT_TRUE(results) << results.error().text();
  EXPECT_THAT((*results)[0].values, ElementsAre(0.5, -0.5, -4));
}

// ------------------------------------------------------------------------------------------------------------- table

// A row per operator: from which versions on it is read, and what it becomes where that is one of ours.
std::string table_of_operators() {
  std::map<std::string, std::vector<const onnx_reader::Row*>> by_name;
  for (const onnx_reader::Row& row : onnx_reader::rows())
    by_name[row.domain.empty() ? std::string(row.op) : fmt::format("{}.{}", row.domain, row.op)].push_back(&row);
  std::string text = "| operator | since version | as |\n| --- | --- | --- |\n";
  for (auto& [name, rows] : by_name) {
    std::ranges::sort(rows, {}, &onnx_reader::Row::since);
    std::vector<std::string> versions;
    for (const auto* row : rows) versions.push_back(std::to_string(row->since));
    const std::string ours = rows.back()->ours.empty() ? "" : fmt::format("`{}`", rows.back()->ours);
    text += fmt::format("| {} | {} | {} |\n", name, fmt::join(versions, ", "), ours);
  }
  return text;
}

TEST(Onnx, every_operator_stands_in_the_documentation) {
  const std::string path = TAPER_SOURCE_DIR "/docs/onnx.md";
  std::ifstream in(path);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const std::size_t start = text.find("| operator |");
  ASSERT_NE(start, std::string::npos);
  const std::string expected = text.substr(0, start) + table_of_operators();
  if (std::getenv("TAPER_UPDATE_DOCS") != nullptr) std::ofstream(path) << expected;
  EXPECT_EQ(text.substr(start), table_of_operators()) << "run frontend_test with TAPER_UPDATE_DOCS=1";
}

TEST(Onnx, rows_name_operators_that_exist) {
  for (const onnx_reader::Row& row : onnx_reader::rows()) {
    EXPECT_NE(row.ours.empty(), row.read == nullptr) << row.op;
    EXPECT_TRUE(row.ours.empty() || find_op(row.ours) != nullptr) << row.ours;
  }
}

// A node of the row with so many operands, of which one is left out (none at `count`).
std::string with_operands(const onnx_reader::Row& row, std::size_t count, std::size_t left_out,
                          const std::vector<std::string>& names) {
  std::vector<std::string> operands;
  for (std::size_t i = 0; i < count; ++i) operands.push_back(i == left_out ? "" : names[i % names.size()]);
  return error_or_none(model_of(
      value("input", "x", {"2", "B", "4", "4"}) + value("input", "m", {"4", "4"}) + value("output", "y", {"2"}) +
          integers("n", {1, 1}) + node(std::string(row.op), operands, {"y"}, fmt::format("domain: '{}'", row.domain)),
      fmt::format("opset_import {{ version: {} }} opset_import {{ domain: '{}' version: 1 }}",
                  std::max<std::int64_t>(row.since, 7), row.domain.empty() ? "other" : row.domain)));
}

TEST(Onnx, every_operator_says_which_operand_is_missing) {
  for (const onnx_reader::Row& row : onnx_reader::rows())
    for (std::size_t i = 0; i < row.operands; ++i) {
      const std::string missing = fmt::format("input {} is missing", i);
      EXPECT_THAT(with_operands(row, row.operands, i, {"x"}), HasSubstr(missing)) << row.op;
      EXPECT_THAT(with_operands(row, i, i, {"x"}), HasSubstr(missing)) << row.op;
    }
}

TEST(Onnx, no_operator_takes_an_operand_for_granted) {
  constexpr std::size_t kMost = 9;
  for (const onnx_reader::Row& row : onnx_reader::rows())
    for (const std::vector<std::string>& names :
         {std::vector<std::string>{"x"}, std::vector<std::string>{"m"}, std::vector<std::string>{"x", "n"}})
      for (std::size_t count = 0; count <= kMost; ++count)
        for (std::size_t left_out = 0; left_out <= count; ++left_out) with_operands(row, count, left_out, names);
}

}  // namespace
}  // namespace taper
