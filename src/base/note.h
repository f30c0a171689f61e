// gort: a note, the one-shot event on which an M sleeps. It blocks the *thread*.
//
//   clear()  ->  sleep() … wakeup()  ->  clear() for the next use
//
// One sleeper, one wakeup per clear. A wakeup before the sleep is kept. wakeup() publishes everything
// that was written before it to the sleeper. The name and the contract are Go's (runtime notes).
#pragma once

#include "base/check.h"
#include "os/os.h"

namespace gort::inline v0::rt {

class Note {
 public:
  constexpr Note() noexcept = default;

  /// Makes the note ready for another round. Only when nobody sleeps on it and no wakeup is on its way.
  void clear() noexcept { word_.store(0, os::memory_order_relaxed); }

  /// Sleeps until wakeup().
  void sleep() noexcept {
    while (word_.load(os::memory_order_acquire) == 0) os::futex_wait(&word_, 0, -1);
  }

  /// Sleeps at most `ns`; true if woken. Spurious kernel returns do not lengthen the wait
  /// (acceptance scenario 105).
  bool sleep_for(std::int64_t ns) noexcept {
    if (signaled()) return true;
    if (ns <= 0) return false;
    const std::int64_t deadline = os::nanotime_in(ns);
    while (!signaled()) {
      const std::int64_t left = deadline - os::nanotime();
      if (left <= 0) return false;
      os::futex_wait(&word_, 0, left);
    }
    return true;
  }

  /// Wakes the sleeper, now or when it comes.
  void wakeup() noexcept {
    const std::uint32_t old = word_.exchange(1, os::memory_order_release);
    GORT_CHECK(old == 0, "double wakeup of a note");
    os::futex_wake(&word_, 1);
  }

  /// As wakeup, but a second one before the next clear is allowed and does nothing (doorbells).
  void ring() noexcept {
    if (word_.exchange(1, os::memory_order_release) == 0) os::futex_wake(&word_, 1);
  }

  bool signaled() const noexcept { return word_.load(os::memory_order_acquire) != 0; }

 private:
  os::atomic<std::uint32_t> word_{0};
};

}  // namespace gort::inline v0::rt
