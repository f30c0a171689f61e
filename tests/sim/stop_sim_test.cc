// Stopping the world as it ships, on simulated threads: stop_the_world and its restart, gomaxprocs, for_each_p and
// captives, against goroutines that compute, yield, block, spawn and are locked to their threads, and against each
// other. User code is a loop of scheduling points; SIGURG arrives at any of them, and in the runtime at any step.
//
// What would show: a P that does not stop is a livelock (the initiator looks again and again); one that runs on is
// an assertion in the user code; one that is lost, a missing one at the end; a goroutine that is left asleep, a
// deadlock. Then the same with protective measures switched off (base/fault.h), to show that each would be missed.
//
// test: timeout=300 needs=GORT_TESTING
#include <gtest/gtest.h>

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
  /// The same, once as it is and once with a measure switched off: the schedules tell the two apart.
  void expect_found(Cast cast, Fault f, SimOptions o, std::uint64_t runs, SimVerdict verdict) const {
    expect_ok(o, runs < 100 ? runs : 100, play, &cast);
    cast.broken = f;
    const SimResult r = os::sim_explore(o, runs, play, &cast);
    EXPECT_EQ(r.verdict, verdict) << tell(r);
    RecordProperty("runs_until_found", static_cast<int>(r.runs));
  }
  SimOptions short_options(int procs) const {
    SimOptions o = options(procs);
    o.max_steps = 100'000;
    return o;
  }
  /// 2 us per step: a slice is 5000 steps.
  SimOptions slice_options(int procs) const {
    SimOptions o = options(procs);
    o.step_ns = 2000;
    o.max_steps = 1'000'000;
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(Strategies, SimStop, testing::Values(SimStrategy::uniform, SimStrategy::pct),
                         [](const auto& i) { return i.param == SimStrategy::pct ? "pct" : "uniform"; });

constexpr std::uint64_t kRuns = 60;
constexpr std::uint64_t kSliceRuns = 20;

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

TEST_P(SimStop, CaptivesShareOneP) {
  const Cast cast = {.takers = 3};
  for (int procs : {1, 2}) expect_ok(slice_options(procs), kSliceRuns, play, &cast);
}
TEST_P(SimStop, CaptivesBesideStops) {
  const Cast cast = {.yielders = 1, .takers = 2, .stoppers = 1, .foreign = 1};
  for (int procs : {1, 2, 3}) expect_ok(slice_options(procs), kSliceRuns, play, &cast);
}
TEST_P(SimStop, CaptivesBesideMaxProcsAndForEachP) {
  const Cast cast = {.blockers = 1, .takers = 2, .resizers = 1, .askers = 1};
  for (int procs : {1, 2, 3}) expect_ok(slice_options(procs), kSliceRuns, play, &cast);
}
// L2: no more threads can be had. Who holds the lock gets a P back all the same.
TEST_P(SimStop, CaptivesWithoutSpareThreads) {
  const Cast cast = {.takers = 3, .few_threads = true};
  for (int procs : {1, 2}) expect_ok(slice_options(procs), kSliceRuns, play, &cast);
}

// ---- gort::stop_world -------------------------------------------------------------------------------

// Deadlines are missed now and then: what has stopped, or is about to, goes on, and the next stop counts anew.
TEST_P(SimStop, AtCallsWithDeadlines) {
  expect_ok({.users = 2}, kRuns);
  expect_ok({.yielders = 1, .blockers = 1, .pairs = 1, .users = 2}, kRuns);
  expect_ok({.blockers = 2, .stoppers = 1, .foreign = 1, .users = 2, .rounds = 6}, kRuns);
}
TEST_P(SimStop, AtCallsBesideCaptives) {
  const Cast cast = {.yielders = 1, .takers = 2, .hold = 1000, .foreign = 1, .users = 1};
  for (int procs : {1, 2, 3}) expect_ok(slice_options(procs), kSliceRuns, play, &cast);
}

// ---- fairness and progress -------------------------------------------------------------------------

// Scenarios 2 and 3, in small: who stops the world again and again is not served twice while another one waits.
TEST_P(SimStop, WhoQueuesIsServedNext) { expect_ok({.greedy = 1, .modest = 1}, kRuns); }

/// Time does not leap here: what is waited for is a share of it.
SimOptions without_leaps(SimOptions o) {
  o.late_permille = 0;
  return o;
}

// L3. Each hog has a P of its own.
TEST_P(SimStop, EveryHogGetsOnBetweenStops) {
  for (int hogs : {1, 2, 3}) {
    const Cast cast = {.hogs = hogs, .stoppers = 1, .rounds = 20, .must_run = true};
    expect_ok(without_leaps(options(hogs + 1)), kRuns, play, &cast);
  }
}

// ---- with a measure switched off -------------------------------------------------------------------

TEST_P(SimStop, WithoutHandoffIsFound) {
  expect_found({.greedy = 1, .modest = 1}, Fault::s0, short_options(2), 1000, SimVerdict::assert);
}
TEST_P(SimStop, UnstoppableInitiatorsAreFound) {
  expect_found({.stoppers = 1, .scanners = 1}, Fault::s1, short_options(2), 1000, SimVerdict::livelock);
}
// Asked before it has had its least run, or while it was in a call, from which it came back with the P by another way.
TEST_P(SimStop, WithoutResendIsFound) {
  expect_found({.hogs = 2, .stoppers = 2, .rounds = 10}, Fault::resend, options(3), 2000, SimVerdict::livelock);
}
TEST_P(SimStop, IdlingUncountedIsFound) {
  expect_found({.pairs = 1, .foreign = 1}, Fault::idle_drain, short_options(3), 2000, SimVerdict::livelock);
}
// Random schedules do not keep a thread from running for three stops; those of PCT do.
TEST_P(SimStop, WithoutProgressIsFound) {
  if (GetParam() == SimStrategy::uniform) GTEST_SKIP();
  expect_found({.hogs = 1, .stoppers = 1, .rounds = 20, .must_run = true}, Fault::progress,
               without_leaps(options(2)), 1000, SimVerdict::assert);
}
// The other way round: a stop takes a P back from a thread that has not woken, and does not wait for it.
TEST_P(SimStop, SleepersAreClaimed) {
  if (GetParam() == SimStrategy::uniform) GTEST_SKIP();
  Cast cast = {.hogs = 1, .stoppers = 1, .no_claims = true};
  const SimResult r = os::sim_explore(options(2), 500, play, &cast);
  EXPECT_EQ(r.verdict, SimVerdict::assert) << tell(r);
  cast.broken = Fault::handed;
  expect_ok(options(2), 500, play, &cast);
}
// One holds the lock and has no P, one waits for the lock and has it, one is queued and finds no thread.
TEST_P(SimStop, SlicesThatNeedAThreadAreFound) {
  SimOptions o = slice_options(1);
  o.max_steps = 300'000;
  expect_found({.takers = 3, .few_threads = true}, Fault::captives, o, 20, SimVerdict::livelock);
}

}  // namespace
}  // namespace gort::inline v0::rt
