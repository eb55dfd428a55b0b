// Usual sizes of what a file leaves open: small ones that the network runs at.
#include "pipeline/fitting_sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/builder.h"

namespace taper {
namespace {

using testing::HasSubstr;
using Numbers = std::vector<std::int64_t>;

// The largest of each window of `window` x `window` pixels of x [B, 3, H, W].
Graph pool(std::int64_t window) {
  Graph graph;
  Builder build(graph);
  Value* x = graph.add_input("x", {DType::f32, {Dim::symbol("B"), Dim(3), Dim::symbol("H"), Dim::symbol("W")}});
  Value* y = build("max_pool", {x},
                   {{"kernel", Numbers{window, window}},
                    {"stride", Numbers{2, 2}},
                    {"padding", Numbers{0, 0, 0, 0}},
                    {"dilation", Numbers{1, 1}}});
  graph.add_output("y", y);
  EXPECT_TRUE(build.status()) << build.status().error().text();
  return graph;
}

Bindings fitted(const Graph& graph, Symbols symbols) {
  fit_usual_sizes(graph, symbols);
  return usual_sizes(symbols);
}

const Symbols kUntold = {{"B", {.least = 1}}, {"H", {.least = 1}}, {"W", {}}};

TEST(FittingSizes, are_the_smallest_power_of_two_and_one_for_batches) {
  EXPECT_EQ(fitted(pool(5), kUntold), (Bindings{{"B", 1}, {"H", 8}, {"W", 8}}));
  EXPECT_EQ(fitted(pool(1), kUntold), (Bindings{{"B", 1}, {"H", 1}, {"W", 1}}));
  EXPECT_EQ(fitted(pool(300), kUntold), (Bindings{{"B", 1}, {"H", 512}, {"W", 512}}));
}

TEST(FittingSizes, leave_what_was_told) {
  EXPECT_EQ(fitted(pool(5), {{"B", {.usual = 4}}, {"H", {.usual = 32}}, {"W", {.usual = 48}}}),
            (Bindings{{"B", 4}, {"H", 32}, {"W", 48}}));
  EXPECT_EQ(fitted(pool(5), {{"B", {}}, {"H", {.usual = 32}}, {"W", {}}}), (Bindings{{"B", 1}, {"H", 32}, {"W", 8}}));
  EXPECT_EQ(fitted(pool(5), {{"B", {}}, {"H", {.most = 6}}, {"W", {.least = 7, .usual = 7}}}),
            (Bindings{{"B", 1}, {"H", 6}, {"W", 8}}));
}

TEST(FittingSizes, are_found_beside_operands_that_are_left_out) {
  const auto graph = parse(R"(graph "" (%x: f32[B, T, 1]) {
  %w = constant() {value = f32[3, 1] {1, 2, 3}} : f32[3, 1]
  %y, %h = gru(%x, %w, %w, none, none, none, none) {reverse = false} : f32[B, T, 1], f32[B, 1]
  return output = %y
})");
  ASSERT_TRUE(graph) << graph.error().text();
  EXPECT_EQ(fitted(*graph, {{"B", {}}, {"T", {}}}), (Bindings{{"B", 1}, {"T", 1}}));
}

TEST(FittingSizes, stay_where_none_fits) {
  EXPECT_EQ(fitted(pool(20000), kUntold), (Bindings{{"B", 1}, {"H", 1}, {"W", 1}}));
}

TEST(FittingSizes, are_asked_for_where_they_are_missing) {
  auto impl = std::make_shared<Model::Impl>();
  impl->graph = pool(20000);
  impl->symbols = kUntold;
  impl->info.kind = SourceKind::torchscript;
  const Error asked = wanting_sizes({"a window of size 20000", {}, {}}, Model(impl));
  EXPECT_THAT(asked.hint, HasSubstr("B = 1, H = 1, W = 1"));
  EXPECT_THAT(asked.hint, HasSubstr("--input-shape x="));
  EXPECT_EQ(wanting_sizes({"", {}, "another step"}, Model(impl)).hint, "another step");
}

}  // namespace
}  // namespace taper
