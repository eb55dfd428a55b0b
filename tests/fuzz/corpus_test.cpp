// Replays the fuzzers' corpora: every input that was ever interesting or wrong must be read or refused, never crash.
#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>

#include "base/mapped_file.h"
#include "targets.h"

namespace taper::fuzz {

void PrintTo(const Target& target, std::ostream* out) {
  *out << target.name;
}

namespace {

class Corpus : public testing::TestWithParam<Target> {};

TEST_P(Corpus, is_read_or_refused) {
  const std::filesystem::path folder = std::filesystem::path(TAPER_SOURCE_DIR "/tests/fuzz/corpus") / GetParam().name;
  int count = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(file.path().string());
    const auto bytes = map_file(file.path());
    ASSERT_TRUE(bytes) << bytes.error().text();
    GetParam().run(bytes->view);
    ++count;
  }
  EXPECT_GT(count, 0);
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Corpus, testing::ValuesIn(targets().begin(), targets().end()),
                         [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace taper::fuzz
