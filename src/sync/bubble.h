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
  TimedBubble* next = nullptr;                  ///< of the live ones, or of the pool
};

/// The bubble of the calling goroutine; null: none.
inline TimedBubble* current_bubble() noexcept {
  if (!bubbles_exist()) return nullptr;
  const G* g = current_g();
  return g != nullptr ? static_cast<TimedBubble*>(g->bubble) : nullptr;
}

/// The bubble that a timer which is going off is armed in; null: none.
Bubble* bubble_of(const Timer* t) noexcept;

/// The serial number of the caller's bubble; 0: it is in none.
inline std::uint64_t bubble_serial() noexcept {
  const TimedBubble* b = current_bubble();
  return b != nullptr ? b->serial : 0;
}

inline constexpr std::uint64_t kEveryBubble = UINT64_MAX;  ///< instead of a serial number: the caller's, whichever that is

/// The caller is going to wait for something that was made in the bubble of this number: if it is not the caller's, the
/// wait is not durable.
inline void bubble_waits_for(std::uint64_t made_in) noexcept {
  if (!bubbles_exist()) return;
  if (G* g = current_g(); g != nullptr && g->bubble != nullptr) {
    g->waits_outside |= made_in != kEveryBubble && made_in != g->bubble->serial;
  }
}
inline void bubble_waits_no_more() noexcept {
  if (!bubbles_exist()) return;
  if (G* g = current_g(); g != nullptr) g->waits_outside = false;
}

/// In the runtime. The record is used again; it is never unmapped. Null: no memory.
TimedBubble* bubble_new() noexcept;
void bubble_free(TimedBubble* b) noexcept;
/// Parks until all others are durably blocked.
void bubble_wait(TimedBubble* b) noexcept;

}  // namespace gort::inline v0::rt
