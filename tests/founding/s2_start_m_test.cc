// S2: start_m was preempted between taking a P and giving it to an M. The world waited for that P, and who had it for the
// world (golang/go#42237). Here nothing in start_m is a stop point.
//
// test: timeout=300
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/fault.h"
#include "gort/gort.h"
#include "sched/entry.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "sched/stop_point.h"
#include "tests/founding/founding.h"
#include "tests/support/runtime_fixture.h"

using namespace gort::test;
namespace rt = gort::rt;

namespace {

constexpr char kLostP[] =
    "P [0-9]+: idle, on no list: in nobody's hand. It was last in that of this thread, M [0-9]+, thread [0-9]+, "
    "goroutine [0-9]+ \"starter\"";

std::atomic<bool> armed, in_limbo;

/// In start_m of the starter, a P in its hand: until a stop is pending.
void wait_for_stop(void*) noexcept {
  if (!armed.exchange(false)) return;
  in_limbo = true;
  while (rt::sched.stopping.load() == rt::kNotStopping) gort::os::cpu_relax(8);
}

/// Scenario 14. `go` finds an idle P and takes it to an M; the stop comes in between.
void limbo(int) {
  start_with_procs(2);
  armed = in_limbo = false;
  rt::set_test_hook(rt::TestPoint::start_m_has_p, wait_for_stop, nullptr);
  std::atomic<bool> done{false};
  std::thread stopper([&] {
    wait_for([] { return in_limbo.load(); });
    require(stop_once() < 20'000'000'000, "the stop takes less than twenty seconds");
    done = true;
  });
  gort::run([&] {
    gort::spawn({.name = "starter"}, [&] {
      wait_for([] { return rt::sched.npidle.load() == 1; });
      armed = true;
      while (!in_limbo) gort::spawn({.name = "starter"}, [] {}).join();
      wait_for([&] { return done.load(); });
    }).join();
  });
  stopper.join();
  rt::set_test_hook(rt::TestPoint::start_m_has_p, nullptr, nullptr);
}

/// Goroutines come and go, make calls, yield, so that start_m is busy; the world stops all the time.
void storm(int) {
  start_with_procs(3);
  gort::run([] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> tasks;
    for (int i = 0; i < 6; ++i) {
      tasks.push_back(gort::spawn([&, i] {
        while (!done.load(std::memory_order_relaxed)) {
          if (i % 3 == 0) gort::spawn([] {}).join();
          if (i % 3 == 1) gort::blocking([] {});
          gort::this_goroutine::yield();
        }
      }));
    }
    for (int i = 0; i < 100; ++i) {
      require(stop_once() < 20'000'000'000, "a stop takes less than twenty seconds");
      gort::this_goroutine::yield();
    }
    done = true;
    for (auto& t : tasks) t.join();
  });
}

TEST(FoundingS2, ShownWithTheMeasureOff) { expect_shown("s2", limbo, {kLostP}); }
TEST(FoundingS2, DeterministicRecipe) { expect_passes("s2", "deterministic", limbo); }
TEST(FoundingS2, NaturalRecipe) { expect_passes("s2", "natural", storm); }

/// Scenario 16: start_m runs on goroutines' stacks while ended threads wait to be reaped; none stays.
void dead_threads(int) {
  rt::set_idle_thread_life_for_test(1'000'000);
  start_with_procs(4);
  gort::run([] {
    std::atomic<bool> done{false};
    std::vector<gort::task<void>> makers;
    for (int i = 0; i < 3; ++i) {
      makers.push_back(gort::spawn([&] {
        while (!done.load()) {
          gort::spawn([] {}).join();
          gort::blocking([] {});
        }
      }));
    }
    for (int i = 0; i < 300; ++i) {
      gort::spawn([] { gort::lock_os_thread(); }).join();  // ends locked, and its thread with it
      if (i % 10 == 0) stop_once();
    }
    done = true;
    for (auto& t : makers) t.join();
  });
  const auto ms = [] {
    rt::LockGuard guard(rt::sched.lock);
    return rt::sched.mcount;
  };
  wait_for([&] { return count_threads("gort-m") == ms(); });
  wait_for([&] { return ms() < 20; });  // three hundred have ended, a few are left
  const rt::PAccount a = rt::await_quiet(10'000'000'000);
  require(a.quiet(), "every P is idle in the end");
}

TEST(DeadThreads, AreAllReapedWhileStartMRuns) { expect_ends(dead_threads); }

}  // namespace
