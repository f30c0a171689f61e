// Birth and death of Gs below the API: caches, stacks, numbers, counts.
#include "sched/spawn.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "base/alloc.h"
#include "base/fault.h"
#include "gort/world.h"
#include "os/linux/test_support.h"
#include "sched/entry.h"
#include "tests/support/runtime_fixture.h"

namespace gort::rt {
namespace {

class Spawn : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Spawn);

TEST_P(Spawn, AGThatIsNotStartedComesBack) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    RuntimeEntry entry;
    G* a = g_alloc(0);
    EXPECT_NE(a, nullptr);
    EXPECT_EQ(a->status.load(), GStatus::dead);
    const std::int64_t before = num_goroutine();
    g_discard(a);
    EXPECT_EQ(num_goroutine(), before) << "it was never counted";
    G* b = g_alloc(0);
    EXPECT_EQ(b, a) << "the P's cache is a stack";
    g_discard(b);
  });
}

TEST_P(Spawn, UnusualStacksAreOfTheirSize) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    RuntimeEntry entry;
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1} << 20, std::size_t{64} << 20}) {
      G* g = g_alloc(bytes);
      ASSERT_NE(g, nullptr);
      EXPECT_GE(g->stack.hi - g->stack.lo + (std::size_t{64} << 10), bytes) << "the guard counts";
      g_discard(g);
    }
    EXPECT_EQ(g_alloc(std::size_t{1} << 40), nullptr);
  });
}

/// The least number of goroutines that somebody reads while `live` others live, have children, and the number of Ps
/// changes, at most `changes` times. (A P that goes away hands its counts over.)
std::int64_t least_beside_changes(int live, int changes, int procs) {
  std::atomic<bool> over{false}, read_enough{false};
  std::atomic<std::int64_t> least{live};
  std::atomic<long> looks{0};
  gort::run([&] {
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < live; ++i) {
      tasks.push_back(gort::spawn([&] {
        while (!over) gort::spawn([] {}).join();  // each P has starts and ends to hand over
      }));
    }
    std::thread reader([&] {
      for (; !read_enough; ++looks) {
        const std::int64_t n = gort::num_goroutine();
        if (n < least) least = n;
      }
    });
    for (int i = 0; i < changes && least == live; ++i) {
      gort::max_procs(4);
      gort::this_goroutine::yield();
      gort::max_procs(1);
      gort::this_goroutine::yield();
    }
    while (looks < 1000) gort::this_goroutine::yield();
    read_enough = true;
    gort::blocking([&] { reader.join(); });
    over = true;
    for (auto& t : tasks) t.join();
    gort::max_procs(procs);
  });
  return least;
}

// The end of a run, for one, waits until nobody is left: a number that is too low ends that wait.
TEST_P(Spawn, TheCountIsNotTooLowWhileTheNumberOfPsChanges) {
  GORT_TEST_START(GetParam());
  EXPECT_EQ(least_beside_changes(8, 600, GetParam()), 8);
}

#if defined(GORT_TESTING)
TEST_P(Spawn, WhoDoesNotSeeTheChangesCountsTooFew) {
  GORT_TEST_START(GetParam());
  set_fault(Fault::count_moves, true);
  EXPECT_LT(least_beside_changes(8, 1'000'000, GetParam()), 8);
  set_fault(Fault::count_moves, false);
}
#endif

TEST_P(Spawn, NumbersAreUniqueForEver) {
  GORT_TEST_START(GetParam());
  std::set<std::uint64_t> seen;
  auto take = [&seen](std::uint64_t id) {
    EXPECT_NE(id, 0u);
    EXPECT_TRUE(seen.insert(id).second) << id;
  };
  for (int i = 0; i < 20; ++i) take(gort::spawn([] { return gort::this_goroutine::id(); }).get());
  gort::run([&take] {
    std::vector<gort::task<std::uint64_t>> tasks;
    for (int i = 0; i < 500; ++i) tasks.push_back(gort::spawn([] { return gort::this_goroutine::id(); }));
    for (auto& t : tasks) take(t.get());
  });
}

TEST_P(Spawn, TheDeadAreUsedAgain) {
  GORT_TEST_START(GetParam());
  auto all = [] {
    int n = 0;
    for_each_g([&n](G*) { ++n; });
    return n;
  };
  gort::run([] { for (int i = 0; i < 100; ++i) gort::spawn([] {}).join(); });
  const int before = all();
  gort::run([] { for (int i = 0; i < 20'000; ++i) gort::spawn([] {}).join(); });
  EXPECT_LE(all(), before + 1'000) << "20,000 goroutines one after the other need a few Gs";
}

// With many Ps Gs are made several at once: each is in the registry, once, and those in the cache are used.
class SpawnWithManyPs : public gort::test::RuntimeTest {};
TEST_F(SpawnWithManyPs, EachGIsRegisteredOnce) {
  GORT_TEST_START(64);
  constexpr int kLive = 500;
  std::set<G*> live;
  gort::run([&live] {
    gort::chan<int> go_on(0);
    gort::chan<G*> born(kLive);
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < kLive; ++i) {
      tasks.push_back(gort::spawn([=] {
        born.send(current_g());
        (void)go_on.recv();
      }));
    }
    for (int i = 0; i < kLive; ++i) EXPECT_TRUE(live.insert(*born.recv()).second) << "two goroutines in one G";
    go_on.close();
    for (auto& t : tasks) t.join();
  });
  std::set<G*> registered;
  for_each_g([&](G* g) { EXPECT_TRUE(registered.insert(g).second) << "registered twice"; });
  for (G* g : live) EXPECT_TRUE(registered.contains(g));
  EXPECT_LE(registered.size(), kLive + 64 * 16 + 16);
}

class SpawnDeath : public gort::test::RuntimeTest {};

// There are stacks, but no memory for what a goroutine is besides: that is std::bad_alloc, too.
TEST_F(SpawnDeath, WithoutMemoryForAGoroutineGoThrows) {
#if defined(GORT_TEST_SANITIZED)
  GTEST_SKIP() << "sanitizers live on address space";
#endif
  EXPECT_EXIT({
    gort::run([] {
      gort::semaphore gate(0);
      gort::spawn([] {}).join();  // there are stacks
      EXPECT_FALSE(gate.try_acquire_for(std::chrono::milliseconds(1)));  // and records of those who wait there
      const rlimit most{static_cast<rlim_t>(gort::test::status_kib("VmSize")) * 1024, RLIM_INFINITY};
      if (setrlimit(RLIMIT_AS, &most) != 0) std::_Exit(11);
      while (persistent_try_alloc(64, 8) != nullptr) {
      }
      int n = 0;
      try {
        for (;; ++n) gort::go([&gate] { gate.acquire(); });
      } catch (const std::bad_alloc&) {
      }
      const std::size_t claimed = stack_stats().claimed;
      if (!stack_claim(default_stack_bytes(), 1)) std::_Exit(12);
      EXPECT_THROW(gort::go([] {}), std::bad_alloc);
      EXPECT_THROW(gort::go({.stack = std::size_t{1} << 20}, [] {}), std::bad_alloc);
      if (stack_stats().claimed != claimed + 1) std::_Exit(13);
      for (; n > 0; --n) gate.release();
      std::_Exit(testing::Test::HasFailure() ? 14 : 0);
    });
  }, ::testing::ExitedWithCode(0), "");
}

TEST_P(Spawn, TheParentIsKnown) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const std::uint64_t me = gort::this_goroutine::id();
    gort::spawn([me] {
      EXPECT_EQ(current_g()->parent_goid, me);
      EXPECT_NE(current_g()->created_by_pc, 0u);
    }).join();
  });
  gort::spawn([] { EXPECT_EQ(current_g()->parent_goid, 0u); }).join();
}

}  // namespace
}  // namespace gort::rt
