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

TEST(Multiples, are_of_the_number_that_a_rule_names) {
  const InputShapes shapes = {{"x", {Dim::symbol("B"), 4, Dim::symbol("L")}}};
  const auto reads = [](const InputShapes& tried) -> Status {
    if (divide_exactly(tried.at("x").back(), Dim(3))) return {};
    return fail("split: axis 2 of {} does not split into 3 equal parts", shape_text(tried.at("x")));
  };
  const auto taken = multiples_taken(shapes, reads(shapes).error(), reads);
  ASSERT_TRUE(taken);
  EXPECT_EQ(shape_flags(shapes, *taken), "--input-shape x=B,4,3*L");
  int tries = 0;
  const auto never = [&](const InputShapes&) -> Status {
    ++tries;
    return fail("no");
  };
  EXPECT_FALSE(multiples_taken(shapes, Error{"the height L is no multiple of 99999999999999999999", {}, {}}, never));
  EXPECT_EQ(tries, 7);
}

TEST(Containers, tell_what_their_entries_are_called) {
  Function forward;
  ProgramOptions options;
  options.input_shapes["image"] = {1};
  const std::vector<MissingInput> arguments = {{"d", MissingInput::Kind::dict}, {"xs", MissingInput::Kind::list, 1}};
  EXPECT_THAT(names_of_entries(forward, arguments, options), testing::ElementsAre("d_image", "xs_0"));
  const Error error = with_list_items({"index 1 of a list of 1", {}, {}}, arguments);
  EXPECT_EQ(error.hint,
            "the items of the list 'xs' are inputs xs_0, xs_1, ...: give each a shape, --input-shape xs_1=SIZES");
  EXPECT_EQ(with_list_items({"index 1 of an axis", {}, {}}, arguments).hint, "");
}

}  // namespace
}  // namespace taper::torchscript
