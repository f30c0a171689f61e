// Timers as they ship, on simulated threads: who sleeps until the earliest timer, and who wakes him for an earlier one;
// arming, stopping and going off at the same time; the world stopping meanwhile.
//
// Time is virtual and jumps when nobody can run, so a wake-up that is lost shows as a timer that goes off hours late.
// The measure that can be switched off: Fault::timer_break.
//
// test: timeout=300 needs=GORT_TESTING
#include <gtest/gtest.h>

#include "base/fault.h"
#include "sema/sema.h"
#include "sync/blocking_wait.h"
#include "sync/timers.h"
#include "tests/sim/bodies.h"
#include "world/world.h"

namespace gort::inline v0::rt {
namespace {

constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kHour = 3'600'000 * kMilli;

class SimTimers : public testing::TestWithParam<SimStrategy> {
 protected:
  SimOptions options(int procs) const {
    SimOptions o;
    o.strategy = GetParam();
    o.pct_depth = 4;
    o.pct_steps = 4000;
    o.cpus = procs;
    o.late_permille = 0;  // a machine that is late by itself would hide what is looked for
    return o;
  }
  static void expect_ok(const SimOptions& o, std::uint64_t runs, void (*body)(void*)) {
    const SimResult r = os::sim_explore(o, runs, body, nullptr);
    EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    RecordProperty("steps", static_cast<int>(r.steps));
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimTimers, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) { return i.param == SimStrategy::pct ? "pct" : "uniform"; });

/// Tells when it has gone off.
struct Bell : Timer {
  Done* done = nullptr;
  os::atomic<int> rung{0};
  explicit Bell(Done* d = nullptr) : done(d) {
    arg = this;
    fire = [](const TimerShot& s) noexcept {
      auto* b = static_cast<Bell*>(s.arg);
      b->rung.fetch_add(1);
      sim_assert(os::nanotime() >= s.when, "not too early");
      sim_assert(os::nanotime() < s.when + 100 * kMilli, "a timer goes off in its time");
      if (b->done != nullptr) b->done->one();
    };
  }
};

bool arm_in(Timer* t, std::int64_t ns) {
  RuntimeEntry entry;
  return timer_arm(t, os::nanotime() + ns, 0);
}
bool remove(Timer* t) {
  RuntimeEntry entry;
  return timer_remove(t);
}
void sleep_in_gort(std::int64_t ns) {
  RuntimeEntry entry;
  BlockingWait wait(WaitReason::sleep, os::nanotime() + ns, nullptr);
  wait.race();
  sim_assert(wait.park() == WaitEnd::timeout, "a sleep ends by its time");
}

/// Somebody sleeps until far away; a foreign thread sets a nearer one, at any moment of that.
template <bool kBroken>
void wakes_a_sleeper(void*) {
  start({});
  if (kBroken) set_fault(Fault::timer_break, true);
  Bell far;
  Done done(2);
  Bell near1(&done), near2(&done);
  arm_in(&far, kHour);
  const int other = os::sim_spawn([](void* p) { arm_in(static_cast<Timer*>(p), 2 * kMilli); }, &near2);
  arm_in(&near1, kMilli);
  done.wait();
  os::sim_join(other);
  sim_assert(remove(&far), "the far one is still armed");
  remove(&near1);
  remove(&near2);
}

TEST_P(SimTimers, AnEarlierOneWakesTheSleeper) {
  for (int procs : {1, 2, 4}) expect_ok(options(procs), 400, wakes_a_sleeper<false>);
}

TEST_P(SimTimers, WithoutTheBreakItIsLate) {
  const SimResult r = os::sim_explore(options(2), 400, wakes_a_sleeper<true>, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::assert) << tell(r);
}

/// Goroutines whose sleeps interleave: each is the earliest now and then, and brings the watcher or relies on him.
void sleepers(void*) {
  static constinit Done* all;
  start({});
  Done done(3);
  all = &done;
  for (std::int64_t i = 0; i < 3; ++i) {
    go(
        [](void* p) {
          const auto ns = reinterpret_cast<std::int64_t>(p);
          for (int k = 0; k < 3; ++k) {
            const std::int64_t until = os::nanotime() + ns;
            sleep_in_gort(ns);
            sim_assert(os::nanotime() >= until, "not too early");
            sim_assert(os::nanotime() < until + 100 * kMilli, "in its time");
            if (k == 1) yield_now();
          }
          all->one();
        },
        reinterpret_cast<void*>((3 - i) * kMilli + i));
  }
  done.wait();
  expect_all_ps_idle();
}

TEST_P(SimTimers, SleepersEndInTheirTime) {
  for (int procs : {1, 2, 3}) expect_ok(options(procs), 300, sleepers);
}

/// Everybody waits for one goroutine, which sleeps, and sleeps again: each time the last one that runs arms a timer, and the
/// one that goes off makes it run again. That is no deadlock at any moment. Forgets: at the end it is one, and reported.
template <bool kForgets>
void last_one_sleeps(void*) {
  static constinit SemWord end{0};
  start({});
  os::sim_label(&end, sizeof end, "end");
  go(
      [](void*) {
        Bell unused;
        for (int i = 0; i < 4; ++i) {
          arm_in(&unused, kMilli);
          sleep_in_gort(i % 2 == 0 ? kMilli / 2 : 2 * kMilli);
          remove(&unused);
        }
        RuntimeEntry entry;
        if (!kForgets) sem_release(&end);
      },
      nullptr);
  RuntimeEntry entry;
  sem_acquire(&end);
}

TEST_P(SimTimers, TheLastOneThatArmsATimerIsNoDeadlock) {
  for (int procs : {1, 2}) expect_ok(options(procs), 300, last_one_sleeps<false>);
  const SimResult r = os::sim_explore(options(2), 20, last_one_sleeps<true>, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::crash) << tell(r);
}

/// A goroutine arms one and computes on: another P must see to it.
void arms_and_computes(void*) {
  struct Table {
    Done done{2};
    Bell bell{&done};
    Bell far;
    os::atomic<bool> gone{false};
  };
  static constinit Table* table;
  start({});
  Table t;
  table = &t;
  arm_in(&t.far, kHour);
  go(
      [](void*) {
        arm_in(&table->bell, kMilli);
        while (table->bell.rung.load() == 0) os::cpu_relax(1);  // calls nobody
        table->done.one();
      },
      nullptr);
  t.done.wait();
  remove(&t.bell);
  remove(&t.far);
}

TEST_P(SimTimers, OthersSeeToTheTimersOfWhoComputes) {
  SimOptions o = options(2);
  o.step_ns = 2000;
  for (int procs : {1, 2, 3}) {
    o.cpus = procs;
    expect_ok(o, 150, arms_and_computes);
  }
}

/// Armed again and stopped by two, going off by others: each arming goes off or is stopped, never both or neither.
void arm_stop_race(void*) {
  struct Table {
    Bell bell;
    os::atomic<int> due{0};
  };
  static constinit Table* table;
  static constexpr auto work = [](void* seed) {
    auto n = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(seed));
    for (int i = 0; i < 6; ++i, n = n * 1103515245 + 12345) {
      if ((n >> 16) % 3 == 0) {
        if (timer_stop(&table->bell)) table->due.fetch_sub(1);
      } else if (!arm_in(&table->bell, (n >> 18) % 4 * 3'000)) {
        table->due.fetch_add(1);
      }
    }
  };
  start({});
  Table t;
  table = &t;
  const int other = os::sim_spawn(work, reinterpret_cast<void*>(7));
  work(reinterpret_cast<void*>(3));
  os::sim_join(other);
  for (int i = 0; timer_armed(&t.bell); ++i) {
    sim_assert(i < 100, "it goes off in the end");
    os::sleep_ns(kMilli);
  }
  remove(&t.bell);  // waits for `fire`
  sim_assert(t.bell.rung.load() == t.due.load(), "as often as it was armed and not stopped");
}

TEST_P(SimTimers, EachArmingGoesOffOrIsStopped) {
  for (int procs : {1, 2}) expect_ok(options(procs), 500, arm_stop_race);
}

/// The S2 recipe, small: timers, and a world that stops and changes the number of Ps all the time (scenario 15).
void timers_and_stops(void*) {
  struct Table {
    Done done{3};
    Bell bell;
  };
  static constinit Table* table;
  start({});
  Table t;
  table = &t;
  go(
      [](void*) {
        for (int i = 0; i < 3; ++i) {
          RuntimeEntry entry;
          gomaxprocs(1 + i % 2);
        }
        table->done.one();
      },
      nullptr);
  for (int i = 0; i < 2; ++i) {
    go(
        [](void*) {
          for (int k = 0; k < 3; ++k) {
            arm_in(&table->bell, k * 1000);
            sleep_in_gort(500 + k);
          }
          table->done.one();
        },
        nullptr);
  }
  t.done.wait();
  for (int i = 0; timer_armed(&t.bell); ++i) {
    sim_assert(i < 100, "it goes off in the end");
    os::sleep_ns(kMilli);
  }
  remove(&t.bell);
  expect_all_ps_idle();
}

TEST_P(SimTimers, BesideAWorldThatStops) {
  SimOptions o = options(2);
  o.max_steps = 400'000;
  expect_ok(o, 300, timers_and_stops);
}

}  // namespace
}  // namespace gort::inline v0::rt
