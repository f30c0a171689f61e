// gort: leaving one goroutine for another on this M.
//
// A goroutine that leaves may be wanted by another M at once (it was queued somewhere, it yields, it has
// ended), but its context is only complete when the switch is done. So what is to be done about it (queue
// it, release a lock, free it) is left in the M as `after` and executed on the other side of the switch, on
// the stack of whoever runs next. That allows a switch straight from goroutine to goroutine, without a
// visit to the M's own stack: half the price of Go's mcall + gogo.
//
// At a switch: Tls::in_runtime is 1 on both sides, no OwnedP is alive, and no runtime lock is held but
// one that `after` releases.
#pragma once

#include "arch/context.h"
#include "base/sanitizer.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

/// The other side: called first thing by everybody who has just been switched to.
[[gnu::always_inline]] inline void finish_switch() noexcept {
  M* m = self_m();
  san::finish_switch(m->curg != nullptr ? m->curg->san : m->san, m->left_ends);
  const AfterSwitch after = m->after;
  if (after != nullptr) {
    m->after = nullptr;
    after(m, m->left);
  }
}

namespace detail {

/// Makes `to` (null: the M's own stack) what this M runs, and continues it.
[[gnu::always_inline]] inline void switch_stacks(M* m, arch::Context* save, GSanitizer& from_san, G* to) noexcept {
  m->curg = to;
  if (to != nullptr) {
    to->m = m;
    *m->eh = to->eh;
    to->status.store(GStatus::running, os::memory_order_relaxed);
  }
  if (__builtin_expect(san::watched(), 0)) {
    // Who waits for the rest of a bubble goes on when this goroutine does not run.
    if (m->left != nullptr && m->left->bubble != nullptr) san::release(m->left->bubble);
    // Asked here, or the bounds would be loaded: another line of the G
    san::start_switch(from_san, to != nullptr ? to->san : m->san, to != nullptr ? to->stack.lo : m->stack_lo,
                      to != nullptr ? to->stack.hi : m->stack_hi, m->left_ends);
  }
  arch::switch_context(save, to != nullptr ? &to->ctx : &m->g0_ctx);
}

}  // namespace detail

/// From goroutine `from`, which runs on m, to `to` or to the M's own stack (null). Returns when somebody
/// continues `from`, perhaps on another M: m is stale then.
[[gnu::always_inline]] inline void switch_from_g(M* m, G* from, G* to, AfterSwitch after) noexcept {
  GORT_DCHECK(os::tls().owned == 0, "an OwnedP is alive over a switch");
  from->eh = *m->eh;
  from->m = nullptr;
  m->left = from;
  m->after = after;
  m->left_ends = false;
  detail::switch_stacks(m, &from->ctx, from->san, to);
  finish_switch();
}

/// As switch_from_g, for the last time: nobody continues `from`.
[[noreturn]] inline void leave_for_good(M* m, G* from, G* to, AfterSwitch after) noexcept {
  GORT_DCHECK(os::tls().owned == 0, "an OwnedP is alive over a switch");
  from->m = nullptr;
  m->left = from;
  m->after = after;
  m->left_ends = true;
  // Whoever gets this stack writes over the frames: last thing, the way here reads clocks, which TSan sees. Partner: g_main.
  san::release(reinterpret_cast<const void*>(from->stack.lo));
  detail::switch_stacks(m, &from->ctx, from->san, to);
  __builtin_unreachable();
}

/// From the M's own stack to goroutine `to`. Returns when a goroutine of this M switches back for good; one that
/// `after` sends back (M::back, parked_on_system_stack) is continued from here, so that the stack does not grow.
inline void switch_from_g0(M* m, G* to) noexcept {
  GORT_DCHECK(os::tls().owned == 0, "an OwnedP is alive over a switch");
  do {
    m->left = nullptr;
    m->after = nullptr;
    m->left_ends = false;
    m->back = nullptr;
    *m->eh = {};
    detail::switch_stacks(m, &m->g0_ctx, m->san, to);
    finish_switch();
    to = m->back;
  } while (__builtin_expect(to != nullptr, 0));
}

}  // namespace gort::inline v0::rt
