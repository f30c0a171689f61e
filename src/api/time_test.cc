// The clock, sleeping, the arithmetic of deadlines. Scenarios 68 (lower bound), 70 (zero and overflowing sleeps).
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <ratio>
#include <thread>
#include <vector>

#include "sched/entry.h"
#include "sync/blocking_wait.h"
#include "sync/timers.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using gort::detail::kForeverNs;
using gort::detail::whole_ns;

namespace {

static_assert(std::chrono::is_clock_v<gort::clock>);
static_assert(gort::clock::is_steady);
using ns = std::chrono::nanoseconds;
static_assert(whole_ns(5ms) == 5'000'000);
static_assert(whole_ns(std::chrono::hours::max()) == kForeverNs);
static_assert(whole_ns(std::chrono::hours::min()) == 0);
static_assert(whole_ns(std::chrono::duration<double, std::nano>(1.25)) == 2, "rounded up");
static_assert(whole_ns(std::chrono::duration<long long, std::pico>(1)) == 1, "rounded up");
static_assert(whole_ns(ns::max()) >= kForeverNs / 1000 * 998, "as good as for ever");

// Ticks of which a second has no whole number of nanoseconds.
using hpet = std::chrono::duration<std::int64_t, std::ratio<1, 14'318'180>>;
using tsc = std::chrono::duration<std::int64_t, std::ratio<1, 2'999'999'999>>;
using frames = std::chrono::duration<std::int64_t, std::ratio<1001, 30'000>>;
static_assert(whole_ns(hpet(14'318'180LL * 4 * 3600 + 1)) == 4 * 3600 * 1'000'000'000LL + 70);
static_assert(whole_ns(tsc(2'999'999'999LL * 4)) == 4'000'000'000);
static_assert(whole_ns(tsc(2'999'999'999LL * 10 + 1)) == 10'000'000'001);
static_assert(whole_ns(frames(30'000LL * 86'400 * 80)) == 1001LL * 86'400 * 80 * 1'000'000'000);
static_assert(whole_ns(std::chrono::duration<int, std::ratio<1, 3>>(7)) == 2'333'333'334);
static_assert(whole_ns(std::chrono::duration<std::uint64_t, std::atto>(1'000'000'001)) == 2);
static_assert(whole_ns(frames::max()) == kForeverNs);

TEST(Durations, WhatIsNoNumberIsTheLongest) {
  EXPECT_EQ(whole_ns(std::chrono::duration<double>(std::numeric_limits<double>::infinity())), kForeverNs);
  EXPECT_EQ(whole_ns(std::chrono::duration<double>(-std::numeric_limits<double>::infinity())), 0);
  EXPECT_EQ(whole_ns(std::chrono::duration<double>(std::nan(""))), kForeverNs);
  EXPECT_EQ(gort::detail::deadline_after(kForeverNs), gort::clock::time_point::max());
}

TEST(Clock, NeverGoesBackAndWorksBeforeTheRuntime) {
  auto last = gort::clock::now();
  for (int i = 0; i < 1000; ++i) {
    const auto now = gort::clock::now();
    EXPECT_GE(now, last);
    last = now;
  }
  gort::this_goroutine::sleep_for(1ms);  // no runtime: the thread's own sleep
  EXPECT_GE(gort::clock::now() - last, 1ms);
  EXPECT_FALSE(gort::rt::sched.started.load());
}

TEST(Durations, TimePointsBeyondNanosecondsHavePassedOrNeverCome) {
  using gort::detail::ns_until;
  using std::chrono::steady_clock, std::chrono::sys_days, std::chrono::system_clock;
  EXPECT_EQ(ns_until(steady_clock::time_point::min()), 0);
  EXPECT_EQ(ns_until(steady_clock::time_point::max()), kForeverNs);
  EXPECT_EQ(ns_until(system_clock::time_point::min()), 0);
  EXPECT_EQ(ns_until(sys_days::min()), 0);
  EXPECT_EQ(ns_until(sys_days(9999y / 12 / 31)), kForeverNs);
  EXPECT_EQ(ns_until(system_clock::now() - 1h), 0);
  EXPECT_GT(ns_until(system_clock::now() + 1000h), ns(1h).count());
  // Nearly two thousand million seconds of those.
  const auto in_ticks = std::chrono::time_point<system_clock, hpet>(hpet(14'318'180 * system_clock::to_time_t(system_clock::now())));
  EXPECT_EQ(ns_until(in_ticks - std::chrono::hours(1)), 0);
  EXPECT_GT(ns_until(in_ticks + std::chrono::hours(1)), ns(59min).count());
  EXPECT_LT(ns_until(in_ticks + std::chrono::hours(1)), ns(61min).count());
}

// The forms that wait until a time of any clock.
TEST(Clock, TheEarliestTimePointOfAClockHasPassed) {
  static constexpr auto kLongAgo = std::chrono::steady_clock::time_point::min();
  static constexpr auto kBeforeNanoseconds = std::chrono::sys_days::min();
  gort::run([] {
    gort::event e;
    EXPECT_FALSE(e.wait_until(kLongAgo));
    auto t = gort::spawn([&] { e.wait(); });
    EXPECT_FALSE(t.wait_until(kLongAgo));
    EXPECT_EQ(gort::chan<int>(1).recv_until(kLongAgo).error(), gort::chan_status::timeout);
    gort::semaphore none(0);
    EXPECT_FALSE(none.try_acquire_until(kLongAgo));
    EXPECT_FALSE(none.try_acquire_until(kBeforeNanoseconds));
    gort::mutex m;
    std::unique_lock hold(m);
    gort::condition_variable never;
    EXPECT_EQ(never.wait_until(hold, kLongAgo), std::cv_status::timeout);
    EXPECT_FALSE(never.wait_until(hold, kBeforeNanoseconds, [] { return false; }));
    {
      const gort::with_deadline limit(kLongAgo);
      EXPECT_TRUE(gort::this_goroutine::cancelled());
    }
    e.set();
  });
}

class Sleep : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Sleep);

TEST_P(Sleep, NeverLessThanAsked) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (auto d : {ns(1), ns(1us), ns(50us), ns(300us), ns(1ms), ns(5ms), ns(20ms)}) {
      const auto began = gort::clock::now();
      gort::this_goroutine::sleep_for(d);
      EXPECT_GE(gort::clock::now() - began, d);
    }
  });
}

TEST_P(Sleep, ZeroAndNegativeReturnAtOnceAndDoNotBlock) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    // Scenario 70, SleepZeroDeadlock: many of them, while others come and go.
    for (int i = 0; i < 1000; ++i) {
      gort::this_goroutine::sleep_for(0ns);
      gort::this_goroutine::sleep_for(-1s);
      gort::this_goroutine::sleep_for(ns::min());
      gort::this_goroutine::sleep_until(gort::clock::time_point::min());
      gort::spawn([] { gort::this_goroutine::sleep_for(0ns); }).join();
    }
  });
}

// Scenario 70, OverflowSleep: the far ones do not wrap around into the past.
TEST_P(Sleep, OverflowingOnesDoNotEnd) {
  GORT_TEST_START(GetParam());
  std::atomic<int> ended = 0;
  gort::run({.grace = 0s, .quiet = true}, [&] {
    for (auto d : {ns::max(), ns::max() - 1s, ns(std::chrono::hours(24 * 365 * 200))}) {
      gort::go([&ended, d] {
        gort::this_goroutine::sleep_for(d);
        ++ended;
      });
    }
    gort::go([&] {
      gort::this_goroutine::sleep_until(gort::clock::time_point::max());
      ++ended;
    });
    gort::this_goroutine::sleep_for(20ms);
    EXPECT_EQ(ended, 0);
  });
}

TEST_P(Sleep, UntilATimeOfAnyClock) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const auto began = std::chrono::steady_clock::now();
    gort::this_goroutine::sleep_until(began + 1ms);
    EXPECT_GE(std::chrono::steady_clock::now() - began, 1ms);
    const auto then = std::chrono::system_clock::now() + 1ms;
    gort::this_goroutine::sleep_until(then);
    EXPECT_GE(std::chrono::system_clock::now(), then);
    const auto when = gort::clock::now() + std::chrono::duration<double, std::milli>(1.5);
    gort::this_goroutine::sleep_until(when);
    EXPECT_GE(gort::clock::now(), when);
    gort::this_goroutine::sleep_until(std::chrono::system_clock::time_point::min());
  });
}

TEST_P(Sleep, ManyEndInTheirOrder) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kMany = 200;
    std::vector<std::atomic<std::int64_t>> late(kMany);
    const auto base = gort::clock::now() + 5ms;
    {
      std::vector<gort::task<void>> all;
      for (int i = 0; i < kMany; ++i) {
        all.push_back(gort::spawn([&, i] {
          const auto when = base + (i * 7919 % kMany) * 100us;
          gort::this_goroutine::sleep_until(when);
          late[i] = (gort::clock::now() - when).count();
        }));
      }
    }
    for (auto& l : late) EXPECT_GE(l, 0);
  });
}

TEST_P(Sleep, OnAForeignThreadToo) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::thread([] {
      const auto began = gort::clock::now();
      gort::this_goroutine::sleep_for(2ms);
      EXPECT_GE(gort::clock::now() - began, 2ms);
    }).join();
  });
}

// Sleepers beside goroutines that never call gort: all Ps are busy.
TEST_P(Sleep, BesideHogs) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> end = false;
    std::vector<gort::task<void>> hogs;
    for (int i = 0; i < GetParam() + 1; ++i) {
      hogs.push_back(gort::spawn([&] {
        while (!end) {
        }
      }));
    }
    for (int i = 0; i < 5; ++i) gort::this_goroutine::sleep_for(1ms);
    end = true;
  });
}

// The last one that sleeps is no deadlock, with the main goroutine waiting for it.
TEST_P(Sleep, IsNoDeadlock) {
  GORT_TEST_START(GetParam());
  gort::run([] { gort::spawn([] { gort::this_goroutine::sleep_for(30ms); }).join(); });
}

/// Waits that nobody but their deadline ends; as the primitives of src/sync do.
gort::rt::WaitEnd wait_until(gort::clock::time_point when) {
  gort::rt::RuntimeEntry entry;
  gort::rt::BlockingWait wait(gort::rt::WaitReason::test, when.time_since_epoch().count(), nullptr);
  wait.race();
  return wait.park();
}

TEST_P(Sleep, DeadlinesOfForeignThreads) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::thread([] {
      for (int i = 0; i < 20; ++i) {
        const auto when = gort::clock::now() + 200us;
        EXPECT_EQ(wait_until(when), gort::rt::WaitEnd::timeout);
        EXPECT_GE(gort::clock::now(), when);
      }
    }).join();
  });
}

class SleepDeath : public gort::test::RuntimeTest {};

// A timer that was stopped long before its time does not hide a deadlock.
TEST_F(SleepDeath, AStoppedTimerDoesNotHideADeadlock) {
#if defined(GORT_TEST_TSAN)
  GTEST_SKIP() << "TSan's own thread counts as foreign: it could call in";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(gort::run([] {
                gort::semaphore never(0);
                gort::rt::WaitState* w = &gort::rt::current_g()->wait_state;
                {
                  gort::rt::RuntimeEntry entry;
                  if (!gort::rt::deadline_prepare(w)) std::_Exit(1);
                  gort::rt::deadline_arm(w, 77, gort::rt::kNoDeadline / 2);
                  gort::rt::deadline_disarm(w);
                }
                never.acquire();
              }),
              ::testing::ExitedWithCode(2), "deadlock");
}

}  // namespace
