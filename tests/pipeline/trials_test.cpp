// What files are verified with: numbers that suit how the network uses them.
#include "pipeline/trials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "formats/npy.h"
#include "pipeline/programs.h"
#include "scratch_folder.h"

namespace taper {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Lt;
using testing_support::program;

// Rows of a table of five, scaled.
constexpr const char* kLookUp = R"(graph "" (%ids: i64[B, T], %scale: f32[B, T, 3]) {
  %table = constant() {value = f32[5, 3] {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}} : f32[5, 3]
  %rows = gather(%table, %ids) {dim = 0} : f32[B, T, 3]
  %y = mul(%rows, %scale) : f32[B, T, 3]
  return output = %y
})";

Trials trials_of(const Model& model, const VerifyOptions& options = {}, bool static_shapes = false) {
  auto trials = make_trials(model, options, static_shapes);
  EXPECT_TRUE(trials) << trials.error().text();
  return trials ? std::move(*trials) : Trials();
}

TEST(Trials, draw_integers_that_select_from_the_axis_they_index) {
  const Trials trials = trials_of(program(kLookUp, {{"B", {.usual = 3}}, {"T", {.usual = 40}}}));
  ASSERT_EQ(trials.all.size(), 2u);
  const Array& ids = trials.all[0].inputs[0];
  EXPECT_THAT(ids.shape, ElementsAre(3, 40));
  EXPECT_THAT(ids.values, Each(AllOf(Ge(0), Lt(5))));
  EXPECT_EQ(*std::ranges::max_element(ids.values), 4);
}

TEST(Trials, divide_by_no_zeros) {
  const Trials trials = trials_of(program(R"(graph "" (%x: i64[B, 4], %n: i64[B, 4]) {
  %first = slice(%n) {dim = 1, start = 0, end = shape[1], step = 1} : i64[B, 1]
  %y = floor_divide(%x, %first) : i64[B, 4]
  return output = %y
})",
                                          {{"B", {.usual = 50}}}));
  EXPECT_THAT(trials.all[0].inputs[1].values, Each(AllOf(Ge(1), Lt(9))));
  EXPECT_THAT(trials.all[0].inputs[0].values, testing::Contains(0));
}

TEST(Trials, draw_lengths_between_one_step_and_all) {
  const Trials trials = trials_of(program(R"(graph "" (%x: f32[B, T, 1], %lengths: i32[B]) {
  %w = constant() {value = f32[3, 1] {1, 2, 3}} : f32[3, 1]
  %wide = cast(%lengths) {to = i64} : i64[B]
  %y, %h = gru(%x, %w, %w, none, none, none, %wide) {reverse = false} : f32[B, T, 1], f32[B, 1]
  return output = %y
})",
                                          {{"B", {.usual = 60}}, {"T", {.usual = 12}}}));
  const std::vector<double>& lengths = trials.all[0].inputs[1].values;
  EXPECT_THAT(lengths, Each(AllOf(Ge(1), Lt(13))));
  EXPECT_THAT(lengths, AllOf(testing::Contains(1), testing::Contains(12)));
}

TEST(Trials, draw_lengths_of_batches_that_are_cut_to_the_longest) {
  const Trials trials = trials_of(program(R"(graph "" (%x: f32[B, T, 1], %lengths: i64[B]) {
  %w = constant() {value = f32[3, 1] {1, 2, 3}} : f32[3, 1]
  %steps = arange() {start = shape[0], length = shape[T], step = 1, dtype = i64} : i64[T]
  %most = amax(%lengths) {dims = [0], keepdim = false} : i64[]
  %there = less(%steps, %most) : bool[T]
  %places = nonzero(%there) {count = shape[count_1]} : i64[count_1, 1]
  %index = reshape(%places) {shape = shape[count_1]} : i64[count_1]
  %cut = gather(%x, %index) {dim = 1} : f32[B, count_1, 1]
  %y, %h = gru(%cut, %w, %w, none, none, none, %lengths) {reverse = false} : f32[B, count_1, 1], f32[B, 1]
  return output = %h
})",
                                          {{"B", {.usual = 60}}, {"T", {.usual = 12}}}));
  EXPECT_THAT(trials.all[0].inputs[1].values, Each(AllOf(Ge(1), Lt(13))));
}

TEST(Trials, want_lengths_within_the_batch) {
  const Model model = program(R"(graph "" (%x: f32[B, T, 1], %lengths: i64[B]) {
  %w = constant() {value = f32[3, 1] {1, 2, 3}} : f32[3, 1]
  %many = constant() {value = i64[] {100}} : i64[]
  %longer = add(%lengths, %many) : i64[B]
  %y, %h = gru(%x, %w, %w, none, none, none, %longer) {reverse = false} : f32[B, T, 1], f32[B, 1]
  return output = %h
})",
                              {{"B", {.usual = 3}}, {"T", {.usual = 12}}});
  const auto trials = make_trials(model, {}, false);
  ASSERT_FALSE(trials);
  EXPECT_THAT(trials.error().text(), HasSubstr("steps in a batch of 12"));
  EXPECT_THAT(trials.error().hint, HasSubstr("--verify-input"));
}

// A deviation of one entry or none is 0 / 0.
TEST(Trials, draw_larger_integers_where_small_ones_leave_no_numbers) {
  const Trials trials = trials_of(program(R"(graph "" (%x: f32[4], %n: i64[4]) {
  %count = cast(%n) {to = f32} : f32[4]
  %less = constant() {value = f32[] {1}} : f32[]
  %below = sub(%count, %less) {activation = "none"} : f32[4]
  %share = div(%below, %below) : f32[4]
  %scaled = div(%share, %count) : f32[4]
  %y = mul(%x, %scaled) : f32[4]
  return output = %y
})",
                                          {}));
  EXPECT_THAT(trials.all[0].inputs[1].values, Each(AllOf(Ge(2), Lt(9))));
  EXPECT_TRUE(trials.all[0].finite());
}

TEST(Trials, draw_flags_as_flags_whatever_integers_are) {
  const Trials trials = trials_of(program(R"(graph "" (%x: f32[4], %n: i64[4], %m: bool[64]) {
  %count = cast(%n) {to = f32} : f32[4]
  %less = constant() {value = f32[] {1}} : f32[]
  %below = sub(%count, %less) {activation = "none"} : f32[4]
  %none = constant() {value = f32[] {0}} : f32[]
  %others = maximum(%below, %none) : f32[4]
  %y = div(%x, %others) : f32[4]
  %z = cast(%m) {to = f32} : f32[64]
  return output = %y, flags = %z
})",
                                          {}));
  EXPECT_THAT(trials.all[0].inputs[1].values, Each(AllOf(Ge(2), Lt(9))));
  EXPECT_THAT(trials.all[0].inputs[2].values, AllOf(Each(AnyOf(0, 1)), testing::Contains(0), testing::Contains(1)));
}

TEST(Trials, have_other_sizes_the_second_time) {
  const Trials trials = trials_of(program(kLookUp, {{"B", {.usual = 1}}, {"T", {.usual = 40}}}));
  ASSERT_EQ(trials.all.size(), 2u);
  EXPECT_THAT(trials.all[1].inputs[0].shape, ElementsAre(2, 14));
  EXPECT_EQ(trials.note, "");
  EXPECT_EQ(trials_of(program(kLookUp, {{"B", {}}, {"T", {}}}), {}, true).all.size(), 1u);
}

TEST(Trials, stay_within_the_ranges_of_sizes) {
  const Symbols narrow = {{"B", {.least = 1, .most = 1, .usual = 1}}, {"T", {.least = 30, .most = 50, .usual = 40}}};
  const Trials trials = trials_of(program(kLookUp, narrow));
  ASSERT_EQ(trials.all.size(), 2u);
  EXPECT_THAT(trials.all[1].inputs[0].shape, ElementsAre(1, 30));
}

TEST(Trials, give_one_symbol_one_size) {
  const Model related = program(R"(graph "" (%x: f32[N, 3], %y: f32[N, 3]) {
  %z = add(%x, %y) : f32[N, 3]
  return z = %z
})",
                                {{"N", {.usual = 7}}});
  const Trials trials = trials_of(related);
  ASSERT_EQ(trials.all.size(), 2u);
  EXPECT_THAT(trials.all[1].inputs[1].shape, ElementsAre(3, 3));
}

TEST(Trials, draw_what_keeps_the_network_finite) {
  const Model logarithm = program(R"(graph "" (%x: f32[4, 4]) {
  %y = log(%x) : f32[4, 4]
  return output = %y
})");
  const Trials trials = trials_of(logarithm);
  EXPECT_TRUE(trials.all[0].finite());
  EXPECT_THAT(trials.all[0].inputs[0].values, Each(Ge(0)));
}

TEST(Trials, keep_sizes_small_where_a_network_doubles_its_input_again_and_again) {
  std::string text = "graph \"\" (%x0: f32[T]) {\n";
  std::int64_t factor = 1;
  for (int i = 0; i < 23; ++i, factor *= 2)
    text += fmt::format("  %x{} = concat(%x{}, %x{}) {{dim = 0}} : f32[{}*T]\n", i + 1, i, i, 2 * factor);
  text += "  return y = %x23\n}";
  const Trials trials = trials_of(program(text, {{"T", {.least = 1, .most = 64, .usual = 40}}}));
  ASSERT_EQ(trials.all.size(), 1u);
  EXPECT_LT(trials.all[0].inputs[0].size(0), 5);
  EXPECT_THAT(trials.note, AllOf(HasSubstr("verified at T ="), HasSubstr("elements")));
}

// Which branch is taken is decided by a number that uniform draws hardly reach.
constexpr const char* kBranch = R"(graph "" (%x: f32[4]) {
  %sum = sum(%x) {dims = [0], keepdim = false} : f32[]
  %bound = constant() {value = f32[] {LIMIT}} : f32[]
  %high = greater(%sum, %bound) : bool[]
  %y = if(%high, %x) : f32[4] {
    graph "then" (%a: f32[4]) {
      %double = add(%a, %a) {activation = "none"} : f32[4]
      return double = %double
    }
    graph "else" (%b: f32[4]) {
      %same = relu(%b) : f32[4]
      return same = %same
    }
  }
  return output = %y
})";

Model branch(const std::string& limit) {
  std::string text = kBranch;
  text.replace(text.find("LIMIT"), 5, limit);
  return program(text);
}

TEST(Trials, run_both_branches) {
  const Trials trials = trials_of(branch("3.9"));
  ASSERT_EQ(trials.all.size(), 2u);
  const auto sum = [](const Trial& trial) {
    return std::accumulate(trial.inputs[0].values.begin(), trial.inputs[0].values.end(), 0.0);
  };
  EXPECT_LT(sum(trials.all[0]), 3.9);
  EXPECT_GT(sum(trials.all[1]), 3.9);
  EXPECT_EQ(trials.note, "");
}

TEST(Trials, tell_what_never_ran) {
  const Trials trials = trials_of(branch("1000"));
  EXPECT_EQ(trials.all.size(), 1u);
  EXPECT_EQ(trials.note, "never ran, and so is not verified: 'y' where its condition holds");
}

TEST(Trials, look_for_sizes_that_take_the_other_branch) {
  const Trials trials = trials_of(program(R"(graph "" (%x: f32[T]) {
    %size = sizes() {sizes = shape[T], dtype = i64} : i64[1]
    %length = squeeze(%size) {dims = [0]} : i64[]
    %bound = constant() {value = i64[] {60}} : i64[]
    %high = greater(%length, %bound) : bool[]
    %y = if(%high, %x) : f32[T] {
      graph "then" (%a: f32[T]) {
        %double = add(%a, %a) {activation = "none"} : f32[T]
        return double = %double
      }
      graph "else" (%b: f32[T]) {
        %same = relu(%b) : f32[T]
        return same = %same
      }
    }
    return output = %y
  })",
                                          {{"T", {.least = 1, .most = 500, .usual = 40}}}));
  ASSERT_EQ(trials.all.size(), 3u);
  EXPECT_EQ(trials.all[2].inputs[0].size(0), 80);
  EXPECT_EQ(trials.note, "");
}

// Turns until the number is not above the limit.
constexpr const char* kLoop = R"(graph "" (%x: f32[], %n: i64[]) {
  %end, %steps = while(%x, %n) : f32[], i64[] {
    graph "cond" (%x: f32[], %n: i64[]) {
      %zero = constant() {value = i64[] {0}} : i64[]
      %go = greater(%n, %zero) : bool[]
      return go = %go
    }
    graph "body" (%x: f32[], %n: i64[]) {
      %one = constant() {value = i64[] {1}} : i64[]
      %next = add(%x, %x) {activation = "none"} : f32[]
      %left = sub(%n, %one) {activation = "none"} : i64[]
      return next = %next, left = %left
    }
  }
  return output = %end
})";

TEST(Trials, run_loops_without_a_turn_and_with_several) {
  const Trials trials = trials_of(program(kLoop));
  std::vector<double> turns;
  for (const Trial& trial : trials.all) turns.push_back(trial.inputs[1].values[0]);
  EXPECT_THAT(turns, testing::Contains(0));
  EXPECT_THAT(turns, testing::Contains(Ge(2)));
  EXPECT_EQ(trials.note, "");
}

class VerifyInput : public testing::Test {
 protected:
  VerifyOptions with(const std::string& name, const Tensor& tensor) {
    const std::vector<std::byte> bytes = write_npy(tensor);
    scratch_.file(name, std::string(as_text(bytes)));
    return {.input = scratch_.path() / name};
  }
  testing_support::ScratchFolder scratch_;
};

const char* const kDouble = R"(graph "" (%x: f32[N, 2]) {
  %y = add(%x, %x) : f32[N, 2]
  return output = %y
})";

TEST_F(VerifyInput, is_taken_from_an_array) {
  const Model model = program(kDouble, {{"N", {.usual = 1}}});
  const Trials trials = trials_of(model, with("x.npy", tensor_f32({2, 2}, std::array{1.f, 2.f, 3.f, 4.f})));
  ASSERT_EQ(trials.all.size(), 1u);
  EXPECT_THAT(trials.all[0].reference[0].values, ElementsAre(2, 4, 6, 8));
}

TEST_F(VerifyInput, holds_images_in_either_order_where_sizes_tell) {
  const Model model = program(R"(graph "" (%x: f32[N, 3, 1, 2]) {
  %y = add(%x, %x) : f32[N, 3, 1, 2]
  return output = %y
})",
                              {{"N", {.usual = 1}}});
  const auto inputs = [&](const std::vector<std::int64_t>& shape, bool channels_last) {
    const VerifyOptions options = with("x.npy", tensor_f32(shape, std::array{1.f, 2.f, 3.f, 4.f, 5.f, 6.f}));
    const auto trials = make_trials(model, options, false, channels_last);
    return trials ? trials->all[0].inputs[0].values : std::vector<double>();
  };
  EXPECT_THAT(inputs({1, 1, 2, 3}, true), ElementsAre(1, 4, 2, 5, 3, 6));
  EXPECT_THAT(inputs({1, 3, 1, 2}, true), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(inputs({1, 1, 2, 3}, false), IsEmpty());
}

TEST_F(VerifyInput, that_is_refused_says_what_the_program_takes) {
  const auto error = [&](const Tensor& tensor) {
    return make_trials(program(kDouble, {{"N", {.usual = 1}}}), with("x.npy", tensor), false).error();
  };
  const Error wrong = error(tensor_f32({2}, std::array{1.f, 2.f}));
  EXPECT_THAT(wrong.text(), HasSubstr("x.npy"));
  EXPECT_THAT(wrong.hint, HasSubstr("x float32 [N, 2]"));
}

TEST_F(VerifyInput, has_to_suit_the_program) {
  const auto refused = [&](const Tensor& tensor, bool static_shapes = false) {
    const auto trials = make_trials(program(kDouble, {{"N", {.usual = 1}}}), with("x.npy", tensor), static_shapes);
    return trials ? std::string("accepted") : trials.error().text();
  };
  EXPECT_THAT(refused(tensor_i64({1, 2}, std::array<std::int64_t, 2>{1, 2})), HasSubstr("int64, expected float32"));
  EXPECT_THAT(refused(tensor_f32({2}, std::array{1.f, 2.f})), HasSubstr("expected [N, 2]"));
  EXPECT_THAT(refused(tensor_f32({1, 2}, std::array{1.f, INFINITY})), HasSubstr("not finite"));
  EXPECT_THAT(refused(tensor_f32({2, 2}, std::array{1.f, 2.f, 3.f, 4.f}), true), HasSubstr("static files take [1, 2]"));
}

}  // namespace
}  // namespace taper
