#include "sync/cancel.h"

#include <utility>

#include "base/check.h"
#include "base/fault.h"
#include "base/sanitizer.h"
#include "sched/alone.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "world/suspend.h"

namespace gort::inline v0::rt {

void cancel_join(CancelSource* s, WaitState* w) noexcept {
  if (w->member_of == s) return;
  cancel_leave(w);
  LockGuard guard(s->lock);
  w->prev = nullptr;
  w->next = s->members;
  if (w->next != nullptr) w->next->prev = w;
  s->members = w;
  w->member_of = s;
}

void cancel_leave(WaitState* w) noexcept {
  CancelSource* s = w->member_of;
  if (s == nullptr) return;
  LockGuard guard(s->lock);
  if (s->walk == w) s->walk = w->next;
  (w->prev != nullptr ? w->prev->next : s->members) = w->next;
  if (w->next != nullptr) w->next->prev = w->prev;
  w->member_of = nullptr;
}

namespace {

/// The goroutine that waits with this record; null: a foreign thread.
G* goroutine_of(const WaitState* w) noexcept { return w->wake->ready == ready_waiter ? g_of(w->wake) : nullptr; }

/// Claims a goroutine that waits. False: it does not, and will look at the flag before it does. Somebody else may hold it,
/// for a moment.
bool claim_waiting(G* g, GStatus* was) noexcept {
  for (int round = 0;; ++round) {
    switch (g->status.load(os::memory_order_acquire)) {
      case GStatus::waiting:
        if (claim_g(g, was)) return true;
        break;
      case GStatus::held:
        if (round < 100) {
          os::cpu_relax(8);
        } else {
          os::thread_yield();
        }
        break;
      default: return false;
    }
  }
}

/// Ends the wait of a member, whichever kind it is. True: it sleeps, and is to be made ready.
bool end_wait(WaitState* w) noexcept {
  const std::uint64_t word = w->word.load(os::memory_order_seq_cst);
  if ((word & kWaitOpen) != 0) {
    if ((word & kWaitCancellable) == 0) return false;  // shielded, or a wait that cannot be cancelled
    return wait_win(*w, word >> kWaitGenerationShift, WaitEnd::cancelled) == Won::parked;
  }
  G* g = goroutine_of(w);
  GStatus was;
  if (g == nullptr || !claim_waiting(g, &was)) return false;
  // A member waits in this context, if it is not under a shield, or in a background that it has installed anew.
  const bool ended = w->withdraw != nullptr && g->cancel == w->member_of && w->withdraw(&g->wait, w->withdraw_from);
  unclaim_g(g, was);
  return ended;
}

}  // namespace

void cancel_fire(CancelSource* s) noexcept {
  san::release(s);  // who finds it cancelled sees what happened before
  if (s->cancelled.exchange(1, os::memory_order_seq_cst) != 0 || fault(Fault::cancel_walk)) return;
  LockGuard guard(s->lock);
  s->walk = s->members;
}

bool cancel_walk(CancelSource* s) noexcept {
  if (const M* m = self_m(); m == nullptr || m->p == nullptr) alone_ends();  // plain waits in queues without a lock
  WaitState* won = nullptr;
  bool more = false;
  {
    LockGuard guard(s->lock);
    for (int n = 0; s->walk != nullptr && n < kCancelStep; ++n) {
      WaitState* w = std::exchange(s->walk, s->walk->next);
      if (!end_wait(w)) continue;
      w->next_ready = won;
      won = w;
    }
    more = s->walk != nullptr;
  }
  // They sleep until they are readied, so their links stay; once readied, the record is its owner's again.
  while (won != nullptr) {
    waiter* wake = won->wake;
    won = won->next_ready;
    wake->ready(wake);
  }
  return more;
}

}  // namespace gort::inline v0::rt
