// Stopping the world: whoever runs whatever, it stops, it goes on, and nothing is lost.
#include <atomic>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include "gort/world.h"
#include "sched/entry.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/start.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

namespace gort::test {
namespace {

class World : public RuntimeTestAtProcs {};

/// One stop and restart, with everybody seen to stand.
void stop_and_start(rt::StopReason reason = rt::StopReason::test) {
  rt::RuntimeEntry entry;
  rt::WorldHold w = rt::stop_the_world(reason);
  for (int i = 0; i < rt::sched.nprocs; ++i) {
    if (rt::p_at(i)->status.load() != rt::PStatus::stopped) std::abort();
  }
  rt::start_the_world(std::move(w));
}

TEST_P(World, AnIdleOneStopsAndGoesOn) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    // So many without a yield: none of them leaves anything behind on the M's own stack.
    for (int i = 0; i < 10'000; ++i) stop_and_start();
  });
}

TEST_P(World, ForeignThreadsStopItToo) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> done{false};
    gort::task<void> yields = gort::spawn([&] {
      while (!done.load()) gort::this_goroutine::yield();
    });
    std::thread t([&] {
      for (int i = 0; i < 300; ++i) stop_and_start();
      done = true;
    });
    yield_until([&] { return done.load(); });
    gort::blocking([&] { t.join(); });
    yields.join();
  });
}

TEST_P(World, YieldingAndBlockingGoroutinesStop) {
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(gort::spawn([&, i] {
        while (!done.load()) {
          if (i % 2 == 0) gort::this_goroutine::yield();
          else gort::blocking([] {});
        }
      }));
    }
    for (int i = 0; i < 500; ++i) {
      stop_and_start();
      gort::this_goroutine::yield();
    }
    done = true;
    for (auto& t : tasks) t.join();
  });
}

// Scenario 34.
TEST_P(World, EndlessLoopsStop) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 3; ++i) {
      tasks.push_back(gort::spawn([&] {
        while (!done.load(std::memory_order_relaxed)) {}
      }));
    }
    for (int i = 0; i < 200; ++i) stop_and_start();
    done = true;
    for (auto& t : tasks) t.join();
  });
}

TEST_P(World, LoopsInMallocStop) {
  GORT_TEST_NEEDS_SIGNALS();
  GORT_TEST_START(GetParam());
  gort::run([] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(gort::spawn([&] {
        while (!done.load(std::memory_order_relaxed)) {
          void* volatile p = std::malloc(100);
          std::free(p);
        }
      }));
    }
    for (int i = 0; i < 200; ++i) stop_and_start();
    done = true;
    for (auto& t : tasks) t.join();
  });
}

TEST_P(World, MaxProcsChangesUnderLoad) {
  GORT_TEST_START(GetParam());
  const int before = GetParam();
  gort::run([&] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 6; ++i) {
      tasks.push_back(gort::spawn([&, i] {
        while (!done.load(std::memory_order_relaxed)) {
          if (i % 3 == 0) gort::this_goroutine::yield();
          if (i % 3 == 1) gort::blocking([] {});
          poll_for_tsan();
        }
      }));
    }
    for (int i = 0; i < 200; ++i) {
      const int n = 1 + (i * 7 + 3) % 9;
      gort::max_procs(n);
      EXPECT_EQ(gort::num_procs(), n);
    }
    done = true;
    for (auto& t : tasks) t.join();
    gort::max_procs(before);
  });
}

TEST_P(World, ForEachPRunsOnceForEach) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(gort::spawn([&, i] {
        while (!done.load(std::memory_order_relaxed)) {
          if (i % 2 == 0) gort::this_goroutine::yield();
          poll_for_tsan();
        }
      }));
    }
    static std::atomic<int> ran[64];
    for (int i = 0; i < 200; ++i) {
      for (auto& r : ran) r = 0;
      {
        rt::RuntimeEntry entry;
        rt::WorldHold w = rt::world_acquire(rt::StopReason::for_each_p);
        rt::for_each_p(w, [](rt::P* p, void*) noexcept { ++ran[p->id]; }, nullptr);
        rt::world_release(std::move(w));
      }
      for (int p = 0; p < GetParam(); ++p) ASSERT_EQ(ran[p], 1);
    }
    done = true;
    for (auto& t : tasks) t.join();
  });
}

TEST_P(World, AUsersStopIsAtCalls) {
  GORT_TEST_START(GetParam());
  gort::run([&] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    std::atomic<long> inside{0};
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(gort::spawn([&] {
        while (!done.load(std::memory_order_relaxed)) {
          ++inside;
          for (int k = 0; k < 100; ++k) { void* volatile p = std::malloc(100); std::free(p); }
          --inside;
          gort::this_goroutine::yield();
        }
      }));
    }
    int stopped = 0;
    for (int i = 0; i < 100; ++i) {
      if (auto w = gort::stop_world("test", std::chrono::seconds(1))) {
        ++stopped;
        EXPECT_EQ(inside.load(), 0);
        std::string s(1000, 'x');
      }
    }
    EXPECT_GT(stopped, 90);
    done = true;
    for (auto& t : tasks) t.join();
  });
}

TEST_P(World, AUsersStopFailsInTimeBesideALoop) {
  GORT_TEST_START(GetParam());
  if (GetParam() == 1) GTEST_SKIP() << "the loop runs beside the stopper";
  gort::run([&] {
    std::atomic<bool> done{false}, runs{false};
    gort::task<void> t = gort::spawn([&] {
      runs = true;
      while (!done.load(std::memory_order_relaxed)) {}
    });
    yield_until([&] { return runs.load(); });
    EXPECT_FALSE(gort::stop_world("test", std::chrono::milliseconds(20)));
    done = true;
    t.join();
    EXPECT_TRUE(gort::stop_world("test", std::chrono::seconds(5)));
  });
}

TEST_P(World, ResizingBetweenRunsLosesNoWakeUp) {
  GORT_TEST_START(GetParam());
  // An M that is handed a P, to search for work, may find that the P is gone; others relied on its search.
  for (int i = 0; i < 5000; ++i) {
    gort::max_procs(1 + (i + 2) % 3);
    gort::run([] {
      for (int k = 0; k < 3; ++k) gort::go([] {});
    });
  }
  gort::max_procs(GetParam());
}

#if defined(GORT_TESTING)
// ---- the cgroup's limit ---------------------------------------------------------------------------

bool procs_become(int n) {
  return yield_until([n] { return rt::sched.nprocs.load() == n; }, 60'000);
}

void ask_for_recheck() {
  rt::RuntimeEntry entry;
  rt::sched.recheck_procs = true;
  rt::want_threads();
}

class WorldDeath : public RuntimeTest {};

// A child, since it starts without options.
TEST_F(WorldDeath, TheNumberOfPsFollowsTheMachineUntilSomebodySaysOne) {
  EXPECT_EXIT({
    ::unsetenv("GORT_MAXPROCS");
    gort::run([] {
      rt::set_limits_for_test(8, 3000);
      if (!procs_become(3)) std::_Exit(11);  // sysmon's own time
      rt::set_limits_for_test(8, 4500);
      ask_for_recheck();
      if (!procs_become(5)) std::_Exit(12);
      rt::set_limits_for_test(4, 4500);  // a cpuset
      ask_for_recheck();
      if (!procs_become(4)) std::_Exit(14);
      gort::max_procs(2);
      rt::set_limits_for_test(8, 7000);
      ask_for_recheck();
      while (rt::sched.recheck_procs.load()) gort::this_goroutine::yield();
      if (yield_until([] { return rt::sched.nprocs.load() != 2; }, 200)) std::_Exit(13);
      std::_Exit(0);
    });
  }, ::testing::ExitedWithCode(0), "");
}

int goroutines_that_set_procs() {
  int n = 0;
  rt::for_each_g([&n](const rt::G* g) {
    n += g->status.load() != rt::GStatus::dead && std::string_view(g->name) == "default procs" ? 1 : 0;
  });
  return n;
}

// Who has stopped the world may keep it for an hour, and the limits are looked at each three seconds.
TEST_F(WorldDeath, OneGoroutineAtATimeFollowsTheMachine) {
  EXPECT_EXIT({
    ::unsetenv("GORT_MAXPROCS");
    gort::run([] {
      rt::WorldHold world = [] {
        rt::RuntimeEntry entry;
        return rt::world_acquire(rt::StopReason::test);
      }();
      rt::set_limits_for_test(8, 7000);
      for (int i = 0; i < 5; ++i) {
        ask_for_recheck();
        while (rt::sched.recheck_procs.load()) gort::this_goroutine::yield();
      }
      if (!yield_until([] { return goroutines_that_set_procs() != 0; }, 60'000)) std::_Exit(11);
      if (goroutines_that_set_procs() != 1) std::_Exit(12);
      {
        rt::RuntimeEntry entry;
        rt::world_release(std::move(world));
      }
      if (!procs_become(7)) std::_Exit(13);
      rt::set_limits_for_test(8, 3000);
      ask_for_recheck();
      std::_Exit(procs_become(3) ? 0 : 14);
    });
  }, ::testing::ExitedWithCode(0), "");
}
#endif

GORT_TEST_AT_PROCS(World);

}  // namespace
}  // namespace gort::test
