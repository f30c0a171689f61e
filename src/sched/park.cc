#include "sched/park.h"

#include "sched/bubble.h"
#include "sched/entry.h"
#include "sched/force_migrate.h"
#include "sched/runs.h"
#include "sched/spawn.h"
#include "sched/switch.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

/// The next goroutine of this P, perhaps one that has never run, or null if the M's own loop has to look
/// (nothing local, a request is pending, the global queue's turn, a locked or left-over goroutine).
[[gnu::always_inline]] inline G* pick_any(M* m) noexcept {
  P* p = m->p;
  if (force_migrate()) return nullptr;
  if (m->pending.load(os::memory_order_relaxed) != 0 || m->locked_g != nullptr) return nullptr;
  if (timers_due(p)) return nullptr;
  const std::uint32_t tick = p->schedtick.load(os::memory_order_relaxed);
  if (tick % kFairnessTick == 0 && sched.global_size.load(os::memory_order_relaxed) != 0) return nullptr;
  G* g = nullptr;
  const bool alone = only_p();
  if (p->next_turns < kMaxNextTurns) {
    g = p->runq.get_next(alone);
    if (g != nullptr) ++p->next_turns;
  }
  if (g == nullptr) {
    g = p->runq.get(alone);
    if (g == nullptr && p->next_turns != 0) g = p->runq.get_next(alone);
    p->next_turns = 0;
    if (g == nullptr) return nullptr;
    p->schedtick.store(tick + 1, os::memory_order_relaxed);
  }
  if (g->locked_m != nullptr || g->run_epoch != sched.run_epoch.load(os::memory_order_relaxed)) {
    m->picked = g;
    return nullptr;
  }
  return g;
}

/// The fast path of every departure: as pick_any, ready to be switched to.
[[gnu::always_inline]] inline G* pick_local(M* m) noexcept {
  G* g = pick_any(m);
  if (g != nullptr && __builtin_expect(g->ctx.sp == nullptr, 0)) g_prepare(m->p, g);
  return g;
}

void after_park(M* m, G* left) noexcept {
  // Release: who claims it (world/suspend.h) sees its context. Before the commit, which lets others ready it.
  left->status.store(GStatus::waiting, os::memory_order_release);
  Bubble* const bubble = bubble_parks(left);
  if (m->commit(left, m->after_arg)) {
    if (__builtin_expect(bubble != nullptr, 0)) bubble_leave(bubble);
    return;
  }
  left->durably_blocked = false;
  leave_status(left, GStatus::waiting, GStatus::runnable);
  runq_put(m->p, left, true);
  wake_p_if_idle();
}

void after_yield(M* m, G* left) noexcept {
  left->status.store(GStatus::runnable, os::memory_order_relaxed);
  runq_put(m->p, left, false);
  wake_p_if_idle();
}

void after_yield_global(M*, G* left) noexcept {
  left->status.store(GStatus::runnable, os::memory_order_relaxed);
  {
    LockGuard guard(sched.lock);
    global_put(left);
  }
  wake_p_if_idle();
}

void after_end(M* m, G* left) noexcept { g_free(m->p, left); }

bool commit_unlock(G*, void* lock) noexcept {
  static_cast<Mutex*>(lock)->unlock();
  return true;
}

bool commit_nothing(G*, void*) noexcept { return true; }

}  // namespace

void park(ParkCommit commit, void* arg, WaitReason reason) noexcept {
  M* m = self_m();
  GORT_CHECK(m != nullptr && m->curg != nullptr, "park: not on a goroutine's stack");
  G* g = m->curg;
  GORT_DCHECK(os::tls().in_runtime == 1, "park outside the runtime");
  if (__builtin_expect(m->holds_world, 0)) {
    fatal("the goroutine that has stopped the world waits for something: nobody runs who could end that");
  }
  departing(g, reason);
  g->wait_reason = reason;
  g->waiting_since.store(sched.seconds.load(os::memory_order_relaxed), os::memory_order_relaxed);
  m->commit = commit != nullptr ? commit : commit_nothing;
  m->after_arg = arg;
  switch_from_g(m, g, pick_local(m), after_park);
}

void park_unlock(Mutex* lock, WaitReason reason) noexcept {
  GORT_CHECK(os::tls().locks == 1, "park with runtime locks held");
  park(commit_unlock, lock, reason);
}

void leave_status_slow(G* g, GStatus from, GStatus to) noexcept {
  for (int round = 0;; ++round) {
    GStatus now = from;
    if (g->status.compare_exchange_weak(now, to, os::memory_order_acq_rel, os::memory_order_relaxed)) return;
    if (now != from && now != GStatus::held) {
      check_failed(__FILE__, __LINE__, "status == from", "ready: the goroutine is not parked");
    }
    if (round < 100) {
      os::cpu_relax(8);
    } else {
      os::thread_yield();  // whoever holds it has lost its processor
    }
  }
}

namespace {

/// As runq_put: whether a read-modify-write operation has made it visible.
[[gnu::always_inline]] inline bool queue_ready(G* g, bool next) noexcept {
  leave_status(g, GStatus::waiting, GStatus::runnable);
  bubble_readies(g);
  M* m = self_m();
  if (m != nullptr && m->p != nullptr) return runq_put(m->p, g, next);
  LockGuard guard(sched.lock);
  global_put(g);
  return false;
}

}  // namespace

void ready_quietly(G* g) noexcept { queue_ready(g, false); }

void ready(G* g, bool next) noexcept {
  if (queue_ready(g, next)) return wake_p_after_rmw();
  wake_p();
}

void ready_waiter(waiter* w) noexcept { ready(g_of(w)); }

void yield() noexcept {
  M* m = self_m();
  G* g = m->curg;
  GORT_CHECK(os::tls().locks == 0, "yield with runtime locks held");
  if (__builtin_expect(m->holds_world, 0)) return;
  G* const next = pick_local(m);
  if (next == nullptr && m->picked == nullptr && m->p->runq.empty()) {
    const bool others = sched.global_size.load(os::memory_order_relaxed) != 0;
    if (!others && m->pending.load(os::memory_order_relaxed) == 0 && !force_migrate() && !left_over(g)) {
      return;  // nobody waits
    }
    // Alone on its P, it would be the next one again: those on the global queue come first.
    if (others) return yield_global();
  }
  departing(g, WaitReason::none);
  switch_from_g(m, g, next, after_yield);
}

void yield_global() noexcept {
  M* m = self_m();
  if (__builtin_expect(m->holds_world, 0)) return;
  GORT_CHECK(os::tls().locks == 0, "yield with runtime locks held");
  departing(m->curg, WaitReason::none);
  switch_from_g(m, m->curg, nullptr, after_yield_global);
}

G* end_goroutine() noexcept {
  if (__builtin_expect(os::tls().in_runtime != 0, 0)) fatal_entered_twice();  // a forked child
  os::tls().in_runtime = 1;
  M* m = self_m();
  G* g = m->curg;
  GORT_CHECK(os::tls().locks == 0, "a goroutine ends with runtime locks held");
  if (__builtin_expect(m->holds_world, 0)) fatal("a goroutine that has stopped the world ends");
  // Stacks without a guard (old kernels, past the bound): an overflow is at least named afterwards.
  if (!stack_canary_ok(g->stack)) fatal_stack_overflow(g, g->stack.lo);
  if (g->locked_m != nullptr) {
    // It may have altered the thread's state: nobody else shall inherit it, so the thread ends too.
    g->locked_m = nullptr;
    g->lock_count = 0;
    m->locked_g = nullptr;
    m->ending = true;
    leave_for_good(m, g, nullptr, after_end);
  }
  G* next = pick_any(m);
  if (next != nullptr && next->ctx.sp == nullptr) {
    // Sanitizers and Valgrind tell goroutines apart by their switches.
    if (!next->own_stack && !g->own_stack && !san::watched()) {
      g->m = nullptr;
      next->set_stack(g->stack);
      g->stack = {};
      g_free(m->p, g);
      m->curg = next;
      next->m = m;
      next->status.store(GStatus::running, os::memory_order_relaxed);
      return next;
    }
    g_prepare(m->p, next);
  }
  leave_for_good(m, g, next, after_end);
}

}  // namespace gort::inline v0::rt
