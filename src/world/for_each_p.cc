// The ragged barrier. Each P owes one run of the function (P::safe_point) and pays when it next passes a place where
// nobody uses it: its own thread at serve_here, schedule(), a blocking call, or when it gives the P away; the initiator,
// for Ps that nobody runs. The M that has just been handed one looks before it uses it.
#include "base/fault.h"
#include "sched/captives.h"
#include "sched/start.h"
#include "sched/stop_point.h"
#include "world/world.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kRepeat = 100'000;  // ns until those who have not answered are asked again

bool owes(P* p) noexcept { return p->safe_point.load(os::memory_order_seq_cst) != kSafePointDone; }

/// For a P that nobody runs: here. For one that runs: asks.
void serve_or_ask(P* p) noexcept {
  switch (p->status.load(os::memory_order_seq_cst)) {
    case PStatus::syscall:
      if (MaybeOwnedP owned = retake_p(p); owned) hand_off_p(owned.take());  // runs it
      return;
    case PStatus::handed:
      run_safe_point(p);  // should its M wake meanwhile, it waits (await_p)
      return;
    case PStatus::running: {
      M* m = p->m.load(os::memory_order_acquire);
      if (m == nullptr) return;
      m->pending.fetch_or(kPendingSafePoint, os::memory_order_seq_cst);
      if (debug_settings.asyncpreempt && sched_hooks.preempt != nullptr) sched_hooks.preempt(m, false);
      return;
    }
    default:
      return;  // idle: done under the lock. In somebody's hand: on its way to one of these
  }
}

void await(P* p) noexcept {
  for (serve_or_ask(p); owes(p); serve_or_ask(p)) {
    sched.awaited.store(p, os::memory_order_seq_cst);  // partner: tell_stopped
    if (owes(p)) sched.stop_note.sleep_for(kRepeat);
    sched.awaited.store(nullptr, os::memory_order_seq_cst);
    sched.stop_note.clear();
  }
}

void run_round(void*) {
  M* m = self_m();
  P* own = m != nullptr ? m->p : nullptr;
  const std::int32_t n = sched.nprocs.load(os::memory_order_relaxed);
  {
    LockGuard guard(sched.lock);
    for (std::int32_t i = 0; i < n; ++i) p_at(i)->safe_point.store(kSafePointAsked, os::memory_order_seq_cst);
    for (P* p = sched.idle_p; p != nullptr; p = p->idle_link) run_safe_point(p);
  }
  if (own != nullptr) run_safe_point(own);
  for (std::int32_t i = 0; i < n; ++i) serve_or_ask(p_at(i));
  for (std::int32_t i = 0; i < n; ++i) await(p_at(i));
}

}  // namespace

void for_each_p(WorldHold&, void (*fn)(P* p, void* arg) noexcept, void* arg) noexcept {
  sched.safe_point_fn = fn;
  sched.safe_point_arg = arg;
  parked_on_system_stack(run_round, nullptr, WaitReason::stopping_the_world);
}

}  // namespace gort::inline v0::rt
