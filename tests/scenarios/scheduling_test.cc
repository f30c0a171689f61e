// Who runs when: parallelism, yields, steals, fairness (acceptance scenarios 28, 30, 43, 44, 108).
// test: labels=smoke
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

#include "sched/g.h"
#include "sched/spawn.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using gort::test::now_ns;
using gort::test::yield_until;

namespace {

class Scheduling : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Scheduling);
class SchedulingOnce : public gort::test::RuntimeTest {};

// Scenario 28: as many goroutines as Ps pass a baton in lock step, spinning without a call into gort, so
// that each needs a P of its own at the same time as all others. Three rounds, as Go's test.
TEST_P(Scheduling, AsManyAsPsRunAtOnce) {
  const int n = GetParam();
  GORT_TEST_START(n);
  gort::run([n] {
    for (int round = 0; round < 3; ++round) {
      std::atomic<std::uint32_t> baton{0};
      std::vector<gort::task<void>> runners;
      constexpr std::uint32_t kTurns = 20;
      for (int i = 0; i < n - 1; ++i) {
        runners.push_back(gort::spawn([&baton, i, n] {
          for (std::uint32_t turn = 0; turn < kTurns; ++turn) {
            const auto mine = turn * static_cast<std::uint32_t>(n) + static_cast<std::uint32_t>(i);
            while (baton.load() != mine) {
            }
            baton.store(mine + 1);
          }
        }));
      }
      for (std::uint32_t turn = 0; turn < kTurns; ++turn) {
        const auto mine = turn * static_cast<std::uint32_t>(n) + static_cast<std::uint32_t>(n - 1);
        while (baton.load() != mine) {
        }
        baton.store(mine + 1);
      }
      for (auto& r : runners) r.join();
    }
  });
}

// Scenario 30: two goroutines that only yield both advance.
TEST_P(Scheduling, YieldersBothAdvance) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> turns[2] = {0, 0};
    auto yielder = [&turns](int me) {
      for (int i = 0; i < 1000; ++i) {
        ++turns[me];
        gort::this_goroutine::yield();
        // Each waits for the other once in a while: if that one did not advance, this would not end.
        if (i % 100 != 99) continue;
        ASSERT_TRUE(yield_until([&] { return turns[1 - me] > i - 100; }));
      }
    };
    auto a = gort::spawn(yielder, 0);
    auto b = gort::spawn(yielder, 1);
    a.join();
    b.join();
    EXPECT_EQ(turns[0], 1000);
    EXPECT_EQ(turns[1], 1000);
  });
}

// Scenario 30, YieldLockedProgress: one of them is locked to its thread.
TEST_P(Scheduling, AYielderLockedToItsThreadAdvancesToo) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> turns[2] = {0, 0};
    auto yielder = [&turns](int me, bool locked) {
      if (locked) gort::lock_os_thread();
      const pid_t thread = ::gettid();
      for (int i = 0; i < 300; ++i) {
        ++turns[me];
        gort::this_goroutine::yield();
        if (locked) {
          ASSERT_EQ(::gettid(), thread);
        }
        if (i % 50 != 49) continue;
        ASSERT_TRUE(yield_until([&] { return turns[1 - me] > i - 50; }));
      }
      if (locked) gort::unlock_os_thread();
    };
    auto a = gort::spawn(yielder, 0, true);
    auto b = gort::spawn(yielder, 1, false);
    a.join();
    b.join();
  });
}

TEST_P(Scheduling, BothLockedAdvance) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> turns[2] = {0, 0};
    auto yielder = [&turns](int me) {
      gort::os_thread_lock lock;
      for (int i = 0; i < 200; ++i) {
        ++turns[me];
        ASSERT_TRUE(yield_until([&] { return turns[1 - me] >= i; }));
      }
    };
    auto a = gort::spawn(yielder, 0);
    auto b = gort::spawn(yielder, 1);
    a.join();
    b.join();
  });
}

// Scenario 43.
TEST_F(SchedulingOnce, ThousandAndTwentyFourPs) {
  GORT_TEST_START(1024);
  gort::run([] {
    std::atomic<int> sum{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 2000; ++i) {
      tasks.push_back(gort::spawn([&sum] {
        gort::this_goroutine::yield();
        ++sum;
      }));
    }
    for (auto& t : tasks) t.join();
    EXPECT_EQ(sum, 2000);
  });
}

TEST_F(SchedulingOnce, MoreThanTheMaximumOfPsIsClamped) {
  gort::start({.max_procs = 5000});
  if (gort::num_procs() != 1024) GTEST_SKIP() << "started with other options: run it alone, as ctest does";
  EXPECT_EQ(gort::run([] { return 5; }), 5);
}

// Scenario 44: the number of goroutines is the number of Gs that live, the runtime's own apart.
TEST_P(Scheduling, NumGoroutineCountsThoseThatLive) {
  GORT_TEST_START(GetParam());
  EXPECT_EQ(gort::num_goroutine(), 0);
  gort::run([] {
    const std::int64_t before = gort::num_goroutine();
    EXPECT_EQ(before, 1);
    std::atomic<bool> stop{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 100; ++i) {
      tasks.push_back(gort::spawn([&stop] { yield_until([&] { return stop.load(); }, 60'000); }));
    }
    EXPECT_EQ(gort::num_goroutine(), before + 100);
    std::int64_t alive = 0;
    gort::rt::for_each_g([&](gort::rt::G* g) {
      const auto s = g->status.load();
      if (!g->system && s != gort::rt::GStatus::dead && s != gort::rt::GStatus::idle) ++alive;
    });
    EXPECT_EQ(alive, before + 100);
    stop = true;
    for (auto& t : tasks) t.join();
    // A joined goroutine has a few instructions left.
    EXPECT_TRUE(yield_until([&] { return gort::num_goroutine() == before; }));
  });
}

// A goroutine spawned by one that then never polls is run by somebody else: the work is stolen, also out of
// the next slot.
TEST_F(SchedulingOnce, WorkBehindABusyGoroutineIsStolen) {
  GORT_TEST_START(2);
  gort::run([] {
    std::atomic<int> ran{0};
    for (int i = 0; i < 100; ++i) gort::go([&ran] { ++ran; });
    // No call into gort from here on: this P's queue is emptied by thieves or not at all.
    const std::int64_t deadline = now_ns() + 10'000'000'000;
    while (ran.load() != 100 && now_ns() < deadline) {
    }
    EXPECT_EQ(ran, 100);
  });
}

// A goroutine that yields to one that never polls must not wait for it while another P is idle: whoever
// queues work wakes somebody for it (golang/go: Gosched wakes too). The thief that `spawn` woke has often
// gone to sleep again when the yield queues its goroutine.
TEST_F(SchedulingOnce, AYieldLeavesNoWorkBesideAnIdleP) {
  GORT_TEST_START(2);
  gort::run([] {
    const std::int64_t until = now_ns() + 1'500'000'000;
    for (int i = 0; i < 5'000 && now_ns() < until; ++i) {
      std::atomic<bool> there{false};
      auto hog = gort::spawn([&there] {
        const std::int64_t start = now_ns();
        while (!there && now_ns() - start < 10'000'000'000) {
        }
        return there.load();
      });
      gort::this_goroutine::yield();
      there = true;
      ASSERT_TRUE(hog.get()) << "a goroutine waited ten seconds beside an idle P, round " << i;
    }
  });
}

/// `n` goroutines, each in `call(f)` with an f that sleeps in the kernel, without a call into gort, until all are there.
template <class F>
void expect_meeting_in_the_kernel(int n, F call) {
  for (int round = 0; round < 5; ++round) {
    std::atomic<int> inside{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < n; ++i) {
      tasks.push_back(gort::spawn([&] {
        call([&] {
          ++inside;
          const std::int64_t give_up = now_ns() + 20'000'000'000;
          while (inside != n && now_ns() < give_up) ::usleep(1'000);
          EXPECT_EQ(inside, n) << "some wait until others have slept";
        });
      }));
    }
    for (auto& t : tasks) t.join();
  }
}

// Trap (marl #232, #261; tokio #4941): work serialised behind a busy worker while others sleep. Eight
// calls that block in the kernel, on eight Ps, and end when all have begun.
TEST_F(SchedulingOnce, BlockingCallsOverlapOnAllPs) {
  GORT_TEST_START(8);
  gort::run([] { expect_meeting_in_the_kernel(8, [](auto f) { gort::blocking(f); }); });
}

// The same without gort::blocking: each sleeps with its P in its hand, so eight Ps must really be given to
// eight threads although the first one to sleep never comes back to the scheduler. (Nor is it made to by a signal.)
TEST_F(SchedulingOnce, SleepersWithTheirPsOverlap) {
  ::setenv("GORT_DEBUG", "asyncpreemptoff=1", 0);
  GORT_TEST_START(8);
  gort::run([] { expect_meeting_in_the_kernel(7, [](auto f) { f(); }); });
}

// Trap (tokio #2349, #5686, #5712): a pair that keeps readying each other owns the next slot; a third one in
// the same P's ring must have its turn all the same, within a bounded number of their turns.
TEST_F(SchedulingOnce, APairInTheNextSlotDoesNotStarveTheRing) {
  GORT_TEST_START(1);
  gort::run([] {
    std::atomic<int> rounds{0};
    std::atomic<bool> stop{false};
    // A chain: each task spawns its successor (into the next slot) and ends, for ever.
    struct chain {
      std::atomic<int>& rounds;
      std::atomic<bool>& stop;
      void operator()() const {
        ++rounds;
        if (!stop && rounds < 1'000'000) gort::go(chain{rounds, stop});
      }
    };
    gort::go(chain{rounds, stop});
    int least = 0;
    for (int i = 0; i < 50; ++i) {
      const int before = rounds;
      gort::this_goroutine::yield();  // to the tail of the ring
      least = std::max(least, rounds - before);
    }
    EXPECT_GT(rounds, 0);
    EXPECT_LE(least, 200);  // 64 turns of the next slot, and room for the other order
    stop = true;
    EXPECT_TRUE(yield_until([] { return gort::num_goroutine() == 1; }));
  });
}

// The global queue has its turn although the local one never runs dry: a foreign thread's goroutine runs
// beside two yielders on the only P.
TEST_F(SchedulingOnce, TheGlobalQueueIsNotStarved) {
  GORT_TEST_START(1);
  gort::run([] {
    std::atomic<bool> stop{false};
    auto yielder = [&stop] {
      while (!stop) gort::this_goroutine::yield();
    };
    auto a = gort::spawn(yielder);
    auto b = gort::spawn(yielder);
    std::thread outside([&] {
      auto c = gort::spawn([&stop] { stop = true; });
      c.join();
    });
    a.join();
    b.join();
    outside.join();
  });
}

// Scenario 108 in the small: spawn trees, joins and yields at each number of Ps.
TEST_P(Scheduling, ASpawnTreeAddsUp) {
  GORT_TEST_START(GetParam());
  struct tree {
    static int sum(int depth) {
      if (depth == 0) return 1;
      auto left = gort::spawn(sum, depth - 1);
      auto right = gort::spawn(sum, depth - 1);
      gort::this_goroutine::yield();
      return left.get() + right.get();
    }
  };
  EXPECT_EQ(gort::run([] { return tree::sum(11); }), 2048);
}

#if defined(GORT_TEST_TSAN)
constexpr int kMany = 2'000;  // TSan has room for 8,000 fibers
#elif defined(GORT_TEST_ASAN)
constexpr int kMany = 20'000;
#else
constexpr int kMany = 100'000;
#endif

TEST_P(Scheduling, AHundredThousandGoroutines) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> arrived{0};
    std::atomic<bool> leave{false};
    for (int i = 0; i < kMany; ++i) {
      gort::go([&] {
        ++arrived;
        while (!leave) gort::this_goroutine::yield();
        --arrived;
      });
    }
    EXPECT_TRUE(yield_until([&] { return arrived == kMany; }, 50'000));
    EXPECT_GE(gort::num_goroutine(), kMany);
    leave = true;
    EXPECT_TRUE(yield_until([&] { return arrived == 0; }, 50'000));
  });
}

}  // namespace
