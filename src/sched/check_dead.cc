#include "sched/check_dead.h"

#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/start.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

bool nobody_can_run() noexcept {
  return sched.mcount - sched.nmidle - sched.nmidle_locked - sched.nwatching <= 0 && sched.orders == 0 && sched.global.empty();
}

/// What has happened since the start to the numbers that are compared. Under sched.lock.
struct Changes {
  std::int64_t ms_made = 0;
  std::uint64_t foreign_waits = 0;
  std::uint64_t watches = 0;
  bool operator==(const Changes&) const = default;
};

Changes changes() noexcept { return {sched.next_m_id, sched.foreign_waits, sched.watches}; }

}  // namespace

void check_dead() noexcept {
  GORT_DCHECK(sched.lock.held(), "check_dead counts under sched.lock");
  GORT_CHECK(sched.mcount >= sched.nmidle + sched.nmidle_locked + sched.nwatching, "check_dead: the counts of Ms disagree");
  if (!nobody_can_run()) return;
  // Something may come from the network; when nobody waits for that any more, it is because somebody ran, who goes idle
  // (or waits, if it was a foreign thread) afterwards. A server is idle between any two requests: no ring for each.
  if (sched.net_waiting.load(os::memory_order_seq_cst) != 0) return;
  sched.dead_suspected.store(true, os::memory_order_relaxed);
  sched.sysmon_note.ring();
}

void confirm_dead() noexcept {
  bool main_gone = false;
  Changes before;
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
    before = changes();
  }
  // When the last one goes off or is stopped, that is by somebody who goes idle afterwards: suspicion comes back.
  // So it is with somebody who has begun to wait for the network meanwhile.
  if (timers_pending(kNoTimer) || sched.net_waiting.load(os::memory_order_seq_cst) != 0) {
    sched.dead_suspected.store(false, os::memory_order_relaxed);
    return;
  }
  const std::int32_t foreign = foreign_thread_count();
  // Threads that cannot be counted (no /proc, no descriptor left) may be there. Ask again later.
  if (foreign < 0 || foreign > sched.foreign_waiting.load(os::memory_order_relaxed)) return;
  // Once more: the kernel's count and ours are of different moments. A foreign thread that was not counted
  // because it did not exist yet was made by one that could act then, and that has come to wait since; an M
  // that is counted here but was not there has been made since. A timer that went off between the look at the timers
  // and this has been taken by the watcher, who has perhaps gone back to sleep since.
  {
    LockGuard guard(sched.lock);
    if (!nobody_can_run() || changes() != before) return;
  }
  // Nobody has died if there is a bubble with somebody asleep: it is for us to move its clock. Suspicion comes back when the
  // next one goes idle, so it is dropped first.
  if (sched.bubbles.load(os::memory_order_acquire) != 0) {
    sched.dead_suspected.store(false, os::memory_order_relaxed);
    if (sched_hooks.bubbles_go_on()) return;
  }
  if (sched_hooks.deadlock != nullptr) sched_hooks.deadlock(main_gone);
  fatal(main_gone ? "no goroutines (main called goexit) - deadlock!" : "all goroutines are asleep - deadlock!");
}

}  // namespace gort::inline v0::rt
