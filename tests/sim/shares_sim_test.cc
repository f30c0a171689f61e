// How captives and ordinary goroutines share a P, on simulated threads: turns end when somebody looks, so each is a little
// too long, and what it was too long is the other class's in its next turn. So over many turns both have had the same time.
//
// Time is virtual, and nobody else has the machine: shares of a real processor are too noisy for so small a measure.
// The one that can be switched off: Fault::class_debt.
//
// test: timeout=200 needs=GORT_TESTING
#include <gtest/gtest.h>

#include <utility>

#include "base/fault.h"
#include "sched/window.h"
#include "tests/sim/stop_bodies.h"

namespace gort::inline v0::rt {
namespace {

constexpr std::int64_t kMilli = 1'000'000;
constexpr int kTurns = 20;
/// What a class may be behind: one turn's lateness, and what it takes to wake a thread each time. Without the measure the
/// others lose half a millisecond per turn.
constexpr std::int64_t kMostBehind = 5 * kMilli;

/// Less is no turn: somebody has ended it who meant the one before. (10 ms, and 2 ms less if the last was too long.)
constexpr std::int64_t kLeastTurn = 7 * kMilli;
constexpr char kOthersHadLess[] = "the others have had less than the captives";

/// The time in which its goroutine runs. A longer gap is somebody else's turn.
struct Clock {
  std::int64_t ns = 0;
  std::int64_t last = 0;
  std::int64_t begun = 0;  // ns at the begin of its turn
  int turns = 0;
  void tick() {
    const std::int64_t now = os::nanotime();
    if (last == 0) last = now;
    if (now - last < kMilli / 2) {
      ns += now - last;
    } else {
      os::sim_assert(turns < 2 || ns - begun > kLeastTurn, "a turn was over before it had begun");
      begun = ns;
      ++turns;
    }
    last = now;
  }
  void start() {
    ns = begun = 0;
    turns = 1;
  }
};

struct Stage {
  Done all{2};
  os::atomic<bool> over{false};
  bool started = false;
  Clock hog;
  Clock others;
};

void compute() {
  for (int i = 0; i < 8; ++i) os::sim_point();
}

/// Comes back to the scheduler again and again, which ends its class's turn to the microsecond.
void poller(void* p) {
  auto* s = static_cast<Stage*>(p);
  while (s->others.turns <= kTurns) {
    compute();
    {
      RuntimeEntry entry;
      yield_global();
    }
    s->others.tick();
    // From the end of the hog's first slice on, before which nobody was a captive.
    if (!std::exchange(s->started, s->others.turns != 0)) s->others.start(), s->hog.start();
  }
  s->over.store(true);
  s->all.one();
}

/// Never comes back by itself, and cannot be interrupted for 0.2 to 1.6 ms at a time. So its turns are too long: by what is
/// left of that, and by what sysmon takes to look.
void hog(void* p) {
  auto* s = static_cast<Stage*>(p);
  std::uint32_t random = 1;
  while (!s->over.load()) {
    random = random * 1'664'525 + 1'013'904'223;  // Numerical Recipes' "quick and dirty"
    const std::int64_t until =
        os::nanotime() + kMilli / 5 + random % 1024 * (kMilli * 7 / 5 / 1024);
    Window w;
    while (os::nanotime() < until) {
      compute();
      s->hog.tick();
    }
  }
  s->all.one();
}

/// `off`: a Fault, or kCount.
void share_one_p(void* off) {
  start_with_signals();
  if (const Fault f = *static_cast<Fault*>(off); f != Fault::kCount) set_fault(f, true);
  Stage stage;
  go(poller, &stage);
  go(hog, &stage);
  stage.all.wait();
  const std::int64_t behind = stage.hog.ns - stage.others.ns;
  os::sim_note("ns that the captives had", static_cast<std::uint64_t>(stage.hog.ns));
  os::sim_note("ns that the others had", static_cast<std::uint64_t>(stage.others.ns));
  os::sim_assert(behind < kMostBehind, kOthersHadLess);
  os::sim_assert(behind > -kMostBehind, "the captives have had less than the others");
  expect_all_ps_idle();
}

SimOptions one_p(std::uint64_t seed) {
  SimOptions o;
  o.seed = seed;
  o.cpus = 1;
  o.step_ns = 500;
  o.max_steps = 10'000'000;
  o.spurious_permille = o.late_permille =
      0;  // a machine that is late by itself: by more than is kept account of
  return o;
}

constexpr std::uint64_t kSeeds = 30;

TEST(SimShares, CaptivesAndOthersHaveTheSameTime) {
  Fault none = Fault::kCount;
  const SimResult r = os::sim_explore(one_p(1), kSeeds, share_one_p, &none);
  EXPECT_EQ(r.verdict, SimVerdict::ok) << tell(r);
}

TEST(SimShares, WithoutTheAccountTheLateTurnsAreLost) {
  Fault off = Fault::class_debt;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const SimResult r = os::sim_run(one_p(seed), share_one_p, &off);
    EXPECT_EQ(r.verdict, SimVerdict::assert) << "seed " << seed;
    EXPECT_EQ(r.message, kOthersHadLess) << "seed " << seed;
  }
}

}  // namespace
}  // namespace gort::inline v0::rt
