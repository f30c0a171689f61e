// gort::run: again, nested, at the same time, with exceptions, and what is left at its end.
// test: labels=smoke
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sched/entry.h"
#include "sched/park.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;
using ::testing::ExitedWithCode;
using gort::test::now_ns;
using gort::test::yield_until;

namespace {

void park_for_ever() {
  gort::rt::RuntimeEntry entry;
  gort::rt::park(nullptr, nullptr, gort::rt::WaitReason::test);
}

class Run : public gort::test::RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(Run);
class RunDeath : public gort::test::RuntimeTest {};

TEST_P(Run, GivesTheResult) {
  GORT_TEST_START(GetParam());
  EXPECT_EQ(gort::run([] { return 42; }), 42);
  int x = 0;
  int& r = gort::run([&]() -> int& { return x; });
  EXPECT_EQ(&r, &x);
  EXPECT_EQ(*gort::run([] { return std::make_unique<int>(7); }), 7);
}

TEST_P(Run, RethrowsWhatLeavesIt) {
  GORT_TEST_START(GetParam());
  EXPECT_THROW(gort::run([] { throw std::out_of_range("far"); }), std::out_of_range);
  EXPECT_THROW(gort::run([]() -> int { throw 5; }), int);
  EXPECT_EQ(gort::run([] { return 1; }), 1);
}

TEST_P(Run, TwiceAndManyTimes) {
  GORT_TEST_START(GetParam());
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(gort::run([i] { return gort::spawn([i] { return i; }).get(); }), i);
  }
}

TEST_P(Run, EveryRunThatIsAloneHasTheNumberOfPsThatItNames) {
  for (int n : {1, 2, 3, 2, 1}) {
    gort::run({.max_procs = n}, [n] { EXPECT_EQ(gort::num_procs(), n); });
    gort::run([n] { EXPECT_EQ(gort::num_procs(), n) << "a run that names none changes nothing"; });
  }
  gort::run({.max_procs = 2}, [] {
    std::thread([] { gort::run({.max_procs = 3}, [] { EXPECT_EQ(gort::num_procs(), 2); }); }).join();
  });
}

TEST_P(Run, NestedIsAPlainCall) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    const auto outer = gort::this_goroutine::id();
    EXPECT_NE(outer, 0u);
    EXPECT_EQ(gort::run([] { return gort::this_goroutine::id(); }), outer);
    EXPECT_THROW(gort::run([] { throw 1; }), int);
    gort::spawn([outer] {
      const auto inner = gort::this_goroutine::id();
      EXPECT_NE(inner, outer);
      EXPECT_EQ(gort::run([] { return gort::this_goroutine::id(); }), inner);
    }).join();
  });
}

TEST_P(Run, FromTwoThreadsAtOnce) {
  GORT_TEST_START(GetParam());
  std::atomic<int> inside{0};
  auto body = [&inside] {
    ++inside;
    return yield_until([&] { return inside == 2; });
  };
  bool met[2] = {};
  std::thread a([&] { met[0] = gort::run(body); });
  std::thread b([&] { met[1] = gort::run(body); });
  a.join();
  b.join();
  EXPECT_TRUE(met[0] && met[1]);
}

// One thread's run ends while another's begins, over and over: neither may be taken for what the other has
// left over.
TEST_P(Run, EndsAndBeginningsCross) {
  GORT_TEST_START(GetParam());
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&sum] {
      for (int k = 0; k < 300; ++k) {
        sum += gort::run({.grace = 1ms}, [] {
          gort::this_goroutine::yield();
          return gort::spawn([] { return 1; }).get();
        });
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum, 900);
}

// A run that begins within the grace time of another's end is no leftover of that.
TEST_P(Run, BeginsWithinTheGraceTimeOfAnother) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> leave{false};
  std::atomic<bool> first_over{false};
  std::atomic<bool> second_in{false};
  std::thread first([&] {
    gort::run({.grace = 300ms, .quiet = true}, [&] {
      gort::go([&] {
        while (!leave) gort::this_goroutine::yield();
      });
    });
    first_over = true;
  });
  ::usleep(50'000);  // into the grace time, most likely; the property holds either way
  std::thread second([&] {
    gort::run([&] {
      second_in = true;
      const std::int64_t until = now_ns() + 600'000'000;
      while (now_ns() < until) gort::this_goroutine::yield();
      leave = true;
    });
  });
  first.join();
  second.join();
  EXPECT_TRUE(first_over && second_in);
}

// Goroutines that are started before a run begins, by static constructors, say, or between two runs, end with that run
// as its own do: their destructors run, nobody waits out the grace time for them, and who joins one does not hang.
TEST_P(Run, EndsWhatWasStartedBeforeIt) {
  GORT_TEST_START(GetParam());
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> ended{0};
    auto until_cancelled = [&ended] {
      struct counts {
        std::atomic<int>& n;
        ~counts() { ++n; }
      } at_end{ended};
      for (;;) gort::this_goroutine::sleep_for(1ms);
    };
    gort::task<void> task = gort::spawn(until_cancelled);
    gort::go(until_cancelled);
    std::error_code cause;
    gort::go([&] {
      try {
        gort::chan<int>(0).recv();
      } catch (const gort::cancelled& c) {
        cause = c.cause();
        throw;
      }
    });
    const std::int64_t start = now_ns();
    gort::run({.grace = 100s}, [] { gort::this_goroutine::yield(); });
    EXPECT_LT(now_ns() - start, 50'000'000'000);
    EXPECT_EQ(ended, 2);
    EXPECT_EQ(cause, make_error_code(gort::cancel_reason::run_ended));
    EXPECT_THROW(task.get(), gort::cancelled);
  }
}

TEST_P(Run, WaitsForOthersThatStillRun) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> ended{false};
  gort::run([&] {
    gort::go([&] {
      gort::blocking([] { ::usleep(30'000); });
      ended = true;
    });
  });
  EXPECT_TRUE(ended);
}

TEST_P(Run, DoesNotWaitForThoseThatCannotRun) {
  GORT_TEST_START(GetParam());
  const std::int64_t start = now_ns();
  gort::run({.grace = 40s, .quiet = true}, [&] { gort::go([] { park_for_ever(); }); });
  EXPECT_LT(now_ns() - start, 20'000'000'000);
}

// A goroutine that sleeps in the kernel when its run ends must not run again when the call is over: static
// destructors may be running then.
TEST_P(Run, WhatReturnsFromABlockingCallTooLateDoesNotRunOn) {
  GORT_TEST_START(GetParam());
  for (const bool locked : {false, true}) {
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    std::atomic<bool> in_call{false};
    std::atomic<bool> call_over{false};
    std::atomic<bool> ran_on{false};
    gort::run({.grace = 20ms, .quiet = true}, [&] {
      gort::go([&, locked] {
        if (locked) gort::lock_os_thread();
        gort::blocking([&] {
          in_call = true;
          char c;
          EXPECT_EQ(::read(fds[0], &c, 1), 1);
          call_over = true;
        });
        ran_on = true;
      });
      ASSERT_TRUE(yield_until([&] { return in_call.load(); }));
    });
    ASSERT_EQ(::write(fds[1], "x", 1), 1);
    while (!call_over) ::usleep(1'000);
    gort::test::expect_every_p_idle();
    ::usleep(20'000);
    EXPECT_FALSE(ran_on) << (locked ? "locked" : "not locked");
    ::close(fds[0]);
    ::close(fds[1]);
  }
}

// A grace time that has no end, as far as the clock goes, is one.
TEST_P(Run, TheLongestGraceTimeIsLong) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> ended{false};
  gort::run({.grace = std::chrono::nanoseconds::max()}, [&] {
    gort::go([&] {
      gort::blocking([] { ::usleep(100'000); });
      ended = true;
    });
    gort::this_goroutine::yield();
  });
  EXPECT_TRUE(ended);
}

// Who waits for the leftovers sleeps meanwhile, however long that takes.
TEST_P(Run, TheWaitForLeftoversCostsNoProcessorTime) {
  GORT_TEST_START(GetParam());
  std::int64_t used = 0;
  gort::run({.grace = 60s, .quiet = true}, [&] {
    gort::go([] { gort::blocking([] { ::usleep(2'000'000); }); });
    gort::this_goroutine::yield();
    used = gort::test::process_cpu_ns();
  });
  used = gort::test::process_cpu_ns() - used;
  EXPECT_LT(used, 500'000'000);
}

// One that only yields when its run ends never runs again after run has returned.
TEST_P(Run, AYielderDoesNotRunOn) {
  GORT_TEST_START(GetParam());
  std::atomic<std::int64_t> turns{0};
  gort::run({.grace = 10ms, .quiet = true}, [&] {
    gort::go([&] {
      for (;;) {
        ++turns;
        gort::this_goroutine::yield();
      }
    });
    ASSERT_TRUE(yield_until([&] { return turns > 10; }));
  });
  const std::int64_t at_end = turns;
  ::usleep(50'000);
  EXPECT_EQ(turns, at_end);
}

// What a run has left over does not cost the next ones their grace time, and is not counted.
TEST_P(Run, LeftoversDoNotDelayTheNextRuns) {
  GORT_TEST_START(GetParam());
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  std::atomic<bool> in_call{false};
  std::atomic<bool> call_over{false};
  gort::run({.grace = 5ms, .quiet = true}, [&] {
    gort::go([] { park_for_ever(); });
    gort::go([&] {
      gort::blocking([&] {
        in_call = true;
        char c;
        EXPECT_EQ(::read(fds[0], &c, 1), 1);
        call_over = true;
      });
    });
    ASSERT_TRUE(yield_until([&] { return in_call.load(); }));
  });
  const std::int64_t start = now_ns();
  gort::run({.grace = 40s}, [] { EXPECT_EQ(gort::num_goroutine(), 1); });
  EXPECT_LT(now_ns() - start, 20'000'000'000);
  ASSERT_EQ(::write(fds[1], "x", 1), 1);
  while (!call_over) ::usleep(1'000);
}

// A static object's task or scope: what it started may have been left over when its destructor comes.
TEST_P(Run, WhatIsLeftOverIsNotWaitedFor) {
  GORT_TEST_START(GetParam());
  gort::task<void> task;
  auto scope = std::make_unique<gort::scope>();
  auto never = [] {
    gort::shield from_the_end_of_the_run;
    gort::this_goroutine::sleep_for(24h);
  };
  gort::run({.grace = 10ms, .quiet = true}, [&] {
    task = gort::spawn(never);
    scope->go(never);
    scope->go([] {});
    gort::this_goroutine::sleep_for(1ms);
  });
  task = {};
  scope.reset();
  // Nor in another run, nor is one of that run's taken for a leftover.
  gort::run({.grace = 10ms, .quiet = true}, [&] { task = gort::spawn(never); });
  std::atomic<int> ended{0};
  gort::run([&] {
    task = {};
    {
      gort::task<void> own = gort::spawn([&] {
        gort::shield whole;
        gort::this_goroutine::sleep_for(5ms);
        ++ended;
      });
      gort::this_goroutine::yield();
    }
    gort::scope s;
    s.go([&] {
      gort::shield whole;
      gort::this_goroutine::sleep_for(5ms);
      ++ended;
    });
    gort::this_goroutine::sleep_for(1ms);
  });
  EXPECT_EQ(ended, 2);
}

// Nor by a foreign thread that has begun to wait when the run ends.
TEST_P(Run, WhatIsLeftOverIsNotWaitedForByThreads) {
  GORT_TEST_START(GetParam());
  std::atomic<int> begun{0};
  std::atomic<bool> made[3] = {};
  auto never = [&] {
    gort::shield from_the_end_of_the_run;
    ++begun;
    gort::this_goroutine::sleep_for(24h);
  };
  std::vector<std::thread> threads;
  std::atomic<bool> run_begins{false};
  const auto thread = [&](auto f) {
    threads.emplace_back([&, f] {
      while (!run_begins) std::this_thread::yield();
      f();
    });
  };
  thread([&] {
    auto task = gort::spawn(never);
    made[0] = true;
  });
  thread([&] {
    gort::scope scope;
    scope.go(never);
    made[1] = true;
  });
  thread([&] {
    gort::context::callback callback;
    gort::with_cancel c;
    callback = c.context().after_func(never);
    c.cancel();
    made[2] = true;
    const gort::context::callback ends(std::move(callback));
  });
  gort::run({.grace = 10ms, .quiet = true}, [&] {
    run_begins = true;
    EXPECT_TRUE(yield_until([&] { return begun == 3 && made[0] && made[1] && made[2]; }));
  });
  for (auto& t : threads) t.join();
}

// One that computes past the end of its run does not touch a scope that has not waited for it.
TEST_P(Run, WhoEndsAfterItsScopeDoesNotTouchIt) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 1) GTEST_SKIP() << "nothing runs beside the main goroutine";
  std::atomic<int> state{0};
  auto scope = std::make_unique<gort::scope>();
  gort::run({.grace = 0ns, .quiet = true}, [&] {
    scope->go([&state] {
      state = 1;
      while (state == 1) {
      }
      state = 3;
    });
    while (state == 0) gort::this_goroutine::yield();
  });
  scope.reset();
  void* const memory = ::operator new(sizeof(gort::scope));  // most likely the same
  std::memset(memory, 0xee, sizeof(gort::scope));
  state = 2;
  while (state != 3) ::usleep(1'000);
  gort::run([] { EXPECT_EQ(gort::spawn([] { return 1; }).get(), 1); });
  gort::test::expect_every_p_idle();
  const auto* bytes = static_cast<const unsigned char*>(memory);
  EXPECT_TRUE(std::all_of(bytes, bytes + sizeof(gort::scope), [](unsigned char b) { return b == 0xee; }));
  ::operator delete(memory);
}

TEST_F(RunDeath, ReportsWhatIsLeftByName) {
  EXPECT_EXIT(
      {
        gort::run({.max_procs = 2}, [] {
          gort::go({.name = "sleeper"}, [] { park_for_ever(); });
          while (gort::num_goroutine() != 2) gort::this_goroutine::yield();
        });
        std::_Exit(7);
      },
      ExitedWithCode(7), "^gort: run has ended with goroutines left: sleeper \\([0-9]+\\) \\[test\\]\n$");
}

TEST_F(RunDeath, ReportsNothingWhenNothingIsLeft) {
  EXPECT_EXIT(
      {
        // Without grace, the main goroutine itself is still on its last instructions.
        for (int i = 0; i < 200; ++i) gort::run({.max_procs = 2, .grace = 0ns}, [] {});
        std::_Exit(7);
      },
      ExitedWithCode(7), "^$");
}

// Trap (marl, libgo #248): a program ends with goroutines parked, running and in calls; static destructors
// meet no running goroutine, and nothing hangs.
std::atomic<int>* running_at_exit = nullptr;
struct static_object {
  ~static_object() {
    if (running_at_exit == nullptr) return;
    const int before = *running_at_exit;
    ::usleep(50'000);
    std::fprintf(stderr, "%s\n", *running_at_exit == before ? "nobody runs" : "somebody runs");
  }
} at_exit;

TEST_F(RunDeath, ExitWithGoroutinesParkedYieldingAndInCalls) {
  for (const char* procs : {"1", "2", "4"}) {
    EXPECT_EXIT(
        {
          ::setenv("GORT_MAXPROCS", procs, 1);
          static std::atomic<int> turns{0};
          running_at_exit = &turns;
          gort::run({.grace = 30ms, .quiet = true}, [] {
            gort::go([] { park_for_ever(); });
            gort::go([] {
              for (;;) {
                ++turns;
                gort::this_goroutine::yield();
              }
            });
            gort::go([] {
              for (;;) {
                gort::blocking([] { ::usleep(1'000); });
                ++turns;
              }
            });
            gort::go([] {
              gort::os_thread_lock lock;
              for (;;) {
                ++turns;
                gort::this_goroutine::yield();
              }
            });
            while (turns < 100) gort::this_goroutine::yield();
          });
          std::exit(3);
        },
        ExitedWithCode(3), "nobody runs\n$");
  }
}

// A handle in a static variable outlives main, and the goroutine that it stands for never ends.
TEST_F(RunDeath, ExitDoesNotWaitForTasksThatWereLeftOver) {
  EXPECT_EXIT(
      {
        static gort::task<void> task;
        gort::run({.max_procs = 2, .grace = 1ms, .quiet = true}, [] {
          task = gort::spawn([] {
            gort::shield from_the_end;
            park_for_ever();
          });
          gort::this_goroutine::yield();
        });
        std::exit(4);
      },
      ExitedWithCode(4), "^$");
}

TEST_F(RunDeath, ExitDoesNotWaitForCallbacksThatWereLeftOver) {
  EXPECT_EXIT(
      {
        static gort::context::callback callback;
        gort::run({.max_procs = 2, .grace = 1ms, .quiet = true}, [] {
          std::atomic<bool> begun{false};
          gort::with_cancel c;
          callback = c.context().after_func([&] {
            begun = true;
            gort::shield from_the_end;
            park_for_ever();
          });
          c.cancel();
          if (!yield_until([&] { return begun.load(); })) std::_Exit(5);
        });
        std::exit(4);
      },
      ExitedWithCode(4), "^$");
}

// One that is done is what it was.
TEST_P(Run, ATaskOfAnEndedRunKeepsItsResult) {
  GORT_TEST_START(GetParam());
  gort::task<int> task;
  gort::run([&] {
    task = gort::spawn([] { return 7; });
    EXPECT_TRUE(task.wait_for(60s));
  });
  EXPECT_EQ(task.get(), 7);
}

// exit() in a goroutine ends the process with its status; the others are not waited for.
TEST_F(RunDeath, ExitInAGoroutine) {
  EXPECT_EXIT(gort::run([] {
                gort::go([] { park_for_ever(); });
                std::exit(9);
              }),
              ExitedWithCode(9), "");
}

TEST_F(RunDeath, AnExceptionThatLeavesAGoroutineEndsTheProgram) {
  EXPECT_EXIT(gort::run([] {
                gort::go([] { throw std::runtime_error("nobody catches me"); });
                park_for_ever();
              }),
              ::testing::KilledBySignal(SIGABRT), "nobody catches me");
}

// A goroutine that computes past the end of its run and ends then is gone, and counted so.
TEST_P(Run, WhoEndsJustAfterItsRunIsNotCountedForEver) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 1) GTEST_SKIP() << "nothing runs beside the main goroutine";
  std::atomic<int> state{0};
  gort::run({.grace = std::chrono::nanoseconds(0), .quiet = true}, [&state] {
    gort::go([&state] {
      state = 1;
      const std::int64_t end = gort::test::now_ns() + 10'000'000;
      while (gort::test::now_ns() < end) {
      }
      state = 2;
    });
    while (state == 0) gort::this_goroutine::yield();  // on a busy machine it may be over already
  });
  EXPECT_TRUE(gort::test::yield_until([&state] { return state == 2; }));
  EXPECT_TRUE(gort::test::yield_until([] { return gort::num_goroutine() == 0; })) << gort::num_goroutine();
}

}  // namespace
