#include "quantize/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace taper {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Recipe parsed(std::string_view text) {
  auto recipe = parse_recipe(text);
  EXPECT_TRUE(recipe) << recipe.error().text();
  return recipe ? *recipe : Recipe{};
}

std::string problem(std::string_view text) {
  const auto recipe = parse_recipe(text);
  return recipe ? "" : recipe.error().text();
}

LayerConfig config_of(const Recipe& recipe, const std::string& path, std::string_view operation) {
  const RecipeEntry* entry = entry_for(recipe, {path, {}}, operation);
  return entry == nullptr ? LayerConfig{} : entry->config;
}

std::string entry_of(std::string_view members) {
  return fmt::format(R"([{{"regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize", {}}}])",
                     members);
}

// ------------------------------------------------------------------------------------- the recipes of
// ai-edge-quantizer

constexpr std::string_view kStaticInt8 = R"([{
  "regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize",
  "op_config": {
    "activation_tensor_config": {"num_bits": 8, "symmetric": false, "granularity": "TENSORWISE", "dtype": "INT"},
    "weight_tensor_config": {"num_bits": 8, "symmetric": true, "granularity": "CHANNELWISE", "dtype": "INT",
                             "block_size": 0},
    "compute_precision": "INTEGER", "explicit_dequantize": false, "skip_checks": false, "min_weight_elements": 0}}])";

TEST(Recipe, reads_full_integer_with_int8_activations) {
  const Recipe recipe = parsed(kStaticInt8);
  const LayerConfig config = config_of(recipe, "encoder", "FULLY_CONNECTED");
  EXPECT_EQ(config.activation, (TensorScheme{.bits = 8, .symmetric = false}));
  EXPECT_EQ(config.weight, (TensorScheme{.bits = 8, .per_channel = true}));
  EXPECT_TRUE(config.integer_compute);
  EXPECT_EQ(config.weight_method, WeightMethod::min_max);
  EXPECT_EQ(scheme_name(config), "int8");
  EXPECT_TRUE(recipe.needs_calibration());
}

TEST(Recipe, reads_int16_activations) {
  const Recipe recipe = parsed(entry_of(R"("op_config": {
    "activation_tensor_config": {"num_bits": 16, "symmetric": true, "granularity": "TENSORWISE", "dtype": "INT"},
    "weight_tensor_config": {"num_bits": 8, "symmetric": true, "granularity": "CHANNELWISE", "dtype": "INT"},
    "compute_precision": "INTEGER"})"));
  EXPECT_EQ(scheme_name(recipe.entries[0].config), "int16x8");
}

TEST(Recipe, reads_dynamic_range_with_its_least_size) {
  const Recipe recipe = parsed(entry_of(R"("op_config": {
    "weight_tensor_config": {"num_bits": 8, "symmetric": true, "granularity": "CHANNELWISE", "dtype": "INT"},
    "compute_precision": "INTEGER", "explicit_dequantize": false, "min_weight_elements": 1024})"));
  EXPECT_EQ(scheme_name(recipe.entries[0].config), "dynamic");
  EXPECT_EQ(recipe.entries[0].config.min_weight_elements, 1024);
  EXPECT_FALSE(recipe.needs_calibration());
}

TEST(Recipe, reads_weight_only_and_float16) {
  const Recipe w4 = parsed(entry_of(R"("op_config": {
    "weight_tensor_config": {"num_bits": 4, "symmetric": false, "granularity": "CHANNELWISE", "dtype": "INT"},
    "compute_precision": "FLOAT", "explicit_dequantize": true})"));
  EXPECT_EQ(scheme_name(w4.entries[0].config), "w4");
  EXPECT_FALSE(w4.entries[0].config.weight->symmetric);
  const Recipe half = parsed(R"([{"regex": ".*", "operation": "FULLY_CONNECTED", "algorithm_key": "float_casting",
    "op_config": {"weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"}, "explicit_dequantize": true}}])");
  EXPECT_EQ(scheme_name(half.entries[0].config), "float16");
}

TEST(Recipe, later_entries_win_for_what_they_speak_of) {
  const Recipe recipe = parsed(R"([
    {"regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize",
     "op_config": {"weight_tensor_config": {"num_bits": 8, "channel_wise": true}, "compute_precision": "INTEGER"}},
    {"regex": ".*", "operation": "FULLY_CONNECTED", "algorithm_key": "min_max_uniform_quantize",
     "op_config": {"weight_tensor_config": {"num_bits": 4, "channel_wise": true}, "explicit_dequantize": true}},
    {"regex": "head", "algorithm_key": "no_quantize"},
    {"regex": ".*", "operation": "CONV_2D", "algorithm_key": "no_quantize"}])");
  EXPECT_EQ(scheme_name(config_of(recipe, "encoder", "FULLY_CONNECTED")), "w4");
  EXPECT_EQ(scheme_name(config_of(recipe, "encoder", "BATCH_MATMUL")), "dynamic");
  EXPECT_EQ(scheme_name(config_of(recipe, "encoder", "CONV_2D")), "float32");
  EXPECT_EQ(scheme_name(config_of(recipe, "net.head", "FULLY_CONNECTED")), "float32");
}

TEST(Recipe, passes_over_entries_that_are_not_possible) {
  const Recipe recipe = parsed(R"([
    {"regex": ".*", "algorithm_key": "min_max_uniform_quantize",
     "op_config": {"weight_tensor_config": {"num_bits": 8}, "compute_precision": "INTEGER"}},
    {"regex": ".*", "algorithm_key": "min_max_uniform_quantize",
     "op_config": {"weight_tensor_config": {"num_bits": 4}, "compute_precision": "INTEGER"}}])");
  const auto only_8 = [](const RecipeEntry& entry) { return entry.config.weight->bits == 8; };
  EXPECT_EQ(entry_for(recipe, {"a", {}}, "CONV_2D", only_8), &recipe.entries[0]);
  EXPECT_EQ(entry_for(recipe, {"a", {}}, "CONV_2D"), &recipe.entries[1]);
}

TEST(Recipe, knows_the_operators_that_there_are) {
  const auto for_operation = [](std::string_view operation) {
    return fmt::format(R"([{{"regex": ".*", "operation": "{}", "algorithm_key": "min_max_uniform_quantize",
      "op_config": {{"weight_tensor_config": {{"num_bits": 8}}, "compute_precision": "INTEGER"}}}}])",
                       operation);
  };
  EXPECT_THAT(problem(for_operation("CONV_9D")), HasSubstr("operation is \"CONV_9D\""));
  EXPECT_EQ(problem(for_operation("OUTPUT")), "");
  // What this converter reads tables with.
  EXPECT_EQ(scheme_name(config_of(parsed(for_operation("EMBEDDING_LOOKUP")), "words", "GATHER")), "dynamic");
}

TEST(Recipe, has_blocks_of_4_bits_only) {
  EXPECT_THAT(
      problem(entry_of(R"("op_config": {"weight_tensor_config": {"num_bits": 8, "granularity": "BLOCKWISE_32"}})")),
      HasSubstr("blocks of num_bits 8"));
}

TEST(Recipe, reads_blocks_in_both_forms) {
  const std::string_view forms[] = {R"("granularity": "BLOCKWISE_64")", R"("block_size": 64)"};
  for (const std::string_view form : forms) {
    const Recipe recipe =
        parsed(entry_of(fmt::format(R"("op_config": {{"weight_tensor_config": {{"num_bits": 4, {}}}}})", form)));
    EXPECT_EQ(recipe.entries[0].config.weight->block, 64);
    EXPECT_TRUE(recipe.entries[0].config.weight->per_channel);
  }
}

TEST(Recipe, knows_the_searches) {
  for (const auto& [key, method] :
       {std::pair{"MSE", WeightMethod::mse}, {"OCTAV", WeightMethod::mse}, {"GPTQ", WeightMethod::gptq}}) {
    const Recipe recipe = parsed(fmt::format(
        R"([{{"regex": "a", "algorithm_key": "{}", "op_config": {{"weight_tensor_config": {{"num_bits": 4}}}}}}])",
        key));
    EXPECT_EQ(recipe.entries[0].config.weight_method, method);
    EXPECT_EQ(recipe.needs_calibration(), method == WeightMethod::gptq);
  }
}

// As ai-edge-quantizer's dynamic_wi4_afp32_hadamard_recipe.json has it.
TEST(Recipe, reads_rotations) {
  const auto rotating = [](std::string_view key, std::string_view weight, std::string_view rest = "") {
    return fmt::format(R"([{{"regex": ".*", "operation": "*", "algorithm_key": "{}", "op_config": {{
      "weight_tensor_config": {{"num_bits": 4, "symmetric": true, "granularity": "CHANNELWISE", "dtype": "INT"{}}}{},
      "compute_precision": "INTEGER", "explicit_dequantize": false, "min_weight_elements": 0}}}}])",
                       key, weight, rest);
  };
  for (const char* key : {"HADAMARD_ROTATION", "DECOMPOSED_HADAMARD_ROTATION"}) {
    const Recipe recipe = parsed(rotating(key, ""));
    EXPECT_EQ(recipe.entries[0].config.rotation, 1024);
    EXPECT_EQ(recipe.entries[0].config.weight_method, WeightMethod::mse);
    EXPECT_EQ(scheme_name(recipe.entries[0].config), "dynamic4");
  }
  const auto sized = [&](int size) {
    return rotating("HADAMARD_ROTATION", fmt::format(R"(, "algorithm_params": {{"max_hadamard_size": {}}})", size));
  };
  EXPECT_EQ(parsed(sized(64)).entries[0].config.rotation, 64);
  EXPECT_EQ(parsed(sized(0)).entries[0].config.rotation, 1024);
  EXPECT_EQ(parsed(sized(1 << 30)).entries[0].config.rotation, 1024);
  EXPECT_THAT(problem(rotating("HADAMARD_ROTATION", "", R"(, "activation_tensor_config": {"num_bits": 8})")),
              HasSubstr("activations of dtype FLOAT"));
  EXPECT_THAT(problem(rotating("HADAMARD_ROTATION", R"(, "algorithm_params": {"seed": 1})")),
              AllOf(HasSubstr("'seed'"), HasSubstr("max_hadamard_size")));
}

// -------------------------------------------------------------------------------------------------------- our own form

TEST(Recipe, reads_ranges_beside_layers) {
  const Recipe recipe = parsed(R"({"layers": [], "ranges": {"^input$": [0, 1], "gru": [-1, 1]}})");
  ASSERT_NE(range_for(recipe, "input"), nullptr);
  EXPECT_EQ(range_for(recipe, "input")->range, (Range{0, 1}));
  EXPECT_EQ(range_for(recipe, "my_gru_1")->range, (Range{-1, 1}));
  EXPECT_EQ(range_for(recipe, "inputs"), nullptr);
}

TEST(Recipe, scopes_are_looked_for_in_module_paths_and_else_in_names) {
  const auto pattern = NamePattern::parse("^layers\\.1\\.");
  ASSERT_TRUE(pattern);
  EXPECT_TRUE(matches(*pattern, {"layers.1.fc", {"linear_7"}}));
  EXPECT_FALSE(matches(*pattern, {"layers.11.fc", {"layers.1.fc"}}));
  EXPECT_TRUE(matches(*pattern, {"", {"x", "layers.1.fc"}}));
}

// -------------------------------------------------------------------------------------------------------------
// refusals

TEST(Recipe, unknown_members_are_errors_that_name_the_known_ones) {
  EXPECT_THAT(
      problem(R"([{"regex": "a", "scope": "b"}])"),
      AllOf(HasSubstr("'scope'"), HasSubstr("regex, operation, algorithm_key, op_config"), HasSubstr("entry 1")));
  EXPECT_THAT(problem(R"({"layer": []})"), AllOf(HasSubstr("'layer'"), HasSubstr("layers, ranges")));
  EXPECT_THAT(problem(entry_of(R"("op_config": {"weights": {}})")), HasSubstr("weight_tensor_config"));
  EXPECT_THAT(problem(entry_of(R"("op_config": {"weight_tensor_config": {"num_bits": 8, "bits": 4}})")),
              AllOf(HasSubstr("'bits'"), HasSubstr("num_bits")));
}

TEST(Recipe, unknown_words_are_errors_that_name_the_known_ones) {
  EXPECT_THAT(problem(R"([{"regex": "a", "algorithm_key": "DEQUANTIZED_WEIGHT_RECOVERY"}])"),
              AllOf(HasSubstr("DEQUANTIZED_WEIGHT_RECOVERY"), HasSubstr("min_max_uniform_quantize, no_quantize")));
  EXPECT_THAT(problem(R"([{"regex": "a", "operation": "linear"}])"), HasSubstr("FULLY_CONNECTED"));
  EXPECT_THAT(problem(entry_of(R"("op_config": {"weight_tensor_config": {"num_bits": 7}})")), HasSubstr("4 or 8"));
  EXPECT_THAT(problem(entry_of(R"("op_config": {"weight_tensor_config": {"num_bits": 4, "block_size": 48}})")),
              HasSubstr("32, 64, 128 or 256"));
}

TEST(Recipe, refuses_contradictions) {
  const auto with = [](std::string_view activation, std::string_view rest) {
    return problem(entry_of(
        fmt::format(R"("op_config": {{"activation_tensor_config": {}, "weight_tensor_config": {{"num_bits": 8}}, {}}})",
                    activation, rest)));
  };
  EXPECT_THAT(with(R"({"num_bits": 8})", R"("compute_precision": "FLOAT")"), HasSubstr("INTEGER"));
  EXPECT_THAT(with(R"({"num_bits": 8})", R"("compute_precision": "INTEGER", "explicit_dequantize": true)"),
              HasSubstr("contradict"));
  EXPECT_THAT(with(R"({"num_bits": 8, "granularity": "CHANNELWISE"})", R"("compute_precision": "INTEGER")"),
              HasSubstr("TENSORWISE"));
  EXPECT_THAT(problem(entry_of(R"("op_config": {})")), HasSubstr("neither"));
}

TEST(Recipe, refuses_ranges_that_are_none) {
  for (const std::string_view range : {"[1, 2]", "[0, 0]", "[0]", "[0, 1e999]", "\"0..1\"", "[-2, -1]"})
    EXPECT_NE(problem(fmt::format(R"({{"ranges": {{"x": {}}}}})", range)), "") << range;
}

TEST(Recipe, bounds_what_a_file_may_cost) {
  EXPECT_THAT(problem(std::string(2 << 20, ' ')), HasSubstr("at most"));
  EXPECT_THAT(problem(std::string(10'000, '[')), HasSubstr(""));
  std::string nested = R"([{"regex": )" + std::string(200, '[') + std::string(200, ']') + "}]";
  EXPECT_THAT(problem(nested), HasSubstr("nested"));
  EXPECT_THAT(problem("not json"), HasSubstr("not JSON"));
  EXPECT_THAT(problem(std::string_view("[]\0", 3)), HasSubstr("NUL"));
}

TEST(NamePattern, refuses_what_it_does_not_understand) {
  for (const std::string text : {"(", "[z-a]", "(?i)a", "a{99}{99}{99}", "((a{80}){80}){80}"})
    EXPECT_FALSE(NamePattern::parse(text)) << text;
  EXPECT_FALSE(NamePattern::parse(std::string(1000, 'a')));
}

TEST(NamePattern, looks_ahead) {
  const auto pattern = NamePattern::parse("^(?!head).*");
  ASSERT_TRUE(pattern);
  EXPECT_TRUE(pattern->found_in("body"));
  EXPECT_FALSE(pattern->found_in("head"));
}

// Matchers in depth need 2^60 steps for this and never come to the end.
TEST(NamePattern, patterns_that_explode_elsewhere_come_to_an_end) {
  for (const std::string text : {"^(a*)*b$", "^(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$"}) {
    const auto pattern = NamePattern::parse(text);
    ASSERT_TRUE(pattern);
    EXPECT_FALSE(pattern->found_in(std::string(60, 'a') + "!"));
  }
}

}  // namespace
}  // namespace taper
