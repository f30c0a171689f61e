// Store buffers, enumeration and shortening: what each must see, and what none may.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "os/os.h"
#include "os/sim/sim.h"

namespace gort::inline v0::os {
namespace {

std::string tell(const SimResult& r) {
  return std::string(sim_verdict_name(r.verdict)) + " seed " + std::to_string(r.seed) + ": " +
         std::string(r.message) + "\n" + std::string(r.history) + std::string(r.table);
}

constexpr SimOptions kHere = {.pct_steps = 20, .max_steps = 5000, .isolate = false};

SimOptions buffered() {
  SimOptions o = kHere;
  o.store_buffers = true;
  return o;
}

// ---- litmus tests -----------------------------------------------------------------------------

/// Each of two threads stores, then looks at the other's word: both see nothing only with store buffers.
template <memory_order Order, bool Fence, bool Exchange>
struct Dekker {
  atomic<int> x{0}, y{0};
  int r[2] = {1, 1};
  static void side(atomic<int>& mine, atomic<int>& other, int* r) {
    if constexpr (Exchange) {
      mine.exchange(1, Order);
    } else {
      mine.store(1, Order);
    }
    if constexpr (Fence) fence(memory_order_seq_cst);
    *r = other.load(memory_order_relaxed);
  }
  static void body(void*) {
    Dekker d;
    const int t = sim_spawn([](void* p) {
      auto* self = static_cast<Dekker*>(p);
      side(self->y, self->x, &self->r[1]);
    }, &d);
    side(d.x, d.y, &d.r[0]);
    sim_join(t);
    sim_assert(d.r[0] + d.r[1] != 0, "one of the two sees the other");
  }
};

void expect_both(SimOptions o, void (*body)(void*), SimVerdict verdict) {
  for (SimStrategy s : {SimStrategy::uniform, SimStrategy::pct}) {
    o.strategy = s;
    const SimResult r = sim_explore(o, 2000, body, nullptr);
    EXPECT_EQ(r.verdict, verdict) << tell(r);
  }
  for (int bound : {2, kSimAll}) {
    const SimEnumeration e = sim_enumerate(o, bound, 1'000'000, body, nullptr);
    EXPECT_EQ(e.result.verdict, verdict) << tell(e.result);
    EXPECT_EQ(e.complete, verdict == SimVerdict::ok);
  }
}

TEST(SimStores, AMissingFenceIsSeenWithBuffersOnly) {
  expect_both(kHere, Dekker<memory_order_release, false, false>::body, SimVerdict::ok);
  expect_both(buffered(), Dekker<memory_order_release, false, false>::body, SimVerdict::assert);
  expect_both(buffered(), Dekker<memory_order_release, true, false>::body, SimVerdict::ok);
  expect_both(buffered(), Dekker<memory_order_seq_cst, false, false>::body, SimVerdict::ok);
  expect_both(buffered(), Dekker<memory_order_relaxed, false, true>::body, SimVerdict::ok);
}

TEST(SimStores, AFenceMayBeWeakenedFromOutside) {
  SimOptions o = buffered();
  o.weaken = "some_other_function";
  expect_both(o, Dekker<memory_order_release, true, false>::body, SimVerdict::ok);
  std::string function;  // compilers differ in how they write template arguments
  for (const SimFence& f : sim_fences_met()) {
    const std::string site(f.site);
    if (f.op == SimOp::fence && site.starts_with("Dekker<")) function = site.substr(0, site.rfind(':'));
  }
  ASSERT_NE(function, "");
  o.weaken = function.c_str();
  expect_both(o, Dekker<memory_order_release, true, false>::body, SimVerdict::assert);
}

// Total store order: a thread's stores are seen in their order, and its own at once.
TEST(SimStores, ComeInOrder) {
  static constexpr auto body = [](void*) {
    struct Words {
      atomic<int> data{0}, flag{0};
    } w;
    const int t = sim_spawn([](void* p) {
      auto* words = static_cast<Words*>(p);
      words->data.store(1, memory_order_relaxed);
      sim_assert(words->data.load(memory_order_relaxed) == 1, "its own store");
      words->flag.store(1, memory_order_release);
    }, &w);
    const bool seen = w.flag.load(memory_order_acquire) != 0;
    sim_assert(!seen || w.data.load(memory_order_relaxed) == 1, "in their order");
    sim_join(t);
    sim_assert(w.flag.load() == 1, "the end of a thread is a full fence");
  };
  expect_both(buffered(), body, SimVerdict::ok);
}

// Independent reads of independent writes: all threads see stores in one order.
TEST(SimStores, AreSeenByAllAtOnce) {
  static constexpr auto body = [](void*) {
    static atomic<int> x, y;
    static int r[2];
    x.store(0);
    y.store(0);
    r[0] = r[1] = 0;
    const int a = sim_spawn([](void*) { x.store(1, memory_order_release); }, nullptr);
    const int b = sim_spawn([](void*) { y.store(1, memory_order_release); }, nullptr);
    const int c = sim_spawn([](void*) { r[0] = x.load() == 1 && y.load() == 0; }, nullptr);
    r[1] = y.load() == 1 && x.load() == 0;
    for (int t : {a, b, c}) sim_join(t);
    sim_assert(r[0] + r[1] < 2, "one order");
  };
  SimOptions o = buffered();
  const SimEnumeration e = sim_enumerate(o, kSimAll, 10'000'000, body, nullptr);
  EXPECT_EQ(e.result.verdict, SimVerdict::ok) << tell(e.result);
  EXPECT_TRUE(e.complete);
}

// ---- enumeration ------------------------------------------------------------------------------

/// Two threads that write one word n times each: C(2n, n) orders. The reads at the end tell them apart.
template <int N>
void writers(void* arg) {
  static atomic<std::uint32_t> log;
  log.store(0);
  constexpr auto write = [](void* p) {
    for (int i = 0; i < N; ++i) log.store(log.load() * 2 + (p != nullptr ? 1 : 0));
  };
  const int t = sim_spawn(write, &log);
  write(nullptr);
  sim_join(t);
  if (arg != nullptr) sim_assert(log.load() != *static_cast<std::uint32_t*>(arg), "not this one");
}

TEST(SimEnumerate, AllOutcomesAreReached) {
  // Of every value that random schedules reach, the enumeration finds a schedule.
  SimOptions o = kHere;
  const SimEnumeration all = sim_enumerate(o, kSimAll, 1'000'000, writers<2>, nullptr);
  EXPECT_TRUE(all.complete);
  EXPECT_GT(all.schedules - all.pruned, 10u);
  for (std::uint32_t value = 0; value < 16; ++value) {
    const bool random = sim_explore(o, 3000, writers<2>, &value).verdict == SimVerdict::assert;
    const bool enumerated =
        sim_enumerate(o, kSimAll, 1'000'000, writers<2>, &value).result.verdict == SimVerdict::assert;
    const bool bounded = sim_enumerate(o, 4, 1'000'000, writers<2>, &value).result.verdict == SimVerdict::assert;
    EXPECT_EQ(random, enumerated) << value;
    EXPECT_EQ(random, bounded) << value;
  }
}

TEST(SimEnumerate, IndependentStepsCountOnce) {
  static constexpr auto body = [](void*) {
    struct Words {
      atomic<int> a{0}, b{0};
    } w;
    const int t = sim_spawn([](void* p) {
      for (int i = 0; i < 5; ++i) static_cast<Words*>(p)->b.fetch_add(1);
    }, &w);
    for (int i = 0; i < 5; ++i) w.a.fetch_add(1);
    sim_join(t);
  };
  const SimEnumeration e = sim_enumerate(kHere, kSimAll, 100'000, body, nullptr);
  EXPECT_TRUE(e.complete);
  EXPECT_LE(e.schedules - e.pruned, 2u) << "the join may come before or after the end";
  EXPECT_LE(e.schedules, 100u);
}

TEST(SimEnumerate, CountsPreemptions) {
  // Two threads of n one-word steps: without a preemption, who begins is all there is to choose, and nobody but
  // the first thread can.
  SimOptions o = kHere;
  std::uint64_t schedules[4];
  for (int bound : {0, 1, 2, 3}) {
    const SimEnumeration e = sim_enumerate(o, bound, 1'000'000, writers<2>, nullptr);
    EXPECT_TRUE(e.complete);
    schedules[bound] = e.schedules;
  }
  EXPECT_EQ(schedules[0], 1u);
  EXPECT_GT(schedules[1], schedules[0]);
  EXPECT_GT(schedules[2], schedules[1]);
  EXPECT_GT(schedules[3], schedules[2]);
}

TEST(SimEnumerate, SpinningEnds) {
  static constexpr auto body = [](void*) {
    atomic<int> flag{0};
    const int t = sim_spawn([](void* p) { static_cast<atomic<int>*>(p)->store(1); }, &flag);
    while (flag.load() == 0) cpu_relax(1);
    sim_join(t);
  };
  const SimEnumeration e = sim_enumerate(kHere, 3, 100'000, body, nullptr);
  EXPECT_EQ(e.result.verdict, SimVerdict::ok) << tell(e.result);
  EXPECT_TRUE(e.complete);
}

// Plain data that is accessed after a sim_point: who comes first matters, although no atomic is touched.
TEST(SimEnumerate, WhatFollowsAPointIsNoticed) {
  static constexpr auto body = [](void*) {
    static int n;
    n = 0;
    static constexpr auto add = [](void*) {
      sim_point();
      const int seen = n;
      sim_point();
      n = seen + 1;
    };
    const int t = sim_spawn(add, nullptr);
    add(nullptr);
    sim_join(t);
    sim_assert(n == 2, "no update is lost");
  };
  expect_both(kHere, body, SimVerdict::assert);
}

/// Who spins a little before it sleeps comes to sleep if the holder stands still meanwhile. Nobody wakes it.
void sleeps_for_good(void*) {
  static atomic<std::uint32_t> word, inside;
  word.store(0);
  static constexpr auto visit = [](void*) {
    for (int spins = 4; word.exchange(1) != 0; --spins) {
      if (spins > 0) {
        cpu_relax(1);
      } else {
        futex_wait(&word, 1, -1);
      }
    }
    for (int i = 0; i < 10; ++i) inside.fetch_add(1);
    word.store(0);
  };
  const int t = sim_spawn(visit, nullptr);
  visit(nullptr);
  sim_join(t);
}

TEST(SimEnumerate, OneDepartureHoldsAThreadUpForLong) {
  for (const SimBound::Kind kind : {SimBound::preemptions, SimBound::departures, SimBound::delays}) {
    const SimEnumeration e = sim_enumerate(kHere, {1, kind}, 100'000, sleeps_for_good, nullptr);
    EXPECT_EQ(e.result.verdict, SimVerdict::deadlock) << "kind " << kind;
  }
}

TEST(SimExplore, EachStrategyLetsAThreadStandStillWhileOthersSpin) {
  for (const SimStrategy s : {SimStrategy::uniform, SimStrategy::pct}) {
    SimOptions o = kHere;
    o.strategy = s;
    EXPECT_EQ(sim_explore(o, 1000, sleeps_for_good, nullptr).verdict, SimVerdict::deadlock)
        << (s == SimStrategy::pct ? "pct" : "uniform");
  }
}

// ---- shortening -------------------------------------------------------------------------------

TEST(SimShorten, KeepsTheFailureAndLittleElse) {
  static constexpr auto body = [](void*) {
    static atomic<int> n;
    static atomic<int> noise;
    n.store(0);
    sim_label(&n, sizeof n, "counter");
    static constexpr auto add = [](void*) {
      for (int i = 0; i < 10; ++i) noise.fetch_add(1);
      n.store(n.load() + 1);
      for (int i = 0; i < 10; ++i) noise.fetch_add(1);
    };
    const int a = sim_spawn(add, nullptr);
    const int b = sim_spawn(add, nullptr);
    sim_join(a);
    sim_join(b);
    sim_assert(n.load() == 2, "no update is lost");
  };
  SimOptions o = kHere;
  o.record = true;
  const SimResult r = sim_explore(o, 1000, body, nullptr);
  ASSERT_EQ(r.verdict, SimVerdict::assert) << tell(r);
  const std::size_t before = r.decisions.size();
  o.seed = r.seed;
  const SimResult s = sim_shorten(o, r, 2000, body, nullptr);
  EXPECT_EQ(s.verdict, SimVerdict::assert);
  EXPECT_EQ(s.message, "no update is lost");
  EXPECT_GT(before, 5u);
  EXPECT_LE(s.decisions.size(), 2u) << tell(s);
  EXPECT_NE(s.table.find("counter 0 -> 1"), s.table.npos) << s.table;
  EXPECT_EQ(s.table.find("noise"), s.table.npos);
}

TEST(SimShorten, AScriptIsTheRun) {
  // What was recorded, played again, is the same history.
  SimOptions o = kHere;
  o.record = true;
  o.isolate = true;  // the word's first value is in the history
  std::uint32_t never = 1000;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    o.seed = seed;
    o.store_buffers = seed % 2 == 0;
    o.strategy = SimStrategy::uniform;
    const SimResult r = sim_run(o, writers<3>, &never);
    const std::uint64_t digest = r.digest;
    std::vector<SimDecision> script(r.decisions.begin(), r.decisions.end());
    std::sort(script.begin(), script.end(), [](const auto& a, const auto& b) {
      return std::tie(a.thread, a.at) < std::tie(b.thread, b.at);
    });
    SimOptions again = o;
    again.strategy = SimStrategy::script;
    again.script = script;
    EXPECT_EQ(sim_run(again, writers<3>, &never).digest, digest) << seed;
  }
}

}  // namespace
}  // namespace gort::inline v0::os
