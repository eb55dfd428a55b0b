#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "pipeline/fake_steps.h"

namespace taper {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing_support::Calls;
using testing_support::fake_steps;
using testing_support::ScratchFolder;

class RunExport : public ::testing::Test {
 protected:
  RunExport() {
    request.output_dir = scratch.path() / "out";
    request.progress = [this](const Progress& progress) { seen.push_back(progress); };
  }

  void add(const std::string& key, const fs::path& path) { request.models.push_back({key, key, path, {}}); }
  ExportReport run() { return run_export(request, fake_steps(calls)); }
  nlohmann::json results() const {
    std::ifstream file(request.output_dir / "export_results.json");
    return nlohmann::json::parse(file);
  }
  std::vector<std::string> finished_stages() const {
    std::vector<std::string> stages;
    for (const Progress& progress : seen) {
      if (progress.kind == Progress::Kind::stage_finished) stages.push_back(progress.stage);
    }
    return stages;
  }

  ScratchFolder scratch;
  ExportRequest request;
  std::vector<Progress> seen;
  std::shared_ptr<Calls> calls = std::make_shared<Calls>();
};

TEST_F(RunExport, loads_converts_and_verifies_and_writes_the_results) {
  add("gru", scratch.file("GRU.pt"));
  const ExportReport report = run();
  EXPECT_TRUE(report.succeeded());
  ASSERT_EQ(report.models.size(), 1U);
  EXPECT_EQ(report.models[0].artifacts.size(), 3U);
  EXPECT_GT(report.models[0].peak_memory, 1'000'000U);
  EXPECT_THAT(finished_stages(),
              ElementsAre("load", "onnx", "tflite_fp32", "tflite_fp16", "verify tflite_fp32", "verify tflite_fp16"));
  EXPECT_EQ(report.results_path, request.output_dir / "export_results.json");
  EXPECT_EQ(results()["gru"]["seconds"]["tflite_fp32"], 0.0125);
}

TEST_F(RunExport, hands_its_options_to_each_step) {
  add("gru", scratch.file("GRU.pt"));
  request.models[0].config.num_heads = 4;
  request.all_heads = true;
  request.sequence_length = 500;
  request.convert.static_shapes = true;
  request.convert.onnx = false;
  request.verification.seed = 7;
  run();
  EXPECT_EQ(calls->loads.at(0).config.num_heads, 4);
  EXPECT_TRUE(calls->loads.at(0).all_heads);
  EXPECT_EQ(calls->loads.at(0).sequence_length, 500);
  EXPECT_TRUE(calls->conversions.at(0).static_shapes);
  EXPECT_FALSE(calls->conversions.at(0).onnx);
  EXPECT_EQ(calls->verifications.at(0).seed, 7U);
}

TEST_F(RunExport, refuses_what_would_need_more_memory_than_is_allowed) {
  add("small", scratch.file("small.pt"));
  add("large", scratch.file("large.pt", std::string(3 << 20, 'x')));  // the steps need 1 MiB for each
  request.max_memory = 2 << 20;
  const ExportReport report = run();
  EXPECT_FALSE(report.models[0].error);
  ASSERT_TRUE(report.models[1].error);
  EXPECT_THAT(report.models[1].error->text(), HasSubstr("needs about 3.1 MB of memory, more than the 2.1 MB"));
  EXPECT_THAT(report.models[1].error->hint, HasSubstr("--max-memory"));
  request.max_memory = 1000;
  EXPECT_TRUE(run().models[0].error);
  EXPECT_EQ(calls->conversions.size(), 1U);
}

TEST_F(RunExport, tells_of_models_side_by_side_in_their_order) {
  constexpr int kModels = 12;
  for (int i = 0; i < kModels; ++i)
    add(fmt::format("m{}", i), scratch.file(i == 3 ? "broken.pt" : fmt::format("{}.pt", i)));
  std::atomic<int> running = 0, most = 0;
  const ModelInfo info;
  ExportSteps steps;  // without state, for they run in several threads
  steps.load = [&](const fs::path& path, const LoadOptions&) -> Expected<Model> {
    most = std::max(most.load(), ++running);
    std::this_thread::sleep_for(std::chrono::milliseconds(path.stem() == "0" ? 30 : 3));
    --running;
    if (path.stem() == "broken") return fail("broken");
    return Model(nullptr);
  };
  steps.info = [&](const Model&) -> const ModelInfo& { return info; };
  steps.convert = [](const auto&...) { return std::vector<Artifact>(1); };
  steps.verify = [](const auto&...) { return std::vector<Verification>(1, {.passed = true}); };
  steps.memory = [](const auto&...) { return std::uint64_t{1} << 20; };
  request.jobs = 4;
  const ExportReport report = run_export(request, steps);
  EXPECT_GT(most, 1);
  ASSERT_EQ(report.models.size(), static_cast<std::size_t>(kModels));
  std::vector<std::string> told;
  for (const Progress& progress : seen)
    if (told.empty() || told.back() != progress.model) told.push_back(progress.model);
  ASSERT_EQ(told.size(), static_cast<std::size_t>(kModels));
  for (int i = 0; i < kModels; ++i) {
    EXPECT_EQ(told[static_cast<std::size_t>(i)], fmt::format("m{}", i));
    EXPECT_EQ(report.models[static_cast<std::size_t>(i)].error.has_value(), i == 3);
  }
}

TEST_F(RunExport, does_not_verify_when_told_so) {
  add("gru", scratch.file("GRU.pt"));
  request.verify = false;
  EXPECT_TRUE(run().succeeded());
  EXPECT_TRUE(calls->verifications.empty());
}

TEST_F(RunExport, keeps_a_failure_to_the_model_that_failed) {
  add("transformer", scratch.file("broken.pt"));
  add("gru", scratch.file("GRU.pt"));
  const ExportReport report = run();
  EXPECT_FALSE(report.succeeded());
  EXPECT_FALSE(report.error);
  EXPECT_THAT(report.models[0].error->text(), HasSubstr("not a PyTorch file"));
  EXPECT_FALSE(report.models[1].error);
  EXPECT_EQ(report.models[1].artifacts.size(), 3U);
  EXPECT_THAT(results()["transformer"]["error"].get<std::string>(), HasSubstr("GIF8"));
  EXPECT_TRUE(results()["gru"]["files"].contains("onnx"));
}

TEST_F(RunExport, turns_what_a_step_throws_into_that_models_error) {
  add("a", scratch.file("throwing.pt"));
  add("b", scratch.file("huge.pt"));
  add("c", scratch.file("fine.pt"));
  const ExportReport report = run();
  EXPECT_EQ(report.models[0].error->message, "unexpected: surprise");
  EXPECT_EQ(report.models[1].error->message, "out of memory in the stage 'load'");
  EXPECT_FALSE(report.models[2].error);
}

TEST_F(RunExport, fails_a_model_that_cannot_be_converted) {
  add("stubborn", scratch.file("s.pt"));
  const ExportReport report = run();
  EXPECT_THAT(report.models[0].error->message, HasSubstr("whirl"));
  EXPECT_TRUE(report.models[0].artifacts.empty());
  EXPECT_FALSE(report.succeeded());
}

TEST_F(RunExport, fails_a_model_whose_files_disagree_and_keeps_them) {
  add("wrong", scratch.file("w.pt"));
  const ExportReport report = run();
  EXPECT_FALSE(report.succeeded());
  EXPECT_THAT(report.models[0].error->message, HasSubstr("tflite_fp32: relative error 0.3"));
  EXPECT_TRUE(fs::exists(request.output_dir / "wrong_fp32.tflite"));
  EXPECT_EQ(results()["wrong"]["verification"]["files"]["tflite_fp16"]["passed"], false);
}

TEST_F(RunExport, names_the_costly_layers_of_a_file_beyond_its_bound_and_the_flags_that_help) {
  request.convert.tflite = {Precision::int8};
  add("wrong", scratch.file("wrong.pt"));
  const ExportReport report = run();
  EXPECT_FALSE(report.succeeded());
  ASSERT_TRUE(report.models[0].error);
  EXPECT_THAT(report.models[0].error->message, HasSubstr("encoder.0 (FULLY_CONNECTED, 65.5 k weights): 2.5e-01; head"));
  EXPECT_THAT(report.models[0].error->hint, HasSubstr("--exclude"));
  EXPECT_THAT(report.models[0].error->hint, HasSubstr("--accept-loss"));
  EXPECT_EQ(results()["wrong"]["layer_costs"]["tflite_int8"][0]["layer"], "encoder.0");
}

TEST_F(RunExport, names_the_costly_layers_of_a_good_file_where_that_is_asked_for) {
  request.convert.tflite = {Precision::int8};
  add("gru", scratch.file("gru.pt"));
  EXPECT_TRUE(run().models[0].layer_costs.empty());
  request.convert.quantize.layer_costs = true;
  for (const bool verify : {true, false}) {
    request.verify = verify;
    EXPECT_TRUE(run().succeeded());
    EXPECT_EQ(results()["gru"]["layer_costs"]["tflite_int8"][0]["layer"], "encoder.0");
  }
}

TEST_F(RunExport, tells_of_calibration_while_it_runs) {
  request.convert.tflite = {Precision::int8};
  request.convert.quantize.calibration = "samples.npz";
  add("gru", scratch.file("gru.pt"));
  run();
  const auto told = [](const Progress& progress) {
    return progress.kind == Progress::Kind::stage_started && progress.stage == "calibrating, sample 1 of 2";
  };
  EXPECT_TRUE(std::ranges::any_of(seen, told));
}

TEST_F(RunExport, shows_the_plan_before_it_converts) {
  request.show_plan = true;
  add("gru", scratch.file("gru.pt"));
  run();
  std::vector<std::string> lines;
  for (const Progress& progress : seen)
    if (progress.kind == Progress::Kind::detail) lines.push_back(progress.text);
  EXPECT_THAT(lines, ElementsAre("tflite_int8", "  head FULLY_CONNECTED: float32, because it is excluded",
                                 "  w: int8 per channel, scale 0.1"));
}

TEST_F(RunExport, warns_of_random_calibration) {
  request.convert.tflite = {Precision::int8};
  request.convert.quantize.random_calibration = true;
  add("gru", scratch.file("gru.pt"));
  EXPECT_THAT(run().models[0].warnings, ElementsAre(HasSubstr("calibrated with random numbers")));
}

TEST_F(RunExport, fails_a_model_that_the_runtime_refuses) {
  add("blind", scratch.file("b.pt"));
  const ExportReport report = run();
  EXPECT_THAT(report.models[0].error->message, HasSubstr("LiteRT refuses"));
  EXPECT_EQ(report.models[0].artifacts.size(), 3U);
}

TEST_F(RunExport, warns_when_litert_was_not_the_judge) {
  add("unjudged", scratch.file("u.pt"));
  const ExportReport report = run();
  EXPECT_TRUE(report.succeeded());
  EXPECT_THAT(report.models[0].warnings, ElementsAre(HasSubstr("LiteRT was not found")));
}

TEST_F(RunExport, passes_on_what_the_model_warns_of) {
  add("gru", scratch.file("nan.pt"));
  EXPECT_THAT(run().models[0].warnings, ElementsAre(HasSubstr("NaN")));
  std::vector<std::string> warnings;
  for (const Progress& progress : seen) {
    if (progress.kind == Progress::Kind::warning) warnings.push_back(progress.text);
  }
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("NaN"), HasSubstr("norm_eps")));
}

TEST_F(RunExport, skips_a_missing_file_and_exports_the_other) {
  add("transformer", scratch.path() / "none.pt");
  add("gru", scratch.file("GRU.pt"));
  const ExportReport report = run();
  EXPECT_TRUE(report.succeeded());
  EXPECT_TRUE(report.models[0].skipped);
  EXPECT_EQ(seen[0].kind, Progress::Kind::model_skipped);
  EXPECT_EQ(results()["transformer"]["skipped"], true);
}

TEST_F(RunExport, fails_when_no_file_exists) {
  add("transformer", scratch.path() / "none.pt");
  const ExportReport report = run();
  EXPECT_FALSE(report.succeeded());
  EXPECT_THAT(report.error->message, HasSubstr("none.pt"));
  EXPECT_EQ(results()["transformer"]["skipped"], true);
}

class RefusedLength : public RunExport, public ::testing::WithParamInterface<std::int64_t> {};

TEST_P(RefusedLength, is_one_error_with_a_record_and_no_files) {
  add("gru", scratch.file("GRU.pt"));
  request.sequence_length = GetParam();
  const ExportReport report = run();
  EXPECT_FALSE(report.succeeded());
  EXPECT_THAT(report.error->message, HasSubstr(std::to_string(GetParam())));
  EXPECT_THAT(report.error->message, HasSubstr("expected 1 to 100000"));
  EXPECT_TRUE(calls->loads.empty());
  EXPECT_THAT(results()["gru"]["error"].get<std::string>(), HasSubstr("sequence length"));
  EXPECT_EQ(std::distance(fs::directory_iterator(request.output_dir), fs::directory_iterator()), 1);
}

INSTANTIATE_TEST_SUITE_P(, RefusedLength, ::testing::Values(0, -1, 100'001, INT64_MIN, INT64_MAX));

TEST_F(RunExport, takes_the_shortest_and_the_longest_sequence) {
  add("gru", scratch.file("GRU.pt"));
  for (const std::int64_t length : {std::int64_t{1}, kLongestSequence}) {
    request.sequence_length = length;
    EXPECT_TRUE(run().succeeded()) << length;
  }
}

TEST_F(RunExport, refuses_a_folder_that_is_a_file) {
  add("gru", scratch.file("GRU.pt"));
  request.output_dir = scratch.file("occupied");
  const ExportReport report = run();
  EXPECT_FALSE(report.succeeded());
  EXPECT_THAT(report.error->message, HasSubstr("cannot write to the folder"));
  EXPECT_TRUE(report.results_path.empty());
  EXPECT_TRUE(calls->loads.empty());
}

TEST_F(RunExport, refuses_a_folder_where_no_file_can_be_made) {
  add("gru", scratch.file("GRU.pt"));
  request.output_dir = "/proc/self";  // not writable for root either
  const ExportReport report = run();
  ASSERT_TRUE(report.error);
  EXPECT_THAT(report.error->message, HasSubstr("/proc/self"));
  EXPECT_FALSE(report.error->hint.empty());
}

TEST_F(RunExport, refuses_two_models_with_the_same_files) {
  add("gru", scratch.file("GRU.pt"));
  add("other", scratch.file("GRU.pt"));
  request.models[1].stem = "gru";
  EXPECT_THAT(run().error->message, HasSubstr("two models would write the files of 'gru'"));
}

TEST_F(RunExport, refuses_input_to_verify_with_that_does_not_exist_before_any_work) {
  add("gru", scratch.file("GRU.pt"));
  request.verification.input = scratch.path() / "none.npz";
  EXPECT_THAT(run().error->message, HasSubstr("none.npz"));
  EXPECT_TRUE(calls->loads.empty());
}

TEST_F(RunExport, tells_a_failure_with_its_place_and_next_step) {
  add("gru", scratch.file("broken.pt"));
  run();
  ASSERT_EQ(seen.back().kind, Progress::Kind::model_failed);
  EXPECT_THAT(seen.back().text, HasSubstr("\nin file '"));
  EXPECT_THAT(seen.back().text, HasSubstr("\nnext: save the model again"));
}

TEST_F(RunExport, needs_nobody_to_listen) {
  add("gru", scratch.file("GRU.pt"));
  request.progress = nullptr;
  EXPECT_TRUE(run().succeeded());
}

TEST(ModelNames, are_names_of_files_and_nothing_else) {
  for (const char* good : {"gru", "my-model.v2", "手話", "a b", "exports"}) EXPECT_TRUE(check_model_name(good)) << good;
  for (const char* bad :
       {"", ".", "..", ".hidden", "-x", "a/b", "a\\b", "/abs", "a\nb", "\xff", "taper_version", "error"}) {
    EXPECT_FALSE(check_model_name(bad)) << bad;
  }
  EXPECT_FALSE(check_model_name(std::string(101, 'a')));
  EXPECT_FALSE(check_model_name(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace taper
