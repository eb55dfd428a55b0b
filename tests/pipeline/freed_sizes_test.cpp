// What shows that sizes were set free rightly, and what is told where nothing does.
#include "pipeline/freed_sizes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text.h"

namespace taper {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A program of one operator on x [size, 3], whose first size was 2.
ImportedProgram with_operator(const std::string& size, const std::string& call) {
  const std::string type = "f32[" + size + ", 3]";
  ImportedProgram program;
  auto graph = parse("graph \"\" (%x: " + type + ") {\n  %y = " + call + " : " + type + "\n  return output = %y\n}");
  EXPECT_TRUE(graph) << graph.error().text();
  program.graph = std::move(*graph);
  if (size == "N") {
    program.symbols["N"] = {.least = 1, .usual = 2};
    program.freed["N"] = {2, {"a literal 2 is taken as the freed size 'N'"}};
  }
  return program;
}

// Reads the program whose calls are these: as it is, and in each reading.
ReadProgram reader(const std::string& original, const std::vector<std::string>& readings) {
  return [=](const ProgramOptions& options) -> Expected<ImportedProgram> {
    if (options.keep_frozen) return with_operator("2", original);
    ImportedProgram program = with_operator("N", readings[static_cast<std::size_t>(options.reading) % readings.size()]);
    program.has_other_readings = readings.size() > 1;
    return program;
  };
}

const std::string kRows = "softmax(%x) {dim = -1}", kColumns = "softmax(%x) {dim = 0}";

TEST(FreedSizes, of_batches_are_proven) {
  const auto program = read_with_freed_sizes(reader(kRows, {kRows}), {});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->warnings, IsEmpty());
  EXPECT_THAT(program->assumptions, IsEmpty());
}

TEST(FreedSizes, that_nothing_proves_are_told_with_what_was_decided) {
  const auto program = read_with_freed_sizes(reader(kColumns, {kColumns}), {});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->warnings, ElementsAre(HasSubstr("nothing proves that the size 'N' was set free rightly")));
  EXPECT_THAT(program->assumptions, ElementsAre("a literal 2 is taken as the freed size 'N'"));
}

TEST(FreedSizes, are_told_and_not_evaluated_where_no_proof_is_wanted) {
  const auto program = read_with_freed_sizes(
      [](const ProgramOptions& options) -> Expected<ImportedProgram> {
        EXPECT_FALSE(options.keep_frozen);  // there is nothing to compare with
        return with_operator("N", kRows);
      },
      {}, false);
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_THAT(program->warnings, ElementsAre(HasSubstr("not looked at here")));
  EXPECT_THAT(program->assumptions, ElementsAre("a literal 2 is taken as the freed size 'N'"));
}

TEST(FreedSizes, are_read_in_the_way_that_is_proven) {
  const auto program = read_with_freed_sizes(reader(kRows, {kColumns, kRows, kRows}), {});
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(program->graph.nodes().front().attrs.integer("dim"), -1);
  EXPECT_THAT(program->warnings, IsEmpty());
}

TEST(FreedSizes, are_refused_where_results_differ_at_the_size_of_the_program) {
  const auto program = read_with_freed_sizes(reader(kRows, {kColumns}), {});
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("gives other results"));
}

// Whether 7 is T // 2 or 7, a proof knows; without one the size stays as it is.
TEST(FreedSizes, with_numbers_that_may_be_half_of_them_need_a_proof) {
  const auto with_half = [](const std::string& call) {
    return read_with_freed_sizes(
        [call](const ProgramOptions& options) -> Expected<ImportedProgram> {
          ImportedProgram program = with_operator(options.keep_frozen ? "2" : "N", call);
          if (!options.keep_frozen) program.freed["N"].halves = {"a literal 1 may be half of it"};
          return program;
        },
        {});
  };
  EXPECT_TRUE(with_half(kRows));
  const auto program = with_half(kColumns);
  ASSERT_FALSE(program);
  EXPECT_THAT(program.error().text(), HasSubstr("a literal 1 may be half of it, or a number of its own"));
}

TEST(FreedSizes, cost_nothing_where_none_are) {
  int reads = 0;
  const auto read = [&](const ProgramOptions&) -> Expected<ImportedProgram> {
    ++reads;
    return with_operator("2", kRows);
  };
  EXPECT_TRUE(read_with_freed_sizes(read, {}));
  EXPECT_EQ(reads, 1);
}

}  // namespace
}  // namespace taper
