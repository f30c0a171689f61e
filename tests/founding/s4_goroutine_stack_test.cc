// S4: GOMAXPROCS took worldsema on the scheduler's own stack, where there is no goroutine to park: with the semaphore
// in use, the thread slept with its P, or the scheduler parked itself (golang/go#8749).
//
// test: timeout=300
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "gort/gort.h"
#include "gort/world.h"
#include "os/os.h"
#include "sched/entry.h"
#include "sched/system_stack.h"
#include "sema/sema.h"
#include "tests/founding/founding.h"
#include "tests/support/runtime_fixture.h"
#include "world/world.h"

using namespace gort::test;
namespace rt = gort::rt;

namespace {

/// Somebody has worldsema and then stops the world, while another goroutine waits for it in max_procs.
void contended(int i) {
  start_with_procs(2 + i % 2);
  gort::run([] {
    std::atomic<bool> held{false};
    gort::task<void> changer = gort::spawn({.name = "changer"}, [&] {
      wait_for([&] { return held.load(); });
      const int before = gort::num_procs();
      gort::max_procs(before + 1);
      gort::max_procs(before);
    });
    gort::spawn({.name = "holder"}, [&] {
      rt::RuntimeEntry entry;
      rt::WorldHold w = rt::world_acquire(rt::StopReason::test);
      held = true;
      while (rt::sem_stats().waiters == 0) gort::os::thread_yield();
      rt::stop_with(w);
      rt::start_the_world(std::move(w));
    }).join();
    changer.join();
  });
}

/// Scenario 21, at `calls` per goroutine against a holder that keeps it for `hold_ns`.
void crowd(int goroutines, int calls, long hold_ns) {
  const int procs = gort::num_procs();
  std::atomic<int> left{goroutines};
  std::vector<gort::task<void>> tasks;
  for (int t = 0; t < goroutines; ++t) {
    tasks.push_back(gort::spawn([&, t] {
      for (int i = 0; i < calls; ++i) {
        if (t % 2 == 0) {
          const int before = gort::max_procs(procs + (i + t) % 3);
          require(before >= procs && before < procs + 3, "max_procs gives a value that somebody has set");
        } else {
          stop_once();
        }
      }
      --left;
    }));
  }
  while (left.load() != 0) {
    {
      rt::RuntimeEntry entry;
      rt::WorldHold w = rt::world_acquire(rt::StopReason::test);
      for (const long until = gort::os::nanotime() + hold_ns; gort::os::nanotime() < until;) gort::os::cpu_relax(50);
      rt::world_release(std::move(w));
    }
    // Then some rounds without it.
    for (int i = 0; i < 50; ++i) gort::this_goroutine::yield();
  }
  for (auto& t : tasks) t.join();
  gort::max_procs(procs);
}

void small_crowd(int) {
  start_with_procs(2);
  gort::run([] { crowd(8, 20, 200'000); });
}

constexpr char kSleepsWithItsP[] = "P [0-9]+: running, M [0-9]+, thread [0-9]+\n";
constexpr char kInTheSemaphore[] = "gort::.*sem_acquire";

TEST(FoundingS4, ShownWithTheMeasureOff) {
#if defined(GORT_TEST_TSAN)
  expect_shown("s4", contended, {kSleepsWithItsP});  // it keeps signals back, so who sleeps does not say where
#else
  expect_shown("s4", contended, {kSleepsWithItsP, kInTheSemaphore});
#endif
}
TEST(FoundingS4, DeterministicRecipe) { expect_passes("s4", "deterministic", contended); }
TEST(FoundingS4, NaturalRecipe) { expect_passes("s4", "natural", small_crowd); }

// Scenario 21.
TEST(Contended, EightChangeAndStopAThousandTimes) {
  expect_ends([](int) {
    start_with_procs(2);
    gort::run([] { crowd(8, 1000, 20'000'000); });
  });
}

// Scenario 20.
TEST(OnTheSchedulersStack, AcquiringIsAFatalErrorThatSaysSo) {
  const Child c = run_child([](int) {
    start_with_procs(2);
    gort::run([] {
      rt::RuntimeEntry entry;
      rt::on_system_stack([](void*) {
        rt::WorldHold w = rt::world_acquire(rt::StopReason::test);
        rt::world_release(std::move(w));
      }, nullptr);
    });
  }, 1, "", 10'000);
  EXPECT_NE(c.err.find("semacquire: not on a goroutine's stack"), std::string::npos) << c.err;
  EXPECT_EQ(c.status, 2) << c.err;
}

}  // namespace
