// gort: the caller's context as blocking operations see it.
//
// A blocking call in a cancelled context does nothing and throws, whether it would have had to wait or not: so a
// cancelled goroutine stops at the next blocking call, on a busy channel too. Not while an exception unwinds the
// stack (a destructor that says goodbye on a channel works), not under a shield, never in lock, unlock and close.
#pragma once

#include "gort/cancelled.h"
#include "sched/m.h"
#include "sync/cancel.h"

namespace gort::inline v0::detail {

rt::CancelSource* cancellation_slow() noexcept;

/// The source whose cancellation ends the caller's blocking operation. Null: none. Outside the runtime; about 1 ns.
[[gnu::always_inline]] inline rt::CancelSource* cancellation() noexcept {
  // The usual case: a goroutine that has waited in its context before, and does not unwind.
  if (const rt::M* m = rt::self_m(); __builtin_expect(m != nullptr && m->curg != nullptr && m->eh->uncaught == 0, 1)) {
    rt::CancelSource* s = m->curg->cancel;
    if (s == nullptr || __builtin_expect(s->linked.load(os::memory_order_acquire), 1)) return s;
  }
  return cancellation_slow();
}

/// What a blocking operation begins with that cannot be interrupted once it waits.
void throw_if_cancelled();

/// The source that the caller's context names, unwinding or not. Null: none.
rt::CancelSource* current_cancel() noexcept;

}  // namespace gort::inline v0::detail
