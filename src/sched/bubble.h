// gort: bubbles (include/gort/testing/bubble.h), as the scheduler sees them: how many of a bubble's goroutines can run.
//
//   running   counts                                                        changed by
//             goroutines that are not durably blocked                       their park (-), ready (+), birth, death
//             whoever looks after the bubble at the moment (the agent)      Bubble::idle
//
// Who brings it to 0 calls idle(), which makes itself a count while it acts, so that there is one at a time. A park is
// counted when the context is complete and the wait is published: a ready() that comes first makes the number too large
// for a moment, never too small.
#pragma once

#include "sched/sched.h"

namespace gort::inline v0::rt {

struct Bubble {
  os::atomic<std::int64_t> running{0};
  os::atomic<std::int64_t> alive{0};        ///< goroutines that have not ended
  os::atomic<std::int64_t> now{0};          ///< the clock; written by the agent
  std::uint64_t serial = 0;                 ///< never given twice; what is made in it remembers that
  void (*idle)(Bubble* b) noexcept = nullptr;  ///< running has become 0. In the runtime, no locks; must not park
};

/// Whether there is any bubble; else nobody need look further.
[[gnu::always_inline]] inline bool bubbles_exist() noexcept {
  return __builtin_expect(sched.bubbles.load(os::memory_order_relaxed) != 0, 0);
}

/// Whether a wait for this reason can be ended from inside the bubble only.
constexpr bool durable(WaitReason r) noexcept {
  switch (r) {
    case WaitReason::sleep:
    case WaitReason::chan_receive:
    case WaitReason::chan_send:
    case WaitReason::chan_receive_null:
    case WaitReason::chan_send_null:
    case WaitReason::select:
    case WaitReason::select_no_cases:
    case WaitReason::semaphore_acquire:
    case WaitReason::cond_wait:
    case WaitReason::wait_group_wait:
    case WaitReason::latch_wait:
    case WaitReason::barrier_wait:
    case WaitReason::task_join:
    case WaitReason::scope_join:
    case WaitReason::event_wait:
    case WaitReason::context_wait:
    case WaitReason::bubble_wait: return true;
    default: return false;
  }
}

/// One running count less.
inline void bubble_leave(Bubble* b) noexcept {
  if (b->running.fetch_sub(1, os::memory_order_acq_rel) == 1) b->idle(b);
}

/// g parks now, its context is complete, the wait not yet published. The bubble that bubble_leave is to be told
/// afterwards, or null.
inline Bubble* bubble_parks(G* g) noexcept {
  if (!bubbles_exist() || g->bubble == nullptr) return nullptr;
  if (!durable(g->wait_reason) || g->waits_outside) return nullptr;
  g->durably_blocked = true;
  return g->bubble;
}

/// Somebody has ended g's wait, and makes it runnable after this.
inline void bubble_readies(G* g) noexcept {
  if (!bubbles_exist() || !g->durably_blocked) return;
  g->durably_blocked = false;
  g->bubble->running.fetch_add(1, os::memory_order_relaxed);
}

/// g is born into b (null: into none).
inline void bubble_enter(G* g, Bubble* b) noexcept {
  g->bubble = b;
  if (b == nullptr) return;
  g->durably_blocked = false;
  g->waits_outside = false;
  b->alive.fetch_add(1, os::memory_order_relaxed);
  b->running.fetch_add(1, os::memory_order_relaxed);
}

/// g has ended.
inline void bubble_exit(G* g) noexcept {
  if (!bubbles_exist() || g->bubble == nullptr) return;
  Bubble* b = g->bubble;
  g->bubble = nullptr;
  b->alive.fetch_sub(1, os::memory_order_acq_rel);
  bubble_leave(b);
}

}  // namespace gort::inline v0::rt
