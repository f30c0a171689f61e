#include "sched/syscall.h"

#include "base/sanitizer.h"
#include "sched/entry.h"
#include "sched/force_migrate.h"
#include "sched/park.h"
#include "sched/runs.h"
#include "sched/stop_point.h"
#include "sched/switch.h"

namespace gort::inline v0::rt {

namespace {

/// The P stays with the M in name (oldp); anyone may take it by CAS from now on.
void let_p_go(M* m, G* g) noexcept {
  P* p = m->p;
  run_safe_point(p);
  g->status.store(GStatus::syscall, os::memory_order_relaxed);
  p->syscalltick.store(p->syscalltick.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  m->oldp = p;
  m->p = nullptr;
  p->m.store(nullptr, os::memory_order_relaxed);
  // Release: the taker's CAS acquires what this owner wrote. Sequentially consistent against sysmon's
  // "deep asleep" flag: either sysmon sees a P in a call before it sleeps, or we see that it sleeps.
  p->status.store(PStatus::syscall, os::memory_order_seq_cst);
  if (sched.sysmon_wait.load(os::memory_order_seq_cst)) sched.sysmon_note.ring();
  // Likewise against a stop, and a safe point: who asks has set its word before it looked at this P.
  if (__builtin_expect(stop_requested(), 0)) {
    stay_away(m);  // no signal finds it in the call
    stop_p_in_call(p);
  }
}

/// The M has no P and got none: the goroutine queues for one, the M goes to sleep.
void after_no_p(M* m, G* left) noexcept {
  left->status.store(GStatus::runnable, os::memory_order_relaxed);
  sched.lock.lock();
  MaybeOwnedP p = pidle_get();
  if (!p) {
    global_put(left);
    sched.lock.unlock();
    return;
  }
  sched.lock.unlock();
  wire(p.take());
  m->picked = left;
}

void take_any_p(M* m, G* g) noexcept {
  P* p = m->oldp;
  m->oldp = nullptr;
  PStatus expected = PStatus::syscall;
  if (p->status.compare_exchange_strong(expected, PStatus::running, os::memory_order_seq_cst,
                                        os::memory_order_relaxed)) {
    p->m.store(m, os::memory_order_relaxed);
    m->p = p;
    g->status.store(GStatus::running, os::memory_order_relaxed);
    return;
  }
  if (sched.npidle.load(os::memory_order_relaxed) > 0) {
    sched.lock.lock();
    MaybeOwnedP idle = pidle_get();
    sched.lock.unlock();
    if (idle) {
      wire(idle.take());
      g->status.store(GStatus::running, os::memory_order_relaxed);
      return;
    }
  }
  switch_from_g(m, g, nullptr, after_no_p);
}

void after_left_over(M*, G* left) noexcept {
  left->wait_reason = WaitReason::left_over;
  left->status.store(GStatus::waiting, os::memory_order_release);
}

/// Returns with a P, on whatever M; never, if the goroutine's run ended while it was in the call.
void get_p_back(M* m, G* g) noexcept {
  take_any_p(m, g);
  if (over(g)) switch_from_g(self_m(), g, nullptr, after_left_over);
}

/// The call into gort from inside gort::blocking is over.
void unstick(M* m, G* g) noexcept {
  if (!g->sticky_entry) return;
  g->sticky_entry = false;
  if (g->lock_count != 0) return;  // the call was lock_os_thread
  g->locked_m = nullptr;
  m->locked_g = nullptr;
}

}  // namespace

void enter_blocking() noexcept {
  os::Tls& t = os::tls();
  M* m = static_cast<M*>(t.m);
  if (m == nullptr) return;
  if (__builtin_expect(t.in_runtime != 0, 0)) fatal_entered_twice();
  G* g = m->curg;
  if (g->blocking_depth++ > 0) return;
  GORT_CHECK(t.locks == 0, "enter_blocking inside the runtime");
  if (m->holds_world) return;  // it keeps the P, and blocks everybody: that is what it has asked for
  t.in_runtime = 1;
  san::stands_still();
  let_p_go(m, g);
  g->in_blocking = true;
  t.in_runtime = 0;  // no P, so nothing is asked of it
}

void exit_blocking() noexcept {
  M* m = self_m();
  if (m == nullptr) return;
  if (__builtin_expect(os::tls().in_runtime != 0, 0)) fatal_entered_twice();
  G* g = m->curg;
  if (--g->blocking_depth > 0) return;
  if (!g->in_blocking) return unstick(m, g);  // it has stopped the world in there, or before
  os::tls().in_runtime = 1;
  g->in_blocking = false;
  departing(g, WaitReason::blocking_ends);
  get_p_back(m, g);
  san::goes_on();
  // A goroutine that makes one call after the other polls nowhere else.
  if ((self_m()->pending.load(os::memory_order_relaxed) & kPendingYield) != 0 ||
      (force_migrate() && self_m() == m)) {
    yield_global();
  }
  leave_runtime();
}

void entry_leave_blocking() noexcept {
  M* m = self_m();
  G* g = m->curg;
  g->in_blocking = false;
  // The code around us may hold this thread's locks or addresses: come back on the same thread.
  const bool locked_before = g->locked_m != nullptr;
  if (!locked_before) {
    g->locked_m = m;
    m->locked_g = g;
  }
  get_p_back(m, g);
  san::goes_on();
  g->sticky_entry = !locked_before;
}

void entry_back_to_blocking() noexcept {
  M* m = self_m();
  if (m->holds_world) return;
  G* g = m->curg;
  unstick(m, g);
  san::stands_still();
  let_p_go(m, g);
  g->in_blocking = true;
}


}  // namespace gort::inline v0::rt
