#include "frontend/outline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_checkpoints.h"

namespace taper {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using Sizes = std::vector<std::int64_t>;

WeightTree outline_of_weights(const Weights& weights, bool folds = true) {
  Values values;
  const auto sets = find_weights(*values.state(weights));
  return sets ? outline(*sets, folds) : WeightTree{};
}

// What the module that has these weights alone is taken for.
std::string kind_of(const std::vector<std::pair<std::string, Sizes>>& shapes, const std::string& name = "part") {
  Weights weights;
  for (const auto& [key, shape] : shapes) add_random(weights, name + "." + key, shape);
  const WeightTree tree = outline_of_weights(weights);
  return tree.parts.size() == 1 ? tree.parts[0].kind : fmt::format("{} modules", tree.parts.size());
}

TEST(ModuleKind, tells_layers_by_names_and_shapes) {
  EXPECT_EQ(kind_of({{"weight", {8, 512}}, {"bias", {8}}}), "Linear 512 -> 8");
  EXPECT_EQ(kind_of({{"weight", {8, 512}}}), "Linear 512 -> 8, without bias");
  EXPECT_EQ(kind_of({{"weight", {4, 12}}, {"bias", {12}}}), "Linear 4 -> 12, transposed");
  EXPECT_EQ(kind_of({{"weight", {100, 16}}}, "tok_embeddings"), "Embedding 100 of 16");
  EXPECT_EQ(kind_of({{"weight", {64, 3, 7, 7}}}), "Conv2d 3 -> 64, kernel 7x7");
  EXPECT_EQ(kind_of({{"weight", {8, 1, 3}}, {"bias", {8}}}), "Conv1d 1 -> 8 (or depthwise), kernel 3");
  EXPECT_EQ(kind_of({{"weight", {8, 4, 2, 2, 2}}, {"bias", {4}}}), "ConvTranspose3d 8 -> 4, kernel 2x2x2");
  EXPECT_EQ(kind_of({{"weight_v", {8, 4, 3}}, {"weight_g", {8, 1, 1}}, {"bias", {8}}}),
            "Conv1d 4 -> 8, kernel 3, weight_norm");
  EXPECT_EQ(kind_of({{"weight", {16}}, {"bias", {16}}}), "LayerNorm or GroupNorm 16");
  EXPECT_EQ(kind_of({{"weight", {16}}}), "RMSNorm or PReLU 16");
  EXPECT_EQ(kind_of({{"weight", {1}}}), "PReLU");
  EXPECT_EQ(kind_of({{"weight", {8}}, {"bias", {8}}, {"running_mean", {8}}, {"running_var", {8}}}), "BatchNorm 8");
  EXPECT_EQ(kind_of({{"running_mean", {8}}, {"running_var", {8}}}), "BatchNorm 8, without weights");
}

TEST(ModuleKind, does_not_take_other_layers_for_linear_ones) {
  EXPECT_EQ(kind_of({{"weight", {4, 5}}, {"bias", {4, 5}}}), "LayerNorm 4x5");
  EXPECT_EQ(kind_of({{"weight", {4, 5}}, {"bias", {5, 4}}}), "");
  EXPECT_EQ(kind_of({{"weight", {4, 4}}}, "position_proj"), "Linear 4 -> 4, without bias");
  const Tensor flags = converted(random_tensor({2}, 1), DType::i8);
  EXPECT_EQ(outline_of_weights({{"part.weight", flags}}).parts.at(0).kind, "");
}

TEST(ModuleKind, finds_the_weight_under_spectral_norm) {
  EXPECT_EQ(kind_of({{"weight_orig", {6, 4}}, {"weight_u", {6}}, {"weight_v", {4}}, {"bias", {6}}}),
            "Linear 4 -> 6, spectral_norm or pruned");
}

TEST(ModuleKind, tells_recurrent_layers) {
  EXPECT_EQ(kind_of({{"weight_ih_l0", {12, 6}}, {"weight_hh_l0", {12, 4}}, {"bias_ih_l0", {12}}, {"bias_hh_l0", {12}}}),
            "GRU input 6, hidden 4");
  EXPECT_EQ(kind_of({{"weight_ih_l0", {16, 6}},
                     {"weight_hh_l0", {16, 4}},
                     {"weight_ih_l0_reverse", {16, 6}},
                     {"weight_ih_l1", {16, 8}}}),
            "LSTM input 6, hidden 4, 2 layers, bidirectional, without biases");
  EXPECT_EQ(
      kind_of({{"weight_ih_l0", {16, 6}}, {"weight_hh_l0", {16, 2}}, {"weight_hr_l0", {2, 4}}, {"bias_ih_l0", {16}}}),
      "LSTM input 6, hidden 4, projected to 2");
  EXPECT_EQ(kind_of({{"weight_ih", {12, 6}}, {"weight_hh", {12, 4}}}), "GRUCell input 6, hidden 4");
  EXPECT_EQ(kind_of({{"weight_ih_l0", {7, 6}}, {"weight_hh_l0", {7, 4}}}), "");
}

TEST(ModuleKind, tells_attention_but_not_its_heads) {
  Weights weights;
  add_random(weights, "attn.in_proj_weight", {48, 16});
  add_linear(weights, "attn.out_proj", 16, 16);
  const WeightTree tree = outline_of_weights(weights);
  EXPECT_EQ(tree.parts[0].kind, "MultiheadAttention embed 16, heads not told");
  EXPECT_EQ(tree.parts[0].parts[0].kind, "Linear 16 -> 16");
}

TEST(ModuleKind, is_nothing_where_shapes_do_not_fit) {
  EXPECT_EQ(kind_of({{"weight", {8, 4}}, {"bias", {5}}}), "");
  EXPECT_EQ(kind_of({{"weight", {}}}), "");
  EXPECT_EQ(kind_of({{"weight", {2, 2, 2, 2, 2, 2}}}), "");
  EXPECT_EQ(kind_of({{"weight_ih_l0", {0, 0}}, {"weight_hh_l0", {0, 0}}}), "RNN input 0, hidden 0, without biases");
}

TEST(Outline, folds_neighbours_that_are_alike) {
  Weights weights;
  for (int i = 0; i < 12; ++i) add_linear(weights, fmt::format("layers.{}.fc", i), i == 0 ? 3 : 4, 4);
  for (int i = 1; i < 4; ++i) add_linear(weights, fmt::format("block{}", i), 4, 4);
  const WeightTree tree = outline_of_weights(weights);
  ASSERT_THAT(tree.parts, SizeIs(2));
  const WeightTree& layers = tree.parts[0];
  ASSERT_THAT(layers.parts, SizeIs(2));
  EXPECT_EQ(layers.parts[1].name, "1");
  EXPECT_EQ(layers.parts[1].last, "11");
  EXPECT_EQ(layers.parts[1].alike, 11);
  EXPECT_EQ(layers.parts[1].parameters, 11 * 20);
  EXPECT_EQ(tree.parts[1].name + tree.parts[1].last, "block1block3");
  EXPECT_EQ(tree.parameters, 15 + 11 * 20 + 3 * 20);
  EXPECT_THAT(outline_of_weights(weights, false).parts[0].parts, SizeIs(12));
}

TEST(Outline, keeps_the_order_of_the_file_and_of_numbers) {
  Weights weights;
  for (const char* name : {"stem", "layers.0", "layers.10", "layers.9", "head"}) add_linear(weights, name, 2, 3);
  const WeightTree tree = outline_of_weights(weights);
  ASSERT_THAT(tree.parts, SizeIs(3));
  EXPECT_EQ(tree.parts[0].name, "stem");
  EXPECT_EQ(tree.parts[2].name, "head");
  EXPECT_EQ(tree.parts[1].parts[1].last, "10");
}

TEST(Outline, names_the_place_of_what_lies_in_a_training_dict) {
  Weights weights;
  add_linear(weights, "model.fc", 2, 3);
  Values values;
  const auto* root = values.dict({{"epoch", values.number(3)}, {"state_dict", values.state(weights)}});
  const auto sets = find_weights(*root);
  ASSERT_TRUE(sets);
  const WeightTree tree = outline(*sets);
  EXPECT_EQ(tree.name, "state_dict.model");
  EXPECT_EQ(tree.parts[0].name, "fc");
}

TEST(Outline, knows_the_classes_of_pickled_modules) {
  Weights weights;
  add_random(weights, "up.weight", {4, 4, 2, 2});
  Values values;
  const auto sets = find_weights(*values.module(weights, {}));
  ASSERT_TRUE(sets);
  const WeightTree tree = outline(*sets);
  ASSERT_THAT(tree.parts, SizeIs(1));
  EXPECT_EQ(tree.parts[0].kind, "Part");
  EXPECT_EQ(tree.kind, "Net");
}

TEST(Outline, bounds_how_deep_it_goes) {
  std::string key;
  for (int i = 0; i < 400; ++i) key += "a.";
  Weights weights;
  add_random(weights, key + "weight", {2});
  add_random(weights, "..", {2});
  add_random(weights, "", {2});
  WeightTree tree = outline_of_weights(weights);
  EXPECT_EQ(tree.tensors, 3);
  int depth = 0;
  const WeightTree* at = &tree;
  for (; !at->parts.empty(); at = &at->parts[0]) ++depth;
  EXPECT_LE(depth, 32);
}

TEST(Outline, counts_shared_weights_once) {
  Weights weights;
  add_random(weights, "a.weight", {4, 5});
  weights.emplace_back("b.weight", weights[0].second);
  const WeightTree tree = outline_of_weights(weights);
  EXPECT_EQ(tree.tensors, 2);
  EXPECT_EQ(tree.parameters, 20);
}

}  // namespace
}  // namespace taper
