// Contexts of tasks, what the end of a run cancels, and misuse.
// test: labels=smoke
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "sync/test_points.h"
#include "tests/scenarios/context.h"

namespace {

using namespace gort::test;
using gort::cancel_reason;

class ContextTasks : public ContextTest {};
GORT_TEST_AT_PROCS(ContextTasks);
class ContextDeath : public RuntimeTest {};

// ---- tasks ----------------------------------------------------------------------------------

// Each P keeps some contexts. More than those, made on one P, let go of by a thread without one, and the other way round:
// the fixture counts that none is lost, none is counted twice.
TEST_P(ContextTasks, MadeHereLetGoElsewhere) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    constexpr int kMany = 3000;  // kCached of sync/context.cc and more
    for (int round = 0; round < 3; ++round) {
      std::vector<gort::task<void>> tasks;
      const auto make = [&] {
        for (int i = 0; i < kMany; ++i) tasks.push_back(gort::spawn([] {}));
      };
      const auto let_go = [&] { tasks.clear(); };
      if (round % 2 == 0) {
        make();
        gort::blocking([&] { std::thread(let_go).join(); });
      } else {
        gort::blocking([&] { std::thread(make).join(); });
        let_go();
      }
    }
  });
}

TEST_P(ContextTasks, ATasksDestructorCancelsAndJoins) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> unwound{false};
    {
      auto t = gort::spawn([&] {
        struct marks {
          std::atomic<bool>* p;
          ~marks() { *p = true; }
        } m{&unwound};
        gort::event never;
        never.wait();
      });
    }
    EXPECT_TRUE(unwound);
    std::atomic<bool> grandchild{false};
    {
      auto t = gort::spawn([&] {
        gort::spawn([&] {
          wait_for_ever();
          grandchild = true;
        }).join();
      });
      for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
    }
    EXPECT_TRUE(grandchild);
  });
}

TEST_P(ContextTasks, AJoinIsCancelledAndTheTaskStaysJoinable) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    gort::event go_on;
    std::optional<gort::task<int>> t;
    {
      gort::shield _;  // so that the joiner's end does not cancel it
      t = gort::spawn([&] {
        go_on.wait();
        return 7;
      });
    }
    auto joiner = gort::spawn([&] {
      EXPECT_TRUE(cancelled_by([&] { t->get(); }));
      EXPECT_TRUE(t->valid());
      EXPECT_TRUE(cancelled_by([&] { t->wait(); }));
    });
    for (int i = 0; i < 10; ++i) gort::this_goroutine::yield();
    joiner.cancel();
    joiner.join();
    go_on.set();
    EXPECT_EQ(t->get(), 7);
  });
}

TEST_P(ContextTasks, CancelledJoinsRaceWithTheEnd) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    int cancelled = 0;
    for (int i = 0; i < 3000; ++i) {
      gort::event go_on;
      gort::shield _;
      auto t = gort::spawn([&] {
        gort::shield in;
        go_on.wait();
        return i;
      });
      auto joiner = gort::spawn([&] { t.wait(); });
      gort::go([&] { go_on.set(); });
      if (i % 3 == 0) gort::this_goroutine::yield();
      joiner.cancel();
      if (cancelled_by([&] { joiner.join(); })) ++cancelled;
      ASSERT_EQ(t.get(), i);
    }
    EXPECT_GT(cancelled, 0);
  });
}

// Cancel against park: each round a waiter on its way to sleep, and a canceller.
TEST_P(ContextTasks, CancelRacesWithPark) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    for (int i = 0; i < 3000; ++i) {
      gort::event e;
      auto t = gort::spawn([&] {
        for (;;) {
          e.wait();
          e.reset();
        }
      });
      gort::go([i] {
        if (i % 2 == 0) gort::this_goroutine::yield();
      });
      e.set();
      if (i % 3 != 0) gort::this_goroutine::yield();
      t.cancel();
      ASSERT_TRUE(cancelled_by([&] { t.join(); }));
    }
  });
}

#if defined(GORT_TESTING)
std::atomic<bool> gave_up{false};

/// The end of a task has seen who waits for it in time, and loses its processor until that one waits without a time.
void linger(gort::rt::WaitState*) noexcept {
  while (!gave_up) {
  }
  const std::int64_t until = now_ns() + 20'000'000;
  while (now_ns() < until) {
  }
}

TEST_P(ContextTasks, AnEndThatHasSeenATimedWaitMeetsAnotherOne) {
  if (GetParam() < 2) GTEST_SKIP() << "one computes while the other waits";
  GORT_TEST_START(GetParam());
  using gort::rt::WaitPoint;
  auto& hook = gort::rt::wait_hooks[static_cast<int>(WaitPoint::task_seen)];
  gort::run([&] {
    gave_up = false;
    gort::event go_on;
    auto t = gort::spawn([&] {
      go_on.wait();
      return 7;
    });
    // It ends while we wait: 1 ms is a guess, and if it is wrong, nothing is shown.
    auto end = gort::spawn([&] {
      gort::this_goroutine::sleep_for(1ms);
      hook.store(linger, gort::os::memory_order_release);
      go_on.set();
    });
    EXPECT_FALSE(t.wait_for(100ms));
    gave_up = true;
    t.wait();
    hook.store(nullptr, gort::os::memory_order_release);
    t.wait();
    EXPECT_EQ(t.get(), 7);
    end.join();
  });
}
#endif

#if defined(GORT_TESTING)
std::atomic<bool> at_the_door{false};
std::atomic<bool> end_came{false};
std::atomic<bool> returned{false};
std::atomic<bool> overtaken{false};

/// Who waits in time has said so, and does not sleep yet when the end comes.
void meet_the_end(gort::rt::WaitState*) noexcept {
  at_the_door = true;
  const std::int64_t give_up = now_ns() + 30'000'000'000;
  while (!end_came && now_ns() < give_up) {
  }
}

/// The end of a task has ended that wait, and loses its processor before it is done with the task.
void last_look(gort::rt::WaitState*) noexcept {
  end_came = true;
  const std::int64_t until = now_ns() + 300'000'000;
  while (!returned && now_ns() < until) {
  }
  overtaken = returned.load();
}

/// Whether a timed wait that is ended before it sleeps comes back before the end of its task is done with the task.
bool wait_overtakes_the_end() {
  using gort::rt::WaitPoint;
  auto& armed = gort::rt::wait_hooks[static_cast<int>(WaitPoint::deadline_armed)];
  auto& won = gort::rt::wait_hooks[static_cast<int>(WaitPoint::task_won)];
  gort::run([&] {
    at_the_door = end_came = returned = overtaken = false;
    std::atomic<bool> runs{false};
    // On the heap: where the wait is too early, the end still has a word of it to write.
    auto t = std::make_unique<gort::task<void>>(gort::spawn([&] {
      runs = true;
      while (!at_the_door) {
      }
    }));
    while (!runs) gort::this_goroutine::yield();
    won.store(last_look, gort::os::memory_order_release);
    armed.store(meet_the_end, gort::os::memory_order_release);
    EXPECT_TRUE(t->wait_for(60s));
    returned = true;
    armed.store(nullptr, gort::os::memory_order_release);
    won.store(nullptr, gort::os::memory_order_release);
    EXPECT_TRUE(end_came);
    while (gort::num_goroutine() > 1) gort::this_goroutine::yield();
  });
  return overtaken;
}

// Who joins frees the task: not before its end has written its last word.
TEST_P(ContextTasks, AWaitThatIsEndedBeforeItSleepsLastsUntilTheEndIsDoneWithTheTask) {
  if (GetParam() < 2) GTEST_SKIP() << "one computes while the other waits";
  GORT_TEST_START(GetParam());
  EXPECT_FALSE(wait_overtakes_the_end());
}

TEST_P(ContextTasks, WhoDoesNotAwaitTheEndOvertakesIt) {
  if (GetParam() < 2) GTEST_SKIP() << "one computes while the other waits";
  GORT_TEST_START(GetParam());
  gort::rt::set_fault(gort::rt::Fault::task_done, true);
  EXPECT_TRUE(wait_overtakes_the_end());
  gort::rt::set_fault(gort::rt::Fault::task_done, false);
}
#endif

#if defined(GORT_TESTING)
std::atomic<bool> came_back{false};

/// The cancellation has woken who waits for the upper context, and gets no further before that one has come back.
void until_it_is_back(gort::rt::WaitState*) noexcept {
  const std::int64_t give_up = now_ns() + 30'000'000'000;
  while (!came_back && now_ns() < give_up) {
  }
}

// Who waits for a context that it lives below is woken before its own one is cancelled.
TEST_P(ContextTasks, WaitingForAContextAboveOnesOwn) {
  if (GetParam() < 2) GTEST_SKIP() << "one computes while the other waits";
  GORT_TEST_START(GetParam());
  using gort::rt::WaitPoint;
  auto& hook = gort::rt::wait_hooks[static_cast<int>(WaitPoint::context_told)];
  gort::run([&] {
    for (int round = 0; round < 20; ++round) {
      came_back = false;
      std::optional<std::error_code> ended;
      gort::event begins;
      {
        gort::with_cancel above;
        auto t = gort::spawn([&, shown = above.context()] {
          gort::this_goroutine::check_cancelled();
          begins.set();
          ended = cancelled_by([&] { shown.wait(); });
          came_back = true;
        });
        begins.wait();
        for (int i = 0; i < round; ++i) gort::this_goroutine::yield();  // it waits by now, or comes late
        hook.store(until_it_is_back, gort::os::memory_order_release);
        above.cancel();
        hook.store(nullptr, gort::os::memory_order_release);
        gort::shield _;
        t.join();
      }
      EXPECT_EQ(ended, cancel_reason::cancelled);
    }
  });
}
#endif

// ---- the end of the run ---------------------------------------------------------------------

TEST_P(ContextTasks, TheEndOfTheRunUnwindsEverybody) {
  GORT_TEST_START(GetParam());
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> unwound{0};
    std::atomic<int> causes{0};
    struct counts {
      std::atomic<int>* n;
      ~counts() { ++*n; }
    };
    gort::event never;
    std::atomic<int> up{0};
    gort::run([&] {
      for (int i = 0; i < 50; ++i) {
        gort::go([&] {
          counts c{&unwound};
          ++up;
          try {
            never.wait();
          } catch (const gort::cancelled& e) {
            if (e.cause() == cancel_reason::run_ended) ++causes;
            throw;
          }
        });
        gort::go([&] {
          counts c{&unwound};
          ++up;
          gort::with_cancel in;
          never.wait();
        });
        gort::go([&] {
          counts c{&unwound};
          ++up;
          gort::spawn([&] { never.wait(); }).join();
        });
        gort::go([&] {
          counts c{&unwound};
          ++up;
          gort::scope s;
          s.go([&] { never.wait(); });
          s.join();
        });
      }
      if (round % 2 == 0) {
        ASSERT_TRUE(yield_until([&] { return up == 200; }));
      }
    });
    EXPECT_EQ(unwound, up);
    EXPECT_EQ(gort::num_goroutine(), 0);
  }
}

TEST_P(ContextTasks, TheEndOfARunReachesADetachedTask) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> unwound{false};
  gort::run([&] {
    gort::event started;
    gort::spawn([&] {
      struct marks {
        std::atomic<bool>* p;
        ~marks() { *p = true; }
      } m{&unwound};
      started.set();
      gort::event never;
      never.wait();
    }).detach();
    started.wait();
  });
  EXPECT_TRUE(unwound);
}

TEST_P(ContextTasks, WhoIsShieldedAtTheEndOfTheRunGoesOn) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> said{false};
  gort::run([&] {
    gort::event started;
    gort::go([&] {
      started.set();
      wait_for_ever();
      gort::shield _;
      gort::event e;
      gort::go([&] { e.set(); });
      e.wait();
      said = true;
    });
    started.wait();
  });
  EXPECT_TRUE(said);
}

TEST_P(ContextTasks, TheNextRunIsNotCancelled) {
  GORT_TEST_START(GetParam());
  for (int i = 0; i < 100; ++i) {
    gort::run([] {
      gort::go([] { wait_for_ever(); });
      EXPECT_FALSE(gort::this_goroutine::context().cancelled());
      gort::spawn([] { EXPECT_FALSE(gort::this_goroutine::cancelled()); }).join();
    });
  }
}

TEST_P(ContextTasks, RunsAfterEachOtherOnSeveralThreads) {
  GORT_TEST_START(GetParam());
  std::vector<std::thread> threads;
  for (int k = 0; k < 3; ++k) {
    threads.emplace_back([] {
      for (int i = 0; i < 200; ++i) {
        gort::run([] {
          gort::go([] { wait_for_ever(); });
          EXPECT_FALSE(gort::this_goroutine::context().cancelled());
          EXPECT_EQ(gort::spawn([] { return 1; }).get(), 1);
        });
      }
    });
  }
  for (auto& t : threads) t.join();
}

// Contexts below a run's background do not keep that: handles may outlive it.
TEST_P(ContextTasks, AContextThatOutlivesItsRunIsCancelledAndHarmsNoOther) {
  GORT_TEST_START(GetParam());
  gort::context looked_at, not_looked_at;
  const auto a_tasks = [] { return gort::spawn([] { return gort::this_goroutine::context(); }).get(); };
  gort::run([&] {
    looked_at = a_tasks();
    not_looked_at = a_tasks();
  });
  EXPECT_EQ(looked_at.cause(), cancel_reason::run_ended);
  constexpr int kMany = 64;  // some beside it, wherever it hangs
  std::atomic<int> unwound{0};
  gort::run({.grace = 60s}, [&] {
    gort::wait_group begun;
    begun.add(kMany);
    for (int i = 0; i < kMany; ++i) {
      gort::spawn([&] {
        gort::this_goroutine::check_cancelled();
        begun.done();
        if (wait_for_ever() == cancel_reason::run_ended) ++unwound;
      }).detach();
    }
    begun.wait();
    looked_at = {};
    static_cast<void>(not_looked_at.cancelled());
    not_looked_at = {};
  });
  EXPECT_EQ(unwound, kMany);
}

TEST_P(ContextTasks, AGraceOfAnyLength) {
  GORT_TEST_START(GetParam());
  std::atomic<bool> unwound{false};
  gort::run({.grace = std::chrono::nanoseconds::max()}, [&] {
    gort::event begun;
    gort::go([&] {
      begun.set();
      wait_for_ever();
      gort::shield _;
      gort::this_goroutine::sleep_for(5ms);
      unwound = true;
    });
    begun.wait();
  });
  EXPECT_TRUE(unwound);
}

// ---- misuse ---------------------------------------------------------------------------------

TEST_F(ContextDeath, InstallersOutOfOrder) {
  EXPECT_EXIT(gort::run([] {
                auto outer = std::make_unique<gort::with_cancel>();
                auto inner = std::make_unique<gort::with_cancel>();
                outer.reset();
              }),
              ::testing::ExitedWithCode(2), "fatal error: gort: a with_.* or shield is destroyed out of order");
  EXPECT_EXIT(gort::run([] {
                auto mine = std::make_unique<gort::shield>();
                gort::spawn([&] { mine.reset(); }).join();
              }),
              ::testing::ExitedWithCode(2), "by another goroutine");
}

TEST_F(ContextDeath, TwoWaitForOneTask) {
  EXPECT_EXIT(gort::run([] {
                gort::event never;
                auto t = gort::spawn([&] { never.wait(); });
                auto a = gort::spawn([&] { t.wait(); });
                gort::this_goroutine::yield();
                gort::this_goroutine::yield();
                t.wait();
              }),
              ::testing::ExitedWithCode(2), "fatal error: gort::task: two wait for one task");
}

TEST_F(ContextDeath, AnExceptionThatLeavesACallbackEndsTheProgram) {
  EXPECT_EXIT(gort::run([] {
                gort::with_cancel c;
                auto cb = c.context().after_func([] { throw std::runtime_error("nobody catches me"); });
                c.cancel();
                gort::shield _;
                gort::event never;
                never.wait();
              }),
              ::testing::KilledBySignal(SIGABRT), "nobody catches me");
}

}  // namespace
