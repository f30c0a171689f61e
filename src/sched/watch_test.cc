// A timer that nobody watches, because it is farther away than sysmon's next look (watch.h).
// test: needs=GORT_TESTING
#include "sched/watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "base/fault.h"
#include "gort/timer.h"
#include "sched/entry.h"
#include "tests/support/runtime_fixture.h"

using namespace std::chrono_literals;

namespace gort::inline v0::rt {

namespace {

class Watching : public gort::test::RuntimeTest {};

/// All other Ms sleep, and nobody watches; sysmon has said when it looks.
bool all_is_quiet() {
  const RuntimeEntry entry;
  LockGuard guard(sched.lock);
  return sched.nmidle == sched.mcount - 1 && sched.nmspinning.load() == 0 && sched.watch_until.load() == kNobody &&
         sysmon_looks.load() < os::nanotime() + 50'000'000;
}

/// Whether it goes off while the only goroutine computes, and makes no call into gort.
bool goes_off(bool fault_on) {
  std::atomic<bool> fired = false;
  bool while_computing = false;
  gort::run([&] {
    ASSERT_TRUE(gort::test::yield_until(all_is_quiet));
    set_fault(Fault::sysmon_watch, fault_on);
    auto t = gort::after_func(60ms, [&] { fired = true; });
    const auto began = std::chrono::steady_clock::now();
    const auto most = fault_on ? 400ms : 20'000ms;
    while (!fired && std::chrono::steady_clock::now() - began < most) gort::test::poll_for_tsan();
    while_computing = fired;
    set_fault(Fault::sysmon_watch, false);
    EXPECT_TRUE(gort::test::yield_until([&] { return fired.load(); }));
  });
  return while_computing;
}

TEST_F(Watching, SysmonKeepsItsWord) {
  GORT_TEST_START(2);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(goes_off(false));
}

TEST_F(Watching, WhoComputesKeepsTimersWaitingOtherwise) {
  GORT_TEST_NEEDS_SIGNALS();  // a poll would run them
  GORT_TEST_START(2);
  EXPECT_FALSE(goes_off(true));
}

}  // namespace

}  // namespace gort::inline v0::rt
