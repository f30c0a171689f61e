#include "sync/bubble.h"

#include "base/alloc.h"
#include "base/fault.h"
#include "sched/park.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kBegin = std::int64_t{24} * 3600 * 1'000'000'000;  ///< the clock of a new bubble
constexpr std::uint32_t kMostFruitless = 10'000;

constinit FixAlloc<TimedBubble> bubbles;
constinit Mutex pool_lock{LockRank::leaf};
constinit TimedBubble* pool = nullptr;  // under pool_lock
constinit TimedBubble* live = nullptr;  // all that goroutines are in, under pool_lock

/// The clock jumps to the next timer.
void advance(TimedBubble* b) noexcept {
  const std::int64_t when = b->earliest.load(os::memory_order_acquire);
  if (when == kNoTimer) fatal("deadlock: all goroutines of a gort::testing::bubble are blocked, and no timer is armed in it");
  if (when > b->now.load(os::memory_order_relaxed)) {  // else the rest of what was due, for a stop of the world came between
    if (++b->fruitless > kMostFruitless) {
      fatal("deadlock: all goroutines of a gort::testing::bubble are blocked, and its timers wake nobody");
    }
    b->now.store(when, os::memory_order_release);
  }
  run_heap(&b->heap, b->now.load(os::memory_order_relaxed));
}

/// What the agent does while `running` would be this without it.
void go_on(TimedBubble* b, std::int64_t running) noexcept {
  if (G* g = b->in_wait.exchange(nullptr, os::memory_order_acq_rel); g != nullptr) {
    ready(g);
  } else {
    advance(b);
  }
  if (b->running.load(os::memory_order_relaxed) > running + 1) b->fruitless = 0;
}

/// What is to be done when nobody runs.
void look_after(Bubble* bubble) noexcept {
  auto* b = static_cast<TimedBubble*>(bubble);
  for (;;) {
    std::int64_t nobody = 0;
    if (!b->running.compare_exchange_strong(nobody, 1, os::memory_order_acq_rel)) return;
    if (b->alive.load(os::memory_order_acquire) == 0) {
      sem_release(&b->ended, {.handoff = false, .yield = false});
      return;  // b is its owner's
    }
    go_on(b, 0);
    if (b->running.fetch_sub(1, os::memory_order_acq_rel) != 1) return;
  }
}

/// Of the bubbles that can go on, the one that has stood for longest. Null: none.
TimedBubble* take_one_that_can() noexcept {
  LockGuard guard(pool_lock);
  for (TimedBubble** at = &live; *at != nullptr; at = &(*at)->next) {
    TimedBubble* b = *at;
    if (b->earliest.load(os::memory_order_acquire) == kNoTimer && b->in_wait.load(os::memory_order_relaxed) == nullptr) continue;
    TimedBubble** last = at;
    *at = b->next;
    while (*last != nullptr) last = &(*last)->next;
    *last = b;
    b->next = nullptr;
    return b;
  }
  return nullptr;
}

/// sched_hooks.bubbles_go_on. Whoever waits in a bubble for a mutex, say, counts as running, since its holder may be outside
/// and about to let go. It is not: nobody can run. So all are as good as durably blocked, and we are the agent.
bool one_goes_on() noexcept {
  if (fault(Fault::bubble_dead)) return false;
  // Nobody can run, so no bubble ends before we make it go on, nor has one an agent.
  TimedBubble* b = take_one_that_can();
  if (b == nullptr) return false;
  const std::int64_t running = b->running.fetch_add(1, os::memory_order_acq_rel);
  go_on(b, running);
  bubble_leave(b);
  return true;
}

}  // namespace

TimedBubble* bubble_new() noexcept {
  TimedBubble* b = nullptr;
  {
    LockGuard guard(pool_lock);
    b = pool;
    if (b != nullptr) pool = b->next;
  }
  if (b == nullptr) {
    void* const memory = bubbles.try_alloc();
    if (memory == nullptr) return nullptr;
    b = ::new (memory) TimedBubble;
    b->heap.earliest = &b->earliest;
    b->heap.bubble = b;
    b->idle = look_after;
  }
  static constinit os::atomic<std::uint64_t> serials{0};
  b->serial = serials.fetch_add(1, os::memory_order_relaxed) + 1;
  b->now.store(kBegin, os::memory_order_relaxed);
  b->running.store(0, os::memory_order_relaxed);
  b->fruitless = 0;
  LockGuard guard(pool_lock);
  if (sched_hooks.bubbles_go_on == nullptr) sched_hooks.bubbles_go_on = one_goes_on;
  b->next = live;
  live = b;
  sched.bubbles.fetch_add(1, os::memory_order_seq_cst);
  return b;
}

void bubble_free(TimedBubble* b) noexcept {
  empty_heap(&b->heap);
  // From here on no goroutine is in it; those of others that look at their own bubble find the number as it is.
  sched.bubbles.fetch_sub(1, os::memory_order_seq_cst);
  LockGuard guard(pool_lock);
  TimedBubble** at = &live;
  while (*at != b) at = &(*at)->next;
  *at = b->next;
  b->next = pool;
  pool = b;
}

void bubble_wait(TimedBubble* b) noexcept {
  G* expected = nullptr;
  if (!b->in_wait.compare_exchange_strong(expected, current_g(), os::memory_order_acq_rel)) {
    fatal("gort::testing::bubble::wait: another goroutine of the bubble is in wait() already");
  }
  park(nullptr, nullptr, WaitReason::bubble_wait);
}

}  // namespace gort::inline v0::rt
