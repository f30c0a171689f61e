// gort::testing::bubble: virtual time, waiting until all are blocked.
// test: labels=smoke
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "base/fault.h"
#include "gort/chan.h"
#include "gort/condition_variable.h"
#include "gort/event.h"
#include "gort/latch.h"
#include "gort/mutex.h"
#include "gort/once.h"
#include "gort/scope.h"
#include "gort/semaphore.h"
#include "gort/shared_mutex.h"
#include "gort/testing/bubble.h"
#include "gort/timer.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using gort::clock;
namespace bubble = gort::testing::bubble;
using gort::test::now_ns;

namespace {

class Bubble : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Bubble);
class BubbleDeath : public gort::test::RuntimeTest {};

TEST_P(Bubble, HoursPassInNoTime) {
  GORT_TEST_START(GetParam());
  const auto real = now_ns();
  for (int i = 0; i < 100; ++i) {
    bubble::run([] {
      EXPECT_TRUE(bubble::inside());
      const auto began = clock::now();
      EXPECT_EQ(began.time_since_epoch(), 24h);
      auto other = gort::spawn([=] {
        gort::this_goroutine::sleep_for(1h);
        EXPECT_EQ(clock::now() - began, 1h);
      });
      gort::this_goroutine::sleep_for(2h);
      EXPECT_EQ(clock::now() - began, 2h);
      other.join();
      EXPECT_EQ(clock::now() - began, 2h);
    });
    EXPECT_FALSE(bubble::inside());
  }
  EXPECT_LT(now_ns() - real, 20'000'000'000);
}

TEST_P(Bubble, InsideOfARunToo) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::vector<gort::task<void>> all;
    for (int i = 0; i < 8; ++i) {
      all.push_back(gort::spawn([i] {
        bubble::run([i] {
          const auto began = clock::now();
          for (int k = 0; k < 50; ++k) gort::this_goroutine::sleep_for(std::chrono::minutes(i + 1));
          EXPECT_EQ(clock::now() - began, 50 * std::chrono::minutes(i + 1));
        });
      }));
    }
    const auto began = clock::now();
    gort::this_goroutine::sleep_for(1ms);
    EXPECT_GE(clock::now() - began, 1ms) << "outside, time is what it was";
    for (auto& t : all) t.join();
  });
}

TEST_P(Bubble, WaitReturnsWhenAllOthersAreBlocked) {
  GORT_TEST_START(GetParam());
  bubble::run([] {
    int done = 0;  // plain: wait orders
    gort::chan<int> c(0);
    gort::go([&] {
      for (int i = 0; i < 100; ++i) gort::this_goroutine::yield();
      done = 1;
      c.recv();
      done = 2;
      gort::this_goroutine::sleep_for(1s);
      done = 3;
    });
    bubble::wait();
    EXPECT_EQ(done, 1);
    c.send(0);
    bubble::wait();
    EXPECT_EQ(done, 2);
    gort::this_goroutine::sleep_for(1s - 1ns);
    bubble::wait();
    EXPECT_EQ(done, 2);
    gort::this_goroutine::sleep_for(1ns);
    bubble::wait();
    EXPECT_EQ(done, 3);
  });
}

TEST_P(Bubble, TimersTickersFunctionsAndDeadlines) {
  GORT_TEST_START(GetParam());
  bubble::run([] {
    const auto began = clock::now();
    gort::timer t(10min);
    EXPECT_EQ(t.recv() - began, 10min);
    gort::ticker every(1min);
    for (int i = 1; i <= 5; ++i) EXPECT_EQ(every.recv() - began, 10min + i * 1min);
    every.stop();
    int ran = 0;
    gort::after_func(7min, [&] { ran = clock::now() - began == 22min ? 1 : -1; });
    gort::this_goroutine::sleep_for(7min);
    bubble::wait();
    EXPECT_EQ(ran, 1);
    gort::chan<int> c(0);
    EXPECT_EQ(c.recv_for(30s).error(), gort::chan_status::timeout);
    EXPECT_EQ(clock::now() - began, 22min + 30s);
    EXPECT_EQ(gort::select(c.on_recv(), gort::after(30s)), 1u);
    EXPECT_EQ(clock::now() - began, 23min);
  });
}

// Functions of contexts run inside, also when the clock itself has cancelled theirs.
TEST_P(Bubble, FunctionsOfContextsAreInside) {
  GORT_TEST_START(GetParam());
  bubble::run([] {
    const auto began = clock::now();
    bool inside = false;
    auto ran = clock::duration::zero();
    gort::with_timeout limit(10min);
    auto done = limit.context().after_func([&] {
      inside = bubble::inside();
      gort::shield _;
      gort::this_goroutine::sleep_for(1min);
      ran = clock::now() - began;
    });
    EXPECT_THROW(gort::this_goroutine::sleep_for(20min), gort::cancelled);
    EXPECT_EQ(clock::now() - began, 10min);
    gort::shield _;
    gort::this_goroutine::sleep_for(2min);
    EXPECT_TRUE(inside);
    EXPECT_EQ(ran, 11min);
  });
}

TEST_P(Bubble, AWaitForAContextIsDurable) {
  GORT_TEST_START(GetParam());
  bubble::run([] {
    const auto began = clock::now();
    gort::context expires;
    auto t = gort::spawn([&] {
      gort::with_timeout limit(10min);
      expires = limit.context();
      gort::this_goroutine::sleep_for(20min);
    });
    bubble::wait();
    EXPECT_EQ(gort::select(expires.on_cancelled(), gort::after(1h)), 0u);
    EXPECT_EQ(clock::now() - began, 10min);
    expires.wait();
    EXPECT_THROW(t.join(), gort::cancelled);
    {
      gort::with_timeout limit(10min);
      const gort::context below = limit.context();
      gort::shield _;
      below.wait();
      EXPECT_EQ(clock::now() - began, 20min);
    }
  });
}

TEST_P(Bubble, TheTimeGoesOnForThoseWhoAreLeft) {
  GORT_TEST_START(GetParam());
  std::atomic<int> ran = 0;
  bubble::run([&] {
    gort::go([&] {
      gort::this_goroutine::sleep_for(48h);
      ++ran;
    });
  });
  EXPECT_EQ(ran, 1);
}

// A wait until a time of a clock that is not the bubble's takes as long as that is away when it begins.
template <class Clock>
void expect_waits_until_a_time_of() {
  const auto waits = [](auto f) {
    const auto began = clock::now();
    f(Clock::now() + 1h);
    EXPECT_GT(clock::now() - began, 59min);
    EXPECT_LE(clock::now() - began, 1h);
  };
  gort::latch never(1);
  waits([&](auto when) { EXPECT_FALSE(never.wait_until(when)); });
  waits([](auto when) { gort::this_goroutine::sleep_until(when); });
  gort::event unset;
  waits([&](auto when) { EXPECT_FALSE(unset.wait_until(when)); });
  waits([&](auto when) { EXPECT_EQ(gort::chan<int>(0).recv_until(when).error(), gort::chan_status::timeout); });
  gort::condition_variable nobody;
  gort::mutex m;
  std::unique_lock hold(m);
  waits([&](auto when) { EXPECT_EQ(nobody.wait_until(hold, when), std::cv_status::timeout); });
  waits([&](auto when) { EXPECT_FALSE(nobody.wait_until(hold, when, [] { return false; })); });
  // Notifications in between do not lengthen it.
  auto notifier = gort::spawn([&] {
    for (int i = 0; i < 5; ++i) {
      gort::this_goroutine::sleep_for(10min);
      nobody.notify_all();
    }
  });
  waits([&](auto when) { EXPECT_FALSE(nobody.wait_until(hold, when, [] { return false; })); });
  notifier.join();
}

TEST_P(Bubble, WaitsUntilATimeOfOtherClocks) {
  GORT_TEST_START(GetParam());
  bubble::run(expect_waits_until_a_time_of<std::chrono::system_clock>);
  bubble::run(expect_waits_until_a_time_of<std::chrono::steady_clock>);
}

// Who has the units sleeps in virtual time: those who wait for them must not keep it still.
TEST_P(Bubble, AWaitForASemaphoreIsDurable) {
  GORT_TEST_START(GetParam());
  bubble::run([] {
    const auto began = clock::now();
    gort::semaphore two(2);
    gort::scope s;
    for (int i = 0; i < 6; ++i) {
      s.go([&] {
        two.acquire();
        gort::this_goroutine::sleep_for(1h);
        two.release();
      });
    }
    bubble::wait();
    EXPECT_FALSE(two.try_acquire_for(30min));
    EXPECT_EQ(clock::now() - began, 30min);
    s.join();
    EXPECT_EQ(clock::now() - began, 3h);
  });
}

TEST_P(Bubble, AWaitForAPlaceInAScopeIsDurable) {
  GORT_TEST_START(GetParam());
  bubble::run([] {
    const auto began = clock::now();
    gort::scope s({.limit = 2});
    for (int i = 0; i < 6; ++i) s.go([] { gort::this_goroutine::sleep_for(1h); });
    s.join();
    EXPECT_EQ(clock::now() - began, 3h);
  });
}

// What is held by somebody who sleeps in virtual time, and wanted by others who are not durably blocked.
void hold_over_sleeps() {
  bubble::run([] {
    const auto began = clock::now();
    gort::mutex m;
    gort::shared_mutex sm;
    gort::once_flag once;
    gort::scope s;
    int turns = 0;
    for (int i = 0; i < 3; ++i) {
      s.go([&] {
        std::scoped_lock hold(m);
        gort::this_goroutine::sleep_for(1h);
        ++turns;
      });
      s.go([&] {
        std::scoped_lock hold(sm);
        gort::this_goroutine::sleep_for(1h);
      });
      s.go([&] { gort::call_once(once, [] { gort::this_goroutine::sleep_for(2h); }); });
    }
    bubble::wait();  // as soon as nobody can go on
    EXPECT_EQ(clock::now(), began);
    EXPECT_FALSE(m.try_lock_for(10min));
    EXPECT_EQ(clock::now() - began, 10min);
    s.join();
    EXPECT_EQ(clock::now() - began, 3h);
    EXPECT_EQ(turns, 3);
  });
}

TEST_P(Bubble, TheClockGoesOnIfNothingElseCan) {
  GORT_TEST_START(GetParam());
  hold_over_sleeps();
  gort::run([] {  // several
    gort::scope s;
    for (int i = 0; i < 5; ++i) s.go(hold_over_sleeps);
    s.join();
  });
}

// Somebody who computes, waits for a mutex, or for something outside, keeps the clock still.
TEST_P(Bubble, TheClockStandsStillWhileSomebodyCanGoOn) {
  GORT_TEST_START(GetParam());
  gort::chan<int> outside(0);
  std::atomic<bool> slept = false;
  std::thread foreign([&] {
    while (true) {
      std::this_thread::sleep_for(5ms);
      EXPECT_FALSE(slept);
      break;
    }
    outside.send(1);
  });
  bubble::run([&] {
    auto receiver = gort::spawn([&] {
      const auto began = clock::now();
      EXPECT_EQ(outside.recv(), 1);
      EXPECT_EQ(clock::now(), began);
    });
    auto caller = gort::spawn([] {
      const auto began = clock::now();
      gort::blocking([] { std::this_thread::sleep_for(2ms); });
      EXPECT_EQ(clock::now(), began);
    });
    gort::this_goroutine::sleep_for(1h);
    slept = true;
    receiver.join();
    caller.join();
  });
  foreign.join();
}

TEST_P(Bubble, RethrowsAndGoesOn) {
  GORT_TEST_START(GetParam());
  EXPECT_THROW(bubble::run([] { throw std::out_of_range("x"); }), std::out_of_range);
  bubble::run([] { gort::this_goroutine::sleep_for(1s); });
}

// What a bubble leaves armed is dropped; records that were in it are used outside again.
TEST_P(Bubble, LeavesNothingBehind) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const auto token = std::make_shared<int>();
    for (int i = 0; i < 50; ++i) {
      bubble::run([&] {
        gort::after_func(1000h, [token] { ADD_FAILURE(); });
        gort::after_func(1000h, [token] { ADD_FAILURE(); }).stop();
        gort::chan<int> c(1);
        c.send(1);
        EXPECT_TRUE(c.recv_for(100h));  // stopped, still in the heap
      });
      EXPECT_EQ(token.use_count(), 1) << "functions that will not run are destroyed";
      const auto began = clock::now();
      gort::spawn([] { gort::this_goroutine::sleep_for(100us); }).join();
      EXPECT_GE(clock::now() - began, 100us);
      EXPECT_LT(clock::now() - began, 10s);
    }
  });
}

// Many goroutines, one clock: a small simulation, the same each time.
TEST_P(Bubble, IsTheSameEachTime) {
  GORT_TEST_START(GetParam());
  auto simulate = [] {
    std::vector<int> order;
    bubble::run([&] {
      std::vector<gort::task<void>> all;
      for (int i = 0; i < 50; ++i) {
        all.push_back(gort::spawn([&, i] {
          for (int k = 0; k < 4; ++k) {
            gort::this_goroutine::sleep_for(std::chrono::seconds(1 + (i * 37 + k * 11) % 101) + std::chrono::milliseconds(i));
            order.push_back(i);  // no two at the same time
          }
        }));
      }
      for (auto& t : all) t.join();
    });
    return order;
  };
  const auto first = simulate();
  EXPECT_EQ(first.size(), 200u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(simulate(), first);
}

#if defined(GORT_TESTING)
TEST_F(BubbleDeath, IfTheClockDoesNotGoOnWhereNothingElseCan) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        gort::rt::set_fault(gort::rt::Fault::bubble_dead, true);
        hold_over_sleeps();
      },
      ::testing::ExitedWithCode(2), "all goroutines are asleep - deadlock!");
}
#endif

TEST_F(BubbleDeath, WhoWaitsForEachOther) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(bubble::run([] {
                gort::mutex a, b;
                std::scoped_lock hold(a, b);
                gort::spawn([&] { a.lock(); }).get();
              }),
              ::testing::ExitedWithCode(2), "all goroutines are asleep - deadlock!");
}

TEST_F(BubbleDeath, Misuse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(bubble::wait(), ::testing::ExitedWithCode(2), "bubble::wait: outside of a bubble");
  EXPECT_EXIT(bubble::run([] { bubble::run([] {}); }), ::testing::ExitedWithCode(2), "inside of a bubble");
  EXPECT_EXIT(bubble::run([] { gort::chan<int>(0).recv(); }), ::testing::ExitedWithCode(2),
              "deadlock: all goroutines of a gort::testing::bubble are blocked");
  EXPECT_EXIT(bubble::run([] {
                gort::ticker nobody_takes(1s);
                gort::chan<int>(0).recv();
              }),
              ::testing::ExitedWithCode(2), "its timers wake nobody");
  EXPECT_EXIT(bubble::run([] {
                gort::go([] { bubble::wait(); });
                gort::this_goroutine::yield();
                gort::go([] { bubble::wait(); });
                bubble::wait();
              }),
              ::testing::ExitedWithCode(2), "in wait\\(\\) already");
}

}  // namespace
