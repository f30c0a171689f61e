#include "sync/cancel.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/sanitizer.h"

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
  (w->prev != nullptr ? w->prev->next : s->members) = w->next;
  if (w->next != nullptr) w->next->prev = w->prev;
  w->member_of = nullptr;
}

void cancel_fire(CancelSource* s) noexcept {
  san::release(s);  // who finds it cancelled sees what happened before
  if (s->cancelled.exchange(1, os::memory_order_seq_cst) != 0) return;
  if (fault(Fault::cancel_walk)) return;
  WaitState* won = nullptr;
  {
    LockGuard guard(s->lock);
    for (WaitState* w = s->members; w != nullptr; w = w->next) {
      const std::uint64_t word = w->word.load(os::memory_order_seq_cst);
      if ((word & kWaitCancellable) == 0) continue;  // shielded, or a wait that cannot be cancelled
      if (wait_win(*w, word >> kWaitGenerationShift, WaitEnd::cancelled) != Won::parked) continue;
      w->next_ready = won;
      won = w;
    }
  }
  // They sleep until they are readied, so their links stay; once readied, the record is its owner's again.
  while (won != nullptr) {
    waiter* wake = won->wake;
    won = won->next_ready;
    wake->ready(wake);
  }
}

}  // namespace gort::inline v0::rt
