// Programs with several inputs and outputs of any kind, from the graph to files that a runtime agrees with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "pipeline/inspect.h"
#include "pipeline/program_inputs.h"
#include "pipeline/programs.h"
#include "pipeline/steps.h"
#include "scratch_folder.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using testing_support::program;

constexpr const char* kLookUp = R"(graph "lookup" (%ids: i32[B, T], %scale: f32[B, T, 3]) {
  %table = constant() {value = f32[5, 3] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}} : f32[5, 3]
  %rows = gather(%table, %ids) {dim = 0} : f32[B, T, 3]
  %y = mul(%rows, %scale) : f32[B, T, 3]
  return output = %y, chosen = %ids
})";

class Program : public testing::Test {
 protected:
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_)) found.insert(entry.path().filename());
    return found;
  }
  const testing_support::ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
  const Model lookup_ = program(kLookUp, {{"B", {.usual = 1}}, {"T", {.usual = 6}}});
};

TEST_F(Program, is_converted_and_verified_at_two_shapes) {
  const auto artifacts = convert(lookup_, folder_, "net", {.onnx = false});
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  const auto verified = verify(lookup_, *artifacts);
  ASSERT_TRUE(verified) << verified.error().text();
  ASSERT_EQ(verified->size(), 3u);
  for (const Verification& file : *verified) {
    EXPECT_TRUE(file.passed) << file.key << ": " << file.verdict;
    ASSERT_EQ(file.runs.size(), 2u);
    EXPECT_THAT(file.runs[1].input_shapes, ElementsAre(ElementsAre(2, 3), ElementsAre(2, 3, 3)));
    EXPECT_EQ(file.worst.unlike, 0);
  }
}

TEST_F(Program, tells_of_all_formats_what_they_do_not_have) {
  // Images of so many pixels can't be counted in float32, as TFLite and TensorFlow would; ONNX has an operator.
  const Model model = program(R"(graph "warp" (%x: f32[B, 1, 8192, 8192], %grid: f32[B, H, 8, 2]) {
    %y = grid_sample(%x, %grid) : f32[B, 1, H, 8]
    return output = %y
  })",
                              {{"B", {.usual = 2}}, {"H", {.usual = 3}}});
  const auto both = convert(model, folder_, "net");
  ASSERT_FALSE(both);
  EXPECT_THAT(both.error().message, HasSubstr("operators that TensorFlow can't express: grid_sample (1 times, in y)"));
  EXPECT_THAT(both.error().message, HasSubstr("operators that TFLite can't express: grid_sample (1 times, in y)"));
  EXPECT_EQ(both.error().hint, "--to onnx writes what can be written");
  EXPECT_TRUE(names().empty());
  const auto one = convert(model, folder_, "net", {.onnx = false, .savedmodel = false});
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().message, "operators that TFLite can't express: grid_sample (1 times, in y)");
  EXPECT_EQ(one.error().hint, "");
}

TEST_F(Program, of_fixed_sizes_runs_once) {
  const auto artifacts = convert(lookup_, folder_, "net", {.static_shapes = true, .onnx = false, .savedmodel = false});
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  EXPECT_TRUE(artifacts->front().static_shapes);
  const auto verified = verify(lookup_, *artifacts);
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_TRUE(verified->front().passed) << verified->front().verdict;
  EXPECT_EQ(verified->front().runs.size(), 1u);
}

TEST_F(Program, does_not_agree_with_files_of_another) {
  std::string other = kLookUp;
  other.replace(other.find("14, 15"), 6, "14, 99");
  const auto artifacts = convert(program(other, {{"B", {}}, {"T", {.usual = 60}}}), folder_, "net",
                                 {.tflite = {Precision::fp32}, .onnx = false, .savedmodel = false});
  ASSERT_TRUE(artifacts);
  const auto verified = verify(program(kLookUp, {{"B", {}}, {"T", {.usual = 60}}}), *artifacts);
  ASSERT_TRUE(verified) << verified.error().text();
  EXPECT_FALSE(verified->front().passed);
  EXPECT_THAT(verified->front().verdict, HasSubstr("expected"));
}

// One verification of a program in TFLite.
Verification verified_alone(const Model& model, const fs::path& folder) {
  const auto artifacts =
      convert(model, folder, "net", {.tflite = {Precision::fp32}, .onnx = false, .savedmodel = false});
  EXPECT_TRUE(artifacts) << artifacts.error().text();
  const auto verified = artifacts ? verify(model, *artifacts) : Expected<std::vector<Verification>>{};
  EXPECT_TRUE(verified) << verified.error().text();
  return verified && !verified->empty() ? verified->front() : Verification{};
}

TEST_F(Program, may_give_infinities_that_the_reference_gives) {
  const Verification masked = verified_alone(program(R"(graph "" (%x: f32[2, 3]) {
    %mask = constant() {value = f32[3] {0, -inf, 0}} : f32[3]
    %y = add(%x, %mask) : f32[2, 3]
    return output = %y
  })"),
                                             folder_);
  EXPECT_TRUE(masked.passed) << masked.verdict;
  EXPECT_EQ(masked.worst.nonfinite, 2);
  EXPECT_EQ(masked.worst.unlike_nonfinite, 0);
}

TEST_F(Program, that_gives_no_number_proves_nothing) {
  const Verification nothing = verified_alone(program(R"(graph "" (%x: f32[2, 3]) {
    %nan = constant() {value = f32[3] {nan, nan, nan}} : f32[3]
    %y = add(%x, %nan) : f32[2, 3]
    return output = %y
  })"),
                                              folder_);
  EXPECT_FALSE(nothing.passed);
  EXPECT_THAT(nothing.verdict, HasSubstr("NaN throughout in output"));
  const Verification partly = verified_alone(program(R"(graph "" (%x: f32[2, 3]) {
    %nan = constant() {value = f32[3] {nan, nan, nan}} : f32[3]
    %y = add(%x, %nan) : f32[2, 3]
    %z = add(%x, %x) : f32[2, 3]
    return output = %y, more = %z
  })"),
                                             folder_);
  EXPECT_TRUE(partly.passed) << partly.verdict;
  EXPECT_THAT(partly.note, HasSubstr("NaN throughout in output"));
}

// A network that rounds inside, whose outputs are so many times too large.
Model rounding_network(const std::string& exact, const std::string& stepped) {
  auto impl = std::make_shared<Model::Impl>();
  impl->graph = std::move(*parse(fmt::format(R"(graph "" (%x: f32[8]) {{
    %first = constant() {{value = f32[] {{{}}}}} : f32[]
    %second = constant() {{value = f32[] {{{}}}}} : f32[]
    %exact = mul(%x, %first) : f32[8]
    %ten = constant() {{value = f32[] {{10}}}} : f32[]
    %scaled = mul(%x, %ten) : f32[8]
    %rounded = round(%scaled) : f32[8]
    %bounded = clamp(%rounded) {{min = -128.0, max = 127.0}} : f32[8]
    %integers = cast(%bounded) {{to = i8}} : i8[8]
    %floats = cast(%integers) {{to = f32}} : f32[8]
    %stepped = mul(%floats, %second) : f32[8]
    return exact = %exact, stepped = %stepped
  }})",
                                             exact, stepped)));
  impl->info.kind = SourceKind::onnx;
  impl->info.input_shape = {8};
  for (const Output& output : impl->graph.outputs()) impl->info.outputs.push_back(output.name);
  return Model(std::move(impl));
}

TEST_F(Program, is_judged_by_steps_only_behind_its_own_rounding) {
  const auto verdict = [&](const Model& written) {
    const auto artifacts =
        convert(written, folder_, "net", {.tflite = {Precision::fp32}, .onnx = false, .savedmodel = false});
    EXPECT_TRUE(artifacts) << artifacts.error().text();
    const auto verified = verify(rounding_network("1", "1"), *artifacts);
    EXPECT_TRUE(verified) << verified.error().text();
    return verified->front().verdict;
  };
  EXPECT_EQ(verdict(rounding_network("1", "1")), "");
  EXPECT_EQ(verdict(rounding_network("1", "1.05")), "");
  EXPECT_THAT(verdict(rounding_network("1.05", "1")), HasSubstr("does not round to steps, the relative error"));
  EXPECT_THAT(verdict(rounding_network("1", "2")), HasSubstr("the relative error"));
}

TEST_F(Program, says_where_nothing_is_an_image_to_put_channels_last) {
  const auto artifacts = convert(lookup_, folder_, "net", {.tflite = {Precision::fp32}, .channels_last = true});
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  EXPECT_THAT(artifacts->front().notes, Contains(HasSubstr("changes nothing")));
}

constexpr const char* kPictures =
    R"(graph "" (%picture: u8[1, 3, 4, 6], %volume: bool[1, 3, 3, 3, 3], %row: f32[1, 6]) {
  %real = cast(%picture) {to = f32} : f32[1, 3, 4, 6]
  %sum = add(%real, %row) : f32[1, 3, 4, 6]
  return output = %sum, mask = %volume, line = %row
})";

TEST_F(Program, turns_what_has_the_axes_of_images_of_any_dtype) {
  const Model model = program(kPictures);
  const ConvertOptions options = {.tflite = {Precision::fp32}, .savedmodel = false, .channels_last = true};
  const auto artifacts = convert(model, folder_, "net", options);
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  EXPECT_THAT(artifacts->front().notes,
              Contains("the files have channels last: input 'picture' is [1, 4, 6, 3], input 'volume' is "
                       "[1, 3, 3, 3, 3], output 'output' is [1, 4, 6, 3], output 'mask' is [1, 3, 3, 3, 3]"));
  const auto verified = verify(model, *artifacts);
  ASSERT_TRUE(verified) << verified.error().text();
  for (const Verification& file : *verified) EXPECT_TRUE(file.passed) << file.key << ": " << file.verdict;
  const auto found = inspect(folder_ / "net_fp32.tflite");
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->inputs.at(0).shape, "[1, 4, 6, 3]");
  EXPECT_EQ(found->inputs.at(0).dtype, "uint8");
}

TEST_F(Program, tells_types_as_the_files_have_them) {
  auto graph = parse(kPictures);
  ASSERT_TRUE(graph) << graph.error().text();
  auto impl = std::make_shared<Model::Impl>();
  impl->graph = std::move(*graph);
  impl->info.input_shape = {1, 3, 4, 6};
  for (const Value* input : impl->graph.inputs()) impl->info.inputs.push_back({input->name, "", "as it was"});
  for (const Output& output : impl->graph.outputs()) impl->info.output_types.push_back({output.name, "", "as it was"});
  const ModelInfo info = info_of_files(Model(impl), {.channels_last = true});
  EXPECT_THAT(info.input_shape, ElementsAre(1, 4, 6, 3));
  EXPECT_EQ(info.inputs[0].shape, "[1, 4, 6, 3]");
  EXPECT_EQ(info.inputs[2].shape, "as it was");
  EXPECT_EQ(info.output_types[0].shape, "[1, 4, 6, 3]");
  EXPECT_EQ(info_of_files(Model(impl), {}).inputs[0].shape, "as it was");
}

TEST_F(Program, takes_the_report_on_other_files_away) {
  scratch_.file("export_results.json", "{}");
  ASSERT_TRUE(convert(lookup_, folder_, "net", {.tflite = {}, .savedmodel = false}));
  EXPECT_THAT(names(), ElementsAre("net.onnx"));
}

TEST_F(Program, gives_constants_in_compiled_models) {
  const Verification given = verified_alone(program(R"(graph "" (%x: f32[2, 3]) {
    %vector = constant() {value = f32[3] {1, 2, 3}} : f32[3]
    %number = constant() {value = f32[] {2.5}} : f32[]
    %y = add(%x, %vector) : f32[2, 3]
    return output = %y, vector = %vector, number = %number
  })"),
                                            folder_);
  EXPECT_TRUE(given.passed) << given.verdict;
}

TEST_F(Program, is_shown_after_each_pass_that_changed_it) {
  const auto artifacts = convert(lookup_, folder_, "net",
                                 {.tflite = {Precision::fp32},
                                  .onnx = false,
                                  .savedmodel = false,
                                  .dump_ir = folder_ / "passes",
                                  .check_each = true});
  ASSERT_TRUE(artifacts) << artifacts.error().text();
  std::ifstream first(folder_ / "passes" / "net.TFLite.00_imported.ir");
  std::string line;
  std::getline(first, line);
  EXPECT_THAT(line, HasSubstr("graph \"lookup\""));
}

TEST_F(Program, is_not_written_over_its_source) {
  auto impl = std::make_shared<Model::Impl>();
  impl->graph = std::move(*parse(kLookUp));
  impl->info.kind = SourceKind::onnx;
  impl->info.source = folder_ / "net.onnx";
  std::ofstream(impl->info.source) << "the original";
  const auto artifacts = convert(Model(impl), folder_, "net", {.tflite = {}, .savedmodel = false});
  ASSERT_FALSE(artifacts);
  EXPECT_THAT(artifacts.error().text(), HasSubstr("net.onnx' is the file that is converted"));
  EXPECT_THAT(names(), ElementsAre("net.onnx"));
}

TEST_F(Program, is_inspected_as_each_file_that_is_written) {
  ASSERT_TRUE(convert(lookup_, folder_, "net"));
  for (const char* name : {"net.onnx", "net_fp32.tflite", "net_fp16.tflite", "net_tf"}) {
    const auto found = inspect(folder_ / name);
    ASSERT_TRUE(found) << found.error().text();
    std::vector<std::string> inputs;
    for (const TensorInfo& input : found->inputs) inputs.push_back(input.name + " " + input.dtype);
    EXPECT_THAT(inputs, UnorderedElementsAre("ids int32", "scale float32")) << name;
    EXPECT_EQ(found->outputs.size(), 2u) << name;
    EXPECT_GE(found->parameters.value_or(0), 15) << name;
    EXPECT_GT(found->bytes, 0u) << name;
  }
  EXPECT_THAT(inspect(folder_ / "net.onnx")->operators, Contains(testing::Pair("Gather", 1)));
  EXPECT_THAT(inspect(folder_ / "net_fp32.tflite")->operators, Contains(testing::Pair("GATHER", 1)));
  const auto drawn = inspect(folder_ / "net.onnx", {.graph = true, .load = {}});
  ASSERT_TRUE(drawn) << drawn.error().text();
  EXPECT_THAT(drawn->graph, HasSubstr("= gather("));
}

TEST(ProgramInputs, are_described_by_name) {
  const auto options = program_options({{"x", "1,T,4", std::nullopt, {}}, {"ids", std::nullopt, "int64", {1, 2}}});
  ASSERT_TRUE(options) << options.error().text();
  EXPECT_EQ(options->input_shapes.at("x"), (Shape{1, Dim::symbol("T"), 4}));
  EXPECT_EQ(options->input_dtypes.at("ids"), DType::i64);
  EXPECT_THAT(options->dynamic.at("ids"), ElementsAre(1, 2));
  EXPECT_THAT(program_options({{"x", "1,,4", std::nullopt, {}}}).error().text(), HasSubstr("the input 'x'"));
  EXPECT_THAT(program_options({{"x", "1,-4", std::nullopt, {}}}).error().text(), HasSubstr("a size is '-4'"));
  EXPECT_THAT(program_options({{"x", std::nullopt, "float31", {}}}).error().text(), HasSubstr("'float31'"));
}

TEST(ProgramInputs, put_numbers_in_the_place_of_symbols) {
  const auto applied = [](const std::string& shape) -> std::string {
    ImportedProgram imported;
    imported.graph = std::move(*parse(kLookUp));
    imported.symbols = {{"B", {.least = 1, .most = 8}}, {"T", {}}};
    const Status status = apply_shapes(*program_options({{"ids", shape, std::nullopt, {}}}), imported);
    return status ? type_text(imported.graph.inputs()[1]->type) : status.error().text();
  };
  EXPECT_EQ(applied("2,T"), "f32[2, T, 3]");
  EXPECT_EQ(applied("2,9"), "f32[2, 9, 3]");
  EXPECT_THAT(applied("9,T"), HasSubstr("B may be 1 to 8"));
  EXPECT_THAT(applied("9"), HasSubstr("it has 2 axes"));
}

TEST(ProgramOutputs, have_names_of_their_own) {
  ImportedProgram imported;
  imported.graph = std::move(*parse(R"(graph "" (%ids: i32[B]) {
  %y = add(%ids, %ids) : i32[B]
  return ids = %ids, y = %y, y = %y
})"));
  const Status status = separate_names(imported);
  ASSERT_TRUE(status) << status.error().text();
  std::vector<std::string> names;
  for (const Output& output : imported.graph.outputs()) names.push_back(output.name);
  EXPECT_THAT(names, ElementsAre("ids_1", "y", "y_1"));
  EXPECT_EQ(imported.assumptions.size(), 2u);
}

}  // namespace
}  // namespace taper
