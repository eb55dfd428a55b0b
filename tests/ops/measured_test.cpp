// Sizes that the evaluation measures anew in each step of a loop.
#include <gtest/gtest.h>

#include "ops/builder.h"
#include "ops/evaluate.h"

namespace taper {
namespace {

TEST(Evaluate, computes_what_follows_from_constants_again_where_its_size_is_measured) {
  const Type number{DType::i64, {}}, sum{DType::f32, {}};
  const auto constant = [](Builder& build, double value) {
    return build.constant(to_tensor(Array{DType::i64, {}, {value}}));
  };
  std::vector<std::unique_ptr<Graph>> regions;
  for (const bool is_body : {false, true}) {
    Graph& region = *regions.emplace_back(std::make_unique<Graph>());
    Builder build(region);
    Value* step = region.add_input("step", number);
    Value* so_far = region.add_input("so_far", sum);
    if (!is_body) {
      region.add_output("go_on", build("less", {step, constant(build, 3)}));
      continue;
    }
    Value* next = build("add", {step, constant(build, 1)});
    Value* range =
        build("range", {constant(build, 0), next, constant(build, 1)}, {{"length", Shape{Dim::symbol("count_1")}}});
    Value* ones = build("expand", {build.scalar(1)}, {{"shape", range->type.shape}});
    Value* all = build("sum", {ones}, {{"dims", std::vector<std::int64_t>{0}}, {"keepdim", false}});
    region.add_output("step", next);
    region.add_output("so_far", build("add", {so_far, all}));
    ASSERT_TRUE(build.status()) << build.status().error().text();
  }
  Graph graph;
  Builder build(graph);
  std::vector<Value*> results =
      build.call("while", {constant(build, 0), graph.add_input("x", sum)}, {}, "while", std::move(regions));
  ASSERT_TRUE(build.status()) << build.status().error().text();
  graph.add_output("y", results[1]);
  const auto found = evaluate(graph, std::vector<Array>{{DType::f32, {}, {0}}});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ((*found)[0].values, (std::vector<double>{1 + 2 + 3}));
}

}  // namespace
}  // namespace taper
