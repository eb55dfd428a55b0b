// Whole modules saved by PyTorch compute what PyTorch computed, or are refused by name.
#include "frontend/modules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/checkpoint_file.h"
#include "program_fixtures.h"

namespace taper {
namespace {

using testing::HasSubstr;

const std::filesystem::path kFixtures = std::filesystem::path(TAPER_SOURCE_DIR) / "tests/fixtures/torch_modules";

Expected<ImportedProgram> import_file(const std::string& name, const ProgramOptions& options) {
  const auto checkpoint = read_checkpoint(kFixtures / (name + ".pt"));
  EXPECT_TRUE(checkpoint) << checkpoint.error().text();
  return import_module(*checkpoint, options);
}

class Modules : public testing::TestWithParam<std::string> {};

TEST_P(Modules, compute_what_pytorch_computes) {
  const NamedTensors arrays = fixture_arrays(kFixtures / (GetParam() + ".npz"));
  const auto program = import_file(GetParam(), fixture_shapes(arrays));
  ASSERT_TRUE(program) << program.error().text() << "\n" << program.error().hint;
  expect_pytorch(*program, arrays);
}

INSTANTIATE_TEST_SUITE_P(fixtures, Modules,
                         testing::Values("mlp", "activations", "conv2d", "conv1d", "images", "embedding", "lstm", "gru",
                                         "rnn", "gru_cell", "attention", "encoder", "decoder"),
                         [](const auto& tested) { return tested.param; });

// The entries of a file that holds a dict (make_classes.py), each a checkpoint of its own.
std::vector<std::pair<std::string, Checkpoint>> entries_of_file(const std::string& name) {
  const auto checkpoint = read_checkpoint(kFixtures / (name + ".pt"));
  EXPECT_TRUE(checkpoint) << checkpoint.error().text();
  std::vector<std::pair<std::string, Checkpoint>> entries;
  for (const pickle::Entry& entry : checkpoint->root->entries()) {
    Checkpoint one = *checkpoint;
    one.root = entry.value;
    entries.emplace_back(*entry.key->text(), std::move(one));
  }
  return entries;
}

TEST(Modules, of_every_class_compute_what_pytorch_computes) {
  const NamedTensors arrays = fixture_arrays(kFixtures / "classes.npz");
  const auto modules = entries_of_file("classes");
  for (const auto& [name, checkpoint] : modules) {
    SCOPED_TRACE(name);
    NamedTensors own;
    for (const auto& [array, tensor] : arrays)
      if (array.starts_with(name + ".")) own.emplace_back(array.substr(name.size() + 1), tensor);
    const auto program = import_module(checkpoint, fixture_shapes(own));
    EXPECT_TRUE(program) << program.error().text();
    if (program) expect_pytorch(*program, own);
  }
  EXPECT_GT(modules.size(), 240U);
}

TEST(Modules, that_a_file_does_not_say_enough_of_are_refused) {
  ProgramOptions options;
  options.input_shapes["input"] = {1, 3};
  for (const auto& [words, group] : entries_of_file("refused"))
    for (const pickle::Value* module : group.root->items()) {
      Checkpoint one = group;
      one.root = module;
      const auto program = import_module(one, options);
      ASSERT_FALSE(program) << words;
      EXPECT_THAT(program.error().text(), HasSubstr(words));
      EXPECT_FALSE(program.error().hint.empty());
    }
}

TEST(Modules, take_inputs_that_are_optional_where_their_shapes_are_given) {
  const auto modules = entries_of_file("classes");
  const auto found = std::ranges::find(modules, "LSTM_from_state", &std::pair<std::string, Checkpoint>::first);
  ASSERT_NE(found, modules.end());
  ProgramOptions options;
  options.input_shapes["input"] = {2, 5, 8};
  EXPECT_EQ(import_module(found->second, options)->graph.inputs().size(), 1U);
  options.input_shapes["h0"] = {1, 2, 4};
  EXPECT_EQ(import_module(found->second, options)->graph.inputs().size(), 2U);
}

TEST(Modules, keep_symbols_of_given_shapes) {
  ProgramOptions options;
  options.input_shapes["input"] = {Dim::symbol("B"), 4};
  const auto program = import_file("mlp", options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.outputs()[0].value->type, (Type{DType::f32, {Dim::symbol("B"), 8}}));
}

TEST(Modules, have_axes_that_are_set_free) {
  ProgramOptions options;
  options.input_shapes["input"] = {3, 4};
  options.dynamic["input"] = {-2};
  const auto program = import_file("mlp", options);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.inputs()[0]->type, (Type{DType::f32, {Dim::symbol("input_0"), 4}}));
  EXPECT_EQ(program->symbols.at("input_0").usual, 3);
  options.dynamic["input"] = {2};
  EXPECT_THAT(import_file("mlp", options).error().text(), HasSubstr("input 'input' has no axis 2: its rank is 2"));
  options.dynamic = {{"x", {0}}};
  EXPECT_THAT(import_file("mlp", options).error().text(), HasSubstr("no input 'x'; its inputs are input"));
}

TEST(Modules, ask_for_shapes_that_the_first_layer_takes) {
  const auto program = import_file("mlp", {});
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().hint, HasSubstr("--input-shape input=1,4"));
}

TEST(Modules, of_classes_of_others_are_named_and_the_way_out_is_shown) {
  ProgramOptions options;
  options.input_shapes["input"] = {1, 3};
  const auto program = import_file("own_forward", options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("module '1' is of the class '__main__.OwnForward', which is not of "
                                                "torch.nn: whether it has a forward of its own is not in a file"));
  EXPECT_THAT(program.error().hint, HasSubstr("torch.export.export(model, (example_input,))"));
  EXPECT_THAT(program.error().hint, HasSubstr("torch.export.save(ep, \"model.pt2\")"));
}

TEST(Modules, without_an_order_are_refused) {
  ProgramOptions options;
  options.input_shapes["input"] = {1, 3};
  const auto program = import_file("module_list", options);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("the whole model is a ModuleList"));
}

}  // namespace
}  // namespace taper
