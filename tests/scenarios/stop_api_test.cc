// What include/gort/world.h and GORT_DEBUG promise about stops.
// test: timeout=120
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/world.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "tests/support/runtime_fixture.h"
#include "world/pauses.h"
#include "world/world.h"

using ::testing::ExitedWithCode;

namespace gort::test {
namespace {

using namespace std::chrono_literals;

class StopApi : public RuntimeTestAtProcs {};
GORT_TEST_AT_PROCS(StopApi);

TEST_P(StopApi, NestedIsFatal) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          auto outer = gort::stop_world("outer", 10s);
          auto inner = gort::stop_world("inner", 10s);
        });
      },
      ExitedWithCode(2), "^fatal error: stop_world: this goroutine has stopped the world already\n");
}

TEST_P(StopApi, NestedOnAForeignThreadIsFatal) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        auto outer = gort::stop_world("outer", 10s);
        auto inner = gort::stop_world("inner", 10s);
      },
      ExitedWithCode(2), "stop_world: this goroutine has stopped the world already");
}

TEST_P(StopApi, AfterTheRestartItIsNotNested) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    auto a = gort::stop_world("a", 10s);
    ASSERT_TRUE(a);
    a.restart();
    EXPECT_FALSE(a);
    auto b = gort::stop_world("b", 10s);
    EXPECT_TRUE(b);
    b.restart();
    b.restart();  // does nothing
    auto c = gort::stop_world("c", 10s);
    auto moved = std::move(c);
    EXPECT_TRUE(moved);
  });
}

TEST_P(StopApi, FromForeignThreads) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> over{false};
    std::atomic<int> inside{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(gort::spawn([&] {
        while (!over) {
          ++inside;
          --inside;
          gort::this_goroutine::yield();
        }
      }));
    }
    std::thread outside([&] {
      for (int i = 0; i < 200; ++i) {
        auto w = gort::stop_world("outside", 10s);
        EXPECT_TRUE(w);
        EXPECT_TRUE(!w || inside.load() == 0);
        std::string allocates(100, 'x');
      }
      over = true;
    });
    for (auto& t : tasks) t.join();
    gort::blocking([&] { outside.join(); });
  });
}

// Who holds a stop waits for nobody: a call that would change its goroutine for another one does nothing.
TEST_P(StopApi, YieldAndPollUnderAStopRunNobody) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> over{false};
    std::atomic<long> steps{0};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 2; ++i) {
      tasks.push_back(gort::spawn([&] {
        while (!over) {
          ++steps;
          gort::this_goroutine::yield();
        }
      }));
    }
    {
      auto w = gort::stop_world("test", 10s);
      ASSERT_TRUE(w);
      const long before = steps;
      for (int i = 0; i < 10; ++i) {
        gort::poll();
        gort::this_goroutine::yield();
      }
      EXPECT_EQ(steps.load(), before);
    }
    over = true;
    for (auto& t : tasks) t.join();
  });
}

// Goroutines may be made under a stop; they run after it.
TEST_P(StopApi, GoroutinesMadeUnderAStopRunAfterIt) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    for (int i = 0; i < 50; ++i) {
      std::atomic<int> ran{0};
      std::vector<gort::task<void>> tasks;
      {
        auto w = gort::stop_world("test", 10s);
        ASSERT_TRUE(w);
        for (int k = 0; k < 10; ++k) tasks.push_back(gort::spawn([&] { ++ran; }));
        EXPECT_EQ(ran, 0);
      }
      for (auto& t : tasks) t.join();
      EXPECT_EQ(ran, 10);
    }
  });
}

// A limit that was over long ago is over, and not none.
TEST_P(StopApi, ALimitInThePastIsOver) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> runs{false}, over{false}, waited_for{false};
    gort::task<void> loop = gort::spawn([&] {
      runs = true;
      const std::int64_t until = now_ns() + 10'000'000'000;  // an end of its own, should the stop wait for it
      while (!over && !waited_for) {
        poll_for_tsan();
        if (now_ns() >= until) waited_for = true;
      }
    });
    ASSERT_TRUE(yield_until([&] { return runs.load(); }));
    for (const auto limit : {std::chrono::nanoseconds::min(), std::chrono::nanoseconds(-now_ns() - 1)}) {
      static_cast<void>(gort::stop_world("late", limit));  // may succeed: between two looks of the loop
    }
    over = true;
    loop.join();
    EXPECT_FALSE(waited_for);
  });
}

// Others' stops count: who has a deadline of its own does not wait until another one restarts the world.
/// What a stop with a limit of 10 ms says while another user holds the world for `holds`: -1 if it still waits then.
int beside_another_stop(std::chrono::nanoseconds holds) {
  gort::run([] {});
  auto w = gort::stop_world("holds it", 10s);
  EXPECT_TRUE(w);
  std::atomic<int> answer{-1};
  std::thread other([&] { answer = static_cast<bool>(gort::stop_world("waits", 10ms)) ? 1 : 0; });
  const std::int64_t until = now_ns() + holds.count();
  while (answer < 0 && now_ns() < until) ::usleep(1'000);
  const int meanwhile = answer;
  w.restart();
  other.join();
  return meanwhile;
}

TEST_P(StopApi, TheTimeOfOthersStopsCounts) {
  GORT_TEST_START(GetParam());
  EXPECT_EQ(beside_another_stop(15s), 0) << "it waits for the restart, or has stopped what was stopped";
  auto again = gort::stop_world("again", 10s);
  EXPECT_TRUE(again);
}

#if defined(GORT_TESTING)
TEST_P(StopApi, WithoutTheTurnsLimitOthersStopsDoNotCount) {
  GORT_TEST_START(GetParam());
  rt::set_fault(rt::Fault::stop_turns, true);
  EXPECT_EQ(beside_another_stop(1s), -1);
  rt::set_fault(rt::Fault::stop_turns, false);
}
#endif

// A run that ends while one of its goroutines is about to stop the world does not take the right to do that with it.
/// Whether the next run can change the number of Ps `within`. If not, nobody can be joined: the process has to end.
bool next_run_stops(int procs, std::chrono::nanoseconds within) {
  // It outlives us if it waits for ever.
  auto* const changed = new std::atomic<bool>{false};
  std::thread next([changed, procs] {
    gort::run({.grace = 1ms, .quiet = true}, [&] { gort::max_procs(procs + 1); });
    *changed = true;
  });
  const std::int64_t until = now_ns() + within.count();
  while (!*changed && now_ns() < until) ::usleep(1'000);
  if (!*changed) {
    next.detach();
    return false;
  }
  delete changed;
  next.join();
  gort::run([&] { gort::max_procs(procs); });
  return true;
}

TEST_P(StopApi, ALeftOverStopperDoesNotKeepTheNextRunFromStopping) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  std::atomic<bool> came_back{false};
  const std::uint64_t found = rt::sched.found_asleep;
  gort::run({.grace = 1ms, .quiet = true}, [&] {
    // It sleeps in the kernel without a P, in the middle of user code: a stop at calls cannot begin.
    gort::go([&] {
      char c;
      EXPECT_EQ(::read(fds[0], &c, 1), 1);
    });
    for (int i = 1; i < GetParam(); ++i) gort::go([] { for (;;) gort::this_goroutine::yield(); });
    ASSERT_TRUE(yield_until([&] { return rt::sched.found_asleep != found; }));
    gort::go([&] {
      auto w = gort::stop_world("left over", 3600s);
      came_back = true;
    });
    // No call from here on: the stop begins after all if the reader has got a P again, and would keep us in it.
    while (rt::worldsema.load() != 0) {
    }
  });
  if (!next_run_stops(GetParam(), 20s)) {
    ADD_FAILURE() << "worldsema has been left behind";
    std::_Exit(1);
  }
  EXPECT_FALSE(came_back) << "it has met what comes after its run";
  ASSERT_EQ(::write(fds[1], "x", 1), 1);
}

#if defined(GORT_TESTING)
/// Ends a run while a goroutine of it, which has just been given worldsema and gcsema, yields again and again.
void leave_over_who_has_the_rights(int procs) {
  static std::atomic<bool> has_them, run_is_over;
  has_them = run_is_over = false;
  rt::set_test_hook(
      rt::TestPoint::world_acquired,
      [](void*) noexcept {
        if (has_them.exchange(true)) return;
        while (!run_is_over) rt::yield();
      },
      nullptr);
  gort::run({.grace = 1ms, .quiet = true}, [&] {
    gort::go([procs] { gort::max_procs(procs + 2); });
    EXPECT_TRUE(yield_until([] { return has_them.load(); }));
  });
  run_is_over = true;
}

TEST_P(StopApi, WhoIsLeftOverGivesTheRightsBackFirst) {
  GORT_TEST_START(GetParam());
  leave_over_who_has_the_rights(GetParam());
  if (!next_run_stops(GetParam(), 20s)) {
    ADD_FAILURE() << "worldsema has been left behind";
    std::_Exit(1);
  }
  rt::set_test_hook(rt::TestPoint::world_acquired, nullptr, nullptr);
}

TEST_P(StopApi, WithoutThatTheNextRunCannotStop) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        rt::set_fault(rt::Fault::run_rights, true);
        leave_over_who_has_the_rights(GetParam());
        std::_Exit(next_run_stops(GetParam(), 2s) ? 0 : 3);
      },
      ExitedWithCode(3), "");
}
#endif

/// Runs that end just when the P of a goroutine that computes has been taken away; in how many that one came to its end.
/// Those that did not have a thread that sleeps, for good.
int ends_after_a_shrink(int runs) {
  int ended = 0;
  for (int i = 0; i < runs; ++i) {
    struct state {
      std::atomic<bool> begun = false, ended = false;
    };
    // Who is left behind may come that far yet; or it is on its stack alone, where nobody looks for what is still used.
    static auto* const all = new std::vector<std::shared_ptr<state>>;
    const auto s = all->emplace_back(std::make_shared<state>());
    gort::run({.quiet = true}, [s] {
      gort::max_procs(2);
      gort::go([s] {
        s->begun = true;
        while (!gort::this_goroutine::cancelled()) gort::test::poll_for_tsan();
        s->ended = true;
      });
      while (!s->begun) gort::this_goroutine::yield();
      gort::max_procs(1);
    });
    ended += s->ended;
  }
  return ended;
}

// Its thread has not noticed yet, so it is neither queued nor on a P: the end of the run waits for it all the same.
TEST_P(StopApi, TheEndWaitsForWhoLosesItsP) {
  GORT_TEST_START(GetParam());
  EXPECT_EQ(ends_after_a_shrink(200), 200);
}

TEST_P(StopApi, WithoutThatItIsLeftBehind) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  rt::set_fault(rt::Fault::run_retired, true);
  int left = 0;
  for (int i = 0; i < 5000 && left == 0; ++i) left += 1 - ends_after_a_shrink(1);
  rt::set_fault(rt::Fault::run_retired, false);
  EXPECT_GT(left, 0);
}

// Nobody else can restart it, and whoever waited next would be named as the culprit.
TEST_P(StopApi, AGoroutineThatEndsWithTheWorldStoppedIsFatal) {
  EXPECT_EXIT(
      {
        gort::start({.max_procs = GetParam()});
        gort::run([] {
          gort::go({.name = "culprit"}, [] { new gort::stopped_world(gort::stop_world("for good", 10s)); });
          for (int i = 0; i < 1000; ++i) gort::this_goroutine::yield();
          gort::this_goroutine::sleep_for(1ms);
        });
      },
      ExitedWithCode(2), "^fatal error: a goroutine that has stopped the world ends\n");
}

// Inside gort::blocking a call keeps the goroutine on its thread: as long as the call lasts.
TEST_P(StopApi, AStopMadeInsideBlockingDoesNotLeaveItsGoroutineLocked) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::optional<gort::stopped_world> w;
    gort::blocking([&] { w.emplace(gort::stop_world("inside", 10s)); });
    ASSERT_TRUE(*w);
    EXPECT_EQ(rt::current_g()->locked_m, nullptr);
    w->restart();
    EXPECT_EQ(rt::current_g()->locked_m, nullptr);
    gort::this_goroutine::yield();
  });
}

// ---- GORT_DEBUG ------------------------------------------------------------------------------------

/// In a process of its own: signals off. A loop without a call holds a stop up until it makes one.
[[noreturn]] void without_signals(bool polls) {
  ::setenv("GORT_DEBUG", "asyncpreemptoff=1", 1);
  gort::start({.max_procs = 2});
  gort::run([&] {
    std::atomic<bool> runs{false}, over{false};
    gort::task<void> loop = gort::spawn([&] {
      runs = true;
      const std::int64_t until = now_ns() + 200'000'000;
      while (now_ns() < until) {
        if (polls) gort::poll();
      }
      while (!over) gort::this_goroutine::yield();
    });
    yield_until([&] { return runs.load(); });
    const std::int64_t begin = now_ns();
    {
      rt::RuntimeEntry entry;
      rt::start_the_world(rt::stop_the_world(rt::StopReason::test));
    }
    const std::int64_t took = now_ns() - begin;
    over = true;
    loop.join();
    const bool as_expected = polls ? took < 150'000'000 : took > 50'000'000;
    if (!as_expected) std::fprintf(stderr, "the stop took %ld us\n", static_cast<long>(took / 1000));
    std::_Exit(as_expected ? 0 : 1);
  });
  std::_Exit(3);
}

class StopSettings : public RuntimeTest {
 protected:
  void TearDown() override {}  // each case's runtime lives and dies in a child
};

TEST_F(StopSettings, WithoutSignalsAStopWaitsForACall) {
  EXPECT_EXIT(without_signals(false), ExitedWithCode(0), "");
}
TEST_F(StopSettings, WithoutSignalsPollsAreEnough) { EXPECT_EXIT(without_signals(true), ExitedWithCode(0), ""); }

TEST_F(StopSettings, BadValuesAreNamed) {
  const struct {
    const char* value;
    const char* says;
  } cases[] = {
      {"asyncpreemptoff=2", "^gort: GORT_DEBUG=asyncpreemptoff=2: asyncpreemptoff wants 0 or 1\n"},
      {"asyncpreemptoff=", "asyncpreemptoff wants 0 or 1"},
      {"asyncpreemptoff=yes", "asyncpreemptoff wants 0 or 1"},
      {"asyncpreemptoff", "no setting 'asyncpreemptoff'"},
      {"asyncpreempt=1", "no setting 'asyncpreempt=1'; known: .*asyncpreemptoff=0\\|1"},
      {"slowstop=0", "slowstop wants milliseconds, 1 or more"},
      {"slowstop=-5", "slowstop wants milliseconds"},
      {"schedtrace=1000,slowstop=x", "slowstop wants milliseconds"},
  };
  for (const auto& c : cases) {
    EXPECT_EXIT(
        {
          ::setenv("GORT_DEBUG", c.value, 1);
          gort::run([] {});
        },
        ExitedWithCode(2), c.says)
        << c.value;
  }
}

}  // namespace
}  // namespace gort::test
