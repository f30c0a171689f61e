// Acceptance scenario 42: a round of stealing visits each P exactly once, whatever their number.
#include "sched/steal_order.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "sched/sched.h"

namespace gort::rt {
namespace {

/// Empty: each of n exactly once.
std::string visits(StealOrder order, std::uint32_t n) {
  std::vector<int> seen(n, 0);
  std::uint32_t steps = 0;
  for (; order.more(); order.next()) {
    if (order.at() >= n) return "P " + std::to_string(order.at()) + " of " + std::to_string(n);
    if (++seen[order.at()] > 1) return "twice at P " + std::to_string(order.at()) + " of " + std::to_string(n);
    if (++steps > n) return "no end with " + std::to_string(n);
  }
  return steps == n ? "" : std::to_string(steps) + " visits of " + std::to_string(n);
}

TEST(StealOrder, VisitsEachPOnceForEveryCountOfPs) {
  Random random(42);
  for (std::uint32_t n = 1; n <= static_cast<std::uint32_t>(kMaxProcs); ++n) {
    for (int i = 0; i < 16; ++i) ASSERT_EQ(visits(StealOrder(n, random), n), "");
  }
}

TEST(StealOrder, VisitsEachPOnceFromEveryStartWithEveryStride) {
  for (std::uint32_t n = 1; n <= 64; ++n) {
    for (std::uint32_t start = 0; start < n; ++start) {
      for (std::uint32_t seed = 0; seed < (n > 1 ? n - 1 : 1); ++seed) {
        ASSERT_EQ(visits(StealOrder(n, start, seed), n), "") << "start " << start << " seed " << seed;
      }
    }
  }
}

TEST(StealOrder, TheLargestCountWithEveryStride) {
  constexpr auto n = static_cast<std::uint32_t>(kMaxProcs);
  for (std::uint32_t seed = 0; seed < n - 1; ++seed) ASSERT_EQ(visits(StealOrder(n, seed, seed), n), "") << seed;
}

// Thieves that go through the Ps in one order would queue up behind each other.
TEST(StealOrder, OrdersDiffer) {
  Random random(7);
  std::set<std::vector<std::uint32_t>> orders;
  for (int i = 0; i < 400; ++i) {
    std::vector<std::uint32_t> order;
    for (StealOrder o(8, random); o.more(); o.next()) order.push_back(o.at());
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 8u * 4u) << "8 starts, and the strides 1, 3, 5 and 7";
}

}  // namespace
}  // namespace gort::rt
