// gort: timers: per-P heaps of what is to be done when.
//
//   Timer::when    means                           heap
//   a time         armed                           holds it, under a key that is not later
//   kTimerOff      stopped                         still holds it; drops it when its key comes up
//   kTimerOut      stopped or gone off             does not hold it
//
//   from          to          by
//   out           a time      timer_arm, under the heap's lock
//   off, a time   a time      timer_arm: one compare-and-swap if the key in the heap is not later than the new time
//   a time        a time      timer_move: likewise
//   a time        off         timer_stop: one compare-and-swap
//   a time        out         the heap, under its lock: it goes off
//   a time        a time      likewise: a periodic one goes off
//   off           out         the heap, under its lock, when the key comes up, or timer_remove
//
// So what programs do with timers most, arming one for a far time and stopping it soon, over and over, takes no lock
// and moves nothing: a key that comes up too early is moved to the timer's time then. The price is that a stopped
// timer stays in the heap until its old time; it is one per Timer, so it costs no more than the Timer itself.
//
// Heaps are 4-ary over entries of 16 bytes (the time, the timer), four children to a cache line; a timer knows its
// place, so that it can be moved forward and taken out. Locks: one heap's at a time, LockRank::timers. A timer's heap
// (`home`) is the P's on which it was armed when it was in none; it changes under the old home's lock only.
//
// Arming needs no memory that could be lacking: see TimerHeap.
//
// What goes off runs on whichever thread found it due (sched/watch.h), in the runtime, under no lock, on an M's own
// stack or on sysmon's (no P): it must be short and must not park. No P-derived value is kept over it.
// The idea of lazily moved entries and of a heap per processor is Go's (runtime/time.go, since 1.14 and 1.23).
#pragma once

#include <cstdint>

#include "sched/wait_state.h"

namespace gort::inline v0::rt {

struct TimerHeap;

inline constexpr std::int64_t kTimerOut = INT64_MAX;
inline constexpr std::int64_t kTimerOff = INT64_MAX - 1;
inline constexpr std::int64_t kTimerLast = INT64_MAX - 2;  ///< the latest time that can be armed: 292 years of uptime

/// What was true when the timer went off; it may have been armed anew since.
struct TimerShot {
  void (*fire)(const TimerShot& shot) noexcept;
  Timer* timer;
  void* arg;
  std::uint64_t seq;   ///< what timer_arm was given
  std::int64_t when;   ///< the time that it was armed for
  std::int64_t now;    ///< the clock when it was found due
};

struct Timer {
  os::atomic<std::int64_t> when{kTimerOut};
  os::atomic<std::int64_t> key{0};           ///< in the heap; written under home's lock
  os::atomic<TimerHeap*> home{nullptr};
  std::uint32_t slot = 0;                    ///< in the heap; 0: none; or kTimerBeside. Under home's lock
  os::atomic<std::uint32_t> going_off{0};    ///< calls of `fire` that have not returned
  os::atomic<std::int64_t> period{0};        ///< > 0: armed again by itself; before it is armed
  os::atomic<std::uint64_t> seq{0};          ///< written under home's lock, or while `when` is kTimerOff by one armer
  void (*fire)(const TimerShot& shot) noexcept = nullptr;  ///< set once
  void* arg = nullptr;                       ///< likewise
  Timer* beside = nullptr;                   ///< link of TimerHeap::beside
};

/// Of a timer that nobody else knows yet: it will be armed here, probably. Spares the first arming a search for its heap.
/// In the runtime.
void timer_settle(Timer* t) noexcept;

/// Arms it for `when` (clamped to kTimerLast), whatever it was. True: it was armed. `seq` goes to `fire`; who gives
/// different ones stops the timer first, and does so one at a time. `parks`: the caller's goroutine parks right after it.
/// In the runtime, under no lock, any thread.
bool timer_arm(Timer* t, std::int64_t when, std::uint64_t seq, bool parks = false) noexcept;

/// Of an armed timer: the same arming, with its `seq`, for another time, at most kTimerLast. False: it is not armed, or stands in
/// its heap for later than that; nothing has been done. Lock-free, any thread, under any lock; if true, then timer_moved, under none.
inline bool timer_move(Timer* t, std::int64_t when) noexcept {
  std::int64_t old = t->when.load(os::memory_order_acquire);  // and then its key: no older one
  while (old <= kTimerLast && t->key.load(os::memory_order_relaxed) <= when) {
    // Partner: take_top, as arm_in_place.
    if (t->when.compare_exchange_weak(old, when, os::memory_order_seq_cst, os::memory_order_acquire)) return true;
  }
  return false;
}
void timer_moved(Timer* t, std::int64_t when) noexcept;

/// True: it was armed, and does not go off. Lock-free, any thread, under any lock.
inline bool timer_stop(Timer* t) noexcept {
  std::int64_t when = t->when.load(os::memory_order_relaxed);
  while (when <= kTimerLast) {
    if (t->when.compare_exchange_weak(when, kTimerOff, os::memory_order_acq_rel, os::memory_order_relaxed)) return true;
  }
  return false;
}

inline bool timer_armed(const Timer* t) noexcept { return t->when.load(os::memory_order_acquire) <= kTimerLast; }

/// Stops it, takes it out of its heap and waits until no `fire` of it is running: its memory may be used for
/// something else. Nobody arms it meanwhile. In the runtime, under no lock; not from `fire`.
/// True: it was armed.
bool timer_remove(Timer* t) noexcept;

/// What deadlines are compared with: os::nanotime(), or the clock of the caller's bubble.
std::int64_t clock_now() noexcept;
/// What a deadline in `ns` is reckoned from: not before clock_now(), and for all but short times perhaps a quarter of a
/// microsecond after it. Half its price (os/quick_clock.h).
std::int64_t clock_for(std::int64_t ns) noexcept;

// ---- deadlines of waits -------------------------------------------------------------------------

/// Before deadline_arm: gives w a timer, which it keeps. False: there is no memory for one; then the waiter lends it one for
/// this wait, of its own stack.
[[nodiscard]] bool deadline_prepare(WaitState* w) noexcept;
void deadline_lend(WaitState* w, Timer* t) noexcept;
/// After the wait, in the runtime, under no lock: nobody looks at the timer any more.
void deadline_take_back(WaitState* w) noexcept;

/// Ends the wait `generation` of `w` with WaitEnd::timeout at clock_now() == `when`, unless it has ended before.
/// The owner of `w`, in the runtime, under no lock, about to park.
void deadline_arm(WaitState* w, WaitGeneration generation, std::int64_t when) noexcept;
/// The wait is over; its deadline, if it is still armed, will not be looked at. Does not wait for a timer that
/// fires at this moment: the generation makes that harmless. The owner of `w`. Lock-free.
void deadline_disarm(WaitState* w) noexcept;

}  // namespace gort::inline v0::rt
