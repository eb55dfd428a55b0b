#include "pipeline/memory.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace taper {
namespace {

TEST(MemoryBudget, waits_until_a_share_is_given_back) {
  MemoryBudget budget(100);
  std::atomic<bool> second_has_it = false;
  std::jthread second;
  {
    const auto first = budget.take(60);
    const auto small = budget.take(40);
    second = std::jthread([&] {
      const auto share = budget.take(50);
      second_has_it = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(second_has_it);
  }
  second.join();
  EXPECT_TRUE(second_has_it);
}

TEST(MemoryBudget, gives_everything_to_who_wants_more) {
  MemoryBudget budget(100);
  {
    const auto all = budget.take(1000);
  }
  const auto again = budget.take(100);
}

TEST(Memory, what_is_measured_is_plausible) {
  const std::uint64_t before = peak_memory();
  EXPECT_GT(before, 1'000'000U);
  // Tests before this one may have held far more than is held now: only what is larger than all of that must raise the
  // peak. The system counts pages with some delay.
  constexpr std::uint64_t kMore = 64 << 20;
  const std::vector<char> large(before + kMore, 'x');
  const std::uint64_t after = peak_memory();
  EXPECT_GE(after, before + kMore / 2);
  EXPECT_LE(after, 2 * (before + large.size()));
  EXPECT_GT(available_memory().value_or(2'000'000), 1'000'000U);
}

}  // namespace
}  // namespace taper
