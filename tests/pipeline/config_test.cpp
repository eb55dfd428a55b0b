#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/fake_steps.h"

namespace taper {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kFamilies = {"SignTransformer", "MediaPipeGRU"};

TEST(Config, may_speak_of_all_models_at_once) {
  const auto file = parse_config(R"({"num_heads": 4, "pooling": "cls", "norm_eps": 1e-5})", kFamilies);
  ASSERT_TRUE(file);
  for (const char* key : {"transformer", "anything"}) {
    EXPECT_EQ(file->of(key).num_heads, 4);
    EXPECT_EQ(file->of(key).pooling, "cls");
    EXPECT_EQ(file->of(key).norm_eps, 1e-5);
    EXPECT_FALSE(file->of(key).family);
  }
}

TEST(Config, may_be_the_name_of_a_family) {
  EXPECT_EQ(parse_config(R"("MediaPipeGRU")", kFamilies)->of("gru").family, "MediaPipeGRU");
}

TEST(Config, may_speak_of_each_model_by_its_key) {
  const auto file = parse_config(R"({"transformer": {"num_heads": 2}, "wave": "MediaPipeGRU"})", kFamilies);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->of("transformer").num_heads, 2);
  EXPECT_EQ(file->of("wave").family, "MediaPipeGRU");
  EXPECT_FALSE(file->of("gru").num_heads);
}

struct Refusal {
  const char* text;
  const char* reason;
};

class RefusedConfig : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusedConfig, says_what_was_found_and_expected) {
  const auto file = parse_config(GetParam().text, kFamilies);
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().text(), HasSubstr(GetParam().reason));
}

INSTANTIATE_TEST_SUITE_P(
    , RefusedConfig,
    ::testing::Values(
        Refusal{"", "not JSON"}, Refusal{"{", "line 1"}, Refusal{"[]", "found [], expected an object"},
        Refusal{"3", "found 3"},
        Refusal{R"("ResNet")", R"(the family is "ResNet", expected one of SignTransformer, Med)"},
        Refusal{R"({"num_heads": 4, "poolin": "max"})", "unknown member 'poolin'"},
        Refusal{R"({"gru": {"heads": 4}})", "unknown member 'heads'"},
        Refusal{R"({"gru": {"heads": 4}})", "for the model 'gru'"}, Refusal{R"({"num_heads": 0})", "num_heads is 0"},
        Refusal{R"({"num_heads": 2.5})", "num_heads is 2.5"}, Refusal{R"({"num_heads": "8"})", R"(num_heads is "8")"},
        Refusal{R"({"num_heads": 1e30})", "num_heads"}, Refusal{R"({"num_heads": 99999999999999999999})", "num_heads"},
        Refusal{R"({"pooling": "avg"})", R"(pooling is "avg", expected "mean")"},
        Refusal{R"({"norm_eps": 0})", "norm_eps is 0"}, Refusal{R"({"norm_eps": "1e-6"})", "norm_eps"},
        Refusal{R"({"family": null})", "the family is null"}, Refusal{R"({"gru": 3})", "found 3, expected an object"}));

TEST(Config, refuses_deep_nesting_without_recursion) {
  for (const std::size_t depth : {std::size_t{10}, std::size_t{30'000}}) {
    const std::string open(depth, '[');
    const auto list = parse_config(open + std::string(depth, ']'), kFamilies);
    ASSERT_FALSE(list);
    EXPECT_THAT(list.error().text(), HasSubstr("nested deeper than 8"));
    EXPECT_FALSE(parse_config(open, kFamilies));
    std::string objects = "0";
    for (std::size_t i = 0; i < std::min<std::size_t>(depth, 1000); ++i) objects = R"({"gru":)" + objects + "}";
    EXPECT_THAT(parse_config(objects, kFamilies).error().text(), HasSubstr("nested deeper than 8"));
  }
}

TEST(Config, refuses_what_no_configuration_is_in_few_words) {
  const std::string digits = R"({"num_heads": 1)" + std::string(5000, '7') + "x}";
  EXPECT_LT(parse_config(digits, kFamilies).error().text().size(), 400U);
  const std::string key = R"({")" + std::string(5000, 'k') + R"(": {"num_heads": 4, "poolin": 1}})";
  EXPECT_LT(parse_config(key, kFamilies).error().text().size(), 400U);
  EXPECT_THAT(parse_config(std::string(70'000, ' '), kFamilies).error().text(), HasSubstr("at most 65536"));
  using namespace std::string_view_literals;
  EXPECT_THAT(parse_config("{}\0{}"sv, kFamilies).error().text(), HasSubstr("NUL"));
}

TEST(Config, names_its_file_in_errors) {
  const testing_support::ScratchFolder scratch;
  const auto wrong = read_config_file(scratch.file("c.json", "{"), kFamilies);
  EXPECT_THAT(wrong.error().text(), HasSubstr("c.json"));
  const auto missing = read_config_file(scratch.path() / "none.json", kFamilies);
  EXPECT_THAT(missing.error().text(), HasSubstr("none.json"));
}

}  // namespace
}  // namespace taper
