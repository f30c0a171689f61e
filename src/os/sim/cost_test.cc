// The cost model: threads run at the same time, cores are shared, cache lines travel, sleeps cost what they should.
#include <gtest/gtest.h>

#include <string>

#include "os/os.h"
#include "os/sim/sim.h"

namespace gort::os {
namespace {

constexpr std::int64_t kMilli = 1'000'000;

struct Forecast {
  SimResult result;
  SimReport report;
  std::int64_t ns;
};

Forecast forecast(int cores, void (*body)(void*), void* arg = nullptr) {
  SimCosts costs;
  costs.cores = cores;
  SimOptions o;
  o.costs = &costs;
  o.max_steps = 10'000'000;
  const SimResult r = sim_run(o, body, arg);
  return {r, *r.report, r.virtual_ns};
}

/// Four threads compute for ten milliseconds each, beside the first, which waits.
void four_compute(void*) {
  int threads[4];
  for (int& t : threads) t = sim_spawn([](void*) { sim_work(10 * kMilli); }, nullptr);
  for (const int t : threads) sim_join(t);
}

TEST(SimCost, ThreadsRunAtTheSameTimeOnCoresOfTheirOwn) {
  const Forecast f = forecast(5, four_compute);
  ASSERT_EQ(f.result.verdict, SimVerdict::ok) << f.result.message;
  EXPECT_GE(f.ns, 10 * kMilli);
  EXPECT_LT(f.ns, 11 * kMilli);
}

TEST(SimCost, OneCoreIsShared) {
  const Forecast f = forecast(1, four_compute);
  ASSERT_EQ(f.result.verdict, SimVerdict::ok) << f.result.message;
  EXPECT_GE(f.ns, 40 * kMilli);
  EXPECT_LT(f.ns, 42 * kMilli);
  EXPECT_GE(f.report.busy_ns, 40 * kMilli);
}

constexpr int kTimes = 1000;

/// n threads add to one word, or each to its own.
template <bool Shared>
void adders(void* n) {
  struct alignas(64) Word {
    atomic<int> v{0};
  };
  static Word words[16];
  static atomic<int> begin{0};
  int threads[16];
  const int count = *static_cast<int*>(n);
  for (int i = 0; i < count; ++i) {
    threads[i] = sim_spawn(
        [](void* w) {
          while (begin.load() == 0) cpu_relax(1);
          for (int k = 0; k < kTimes; ++k) static_cast<Word*>(w)->v.fetch_add(1);
        },
        &words[Shared ? 0 : i]);
  }
  begin.store(1);
  for (int i = 0; i < count; ++i) sim_join(threads[i]);
  if (Shared) sim_assert(words[0].v.load() == count * kTimes, "none is lost");
}

TEST(SimCost, OneLineIsFoughtFor) {
  int n = 8;
  const Forecast own = forecast(9, adders<false>, &n);
  const Forecast shared = forecast(9, adders<true>, &n);
  ASSERT_EQ(own.result.verdict, SimVerdict::ok) << own.result.message;
  ASSERT_EQ(shared.result.verdict, SimVerdict::ok) << shared.result.message;
  EXPECT_GT(shared.report.transfers, own.report.transfers + kTimes);
  // One transfer after the other.
  EXPECT_GE(shared.ns, own.ns + 7 * kTimes * 50);
  ASSERT_GT(shared.report.places_n, 0);
  EXPECT_TRUE(std::string(shared.report.places[0].what).starts_with("adders")) << shared.report.places[0].what;
}

TEST(SimCost, SleepersAreWokenAndCounted) {
  const Forecast f = forecast(2, [](void*) {
    static atomic<std::uint32_t> bell{0};
    const int t = sim_spawn(
        [](void*) {
          sim_work(kMilli);
          bell.store(1);
          futex_wake(&bell, 1);
        },
        nullptr);
    const std::int64_t begin = nanotime();
    while (bell.load() == 0) futex_wait(&bell, 0, -1);
    sim_assert(nanotime() - begin >= kMilli, "it slept so long");
    const std::int64_t before = nanotime();
    sim_assert(futex_wait(&bell, 1, 3 * kMilli) == Wait::timed_out, "nobody wakes it");
    sim_assert(nanotime() - before >= 3 * kMilli, "a whole timeout");
    sim_join(t);
  });
  ASSERT_EQ(f.result.verdict, SimVerdict::ok) << f.result.message;
  EXPECT_EQ(f.report.wakes, 1u);
  EXPECT_GE(f.report.sleeps, 2u);
}

TEST(SimCost, WhoComputesIsInterrupted) {
  const Forecast f = forecast(2, [](void*) {
    static atomic<int> handled{0};
    sim_on_signal([](int) { handled.store(1); });
    const int t = sim_spawn([](void*) { sim_work(5 * kMilli); }, nullptr);
    sim_work(kMilli);
    const std::int64_t begin = nanotime();
    sim_assert(signal_thread(t + 1, 23) == 0, "it is there");
    while (handled.load() == 0) cpu_relax(1);
    sim_assert(nanotime() - begin < kMilli, "in the middle of its work");
    sim_join(t);
  });
  EXPECT_EQ(f.result.verdict, SimVerdict::ok) << f.result.message;
  EXPECT_EQ(f.report.signals, 1u);
}

TEST(SimCost, ADeadlockIsOne) {
  const Forecast f = forecast(2, [](void*) {
    static atomic<std::uint32_t> never{0};
    futex_wait(&never, 0, -1);
  });
  EXPECT_EQ(f.result.verdict, SimVerdict::deadlock);
}

TEST(SimCost, AForecastIsTheSameEachTime) {
  int n = 8;
  const Forecast a = forecast(4, adders<true>, &n);
  const Forecast b = forecast(4, adders<true>, &n);
  EXPECT_EQ(a.ns, b.ns);
  EXPECT_EQ(a.report.transfers, b.report.transfers);
  EXPECT_EQ(a.report.steps, b.report.steps);
}

}  // namespace
}  // namespace gort::os
