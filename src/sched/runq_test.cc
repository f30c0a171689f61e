// The local run queue (acceptance scenario 41): nothing is lost, nothing runs twice, and it never looks
// empty while it is not.
#include "sched/runq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "sched/g.h"

namespace gort::rt {
namespace {

/// A queue and Gs to put into it; the Gs' ids are their indices.
struct Bench {
  explicit Bench(std::size_t n) : gs(new G[n]) {
    for (std::size_t i = 0; i < n; ++i) gs[i].goid = i;
  }
  RunQueue q;
  std::unique_ptr<G[]> gs;
  G* operator[](std::size_t i) { return &gs[i]; }
};

TEST(RunQueue, IsAFifo) {
  Bench b(RunQueue::kSize);
  EXPECT_TRUE(b.q.empty());
  EXPECT_EQ(b.q.get(), nullptr);
  // Many laps round the ring, at each filling.
  for (std::uint32_t fill = 1; fill <= RunQueue::kSize; fill += 93) {
    for (int lap = 0; lap < 20; ++lap) {
      for (std::uint32_t i = 0; i < fill; ++i) ASSERT_TRUE(b.q.put(b[i]));
      EXPECT_EQ(b.q.size(), fill);
      EXPECT_FALSE(b.q.empty());
      for (std::uint32_t i = 0; i < fill; ++i) ASSERT_EQ(b.q.get(), b[i]);
      EXPECT_EQ(b.q.get(), nullptr);
      EXPECT_TRUE(b.q.empty());
    }
  }
}

TEST(RunQueue, RefusesWhenFullAndSpillsTheOldest) {
  Bench b(RunQueue::kSize + 1);
  for (std::uint32_t i = 0; i < RunQueue::kSize; ++i) ASSERT_TRUE(b.q.put(b[i]));
  EXPECT_FALSE(b.q.put(b[RunQueue::kSize]));
  G* out[RunQueue::kBatch];
  ASSERT_EQ(b.q.spill(out), RunQueue::kBatch);
  for (std::uint32_t i = 0; i < RunQueue::kBatch; ++i) EXPECT_EQ(out[i], b[i]);
  EXPECT_EQ(b.q.spill(out), 0u) << "only a full ring spills";
  EXPECT_TRUE(b.q.put(b[RunQueue::kSize]));
  for (std::uint32_t i = RunQueue::kBatch; i <= RunQueue::kSize; ++i) EXPECT_EQ(b.q.get(), b[i]);
}

TEST(RunQueue, NextComesApart) {
  Bench b(3);
  EXPECT_EQ(b.q.swap_next(b[0]), nullptr);
  EXPECT_FALSE(b.q.empty());
  EXPECT_TRUE(b.q.has_next());
  EXPECT_EQ(b.q.size(), 1u);
  EXPECT_EQ(b.q.get(), nullptr) << "next is not in the ring";
  EXPECT_EQ(b.q.swap_next(b[1]), b[0]);
  EXPECT_EQ(b.q.get_next(), b[1]);
  EXPECT_EQ(b.q.get_next(), nullptr);
  EXPECT_TRUE(b.q.empty());
}

TEST(RunQueue, AloneItDoesTheSame) {
  Bench b(RunQueue::kSize);
  for (std::uint32_t lap = 0; lap < 5; ++lap) {
    EXPECT_EQ(b.q.get(true), nullptr);
    EXPECT_EQ(b.q.get_next(true), nullptr);
    EXPECT_EQ(b.q.swap_next(b[0], true), nullptr);
    EXPECT_EQ(b.q.swap_next(b[1], true), b[0]);
    EXPECT_FALSE(b.q.empty());
    for (std::uint32_t i = 2; i < 702; ++i) ASSERT_TRUE(b.q.put(b[i]));
    for (std::uint32_t i = 2; i < 352; ++i) ASSERT_EQ(b.q.get(true), b[i]);
    // A second P, and then one again.
    for (std::uint32_t i = 352; i < 700; ++i) ASSERT_EQ(b.q.get(i % 2 == 0), b[i]);
    G* got[RunQueue::kBatch];
    ASSERT_EQ(b.q.grab(got), 1u);
    EXPECT_EQ(got[0], b[700]);
    EXPECT_EQ(b.q.get(true), b[701]);
    EXPECT_EQ(b.q.get_next(true), b[1]);
    EXPECT_TRUE(b.q.empty());
  }
}

TEST(RunQueue, GrabTakesTheOlderHalfRoundedUpButABatchAtMost) {
  for (std::uint32_t n : {1u, 2u, 3u, 7u, 100u, 255u, 256u, 257u, RunQueue::kSize - 1, RunQueue::kSize}) {
    Bench b(n);
    for (std::uint32_t i = 0; i < n; ++i) ASSERT_TRUE(b.q.put(b[i]));
    G* got[RunQueue::kBatch];
    const std::uint32_t part = std::min(n - n / 2, RunQueue::kBatch);
    ASSERT_EQ(b.q.grab(got), part);
    for (std::uint32_t i = 0; i < part; ++i) EXPECT_EQ(got[i], b[i]);
    for (std::uint32_t i = part; i < n; ++i) EXPECT_EQ(b.q.get(), b[i]);
    EXPECT_EQ(b.q.grab(got), 0u);
  }
}

TEST(RunQueue, GrabNextTakesOnlyNext) {
  Bench b(2);
  ASSERT_TRUE(b.q.put(b[0]));
  EXPECT_EQ(b.q.grab_next(), nullptr);
  EXPECT_EQ(b.q.swap_next(b[1]), nullptr);
  EXPECT_EQ(b.q.grab_next(), b[1]);
}

// Owner against thieves: each G is taken exactly once, by somebody.
TEST(RunQueue, NothingIsLostOrTakenTwice) {
  constexpr int kThieves = 3;
  constexpr std::uint32_t kAll = 120'000;
  Bench b(kAll);
  std::vector<std::atomic<std::uint8_t>> taken(kAll);
  std::atomic<bool> done{false};
  std::atomic<std::uint32_t> sum{0};
  auto take = [&](G* g) {
    EXPECT_EQ(taken[g->goid].fetch_add(1), 0);
    ++sum;
  };
  std::vector<std::thread> thieves;
  for (int i = 0; i < kThieves; ++i) {
    thieves.emplace_back([&] {
      while (!done) {
        G* got[RunQueue::kBatch];
        const std::uint32_t n = b.q.grab(got);
        for (std::uint32_t k = 0; k < n; ++k) take(got[k]);
        if (n == 0) {
          if (G* g = b.q.grab_next(); g != nullptr) take(g);
        }
      }
    });
  }
  for (std::uint32_t i = 0; i < kAll;) {
    switch (i % 7) {
      case 0:
        if (G* old = b.q.swap_next(b[i++]); old != nullptr) {
          while (!b.q.put(old)) {
            G* out[RunQueue::kBatch];
            const std::uint32_t n = b.q.spill(out);
            for (std::uint32_t k = 0; k < n; ++k) take(out[k]);
          }
        }
        break;
      case 3:
        if (G* g = b.q.get(); g != nullptr) take(g);
        [[fallthrough]];
      case 5:
        if (G* g = b.q.get_next(); g != nullptr) take(g);
        [[fallthrough]];
      default:
        while (!b.q.put(b[i])) {
          G* out[RunQueue::kBatch];
          const std::uint32_t n = b.q.spill(out);
          for (std::uint32_t k = 0; k < n; ++k) take(out[k]);
        }
        ++i;
    }
  }
  while (G* g = b.q.get()) take(g);
  if (G* g = b.q.get_next(); g != nullptr) take(g);
  while (sum < kAll) std::this_thread::yield();
  done = true;
  for (auto& t : thieves) t.join();
  EXPECT_EQ(sum, kAll);
}

// Scenario 41, SchedLocalQueueEmpty: there is always exactly one G in the queue, in next or in the ring or on
// its way from one to the other; an observer must never see it empty.
TEST(RunQueue, NeverLooksEmptyWhileItIsNot) {
  Bench b(2);
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> looks{0};
  std::atomic<std::uint64_t> empties{0};
  ASSERT_EQ(b.q.swap_next(b[0]), nullptr);
  std::thread observer([&] {
    while (!done) {
      if (b.q.empty()) ++empties;
      ++looks;
    }
  });
  std::uint32_t at = 0;
  for (int i = 0; i < 200'000 || looks < 50'000; ++i) {
    at = 1 - at;
    G* displaced = b.q.swap_next(b[at]);  // the other one is in nobody's hand but ours now; next is set
    ASSERT_NE(displaced, nullptr);
    ASSERT_TRUE(b.q.put(displaced));
    G* g = b.q.get_next();  // next goes, the ring has one
    ASSERT_EQ(g, b[at]);
    ASSERT_EQ(b.q.swap_next(g), nullptr);  // back
    ASSERT_EQ(b.q.get(), displaced);       // the ring is empty, next is set
  }
  done = true;
  observer.join();
  EXPECT_EQ(empties, 0u);
}

}  // namespace
}  // namespace gort::rt
