#include "base/running_time.h"

#include <gtest/gtest.h>

namespace gort::rt {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(RunningTime, AddsUpWhatLiesBetweenLooks) {
  RunningTime t;
  t.begin(1'000 * kMs);
  std::int64_t last = 0;
  for (int i = 1; i <= 5'000; ++i) last = t.look((1'000 + i) * kMs);
  EXPECT_EQ(last, 5'000 * kMs);
  t.begin(9'000 * kMs);
  EXPECT_EQ(t.look(9'050 * kMs), 50 * kMs);
}

TEST(RunningTime, ALongTimeWithoutALookHardlyCounts) {
  RunningTime t;
  t.begin(1'000 * kMs);
  EXPECT_EQ(t.look(1'001 * kMs), kMs);
  EXPECT_EQ(t.look(3'600'000 * kMs), kMs + RunningTime::kMostBetween);
  EXPECT_EQ(t.look(3'600'001 * kMs), 2 * kMs + RunningTime::kMostBetween);
}

}  // namespace
}  // namespace gort::rt
