// What networks are calibrated with: how files are cut into samples, and what is measured on them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "formats/npy.h"
#include "pipeline/calibrate.h"
#include "pipeline/calibration_samples.h"
#include "pipeline/programs.h"
#include "scratch_folder.h"

namespace taper {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing_support::program;

constexpr const char* kSum = R"(graph "" (%x: f32[B, 2], %bias: f32[2]) {
  %y = add(%x, %bias) {activation = "none"} : f32[B, 2]
  return output = %y
})";

Model sum() {
  return program(kSum, {{"B", {.usual = 1}}});
}

// Frames [T, 2] of any number of recordings.
Model frames(std::int64_t steps) {
  Model model = program(R"(graph "" (%input: f32[B, T, 2]) {
    %y = relu(%input) : f32[B, T, 2]
    return output = %y
  })",
                        {{"B", {.usual = 1}}, {"T", {.usual = steps}}});
  auto impl = std::make_shared<Model::Impl>();
  impl->graph = std::move(*parse(print(model.impl().graph)));
  impl->symbols = model.impl().symbols;
  impl->info = model.info();
  impl->info.kind = SourceKind::family;
  impl->info.input_shape = {1, steps, 2};
  return Model(std::move(impl));
}

Tensor counting(std::vector<std::int64_t> shape) {
  std::vector<float> values(
      static_cast<std::size_t>(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>())));
  std::iota(values.begin(), values.end(), 0.0F);
  return tensor_f32(std::move(shape), values);
}

class Calibration : public testing::Test {
 protected:
  void write(const std::string& name, const Tensor& tensor) {
    const std::vector<std::byte> bytes = write_npy(tensor);
    folder.file(name, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  std::string problem(const Model& model, const std::filesystem::path& path) {
    auto samples = CalibrationSamples::open(model, path);
    if (!samples) return samples.error().text();
    for (std::int64_t i = 0; i < samples->count(); ++i)
      if (const auto sample = samples->at(i); !sample) return sample.error().text();
    return "";
  }

  testing_support::ScratchFolder folder;
};

TEST_F(Calibration, cuts_recordings_of_a_family_into_windows) {
  write("x.npy", counting({2, 7, 2}));
  auto samples = CalibrationSamples::open(frames(3), folder.path() / "x.npy");
  ASSERT_TRUE(samples) << samples.error().text();
  ASSERT_EQ(samples->count(), 4);
  EXPECT_THAT(samples->at(1)->front().shape, ElementsAre(1, 3, 2));
  EXPECT_THAT(samples->at(1)->front().values, ElementsAre(6, 7, 8, 9, 10, 11));
  EXPECT_THAT(samples->at(2)->front().values, ElementsAre(14, 15, 16, 17, 18, 19));
}

TEST_F(Calibration, takes_a_short_recording_as_it_is) {
  write("x.npy", counting({2, 2}));
  auto samples = CalibrationSamples::open(frames(3), folder.path() / "x.npy");
  ASSERT_TRUE(samples) << samples.error().text();
  ASSERT_EQ(samples->count(), 1);
  EXPECT_THAT(samples->at(0)->front().shape, ElementsAre(1, 2, 2));
}

TEST_F(Calibration, reads_all_files_of_a_folder_in_order) {
  write("b.npy", counting({3, 2}));
  write("a.npy", counting({1, 3, 2}));
  folder.file("notes.txt");
  auto samples = CalibrationSamples::open(frames(1), folder.path());
  ASSERT_TRUE(samples) << samples.error().text();
  ASSERT_EQ(samples->count(), 6);
  EXPECT_THAT(samples->at(5)->front().values, ElementsAre(4, 5));
  EXPECT_THAT(samples->at(0)->front().values, ElementsAre(0, 1));
}

TEST_F(Calibration, cuts_arrays_of_a_program_along_the_batch_or_an_axis_more) {
  const Model model = program(R"(graph "" (%x: f32[B, 2]) {
    %y = relu(%x) : f32[B, 2]
    return output = %y
  })",
                              {{"B", {.usual = 1}}});
  write("batch.npy", counting({3, 2}));
  write("more.npy", counting({2, 4, 2}));
  auto batch = CalibrationSamples::open(model, folder.path() / "batch.npy");
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->count(), 3);
  EXPECT_THAT(batch->at(1)->front().shape, ElementsAre(1, 2));
  auto more = CalibrationSamples::open(model, folder.path() / "more.npy");
  ASSERT_TRUE(more);
  EXPECT_EQ(more->count(), 2);
  EXPECT_THAT(more->at(1)->front().shape, ElementsAre(4, 2));
  EXPECT_EQ(more->at(1)->front().values[0], 8);
}

TEST_F(Calibration, says_what_is_wrong_with_arrays) {
  write("x.npy", counting({3, 5, 5, 5}));
  EXPECT_THAT(problem(sum(), folder.path() / "x.npy"), HasSubstr("several inputs"));
  EXPECT_THAT(problem(frames(3), folder.path() / "x.npy"), AllOf(HasSubstr("[3, 5, 5, 5]"), HasSubstr("[N, T, 2]")));
  write("nan.npy", tensor_f32({1, 2}, std::vector{1.0F, std::nanf("")}));
  EXPECT_THAT(problem(frames(3), folder.path() / "nan.npy"), AllOf(HasSubstr("not finite"), HasSubstr("sample 0")));
  EXPECT_THAT(problem(frames(3), folder.file("text.npz", "hello")), HasSubstr("neither"));
  EXPECT_THAT(problem(frames(3), folder.path() / "absent"), HasSubstr("absent"));
}

TEST_F(Calibration, takes_infinite_masks_of_programs) {
  const float kInfinite = std::numeric_limits<float>::infinity();
  write("mask.npz.npy", tensor_f32({1, 2}, std::vector{1.0F, -kInfinite}));
  write("wrong.npy", tensor_f32({1, 2}, std::vector{1.0F, kInfinite}));
  const Model relu = program(R"(graph "" (%x: f32[1, 2]) {
    %y = relu(%x) : f32[1, 2]
    return output = %y
  })");
  auto samples = CalibrationSamples::open(relu, folder.path() / "mask.npz.npy");
  ASSERT_TRUE(samples) << samples.error().text();
  const auto sample = samples->at(0);
  ASSERT_TRUE(sample) << sample.error().text();
  EXPECT_THAT((*sample)[0].values, ElementsAre(1, -static_cast<double>(kInfinite)));
  EXPECT_THAT(problem(relu, folder.path() / "wrong.npy"), HasSubstr("not finite"));
  EXPECT_THAT(problem(frames(1), folder.path() / "mask.npz.npy"), HasSubstr("not finite"));
}

TEST_F(Calibration, refuses_a_folder_without_arrays) {
  folder.file("notes.txt");
  EXPECT_THAT(problem(frames(3), folder.path()), HasSubstr("no .npz and no .npy"));
}

TEST(SampleSplit, holds_out_a_fifth) {
  const SampleSplit split = split_samples(10);
  EXPECT_THAT(split.held_out, ElementsAre(4, 9));
  EXPECT_THAT(split.calibration, SizeIs(8));
}

TEST(SampleSplit, spreads_over_many_samples) {
  const SampleSplit split = split_samples(1000, 10);
  EXPECT_THAT(split.held_out, ElementsAre(400, 900));
  EXPECT_THAT(split.calibration, ElementsAre(0, 100, 200, 300, 500, 600, 700, 800));
}

TEST(SampleSplit, few_samples_serve_for_both) {
  EXPECT_THAT(split_samples(4).held_out, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(split_samples(0).calibration, IsEmpty());
}

// A source of the samples that are given.
SampleSource source_of(std::vector<std::vector<Array>> samples) {
  return
      [samples = std::move(samples), next = std::size_t{0}]() mutable -> Expected<std::optional<std::vector<Array>>> {
        if (next == samples.size()) return std::nullopt;
        return samples[next++];
      };
}

// Doubles x while i < 3: [1, -2] becomes [8, -16].
TEST(Measure, keeps_ranges_of_values_in_loops) {
  auto graph = parse(R"(graph "" (%x: f32[2]) {
    %zero = constant() {value = i32[] {0}} : i32[]
    %i, %sum = while(%zero, %x) : i32[], f32[2] {
      graph "cond" (%k: i32[], %s: f32[2]) {
        %end = constant() {value = i32[] {3}} : i32[]
        %go = less(%k, %end) : bool[]
        return go = %go
      }
      graph "body" (%k: i32[], %s: f32[2]) {
        %one = constant() {value = i32[] {1}} : i32[]
        %next = add(%k, %one) {activation = "none"} : i32[]
        %twice = add(%s, %s) {activation = "none"} : f32[2]
        return next = %next, twice = %twice
      }
    }
    return output = %sum
  })");
  ASSERT_TRUE(graph) << graph.error().text();
  const auto found = measure(*graph, source_of({{{DType::f32, {2}, {1, -2}}}}), {});
  ASSERT_TRUE(found) << found.error().text();
  const Node& loop = graph->nodes().back();
  EXPECT_EQ(found->ranges.at(loop.results[1]), (Range{-16, 8}));
  EXPECT_EQ(found->ranges.at(loop.regions[1]->inputs()[1]), (Range{-8, 4}));
  EXPECT_EQ(found->ranges.at(loop.regions[1]->outputs()[1].value), (Range{-16, 8}));
}

TEST(Measure, sums_products_of_the_inputs_of_linear_layers) {
  auto graph = parse(R"(graph "" (%x: f32[N, 2]) {
    %w = constant() {value = f32[1, 2] {1, 1}} : f32[1, 2]
    %y = linear(%x, %w) {activation = "none"} : f32[N, 1]
    return output = %y
  })");
  ASSERT_TRUE(graph) << graph.error().text();
  const auto found = measure(*graph, source_of({{{DType::f32, {1, 2}, {1, 2}}}, {{DType::f32, {1, 2}, {-3, 5}}}}),
                             {.ranges = {}, .products = true});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->samples, 2);
  EXPECT_EQ(found->ranges.at(graph->inputs()[0]), (Range{-3, 5}));
  EXPECT_EQ(found->ranges.at(graph->outputs()[0].value), (Range{0, 3}));
  const auto sums = found->products.at(graph->inputs()[0]).sums();
  EXPECT_THAT(std::vector(sums.begin(), sums.end()), ElementsAre(1 + 9, 2 - 15, 0, 4 + 25));
}

TEST(Measure, keeps_what_is_infinite_out_of_ranges_and_means) {
  auto graph = parse(R"(graph "" (%x: f32[1, 2], %mask: f32[1, 2]) {
    %w = constant() {value = f32[1, 2] {1, 1}} : f32[1, 2]
    %y = linear(%x, %w) {activation = "none"} : f32[1, 1]
    %z = add(%x, %mask) {activation = "none"} : f32[1, 2]
    return y = %y, z = %z
  })");
  ASSERT_TRUE(graph) << graph.error().text();
  const double infinite = std::numeric_limits<double>::infinity();
  const Array x{DType::f32, {1, 2}, {1, 2}}, mask{DType::f32, {1, 2}, {0, -infinite}};
  const auto found = measure(*graph, source_of({{x, mask}, {x, mask}}), {.ranges = {}, .inputs = true});
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->ranges.at(graph->outputs()[1].value), (Range{0, 1}));
  EXPECT_TRUE(found->infinite.contains(graph->inputs()[1]));
  EXPECT_TRUE(found->masked.contains(graph->outputs()[1].value));
  EXPECT_FALSE(found->infinite.contains(graph->inputs()[0]));
  EXPECT_THAT(found->inputs.at(graph->inputs()[0]).means.means(), ElementsAre(1, 2));
  EXPECT_THAT(found->inputs, SizeIs(1));
}

TEST(Measure, refuses_no_samples) {
  auto graph = parse(R"(graph "" (%x: f32[2]) {
    %y = relu(%x) : f32[2]
    return output = %y
  })");
  ASSERT_TRUE(graph);
  const auto found = measure(*graph, source_of({}), {});
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().message, HasSubstr("no sample"));
}

}  // namespace
}  // namespace taper
