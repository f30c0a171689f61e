#include "world/world.h"

#include "base/fault.h"
#include "sched/captives.h"
#include "sched/entry.h"
#include "sched/procs.h"
#include "sched/runs.h"
#include "sched/sched.h"
#include "sched/start.h"
#include "sched/stop_point.h"
#include "sched/system_stack.h"
#include "sema/sema.h"
#include "world/pauses.h"
#include "world/stop.h"

namespace gort::inline v0::rt {

constinit SemWord worldsema{1};
constinit SemWord gcsema{1};

namespace {

/// Of the stop in progress; guarded by worldsema.
struct Pause {
  StopReason reason{};
  std::int64_t begin = 0;     // nanotime of the request
  std::int64_t stopping = 0;  // ns until everybody stood
  std::int32_t new_procs = 0;  // 0: no change
};
constinit Pause pause;

}  // namespace

WorldHold world_acquire(StopReason reason) noexcept {
  right_begins();
  if (fault(Fault::s4) && reason == StopReason::gomaxprocs) {
    on_system_stack([](void*) { sem_acquire(&worldsema, {.reason = WaitReason::stopping_the_world}); }, nullptr);
  } else {
    sem_acquire(&worldsema, {.reason = WaitReason::stopping_the_world});
  }
  test_point(TestPoint::world_acquired);
  return WorldHold(reason);
}

void world_release(WorldHold hold) noexcept {
  GORT_CHECK(hold.held_, "world_release without the right to stop the world");
  hold.held_ = false;
  // To the oldest waiter, and without a yield: the waiter stands in runnext, and its time comes (S0).
  sem_release(&worldsema, {.handoff = !fault(Fault::s0), .yield = false});
  right_ends();
}

GcHold gc_acquire() noexcept {
  sem_acquire(&gcsema, {.reason = WaitReason::stopping_the_world});
  return GcHold();
}

void gc_release(GcHold hold) noexcept {
  GORT_CHECK(hold.held_, "gc_release without gcsema");
  hold.held_ = false;
  sem_release(&gcsema, {.handoff = true, .yield = false});
}

void stop_with(WorldHold& hold) noexcept {
  pause.reason = hold.reason();
  pause.begin = os::nanotime();
  stop_everybody(kStopInPlace, pause.begin, -1);
  pause.stopping = os::nanotime() - pause.begin;
  test_point(TestPoint::world_stopped);
}

void start_with(WorldHold&) noexcept {
  const std::int32_t n = pause.new_procs;
  pause.new_procs = 0;
  start_everybody(n);
  record_pause(pause.reason, pause.stopping, os::nanotime() - pause.begin);
  test_point(TestPoint::world_restarted);
}

WorldHold stop_the_world(StopReason reason) noexcept {
  WorldHold hold = world_acquire(reason);
  stop_with(hold);
  return hold;
}

void start_the_world(WorldHold hold) noexcept {
  right_begins();
  {
    // Not to be preempted between the restart and the release: everybody who waits for worldsema would wait longer.
    NoPreempt np;
    start_with(hold);
    world_release(std::move(hold));
  }
  right_ends();
}

WorldGcHold stop_the_world_gc(StopReason reason) noexcept {
  right_begins();  // of gcsema; a GcHold by itself may pass to another goroutine
  if (fault(Fault::gc_order)) {
    WorldHold world = world_acquire(reason);
    GcHold gc = gc_acquire();
    stop_with(world);
    return {std::move(gc), std::move(world)};
  }
  GcHold gc = gc_acquire();
  return {std::move(gc), stop_the_world(reason)};
}

void start_the_world_gc(WorldGcHold hold) noexcept {
  start_the_world(std::move(hold.world));
  gc_release(std::move(hold.gc));
  right_ends();
}

bool world_stopped() noexcept { return everybody_stopped(); }

std::int32_t gomaxprocs(std::int32_t n) noexcept {
  if (n > kMaxProcs) n = kMaxProcs;
  if (n > 0) sched.default_procs.store(false, os::memory_order_seq_cst);
  const std::int32_t before = sched.nprocs.load(os::memory_order_relaxed);
  if (n <= 0 || n == before) return before;
  WorldGcHold hold = stop_the_world_gc(StopReason::gomaxprocs);
  const std::int32_t old = sched.nprocs.load(os::memory_order_relaxed);
  pause.new_procs = n;
  start_the_world_gc(std::move(hold));
  return old;
}

void gomaxprocs_default(std::int32_t n) noexcept {
  RuntimeEntry entry;
  WorldGcHold hold = stop_the_world_gc(StopReason::gomaxprocs);
  // Who says a number now waits for worldsema, and comes after this.
  if (sched.default_procs.load(os::memory_order_seq_cst)) pause.new_procs = n;
  start_the_world_gc(std::move(hold));
}

// ---- stops with a deadline ----------------------------------------------------------------------

void hold_for_user(WorldHold hold) noexcept { hold.held_ = false; }
WorldHold held_for_user() noexcept { return WorldHold(StopReason::user); }

bool stop_at_calls(WorldHold& hold, std::int64_t deadline) noexcept {
  pause.reason = hold.reason();
  pause.begin = os::nanotime();
  if (!stop_everybody(kStopAtCalls, pause.begin, deadline)) return false;
  pause.stopping = os::nanotime() - pause.begin;
  return true;
}

}  // namespace gort::inline v0::rt
