// Random graphs keep their text and, through the passes of every target, their meaning.
#include <gtest/gtest.h>

#include <set>

#include "ir/text.h"
#include "passes/passes.h"
#include "random_graphs.h"

namespace taper {
namespace {

// Weights that a pass computes are rounded to float32.
void expect_same(const RandomGraph& made, const Graph& after) {
  ASSERT_EQ(after.inputs().size(), made.graph.inputs().size());
  for (const std::vector<Array>& inputs : made.inputs) {
    const auto reference = evaluate(made.graph, inputs);
    ASSERT_TRUE(reference) << reference.error().text();
    const auto result = evaluate(after, inputs);
    ASSERT_TRUE(result) << result.error().text();
    ASSERT_EQ(result->size(), reference->size());
    for (std::size_t i = 0; i < result->size(); ++i) {
      const Array& expected = (*reference)[i];
      ASSERT_EQ((*result)[i].shape, expected.shape);
      ASSERT_EQ((*result)[i].dtype, expected.dtype);
      if (!made.exact[i]) continue;
      double largest = 1;
      for (const double value : expected.values) largest = std::max(largest, std::fabs(value));
      for (std::size_t k = 0; k < expected.values.size(); ++k)
        ASSERT_NEAR((*result)[i].values[k], expected.values[k], 2e-5 * largest) << "output " << i;
    }
  }
}

void expect_round_trip(const Graph& graph) {
  std::vector<std::byte> blob;
  const std::string text = print(graph, &blob);
  const auto again = parse(text, share(std::move(blob)));
  ASSERT_TRUE(again) << again.error().text() << "\n" << text;
  EXPECT_TRUE(same_graph(graph, *again)) << text;
  EXPECT_TRUE(check(*again)) << text;
}

TEST(RandomGraphs, are_what_print_says_and_parse_reads) {
  std::size_t nodes = 0;
  std::set<std::string> rows;
  for (const std::uint64_t seed : random_seeds(1000)) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const RandomGraph made = random_graph(seed);
    const Status status = check(made.graph);
    ASSERT_TRUE(status) << status.error().text() << print(made.graph);
    ASSERT_NO_FATAL_FAILURE(expect_round_trip(made.graph));
    nodes += made.graph.nodes().size();
    for (const Node& node : made.graph.nodes()) rows.insert(node.op);
  }
  EXPECT_GT(nodes, 5000u) << "the graphs are too small to judge anything";
  EXPECT_TRUE(rows.contains("scan"));
  std::size_t expected = 0, missing = 0;
  for (const Op& op : op_table()) {
    // A graph of float32 inputs has no integers but shapes.
    if (op.examples.empty() || op.examples[0].operands.empty() || op.examples[0].operands.back().dtype == DType::i64)
      continue;
    ++expected;
    if (!rows.contains(std::string(op.name))) ++missing;
  }
  // Chance leaves out some of many.
  EXPECT_LT(missing, expected / 5);
}

class RandomGraphs : public testing::TestWithParam<Target> {};

TEST_P(RandomGraphs, keep_their_meaning_through_every_pass) {
  std::size_t legal = 0;
  const auto seeds = random_seeds(300);
  for (const std::uint64_t seed : seeds) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const RandomGraph made = random_graph(seed);
    std::string last = print(made.graph);
    const auto result = legalize(made.graph, GetParam(), {}, [&](std::string_view pass, const Graph& after) {
      if (testing::Test::HasFatalFailure()) return;
      SCOPED_TRACE(fmt::format("after {}: {}\nbefore: {}", pass, print(after), last));
      expect_same(made, after);
      last = print(after);
    });
    if (testing::Test::HasFailure()) return;
    // Some rows are there for one target only; loops stack frames whose width is known.
    if (!result) {
      const std::string why = result.error().text();
      ASSERT_TRUE(why.starts_with("operators that") || why.starts_with("a scan stacks values")) << why << "\n" << last;
      continue;
    }
    ASSERT_NO_FATAL_FAILURE(expect_round_trip(*result));
    ++legal;
  }
  EXPECT_GT(legal, seeds.size() / 4);
}

INSTANTIATE_TEST_SUITE_P(Targets, RandomGraphs, testing::Values(Target::onnx, Target::tflite, Target::tensorflow),
                         [](const auto& target) { return std::string(target_name(target.param)); });

}  // namespace
}  // namespace taper
