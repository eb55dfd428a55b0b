#include "cli/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/taper.h"
#include "pipeline/fake_steps.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing_support::ScratchFolder;

ConvertCommand accepted(const std::vector<std::string>& arguments) {
  auto parsed = parse_convert(arguments);
  if (const auto* finish = std::get_if<Finish>(&parsed)) {
    ADD_FAILURE() << finish->text;
    return {};
  }
  return std::get<ConvertCommand>(std::move(parsed));
}

std::string refused(const std::vector<std::string>& arguments) {
  const auto parsed = parse_convert(arguments);
  const auto* finish = std::get_if<Finish>(&parsed);
  if (finish == nullptr) return "accepted";
  EXPECT_EQ(finish->status, 2);
  return finish->text;
}

std::string help() {
  return std::get<Finish>(parse_convert({"--help"})).text;
}

TEST(ConvertOptions, have_documented_defaults) {
  const ConvertCommand command = accepted({"net.pt2"});
  EXPECT_THAT(command.files, ElementsAre("net.pt2"));
  EXPECT_EQ(command.output_dir, ".");
  EXPECT_TRUE(command.convert.onnx && command.convert.savedmodel && command.verify && command.sandbox);
  EXPECT_EQ(command.convert.tflite.size(), 2u);
  EXPECT_FALSE(command.convert.dump_ir);
}

TEST(ConvertOptions, describe_inputs) {
  const ConvertCommand command = accepted({"net.pt", "--input-shape", "image=1,3,H,W", "--input-dtype", "ids=int64",
                                           "--input-shape", "ids=B,16", "--dynamic", "ids:1", "--dynamic", "a:b:2"});
  ASSERT_EQ(command.inputs.size(), 3u);
  EXPECT_EQ(command.inputs[0].shape, "1,3,H,W");
  EXPECT_EQ(command.inputs[1].name, "ids");
  EXPECT_EQ(command.inputs[1].dtype, "int64");
  EXPECT_EQ(command.inputs[1].shape, "B,16");
  EXPECT_THAT(command.inputs[1].dynamic, ElementsAre(1));
  EXPECT_EQ(command.inputs[2].name, "a:b");
}

TEST(ConvertOptions, refuse_slips) {
  EXPECT_THAT(refused({}), HasSubstr("no file is given"));
  EXPECT_THAT(refused({"a.pt", "--input-shap", "x=1"}), HasSubstr("did you mean '--input-shape'?"));
  EXPECT_THAT(refused({"a.pt", "--input-shape", "1,3"}), HasSubstr("expected NAME=SIZES"));
  EXPECT_THAT(refused({"a.pt", "--input-shape", "x=1", "--input-shape", "x=2"}), HasSubstr("given twice for 'x'"));
  EXPECT_THAT(refused({"a.pt", "--dynamic", "x"}), HasSubstr("expected NAME:AXIS"));
  EXPECT_THAT(refused({"a.pt", "--dynamic", "x:T"}), HasSubstr("expected NAME:AXIS"));
  EXPECT_THAT(refused({"a.pt", "b.pt", "--name", "net"}), HasSubstr("--name is for one file, 2 are given"));
  EXPECT_THAT(refused({"a.pt", "--name", "a/b"}), HasSubstr("holds a '/'"));
  EXPECT_THAT(refused({"a.pt", "--quantize", "w8", "--exclude", "("}), HasSubstr("--exclude is '('"));
  EXPECT_THAT(refused({"a.pt", "--to", "tflight"}), HasSubstr("names 'tflight'"));
  EXPECT_THAT(refused({"a.pt", "--quiet", "-v"}), HasSubstr("contradict"));
}

TEST(ConvertHelp, explains_every_flag) {
  for (const std::string& flag : known_convert_flags()) EXPECT_THAT(help(), HasSubstr(flag)) << flag;
}

TEST(ConvertHelp, fits_a_screen_of_120_columns) {
  std::istringstream lines(help());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120U) << line;
}

TEST(ConvertHelp, gives_examples_that_are_accepted) {
  std::istringstream lines(help());
  int examples = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  taper convert")) continue;
    ++examples;
    std::vector<std::string> arguments;
    std::istringstream words(line.substr(16, line.find("   ", 16) - 16));
    for (std::string word; words >> word;) arguments.push_back(word);
    accepted(arguments);
  }
  EXPECT_GE(examples, 6);
}

// The program in an empty folder, over steps that pretend.
class Command : public ::testing::Test {
 protected:
  Command() : before_(fs::current_path()) { fs::current_path(scratch.path()); }
  ~Command() override { fs::current_path(before_); }

  int run(const std::vector<std::string>& arguments) {
    out.clear();
    err.clear();
    ProgramContext context;
    context.out = {[this](std::string_view text) { out += text; }, false};
    context.err = {[this](std::string_view text) { err += text; }, false};
    context.environment = [](const char*) -> const char* { return nullptr; };
    context.job = [this](const ExportRequest& request) {
      last = request;
      return run_export(request, testing_support::fake_steps());
    };
    context.families = {"SignTransformer", "MediaPipeGRU"};
    context.give_up_rights = [this]() -> Status {
      ++given_up;
      return {};
    };
    return run_taper(arguments, context);
  }

  ScratchFolder scratch;
  std::string out;
  std::string err;
  ExportRequest last;
  int given_up = 0;

 private:
  fs::path before_;
};

TEST_F(Command, writes_beside_where_it_stands_under_the_files_name) {
  scratch.file("net.pt2");
  EXPECT_EQ(run({"convert", "net.pt2"}), 0);
  for (const char* name : {"net_fp32.tflite", "net_fp16.tflite", "net.onnx", "export_results.json"})
    EXPECT_TRUE(fs::exists(name)) << name;
  EXPECT_THAT(out, HasSubstr("Exported and verified 1 model"));
  EXPECT_EQ(given_up, 1);
}

TEST_F(Command, hands_over_what_is_said_of_inputs) {
  scratch.file("net.pt");
  EXPECT_EQ(run({"convert", "net.pt", "-o", "out", "--name", "other", "--input-shape", "x=2,3", "--no-sandbox"}), 0);
  ASSERT_EQ(last.models.size(), 1u);
  EXPECT_EQ(last.models[0].key, "other");
  EXPECT_EQ(last.models[0].inputs[0].shape, "2,3");
  EXPECT_TRUE(fs::exists("out/other.onnx"));
  EXPECT_EQ(given_up, 0);
}

TEST_F(Command, reports_a_missing_file) {
  EXPECT_EQ(run({"convert", "absent.pt2"}), 1);
  EXPECT_THAT(err, HasSubstr("there is no file 'absent.pt2'"));
}

TEST_F(Command, inspects_a_checkpoint_of_a_known_family) {
  EXPECT_EQ(run({"inspect", TAPER_SOURCE_DIR "/examples/GRU.pt"}), 0);
  EXPECT_THAT(out, HasSubstr("MediaPipeGRU"));
  EXPECT_THAT(out, HasSubstr("input  float32 [batch_size, sequence_length, "));
  EXPECT_EQ(given_up, 1);
  EXPECT_EQ(run({"inspect", "--json", TAPER_SOURCE_DIR "/examples/GRU.pt"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out).at("inputs").at(0).at("name"), "input");
  EXPECT_EQ(run({"inspect", "--graph", TAPER_SOURCE_DIR "/examples/GRU.pt"}), 0);
  EXPECT_THAT(out, HasSubstr("= gru("));
}

TEST_F(Command, inspects_with_flags_for_inputs_only_what_has_such_inputs) {
  scratch.file("x.npy", std::string("\x93NUMPY\x01\0\x3a\0", 10) +
                            "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }\n" + "1");
  EXPECT_EQ(run({"inspect", "x.npy"}), 0) << err;
  EXPECT_EQ(run({"inspect", "x.npy", "--input-shape", "x=1"}), 1);
  EXPECT_THAT(err, HasSubstr("the input 'x' is described"));
  scratch.file("saved_model.pb", "\x08\x01");
  EXPECT_EQ(run({"inspect", "saved_model.pb"}), 1);
  EXPECT_THAT(err, HasSubstr("next: name the folder"));
}

TEST_F(Command, inspects_nothing_that_is_no_model) {
  scratch.file("x.txt", "once upon a time");
  EXPECT_EQ(run({"inspect", "x.txt"}), 1);
  EXPECT_THAT(err, HasSubstr("looks like text"));
  EXPECT_THAT(err, HasSubstr("next: configurations, indices and sources hold no weights"));
  EXPECT_EQ(run({"inspect", "--json", "x.txt"}), 1);
  EXPECT_THAT(nlohmann::json::parse(out).at("error").get<std::string>(), HasSubstr("looks like text"));
  EXPECT_EQ(run({"inspect"}), 2);
  EXPECT_EQ(run({"inspect", "--grap", "x"}), 2);
  EXPECT_THAT(err, HasSubstr("did you mean '--graph'?"));
}

TEST_F(Command, takes_the_common_flags_everywhere) {
  const std::string file = TAPER_SOURCE_DIR "/examples/GRU.pt";
  const std::vector<std::vector<std::string>> commands = {
      {"convert", file}, {"inspect", file}, {"scan", file}, {"ops"}};
  for (std::vector<std::string> command : commands) {
    for (const char* flag : {"--no-color", "--no-colour", "--quiet", "--verbose", "-v", "--json"}) {
      command.emplace_back(flag);
      EXPECT_EQ(run(command), 0) << command[0] << " " << flag << ": " << err;
      EXPECT_THAT(out, testing::Not(HasSubstr("\x1b")));
      const bool is_json = std::string_view(flag) == "--json";
      EXPECT_TRUE(!is_json || nlohmann::json::accept(out)) << command[0];
      command.pop_back();
    }
    for (const char* flag : {"--help", "-h"}) {
      EXPECT_EQ(run({command[0], flag}), 0);
      for (const char* told : {"--no-color", "--quiet", "--verbose", "--json", "--version", "NO_COLOR"})
        EXPECT_THAT(out, HasSubstr(told)) << command[0];
    }
    EXPECT_EQ(run({command[0], "--version"}), 0);
    EXPECT_THAT(out, HasSubstr("taper "));
    EXPECT_EQ(run({command[0], "--quiet", "-v", "x"}), 2) << command[0];
    EXPECT_EQ(run({command[0], "--no-such"}), 2) << command[0];
    EXPECT_THAT(err, HasSubstr("--help'"));
  }
}

TEST_F(Command, inspects_weights_as_a_tree) {
  const std::string file = TAPER_SOURCE_DIR "/tests/fixtures/checkpoints/unfit/resnet.pt";
  EXPECT_EQ(run({"inspect", file}), 0) << err;
  EXPECT_THAT(out, HasSubstr("conv1"));
  EXPECT_THAT(out, HasSubstr("Conv2d "));
  EXPECT_THAT(out, HasSubstr("  next: weights alone"));
  const auto lines = std::ranges::count(out, '\n');
  EXPECT_LE(lines, 80);
  EXPECT_EQ(run({"inspect", "-v", file}), 0);
  EXPECT_GT(std::ranges::count(out, '\n'), lines);
  EXPECT_EQ(run({"inspect", "--json", file}), 0);
  const auto json = nlohmann::json::parse(out);
  EXPECT_FALSE(json.at("modules").at("parts").empty());
  EXPECT_EQ(json.at("tensors").size(), 6u);
  EXPECT_THAT(json.at("next_step").get<std::string>(), HasSubstr("torch.export.export("));
  EXPECT_EQ(run({"inspect", "--quiet", file}), 0);
  EXPECT_EQ(out, "");
}

TEST_F(Command, ops_takes_no_files) {
  EXPECT_EQ(run({"ops", "net.pt"}), 2);
  EXPECT_THAT(err, HasSubstr("takes flags alone"));
}

TEST_F(Command, lists_operators) {
  EXPECT_EQ(run({"ops"}), 0);
  EXPECT_THAT(out, HasSubstr("layer_norm"));
  EXPECT_THAT(out, HasSubstr("operators of ONNX are read"));
  EXPECT_EQ(run({"ops", "--markdown"}), 0);
  EXPECT_THAT(out, HasSubstr("# Operators"));
  EXPECT_EQ(run({"ops", "--json"}), 0);
  const auto json = nlohmann::json::parse(out);
  EXPECT_GT(json.at("operators").size(), 30u);
  EXPECT_THAT(json.at("aten").get<std::vector<std::string>>(), testing::Contains("add.Tensor"));
  EXPECT_THAT(json.at("onnx").get<std::vector<std::string>>(), testing::Contains("LayerNormalization"));
  EXPECT_EQ(run({"ops", "--jsn"}), 2);
}

}  // namespace
}  // namespace taper
