// gort: a bubble: goroutines with a clock of their own. See include/gort/testing/bubble.h, sched/bubble.h.
#pragma once

#include "sched/bubble.h"
#include "sema/sema.h"
#include "sync/timer_heap.h"

namespace gort::inline v0::rt {

struct TimedBubble : Bubble {
  TimerHeap heap;
  os::atomic<std::int64_t> earliest{kNoTimer};  ///< of the heap
  os::atomic<G*> in_wait{nullptr};              ///< who is in bubble::wait
  std::uint32_t fruitless = 0;                  ///< jumps of the clock in a row that woke nobody; agent
  SemWord ended{0};                             ///< its last goroutine has
  TimedBubble* next_free = nullptr;             ///< of the pool
};

/// The bubble of the calling goroutine; null: none.
inline TimedBubble* current_bubble() noexcept {
  if (!bubbles_exist()) return nullptr;
  const G* g = current_g();
  return g != nullptr ? static_cast<TimedBubble*>(g->bubble) : nullptr;
}

/// In the runtime. The record is used again; it is never unmapped.
TimedBubble* bubble_new() noexcept;
void bubble_free(TimedBubble* b) noexcept;
/// Parks until all others are durably blocked.
void bubble_wait(TimedBubble* b) noexcept;

}  // namespace gort::inline v0::rt
