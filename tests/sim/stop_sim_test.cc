// Stopping the world as it ships, on simulated threads: stop_the_world and its restart, gomaxprocs, for_each_p and
// captives, against goroutines that compute, yield, block, spawn and are locked to their threads, and against each
// other. User code is a loop of scheduling points; SIGURG arrives at any of them, and in the runtime at any step.
//
// What would show: a P that does not stop is a livelock (the initiator looks again and again); one that runs on is
// an assertion in the user code; one that is lost, a missing one at the end; a goroutine that is left asleep, a
// deadlock. Then the same with protective measures switched off (base/fault.h), to show that each would be missed.
//
// test: timeout=300
#include <gtest/gtest.h>

#include "base/fault.h"
#include "sched/captives.h"
#include "sched/invariants.h"
#include "sched/lock_thread.h"
#include "sched/syscall.h"
#include "tests/sim/stop_bodies.h"

namespace gort::inline v0::rt {
namespace {

class SimStop : public testing::TestWithParam<SimStrategy> {
 protected:
  SimOptions options(int procs) const {
    SimOptions o;
    o.strategy = GetParam();
    o.pct_depth = 5;
    o.pct_steps = 6000;
    o.cpus = procs;
    o.step_ns = 200;
    o.max_steps = 400'000;
    return o;
  }
  static void expect_ok(const SimOptions& o, std::uint64_t runs, void (*body)(void*), const void* arg) {
    const SimResult r = os::sim_explore(o, runs, body, const_cast<void*>(arg));
    EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
    RecordProperty("steps", static_cast<int>(r.steps));
  }
  void expect_ok(const Cast& cast, std::uint64_t runs) const {
    for (int procs : {1, 2, 3, 4}) {
      SCOPED_TRACE(testing::Message() << procs << " Ps");
      expect_ok(options(procs), runs, play, &cast);
    }
  }
  void expect_found(Cast cast, Fault f, int procs, std::uint64_t runs, SimVerdict verdict) const {
    cast.broken = f;
    SimOptions o = options(procs);
    o.max_steps = 60'000;
    SimResult r = os::sim_explore(o, runs, play, &cast);
    EXPECT_EQ(r.verdict, verdict) << tell(r);
    RecordProperty("runs_until_found", static_cast<int>(r.runs));
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimStop, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) { return i.param == SimStrategy::pct ? "pct" : "uniform"; });

constexpr std::uint64_t kRuns = 150;

// ---- who is stopped, and by whom -----------------------------------------------------------------

TEST_P(SimStop, AnIdleWorld) { expect_ok({.stoppers = 1}, kRuns); }
TEST_P(SimStop, LoopsWithoutCalls) { expect_ok({.hogs = 2, .stoppers = 1}, kRuns); }
TEST_P(SimStop, Yielding) { expect_ok({.yielders = 3, .stoppers = 1}, kRuns); }
TEST_P(SimStop, InBlockingCalls) { expect_ok({.blockers = 3, .stoppers = 1}, kRuns); }
TEST_P(SimStop, Spawning) { expect_ok({.spawners = 2, .stoppers = 1}, kRuns); }
TEST_P(SimStop, ParkingAndReadying) { expect_ok({.pairs = 2, .stoppers = 1}, kRuns); }
TEST_P(SimStop, LockedToTheirThreads) { expect_ok({.pairs = 1, .locked = 2, .stoppers = 1}, kRuns); }
TEST_P(SimStop, ByForeignThreads) { expect_ok({.hogs = 1, .yielders = 1, .blockers = 1, .foreign = 2}, kRuns); }
TEST_P(SimStop, ByEverybody) { expect_ok({.hogs = 1, .yielders = 1, .stoppers = 2, .foreign = 1}, kRuns); }
TEST_P(SimStop, Everything) {
  expect_ok({.hogs = 1, .yielders = 1, .blockers = 1, .spawners = 1, .pairs = 1, .stoppers = 1, .foreign = 1}, kRuns);
}

// ---- the number of Ps changes, and all Ps are asked ------------------------------------------------

TEST_P(SimStop, MaxProcs) {
  expect_ok({.hogs = 1, .yielders = 1, .resizers = 1}, kRuns);
  expect_ok({.blockers = 2, .pairs = 1, .resizers = 1}, kRuns);
}
TEST_P(SimStop, MaxProcsBesideLockedOnes) { expect_ok({.locked = 2, .resizers = 1}, kRuns); }
TEST_P(SimStop, MaxProcsBesideStops) {
  expect_ok({.hogs = 1, .blockers = 1, .stoppers = 1, .foreign = 1, .resizers = 1}, kRuns);
}
TEST_P(SimStop, ForEachP) {
  expect_ok({.askers = 1}, kRuns);
  expect_ok({.hogs = 1, .yielders = 1, .blockers = 1, .askers = 1}, kRuns);
  expect_ok({.pairs = 1, .locked = 1, .askers = 1}, kRuns);
}
TEST_P(SimStop, ForEachPBesideStopsAndMaxProcs) {
  expect_ok({.hogs = 1, .blockers = 1, .stoppers = 1, .resizers = 1, .askers = 2}, kRuns);
}

// ---- slices end: captives --------------------------------------------------------------------------

// 2 us per step: a slice is 5000 steps.
TEST_P(SimStop, CaptivesShareOneP) {
  const Cast cast = {.takers = 3};
  for (int procs : {1, 2}) {
    SimOptions o = options(procs);
    o.step_ns = 20'000;
    expect_ok(o, kRuns, play, &cast);
  }
}
TEST_P(SimStop, CaptivesBesideStops) {
  const Cast cast = {.yielders = 1, .takers = 2, .stoppers = 1, .foreign = 1};
  for (int procs : {1, 2, 3}) {
    SimOptions o = options(procs);
    o.step_ns = 20'000;
    expect_ok(o, kRuns, play, &cast);
  }
}
TEST_P(SimStop, CaptivesBesideMaxProcsAndForEachP) {
  const Cast cast = {.blockers = 1, .takers = 2, .resizers = 1, .askers = 1};
  for (int procs : {1, 2, 3}) {
    SimOptions o = options(procs);
    o.step_ns = 20'000;
    expect_ok(o, kRuns, play, &cast);
  }
}
// L2: no thread can be had. Who holds the lock gets its P back all the same.
TEST_P(SimStop, CaptivesWithoutSpareThreads) {
  const Cast cast = {.takers = 3, .few_threads = true};
  for (int procs : {1, 2}) {
    SimOptions o = options(procs);
    o.step_ns = 20'000;
    expect_ok(o, kRuns, play, &cast);
  }
}

// ---- with a measure switched off -------------------------------------------------------------------

TEST_P(SimStop, WithoutResendIsFound) {
  // Asked in a call of the runtime, it went back to its user code with the P by another way.
  expect_found({.hogs = 1, .blockers = 2, .stoppers = 1}, Fault::resend, 2, 2000, SimVerdict::livelock);
}
TEST_P(SimStop, IdlingUncountedIsFound) {
  expect_found({.yielders = 1, .pairs = 1, .stoppers = 1}, Fault::idle_drain, 2, 2000, SimVerdict::livelock);
}

}  // namespace
}  // namespace gort::inline v0::rt
