// The scheduler as it ships: start_m, stop_m, wake_p, parking and readying, stealing, orders for threads. Thread 0 of
// each run is a foreign thread that starts the runtime, makes goroutines and sleeps on a note until they are done; so a
// wake-up lost anywhere shows as a deadlock, a P lost anywhere as a missing one at the end, and a goroutine that runs
// twice as an assertion.
#include "sched/lock_thread.h"
#include "sched/syscall.h"
#include "tests/sim/bodies.h"
#include "tests/sim/scenario.h"

namespace gort::inline v0::rt {

namespace {

constexpr SimOptions kSched = {.pct_depth = 4, .pct_steps = 3000};

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

void each_once(void*) {
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
}

void make_more(void*) {
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
}

// Late arrivals find everybody asleep, on the way to sleep, or between the last look and the sleep.
void from_outside(void*) {
  start({});
  for (int i = 0; i < times(4); ++i) {
    Done done(1);
    go([](void* p) { static_cast<Done*>(p)->one(); }, &done);
    done.wait();
  }
  expect_all_ps_idle();
}

void from_outside_silently(void*) {
  start({});
  for (int i = 0; i < times(4); ++i) {
    Done done(1);
    go_silently([](void* p) { static_cast<Done*>(p)->one(); }, &done);
    done.wait();
  }
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

void foreign_ready(void*) {
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
}

// A long call loses its P to sysmon, which has work for it; all come back.
void blocking_calls(void*) {
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
}

// A locked goroutine runs on its thread alone, and takes it with it when it ends locked.
void locked(void*) {
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
}

// The system refuses more threads soon after the start: orders persist, work is not bound to them.
void few_threads(void*) {
  static constinit Done* all;
  start({});
  os::sim_limit_threads(1 + kSystemThreads + 1);
  Done done(4);
  all = &done;
  for (int i = 0; i < 4; ++i) go([](void*) { yield_now(), yield_now(), all->one(); }, nullptr);
  done.wait();
  expect_all_ps_idle();
}

void failed_threads(void*) {
  start({});
  os::sim_limit_threads(0);  // whatever start has not got yet is refused
  Done done(2);
  go([](void* p) { static_cast<Done*>(p)->one(); }, &done);
  os::sleep_ns(50'000'000);
  os::sim_limit_threads(100);
  go([](void* p) { static_cast<Done*>(p)->one(); }, &done);
  done.wait();
  expect_all_ps_idle();
}

constexpr Flaw kWakesNobody[] = {{.name = "wakes_nobody",
                                 .what = "the goroutine is queued without wake_p",
                                 .verdict = SimVerdict::deadlock,
                                 .body = from_outside_silently,
                                 .seeds = 400}};
// Whoever readies it meets a goroutine that has not left its stack: a CHECK, a fault, or both run at once.
constexpr Flaw kUnlocksEarly[] = {{.name = "unlocks_early",
                                  .what = "the queue's lock is released before the park",
                                  .verdict = SimVerdict::crash,
                                  .body = ping_pong<true>}};

constexpr Scenario kAll[] = {
    {.name = "each_once",
     .what = "each goroutine runs once and to its end",
     .body = each_once,
     .options = kSched,
     .procs = {1, 2, 4},
     .seeds = 500},
    {.name = "make_more",
     .what = "goroutines make goroutines; births and deaths balance",
     .body = make_more,
     .options = kSched,
     .procs = {1, 3},
     .seeds = 400},
    {.name = "from_outside",
     .what = "work from a foreign thread wakes somebody (wake_p against idle)",
     .body = from_outside,
     .options = kSched,
     .procs = {1, 2},
     .seeds = 600,
     .flaws = kWakesNobody},
    {.name = "park_ready",
     .what = "two goroutines let each other go (park, ready)",
     .body = ping_pong<false>,
     .options = kSched,
     .procs = {2, 1, 3},
     .seeds = 600,
     .flaws = kUnlocksEarly},
    {.name = "foreign_ready",
     .what = "foreign threads ready goroutines",
     .body = foreign_ready,
     .options = kSched,
     .procs = {1, 2, 4},
     .seeds = 400},
    {.name = "blocking_calls",
     .what = "blocking calls lose their P to sysmon, and come back",
     .body = blocking_calls,
     .options = kSched,
     .procs = {1, 2},
     .seeds = 300},
    {.name = "lock_os_thread",
     .what = "a locked goroutine keeps its thread, and takes it along when it ends locked",
     .body = locked,
     .options = kSched,
     .procs = {1, 2},
     .seeds = 300},
    {.name = "few_threads",
     .what = "the system refuses more threads: orders persist, work goes on",
     .body = few_threads,
     .options = kSched,
     .procs = {4},
     .seeds = 200},
    {.name = "failed_threads",
     .what = "creation fails for a while, and is tried again",
     .body = failed_threads,
     .options = kSched,
     .procs = {2},
     .seeds = 200},
};

}  // namespace

extern const std::span<const Scenario> sched_scenarios;
const std::span<const Scenario> sched_scenarios = kAll;

}  // namespace gort::inline v0::rt
