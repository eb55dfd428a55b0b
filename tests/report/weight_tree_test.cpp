#include "report/weight_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "report/text.h"

namespace taper {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

WeightTree leaf(std::string name, std::string kind = "Linear 4 -> 2") {
  WeightTree tree;
  tree.name = std::move(name);
  tree.kind = std::move(kind);
  tree.weights = {{"weight", "float32", {2, 4}}, {"bias", "float32", {2}}};
  tree.tensors = 2;
  tree.parameters = 10;
  tree.bytes = 40;
  return tree;
}

WeightTree around(std::string name, std::vector<WeightTree> parts) {
  WeightTree tree;
  tree.name = std::move(name);
  for (const WeightTree& part : parts) {
    tree.tensors += part.tensors;
    tree.parameters += part.parameters;
    tree.bytes += part.bytes;
  }
  tree.parts = std::move(parts);
  return tree;
}

TEST(WeightTreeLines, stand_in_columns) {
  WeightTree layers = leaf("0");
  layers.last = "11";
  layers.alike = 12;
  const WeightTree tree = around("", {leaf("head"), around("encoder", {layers})});
  EXPECT_THAT(weight_tree_lines(tree, 40),
              ElementsAre("  head                   Linear 4 -> 2  weight [2, 4], bias [2] float32", "  encoder",
                          "    0 ... 11 (12 alike)  Linear 4 -> 2  weight [2, 4], bias [2] float32"));
  EXPECT_EQ(weight_tree_title(tree), "weights: 4 tensors, 20 parameters, 80 B");
}

TEST(WeightTreeLines, say_shapes_and_dtypes_once) {
  WeightTree norm = leaf("norm", "BatchNorm 8");
  norm.weights = {{"weight", "float32", {8}},
                  {"bias", "float32", {8}},
                  {"running_mean", "float32", {8}},
                  {"num_batches_tracked", "int64", {}}};
  EXPECT_THAT(weight_tree_lines(around("", {norm}), 40),
              ElementsAre(HasSubstr("weight, bias, running_mean [8] float32, num_batches_tracked [] int64")));
}

TEST(WeightTreeLines, are_bounded_and_count_what_they_leave_out) {
  std::vector<WeightTree> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(around("block" + std::to_string(i), std::vector(6, leaf("a"))));
  const auto lines = weight_tree_lines(around("", std::move(blocks)), 25);
  EXPECT_LE(lines.size(), 25u);
  EXPECT_THAT(lines, testing::Contains(HasSubstr("... 12 tensors, 60 parameters")));
  std::vector<WeightTree> flat;
  for (int i = 0; i < 5000; ++i) flat.push_back(leaf("w" + std::to_string(i)));
  const auto wide = weight_tree_lines(around("", std::move(flat)), 20);
  EXPECT_THAT(wide, SizeIs(20));
  EXPECT_EQ(wide.back(), "  ... and 4981 more");
}

TEST(WeightTreeLines, open_a_part_of_what_is_large) {
  std::vector<WeightTree> blocks;
  for (int i = 0; i < 5000; ++i) blocks.push_back(leaf("b" + std::to_string(i) + "x"));
  const auto lines = weight_tree_lines(around("", {around("blocks", std::move(blocks)), leaf("head")}), 20);
  EXPECT_LE(lines.size(), 20u);
  EXPECT_THAT(lines, testing::Contains("    ... and 4983 more"));
  EXPECT_THAT(lines.back(), HasSubstr("head"));
}

TEST(WeightTreeLines, show_names_that_cannot_disturb) {
  const auto lines = weight_tree_lines(around("", {leaf("\x1b[31m\nfake"), leaf(std::string(100'000, 'k'))}), 40);
  EXPECT_THAT(lines[0], HasSubstr("\\x1b[31m\\nfake"));
  EXPECT_LT(lines[1].size(), 200u);
  EXPECT_THAT(lines[1], HasSubstr("kk...kk"));
}

TEST(WeightTreeLines, of_every_weight_leave_nothing_out) {
  std::vector<WeightTree> flat;
  for (int i = 0; i < 100; ++i) flat.push_back(leaf("w" + std::to_string(i)));
  EXPECT_THAT(every_weight_lines(around("", std::move(flat))), SizeIs(300));
}

TEST(WeightTreeJson, has_the_structure) {
  const auto json = weight_tree_json(around("state_dict", {leaf("head")}));
  EXPECT_EQ(json.at("name"), "state_dict");
  EXPECT_EQ(json.at("parts").at(0).at("kind"), "Linear 4 -> 2");
  EXPECT_EQ(json.at("parts").at(0).at("weights").at(1).at("shape"), std::vector<std::int64_t>{2});
  EXPECT_FALSE(json.contains("alike"));
}

TEST(ErrorLines, show_what_was_found_and_the_lines_of_the_next_step) {
  const Error error{"no such network", {"in file 'a.pt'"}, "save it:\n  save(model)\x1b[2J"};
  const WeightTree found = around("", {leaf("head")});
  EXPECT_EQ(error_lines(error, &found),
            "no such network\nin file 'a.pt'\nweights: 2 tensors, 10 parameters, 40 B:\n"
            "  head  Linear 4 -> 2  weight [2, 4], bias [2] float32\n"
            "next: save it:\n        save(model)\\x1b[2J");
}

}  // namespace
}  // namespace taper
