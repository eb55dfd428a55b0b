#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "taper/taper.h"

namespace taper {
namespace {

using Json = nlohmann::ordered_json;

Verification verification(const std::string& key, double cosine, bool passed) {
  Verification result;
  result.key = key;
  result.runtime = "LiteRT";
  result.runtime_version = "2.3.0";
  result.worst = {.input_shape = {1, 300, 178},
                  .cosine_similarity = cosine,
                  .max_error = 0.25,
                  .relative_error = 0.125,
                  .top1_agreement = 1};
  result.runs = {result.worst, result.worst};
  result.runs[1].input_shape = {3, 77, 178};
  result.passed = passed;
  return result;
}

ExportReport sample() {
  ModelReport model;
  model.key = "gru";
  model.model_name = "mediapipe_gru";
  model.source = "GRU.pt";
  model.info = ModelInfo{};
  model.info->family = "MediaPipeGRU";
  model.info->hyper_parameters = {{"hidden1", "256", "shapes"}, {"eps", "1e-05", "assumed"}};
  model.info->assumptions = {"eps is assumed"};
  model.info->input_shape = {1, 300, 178};
  model.info->source_format = "PyTorch zip checkpoint";
  model.info->source_sha256 = "abc";
  model.artifacts = {{"onnx", "exports/mediapipe_gru.onnx", 2'345'678, 0.5, {}},
                     {"tflite_fp32", "exports/mediapipe_gru_fp32.tflite", 2'300'000, 0.25, {}},
                     {"tflite_fp16", "exports/mediapipe_gru_fp16.tflite", 1'200'000, 0.25, {"2 weights stay float32"}}};
  model.verifications = {verification("tflite_fp32", 1.0, true), verification("tflite_fp16", 0.5, false)};
  model.verifications[1].verdict = "too far off";
  model.stage_seconds = {{"load", 0.125}, {"onnx", 0.5}};
  model.warnings = {"NaN in 'gru1.bias'"};
  model.peak_memory = 1234;
  ExportReport report;
  report.models = {model};
  return report;
}

TEST(Results, hold_what_was_asked_for_by_name) {
  const Json json = Json::parse(to_json(sample()));
  EXPECT_EQ(json["taper_version"], version());
  const Json& gru = json["gru"];
  EXPECT_EQ(gru["model_name"], "mediapipe_gru");
  EXPECT_EQ(gru["input_shape"], Json({1, 300, 178}));
  EXPECT_EQ(gru["files"]["onnx"], "exports/mediapipe_gru.onnx");
  EXPECT_EQ(gru["files"]["tflite_fp16"], "exports/mediapipe_gru_fp16.tflite");
  EXPECT_EQ(gru["sizes"]["tflite_fp32"], "2.3 MB");
  EXPECT_EQ(gru["bytes"]["tflite_fp32"], 2'300'000);
  EXPECT_EQ(gru["verification"]["fp32_cosine_similarity"], 1.0);
  EXPECT_EQ(gru["verification"]["fp16_cosine_similarity"], 0.5);
  EXPECT_EQ(gru["seconds"]["load"], 0.125);
  EXPECT_EQ(gru["peak_memory_bytes"], 1234);
  EXPECT_EQ(gru["family"], "MediaPipeGRU");
  EXPECT_EQ(gru["hyper_parameters"]["eps"]["origin"], "assumed");
  EXPECT_EQ(gru["assumed"][0], "eps is assumed");
  EXPECT_EQ(gru["warnings"][0], "NaN in 'gru1.bias'");
  EXPECT_EQ(gru["notes"]["tflite_fp16"][0], "2 weights stay float32");
  EXPECT_EQ(gru["source"], "GRU.pt");
  EXPECT_EQ(gru["source_sha256"], "abc");
  EXPECT_FALSE(gru.contains("error"));
  EXPECT_FALSE(gru.contains("skipped"));
}

TEST(Results, tell_of_each_judged_file_by_which_runtime_at_which_shapes) {
  const Json files = Json::parse(to_json(sample()))["gru"]["verification"]["files"];
  const Json& fp16 = files["tflite_fp16"];
  EXPECT_EQ(fp16["runtime"], "LiteRT");
  EXPECT_EQ(fp16["runtime_version"], "2.3.0");
  EXPECT_EQ(fp16["max_error"], 0.25);
  EXPECT_EQ(fp16["relative_error"], 0.125);
  EXPECT_EQ(fp16["passed"], false);
  EXPECT_EQ(fp16["verdict"], "too far off");
  EXPECT_EQ(fp16["runs"][1]["input_shape"], Json({3, 77, 178}));
  EXPECT_FALSE(files["tflite_fp32"].contains("verdict"));
}

TEST(Results, hold_the_error_of_a_model_with_its_places_and_next_step) {
  ExportReport report = sample();
  report.models[0] = {};
  report.models[0].key = "transformer";
  report.models[0].error = Error{"not a PyTorch file", {"in file 'T.pt'"}, "check the download"};
  const Json transformer = Json::parse(to_json(report))["transformer"];
  EXPECT_EQ(transformer["error"], "not a PyTorch file / in file 'T.pt'");
  EXPECT_EQ(transformer["next_step"], "check the download");
  EXPECT_EQ(transformer["files"], Json::object());
  EXPECT_FALSE(transformer.contains("family"));
}

TEST(Results, hold_the_error_of_the_job) {
  ExportReport report;
  report.error = Error{"the sequence length is 0", {}, {}};
  EXPECT_EQ(Json::parse(to_json(report))["error"], "the sequence length is 0");
}

TEST(Results, say_null_where_a_figure_is_not_finite) {
  ExportReport report = sample();
  report.models[0].verifications = {verification("tflite_fp32", std::nan(""), false)};
  report.models[0].verifications[0].worst.max_error = INFINITY;
  const Json judged = Json::parse(to_json(report))["gru"]["verification"];
  EXPECT_TRUE(judged["fp32_cosine_similarity"].is_null());
  EXPECT_TRUE(judged["files"]["tflite_fp32"]["max_error"].is_null());
}

TEST(Results, are_valid_json_whatever_bytes_names_have) {
  ExportReport report = sample();
  report.models[0].source = "\xff\xfe.pt";
  report.models[0].warnings = {"key '\xc3\x28'"};
  const Json json = Json::parse(to_json(report));
  EXPECT_EQ(json["gru"]["source"], "\ufffd\ufffd.pt");
}

TEST(Results, mark_a_model_whose_file_does_not_exist) {
  ExportReport report = sample();
  report.models[0].skipped = true;
  EXPECT_EQ(Json::parse(to_json(report))["gru"]["skipped"], true);
}

TEST(Results, tell_how_files_of_integers_were_made) {
  ExportReport report = sample();
  EXPECT_FALSE(Json::parse(to_json(report))["gru"].contains("quantization"));
  ModelReport& model = report.models[0];
  model.artifacts[2].quantization = QuantizationReport{
      .calibration_samples = 7,
      .random_calibration = true,
      .integer_share = 0.75,
      .layers = {{"gru1", "FULLY_CONNECTED", "int8", ""}, {"head", "FULLY_CONNECTED", "float32", "no range"}},
      .tensors = {{"w", "int8 per channel, scale 0.1"}}};
  model.layer_costs = {{"tflite_fp16", {{"gru1", "FULLY_CONNECTED", 1000, 0.5}}}};
  model.verifications[1].held_out = true;
  model.verifications[1].worst.samples = 3;
  model.verifications[1].worst.signal_to_noise = 40;
  const Json gru = Json::parse(to_json(report))["gru"];
  const Json& quantization = gru["quantization"]["tflite_fp16"];
  EXPECT_EQ(quantization["calibration_samples"], 7);
  EXPECT_EQ(quantization["random_calibration"], true);
  EXPECT_EQ(quantization["integer_share"], 0.75);
  EXPECT_EQ(quantization["float_layers"][0]["reason"], "no range");
  EXPECT_EQ(quantization["tensors"]["w"], "int8 per channel, scale 0.1");
  EXPECT_EQ(gru["layer_costs"]["tflite_fp16"][0]["relative_error"], 0.5);
  const Json& judged = gru["verification"]["files"]["tflite_fp16"];
  EXPECT_EQ(judged["held_out_samples"], 3);
  EXPECT_EQ(judged["signal_to_noise_db"], 40);
}

}  // namespace
}  // namespace taper
