// When a lack of threads is fatal.
#include "sched/exhaustion.h"

#include <gtest/gtest.h>

namespace gort::rt {
namespace {

constexpr std::int64_t kMs = 1'000'000;

/// Looks each millisecond, until it is fatal; how many ms that took, or -1.
int looks_until_fatal(Exhaustion& e, std::uint64_t served, std::int64_t now, int most) {
  for (int i = 0; i < most; ++i) {
    if (e.look(true, served, now + i * kMs)) return i;
  }
  return -1;
}

TEST(Exhaustion, IsFatalAfterAWhile) {
  Exhaustion e;
  EXPECT_FALSE(e.lasts());
  EXPECT_EQ(looks_until_fatal(e, 7, 1'000 * kMs, 2'000), 501);
  EXPECT_TRUE(e.lasts());
}

TEST(Exhaustion, AServedOrderBeginsItAnew) {
  Exhaustion e;
  EXPECT_EQ(looks_until_fatal(e, 7, 1'000 * kMs, 400), -1);
  EXPECT_EQ(looks_until_fatal(e, 8, 1'400 * kMs, 400), -1);
  EXPECT_FALSE(e.look(false, 8, 1'800 * kMs));
  EXPECT_FALSE(e.lasts());
  EXPECT_EQ(looks_until_fatal(e, 8, 1'801 * kMs, 400), -1);
}

// SIGSTOP, or a virtual machine that was halted: the clock has gone on, nobody else has.
TEST(Exhaustion, APauseOfTheProcessIsNotCounted) {
  Exhaustion e;
  EXPECT_EQ(looks_until_fatal(e, 7, 1'000 * kMs, 100), -1);
  const std::int64_t after = 1'100 * kMs + 3'600'000 * kMs;
  EXPECT_EQ(looks_until_fatal(e, 7, after, 100), -1);
  EXPECT_FALSE(e.look(false, 7, after + 100 * kMs));
}

TEST(Exhaustion, ABusyMachineWhereLooksComeLateIsCountedNevertheless) {
  Exhaustion e;
  int i = 0;
  while (i < 1'000 && !e.look(true, 7, i * 100 * kMs)) ++i;
  EXPECT_LT(i, 50);
}

}  // namespace
}  // namespace gort::rt
