// Checkpoints saved by PyTorch: what is read from each computes what PyTorch computed, or is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "formats/checkpoint_file.h"
#include "formats/npy.h"
#include "frontend/families.h"
#include "ops/evaluate.h"

namespace taper {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const std::filesystem::path kFixtures = std::filesystem::path(TAPER_SOURCE_DIR) / "tests/fixtures";

const Json& manifest() {
  static const Json json = Json::parse(std::ifstream(kFixtures / "manifest.json"));
  return json;
}

std::vector<Json> records(bool accepted) {
  std::vector<Json> result;
  for (const Json& record : manifest()["fixtures"])
    if (record["accept"] == accepted) result.push_back(record);
  return result;
}

std::string test_name(const testing::TestParamInfo<Json>& info) {
  std::string name = info.param["file"].get<std::string>().substr(std::string("checkpoints/").size());
  std::ranges::replace_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

LoadOptions options_of(const Json& record) {
  LoadOptions options;
  options.all_heads = true;
  if (record["config"].is_object()) {
    const Json& config = record["config"];
    if (config.contains("num_heads")) options.config.num_heads = config["num_heads"];
    if (config.contains("pooling")) options.config.pooling = config["pooling"];
    if (config.contains("norm_eps")) options.config.norm_eps = config["norm_eps"];
    if (config.contains("family")) options.config.family = config["family"];
  }
  const Json arguments = record.value("arguments", Json::array());
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
    if (arguments[i] == "--sequence-length") options.sequence_length = std::stoll(arguments[i + 1].get<std::string>());
  return options;
}

Expected<ImportedModel> import_file(const Json& record) {
  TAPER_ASSIGN(const Checkpoint checkpoint, read_checkpoint(kFixtures / record["file"].get<std::string>()));
  return import_checkpoint(checkpoint, options_of(record));
}

// max |a - b| over the spread of b.
double relative_error(const Array& a, const std::vector<double>& b) {
  double error = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double difference = std::abs(a.values[i] - b[i]);
    if (!(difference <= error)) error = difference;
  }
  const auto [least, most] = std::ranges::minmax(b);
  return error / (most - least);
}

class Accepted : public testing::TestWithParam<Json> {};

TEST_P(Accepted, computes_what_pytorch_computes) {
  const Json& record = GetParam();
  const Json& model = manifest()["models"][record["model"].get<std::string>()];
  const auto imported = import_file(record);
  ASSERT_TRUE(imported) << imported.error().text();
  const ModelInfo& info = imported->info;
  EXPECT_EQ(info.family, model["family"].get<std::string>());
  std::string told;
  for (const auto* list : {&info.warnings, &info.assumptions})
    for (const std::string& sentence : *list) told += sentence + "\n";
  for (const Json& word : record["warns"]) EXPECT_THAT(told, HasSubstr(word.get<std::string>()));

  const auto bytes = map_file(kFixtures / model["expected"].get<std::string>());
  ASSERT_TRUE(bytes);
  const auto arrays = read_npz(*bytes);
  ASSERT_TRUE(arrays);
  const auto array = [&](const std::string& name) -> const Tensor* {
    const auto found = std::ranges::find(*arrays, name, [](const auto& entry) { return entry.first; });
    return found == arrays->end() ? nullptr : &found->second;
  };
  for (const Json& shape : model["shapes"]) {
    const std::string suffix = fmt::format("_{}x{}", shape[0].get<int>(), shape[1].get<int>());
    SCOPED_TRACE(suffix);
    const auto outputs = evaluate(imported->graph, {to_array(*array("x" + suffix))});
    ASSERT_TRUE(outputs) << outputs.error().text();
    ASSERT_EQ(outputs->size(), info.outputs.size());
    EXPECT_EQ(outputs->size() == 2, array("category" + suffix) != nullptr);
    for (std::size_t i = 0; i < outputs->size(); ++i) {
      if (told.find(info.outputs[i] + "_head.weight") != std::string::npos) continue;  // NaN, as warned of
      const Tensor* expected = array(info.outputs[i] + suffix);
      ASSERT_TRUE(expected);
      EXPECT_EQ((*outputs)[i].shape, expected->shape);
      // PyTorch's float32 against float64: a few hundred roundings of 6e-8.
      EXPECT_LT(relative_error((*outputs)[i], to_double(*expected)), 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Accepted, testing::ValuesIn(records(true)), test_name);

class Refused : public testing::TestWithParam<Json> {};

TEST_P(Refused, is_refused_by_name) {
  const auto imported = import_file(GetParam());
  ASSERT_FALSE(imported);
  const std::string error = imported.error().text();
  for (const Json& word : GetParam()["mentions"]) EXPECT_THAT(error, HasSubstr(word.get<std::string>()));
  EXPECT_LT(error.size(), 3500u) << error;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Refused, testing::ValuesIn(records(false)), test_name);

}  // namespace
}  // namespace taper
