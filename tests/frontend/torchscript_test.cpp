// TorchScript archives saved by PyTorch compute what PyTorch computed.
#include "frontend/torchscript.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program_fixtures.h"

namespace taper {
namespace {

using testing::HasSubstr;

const std::filesystem::path kFixtures = std::filesystem::path(TAPER_SOURCE_DIR) / "tests/fixtures/torchscript";

SharedBytes bytes_of(const std::string& file) {
  auto bytes = map_file(kFixtures / file);
  EXPECT_TRUE(bytes) << bytes.error().text();
  return *bytes;
}

NamedTensors arrays_of(const std::string& file) {
  return fixture_arrays(kFixtures / std::filesystem::path(file).replace_extension(".npz"));
}

class TorchScript : public testing::TestWithParam<std::string> {};

TEST_P(TorchScript, computes_what_pytorch_computes) {
  const auto arrays = arrays_of(GetParam());
  const auto program = import_torchscript(bytes_of(GetParam()), fixture_shapes(arrays));
  ASSERT_TRUE(program) << program.error().text() << "\n" << program.error().hint;
  expect_pytorch(*program, arrays);
}

INSTANTIATE_TEST_SUITE_P(
    fixtures, TorchScript,
    testing::Values("mlp_traced.pt", "mlp_scripted.pt", "mlp_mobile.ptl", "cnn_traced.pt", "cnn_frozen.pt",
                    "lstm_traced.pt", "lstm_scripted.pt", "gru_scripted.pt", "tagger_traced.pt", "tagger_scripted.pt",
                    "encoder_scripted.pt", "loops_scripted.pt", "branches_up.pt", "branches_down.pt",
                    "doubling_scripted.pt", "containers_scripted.pt", "in_place_scripted.pt", "in_place_traced.pt",
                    "places_scripted.pt", "places_traced.pt", "aliases_up.pt", "aliases_down.pt",
                    "recurrent_scripted.pt", "idle_noise_scripted.pt", "rotary_traced.pt", "rotary_scripted.pt",
                    "spectra_scripted.pt", "strided_scripted.pt", "strided_traced.pt", "chosen_up.pt", "chosen_down.pt",
                    "replaced_scripted.pt", "windows_scripted.pt", "masked_scripted.pt", "numbers_scripted.pt",
                    "turned_scripted.pt", "open_loop_scripted.pt", "held_up.pt", "held_down.pt",
                    "open_lists_scripted.pt", "forks_up.pt", "forks_down.pt"),
    [](const auto& tested) { return std::filesystem::path(tested.param).stem().string(); });

TEST(TorchScript, takes_shapes_that_tracing_recorded) {
  const auto program = import_torchscript(bytes_of("mlp_traced.pt"), {});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs()[0]->type, (Type{DType::f32, {2, 4}}));
}

TEST(TorchScript, keeps_symbols_of_given_shapes) {
  ProgramOptions options;
  options.input_shapes["x"] = {Dim::symbol("B"), 4};
  const auto program = import_torchscript(bytes_of("mlp_scripted.pt"), options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.outputs()[0].value->type, (Type{DType::f32, {Dim::symbol("B"), 3}}));
}

TEST(TorchScript, frees_axes_that_tracing_recorded) {
  ProgramOptions options;
  options.dynamic["x"] = {0};
  const auto program = import_torchscript(bytes_of("mlp_traced.pt"), options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs()[0]->type.shape, (Shape{Dim::symbol("x_0"), 4}));
}

TEST(TorchScript, casts_to_the_dtype_that_tracing_recorded) {
  ProgramOptions options;
  options.input_dtypes["x"] = DType::u8;
  const auto program = import_torchscript(bytes_of("mlp_traced.pt"), options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs()[0]->type, (Type{DType::u8, {2, 4}}));
  EXPECT_TRUE(program->assumptions.empty());
}

TEST(TorchScript, casts_integers_that_a_program_does_not_take_and_says_so) {
  ProgramOptions options;
  options.input_shapes["x"] = {Dim::symbol("B"), 4};
  options.input_dtypes["x"] = DType::u8;
  const auto program = import_torchscript(bytes_of("mlp_scripted.pt"), options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs()[0]->type.dtype, DType::u8);
  EXPECT_EQ(program->graph.outputs()[0].value->type, (Type{DType::f32, {Dim::symbol("B"), 3}}));
  ASSERT_FALSE(program->assumptions.empty());
  EXPECT_THAT(program->assumptions.back(), HasSubstr("input 'x' is uint8 in the files and cast to float32"));
}

TEST(TorchScript, asks_for_shapes_with_the_flags_to_give) {
  const auto program = import_torchscript(bytes_of("mlp_scripted.pt"), {});
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("which shape the input 'x' has"));
  EXPECT_THAT(program.error().hint, HasSubstr("--input-shape x="));
}

TEST(TorchScript, says_which_exception_a_program_raises) {
  ProgramOptions options;
  options.input_shapes["x"] = {2, 4, 4};
  const auto program = import_torchscript(bytes_of("branches_up.pt"), options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("the program raises ValueError: expected a matrix, got 3 axes"));
  EXPECT_THAT(program.error().text(), HasSubstr("of code/__torch__.py"));
}

TEST(TorchScript, refuses_random_numbers_that_are_used) {
  ProgramOptions options;
  options.input_shapes["x"] = {2, 4};
  const auto program = import_torchscript(bytes_of("noise_scripted.pt"), options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("'noise' holds random numbers (aten::rand_like), which no file draws"));
}

TEST(TorchScript, refuses_writes_through_views_that_a_loop_chose) {
  ProgramOptions options;
  options.input_shapes["x"] = {4, 4};
  const auto program = import_torchscript(bytes_of("kept_view_scripted.pt"), options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("'row0' may share elements with another tensor"));
}

TEST(TorchScript, refuses_what_a_branch_reads_after_writing_to_what_it_may_be) {
  ProgramOptions options;
  options.input_shapes["x"] = {4, 4};
  const auto program = import_torchscript(bytes_of("late_alias_scripted.pt"), options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("may share elements with another tensor"));
}

TEST(TorchScript, takes_numbers_as_inputs_without_shapes) {
  ProgramOptions options;
  options.input_shapes["x"] = {2, 4};
  const auto program = import_torchscript(bytes_of("numbers_scripted.pt"), options);
  ASSERT_TRUE(program) << program.error().text();
  ASSERT_EQ(program->graph.inputs().size(), 4);
  EXPECT_EQ(program->graph.inputs()[1]->type, (Type{DType::i64, {}}));
  EXPECT_EQ(program->graph.inputs()[3]->type, (Type{DType::boolean, {}}));
}

// Evaluated at the fixture's sizes, of which one is given as a symbol.
void expect_pytorch_of_open_size(const std::string& file, Shape shape) {
  ProgramOptions options;
  options.input_shapes["x"] = std::move(shape);
  const auto program = import_torchscript(bytes_of(file), options);
  ASSERT_TRUE(program) << program.error().text();
  expect_pytorch(*program, arrays_of(file));
}

TEST(TorchScript, runs_loops_over_open_sizes) {
  expect_pytorch_of_open_size("open_loop_scripted.pt", {4, Dim::symbol("T")});
}

TEST(TorchScript, appends_to_lists_in_loops_over_open_sizes) {
  expect_pytorch_of_open_size("open_lists_scripted.pt", {Dim::symbol("T"), 6});
}

TEST(TorchScript, names_inputs_that_do_not_exist) {
  ProgramOptions options;
  options.input_shapes["x"] = {2, 4};
  options.input_shapes["y"] = {2, 4};
  const auto program = import_torchscript(bytes_of("mlp_scripted.pt"), options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("no input 'y'; its inputs are x"));
}

TEST(TorchScript, tells_checks_and_states_that_it_leaves_out) {
  const auto arrays = arrays_of("branches_up.pt");
  const auto program = import_torchscript(bytes_of("branches_up.pt"), fixture_shapes(arrays));
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->assumptions, testing::Contains(HasSubstr("the check at")));
  const auto loops = import_torchscript(bytes_of("loops_scripted.pt"), fixture_shapes(arrays));
  ASSERT_TRUE(loops) << loops.error().text();
}

}  // namespace
}  // namespace taper
