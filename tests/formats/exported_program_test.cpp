#include "formats/exported_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "builders.h"
#include "formats/exported_json.h"
#include "formats/size_condition.h"
#include "formats/size_expression.h"
#include "formats/text.h"
#include "formats/zip.h"

namespace taper::exported {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Expected<Program> read_fixture(const std::string& name) {
  TAPER_ASSIGN(const SharedBytes bytes, map_file(std::string(TAPER_SOURCE_DIR "/tests/fixtures/exported/") + name));
  return read_exported_program(bytes);
}

class Layouts : public testing::TestWithParam<const char*> {};

TEST_P(Layouts, hold_the_same_program) {
  const auto program = read_fixture(GetParam());
  ASSERT_TRUE(program) << program.error().text();
  ASSERT_EQ(program->inputs.size(), 10);
  EXPECT_EQ(program->inputs[1].kind, InputKind::parameter);
  EXPECT_EQ(program->inputs[1].target, "enter.weight");
  EXPECT_EQ(program->inputs[6].kind, InputKind::buffer);
  EXPECT_EQ(program->inputs[8].argument.as<ValueName>()->name, "x");
  EXPECT_THAT(program->output_names, ElementsAre("pairs", "more_0", "more_1"));
  const TensorMeta& x = program->graph.tensors.at("x");
  EXPECT_EQ(x.dtype, DType::f32);
  EXPECT_EQ(shape_text(x.sizes), shape_text({x.sizes[0], 4}));
  ASSERT_TRUE(x.sizes[0].as_symbol());
  const SymbolInfo& rows = program->symbols.at(*x.sizes[0].as_symbol());
  EXPECT_EQ(rows.least, 1);
  EXPECT_EQ(rows.most, 64);
  EXPECT_EQ(rows.usual, 3);
  EXPECT_EQ(program->graph.tensors.at("view").sizes, (Shape{2 * x.sizes[0], 3}));
}

TEST_P(Layouts, share_tied_weights_and_keep_strides) {
  const auto program = read_fixture(GetParam());
  ASSERT_TRUE(program) << program.error().text();
  const Tensor& weight = program->weights.at("enter.weight");
  EXPECT_EQ(weight.storage.view.data(), program->weights.at("tied.weight").storage.view.data());
  const Tensor& turned = program->weights.at("turned");
  EXPECT_THAT(turned.strides, ElementsAre(1, 4));
  EXPECT_FLOAT_EQ(static_cast<float>(to_double(turned)[1]), 0.4F);
  EXPECT_EQ(program->weights.at("scale").dtype, DType::f16);
}

TEST_P(Layouts, tell_infinities_modules_and_lines) {
  const auto program = read_fixture(GetParam());
  ASSERT_TRUE(program) << program.error().text();
  bool infinite = false;
  std::vector<std::string> paths;
  for (const Node& node : program->graph.nodes) {
    if (node.target == "torch.ops.aten.relu.default") {
      paths.push_back(node.module_path);
      EXPECT_THAT(node.source_line, HasSubstr(" of make_exported.py"));
    }
    for (const NamedArgument& input : node.inputs)
      if (const double* real = input.value.as<double>()) infinite = infinite || *real < -1e300;
  }
  EXPECT_THAT(paths, ElementsAre("inner.1", ""));  // the second is called by the outermost module itself
  EXPECT_TRUE(infinite);
  EXPECT_THAT(paths, ElementsAre("inner.1", ""));  // the second is a call of the outermost module
}

INSTANTIATE_TEST_SUITE_P(ExportedProgram, Layouts,
                         testing::Values("program.pt2", "program_2_8.pt2", "program_2_5.pt2"));

// ---- programs by hand

std::string error_of(const std::string& file) {
  const auto program = read_exported_program(shared(file));
  return program ? "" : program.error().text();
}

// A program of one input, one relu and one output; `marks` are replaced in its JSON.
std::string program_json(const std::vector<std::pair<std::string, std::string>>& marks = {}) {
  std::string json = R"({"schema_version": {"major": 8, "minor": 20}, "range_constraints": {}, "graph_module": {
    "module_call_graph": [], "signature": {
      "input_specs": [{"parameter": {"arg": {"name": "w"}, "parameter_name": "w"}},
                      {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}],
      "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}]},
    "graph": {"inputs": [{"as_tensor": {"name": "w"}}, {"as_tensor": {"name": "x"}}],
      "outputs": [{"as_tensor": {"name": "y"}}], "sym_int_values": {},
      "tensor_values": {"x": {"dtype": 7, "sizes": [{"as_int": 2}]}},
      "nodes": [{"target": "torch.ops.aten.relu.default", "outputs": [{"as_tensor": {"name": "y"}}],
                 "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}}]}]}}})";
  for (const auto& [from, to] : marks) {
    const std::size_t at = json.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    json.replace(at, from.size(), to);
  }
  return json;
}

std::string config(const std::string& meta) {
  return R"({"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta": )" + meta +
         "}}}";
}
constexpr const char* kPair =
    R"({"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7})";

std::string archive(const std::string& json, const std::string& meta = kPair, const std::string& data = little(0, 8)) {
  return zip_file({stored("a/models/model.json", json),
                   stored("a/data/weights/model_weights_config.json", config(meta)),
                   stored("a/data/constants/model_constants_config.json", R"({"config": {}})"),
                   stored("a/data/weights/weight_0", data)});
}

TEST(ExportedProgram, reads_a_program_by_hand) {
  const auto program = read_exported_program(shared(archive(program_json())));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.nodes.size(), 1);
  EXPECT_THAT(program->output_names, ElementsAre("output"));
}

// PyTorch 2.6 and 2.7: the flat archive of 2.5 with the schema of 2.8.
TEST(ExportedProgram, reads_the_flat_archive_with_the_newer_schema) {
  const auto entry = [](const std::string& file, const std::string& name) -> std::string {
    const auto bytes = map_file(std::string(TAPER_SOURCE_DIR "/tests/fixtures/exported/") + file);
    const auto zip = open_zip(*bytes);
    const auto data = zip->read(*zip->find(name));
    return std::string(as_text(data->view));
  };
  const std::string file =
      zip_file({stored("version", "8.2"),
                stored("serialized_exported_program.json", entry("program.pt2", "program/models/model.json")),
                stored("serialized_state_dict.pt", entry("program_2_5.pt2", "serialized_state_dict.pt")),
                stored("serialized_constants.pt", entry("program_2_5.pt2", "serialized_constants.pt")),
                stored("serialized_example_inputs.pt", "")});
  EXPECT_TRUE(is_exported_program(shared(file)));
  const auto program = read_exported_program(shared(file));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->inputs.size(), 10);
  EXPECT_THAT(program->weights.at("turned").strides, ElementsAre(1, 4));
}

TEST(ExportedProgram, reads_views_of_one_entry_of_a_big_endian_machine) {
  const auto payload = [](const std::string& meta) {
    return R"({"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta": )" + meta + "}";
  };
  const std::string every_second = R"({"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 2}],
                                       "storage_offset": {"as_int": 1}, "layout": 7})";
  const std::string both = R"({"config": {"w": )" + payload(every_second) + R"(, "v": )" + payload(kPair) + "}}";
  std::string data;  // 1, 2, 3, 4
  for (const auto& [first, second] : {std::pair{'\x3f', '\x80'}, {'\x40', '\x00'}, {'\x40', '\x40'}, {'\x40', '\x80'}})
    data += {first, second, '\0', '\0'};
  const std::string file = zip_file({stored("a/byteorder", "big"), stored("a/models/model.json", program_json()),
                                     stored("a/data/weights/model_weights_config.json", both),
                                     stored("a/data/constants/model_constants_config.json", R"({"config": {}})"),
                                     stored("a/data/weights/weight_0", data)});
  const auto program = read_exported_program(shared(file));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(to_double(program->weights.at("w")), ElementsAre(2, 4));
  EXPECT_THAT(to_double(program->weights.at("v")), ElementsAre(1, 2));
}

TEST(ExportedProgram, refuses_other_schemas_and_says_which_it_reads) {
  EXPECT_THAT(error_of(archive(program_json({{"\"major\": 8", "\"major\": 9"}}))),
              HasSubstr("schema 9.20, expected 7 or 8"));
  EXPECT_THAT(error_of(archive(program_json({{"\"major\": 8", "\"major\": 5"}}))), HasSubstr("schema 5.20"));
}

TEST(ExportedProgram, refuses_kinds_of_arguments_that_it_does_not_know) {
  EXPECT_THAT(error_of(archive(program_json(
                  {{"\"arg\": {\"as_tensor\": {\"name\": \"x\"}}}]}]", "\"arg\": {\"as_wish\": 1}}]}]"}}))),
              HasSubstr("arguments of kind 'as_wish' are unknown"));
}

TEST(ExportedProgram, refuses_weights_outside_of_their_bytes) {
  EXPECT_THAT(error_of(archive(program_json(), kPair, little(0, 4))), HasSubstr("in weight 'w'"));
  const std::string far = R"({"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 4611686018427387904}],
                              "storage_offset": {"as_int": 0}, "layout": 7})";
  EXPECT_THAT(error_of(archive(program_json(), far)), HasSubstr("in weight 'w'"));
  const std::string before = R"({"dtype": 7, "sizes": [{"as_int": 2}], "strides": [{"as_int": 1}],
                                 "storage_offset": {"as_int": -1}, "layout": 7})";
  EXPECT_THAT(error_of(archive(program_json(), before)), HasSubstr("its offset is -1"));
}

TEST(ExportedProgram, refuses_graphs_nested_too_deep) {
  std::string graph = R"({"inputs": [], "outputs": [], "nodes": [], "sym_int_values": {}, "tensor_values": {}})";
  for (int i = 0; i < 40; ++i)
    graph = R"({"inputs": [], "outputs": [{"as_graph": {"name": "g", "graph": )" + graph +
            R"(}}], "nodes": [], "sym_int_values": {}, "tensor_values": {}})";
  const std::string json = R"({"schema_version": {"major": 8, "minor": 1}, "graph_module": {"graph": )" + graph + "}}";
  EXPECT_THAT(error_of(archive(json)), HasSubstr("graphs are nested more than"));
}

TEST(ExportedProgram, tells_what_an_archive_without_one_program_is) {
  EXPECT_THAT(error_of(zip_file({stored("a/data/aotinductor/model/x.so", "x")})), HasSubstr("AOTInductor"));
  EXPECT_THAT(error_of(zip_file({stored("a/models/one.json", "{}"), stored("a/models/two.json", "{}")})),
              HasSubstr("2 programs ('a/models/one.json', 'a/models/two.json', ...)"));
  EXPECT_THAT(error_of(archive("{")), HasSubstr("not valid JSON"));
}

TEST(ExportedProgram, names_outputs_by_the_tree_of_the_call) {
  const auto leaf = std::string(R"({"type": null, "context": null, "children_spec": []})");
  const auto node = [](const std::string& type, const std::string& context, const std::string& children) {
    return R"({"type": ")" + type + R"(", "context": ")" + context + R"(", "children_spec": [)" + children + "]}";
  };
  const auto names = [](const std::string& tree) {
    return leaf_names("[1, " + tree + "]", {{"a.Pair", {"left", "right"}}}).value_or(std::vector<std::string>{"?"});
  };
  EXPECT_THAT(names(leaf), ElementsAre("output"));
  EXPECT_THAT(names(node("builtins.tuple", "null", leaf + "," + leaf)), ElementsAre("output", "output_1"));
  const std::string keys = R"([\"logits\", \"hidden states\"])";
  const std::string list = node("builtins.list", "null", leaf + "," + leaf);
  EXPECT_THAT(names(node("builtins.dict", keys, leaf + "," + list)),
              ElementsAre("logits", "hidden_states_0", "hidden_states_1"));
  EXPECT_THAT(names(node("collections.namedtuple", R"(\"a.Pair\")", leaf + "," + leaf)), ElementsAre("left", "right"));
  EXPECT_THAT(names(node("a.Output", R"([[\"a\", \"a\"], []])", leaf + "," + leaf)), ElementsAre("a", "a_1"));
  std::string deep = leaf;
  for (int i = 0; i < 100; ++i) deep = node("builtins.tuple", "null", deep);
  EXPECT_THAT(names(deep), ElementsAre("?"));
}

TEST(SizeExpression, reads_constructors_and_operators_alike) {
  const auto text = [](std::string_view expression) {
    const auto size = parse_size_expression(expression);
    return size ? size->text() : size.error().message;
  };
  EXPECT_EQ(text("Symbol('s77', positive=True, integer=True)"), "s77");
  EXPECT_EQ(text("Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(-1))"), Dim::parse("2*s0 - 1")->text());
  EXPECT_EQ(text("2*s0 - 1"), Dim::parse("2*s0 - 1")->text());
  EXPECT_EQ(text("FloorDiv(Add(Symbol('s0'), Integer(1)), Integer(2))"), Dim::parse("floor_div(s0 + 1, 2)")->text());
  EXPECT_EQ(text("(s0 + 1)//2"), Dim::parse("floor_div(s0 + 1, 2)")->text());
  EXPECT_EQ(text("floor(Mul(Rational(1, 2), Symbol('s0')))"), Dim::parse("floor_div(s0, 2)")->text());
  EXPECT_EQ(text("CeilToInt(IntTrueDiv(s0, 4))"), ceil_divide(Dim::symbol("s0"), 4).text());
  EXPECT_EQ(text("Max(1, s0, s1)"), dim_max(dim_max(1, Dim::symbol("s0")), Dim::symbol("s1")).text());
  EXPECT_EQ(text("Mod(s0, 4)"), floor_remainder(Dim::symbol("s0"), 4).text());
  EXPECT_EQ(text("s0**2"), "s0*s0");
  EXPECT_EQ(text("Pow(Symbol('s0'), Integer(2))"), "s0*s0");
  EXPECT_EQ(text("TruncToInt(Mul(Float('0.69999999999999996', precision=53), ToFloat(Symbol('s0', positive=True))))"),
            Dim::parse("floor_div(7*s0, 10)")->text());
  EXPECT_EQ(text("TruncToInt(1.5*ToFloat(s0))"), Dim::parse("floor_div(3*s0, 2)")->text());
  EXPECT_EQ(text("TruncToInt(2.0*ToFloat(s0))"), "2*s0");
  EXPECT_EQ(text("CeilToInt(FloatTrueDiv(ToFloat(Mul(Integer(-1), Integer(2), s0)), Float('-1.0', precision=53)))"),
            "2*s0");
  EXPECT_EQ(text("CeilToInt(FloatTrueDiv(ToFloat(s0), 0.5))"), "2*s0");
  EXPECT_EQ(text("CeilToInt(FloatTrueDiv(ToFloat(s0 - 1), Float('-2.5')))"),
            ceil_divide(Dim::parse("2 - 2*s0").value(), 5).text());
  EXPECT_EQ(text("ModularIndexing(s0, 2, 3)"), floor_remainder(floor_divide(Dim::symbol("s0"), 2), 3).text());
}

TEST(SizeExpression, reads_functions_of_python) {
  EXPECT_EQ(parse_size_expression("max(1, s0)")->text(), dim_max(1, Dim::symbol("s0")).text());
  EXPECT_EQ(parse_size_expression("2*math.ceil( (1 + s0) / 2)")->text(),
            (ceil_divide(Dim::parse("s0 + 1").value(), 2) * Dim(2)).text());
  for (const char* text : {"math.sin(s0)", "(math.)", "math.", "math.(s0)", "math.floor", "math. floor + s0"})
    EXPECT_FALSE(parse_size_expression(text)) << text;
}

// Whether it holds for these sizes: "yes", "no", "unknown", or "unread".
std::string held(std::string_view text, std::vector<std::int64_t> sizes) {
  const auto condition = SizeCondition::parse(text);
  if (!condition || condition->symbols().size() > sizes.size()) return "unread";
  std::vector<SizeCondition::Span> spans;
  for (const std::int64_t size : sizes) spans.push_back({static_cast<double>(size), static_cast<double>(size)});
  const auto holds = condition->holds(spans);
  return !holds ? "unknown" : *holds ? "yes" : "no";
}

TEST(SizeCondition, is_what_python_says) {
  EXPECT_EQ(held("(s0 // 8)*(s1 // 8) != 16", {32, 33}), "no");
  EXPECT_EQ(held("(s0 // 8)*(s1 // 8) != 16", {32, 48}), "yes");
  EXPECT_EQ(held("((-1)*(s0 % 4)) % 4 == 3", {5}), "yes");
  EXPECT_EQ(held("-s0 // 2 < -3", {7}), "yes");
  EXPECT_EQ(held("-7 // s0 == -4", {2}), "yes");
  EXPECT_EQ(held("2*math.ceil((1 + s0) / 2) >= 8", {6}), "yes");
  EXPECT_EQ(held("2*math.ceil((1 + s0) / 2) > 8", {6}), "no");
  EXPECT_EQ(held("max(1, s0, 3) <= min(s0, 4)", {4}), "yes");
  EXPECT_EQ(held("1 < s0 <= 4 < s1", {4, 5}), "yes");
  EXPECT_EQ(held("1 < s0 <= 4 < s1", {5, 6}), "no");
  EXPECT_EQ(held("s0 < 2 or s0 > 7 and not s0 == 9", {9}), "no");
  EXPECT_EQ(held("s0 < 2 or s0 > 7 and not s0 == 9", {8}), "yes");
  EXPECT_EQ(held("not (s0 < 2 or s0 > 7)", {5}), "yes");
  EXPECT_EQ(held("floor_div(s0 + 1, 2) == 3", {5}), "yes");
  EXPECT_EQ(held("math.trunc(0.5*torch.sym_float(s0)) == 100", {201}), "yes");
  EXPECT_EQ(held("math.trunc(0.5*torch.sym_float(s0)) == 100", {202}), "no");
  EXPECT_EQ(held("abs(s0 - s1) <= 2", {20, 23}), "no");
  EXPECT_EQ(held("(s0 % -7) >= -6", {8}), "yes");
  EXPECT_EQ(held("(0 < (0 < s0 < 9) < 9)", {8}), "yes");
}

// For all sizes from 8 on, with s1 from 1 to 4.
TEST(SizeCondition, is_known_of_all_sizes) {
  const auto held = [](std::string_view text) -> std::string {
    const std::vector<SizeCondition::Span> sizes = {{8, std::numeric_limits<double>::infinity()}, {1, 4}};
    const auto condition = SizeCondition::parse("s0 == s0 and s1 == s1 or " + std::string(text));
    if (!condition) return "unread";
    const auto alone = SizeCondition::parse(text);
    std::vector<SizeCondition::Span> own;
    for (const std::string& symbol : alone->symbols()) own.push_back(sizes[symbol == "s0" ? 0 : 1]);
    const auto holds = alone->holds(own);
    return !holds ? "some" : *holds ? "all" : "none";
  };
  EXPECT_EQ(held("s0 // 3 >= 2"), "all");
  EXPECT_EQ(held("s0*s1 > 7"), "all");
  EXPECT_EQ(held("s0*s1 > 8"), "some");
  EXPECT_EQ(held("-s0 + s1 < -3"), "all");
  EXPECT_EQ(held("s0 % 10 > 10"), "none");
  EXPECT_EQ(held("s0 % 10 > 0"), "some");
  EXPECT_EQ(held("s1 // s0 == 0"), "all");
  EXPECT_EQ(held("s0 / (s1 - 2) != 0"), "some");
  EXPECT_EQ(held("not max(s0, s1) <= 7 and min(s0, s1) < 5"), "all");
  EXPECT_EQ(held("s0 < 8 or s1 > 4"), "none");
  EXPECT_EQ(held("math.ceil(0.3*s0) < 3"), "none");
}

TEST(SizeCondition, knows_what_is_equal) {
  const auto sides = [](std::string_view text) -> std::string {
    const auto condition = SizeCondition::parse(text);
    if (!condition) return "unread";
    return condition->equal_sides() ? condition->equal_sides()->first + "=" + condition->equal_sides()->second : "";
  };
  EXPECT_EQ(sides("s0 == 2*s1"), "s0 = 2*s1");
  EXPECT_EQ(sides("(s0 % 10) <= 0"), "(s0 % 10) = 0");
  EXPECT_EQ(sides("((1 + s0) % 10) <= 0"), "((1 + s0) % 10) = 0");
  EXPECT_EQ(sides("((s0 == 4))"), "s0 = 4");
  for (const char* text : {"s0 <= 64 and s1 == 4", "1 < s0 == 4", "not s0 == 4", "s0 % 10 <= 1", "s0 % s1 <= 0",
                           "(s0 / 3) % 2 < 1", "s0 % 10 - 1 <= 0", "0.5*s0 == 3", "s0 % (-10) <= 0"})
    EXPECT_EQ(sides(text), "") << text;
}

TEST(SizeCondition, says_where_nothing_is_known) {
  EXPECT_EQ(held("4 // (s0 - s0) == 1", {3}), "unknown");
  EXPECT_EQ(held("s0 + 1 == s0", {std::int64_t{1} << 60}), "unknown");
  EXPECT_EQ(held("0.1*s0 <= 0.3", {3}), "unknown");  // as Python rounds it
  for (const char* text :
       {"", "s0", "s0 + 1", "s0 <", "(s0 < 1", "s0 < 1)", "s0 ** 2 < 3", "f(s0) < 3", "s0.x < 1", "s0 < 1.5.2",
        "s0 < 1.5e3", "max() < s0", "s0 < 99999999999999999999", "s0 not < 1", "s0 if s0 < 1"})
    EXPECT_EQ(held(text, {3}), "unread") << text;
  EXPECT_EQ(held(std::string(100, '(') + "s0 < 1" + std::string(100, ')'), {3}), "unread");
  EXPECT_EQ(held(std::string(9000, ' ') + "s0 < 1", {3}), "unread");
  std::string chain = "s0", sum = "s0";
  for (int i = 0; i < 40; ++i) chain = "(0 < " + chain + " < 9)";
  for (int i = 1; i < 300; ++i) sum += fmt::format("+s{}", i);
  EXPECT_EQ(held(chain, {3}), "unread");
  EXPECT_EQ(held(sum + " > 0", std::vector<std::int64_t>(300, 1)), "unread");
}

TEST(SizeExpression, refuses_what_is_no_size) {
  const auto error = [](const std::string& expression) {
    const auto size = parse_size_expression(expression);
    return size ? "" : size.error().message;
  };
  EXPECT_THAT(error("s0/2"), HasSubstr("is a fraction"));
  EXPECT_THAT(error("s0//0"), HasSubstr("divides by 0"));
  EXPECT_THAT(error("9223372036854775807*4"), HasSubstr("too large"));
  EXPECT_THAT(error("system(1)"), HasSubstr("calls system with 1"));
  EXPECT_THAT(error("TruncToInt(3.14159265358979*s0)"), HasSubstr("no simple fraction"));
  EXPECT_THAT(error("Float('1.5"), HasSubstr("can't be read"));
  EXPECT_THAT(error("Float(s0)"), HasSubstr("can't be read"));
  EXPECT_THAT(error("s0 +"), HasSubstr("can't be read at character 5"));
  EXPECT_THAT(error("Symbol('s0"), HasSubstr("can't be read"));
  EXPECT_THAT(error(""), HasSubstr("can't be read at character 1"));
  EXPECT_THAT(error(std::string(1000, '(')), HasSubstr("nested more than"));
  EXPECT_THAT(error(std::string(1000, '-')), HasSubstr("nested more than"));
  EXPECT_THAT(error(std::string(5000, '1')), HasSubstr("5000 bytes"));
  EXPECT_THAT(error("s0**17"), HasSubstr("power"));
}

}  // namespace
}  // namespace taper::exported
