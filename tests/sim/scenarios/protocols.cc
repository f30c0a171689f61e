// What the scheduler promises about looking again: work is never left lying, sysmon is never asleep when it is needed,
// a deadlock is reported, and nothing else is.
#include "sema/sema.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stop_bodies.h"

namespace gort::inline v0::rt {

namespace {

constexpr SimOptions kSched = {.pct_depth = 4, .pct_steps = 1500};
constexpr SimOptions kSlices = {.pct_depth = 4, .pct_steps = 3000, .max_steps = 60'000, .step_ns = 2000};

// ---- wake_p against idle ---------------------------------------------------------------------------------

/// Queued work, an idle P, and nobody who will look: every other M is asleep (counted idle), none is on its way.
/// sysmon would help, later; this is about the fences.
void look_for_neglect(void* out) {
  const M* m = self_m();
  const bool others_asleep = sched.mcount - sched.nmidle == 1 && sched.creating == 0 && sched.orders == 0;
  bool handed = false;
  for (std::int32_t i = 0; i < sched.nprocs; ++i) handed |= p_at(i)->status.load() == PStatus::handed;
  *static_cast<bool*>(out) = others_asleep && !handed && sched.npidle.load() > 0 && sched.nmspinning.load() == 0 &&
                             !m->p->runq.empty();
}

/// A goroutine readies another one, at the tail of its queue, and computes on until that has run: only a thief can run
/// it, and the thief-to-be is just about to go idle.
void work_is_stolen(void*) {
  static constinit os::atomic<G*> parked{nullptr};
  static constinit os::atomic<int> ran{0};
  static constexpr int kRounds = 4;
  start_with_signals();
  Done done(2);
  go(
      [](void* p) {
        for (int i = 0; i < kRounds; ++i) {
          {
            RuntimeEntry entry;
            park([](G* g, void*) noexcept { return parked.store(g), true; }, nullptr, WaitReason::test);
          }
          ran.fetch_add(1);
        }
        static_cast<Done*>(p)->one();
      },
      &done);
  go(
      [](void* p) {
        for (int i = 1; i <= kRounds; ++i) {
          G* g;
          for (int k = 1; (g = parked.exchange(nullptr)) == nullptr; ++k) {
            if (k % 8 == 0) yield_now();
          }
          {
            RuntimeEntry entry;
            ready(g, false);
          }
          for (int k = 1; ran.load() < i; ++k) {
            bool neglected = false;
            os::sim_at_once(look_for_neglect, &neglected);
            sim_assert(!neglected, "work is queued, a P is idle, and nobody looks");
            if (k % 8 == 0) os::cpu_relax(1);
          }
        }
        static_cast<Done*>(p)->one();
      },
      &done);
  done.wait();
  expect_all_ps_idle();
}

// ---- sysmon --------------------------------------------------------------------------------------------

/// One P, a goroutine that computes until another one has run: its slice must end.
void slices_end(void*) {
  static constinit os::atomic<int> flag{0};
  start_with_signals();
  Done done(2);
  go(
      [](void* p) {
        for (int k = 0; flag.load() == 0; ++k) {
          if (k % 8 == 0) os::cpu_relax(1);
        }
        static_cast<Done*>(p)->one();
      },
      &done);
  go(
      [](void* p) {
        flag.store(1);
        static_cast<Done*>(p)->one();
      },
      &done);
  done.wait();
  expect_all_ps_idle();
}

// ---- check_dead -----------------------------------------------------------------------------------------

/// A foreign thread waits inside gort for goroutines that let each other go, with threads that come, go and are
/// refused: that is no deadlock. Broken: the last one forgets it.
template <bool Broken>
void dead_or_not(void*) {
  struct Table {
    SemWord first{0}, second{0}, end{0};
  };
  static constinit Table t;
  start({});
  os::sim_label(&t.first, sizeof t.first, "first");
  os::sim_label(&t.second, sizeof t.second, "second");
  os::sim_label(&t.end, sizeof t.end, "end");
  static constexpr auto act = [](SemWord& wait, SemWord& then) {
    for (int i = 0; i < 3; ++i) {
      RuntimeEntry entry;
      sem_acquire(&wait);
      sem_release(&then);
    }
  };
  go([](void*) { act(t.first, t.second); }, nullptr);
  go(
      [](void*) {
        act(t.second, t.first);
        if (Broken) return;
        RuntimeEntry entry;
        sem_release(&t.end);
      },
      nullptr);
  RuntimeEntry entry;
  sem_release(&t.first);
  sem_acquire(&t.end);
}

constexpr Flaw kForgets[] = {{.name = "forgets",
                              .what = "nobody lets the last waiter go: that is reported",
                              .verdict = SimVerdict::crash,
                              .body = dead_or_not<true>,
                              .seeds = 50}};
constexpr Flaw kWake[] = {{.name = "fence_wake_p",
                           .what = "wake_p without its fence",
                           .verdict = SimVerdict::assert,
                           .weaken = "wake_p",
                           .seeds = 20'000}};
constexpr Flaw kSysmon[] = {{.name = "fence_pidle_get",
                             .what = "the first P that leaves idleness looks for sysmon too early",
                             .verdict = SimVerdict::livelock,
                             .weaken = "pidle_get",
                             .seeds = 2000,
                             .pct = false},  // few of its seeds find it
                            {.name = "fence_sysmon",
                             .what = "sysmon says that it sleeps, and looks for work too early",
                             .verdict = SimVerdict::livelock,
                             .weaken = "sysmon_thread",
                             .seeds = 2000,
                             .pct = false}};

constexpr Scenario kAll[] = {
    {.name = "work_is_stolen",
     .what = "work that only a thief can run is found (wake_p against idle)",
     .body = work_is_stolen,
     .options = kSched,
     .procs = {2, 3},
     .seeds = 600,
     .flaws = kWake},
    {.name = "slices_end",
     .what = "a slice ends, though sysmon was about to sleep deeply (pidle_get against sysmon)",
     .body = slices_end,
     .options = kSlices,
     .procs = {1},
     .seeds = 200,
     .flaws = kSysmon},
    {.name = "check_dead",
     .what = "a deadlock is reported, and nothing else",
     .body = dead_or_not<false>,
     .options = kSched,
     .procs = {1, 2, 4},
     .seeds = 400,
     .flaws = kForgets},
};

}  // namespace

extern const std::span<const Scenario> protocol_scenarios;
const std::span<const Scenario> protocol_scenarios = kAll;

}  // namespace gort::inline v0::rt
