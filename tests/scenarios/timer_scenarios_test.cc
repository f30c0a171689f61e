// Time beside everything else: stops (15, the field recipe of golang/go#42237), busy channels (33), lateness (74).
// test: timeout=120
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "gort/timer.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

using namespace std::chrono_literals;
using gort::clock;
using gort::test::yield_until;

namespace {

class TimeBeside : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(TimeBeside);

class TimeStorm : public gort::test::RuntimeTest {};

/// How long storms last, in ms: GORT_STRESS_MS, or a moment.
std::chrono::milliseconds storm_time() {
  const char* v = std::getenv("GORT_STRESS_MS");
  return v != nullptr ? std::chrono::milliseconds(std::atoll(v)) : 400ms;
}

// Scenario 15: timers are made and reset while the world stops and starts all the time. Each stop and each timer must
// come to its end: who starts an M for a timer holds a P, and is not to be stopped with it (S2).
TEST_F(TimeStorm, TimersBesideStops) {
  GORT_TEST_START(8);
  gort::run([] {
    const auto end = clock::now() + storm_time();
    std::atomic<std::uint64_t> stops = 0;
    std::atomic<std::uint64_t> fired = 0;
    std::vector<gort::task<void>> all;
    for (int g = 0; g < 4; ++g) {
      all.push_back(gort::spawn([&, g] {
        std::mt19937 random(static_cast<unsigned>(g));
        gort::timer t(1h);
        while (clock::now() < end) {
          gort::after_func(std::chrono::microseconds(random() % 200), [&] { ++fired; });
          t.reset(std::chrono::microseconds(random() % 100));
          if (random() % 2 == 0) t.recv();
          if (random() % 8 == 0) gort::this_goroutine::sleep_for(std::chrono::microseconds(random() % 100));
        }
      }));
    }
    for (int g = 0; g < 4; ++g) {
      all.push_back(gort::spawn([&, g] {
        while (clock::now() < end) {
          if (g == 0) {
            gort::max_procs(1 + static_cast<int>(stops % 8));
          } else {
            const gort::rt::RuntimeEntry entry;
            gort::rt::start_the_world(gort::rt::stop_the_world(gort::rt::StopReason::test));
          }
          ++stops;
          if (g > 1) gort::this_goroutine::sleep_for(50us);
        }
      }));
    }
    for (auto& t : all) t.join();
    EXPECT_GT(stops, 0u);
    EXPECT_GT(fired, 0u);
  });
}

// Scenario 33, TimerFairness: a ping-pong that never idles does not keep a timer waiting.
TEST_P(TimeBeside, PingPongDoesNotStarveTimers) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> end = false;
    gort::chan<int> there(0), back(0);
    std::vector<gort::task<void>> players;
    players.push_back(gort::spawn([&] {
      while (auto v = there.recv()) back.send(*v);
      back.close();
    }));
    players.push_back(gort::spawn([&] {
      while (!end) {
        there.send(1);
        back.recv();
      }
      there.close();
    }));
    const auto began = clock::now();
    for (int i = 0; i < 20; ++i) gort::timer(1ms).recv();
    EXPECT_LT(clock::now() - began, 30s) << "they starve";
    end = true;
    for (auto& p : players) p.join();
  });
}

// TimerFairness2: and timers that are due all the time do not starve goroutines.
TEST_P(TimeBeside, TimersDoNotStarvePingPong) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::chan<int> c(0);
    auto other = gort::spawn([=] {
      for (int i = 0; i < 1000; ++i) c.send(i);
    });
    gort::ticker busy(1us);
    for (int got = 0; got < 1000;) {
      if (gort::select(c.on_recv(), busy.on_recv()) == 0) ++got;
    }
  });
}

// Scenario 71 on the public face: shortened while everybody sleeps.
TEST_P(TimeBeside, ShortenedWhileEverybodySleeps) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 20; ++i) {
      gort::timer t(1h);
      auto waiter = gort::spawn([&] { t.recv(); });
      std::thread foreign([&] {
        std::this_thread::sleep_for(500us);  // all Ms asleep by now, one until the hour is over
        t.reset(1ms);
      });
      waiter.join();
      foreign.join();
    }
  });
}

std::chrono::nanoseconds percentile(std::vector<std::chrono::nanoseconds>& v, int p) {
  std::sort(v.begin(), v.end());
  return v[(v.size() - 1) * static_cast<std::size_t>(p) / 100];
}

// Scenario 74: one P left over beside goroutines that compute: it sees to everybody's timers, and soon.
TEST_P(TimeBeside, TimersOfBusyPsAreNotLate) {
  GORT_TEST_NEEDS_SIGNALS();
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "one processor";
  GORT_TEST_START(2);
  gort::run([] {
    std::vector<std::chrono::nanoseconds> late(300);
    std::atomic<std::size_t> n = 0;
    // Arms them, then computes, so that the timers stand in a busy P's heap.
    gort::spawn([&] {
      for (std::size_t i = 0; i < late.size(); ++i) {
        const auto when = clock::now() + 200us;
        gort::after_func(200us, [&, when] {
          late[n] = clock::now() - when;
          ++n;
        });
        while (n == i) {
        }
      }
    }).join();
    const auto p50 = percentile(late, 50);
    RecordProperty("p50_us", static_cast<int>(p50 / 1us));
    RecordProperty("p99_us", static_cast<int>(percentile(late, 99) / 1us));
    // That they go off at all while their P computes is what is shown here; how soon is the benchmarks' business.
    EXPECT_LT(p50, 10s);
  });
}

// All Ps with goroutines that call nobody: a slice ends for a timer.
TEST_P(TimeBeside, ASliceEndsForATimer) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> end = false;
    std::vector<gort::task<void>> hogs;
    gort::after_func(5ms, [&] { end = true; });
    for (int i = 0; i < GetParam(); ++i) {
      hogs.push_back(gort::spawn([&] {
        while (!end) {
        }
      }));
    }
  });
}

}  // namespace
