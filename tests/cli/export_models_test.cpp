#include "cli/export_models.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/options.h"
#include "pipeline/fake_steps.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing_support::ScratchFolder;

// The program in an empty folder, over steps that pretend.
class Program : public ::testing::Test {
 protected:
  Program() : before_(fs::current_path()) { fs::current_path(scratch.path()); }
  ~Program() override { fs::current_path(before_); }

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
    return run_export_models(arguments, context);
  }

  ScratchFolder scratch;
  std::string out;
  std::string err;
  ExportRequest last;

 private:
  fs::path before_;
};

TEST_F(Program, exports_the_default_files_of_the_folder) {
  scratch.file("Transformer.pt");
  scratch.file("GRU.pt");
  EXPECT_EQ(run({}), 0);
  for (const char* name :
       {"sign_transformer_fp16.tflite", "sign_transformer_fp32.tflite", "sign_transformer.onnx",
        "mediapipe_gru_fp16.tflite", "mediapipe_gru_fp32.tflite", "mediapipe_gru.onnx", "export_results.json"}) {
    EXPECT_TRUE(fs::exists(fs::path("exports") / name)) << name;
  }
  EXPECT_THAT(out, HasSubstr("Exported and verified 2 models"));
}

TEST_F(Program, exports_one_default_file_without_asking_for_the_other) {
  scratch.file("GRU.pt");
  EXPECT_EQ(run({"--quiet"}), 0);
  EXPECT_EQ(last.models.size(), 1U);
  EXPECT_EQ(out, "");
}

TEST_F(Program, skips_an_explicit_file_that_does_not_exist_and_exports_the_other) {
  scratch.file("Transformer.pt");
  EXPECT_EQ(run({"--gru", "nonexistent.pt"}), 0);
  EXPECT_THAT(err, HasSubstr("warning: gru: skipped: there is no file 'nonexistent.pt'"));
  EXPECT_TRUE(fs::exists("exports/sign_transformer.onnx"));
  EXPECT_FALSE(fs::exists("exports/mediapipe_gru.onnx"));
}

TEST_F(Program, says_where_it_looked_when_nothing_is_there) {
  EXPECT_EQ(run({}), 1);
  EXPECT_THAT(err, HasSubstr("there is neither Transformer.pt nor GRU.pt in '" + fs::current_path().native()));
  EXPECT_THAT(err, HasSubstr("next: export_models --transformer path/to/t.pt"));
  EXPECT_FALSE(fs::exists("exports"));
}

TEST_F(Program, fails_when_nothing_that_was_asked_for_exists) {
  EXPECT_EQ(run({"--gru", "nonexistent.pt"}), 1);
  EXPECT_THAT(err, HasSubstr("error: no checkpoint was found: there is no file 'nonexistent.pt'"));
}

TEST_F(Program, exports_further_models_under_their_own_names) {
  scratch.file("w.pt");
  EXPECT_EQ(run({"--model", "wave=w.pt", "--output-dir", "out"}), 0);
  EXPECT_TRUE(fs::exists("out/wave_fp16.tflite"));
  EXPECT_EQ(last.models.at(0).key, "wave");
}

TEST_F(Program, prints_json_and_nothing_else_when_asked) {
  scratch.file("GRU.pt");
  scratch.file("broken.pt");
  EXPECT_EQ(run({"--json", "--transformer", "broken.pt"}), 1);
  const auto json = nlohmann::json::parse(out);
  EXPECT_EQ(json["gru"]["verification"]["fp32_cosine_similarity"], 0.999999);
  EXPECT_THAT(json["transformer"]["error"].get<std::string>(), HasSubstr("GIF8"));
  EXPECT_THAT(err, HasSubstr("error: transformer:"));
}

TEST_F(Program, prints_json_even_when_nothing_was_found) {
  EXPECT_EQ(run({"--json"}), 1);
  EXPECT_THAT(nlohmann::json::parse(out)["error"].get<std::string>(), HasSubstr("Transformer.pt"));
}

TEST_F(Program, fails_with_status_2_for_a_bad_length_or_flag) {
  scratch.file("GRU.pt");
  for (const char* length : {"0", "-1", "1000000000"}) {
    EXPECT_EQ(run({"--sequence-length", length}), 2) << length;
    EXPECT_THAT(err, HasSubstr("error: --sequence-length is " + std::string(length))) << length;
  }
  EXPECT_EQ(run({"--sequence-lenght", "5"}), 2);
  EXPECT_THAT(err, HasSubstr("did you mean '--sequence-length'"));
  EXPECT_THAT(out, IsEmpty());
}

TEST_F(Program, fails_when_a_model_fails_but_exports_the_others) {
  scratch.file("GRU.pt");
  scratch.file("broken.pt");
  EXPECT_EQ(run({"--transformer", "broken.pt"}), 1);
  EXPECT_THAT(err, HasSubstr("error: transformer: not a PyTorch file"));
  EXPECT_TRUE(fs::exists("exports/mediapipe_gru.onnx"));
  EXPECT_THAT(out, HasSubstr("Exported and verified 1 model in"));
}

TEST_F(Program, gives_each_model_its_configuration) {
  scratch.file("GRU.pt");
  scratch.file("w.pt");
  scratch.file("c.json", R"({"wave": {"num_heads": 2}, "transformer": {"num_heads": 4}})");
  EXPECT_EQ(run({"--model", "wave=w.pt", "--config", "c.json"}), 0);
  EXPECT_FALSE(last.models.at(0).config.num_heads);
  EXPECT_EQ(last.models.at(1).config.num_heads, 2);
}

TEST_F(Program, refuses_a_configuration_of_models_that_nobody_knows) {
  scratch.file("GRU.pt");
  scratch.file("c.json", R"({"gruu": {"num_heads": 2}})");
  EXPECT_EQ(run({"--config", "c.json"}), 1);
  EXPECT_THAT(err, HasSubstr("it speaks of a model 'gruu', expected one of: gru, transformer"));
  EXPECT_THAT(err, HasSubstr("in the configuration file 'c.json'"));
}

TEST_F(Program, wants_the_files_that_flags_name) {
  scratch.file("GRU.pt");
  for (const char* flag : {"--config", "--verify-input", "--recipe"}) {
    EXPECT_EQ(run({flag, "none.json"}), 2) << flag;
    EXPECT_THAT(err, HasSubstr(std::string(flag) + " names 'none.json', and there is no such file"));
  }
}

TEST_F(Program, hands_its_options_to_the_job) {
  scratch.file("GRU.pt");
  scratch.file("x.npz");
  run({"--heads", "all", "--static", "--to", "tflite", "--quantize", "fp16", "--verify-input", "x.npz"});
  EXPECT_TRUE(last.all_heads);
  EXPECT_TRUE(last.convert.static_shapes);
  EXPECT_FALSE(last.convert.onnx);
  EXPECT_EQ(last.convert.tflite, std::vector{Precision::fp16});
  EXPECT_EQ(last.verification.input, "x.npz");
  run({"--no-verify"});
  EXPECT_FALSE(last.verify);
}

TEST_F(Program, prints_help_and_version_to_standard_output) {
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_EQ(out, help_text());
  EXPECT_EQ(run({"--version"}), 0);
  EXPECT_EQ(out, "taper " + version() + "\n");
  EXPECT_THAT(err, IsEmpty());
}

TEST_F(Program, never_lets_a_file_name_touch_the_terminal) {
  scratch.file("a\x1b[31m.pt");
  EXPECT_EQ(run({"--gru", "a\x1b[31m.pt", "-v"}), 0);
  EXPECT_THAT(out, HasSubstr("a\\x1b[31m.pt"));
  EXPECT_THAT(out, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace taper
