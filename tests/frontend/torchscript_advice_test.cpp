#include "frontend/torchscript_advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace taper::torchscript {
namespace {

using testing::HasSubstr;

// A program that takes multiples of 8 in its last axis alone.
Status takes_multiples_of_8(const InputShapes& shapes) {
  const Dim& size = shapes.at("x").back();
  if (divide_exactly(size, Dim(8))) return {};
  return fail("concat: shapes [B, 2*{}] and [B, {}] differ", floor_divide(size, Dim(8)).text(), size.text());
}

TEST(Multiples, are_found_by_trying) {
  const InputShapes shapes = {{"x", {Dim::symbol("B"), 3, Dim::symbol("H")}}, {"n", {}}};
  const Error error = takes_multiples_of_8(shapes).error();
  const auto taken = multiples_taken(shapes, error, takes_multiples_of_8);
  ASSERT_TRUE(taken);
  EXPECT_EQ(shape_flags(shapes, *taken), "--input-shape x=B,3,8*H");
}

TEST(Multiples, are_of_sizes_that_the_error_divides_alone) {
  const InputShapes shapes = {{"x", {Dim::symbol("B"), 3, Dim::symbol("H")}}};
  int tries = 0;
  const auto never = [&](const InputShapes&) -> Status {
    ++tries;
    return fail("no");
  };
  EXPECT_FALSE(multiples_taken(shapes, Error{"B and H differ", {}, {}}, never));
  EXPECT_FALSE(multiples_taken(shapes, Error{"floor_div(other, 2)", {}, {}}, never));
  EXPECT_EQ(tries, 0);
  EXPECT_FALSE(multiples_taken(shapes, Error{"floor_div((H + 1), 2", {}, {}}, never));
  EXPECT_EQ(tries, 7);
}

}  // namespace
}  // namespace taper::torchscript
