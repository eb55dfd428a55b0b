// Shapes at the edge of 64 bits: what can't be reckoned is refused, never wrapped around.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "ir/text.h"
#include "ops/table.h"

namespace taper {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

// What check() says of a graph with these inputs and one node.
std::string refusal(const std::string& inputs, const std::string& node) {
  const auto graph = parse(fmt::format("graph g({}) {{\n  {}\n  return y = %y\n}}", inputs, node));
  if (!graph) return "not even read: " + graph.error().text();
  const auto status = check(*graph);
  return status ? "accepted" : status.error().text();
}

TEST(Overflow, a_reshape_between_counts_that_overflow_is_refused) {
  EXPECT_THAT(refusal("%x: f32[4294967296, 4294967296]",
                      "%y = reshape(%x) {shape = shape[8589934592, 8589934592]} : f32[8589934592, 8589934592]"),
              HasSubstr("another number of elements"));
}

TEST(Overflow, a_join_longer_than_64_bits_is_refused) {
  const std::string inputs = fmt::format("%a: f32[{}], %b: f32[T]", kLargest);
  EXPECT_THAT(refusal(inputs, "%y = concat(%a, %a) {dim = 0} : f32[1]"), HasSubstr("the operator gives"));
  // Sizes that stay apart are fine.
  EXPECT_EQ(refusal(inputs, fmt::format("%y = concat(%a, %b) {{dim = 0}} : f32[T + {}]", kLargest)), "accepted");
}

TEST(Overflow, the_gates_of_a_hidden_size_at_the_edge_are_no_other_size) {
  // 3 * 6148914691236517206 is 2 in 64 bits.
  const std::string hidden = "6148914691236517206";
  EXPECT_THAT(refusal(fmt::format("%x: f32[5, 2, 3], %w: f32[1, 2, 3], %r: f32[1, 2, {0}], %b: f32[1, 4]", hidden),
                      fmt::format("%y, %h = onnx_gru(%x, %w, %r, %b) {{hidden_size = 1}} : f32[5, 1, 2, {0}], "
                                  "f32[1, 2, {0}]",
                                  hidden)),
              HasSubstr("x, w, r, b have shapes"));
}

TEST(Overflow, slices_at_the_edge_are_refused) {
  const auto sliced = [](const std::string& attrs) {
    return refusal("%x: f32[7], %t: f32[T]", fmt::format("%y = slice(%x) {{{}}} : f32[1]", attrs));
  };
  EXPECT_THAT(sliced("dim = 0, start = 0, end = shape[8]"), HasSubstr("entries 0 to 8"));
  EXPECT_THAT(sliced("dim = 0, start = -9223372036854775808, end = shape[1]"), HasSubstr("entries"));
  EXPECT_THAT(sliced("dim = 0, start = 3, end = shape[-9223372036854775808]"), HasSubstr("the operator gives"));
  EXPECT_THAT(sliced("dim = -9223372036854775808, end = shape[1]"), HasSubstr("axis"));
  EXPECT_THAT(refusal("%t: f32[T]", "%y = slice(%t) {dim = 0, end = shape[T + 1]} : f32[T + 1]"),
              HasSubstr("entries 0 to T + 1"));
}

TEST(Overflow, an_attribute_of_one_size_holds_one) {
  for (const char* end : {"shape[]", "shape[1, 2]"})
    EXPECT_THAT(refusal("%x: f32[7]", fmt::format("%y = slice(%x) {{dim = 0, end = {}}} : f32[1]", end)),
                HasSubstr("sizes, expected one"));
  EXPECT_THAT(refusal("%x: f32[7], %n: i64[1]", "%y = narrow(%x, %n) {dim = 0, length = shape[]} : f32[1]"),
              HasSubstr("sizes, expected one"));
}

TEST(Overflow, a_negative_size_is_no_size) {
  EXPECT_THAT(refusal("%x: f32[-3]", "%y = relu(%x) : f32[-3]"), HasSubstr("negative"));
}

}  // namespace
}  // namespace taper
