#include "sched/check_dead.h"

#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/start.h"

namespace gort::inline v0::rt {

namespace {

bool nobody_can_run() noexcept {
  return sched.mcount - sched.nmidle - sched.nmidle_locked <= 0 && sched.orders == 0 && sched.global.empty();
}

}  // namespace

void check_dead() noexcept {
  GORT_DCHECK(sched.lock.held(), "check_dead counts under sched.lock");
  GORT_CHECK(sched.mcount >= sched.nmidle + sched.nmidle_locked, "check_dead: the counts of Ms disagree");
  if (!nobody_can_run()) return;
  sched.dead_suspected.store(true, os::memory_order_relaxed);
  sched.sysmon_note.ring();
}

void confirm_dead() noexcept {
  bool main_gone = false;
  {
    LockGuard guard(sched.lock);
    if (!nobody_can_run()) {
      sched.dead_suspected.store(false, os::memory_order_relaxed);
      return;
    }
    // Somebody must be waiting for something: a run's caller, or a foreign thread inside gort. Otherwise this
    // is an idle runtime, as between two runs.
    if (sched.foreign_waiting.load(os::memory_order_relaxed) == 0) {
      sched.dead_suspected.store(false, os::memory_order_relaxed);
      return;
    }
    main_gone = num_goroutine() == 0;
  }
  if (foreign_thread_count() > sched.foreign_waiting.load(os::memory_order_relaxed)) return;  // ask again later
  // Once more: a foreign thread may have called in and gone while we counted.
  {
    LockGuard guard(sched.lock);
    if (!nobody_can_run()) return;
  }
  if (sched_hooks.deadlock != nullptr) sched_hooks.deadlock(main_gone);
  fatal(main_gone ? "no goroutines (main called goexit) - deadlock!" : "all goroutines are asleep - deadlock!");
}

}  // namespace gort::inline v0::rt
