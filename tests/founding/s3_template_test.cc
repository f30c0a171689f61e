// S3: the first lock_os_thread set the flag "there is a template thread" and then made it. Whoever was stopped between the
// two left requests for threads that nobody served, with Ps in them that nobody could stop (golang/go#38931). Here the
// template thread is there from the start, and a request carries no P.
//
// test: timeout=300
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/fault.h"
#include "base/sanitizer.h"
#include "gort/gort.h"
#include "sched/sched.h"
#include "sched/stop_point.h"
#include "tests/founding/founding.h"

using namespace gort::test;
namespace rt = gort::rt;

namespace {

constexpr char kLostP[] = "P [0-9]+: idle, on no list: in nobody's hand. It was last in that of this thread, M [0-9]+";

std::atomic<bool> creator_here, handed_off;

/// Looked at without sched.lock, which guards it.
GORT_NO_TSAN int locked_and_idle() noexcept { return __atomic_load_n(&rt::sched.nmidle_locked, __ATOMIC_ACQUIRE); }

bool second_has_yielded() noexcept {
  // With the measure off nobody runs what its P has queued: it sleeps, and that is all.
  return handed_off.load() || locked_and_idle() != 0;
}

/// In the first lock_os_thread: until another one has locked and yielded, and a stop is pending.
void wait_for_both(void*) noexcept {
  creator_here = true;
  while (!second_has_yielded() || rt::sched.stopping.load() == rt::kNotStopping) gort::os::cpu_relax(8);
}

/// Scenario 18. One attempt per process: there is one first lock.
void second_locker(int) {
  start_with_procs(2);
  rt::set_test_hook(rt::TestPoint::template_flag_set, wait_for_both, nullptr);
  std::atomic<bool> stopped{false};
  std::thread stopper([&] {
    wait_for([] { return creator_here.load() && second_has_yielded(); });
    require(stop_once() < 20'000'000'000, "the stop takes less than twenty seconds");
    stopped = true;
  });
  gort::run([&] {
    gort::task<void> creator = gort::spawn({.name = "creator"}, [] { gort::os_thread_lock lock; });
    gort::task<void> second = gort::spawn({.name = "second"}, [&] {
      wait_for([] { return creator_here.load(); });
      gort::os_thread_lock lock;
      gort::go([] { handed_off = true; });  // work on the P makes its hand-off start an M
      while (!stopped.load()) gort::this_goroutine::yield();
    });
    creator.join();
    second.join();
  });
  stopper.join();
}

/// As Go's test of this bug: two goroutines lock at the same instant, each with work on its P, while the world stops
/// all the time. Scenario 17.
void race(int) {
  start_with_procs(4);
  gort::run([] {
    std::atomic<bool> done{false};
    gort::task<void> stopper = gort::spawn([&] {
      while (!done.load()) {
        require(stop_once() < 20'000'000'000, "a stop takes less than twenty seconds");
        gort::this_goroutine::yield();
      }
    });
    std::atomic<int> there{0};
    const auto locker = [&] {
      ++there;
      while (there.load() != 2) gort::this_goroutine::yield();
      gort::go([] {});
      gort::os_thread_lock lock;
      gort::this_goroutine::yield();
    };
    gort::task<void> one = gort::spawn(locker), two = gort::spawn(locker);
    one.join();
    two.join();
    done = true;
    stopper.join();
  });
}

TEST(FoundingS3, ShownWithTheMeasureOff) { expect_shown("s3", second_locker, {kLostP}); }
TEST(FoundingS3, DeterministicRecipe) { expect_passes("s3", "deterministic", second_locker, 1); }
TEST(FoundingS3, NaturalRecipe) { expect_passes("s3", "natural", race, 1); }

}  // namespace
