// timer, ticker, after_func. Scenarios 68 (results of stop and reset, order, drift), 69, 70, 72, 73 (no stale values).
// test: labels=smoke
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gort/timer.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using gort::clock;
using gort::test::yield_until;

namespace {

class TimerApi : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(TimerApi);
class TimerDeath : public gort::test::RuntimeTest {};

bool empty(const gort::timer& t) {
  const auto r = t.channel().try_recv();
  return !r && r.error() == gort::chan_status::empty;
}

TEST_P(TimerApi, ArrivesOnceAndNotTooEarly) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (auto d : {0us, 1us, 100us, 2000us}) {
      const auto began = clock::now();
      gort::timer t(d);
      const auto when = t.recv();
      EXPECT_GE(when - began, d);
      EXPECT_LE(when, clock::now());
      EXPECT_TRUE(empty(t));
    }
    gort::timer late(-1h);
    late.recv();
  });
}

// Asked often, the time for a deadline comes from the processor's counter (os/quick_clock.h).
TEST_P(TimerApi, NotTooEarlyWhereManyAreSetUp) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::timer far(1h);
    gort::chan<int> nobody_sends(0);
    int quick = 0;
    for (const auto end = clock::now() + 100ms; clock::now() < end;) {
      for (int i = 0; i < 200; ++i) far.reset(1h);
      auto began = clock::now();
      gort::timer t(20us);
      EXPECT_GE(t.recv() - began, 20us);
      for (int i = 0; i < 200; ++i) far.reset(1h);
      began = clock::now();
      EXPECT_FALSE(nobody_sends.recv_for(20us));
      EXPECT_GE(clock::now() - began, 20us);
      quick += gort::rt::self_m()->quick_clock.quick() ? 1 : 0;
    }
    if (gort::rt::sched.quick_clock) {
      EXPECT_GT(quick, 0);
    }
  });
}

// What a timer is made of lies in its channel's memory: that goes last, whoever has the last handle. (ASan sees the other order.)
TEST_P(TimerApi, MovedAndAssignedOver) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::timer a(1h);
    const auto left = gort::timer(1h).channel();  // its timer is gone
    a = gort::timer(20us);                        // over the last handle of a channel
    a.recv();
    gort::timer b(std::move(a));
    EXPECT_FALSE(b.stop());
    EXPECT_FALSE(left.try_recv());
    gort::timer& same = b;
    b = std::move(same);
    EXPECT_FALSE(b.reset(1h));
    EXPECT_TRUE(b.stop());
    gort::ticker ticks(1h);
    ticks = gort::ticker(20us);
    ticks.recv();
    gort::ticker more(std::move(ticks));
    more.recv();
  });
}

// Scenario 68: what stop and reset give in each state.
TEST_P(TimerApi, ResultsOfStopAndReset) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::timer t(1h);
    EXPECT_TRUE(t.stop());
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(t.reset(1h));
    EXPECT_TRUE(t.reset(2h));
    EXPECT_TRUE(t.reset(30min));
    EXPECT_TRUE(t.reset(1us));  // from the far future to now
    t.recv();
    EXPECT_FALSE(t.stop());
    EXPECT_FALSE(t.reset(1us));
    // Gone off and not taken: taken back.
    gort::this_goroutine::sleep_for(2ms);
    EXPECT_EQ(t.channel().len(), 0u);
    EXPECT_EQ(t.channel().cap(), 0u);
    EXPECT_TRUE(t.stop());
    EXPECT_TRUE(empty(t));
    EXPECT_FALSE(t.reset(1us));
    gort::this_goroutine::sleep_for(2ms);
    const auto now = clock::now();
    EXPECT_TRUE(t.reset(1ms));
    EXPECT_GE(t.recv(), now + 1ms);
  });
}

// Scenario 73: whatever happens at the same time, what arrives after a reset belongs to it.
TEST_P(TimerApi, NothingStaleAfterReset) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::mt19937 random(7);
    gort::timer t(1us);
    for (int i = 0; i < 3000; ++i) {
      // Reset at about the moment at which it goes off.
      const auto armed = clock::now();
      const auto d = std::chrono::microseconds(random() % 40);
      t.reset(d);
      while (clock::now() < armed + d - 2us + std::chrono::nanoseconds(random() % 5000)) {
      }
      const auto again = clock::now();
      t.reset(20us);
      ASSERT_GE(t.recv(), again + 20us) << i;
      ASSERT_TRUE(empty(t));
    }
    EXPECT_FALSE(t.stop());
  });
}

TEST_P(TimerApi, NothingArrivesAfterStop) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::mt19937 random(8);
    gort::timer t(1h);
    for (int i = 0; i < 3000; ++i) {
      t.reset(std::chrono::nanoseconds(random() % 30'000));
      const auto until = clock::now() + std::chrono::nanoseconds(random() % 30'000);
      while (clock::now() < until) {
      }
      ASSERT_TRUE(t.stop()) << "nobody has taken it, so it was stopped";
      ASSERT_TRUE(empty(t));
    }
  });
}

TEST_P(TimerApi, StoppedAndResetByManyAtOnce) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::timer t(1h);
    std::atomic<bool> end = false;
    auto reader = gort::spawn([&] {
      while (!end) gort::select(t.on_recv(), gort::after(1ms));
    });
    {
      std::vector<gort::task<void>> all;
      for (int g = 0; g < 4; ++g) {
        all.push_back(gort::spawn([&, g] {
          for (int i = 0; i < 1000; ++i) {
            if ((i + g) % 3 == 0) {
              t.stop();
            } else {
              t.reset(std::chrono::microseconds(i % 50));
            }
            if (i % 8 == 0) gort::this_goroutine::yield();
          }
        }));
      }
    }
    end = true;
    reader.join();
    t.reset(1us);
    t.recv();  // it still works
  });
}

TEST_P(TimerApi, InSelectWithOthers) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::chan<int> never(0);
    std::optional<int> v;
    gort::timer t(1ms);
    EXPECT_EQ(gort::select(never.on_recv(v), t.on_recv()), 1u);
    t.reset(1h);
    EXPECT_EQ(gort::select(never.on_recv(v), t.on_recv(), gort::after(1ms)), 2u);
  });
}

TEST_P(TimerApi, OfAForeignThread) {
  GORT_TEST_START(GetParam());
  gort::start();
  gort::timer t(1ms);
  EXPECT_GT(t.recv().time_since_epoch().count(), 0);
  std::atomic<int> ran = 0;
  auto h = gort::after_func(100us, [&] { ++ran; });
  EXPECT_TRUE(yield_until([&] { return ran == 1; }));
  EXPECT_FALSE(h.stop());
}

// Scenario 68: ticks come on their grid; those that nobody takes are lost.
TEST_P(TimerApi, TickersDoNotDrift) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr auto kPeriod = 1ms;
    const auto began = clock::now();
    gort::ticker every(kPeriod);
    int n = 0;
    for (; n < 20; ++n) {
      const auto at = every.recv();
      EXPECT_GE(at - began, (n + 1) * kPeriod);
      gort::this_goroutine::yield();
    }
    gort::this_goroutine::sleep_for(10 * kPeriod);  // one is kept, the others are lost
    every.recv();
    const auto before = clock::now();
    EXPECT_GE(every.recv(), before);
    every.stop();
    gort::this_goroutine::sleep_for(3 * kPeriod);
    EXPECT_FALSE(every.channel().try_recv());
    every.reset(500us);
    every.recv();
    every.recv();
  });
}

TEST_P(TimerApi, ALoopOverATicker) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    int n = 0;
    gort::ticker every(100us);
    for ([[maybe_unused]] auto when : every.channel()) {
      if (++n == 5) break;
    }
    EXPECT_EQ(n, 5);
  });
}

TEST_F(TimerDeath, APeriodThatIsNotPositive) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(gort::ticker t(0s), ::testing::ExitedWithCode(2), "gort::ticker: the period is not positive");
  EXPECT_EXIT(gort::ticker t(-1ms), ::testing::ExitedWithCode(2), "not positive");
  EXPECT_EXIT(gort::run([] {
                gort::ticker t(1s);
                t.reset(0s);
              }),
              ::testing::ExitedWithCode(2), "not positive");
}

// ---- after_func --------------------------------------------------------------------------------

TEST_P(TimerApi, FunctionsRunOnceUnlessStopped) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> ran = 0;
    std::atomic<int> stopped = 0;
    for (int i = 0; i < 500; ++i) {
      auto h = gort::after_func(std::chrono::microseconds(i % 100), [&] { ++ran; });
      if (i % 3 == 0) gort::this_goroutine::sleep_for(std::chrono::microseconds(i % 70));
      if (i % 2 == 0 && h.stop()) ++stopped;
    }
    EXPECT_TRUE(yield_until([&] { return ran + stopped == 500; }));
    gort::this_goroutine::sleep_for(1ms);
    EXPECT_EQ(ran + stopped, 500);
  });
}

// Scenario 68, AfterFunc: each sets up the next.
TEST_P(TimerApi, FunctionsThatSetUpTheNext) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    struct chain {
      std::atomic<int> left = 50;
      gort::semaphore done{0};
      void next() {
        if (--left == 0) return done.release();
        gort::after_func(10us, [this] { next(); });
      }
    } c;
    gort::after_func(0us, [&] { c.next(); });
    c.done.acquire();
  });
}

TEST_P(TimerApi, ResultsOfFunctions) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<int> ran = 0;
    auto h = gort::after_func(1h, [&] { ++ran; });
    EXPECT_TRUE(h.reset(2h));
    EXPECT_TRUE(h.stop());
    EXPECT_FALSE(h.stop());
    EXPECT_FALSE(h.reset(0s));
    EXPECT_TRUE(yield_until([&] { return ran == 1; }));
    EXPECT_FALSE(h.stop());
    EXPECT_FALSE(h.reset(1us));  // again
    EXPECT_TRUE(yield_until([&] { return ran == 2; }));
    gort::func_handle none;
    EXPECT_FALSE(none.stop());
    none = std::move(h);
    EXPECT_FALSE(none.reset(1h));
  });
}

/// Counts its lives.
struct Alive {
  static inline std::atomic<int> n = 0;
  Alive() { ++n; }
  Alive(const Alive&) { ++n; }
  ~Alive() { --n; }
};

TEST_P(TimerApi, FunctionsAreDestroyed) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    Alive::n = 0;
    gort::after_func(0s, [a = Alive()] {});                 // run, handle gone
    { auto h = gort::after_func(1h, [a = Alive()] {}); h.stop(); }  // stopped, then the handle goes
    std::atomic<bool> ran{false};
    auto kept = gort::after_func(0s, [&ran, a = Alive(), big = std::vector<int>(1000)] { ran = true; });
    EXPECT_TRUE(yield_until([&] { return ran && Alive::n == 1; }));
    EXPECT_FALSE(kept.stop());
    kept = {};
    EXPECT_TRUE(yield_until([] { return Alive::n == 0; }));
    gort::after_func(0s, [p = std::make_unique<Alive>()] {});  // move-only
    EXPECT_TRUE(yield_until([] { return Alive::n == 0; }));
  });
}

TEST_P(TimerApi, FunctionsMayGoexitAndPark) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::chan<int> c(0);
    gort::after_func(10us, [=] {
      c.send(1);
      gort::goexit();
    });
    EXPECT_EQ(c.recv(), 1);
    gort::after_func(10us, [=] { c.send(2); });
    EXPECT_EQ(c.recv(), 2);
  });
}

// Functions of an ended run are not begun: static destructors could be next.
TEST_P(TimerApi, FunctionsOfAnEndedRunAreNotBegun) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> ended = false;
  std::atomic<int> ran = 0;
  gort::run([&] {
    gort::after_func(5ms, [&] {
      if (ended) ++ran;  // the end of the run may take longer than that
    });
  });
  ended = true;
  gort::this_goroutine::sleep_for(10ms);
  gort::run([] { gort::this_goroutine::sleep_for(10ms); });
  EXPECT_EQ(ran, 0);
}

// Scenario 70, Issue5745: what a function throws ends the program, and does not hang it.
TEST_P(TimerApi, FunctionsThatWaitAreCancelledAtTheEndOfTheRun) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> unwound{false};
  gort::run([&] {
    gort::event begun;
    gort::after_func(0s, [&] {
      struct marks {
        std::atomic<bool>* p;
        ~marks() { *p = true; }
      } m{&unwound};
      begun.set();
      gort::this_goroutine::sleep_for(24h);
    });
    begun.wait();
  });
  EXPECT_TRUE(unwound);
}

TEST_F(TimerDeath, AnExceptionInAFunction) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(gort::run([] {
                 gort::after_func(1us, [] { throw std::runtime_error("in a timer"); });
                 gort::this_goroutine::sleep_for(10s);
               }),
               "in a timer");
}

// ---- together ----------------------------------------------------------------------------------

// Scenario 69, AfterFuncStarvation: one P, a function that sets itself up again and again, and a goroutine that never
// waits but yields.
TEST_P(TimerApi, SelfRearmingFunctionsStarveNobodyNorTheReverse) {
  GORT_TEST_START(GetParam());
#if defined(GORT_TEST_TSAN) || defined(GORT_TEST_ASAN)
  static constexpr int kSome = 200;  // a goroutine for each
#else
  static constexpr int kSome = 2000;
#endif
  gort::run([] {
    std::atomic<bool> end = false;
    std::atomic<int> ran = 0;
    std::atomic<int> yields = 0;
    gort::event last;
    gort::func_handle h;
    h = gort::after_func(1h, [&] {
      ++ran;
      if (end) {
        last.set();
      } else {
        h.reset(0s);
      }
    });
    h.reset(0s);
    auto other = gort::spawn([&] {
      while (!end) {
        ++yields;
        gort::this_goroutine::yield();
      }
    });
    EXPECT_TRUE(yield_until([&] { return ran > kSome && yields > kSome; }, 50'000));
    end = true;
    other.join();
    last.wait();
  });
}

// Scenario 69, TickerStress and TimerStopStress.
TEST_P(TimerApi, ManyShortLivedOnes) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::vector<gort::task<void>> all;
    for (int g = 0; g < 8; ++g) {
      all.push_back(gort::spawn([g] {
        for (int i = 0; i < 60; ++i) {
          gort::ticker t(std::chrono::microseconds(20 + g));
          t.recv();
          gort::timer u{std::chrono::microseconds(i)};
          if (i % 2 == 0) u.stop();
          auto f = gort::after_func(std::chrono::microseconds(i), [] {});
          f.stop();
        }
      }));
    }
  });
}

// Scenario 72, AdjustTimers: far ones made near and near ones made far, in large numbers.
TEST_P(TimerApi, AdjustTimers) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::mt19937 random(3);
    std::vector<gort::timer> timers;
    for (int i = 0; i < 300; ++i) timers.emplace_back(std::chrono::seconds(1 + random() % 3600));
    for (int round = 0; round < 5; ++round) {
      for (auto& t : timers) t.reset(std::chrono::seconds(1 + random() % 3600));
      for (std::size_t i = 0; i < timers.size(); i += 2) timers[i].reset(std::chrono::microseconds(random() % 2000));
      for (std::size_t i = 0; i < timers.size(); i += 2) timers[i].recv();
      for (std::size_t i = 1; i < timers.size(); i += 2) ASSERT_TRUE(empty(timers[i]));
    }
  });
}

// Scenario 72, MultiWakeup: two wait for one ticker, each gets his.
TEST_P(TimerApi, TwoWaitForOneTicker) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::ticker every(50us);
    auto listen = [c = every.channel()] {
      for (int i = 0; i < 50; ++i) c.recv();
    };
    auto a = gort::spawn(listen);
    auto b = gort::spawn(listen);
  });
}

}  // namespace
