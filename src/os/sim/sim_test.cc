// The simulator's own promises: verdicts, replay, virtual time, threads, signals.
#include "os/sim/sim.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <string>
#include <vector>

#include "os/os.h"

namespace gort::inline v0::os {
namespace {

// gtest prints histories through operator<< of string_view; these make its messages readable.
std::string tell(const SimResult& r) {
  return std::string(sim_verdict_name(r.verdict)) + " seed " + std::to_string(r.seed) + ": " +
         std::string(r.message) + "\n" + std::string(r.history);
}

bool says(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/// Three threads that add to one counter in two operations each: which sums come out is up to the
/// schedule.
struct Counter {
  atomic<std::uint32_t> n{0};
  static void add(void* p) {
    auto* c = static_cast<Counter*>(p);
    for (int i = 0; i < 10; ++i) c->n.store(c->n.load() + 1);
  }
  static void body(void*) {
    Counter c;
    sim_label(&c.n, sizeof c.n, "counter");
    const int a = sim_spawn(add, &c);
    const int b = sim_spawn(add, &c);
    add(&c);
    sim_join(a);
    sim_join(b);
    sim_note("sum", c.n.load());
  }
};

class EachStrategy : public testing::TestWithParam<SimStrategy> {};
INSTANTIATE_TEST_SUITE_P(Sim, EachStrategy, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) {
                           return i.param == SimStrategy::pct ? "pct" : "uniform";
                         });

TEST_P(EachStrategy, SameSeedSameHistory) {
  for (bool isolate : {true, false}) {
    std::vector<std::string> histories;
    for (std::uint64_t seed : {1, 2, 3, 1, 2, 3}) {
      const SimResult r = sim_run({.seed = seed,
                                   .strategy = GetParam(),
                                   .pct_steps = 60,
                                   .isolate = isolate,
                                   .keep_history = true},
                                  Counter::body, nullptr);
      ASSERT_EQ(r.verdict, SimVerdict::ok) << tell(r);
      histories.emplace_back(r.history);
      EXPECT_TRUE(says(r.history, "counter")) << r.history;
    }
    for (int i = 0; i < 3; ++i) EXPECT_EQ(histories[i], histories[i + 3]);
    EXPECT_NE(histories[0], histories[1]);
    EXPECT_NE(histories[1], histories[2]);
    EXPECT_NE(histories[0], histories[2]);
  }
}

TEST_P(EachStrategy, IsolatedAndNotAreTheSameRun) {
  SimOptions o{.seed = 7, .strategy = GetParam()};
  const std::uint64_t isolated = sim_run(o, Counter::body, nullptr).digest;
  o.isolate = false;
  EXPECT_EQ(isolated, sim_run(o, Counter::body, nullptr).digest);
  o.seed = 8;
  EXPECT_NE(isolated, sim_run(o, Counter::body, nullptr).digest);
}

TEST_P(EachStrategy, LosesUpdatesOfATornIncrement) {
  static constexpr auto body = [](void*) {
    Counter c;
    const int a = sim_spawn(Counter::add, &c);
    Counter::add(&c);
    sim_join(a);
    sim_assert(c.n.load() == 20, "every increment counts");
  };
  const SimResult r =
      sim_explore({.strategy = GetParam(), .pct_steps = 50, .isolate = false}, 1000, body, nullptr);
  ASSERT_EQ(r.verdict, SimVerdict::assert) << tell(r);
  EXPECT_EQ(r.message, "every increment counts");
}

TEST_P(EachStrategy, SpinningForAnotherThreadIsNotALivelock) {
  static constexpr auto body = [](void*) {
    atomic<bool> go{false};
    // Both ways of spinning: with and without a hint that it is one.
    const int a = sim_spawn(
        [](void* p) {
          while (!static_cast<atomic<bool>*>(p)->load()) cpu_relax(10);
        },
        &go);
    const int b = sim_spawn(
        [](void* p) {
          while (!static_cast<atomic<bool>*>(p)->load()) {
          }
        },
        &go);
    go.store(true);
    sim_join(a);
    sim_join(b);
  };
  const SimResult r = sim_explore({.strategy = GetParam(), .max_steps = 20'000, .isolate = false},
                                  300, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

// ---- verdicts -------------------------------------------------------------------------------

TEST(SimVerdicts, DeadlockNamesWhoWaitsForWhat) {
  static constexpr auto body = [](void*) {
    atomic<std::uint32_t> word{0};
    sim_label(&word, sizeof word, "the word");
    const int t = sim_spawn(
        [](void* p) {
          auto* w = static_cast<atomic<std::uint32_t>*>(p);
          thread_set_name("sleeper");
          while (w->load() == 0) futex_wait(w, 0, -1);
        },
        &word);
    sim_join(t);
  };
  // Also with nothing but spurious wake-ups: they must not hide it, nor keep it alive for ever.
  for (unsigned spurious : {0u, 500u}) {
    const SimResult r = sim_run({.spurious_permille = spurious}, body, nullptr);
    EXPECT_EQ(r.verdict, SimVerdict::deadlock) << tell(r);
    EXPECT_TRUE(says(r.history, "T0 joins T1")) << r.history;
    EXPECT_TRUE(says(r.history, "T1 (sleeper) sleeps on the word")) << r.history;
  }
}

TEST(SimVerdicts, Livelock) {
  static constexpr auto body = [](void*) {
    for (;;) thread_yield();
  };
  const SimResult r = sim_run({.max_steps = 5000, .history_steps = 100}, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::livelock);
  EXPECT_EQ(r.steps, 5000u);
  EXPECT_TRUE(says(r.history, "... 4900 records before these")) << r.history;
}

TEST(SimVerdicts, LivelockWithoutSchedulingPoints) {
  static constexpr auto body = [](void*) {
    for (;;) asm volatile("");
  };
  const SimResult r = sim_run({.cpu_seconds = 1}, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::livelock) << tell(r);
}

TEST(SimVerdicts, CrashTellsWhatWasWritten) {
  static constexpr auto body = [](void*) {
    write_all(2, "fatal error: all is lost\n", 25);
    exit_process(2);
  };
  for (bool isolate : {true, false}) {
    const SimResult r = sim_run({.isolate = isolate}, body, nullptr);
    EXPECT_EQ(r.verdict, SimVerdict::crash);
    EXPECT_EQ(r.exit_code, 2);
    EXPECT_EQ(r.message, "exit_process: fatal error: all is lost");
    EXPECT_TRUE(says(r.history, "output fatal error: all is lost\n")) << r.history;
  }
  EXPECT_EQ(sim_run({}, [](void*) { abort_process(); }, nullptr).verdict, SimVerdict::crash);
}

TEST(SimVerdicts, ExitWithZeroIsAnEnd) {
  static constexpr auto body = [](void*) {
    sim_spawn([](void*) { exit_process(0); }, nullptr);
    for (;;) sleep_ns(1'000'000);
  };
  EXPECT_EQ(sim_run({}, body, nullptr).verdict, SimVerdict::ok);
}

TEST(SimVerdicts, FaultsAreCrashesWithAHistory) {
  static constexpr auto body = [](void*) {
    atomic<int> x{41};
    sim_label(&x, sizeof x, "x");
    auto* page = static_cast<volatile char*>(mem_map(page_size(), page_size()));
    sim_label(const_cast<char*>(page), page_size(), "the page");
    mem_guard(const_cast<char*>(page), page_size(), true);
    x.fetch_add(1);
    page[7] = 1;  // a plain access: no step of its own
  };
  const SimResult r = sim_run({}, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::crash) << tell(r);
  EXPECT_EQ(r.message, "SEGV at the page+7 in T0");
  EXPECT_TRUE(says(r.history, "x 41 -> 42")) << r.history;
}

TEST(SimVerdicts, StackOverflowIsACrash) {
  static constexpr auto body = [](void*) {
    static constexpr auto deep = [](auto& self, int n) -> int {
      volatile char frame[256];
      frame[0] = static_cast<char>(n);
      return n == 0 ? 0 : self(self, n - 1) + frame[0];
    };
    sim_note("depth", static_cast<std::uint64_t>(deep(deep, 1 << 20)));
  };
  const SimResult r = sim_run({}, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::crash);
  EXPECT_TRUE(says(r.message, "SEGV at arena+")) << r.message;
}

TEST(SimVerdicts, ExploreStopsAtTheFirstFailure) {
  static constexpr auto body = [](void*) {
    // Independent of the schedule, dependent on the seed: cputicks is a draw from the run's dice.
    sim_assert(cputicks() % 8 != 0, "one seed in eight");
  };
  const SimResult r = sim_explore({.seed = 100, .isolate = false}, 1000, body, nullptr);
  ASSERT_EQ(r.verdict, SimVerdict::assert);
  EXPECT_EQ(r.seed, 100 + r.runs - 1);
  EXPECT_LT(r.runs, 100u);
  EXPECT_EQ(sim_run({.seed = r.seed}, body, nullptr).verdict, SimVerdict::assert);
}

TEST(SimVerdicts, EachIsolatedRunStartsFresh) {
  static constinit int runs = 0;  // the core's static state, as it were
  static constexpr auto body = [](void*) { sim_assert(++runs == 1, "static state is fresh"); };
  EXPECT_EQ(sim_explore({}, 5, body, nullptr).verdict, SimVerdict::ok);
  EXPECT_EQ(runs, 0);
}

// ---- time -----------------------------------------------------------------------------------

TEST(SimTime, SleepersRunInTheOrderOfTheirDeadlines) {
  static constexpr auto body = [](void*) {
    static constinit std::int64_t last = 0;
    static constexpr auto sleeper = [](void* p) {
      const std::int64_t until = nanotime() + reinterpret_cast<std::intptr_t>(p);
      sleep_ns(reinterpret_cast<std::intptr_t>(p));
      const std::int64_t now = nanotime();
      sim_assert(now >= until, "no sleep is too short");
      sim_assert(now < until + 1'000'000, "nor longer than its neighbours make it");
      sim_assert(last < until, "deadlines a second apart come in order");
      last = until;
    };
    const std::int64_t begin = nanotime();
    int ids[5];
    for (int i = 0; i < 5; ++i) {
      ids[i] = sim_spawn(sleeper,
                         reinterpret_cast<void*>((7 * i % 5 + 1) * std::intptr_t{1'000'000'000}));
    }
    for (int id : ids) sim_join(id);
    const std::int64_t took = nanotime() - begin;
    sim_assert(took >= 5'000'000'000 && took < 5'010'000'000, "five seconds for all");
  };
  const SimResult r = sim_explore({}, 50, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
  EXPECT_GE(r.virtual_ns, 5'000'000'000);
}

TEST(SimTime, FutexTimeouts) {
  static constexpr auto body = [](void*) {
    atomic<std::uint32_t> word{0};
    const std::int64_t begin = nanotime();
    sim_assert(futex_wait(&word, 1, -1) == Wait::changed, "another value");
    sim_assert(futex_wait(&word, 0, 0) == Wait::timed_out, "no time at all");
    sim_assert(nanotime() - begin < 1'000'000, "neither sleeps");
    sim_assert(futex_wait(&word, 0, 250'000'000) == Wait::timed_out, "a quarter of a second");
    sim_assert(nanotime() - begin >= 250'000'000, "and not less");
  };
  const SimResult r = sim_explore({.spurious_permille = 0, .isolate = false}, 20, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

TEST(SimTime, SpuriousWakeUpsHappen) {
  static constexpr auto body = [](void*) {
    atomic<std::uint32_t> word{0};
    const int busy = sim_spawn(
        [](void*) {
          for (int i = 0; i < 1000; ++i) sim_point();
        },
        nullptr);
    sim_assert(futex_wait(&word, 0, 1'000'000'000) == Wait::timed_out, "nobody wakes");
    sim_join(busy);
  };
  EXPECT_EQ(sim_explore({.spurious_permille = 0, .isolate = false}, 300, body, nullptr).verdict,
            SimVerdict::ok);
  EXPECT_EQ(sim_explore({.spurious_permille = 50, .isolate = false}, 300, body, nullptr).verdict,
            SimVerdict::assert);
}

// A thread may lose its processor for longer than another one's timeout.
TEST(SimTime, TimeoutsComeWhileOthersCouldRun) {
  static constexpr auto body = [](void*) {
    static constinit bool expired;
    expired = false;
    const int t = sim_spawn(
        [](void*) {
          sleep_ns(1'000'000'000);
          expired = true;
        },
        nullptr);
    for (int i = 0; i < 100; ++i) sim_point();
    sim_assert(!expired, "a hundred steps are shorter than a second");
    sim_join(t);
  };
  EXPECT_EQ(sim_explore({.late_permille = 0, .isolate = false}, 300, body, nullptr).verdict,
            SimVerdict::ok);
  EXPECT_EQ(sim_explore({.late_permille = 2, .isolate = false}, 300, body, nullptr).verdict,
            SimVerdict::assert);
}

// ---- threads, signals, memory, exceptions ---------------------------------------------------

TEST(SimThreads, CreateAndReap) {
  static constexpr auto body = [](void*) {
    Thread t;
    sim_assert(
        thread_create(
            &t,
            [](void*) {
              tls().window = 1;
              sim_assert(thread_id() == 2 && process_thread_count() == 2, "the second thread");
              std::uintptr_t lo, hi;
              const auto here = reinterpret_cast<std::uintptr_t>(&lo);
              sim_assert(thread_stack(&lo, &hi) && lo < here && here < hi, "on its own stack");
            },
            nullptr, 0) == 0,
        "created");
    bool busy = false;
    while (thread_try_reap(t) == EBUSY) {
      busy = true;
      thread_yield();
    }
    sim_assert(tls().window == 0, "each thread has its own block");
    sim_assert(process_thread_count() == 1, "gone");
    if (busy) sim_note("was busy");
  };
  const SimResult r = sim_explore({.isolate = false}, 100, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

TEST(SimThreads, CreationFailsOnDemand) {
  static constexpr auto body = [](void*) {
    int failed = 0;
    for (int i = 0; i < 100; ++i) {
      Thread t;
      const int error = thread_create(&t, [](void*) {}, nullptr, 0);
      sim_assert(error == 0 || error == EAGAIN, "EAGAIN is how it fails");
      if (error != 0) ++failed;
    }
    sim_assert(failed > 10 && failed < 60, "about 30 of 100");
  };
  const SimResult r = sim_run({.thread_fail_permille = 300}, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
  static constexpr auto limit = [](void*) {
    Thread t;
    constexpr auto sleeper = [](void*) { sleep_ns(1'000'000'000); };
    sim_assert(thread_create(&t, sleeper, nullptr, 0) == 0, "the second of two");
    sim_assert(thread_create(&t, sleeper, nullptr, 0) == EAGAIN, "the third of two");
  };
  const SimResult l = sim_run({.late_permille = 0, .max_threads = 2}, limit, nullptr);
  EXPECT_EQ(l.verdict, SimVerdict::ok) << tell(l);
}

TEST(SimThreads, EndingWithALockHeldIsACrash) {
  static constexpr auto body = [](void*) {
    sim_join(sim_spawn([](void*) { ++tls().locks; }, nullptr));
  };
  EXPECT_EQ(sim_run({}, body, nullptr).message, "a thread ended with Tls::locks > 0");
}

TEST(SimThreads, SignalsInterruptStepsAndSleeps) {
  static constinit atomic<std::uint32_t> handled[2];
  static constexpr auto body = [](void*) {
    sim_on_signal([](int signo) {
      sim_assert(signo == 23, "the number that was sent");
      handled[sim_self() - 1].fetch_add(1);  // a handler is made of steps, too
    });
    const int spinner = sim_spawn(
        [](void*) {
          while (handled[0].load() == 0) sim_point();
        },
        nullptr);
    // Nobody calls futex_wake: only the signal's interruption brings the sleeper back.
    const int sleeper = sim_spawn(
        [](void*) {
          while (handled[1].load() == 0) futex_wait(&handled[1], 0, -1);
        },
        nullptr);
    sim_assert(signal_thread(spinner + 1, 23) == 0, "alive");
    sim_assert(signal_thread(sleeper + 1, 23) == 0, "alive");
    sim_join(spinner);
    sim_join(sleeper);
    sim_assert(signal_thread(spinner + 1, 23) == ESRCH, "ended");
    sim_assert(handled[0].load() == 1 && handled[1].load() == 1, "each once");
  };
  const SimResult r = sim_explore({.spurious_permille = 0}, 200, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

TEST(SimMemory, MappingsAreAlignedZeroAndAtTheSamePlaceInEachRun) {
  static constexpr auto body = [](void*) {
    auto* p = static_cast<std::uint64_t*>(mem_map(1 << 20, 1 << 16));
    sim_assert(reinterpret_cast<std::uintptr_t>(p) % (1 << 16) == 0, "aligned");
    sim_assert(p[0] == 0 && p[(1 << 17) - 1] == 0, "zeroed");
    p[0] = 1;
    mem_discard(p, 1 << 20);
    sim_assert(p[0] == 0, "discarded");
    mem_unmap(p, 1 << 20);
    sim_assert(mem_map(4096, 4096) != p, "no address comes back");
  };
  const std::uint64_t first = sim_run({.isolate = false}, body, nullptr).digest;
  const SimResult r = sim_run({.isolate = false}, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
  EXPECT_EQ(r.digest, first);
  EXPECT_EQ(sim_run(
                {},
                [](void*) {
                  auto* p = static_cast<char*>(mem_map(8192, 4096));
                  sim_assert(mem_guard(p, 4096, true) == Guard::mapping, "guarded");
                  p[4096] = 1;
                  p[0] = 1;
                },
                nullptr)
                .verdict,
            SimVerdict::crash);
}

// The C++ ABI keeps the caught exceptions per real thread; here several threads share one.
TEST(SimThreads, CaughtExceptionsStayWithTheirThread) {
  static constexpr auto thrower = [](void* p) {
    const auto mine = reinterpret_cast<std::intptr_t>(p);
    for (int i = 0; i < 3; ++i) {
      try {
        try {
          throw mine;
        } catch (std::intptr_t) {
          sim_point();
          throw;
        }
      } catch (std::intptr_t caught) {
        sim_assert(caught == mine, "rethrown as it was caught");
      }
    }
  };
  static constexpr auto body = [](void*) {
    const int a = sim_spawn(thrower, reinterpret_cast<void*>(1));
    const int b = sim_spawn(thrower, reinterpret_cast<void*>(2));
    thrower(reinterpret_cast<void*>(3));
    sim_join(a);
    sim_join(b);
  };
  const SimResult r = sim_explore({}, 100, body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

TEST(SimMachine, AnswersWithTheOptions) {
  static constexpr auto body = [](void*) {
    char buf[8];
    sim_assert(cpu_count() == 64 && cgroup_cpu_limit_milli() == 1500, "machine");
    sim_assert(std::string_view(getenv("GORT_MAXPROCS")) == "3" && getenv("HOME") == nullptr,
               "environment");
    sim_assert(read_file("/proc/x", buf, sizeof buf) == 5 && std::string_view(buf) == "hello",
               "file");
    sim_assert(read_file("/proc/y", buf, sizeof buf) == -ENOENT, "no file");
  };
  const SimText environment[] = {{"GORT_MAXPROCS", "3"}};
  const SimText files[] = {{"/proc/x", "hello"}};
  const SimResult r =
      sim_run({.cpus = 64, .cgroup_limit_milli = 1500, .environment = environment, .files = files},
              body, nullptr);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

TEST(SimOutside, SchedulingPointsDoNothing) {
  atomic<std::uint32_t> word{1};
  EXPECT_EQ(word.fetch_add(2), 1u);
  std::uint32_t expected = 3;
  EXPECT_TRUE(word.compare_exchange_strong(expected, 4));
  EXPECT_FALSE(word.compare_exchange_strong(expected, 5));
  EXPECT_EQ(expected, 4u);
  EXPECT_EQ(sim_self(), -1);
  EXPECT_EQ(&tls(), &tls());
}

}  // namespace
}  // namespace gort::inline v0::os
