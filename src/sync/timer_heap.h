// gort: one heap of timers: 4-ary, over entries of 16 bytes in segments that double, so that it grows without moving
// what it holds. Everything here is under the heap's lock.
//
// Where there is no memory for a segment more, what does not fit stands *beside* the heap, in a list that is linked through
// the timers: arming a timer always works. Each change is O(timers beside) then.
//   INVARIANT  something stands beside  =>  all slots are in use, and no key beside is earlier than the one on top
//
// Slots begin at 3, so that the four children of one slot share a cache line:
//   parent(s) = s / 4 + 2        first child(s) = 4 * (s - 2)
#pragma once

#include <bit>

#include "base/mutex.h"
#include "sync/timers.h"

namespace gort::inline v0::rt {

struct P;
struct TimedBubble;

inline constexpr std::uint32_t kTimerBeside = 1;  ///< Timer::slot

struct alignas(64) TimerHeap {
  struct Entry {
    std::int64_t key;
    Timer* timer;
  };
  static constexpr std::uint32_t kRoot = 3;
  static constexpr std::uint32_t kFirstSlots = 256;  // one page
  static constexpr int kSegments = 23;               // 2^30 slots

  Mutex lock{LockRank::timers};
  bool closed = false;             ///< its P has gone: nothing may be put in
  std::uint32_t end = kRoot;       ///< one past the last slot in use
  os::atomic<std::int64_t>* earliest = nullptr;  ///< what the world sees: P::timer_when
  TimedBubble* bubble = nullptr;   ///< whose it is; null: a P's
  Timer* beside = nullptr;         ///< for which there is no slot
  std::uint32_t segments = 1;
  Entry* base[kSegments] = {first};  ///< biased: base[k][slot]

  bool empty() const noexcept { return end == kRoot; }
  Entry& at(std::uint32_t slot) noexcept {
    return base[std::bit_width(slot / kFirstSlots)][slot];
  }
  Entry& top() noexcept { return at(kRoot); }

  /// Puts a timer in, which knows this heap as its home.
  void push(Timer* t, std::int64_t key) noexcept;
  /// Takes out a timer that is in.
  void remove(Timer* t) noexcept;
  /// Gives it another key.
  void rekey(Timer* t, std::int64_t key) noexcept;
  /// Says what is earliest now. After any change. True: that is earlier than before.
  bool publish() noexcept;

 private:
  std::uint32_t slots() const noexcept;
  bool room() noexcept { return end != slots() || grow(); }
  void insert(Entry e) noexcept { sift_up(end++, e); }
  Entry take(std::uint32_t slot) noexcept;
  void put_beside(Timer* t) noexcept;
  void leave_beside(const Timer* t) noexcept;
  void settle_beside() noexcept;
  void put(std::uint32_t slot, Entry e) noexcept;
  void sift_up(std::uint32_t slot, Entry e) noexcept;
  void sift_down(std::uint32_t slot, Entry e) noexcept;
  [[nodiscard]] bool grow() noexcept;
  void shrink() noexcept;

  union {
    char nothing = 0;                        // so that nobody clears four kilobytes
    alignas(64) Entry first[kFirstSlots];    ///< the first segment
  };
};

/// Runs what is due at `now`, in the runtime, under no lock. Ends early if the world is to stop.
void run_heap(TimerHeap* h, std::int64_t now) noexcept;
/// Takes out what is armed, one at a time; *shot says what it would have been. False: nothing is armed any more. Nobody puts
/// anything in meanwhile.
bool take_armed(TimerHeap* h, TimerShot* shot) noexcept;
/// Takes everything out; nobody puts anything in meanwhile.
void empty_heap(TimerHeap* h) noexcept;

}  // namespace gort::inline v0::rt
