#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace taper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

ExportOptions accepted(const std::vector<std::string>& arguments) {
  const auto parsed = parse_options(arguments);
  if (const auto* finish = std::get_if<Finish>(&parsed)) {
    ADD_FAILURE() << "refused: " << finish->text;
    return {};
  }
  return std::get<ExportOptions>(parsed);
}

std::string refused(const std::vector<std::string>& arguments) {
  const auto parsed = parse_options(arguments);
  const auto* finish = std::get_if<Finish>(&parsed);
  if (finish == nullptr) return "accepted";
  EXPECT_EQ(finish->status, 2) << finish->text;
  EXPECT_THAT(finish->text, HasSubstr("export_models --help"));
  return finish->text;
}

TEST(Options, without_arguments_are_the_documented_defaults) {
  const ExportOptions options = accepted({});
  EXPECT_FALSE(options.transformer);
  EXPECT_FALSE(options.gru);
  EXPECT_EQ(options.output_dir, "exports");
  EXPECT_EQ(options.sequence_length, 300);
  EXPECT_TRUE(options.verify);
  EXPECT_FALSE(options.all_heads);
  EXPECT_FALSE(options.convert.static_shapes);
  EXPECT_TRUE(options.convert.onnx);
  EXPECT_TRUE(options.convert.savedmodel);
  EXPECT_THAT(options.convert.tflite, ElementsAre(Precision::fp32, Precision::fp16));
  const ScreenTexts& screen = options.screen;
  EXPECT_FALSE(screen.json || screen.quiet || screen.verbose || screen.no_color);
}

TEST(Options, sizes_have_units_of_powers_of_1024) {
  const std::pair<const char*, std::uint64_t> kSizes[] = {{"1500000", 1'500'000},  {"500M", 500ULL << 20},
                                                          {"500MB", 500ULL << 20}, {"2GiB", 2ULL << 30},
                                                          {"1t", 1ULL << 40},      {"64k", 64 << 10}};
  for (const auto& [text, bytes] : kSizes) EXPECT_EQ(accepted({"--max-memory", text}).max_memory, bytes) << text;
  for (const char* text : {"", "G", "0", "-1", "1X", "1GG", "2 G", "nan", "inf", "1e30G"})
    EXPECT_THAT(refused({"--max-memory", text}), HasSubstr("--max-memory")) << text;
}

TEST(Options, jobs_are_a_small_number) {
  EXPECT_EQ(accepted({}).jobs, 1);
  EXPECT_EQ(accepted({"--jobs", "256"}).jobs, 256);
  for (const char* text : {"", "0", "-1", "257", "two", "2x", "1.5", "99999999999"})
    EXPECT_THAT(refused({"--jobs", text}), HasSubstr("--jobs")) << text;
}

TEST(Options, take_every_flag) {
  const ExportOptions options = accepted({"--transformer",
                                          "t.pt",
                                          "--gru=g.pt",
                                          "--config",
                                          "c.json",
                                          "--output-dir",
                                          "out",
                                          "--sequence-length",
                                          "500",
                                          "--heads",
                                          "all",
                                          "--static",
                                          "--verify-input",
                                          "x.npz",
                                          "--quantize",
                                          "fp16",
                                          "--to",
                                          "tflite,onnx",
                                          "--json",
                                          "-v",
                                          "--no-color",
                                          "--jobs",
                                          "3",
                                          "--max-memory",
                                          "1.5G",
                                          "--no-sandbox"});
  EXPECT_EQ(options.jobs, 3);
  EXPECT_EQ(options.max_memory, 3ULL << 29);
  EXPECT_FALSE(options.sandbox);
  EXPECT_EQ(options.transformer, "t.pt");
  EXPECT_EQ(options.gru, "g.pt");
  EXPECT_EQ(options.config, "c.json");
  EXPECT_EQ(options.output_dir, "out");
  EXPECT_EQ(options.sequence_length, 500);
  EXPECT_TRUE(options.all_heads);
  EXPECT_TRUE(options.convert.static_shapes);
  EXPECT_EQ(options.verification.input, "x.npz");
  EXPECT_THAT(options.convert.tflite, ElementsAre(Precision::fp16));
  EXPECT_TRUE(options.screen.json);
  EXPECT_TRUE(options.screen.verbose);
  EXPECT_TRUE(options.screen.no_color);
  EXPECT_FALSE(accepted({"--no-verify"}).verify);
  EXPECT_TRUE(accepted({"--quiet"}).screen.quiet);
}

TEST(Options, take_any_number_of_named_models) {
  const ExportOptions options = accepted({"--model", "a=x=y.pt", "--model=b=z.pt"});
  ASSERT_EQ(options.models.size(), 2U);
  EXPECT_EQ(options.models[0].name, "a");
  EXPECT_EQ(options.models[0].path, "x=y.pt");
  EXPECT_EQ(options.models[1].name, "b");
}

TEST(Options, refuse_names_that_are_no_stems_or_taken) {
  EXPECT_THAT(refused({"--model", "a/b=x.pt"}), HasSubstr("holds a '/'"));
  EXPECT_THAT(refused({"--model", "x.pt"}), HasSubstr("expected NAME=PATH"));
  EXPECT_THAT(refused({"--model", "x="}), HasSubstr("expected NAME=PATH"));
  EXPECT_THAT(refused({"--model", "=x.pt"}), HasSubstr("empty"));
  EXPECT_THAT(refused({"--model", "gru=x.pt"}), HasSubstr("'gru' is taken"));
  EXPECT_THAT(refused({"--model", "sign_transformer=x.pt"}), HasSubstr("is taken"));
  EXPECT_THAT(refused({"--model", "a=x.pt", "--model", "a=y.pt"}), HasSubstr("'a' is taken"));
}

TEST(Options, choose_targets_and_precisions) {
  EXPECT_THAT(accepted({"--to", "onnx"}).convert.tflite, IsEmpty());
  EXPECT_FALSE(accepted({"--to", "tflite"}).convert.onnx);
  EXPECT_THAT(accepted({"--quantize", "fp16,fp32,fp16"}).convert.tflite, ElementsAre(Precision::fp16, Precision::fp32));
  EXPECT_THAT(refused({"--to", "tensorrt"}), HasSubstr("'tensorrt', expected a list of: onnx, savedmodel, tflite"));
  EXPECT_THAT(refused({"--to", ""}), HasSubstr("--to"));
  EXPECT_TRUE(accepted({"--to", "savedmodel"}).convert.savedmodel);
  EXPECT_FALSE(accepted({"--to", "onnx,tflite"}).convert.savedmodel);
  EXPECT_THAT(refused({"--quantize", "int7"}), HasSubstr("'int7', expected a list of: fp32, fp16"));
  EXPECT_THAT(refused({"--to", "onnx", "--quantize", "fp16"}), HasSubstr("--to leaves tflite out"));
}

TEST(Options, say_how_files_of_integers_are_made) {
  const ExportOptions options = accepted({"--quantize",
                                          "int8,w4",
                                          "--calibration",
                                          "x.npz",
                                          "--calibration-method",
                                          "mse",
                                          "--weight-method",
                                          "gptq",
                                          "--block-size",
                                          "64",
                                          "--io",
                                          "int8",
                                          "--exclude",
                                          "head",
                                          "--exclude",
                                          "^gru1$",
                                          "--range",
                                          "in.put=-1,2.5",
                                          "--max-error",
                                          "0.01",
                                          "--accept-loss",
                                          "--layer-costs"});
  const QuantizeOptions& how = options.convert.quantize;
  EXPECT_THAT(options.convert.tflite, ElementsAre(Precision::int8, Precision::w4));
  EXPECT_EQ(how.calibration, "x.npz");
  EXPECT_FALSE(how.random_calibration);
  EXPECT_EQ(how.range_method, "mse");
  EXPECT_EQ(how.weight_method, "gptq");
  EXPECT_EQ(how.block, 64);
  EXPECT_TRUE(how.integer_io);
  EXPECT_TRUE(how.layer_costs);
  EXPECT_THAT(how.exclude, ElementsAre("head", "^gru1$"));
  ASSERT_EQ(how.ranges.size(), 1U);
  EXPECT_EQ(how.ranges[0].pattern, "^in\\.put$");
  EXPECT_EQ(how.ranges[0].low, -1);
  EXPECT_EQ(how.ranges[0].high, 2.5);
  EXPECT_EQ(options.verification.max_error, 0.01);
  EXPECT_TRUE(options.verification.accept_loss);
  EXPECT_EQ(options.verification.held_out, "x.npz");
}

TEST(Options, a_recipe_adds_its_file) {
  const ExportOptions options = accepted({"--recipe", "r.json"});
  EXPECT_THAT(options.convert.tflite, ElementsAre(Precision::fp32, Precision::fp16, Precision::recipe));
  EXPECT_EQ(options.convert.quantize.recipe, "r.json");
  EXPECT_THAT(refused({"--recipe", "r.json", "--to", "onnx"}), HasSubstr("--recipe makes a TFLite file"));
}

TEST(Options, random_numbers_calibrate_only_when_they_are_asked_for) {
  const ExportOptions options = accepted({"--quantize", "int8", "--calibration", "random"});
  EXPECT_TRUE(options.convert.quantize.random_calibration);
  EXPECT_EQ(options.convert.quantize.calibration, std::nullopt);
  EXPECT_EQ(options.verification.held_out, std::nullopt);
}

TEST(Options, refuse_words_that_quantisation_does_not_know) {
  const auto with = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"--quantize", "int8,w4"});
    return refused(more);
  };
  EXPECT_THAT(with({"--calibration-method", "minmax"}), HasSubstr("min-max, moving-average, percentile, mse, kl"));
  EXPECT_THAT(with({"--weight-method", "awq"}), HasSubstr("min-max, mse, gptq"));
  EXPECT_THAT(with({"--block-size", "48"}), HasSubstr("32, 64, 128, 256, 0"));
  EXPECT_THAT(with({"--io", "uint8"}), HasSubstr("float32, int8"));
  for (const char* range : {"input", "input=0", "=0,1", "input=1,2", "input=0,0", "input=a,b", "input=0,inf"})
    EXPECT_THAT(with({"--range", range}), HasSubstr("NAME=LOW,HIGH")) << range;
  for (const char* error : {"", "0", "-1", "much", "nan"})
    EXPECT_THAT(with({"--max-error", error}), HasSubstr("--max-error")) << error;
}

TEST(Options, refuse_flags_that_no_file_heeds) {
  EXPECT_THAT(refused({"--calibration", "x.npz"}), HasSubstr("--calibration is for files of"));
  EXPECT_THAT(refused({"--quantize", "dynamic", "--io", "int8"}), HasSubstr("int8, int16x8 or a recipe"));
  EXPECT_THAT(refused({"--quantize", "int8", "--block-size", "32"}), HasSubstr("w4"));
  EXPECT_THAT(refused({"--accept-loss"}), HasSubstr("--accept-loss"));
}

TEST(Options, want_a_length_that_is_a_number_of_frames) {
  EXPECT_EQ(accepted({"--sequence-length", "100000"}).sequence_length, 100'000);
  for (const char* text : {"0", "-5", "100001", "99999999999999999999", "-99999999999999999999"})
    EXPECT_THAT(refused({"--sequence-length", text}), HasSubstr("expected 1 to 100000")) << text;
  EXPECT_THAT(refused({"--sequence-length=-5"}), HasSubstr("is -5, expected"));
  for (const char* text : {"many", "3.5", "300x", "1e3", " 300"}) {
    EXPECT_THAT(refused({"--sequence-length", text}), HasSubstr("expected a number of frames")) << text;
  }
}

TEST(Options, suggest_the_nearest_flag) {
  EXPECT_THAT(refused({"--sequnce-length", "5"}), HasSubstr("did you mean '--sequence-length'?"));
  EXPECT_THAT(refused({"--no-verfy"}), HasSubstr("did you mean '--no-verify'?"));
  EXPECT_THAT(refused({"--seq-length=5"}), HasSubstr("did you mean '--sequence-length'?"));
  EXPECT_THAT(refused({"--out", "x"}), HasSubstr("did you mean '--output-dir'?"));
  EXPECT_THAT(refused({"--transformers", "x"}), HasSubstr("did you mean '--transformer'?"));
  EXPECT_THAT(refused({"--frobnicate"}), Not(HasSubstr("did you mean")));
}

TEST(Options, refuse_what_is_no_flag) {
  EXPECT_THAT(refused({"GRU.pt"}), HasSubstr("unexpected argument 'GRU.pt': checkpoints are given by --transformer"));
  EXPECT_THAT(refused({"-x"}), HasSubstr("unknown option '-x'"));
  EXPECT_THAT(refused({"a\x1b[31m"}), HasSubstr("'a\\x1b[31m'"));
}

TEST(Options, refuse_flags_without_value_or_given_twice) {
  EXPECT_THAT(refused({"--gru"}), HasSubstr("--gru needs a value: FILE"));
  EXPECT_THAT(refused({"--gru", "--json"}), HasSubstr("--gru needs a value"));
  EXPECT_THAT(refused({"--gru", ""}), HasSubstr("--gru is empty"));
  EXPECT_THAT(refused({"--output-dir", ""}), HasSubstr("--output-dir is empty"));
  EXPECT_THAT(refused({"--gru", "a", "--gru", "b"}), HasSubstr("--gru is given more than once"));
  EXPECT_THAT(refused({"--heads", "both"}), HasSubstr("'both', expected gloss or all"));
}

TEST(Options, refuse_contradictions) {
  EXPECT_THAT(refused({"--verify-input", "x.npz", "--no-verify"}), HasSubstr("contradict"));
  EXPECT_THAT(refused({"--quiet", "-v"}), HasSubstr("contradict"));
}

TEST(Options, print_help_and_version_whatever_else_is_said) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"-h"}, {"--frobnicate", "--help"}}) {
    const auto parsed = parse_options(arguments);
    EXPECT_EQ(std::get<Finish>(parsed).status, 0);
    EXPECT_EQ(std::get<Finish>(parsed).text, help_text());
  }
  const auto parsed = parse_options({"--version"});
  EXPECT_EQ(std::get<Finish>(parsed).status, 0);
  EXPECT_EQ(std::get<Finish>(parsed).text, "taper " + version() + "\n");
}

TEST(Help, explains_every_flag) {
  for (const std::string& flag : known_flags()) EXPECT_THAT(help_text(), HasSubstr(flag)) << flag;
}

TEST(Help, fits_a_screen_of_120_columns) {
  std::istringstream lines(help_text());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120U) << line;
}

TEST(Help, gives_examples_that_are_accepted) {
  std::istringstream lines(help_text());
  int examples = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  export_models")) continue;
    ++examples;
    // Words up to the description (two spaces) or a redirection.
    std::vector<std::string> arguments;
    std::istringstream words(line.substr(2, line.find("   ", 2) - 2));
    for (std::string word; words >> word && word != ">";) arguments.push_back(word);
    arguments.erase(arguments.begin());
    accepted(arguments);
  }
  EXPECT_GE(examples, 6);
}

}  // namespace
}  // namespace taper
