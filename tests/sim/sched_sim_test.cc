// The scheduler as it ships, on simulated threads: start_m, stop_m, wake_p, parking and readying,
// stealing, orders for threads. Thread 0 of each run is a foreign thread that starts the runtime,
// makes goroutines and sleeps on a note until they are done; so a wake-up lost anywhere shows as a
// deadlock, a P lost anywhere as a missing one at the end, and a goroutine that runs twice as an
// assertion.
//
// Mutants stand in the bodies, not in the scheduler: what a caller must do to be woken (publish,
// then wake_p; queue, then park with the lock) is left out, to show that the same bodies would
// tell.
//
// test: timeout=120
#include <gtest/gtest.h>

#include <string>

#include "sched/lock_thread.h"
#include "sched/syscall.h"
#include "tests/sim/bodies.h"

namespace gort::inline v0::rt {
namespace {

/// As go() from a foreign thread, without the wake_p that makes it visible.
void go_silently(void (*fn)(void*), void* arg) {
  RuntimeEntry entry;
  G* g = g_alloc(0);
  StartArgs args;
  args.fn = fn;
  args.arg = arg;
  // g_start would wake: let it believe that somebody spins.
  sched.nmspinning.fetch_add(1);
  g_start(g, args);
  sched.nmspinning.fetch_sub(1);
}

// ---- the tests ------------------------------------------------------------------------------

class SimSched : public testing::TestWithParam<SimStrategy> {
 protected:
  SimOptions options(int procs = 2) const {
    SimOptions o;
    o.strategy = GetParam();
    o.pct_depth = 4;
    o.pct_steps = 3000;
    o.cpus = procs;
    return o;
  }
  static void expect_ok(const SimOptions& o, std::uint64_t runs, void (*body)(void*)) {
    const SimResult r = os::sim_explore(o, runs, body, nullptr);
    EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    RecordProperty("steps", static_cast<int>(r.steps));
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimSched,
                         testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) {
                           return i.param == SimStrategy::pct ? "pct" : "uniform";
                         });

TEST_P(SimSched, SameSeedSameHistory) {
  static constexpr auto body = [](void*) {
    start({});
    Done done(3);
    for (int i = 0; i < 3; ++i)
      go([](void* p) { yield_now(), static_cast<Done*>(p)->one(); }, &done);
    done.wait();
  };
  SimOptions o = options();
  o.keep_history = true;
  std::string histories[2];
  std::uint64_t digests[2];
  for (int i = 0; i < 2; ++i) {
    const SimResult r = os::sim_run(o, body, nullptr);
    ASSERT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    histories[i] = r.history;
    digests[i] = r.digest;
  }
  EXPECT_EQ(histories[0], histories[1]);
  EXPECT_EQ(digests[0], digests[1]);
  o.seed = 2;
  EXPECT_NE(os::sim_run(o, body, nullptr).digest, digests[0]);
}

TEST_P(SimSched, EachGoroutineRunsOnceAndToItsEnd) {
  static constexpr auto body = [](void*) {
    static constexpr int kMany = 6;
    static constinit os::atomic<int> runs[kMany];
    start({});
    static constinit Done* all;
    Done done(kMany);
    all = &done;
    for (int i = 0; i < kMany; ++i) {
      go(
          [](void* p) {
            sim_assert(static_cast<os::atomic<int>*>(p)->fetch_add(1) == 0,
                       "a goroutine runs once");
            const G* me = current_g();
            for (int k = 0; k < 3; ++k) {
              yield_now();
              sim_assert(current_g() == me && me->status.load() == GStatus::running,
                         "it stays itself");
            }
            all->one();
          },
          &runs[i]);
    }
    done.wait();
    expect_all_ps_idle();
  };
  for (int procs : {1, 2, 4}) expect_ok(options(procs), 200, body);
}

TEST_P(SimSched, GoroutinesMakeGoroutines) {
  static constexpr auto body = [](void*) {
    static constinit Done* all;
    static constexpr auto child = [](void*) { yield_now(), all->one(); };
    start({});
    Done done(2 * 4);
    all = &done;
    for (int i = 0; i < 2; ++i) {
      go(
          [](void*) {
            for (int k = 0; k < 3; ++k) go(child, nullptr);
            all->one();
          },
          nullptr);
    }
    done.wait();
    expect_all_ps_idle();
    sim_assert(num_goroutine() == 0, "births and deaths balance");
  };
  for (int procs : {1, 3}) expect_ok(options(procs), 200, body);
}

// Late arrivals find everybody asleep, on the way to sleep, or between the last look and the sleep.
TEST_P(SimSched, WorkFromOutsideWakesSomebody) {
  static constexpr auto body = [](void*) {
    start({});
    for (int i = 0; i < 4; ++i) {
      Done done(1);
      go([](void* p) { static_cast<Done*>(p)->one(); }, &done);
      done.wait();
    }
    expect_all_ps_idle();
  };
  for (int procs : {1, 2}) expect_ok(options(procs), 400, body);
}

TEST_P(SimSched, WorkThatWakesNobodyIsFound) {
  static constexpr auto body = [](void*) {
    start({});
    for (int i = 0; i < 4; ++i) {
      Done done(1);
      go_silently([](void* p) { static_cast<Done*>(p)->one(); }, &done);
      done.wait();
    }
  };
  const SimResult r = os::sim_explore(options(), 400, body, nullptr);
  EXPECT_NE(r.verdict, SimVerdict::ok);
  EXPECT_EQ(r.verdict, SimVerdict::deadlock) << tell(r);
}

template <bool Broken>
void ping_pong(void*) {
  struct Table {
    Gate<Broken> there, back;
    int ball = 0;  // plain: whoever has been let through owns it
    Done done{2};
  };
  start({});
  Table table;
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        for (int i = 0; i < 4; ++i) {
          t->there.acquire();
          sim_assert(t->ball++ == 2 * i, "my turn");
          t->back.release();
        }
        t->done.one();
      },
      &table);
  go(
      [](void* p) {
        auto* t = static_cast<Table*>(p);
        for (int i = 0; i < 4; ++i) {
          t->there.release();
          t->back.acquire();
          sim_assert(t->ball++ == 2 * i + 1, "my turn");
        }
        t->done.one();
      },
      &table);
  table.done.wait();
  expect_all_ps_idle();
}

TEST_P(SimSched, ParkAndReady) {
  for (int procs : {1, 2, 3}) expect_ok(options(procs), 300, ping_pong<false>);
}

// Whoever readies it meets a goroutine that has not left its stack: a CHECK, a fault, or both run
// at once.
TEST_P(SimSched, UnlockingBeforeTheParkIsFound) {
  const SimResult r = os::sim_explore(options(2), 2000, ping_pong<true>, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::crash) << tell(r);
}

TEST_P(SimSched, ReadyFromForeignThreads) {
  static constexpr auto body = [](void*) {
    struct Table {
      Gate<> gate;
      Done done{4};
    } table;
    start({});
    for (int i = 0; i < 4; ++i) {
      go(
          [](void* p) {
            auto* t = static_cast<Table*>(p);
            t->gate.acquire();
            t->done.one();
          },
          &table);
    }
    const int other = os::sim_spawn(
        [](void* p) {
          for (int i = 0; i < 2; ++i) static_cast<Table*>(p)->gate.release();
        },
        &table);
    for (int i = 0; i < 2; ++i) table.gate.release();
    table.done.wait();
    os::sim_join(other);
    expect_all_ps_idle();
  };
  for (int procs : {1, 2, 4}) expect_ok(options(procs), 200, body);
}

// A long call loses its P to sysmon, which has work for it; all come back.
TEST_P(SimSched, BlockingCallsLetTheirPGo) {
  static constexpr auto body = [](void*) {
    struct Table {
      Gate<> gate;
      Done done{3};
    } table;
    start({});
    for (int i = 0; i < 2; ++i) {
      go(
          [](void* p) {
            auto* t = static_cast<Table*>(p);
            const G* me = current_g();
            for (std::int64_t ns : {1'000, 100'000'000}) {
              enter_blocking();
              os::sleep_ns(ns);
              exit_blocking();
              sim_assert(current_g() == me, "it stays itself");
            }
            t->gate.release();
            t->done.one();
          },
          &table);
    }
    go(
        [](void* p) {
          auto* t = static_cast<Table*>(p);
          for (int i = 0; i < 2; ++i) t->gate.acquire();
          t->done.one();
        },
        &table);
    table.done.wait();
    expect_all_ps_idle();
  };
  for (int procs : {1, 2}) expect_ok(options(procs), 200, body);
}

// A locked goroutine runs on its thread alone, and takes it with it when it ends locked.
TEST_P(SimSched, LockedGoroutinesKeepTheirThread) {
  static constexpr auto body = [](void*) {
    struct Table {
      Gate<> there, back;
      Done done{2};
    } table;
    start({});
    go(
        [](void* p) {
          auto* t = static_cast<Table*>(p);
          lock_os_thread();
          const int me = os::sim_self();
          for (int i = 0; i < 3; ++i) {
            t->there.acquire();
            sim_assert(os::sim_self() == me, "always on its thread");
            yield_now();
            sim_assert(os::sim_self() == me, "always on its thread");
            t->back.release();
          }
          t->done.one();
        },
        &table);
    go(
        [](void* p) {
          auto* t = static_cast<Table*>(p);
          for (int i = 0; i < 3; ++i) {
            t->there.release();
            t->back.acquire();
          }
          t->done.one();
        },
        &table);
    table.done.wait();
    expect_all_ps_idle();
  };
  for (int procs : {1, 2}) expect_ok(options(procs), 200, body);
}

// The system refuses more threads soon after the start: orders persist, work is not bound to them.
TEST_P(SimSched, FewThreadsAreEnough) {
  static constexpr auto body = [](void*) {
    static constinit Done* all;
    start({});
    os::sim_limit_threads(1 + kSystemThreads + 1);
    Done done(4);
    all = &done;
    for (int i = 0; i < 4; ++i) go([](void*) { yield_now(), yield_now(), all->one(); }, nullptr);
    done.wait();
    expect_all_ps_idle();
  };
  expect_ok(options(4), 200, body);
}

// Creation fails now and then: it is tried again.
TEST_P(SimSched, FailedThreadsAreTriedAgain) {
  static constexpr auto body = [](void*) {
    start({});
    os::sim_limit_threads(0);  // whatever start has not got yet is refused
    Done done(2);
    go([](void* p) { static_cast<Done*>(p)->one(); }, &done);
    os::sleep_ns(50'000'000);
    os::sim_limit_threads(100);
    go([](void* p) { static_cast<Done*>(p)->one(); }, &done);
    done.wait();
    expect_all_ps_idle();
  };
  expect_ok(options(2), 200, body);
}

}  // namespace
}  // namespace gort::inline v0::rt
