// gort/metrics.h: what the header promises.
#include "gort/metrics.h"

#include <gort/world.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cctype>
#include <cmath>
#include <set>
#include <string>
#include <thread>

#include "tests/support/runtime_fixture.h"
#include "world/pauses.h"

using gort::rt::StopReason;
using gort::test::yield_until;
namespace metrics = gort::metrics;

namespace {

std::uint64_t number(std::string_view name) {
  const metrics::value v = metrics::read(name);
  EXPECT_EQ(metrics::kind_of(v), metrics::kind::uint64) << name;
  return metrics::kind_of(v) == metrics::kind::uint64 ? std::get<std::uint64_t>(v) : 0;
}

TEST(Metrics, AreDescribedInTheOrderOfTheirNames) {
  std::string_view last;
  for (const metrics::description& d : metrics::describe()) {
    EXPECT_LT(last, d.name);
    last = d.name;
    EXPECT_EQ(d.name.front(), '/');
    EXPECT_TRUE(d.name.ends_with(":" + std::string(d.unit))) << d.name;
    EXPECT_NE(d.kind, metrics::kind::none) << d.name;
    EXPECT_TRUE(d.kind != metrics::kind::histogram || d.cumulative) << d.name;
    EXPECT_TRUE(d.text.ends_with('.')) << d.name;
    // What the header's rule makes of it is a name that Prometheus takes.
    for (const char c : d.name) EXPECT_TRUE(std::islower(c) || c == '/' || c == '-' || c == ':') << d.name;
  }
}

TEST(Metrics, HaveGosNamesWhereGoHasThem) {
  std::set<std::string_view> ours;
  for (const metrics::description& d : metrics::describe()) {
    if (d.text.find("Not in Go.") == std::string_view::npos) ours.insert(d.name);
  }
  const std::set<std::string_view> gos = {
      "/sched/gomaxprocs:threads",          "/sched/goroutines-created:goroutines",
      "/sched/goroutines/runnable:goroutines", "/sched/goroutines:goroutines",
      "/sched/pauses/stopping/gc:seconds",  "/sched/pauses/stopping/other:seconds",
      "/sched/pauses/total/gc:seconds",     "/sched/pauses/total/other:seconds",
      "/sched/threads/total:threads"};
  EXPECT_EQ(ours, gos);
}

TEST(Metrics, AreZeroBeforeTheRuntimeStartsAndDoNotStartIt) {
  if (gort::num_procs() != 0) GTEST_SKIP() << "the runtime runs: run it alone, as ctest does";
  for (const metrics::description& d : metrics::describe()) {
    const metrics::value v = metrics::read(d.name);
    ASSERT_EQ(metrics::kind_of(v), d.kind) << d.name;
    if (d.kind == metrics::kind::uint64) { EXPECT_EQ(std::get<std::uint64_t>(v), 0u) << d.name; }
    if (d.kind == metrics::kind::float64) { EXPECT_EQ(std::get<double>(v), 0) << d.name; }
    if (d.kind == metrics::kind::histogram) {
      EXPECT_EQ(std::get<metrics::histogram>(v).count(), 0u) << d.name;
      EXPECT_TRUE(std::isnan(std::get<metrics::histogram>(v).quantile(0.5)));
    }
  }
  EXPECT_EQ(gort::num_procs(), 0);
}

TEST(Metrics, AnUnknownNameIsAnswered) {
  std::vector<metrics::sample> samples = {{"/sched/gomaxprocs:threads"}, {"/no/such:thing"}, {""}};
  samples[1].value = 1.5;
  metrics::read(samples);
  EXPECT_EQ(metrics::kind_of(samples[0].value), metrics::kind::uint64);
  EXPECT_EQ(metrics::kind_of(samples[1].value), metrics::kind::none);
  EXPECT_EQ(metrics::kind_of(samples[2].value), metrics::kind::none);
}

TEST(Metrics, APauseIsOneSampleInTheRightPair) {
  std::vector<metrics::sample> s = {{"/sched/pauses/stopping/gc:seconds"}, {"/sched/pauses/stopping/other:seconds"},
                                    {"/sched/pauses/total/gc:seconds"}, {"/sched/pauses/total/other:seconds"}};
  const auto counts = [&] {
    metrics::read(s);
    std::vector<std::uint64_t> n;
    for (const metrics::sample& one : s) n.push_back(std::get<metrics::histogram>(one.value).count());
    return n;
  };
  const auto before = counts();
  const std::uint64_t* memory = std::get<metrics::histogram>(s[0].value).counts.data();
  gort::rt::record_pause(StopReason::gc_mark_start, 20'000, 150'000);
  gort::rt::record_pause(StopReason::gomaxprocs, 30'000, 250'000);
  gort::rt::record_pause(StopReason::user, 40'000, 9'000'000);
  const auto after = counts();
  EXPECT_EQ(after[0], before[0] + 1);
  EXPECT_EQ(after[1], before[1] + 2);
  EXPECT_EQ(after[2], before[2] + 1);
  EXPECT_EQ(after[3], before[3] + 2);
  EXPECT_GE(std::get<double>(metrics::read("/sched/pauses/longest/other:seconds")), 9e-3);
  EXPECT_EQ(std::get<metrics::histogram>(s[0].value).counts.data(), memory) << "the second read allocates nothing";
}

TEST(Metrics, AHistogramIsInSecondsAndItsQuantilesNeverFlatter) {
  for (int i = 1; i <= 1000; ++i) gort::rt::record_pause(StopReason::gc_mark_end, 0, i * 1000);  // 1 us .. 1 ms
  const metrics::value v = metrics::read("/sched/pauses/total/gc:seconds");
  const auto& h = std::get<metrics::histogram>(v);
  ASSERT_EQ(h.bounds.size(), h.counts.size() + 1);
  EXPECT_EQ(h.bounds.front(), 0.0);
  EXPECT_TRUE(std::isinf(h.bounds.back()));
  if (h.count() != 1000) GTEST_SKIP() << "other cases have run in this process: run it alone, as ctest does";
  EXPECT_NEAR(h.sum, 0.5005, 1e-9);
  EXPECT_DOUBLE_EQ(h.max, 1e-3);
  for (const double q : {0.01, 0.25, 0.5, 0.9, 0.99, 1.0}) {
    EXPECT_GE(h.quantile(q), q * 1e-3) << q;
    EXPECT_LE(h.quantile(q), q * 1e-3 * 1.126 + 65e-9) << q;
  }
  EXPECT_DOUBLE_EQ(h.quantile(1), h.max);
  EXPECT_GT(h.quantile(0), 0);
}

class MetricsOfARun : public gort::test::RuntimeTest {};

TEST_F(MetricsOfARun, CountGoroutinesProcessorsAndThreads) {
  GORT_TEST_START(2);
  const std::uint64_t created = number("/sched/goroutines-created:goroutines");
  gort::run([&] {
    EXPECT_EQ(number("/sched/gomaxprocs:threads"), 2u);
    EXPECT_EQ(number("/sched/goroutines:goroutines"), 1u);
    gort::semaphore go_on(0);
    for (int i = 0; i < 10; ++i) gort::go([&] { go_on.acquire(); });
    EXPECT_EQ(number("/sched/goroutines:goroutines"), 11u);
    EXPECT_EQ(number("/sched/goroutines-created:goroutines"), created + 11);
    EXPECT_GE(number("/sched/threads/total:threads"), 3u);
    EXPECT_LE(number("/sched/procs/idle:procs"), 1u) << "this goroutine uses one";
    EXPECT_LT(number("/sched/threads/idle:threads"), number("/sched/threads/total:threads"));
    EXPECT_GE(number("/sched/stacks/reserved:bytes"), 10u * 256 * 1024);
    // When all ten have begun they have stacks, and nothing is ready to run.
    EXPECT_TRUE(yield_until([] { return number("/sched/stacks/in-use:stacks") >= 11; }));
    EXPECT_TRUE(yield_until([] { return number("/sched/goroutines/runnable:goroutines") == 0; }));
    go_on.release(10);
    EXPECT_TRUE(yield_until([] { return number("/sched/goroutines:goroutines") == 1; }));
  });
  EXPECT_TRUE(yield_until([] { return number("/sched/procs/idle:procs") == 2; }));
}

TEST_F(MetricsOfARun, SeeHowDeepStacksGet) {
  GORT_TEST_START(2);
  static constexpr std::size_t kDeep = 100 * 1024;
  gort::run([] {
    gort::semaphore deep(0), go_on(0);
    EXPECT_LT(number("/sched/stacks/high-water:bytes"), kDeep);
    auto diver = gort::spawn([&] {
      char space[kDeep];
      for (std::size_t i = 0; i < sizeof space; i += 1024) static_cast<volatile char*>(space)[i] = 1;
      deep.release();
      go_on.acquire();
    });
    deep.acquire();
    EXPECT_GE(number("/sched/stacks/high-water:bytes"), kDeep);
    EXPECT_LE(number("/sched/stacks/high-water:bytes"), 192u * 1024);
    go_on.release();
    diver.join();
  });
  EXPECT_GE(number("/sched/stacks/high-water:bytes"), kDeep) << "it is remembered";
}

// A monitoring thread of the host: goroutines that never let go of a processor do not keep it from reading.
TEST_F(MetricsOfARun, AreReadWhileEveryProcessorIsStuck) {
  GORT_TEST_START(2);
  std::atomic<int> stuck{0};
  std::atomic<bool> stop{false};
  std::thread monitor([&] {
    while (stuck != 2) std::this_thread::yield();
    EXPECT_EQ(number("/sched/procs/idle:procs"), 0u);
    EXPECT_EQ(number("/sched/goroutines:goroutines"), 2u);
    for (const metrics::description& d : metrics::describe()) {
      EXPECT_EQ(metrics::kind_of(metrics::read(d.name)), d.kind) << d.name;
    }
    stop = true;
  });
  gort::run([&] {
    const auto spin = [&] {
      ++stuck;
      while (!stop) sched_yield();
    };
    auto other = gort::spawn(spin);
    spin();
    other.join();
  });
  monitor.join();
}

// Goroutines and Ps that come and go meanwhile: no torn number, no fault, nothing cumulative that shrinks.
TEST_F(MetricsOfARun, AreReadWhileGoroutinesComeAndGo) {
  GORT_TEST_START(2);
  constexpr int kReads = 300;
  std::atomic<bool> done{false};
  bool plausible = true;
  std::thread monitor([&] {
    std::vector<metrics::sample> s;
    for (const metrics::description& d : metrics::describe()) s.push_back({d.name});
    std::uint64_t created = 0;
    for (int i = 0; i < kReads; ++i) {
      metrics::read(s);
      const std::uint64_t now = number("/sched/goroutines-created:goroutines");
      plausible &= now >= created && number("/sched/goroutines:goroutines") <= 100 &&
                   number("/sched/procs/idle:procs") <= 2 &&
                   number("/sched/stacks/high-water:bytes") <= std::uint64_t{8} << 20;
      created = now;
    }
    done = true;
  });
  gort::run([&] {
    for (int n = 0; !done; ++n) {
      if (n % 8 == 0) gort::max_procs(1 + n / 8 % 2);
      gort::semaphore ended(0);
      for (int i = 0; i < 20; ++i) gort::go([&] { ended.release(); });
      for (int i = 0; i < 20; ++i) ended.acquire();
    }
    gort::max_procs(2);
  });
  monitor.join();
  EXPECT_TRUE(plausible);
}

TEST_F(MetricsOfARun, AreReadInsideABlockingCall) {
  GORT_TEST_START(2);
  gort::run([] { gort::blocking([] { EXPECT_EQ(number("/sched/gomaxprocs:threads"), 2u); }); });
}

}  // namespace
