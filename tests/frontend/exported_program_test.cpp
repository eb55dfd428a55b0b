// Programs of torch.export compute what PyTorch computed.
#include "frontend/exported_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "../formats/builders.h"
#include "base/mapped_file.h"
#include "formats/npy.h"
#include "ops/evaluate.h"
#include "ops/table.h"
#include "program_fixtures.h"

namespace taper {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;

std::string folder() {
  return TAPER_SOURCE_DIR "/tests/fixtures/exported/";
}

Expected<ImportedProgram> import_fixture(const std::string& name, const ProgramOptions& options = {}) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(folder() + name));
  return import_exported_program(bytes, options);
}

std::map<std::string, Array> expected_arrays() {
  std::map<std::string, Array> arrays;
  const auto tensors = read_npz(*map_file(folder() + "expected.npz"));
  for (const auto& [name, tensor] : *tensors) arrays[name] = to_array(tensor);
  return arrays;
}

std::vector<std::string> names_of(const std::vector<Output>& outputs) {
  std::vector<std::string> names;
  for (const Output& output : outputs) names.push_back(output.name);
  return names;
}

class ExportedLayouts : public testing::TestWithParam<const char*> {};

TEST_P(ExportedLayouts, compute_what_pytorch_computed) {
  const auto program = import_fixture(GetParam());
  ASSERT_TRUE(program) << program.error().text();
  ASSERT_TRUE(check(program->graph)) << check(program->graph).error().text();
  EXPECT_THAT(names_of(program->graph.outputs()), ElementsAre("pairs", "more_0", "more_1"));
  const auto arrays = expected_arrays();
  const auto found = evaluate(program->graph, {arrays.at("x"), arrays.at("mask")});
  ASSERT_TRUE(found) << found.error().text();
  for (std::size_t i = 0; i < found->size(); ++i) {
    const Array& wanted = arrays.at(program->graph.outputs()[i].name);
    ASSERT_EQ((*found)[i].shape, wanted.shape);
    for (std::size_t j = 0; j < wanted.values.size(); ++j)
      EXPECT_NEAR((*found)[i].values[j], wanted.values[j], 1e-4 * std::max(1.0, std::abs(wanted.values[j])));
  }
}

TEST_P(ExportedLayouts, tell_sizes_and_what_is_lost) {
  const auto program = import_fixture(GetParam());
  ASSERT_TRUE(program) << program.error().text();
  const Type& x = program->graph.inputs()[0]->type;
  const SymbolRange& rows = program->symbols.at(*x.shape[0].as_symbol());
  EXPECT_EQ(rows.least, 1);
  EXPECT_EQ(rows.most, 64);
  EXPECT_EQ(rows.usual, 3);
  EXPECT_THAT(program->assumptions, ElementsAre(HasSubstr("'calls' is updated by the program")));
}

INSTANTIATE_TEST_SUITE_P(ExportedProgram, ExportedLayouts,
                         testing::Values("program.pt2", "program_2_8.pt2", "program_2_5.pt2"));

class ExportedFixtures : public testing::TestWithParam<std::string> {};

TEST_P(ExportedFixtures, compute_what_pytorch_computed) {
  const auto program = import_fixture(GetParam() + ".pt2");
  ASSERT_TRUE(program) << program.error().text();
  ASSERT_TRUE(check(program->graph)) << check(program->graph).error().text();
  expect_pytorch(*program, fixture_arrays(folder() + GetParam() + ".npz"));
}

INSTANTIATE_TEST_SUITE_P(ExportedProgram, ExportedFixtures,
                         testing::Values("rotary", "spectra", "gradients", "images", "filter"));

// Archives as the releases of PyTorch left them, with what these computed: outputs by number.
class ReleasedArchives : public testing::TestWithParam<std::string> {};

TEST_P(ReleasedArchives, compute_what_that_release_computed) {
  const std::string name = "releases/" + GetParam();
  const auto program = import_fixture(name + ".pt2");
  ASSERT_TRUE(program) << program.error().text();
  ASSERT_TRUE(check(program->graph)) << check(program->graph).error().text();
  NamedTensors arrays = fixture_arrays(folder() + name + ".npz");
  std::erase_if(arrays, [&](const auto& entry) {  // numbers have the value that they were exported with
    const auto is_input = [&](const Value* input) { return "in_" + input->name == entry.first; };
    return entry.first.starts_with("in_") && std::ranges::none_of(program->graph.inputs(), is_input);
  });
  const std::vector<std::string> names = names_of(program->graph.outputs());
  std::size_t outputs = 0;
  for (auto& [entry, tensor] : arrays)
    if (entry.starts_with("out_")) {
      ASSERT_LT(outputs, names.size());
      entry = "out_" + names[outputs++];
    }
  expect_pytorch(*program, arrays);
}

INSTANTIATE_TEST_SUITE_P(ExportedProgram, ReleasedArchives,
                         testing::Values("states_plain_2_5_1", "states_strict_2_6_0", "states_plain_2_7_1",
                                         "states_plain_2_8_0", "states_plain_2_9_1", "states_plain_2_10_0",
                                         "states_plain_2_11_0", "states_plain_2_12_0", "numbers_plain_2_5_1",
                                         "numbers_plain_2_12_0", "scan_along_plain_2_6_0", "recurrent_plain_2_5_1",
                                         "recurrent_plain_2_8_0", "recurrent_plain_2_12_0"));

// PyTorch 2.5 to 2.12 declare [2, 1, batch, 4] for [2, batch, 4].
TEST(ExportedProgram, says_that_states_of_lstms_are_declared_wrongly) {
  for (const char* name : {"releases/recurrent_plain_2_5_1.pt2", "releases/recurrent_plain_2_12_0.pt2"}) {
    const auto program = import_fixture(name);
    ASSERT_TRUE(program) << program.error().text();
    EXPECT_THAT(program->assumptions, ElementsAre(HasSubstr("declare the states of LSTMs with one axis more")));
    EXPECT_EQ(program->graph.outputs()[1].value->type.shape.size(), 3) << name;
  }
}

TEST(ExportedProgram, says_that_complex_outputs_are_reals_in_the_files) {
  const auto program = import_fixture("rotary.pt2");
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->assumptions, ElementsAre(HasSubstr("output 'output_1' is of complex numbers")));
}

TEST(ExportedProgram, keeps_tied_weights_one_constant_and_scopes_their_modules) {
  const auto program = import_fixture("program.pt2");
  ASSERT_TRUE(program) << program.error().text();
  std::size_t weights = 0;
  bool scoped = false;
  for (const Node& node : program->graph.nodes()) {
    const Tensor* tensor = constant_of(node.results.empty() ? nullptr : node.results[0]);
    weights += tensor != nullptr && tensor->shape == std::vector<std::int64_t>{6, 4} ? 1 : 0;
    scoped = scoped || node.scope == "inner.0";
  }
  EXPECT_EQ(weights, 1);
  EXPECT_TRUE(scoped);
}

TEST(ExportedProgram, takes_shapes_and_dtypes_from_the_caller) {
  ProgramOptions options;
  options.input_shapes["x"] = {Dim::symbol("batch"), 4};
  options.input_dtypes["x"] = DType::f16;
  const auto named = import_fixture("program.pt2", options);
  ASSERT_TRUE(named) << named.error().text();
  EXPECT_EQ(type_text(named->graph.inputs()[0]->type), "f16[batch, 4]");
  EXPECT_EQ(type_text(named->graph.inputs()[1]->type), "bool[batch]");
  EXPECT_EQ(named->symbols.at("batch").most, 64);

  options.input_shapes["x"] = {5, 4};
  const auto fixed = import_fixture("program.pt2", options);
  ASSERT_TRUE(fixed) << fixed.error().text();
  EXPECT_EQ(type_text(fixed->graph.inputs()[1]->type), "bool[5]");
}

TEST(ExportedProgram, refuses_options_that_the_program_does_not_allow) {
  const auto error = [](const ProgramOptions& options) {
    const auto program = import_fixture("program.pt2", options);
    return program ? "" : program.error().text();
  };
  EXPECT_THAT(error({.input_shapes = {{"image", {1}}}}), HasSubstr("no input 'image'; its inputs are "));
  EXPECT_THAT(error({.input_shapes = {{"x", {1}}}}), HasSubstr("the program has 2 axes"));
  EXPECT_THAT(error({.input_shapes = {{"x", {100, 4}}}}), HasSubstr("takes at most 64"));
  EXPECT_THAT(error({.input_shapes = {{"x", {3, 5}}}}), HasSubstr("the export fixed it to 4"));
  EXPECT_THAT(error({.dynamic = {{"x", {2}}}}), HasSubstr("no axis 2"));
}

// ---- programs by hand

std::string sizes(std::initializer_list<std::int64_t> numbers) {
  std::string text;
  for (const std::int64_t number : numbers)
    text += fmt::format(R"({}{{"as_int": {}}})", text.empty() ? "" : ", ", number);
  return text;
}

std::string tensor_meta(const std::string& sizes_text) {
  return R"({"dtype": 7, "sizes": [)" + sizes_text + "]}";
}

// A program of inputs named x, y with these sizes, and of `nodes`; it gives `out`.
std::string program_of(const std::string& nodes, const std::string& tensors, const std::string& inputs = R"("x")",
                       const std::string& guards = "") {
  std::string specs, arguments;
  for (const char name : {'x', 'y'}) {
    if (inputs.find(name) == std::string::npos) continue;
    const std::string argument = fmt::format(R"({{"as_tensor": {{"name": "{}"}}}})", name);
    specs += (specs.empty() ? "" : ", ") + fmt::format(R"({{"user_input": {{"arg": {}}}}})", argument);
    arguments += (arguments.empty() ? "" : ", ") + argument;
  }
  const std::string json = R"({"schema_version": {"major": 8, "minor": 20}, "range_constraints": {},
    "guards_code": [)" + guards +
                           R"(], "graph_module": {
    "signature": {"input_specs": [)" +
                           specs + R"(],
                  "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "out"}}}}]},
    "graph": {"inputs": [)" +
                           arguments + R"(], "outputs": [{"as_tensor": {"name": "out"}}], "sym_int_values": {},
              "tensor_values": {)" +
                           tensors + R"(}, "nodes": [)" + nodes + "]}}}";
  return zip_file({stored("a/models/model.json", json),
                   stored("a/data/weights/model_weights_config.json", R"({"config": {}})"),
                   stored("a/data/constants/model_constants_config.json", R"({"config": {}})")});
}

std::string node(const std::string& target, const std::string& inputs, const std::string& output) {
  return R"({"target": ")" + target + R"(", "inputs": [)" + inputs + R"(], "outputs": [{"as_tensor": {"name": ")" +
         output + R"("}}], "metadata": {"nn_module_stack": "a,,M;b,body.0,N",
           "stack_trace": "File \"/home/net.py\", line 7, in forward\n  File \"/x/torch/nn/a.py\", line 1, in f"}})";
}
std::string tensor(const std::string& name, const std::string& value) {
  return R"({"name": ")" + name + R"(", "arg": {"as_tensor": {"name": ")" + value + R"("}}})";
}

Expected<ImportedProgram> import_text(const std::string& file, const ProgramOptions& options = {}) {
  return import_exported_program(shared(file), options);
}

TEST(ExportedProgram, tells_all_operators_that_it_can_not_convert_with_their_places) {
  const std::string nodes = node("torch.ops.aten.no_such.default", tensor("self", "x"), "a") + "," +
                            node("torch.ops.mylib.thing.default", tensor("self", "a"), "b") + "," +
                            node("torch.ops.aten.no_such.default", tensor("self", "b"), "out");
  const auto program = import_text(program_of(nodes, "\"x\": " + tensor_meta(R"({"as_int": 2})")));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("2 operators can't be converted"));
  EXPECT_THAT(program.error().text(), HasSubstr("aten.no_such.default (2 times, in body.0: line 7 of net.py)"));
  EXPECT_THAT(program.error().text(), HasSubstr("mylib.thing.default (1 time"));
}

TEST(ExportedProgram, tells_how_to_do_without_vmap) {
  const std::string nodes = node("torch._functorch.predispatch._add_batch_dim", tensor("", "x"), "a") + "," +
                            node("torch.ops.aten.relu.default", tensor("self", "a"), "out");
  const auto program = import_text(program_of(nodes, "\"x\": " + tensor_meta(R"({"as_int": 2})")));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("1 operator can't be converted: torch.vmap (1 time, in body.0"));
  EXPECT_THAT(program.error().hint, HasSubstr("call the function on the batch itself"));
  EXPECT_THAT(program.error().hint, HasSubstr("run_decompositions()"));
}

TEST(ExportedProgram, leaves_out_calls_that_change_nothing_and_give_nothing_used) {
  const std::string noise = node("torch.ops.aten.rand.default", R"({"name": "size", "arg": {"as_ints": []}})", "a") +
                            "," + node("torch.ops.aten.no_such.default", tensor("self", "a"), "b") + ",";
  const std::string relu = node("torch.ops.aten.relu.default", tensor("self", "x"), "out");
  const std::string two = "\"x\": " + tensor_meta(R"({"as_int": 2})");
  const auto program = import_text(program_of(noise + relu, two));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.nodes().size(), 1u);
  // What writes is never idle.
  const auto writes =
      import_text(program_of(node("torch.ops.aten.no_such_.default", tensor("self", "x"), "a") + "," + relu, two));
  ASSERT_FALSE(writes);
  EXPECT_THAT(writes.error().text(), HasSubstr("aten.no_such_.default"));
}

TEST(ExportedProgram, refuses_values_that_nothing_gives) {
  const auto program = import_text(program_of(node("torch.ops.aten.relu.default", tensor("self", "z"), "out"),
                                              "\"x\": " + tensor_meta(R"({"as_int": 2})")));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("value 'z' is used, but nothing gives it"));
}

TEST(ExportedProgram, refuses_a_program_whose_declared_shapes_are_not_those_computed) {
  const auto program = import_text(
      program_of(node("torch.ops.aten.relu.default", tensor("self", "x"), "out"),
                 "\"x\": " + tensor_meta(R"({"as_int": 2})") + ", \"out\": " + tensor_meta(R"({"as_int": 3})")));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("declares 'out' as f32[3], but f32[2] is computed"));
}

TEST(ExportedProgram, takes_and_gives_complex_numbers_as_pairs_of_reals) {
  const std::string meta = R"({"dtype": 10, "sizes": [{"as_int": 3}]})";
  const std::string square =
      node("torch.ops.aten.mul.Tensor", tensor("self", "x") + ", " + tensor("other", "x"), "out");
  const auto program = import_text(program_of(square, "\"x\": " + meta + ", \"out\": " + meta));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(type_text(program->graph.inputs()[0]->type), "f32[3, 2]");
  EXPECT_THAT(program->assumptions, ElementsAre(HasSubstr("input 'x' is of complex numbers"),
                                                HasSubstr("output 'output' is of complex numbers")));
  const auto found = evaluate(program->graph, {Array{DType::f32, {3, 2}, {1, 2, 0, -1, 3, 0}}});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_THAT(found->front().values, ElementsAre(-3, 4, -1, 0, 9, 0));
  // Reals are not taken for them.
  const auto mixed = import_text(program_of(square, "\"x\": " + meta + ", \"out\": " + tensor_meta(sizes({3}))));
  ASSERT_FALSE(mixed);
  EXPECT_THAT(mixed.error().text(), HasSubstr("declares 'out' as real numbers, but complex ones are computed"));
}

// ---- sizes set free

std::string view_of(const std::string& sizes) {
  return tensor("self", "x") + R"(, {"name": "size", "arg": {"as_ints": [)" + sizes + "]}}";
}

std::string freed(const std::string& from, const std::string& to, const std::vector<std::int64_t>& axes) {
  const auto program =
      import_text(program_of(node("torch.ops.aten.view.default", view_of(to), "out"), "\"x\": " + tensor_meta(from)),
                  {.dynamic = {{"x", axes}}});
  return program ? shape_text(program->graph.outputs()[0].value->type.shape) : program.error().text();
}

// The shape of x [b, t] in a program with these guards.
std::string shape_with(const std::string& guards, const std::string& t = "t") {
  const auto symbolic = [](const std::string& text) { return R"({"as_expr": {"expr_str": ")" + text + R"("}})"; };
  const std::string meta = tensor_meta(symbolic("b") + ", " + symbolic("t"));
  ProgramOptions options;
  options.input_shapes["x"] = {Dim::symbol("b"), *Dim::parse(t)};
  const auto program = import_text(program_of(node("torch.ops.aten.relu.default", tensor("self", "x"), "out"),
                                              R"("x": )" + meta + R"(, "out": )" + meta, R"("x")", guards),
                                   options);
  return program ? shape_text(program->graph.inputs()[0]->type.shape) : program.error().text();
}

TEST(ExportedProgram, knows_from_guards_which_sizes_are_multiples) {
  EXPECT_EQ(shape_with(R"g("L['x'].size()[1] % 2 == 0")g"), "[b, 2*t_over_2]");
  EXPECT_EQ(shape_with(R"g("(4*L['x'].size()[1]*L['x'].size()[0]) == (8*L['x'].size()[0]*(L['x'].size()[1] // 2))")g"),
            "[b, 2*t_over_2]");
  EXPECT_EQ(shape_with(R"g("(L['x'].size()[1] % (L['x'].size()[1] // 2)) == 0",
                           "(L['x'].size()[1] // (L['x'].size()[1] // 2)) == 2")g"),
            "[b, 2*t_over_2]");
  EXPECT_EQ(shape_with(R"g("L['x'].size()[1] % 2 == 0", "L['x'].size()[1] % 3 == 0")g"), "[b, 6*t_over_6]");
  EXPECT_EQ(shape_with(R"g("2*((L['x'].size()[1] - 1) // 2) + 1 == L['x'].size()[1]")g"), "[b, 2*t_over_2 + 1]");
  EXPECT_EQ(shape_with(R"g("(L['x'].size()[1] % 10) <= 0")g"), "[b, 10*t_over_10]");
  EXPECT_EQ(shape_with(R"g("((1 + L['x'].size()[1]) % 10) <= 0")g"), "[b, 10*t_over_10 + 9]");
  EXPECT_EQ(shape_with(R"g("(4 + (-1)*(L['x'].size()[1] % 4)) % 4 <= 0")g"), "[b, 4*t_over_4]");
  EXPECT_EQ(shape_with(R"g("(L['x'].size()[1] % 2) - (L['x'].size()[0] % 2) <= 0")g"), "[b, t]");
  EXPECT_EQ(shape_with(R"g("L['x'].size()[1] % 2 == 0")g", "6"), "[b, 6]");
  EXPECT_THAT(shape_with(R"g("L['x'].size()[1] % 2 == 0")g", "7"), HasSubstr("its guards don't hold"));
}

TEST(ExportedProgram, knows_from_guards_which_sizes_follow_from_others) {
  EXPECT_EQ(shape_with(R"g("L['x'].size()[1] == L['x'].size()[0]")g"), "[b, b]");
  EXPECT_EQ(shape_with(R"g("(L['x'].size()[0] + 3) == L['x'].size()[1]")g"), "[b, b + 3]");
  EXPECT_EQ(shape_with(R"g("L['x'].size()[0] == (L['x'].size()[1] // 4)")g"), "[floor_div(t, 4), t]");
  EXPECT_EQ(shape_with(R"g("(2*L['x'].size()[0]) == (3*L['x'].size()[1])")g"), "[3*b_over_3, 2*b_over_3]");
  EXPECT_EQ(shape_with(R"g("(2*L['x'].size()[0]) == (3*L['x'].size()[1] + 1)")g"), "[3*b_over_3 + 2, 2*b_over_3 + 1]");
  EXPECT_EQ(shape_with(R"g("(2*L['x'].size()[0]) == (4*L['x'].size()[1] + 1)")g"), "[b, t]");  // no size does
  EXPECT_EQ(shape_with(R"g("(L['x'].size()[1]*L['x'].size()[1]) == 49")g"), "[b, 7]");
}

// Each guard says something once another is known.
TEST(ExportedProgram, goes_on_with_guards_until_they_say_no_more) {
  EXPECT_EQ(shape_with(R"g("(L['x'].size()[0] // 4) == (L['x'].size()[1] // 4)", "L['x'].size()[0] % 4 == 0",
                           "L['x'].size()[1] % 4 == 0")g"),
            "[4*b_over_4, 4*b_over_4]");
  EXPECT_EQ(shape_with(R"g("((L['x'].size()[1] // 2) % 3) == 0", "L['x'].size()[1] % 2 == 0")g"), "[b, 6*t_over_6]");
  // Behind a stem: 2 q or 2 q - 1 would do, until the other guard says which.
  EXPECT_EQ(shape_with(R"g("(1 + ((L['x'].size()[1] - 1) // 2)) % 7 == 0", "L['x'].size()[1] % 2 == 0")g"),
            "[b, 14*t_over_14]");
}

TEST(ExportedProgram, bounds_sizes_of_which_the_export_froze_a_part) {
  const std::string meta = tensor_meta(R"({"as_expr": {"expr_str": "t"}})");
  const auto program = import_text(program_of(node("torch.ops.aten.relu.default", tensor("self", "x"), "out"),
                                              R"("x": )" + meta + R"(, "out": )" + meta, R"("x")",
                                              R"g("(L['x'].size()[0] // 2) == 4")g"));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(shape_text(program->graph.inputs()[0]->type.shape), "[t]");
  EXPECT_THAT(program->assumptions, ElementsAre(HasSubstr("the size 't' lies between 8 and 9")));
}

TEST(ExportedProgram, tells_what_else_says_the_same) {
  const std::string meta = tensor_meta(R"({"as_int": 2}, {"as_int": 2})");
  const auto program = import_text(
      program_of(node("torch.ops.aten.linalg_eigvals.default", tensor("self", "x"), "out"), "\"x\": " + meta));
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().hint, HasSubstr("eigh and eigvalsh convert, for symmetric matrices"));
}

// The ranges of b and t, and what is said of them, in a program with these guards.
std::string limits_with(const std::string& guards) {
  const auto symbol = [](const std::string& name, int usual) {
    return fmt::format(R"({{"as_expr": {{"expr_str": "{}", "hint": {{"as_int": {}}}}}}})", name, usual);
  };
  const std::string meta = tensor_meta(symbol("b", 20) + ", " + symbol("t", 40));
  const auto program = import_text(program_of(node("torch.ops.aten.relu.default", tensor("self", "x"), "out"),
                                              R"("x": )" + meta + R"(, "out": )" + meta, R"("x")", guards));
  if (!program) return program.error().text();
  std::string text;
  for (const auto& [name, range] : program->symbols)
    text += fmt::format("{} {}..{} ", name, range.least,
                        range.most == SymbolRange{}.most ? "" : fmt::format("{}", range.most));
  return text + fmt::format("{}", fmt::join(program->assumptions, "; "));
}

TEST(ExportedProgram, reads_limits_of_sizes_from_guards) {
  EXPECT_EQ(limits_with(R"g("L['x'].size()[1] <= 512")g"),
            "b 0.. t 0..512 the size 't' is at most 512: the program takes no others");
  EXPECT_EQ(limits_with(R"g("(L['x'].size()[1] // 8) >= 2")g"),
            "b 0.. t 16.. the size 't' is 16 or more: the program takes no others");
  EXPECT_EQ(limits_with(R"g("(L['x'].size()[1] // 8) != 1", "8 <= L['x'].size()[1]")g"),
            "b 0.. t 16.. the size 't' is 16 or more: the program takes no others");
  EXPECT_EQ(limits_with(R"g("4 < min(L['x'].size()[0], L['x'].size()[1] // 2)", "L['x'].size()[1] < 99")g"),
            "b 5.. t 10..98 the size 'b' is 5 or more: the program takes no others; "
            "the size 't' lies between 10 and 98: the program takes no others");
}

TEST(ExportedProgram, reads_limits_beside_equalities_and_decimals) {
  EXPECT_EQ(limits_with(R"g("L['x'].size()[1] <= 64 and L['x'].size()[0] == 20")g"),
            "b 20..20 t 0..64 the size 'b' is 20: the program takes no others; "
            "the size 't' is at most 64: the program takes no others");
  EXPECT_EQ(limits_with(R"g("math.trunc(0.5*torch.sym_float(L['x'].size()[1])) == 20")g"),
            "b 0.. t 40..41 the size 't' lies between 40 and 41: the program takes no others");
}

// What holds for none of the sizes that were tried may hold for one between them.
TEST(ExportedProgram, takes_no_limits_from_guards_that_hold_again_and_again) {
  for (const char* guard : {"(L['x'].size()[1] // 10)*10 < L['x'].size()[1] + 1 and L['x'].size()[1] % 10 < 1",
                            "(L['x'].size()[1] % 40) <= (L['x'].size()[0] % 20)",
                            "math.ceil(L['x'].size()[1] / 7)*7 - L['x'].size()[1] == 2 or L['x'].size()[0] > 99",
                            "((10 - L['x'].size()[1] % 10) % 10) < 1 and L['x'].size()[0] > 0",
                            "(max(L['x'].size()[1], 2*L['x'].size()[0]) - min(L['x'].size()[1], "
                            "2*L['x'].size()[0])) <= 2",
                            "abs(L['x'].size()[1] - 2*L['x'].size()[0]) <= 2"}) {
    EXPECT_THAT(limits_with(fmt::format(R"("{}")", guard)),
                AllOf(ContainsRegex("^b 0?1?\\.\\. t (0|10)\\.\\. "), HasSubstr("does not hold for")))
        << guard;
  }
}

TEST(ExportedProgram, tells_of_guards_that_are_not_read) {
  EXPECT_EQ(limits_with(R"g("math.sqrt(L['x'].size()[1]) > 3")g"),
            "b 0.. t 0.. a guard of the program on its sizes is not read (math.sqrt(t) > 3): "
            "it may refuse sizes that the files take");
  EXPECT_THAT(limits_with(R"g("f(L['x'].size()[1]) > 3", "L['x'].size()[1] < n", "L['x'].dtype == 3")g"),
              HasSubstr("2 guards of the program on its sizes are not read (the first: f(t) > 3)"));
  std::string many;
  for (int i = 0; i < 5000; ++i)
    many += fmt::format(R"g({}"L['x'].size()[1] != {}")g", many.empty() ? "" : ", ", 100 + i);
  EXPECT_THAT(limits_with(many), HasSubstr("904 guards of the program on its sizes are not read"));
}

// A few bytes of a file take no time and no memory to speak of.
TEST(ExportedProgram, spends_little_on_guards) {
  std::string chain = "L['x'].size()[1]", guards;
  for (int i = 0; i < 60; ++i) chain = "(0 < " + chain + " < 9)";
  for (int i = 0; i < 400; ++i) guards += fmt::format(R"g("{} < {}", )g", chain, i);
  for (int i = 0; i < 400; ++i)
    guards += fmt::format(R"g("(L['x'].size()[1]*L['x'].size()[0]) % {} != L['x'].size()[0] % 17", )g", 1000 + i);
  EXPECT_THAT(limits_with(guards + R"g("L['x'].size()[1] > 3")g"),
              HasSubstr("400 guards of the program on its sizes are not read"));
}

TEST(ExportedProgram, tells_of_guards_that_no_range_says) {
  EXPECT_EQ(
      limits_with(R"g("L['x'].size()[1] != L['x'].size()[0]")g"),
      "b 0.. t 0.. the program does not take all sizes: one of its guards (t != b) does not hold for b = 1, t = 1");
  EXPECT_THAT(limits_with(R"g("(L['x'].size()[1] % 7) != 0")g"), HasSubstr("(t % 7) != 0) does not hold for t = 7"));
}

TEST(ExportedProgram, says_nothing_of_guards_that_always_hold) {
  EXPECT_EQ(limits_with(R"g("L['x'].size()[0]*L['x'].size()[1] >= L['x'].size()[1]", "L['x'].size()[1] > 0",
                            "(1 + L['x'].size()[1] // 2) != 0", "L['z'].dtype > 3", "L['x'].size()[1] % 7 <= 6")g"),
            "b 1.. t 1.. ");
}

TEST(ExportedProgram, needs_to_read_the_sizes_of_inputs_alone) {
  const auto sized = [](const std::string& x, const std::string& out) {
    const auto meta = [](const std::string& text) {
      return tensor_meta(R"({"as_expr": {"expr_str": ")" + text + R"("}})");
    };
    const auto program = import_text(program_of(node("torch.ops.aten.relu.default", tensor("self", "x"), "out"),
                                                R"("x": )" + meta(x) + R"(, "out": )" + meta(out)));
    return program ? shape_text(program->graph.outputs()[0].value->type.shape) : program.error().text();
  };
  EXPECT_EQ(sized("t", "unknown(t)"), "[t]");
  EXPECT_EQ(sized("t", "t*" + std::string(5000, '1')), "[t]");
  EXPECT_THAT(sized("unknown(t)", "t"), HasSubstr("input 'x' has a size that is not read: "));
}

TEST(ExportedProgram, stops_where_guards_multiply_beyond_all_sizes) {
  std::string guards;
  for (const int prime : {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61})
    guards += fmt::format(R"g({}"L['x'].size()[1] % {} == 0")g", guards.empty() ? "" : ", ", prime);
  EXPECT_THAT(shape_with(guards), HasSubstr("[b, 870870*t_over_870870]"));
}

TEST(ExportedProgram, takes_nothing_from_guards_that_say_nothing_or_too_much) {
  for (const char* guard : {"L['x'].size()[1] // 2 == 0", "L['x'].size()[9] % 2 == 0", "L['y'].size()[1] % 2 == 0",
                            "L['x' == 0", "L['x'].size()[1] % 0 == 0", " == ", "L['x'].size()[1] % 9999999 == 0",
                            "L['x'].size()[1] % L['x'].size()[0] == 0"})
    EXPECT_EQ(shape_with(fmt::format(R"("{}")", guard)), "[b, t]") << guard;
}

TEST(ExportedProgram, sets_frozen_sizes_free_where_reshapes_keep_them) {
  EXPECT_EQ(freed(sizes({1, 77, 512}), "1, 77, 8, 64", {1}), "[1, x_1, 8, 64]");
  EXPECT_EQ(freed(sizes({1, 77, 512}), "1, 77, -1", {1}), "[1, x_1, 512]");
  EXPECT_EQ(freed(sizes({2, 77, 512}), "154, 512", {1}), shape_text({2 * Dim::symbol("x_1"), 512}));
  EXPECT_EQ(freed(sizes({3, 77, 8}), "231, 8", {0, 1}), shape_text({Dim::symbol("x_0") * Dim::symbol("x_1"), 8}));
  EXPECT_EQ(freed(sizes({3, 8, 8}), "3, 8, 2, 4", {1}), "[3, x_1, 2, 4]");
}

TEST(ExportedProgram, takes_freed_sizes_in_multiples_that_fit) {
  EXPECT_EQ(freed(sizes({3, 8, 5}), "3, 2, 4, 5", {1}), "[3, 2, x_1_over_2, 5]");
  EXPECT_EQ(freed(sizes({2, 10}), "2, 5, 2", {0, 1}), "[x_0, x_1_over_2, 2]");
  EXPECT_THAT(freed(sizes({3, 7, 4}), "3, 28, 1, 1", {0}), HasSubstr("[x_0, 28, 1, 1]"));
  EXPECT_THAT(freed(sizes({5, 7}), "35, 1, 1", {1}), HasSubstr("x_1"));
}

// What attention does to steps, batch and features.
TEST(ExportedProgram, sets_a_batch_of_one_free_where_reshapes_join_it) {
  const Dim steps = Dim::symbol("x_0"), batch = Dim::symbol("x_1");
  EXPECT_EQ(freed(sizes({10, 1, 16}), "10, 16", {1}), shape_text({10 * batch, 16}));
  EXPECT_EQ(freed(sizes({10, 1, 16}), "10, 4, 4", {1}), shape_text({10, 4 * batch, 4}));
  EXPECT_EQ(freed(sizes({10, 1, 16}), "10, 16", {0, 1}), shape_text({steps * batch, 16}));
  EXPECT_EQ(freed(sizes({10, 1, 16}), "10, 4, 4", {0, 1}), shape_text({steps, 4 * batch, 4}));
  EXPECT_EQ(freed(sizes({10, 1, 16}), "10, 1, 2, 8", {0, 1}), shape_text({steps, batch, 2, 8}));
  EXPECT_EQ(freed(sizes({1, 10, 16}), "1, 1, 10, 16", {0}), "[x_0, 1, 10, 16]");
  EXPECT_EQ(freed(sizes({1, 10, 16}), "160", {0}), shape_text({160 * steps}));
  EXPECT_EQ(freed(sizes({1, 1, 5}), "1, 1, 5", {1}), "[1, x_1, 5]");
}

TEST(ExportedProgram, sets_products_of_freed_sizes_free) {
  const auto joined_and_parted = [](const std::string& from, const std::string& joined, const std::string& to) {
    const std::string nodes =
        node("torch.ops.aten.view.default", view_of(joined), "flat") + "," +
        node("torch.ops.aten.view.default",
             tensor("self", "flat") + R"(, {"name": "size", "arg": {"as_ints": [)" + to + "]}}", "out");
    const auto program = import_text(program_of(nodes, "\"x\": " + tensor_meta(from)), {.dynamic = {{"x", {0, 1}}}});
    return program ? shape_text(program->graph.outputs()[0].value->type.shape) : program.error().text();
  };
  EXPECT_EQ(joined_and_parted(sizes({10, 2, 16}), "20, 16", "10, 2, 16"), "[x_0, x_1, 16]");
  EXPECT_EQ(joined_and_parted(sizes({10, 1, 16}), "10, 16", "10, 1, 16"), "[x_0, x_1, 16]");
  EXPECT_EQ(joined_and_parted(sizes({10, 1, 16}), "10, 4, 4", "10, 16"),
            shape_text({Dim::symbol("x_0") * Dim::symbol("x_1"), 16}));
}

// The shape of x [2, steps, 6], with two steps more behind, viewed as `to`, where the number of steps is freed.
std::string parted_into_blocks(std::int64_t steps, const std::string& to) {
  const std::string nodes =
      node("torch.ops.aten.constant_pad_nd.default",
           tensor("self", "x") + R"(, {"name": "pad", "arg": {"as_ints": [0, 0, 0, 2]}})", "p") +
      "," +
      node("torch.ops.aten.view.default",
           tensor("self", "p") + R"(, {"name": "size", "arg": {"as_ints": [)" + to + "]}}", "out");
  const auto program =
      import_text(program_of(nodes, "\"x\": " + tensor_meta(sizes({2, steps, 6}))), {.dynamic = {{"x", {1}}}});
  return program ? shape_text(program->graph.outputs()[0].value->type.shape) : program.error().text();
}

// Blocks of 4 of what Python padded to a multiple of 4.
TEST(ExportedProgram, takes_what_fills_blocks_for_the_padding_that_fits) {
  const auto blocks = [](const std::string& to) { return parted_into_blocks(14, to); };
  EXPECT_EQ(blocks("2, 4, 4, 6"), "[2, floor_div(x_1 + 3, 4), 4, 6]");
  EXPECT_EQ(blocks("2, 2, 8, 6"), "[2, floor_div(x_1 + 7, 8), 8, 6]");
}

// 4 blocks of 8, not 8 of 4; neither where the blocks are joined to the batch, nor where the features are to them.
TEST(ExportedProgram, takes_the_number_of_blocks_from_the_front) {
  const auto blocks = [](const std::string& to) { return parted_into_blocks(30, to); };
  EXPECT_EQ(blocks("2, 4, 8, 6"), "[2, floor_div(x_1 + 7, 8), 8, 6]");
  EXPECT_EQ(blocks("8, 8, 6"), "[2*floor_div(x_1 + 7, 8), 8, 6]");
  EXPECT_EQ(blocks("2, 4, 48"), "[2, floor_div(x_1 + 7, 8), 48]");
  EXPECT_EQ(blocks("2, 4, 2, 4, 6"), "[2, floor_div(x_1 + 7, 8), 2, 4, 6]");
}

TEST(ExportedProgram, tells_of_equal_axes_which_one_is_taken_to_vary) {
  const auto split = [](std::int64_t axis, const std::string& from, const std::string& to) {
    const auto program =
        import_text(program_of(node("torch.ops.aten.view.default", view_of(to), "out"), "\"x\": " + tensor_meta(from)),
                    {.dynamic = {{"x", {axis}}}});
    if (!program) return program.error().text();
    std::string told = shape_text(program->graph.outputs()[0].value->type.shape);
    for (const auto& [symbol, size] : program->freed)
      for (const std::string& note : size.kept_numbers) told += "; " + note;
    return told;
  };
  const auto told = [](int axis) {
    return "; an axis of the freed size '4*x_1_over_4' is split into [4, 4], of which axis " + std::to_string(axis) +
           " is taken to vary: several were as large";
  };
  EXPECT_EQ(split(1, sizes({2, 16}), "2, 4, 4"), "[2, x_1_over_4, 4]" + told(0));
  EXPECT_EQ(split(1, sizes({2, 16}), "2, 4, -1"), "[2, 4, x_1_over_4]" + told(1));
  EXPECT_EQ(split(1, sizes({2, 24}), "2, 6, 4"), "[2, x_1_over_4, 4]");
  EXPECT_EQ(split(0, sizes({16, 3}), "4, 4, 3"), "[x_0_over_4, 4, 3]");  // a batch comes first
}

// Numbers that Python's arithmetic may have made of a size are told even where a proof shows the file right as it is.
TEST(ExportedProgram, tells_of_numbers_beside_freed_sizes) {
  const auto told = [](const std::string& op, const std::string& parameter, int number) {
    const std::string call = node("torch.ops.aten." + op,
                                  tensor("self", "x") + R"(, {"name": ")" + parameter + R"(", "arg": {"as_int": )" +
                                      std::to_string(number) + "}}",
                                  "out");
    const auto program =
        import_text(program_of(call, "\"x\": " + tensor_meta(sizes({2, 3, 16}))), {.dynamic = {{"x", {2}}}});
    if (!program) return program.error().text();
    std::string all;
    for (const std::string& note : program->freed.at("x_2").kept_numbers) all += note;
    return all;
  };
  EXPECT_EQ(told("div.Tensor", "other", 8),
            "a literal 8 of div stays as it is, though it may be half of the freed size 'x_2' (16)");
  EXPECT_EQ(told("mul.Tensor", "other", 15),
            "a literal 15 of mul stays as it is, though it may be one less than the freed size 'x_2' (16)");
  EXPECT_THAT(told("tril.default", "diagonal", -8), HasSubstr("half of the freed size 'x_2'"));
  EXPECT_EQ(told("mul.Tensor", "other", 7), "");
  EXPECT_EQ(told("tril.default", "diagonal", 15), "");
}

// 8 beside 7 is a number of its own, unless the program needs it to be one more: a mask of 7 steps by 8 that is cut
// to 7.
TEST(ExportedProgram, takes_one_more_beside_a_freed_size_for_a_mask_of_steps_where_it_must) {
  const std::string full = node("torch.ops.aten.full.default",
                                R"({"name": "size", "arg": {"as_ints": [7, 8]}},
                                   {"name": "fill_value", "arg": {"as_float": 1.0}})",
                                "m");
  const auto shape = [&](std::int64_t axis, const std::string& nodes, const std::string& tensors) {
    const auto program = import_text(program_of(full + "," + nodes, tensors), {.dynamic = {{"x", {axis}}}});
    return program ? shape_text(program->graph.outputs()[0].value->type.shape) : program.error().text();
  };
  const auto x_of = [](const std::string& sizes) { return "\"x\": " + tensor_meta(sizes); };
  const std::string relu = node("torch.ops.aten.relu.default", tensor("self", "m"), "out");
  EXPECT_EQ(shape(1, relu, x_of(sizes({2, 7}))), "[x_1, 8]");
  EXPECT_EQ(shape(0, relu, x_of(sizes({7, 2}))), "[x_0, 8]");  // as many states of a batch
  const std::string slice =
      node("torch.ops.aten.slice.Tensor", tensor("self", "m") + R"(, {"name": "dim", "arg": {"as_int": 1}},
                                     {"name": "start", "arg": {"as_int": 0}}, {"name": "end", "arg": {"as_int": 7}})",
           "s");
  const std::string add = node("torch.ops.aten.add.Tensor", tensor("self", "x") + "," + tensor("other", "s"), "out");
  EXPECT_EQ(shape(1, slice + "," + add, x_of(sizes({1, 7}))), "[x_1, x_1]");
}

TEST(ExportedProgram, keeps_numbers_that_may_be_half_of_a_freed_size_apart) {
  const std::string nodes =
      node("torch.ops.aten.roll.default", tensor("self", "x") + R"(, {"name": "shifts", "arg": {"as_ints": [7]}},
                                {"name": "dims", "arg": {"as_ints": [1]}})",
           "out");
  const auto program =
      import_text(program_of(nodes, "\"x\": " + tensor_meta(sizes({2, 14}))), {.dynamic = {{"x", {1}}}});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->freed.at("x_1").halves,
              ElementsAre("a literal 7 of roll along an axis of the freed size 'x_1' may be half of it (14)"));
}

TEST(ExportedProgram, says_what_is_open_already) {
  const auto program = import_fixture("program.pt2", {.dynamic = {{"x", {0}}}});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_TRUE(program->freed.empty());
  EXPECT_THAT(program->assumptions,
              testing::Contains(AllOf(HasSubstr("axis 0 of input 'x' is open already, --dynamic changes nothing"),
                                      HasSubstr(", 1 or more, at most 64"))));
}

std::string entry_of(const std::string& value, int index, const std::string& output) {
  return node("torch.ops.aten.select.int",
              tensor("self", value) +
                  R"(, {"name": "dim", "arg": {"as_int": 1}}, {"name": "index", "arg": {"as_int": )" +
                  std::to_string(index) + "}}",
              output);
}
std::string sum_of(const std::string& a, const std::string& b, const std::string& output) {
  return node("torch.ops.aten.add.Tensor", tensor("self", a) + ", " + tensor("other", b), output);
}

TEST(ExportedProgram, refuses_to_free_what_an_unrolled_loop_runs_over) {
  const ProgramOptions free = {.dynamic = {{"x", {1}}}};
  const std::string x = "\"x\": " + tensor_meta(sizes({2, 3, 5}));
  const std::string steps = entry_of("x", 0, "a") + "," + entry_of("x", 1, "b") + "," + sum_of("a", "b", "ab") + ",";
  const std::string all = steps + entry_of("x", 2, "c") + "," + sum_of("ab", "c", "out");
  ASSERT_TRUE(import_text(program_of(all, x)));
  const auto loop = import_text(program_of(all, x), free);
  ASSERT_FALSE(loop);
  EXPECT_THAT(loop.error().text(), HasSubstr("all 3 entries of an axis of the freed size 'x_1'"));
  EXPECT_THAT(loop.error().text(), HasSubstr("line 7 of net.py"));
  // From the end, the last one is the last at each size.
  const auto last = import_text(program_of(steps + entry_of("x", -1, "c") + "," + sum_of("ab", "c", "out"), x), free);
  EXPECT_TRUE(last) << last.error().text();
  const auto entries = import_text(
      program_of(
          node("torch.ops.aten.unbind.int", tensor("self", "x") + R"(, {"name": "dim", "arg": {"as_int": 1}})", "out"),
          x),
      free);
  ASSERT_FALSE(entries);
  EXPECT_THAT(entries.error().text(), HasSubstr("the freed size 'x_1'"));
}

TEST(ExportedProgram, notes_what_it_decides_of_freed_sizes) {
  const std::string half =
      node("torch.ops.aten.slice.Tensor", tensor("self", "x") + R"(, {"name": "dim", "arg": {"as_int": 1}},
                                {"name": "start", "arg": {"as_int": 0}}, {"name": "end", "arg": {"as_int": 5}})",
           "out");
  const auto program =
      import_text(program_of(half, "\"x\": " + tensor_meta(sizes({2, 10}))), {.dynamic = {{"x", {1}}}});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->freed.at("x_1").size, 10);
  EXPECT_THAT(program->freed.at("x_1").notes,
              ElementsAre("a literal 5 of slice stays as it is, though it may come of the freed size 'x_1'"));
}

TEST(ExportedProgram, keeps_freed_sizes_beyond_the_starts_of_slices) {
  const std::string rest =
      node("torch.ops.aten.slice.Tensor", tensor("self", "x") + R"(, {"name": "dim", "arg": {"as_int": 1}},
                                {"name": "start", "arg": {"as_int": 12}}, {"name": "end", "arg": {"as_int": 16}})",
           "out");
  const auto program =
      import_text(program_of(rest, "\"x\": " + tensor_meta(sizes({2, 16}))), {.dynamic = {{"x", {1}}}});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->symbols.at("x_1").least, 13);
  EXPECT_THAT(program->freed.at("x_1").notes,
              testing::Contains("the freed size 'x_1' is 13 or more: slice starts at 12 along it"));
}

TEST(ExportedProgram, tells_of_inputs_and_outputs_of_other_floats) {
  const std::string meta = R"({"dtype": 8, "sizes": [)" + sizes({3}) + "]}";
  const std::string square =
      node("torch.ops.aten.mul.Tensor", tensor("self", "x") + ", " + tensor("other", "x"), "out");
  const auto program = import_text(program_of(square, "\"x\": " + meta + ", \"out\": " + meta));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->assumptions, ElementsAre("input 'x' is float64 in the program and float32 in the files",
                                                "output 'output' is float64 in the program and float32 in the files"));
}

}  // namespace
}  // namespace taper
