// gort: a mutex for which a goroutine waits without holding a thread.
//
// The contract of std::timed_mutex, so std::scoped_lock, unique_lock and std::lock work; and, as in Go:
//
//   * Whoever runs already may be faster than one that was woken: best throughput. But who has waited for more than
//     1 ms gets it: the mutex then *starves*, each unlock hands it over to the oldest waiter, until one of them
//     has waited less than that or is the last. So a goroutine that locks again at once keeps nobody out for longer
//     than about a millisecond and its own turns.
//   * Waiting begins with a short spin (about 5 us at most), where that can pay: another processor runs, and nobody
//     else waits for this one.
//
//   gort::mutex m;                       // constinit works
//   { std::scoped_lock hold(m); … }
//
//   state      lock()                                  unlock()
//   free       taken: one compare-and-swap, inline     fatal error
//   held       spins, then waits                       free: one compare-and-swap, inline
//   awaited    the same                                free, and the oldest waiter is woken, if none is on its way
//   starving   waits at the end of the queue           held by the oldest waiter
//
// Promised: unlock never blocks and never changes the thread; lock may change it if it waits. It may be held over
// anything that parks, also by a goroutine that goes on on another thread, and unlocked there. What happened before
// an unlock is visible after the next lock. It may be destroyed as soon as nobody holds it or wants it, even if the
// unlock that ended that has not returned yet. Goroutines and foreign threads may share it; a foreign thread that waits
// blocks. Neither lock nor its timed forms are cancelled by a context: they end when the holder is done.
// Not promised: order, recursion. Locking it again in the same goroutine waits for ever.
// Misuse: unlock of a mutex that nobody holds is a fatal error. Debug builds (GORT_DEBUG) also find the unlock by another
// than who locked it, the second lock, and the destruction of one in use.
//
// Size: 4 bytes (debug builds 16). The idea of starvation: Go's sync.Mutex; of queues outside the object: WebKit's
// ParkingLot.
#pragma once

#include <chrono>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {
/// Until it is had, or `deadline` has passed (false).
bool mutex_lock_slow(word32& word, std::int64_t deadline) noexcept;
void mutex_unlock_slow(word32& word) noexcept;
}  // namespace detail

class mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
#if defined(GORT_DEBUG)
  ~mutex() { detail::sync_destroyed(word_.load(std::memory_order_relaxed) != 0, "gort::mutex: destroyed while in use"); }
#else
  ~mutex() = default;
#endif

  /// Takes it; waits while somebody else has it. May change the thread if it waits.
  void lock() noexcept {
    if (!take()) {
      not_mine();
      detail::mutex_lock_slow(word_, detail::kNoDeadline);
    }
    taken();
  }

  /// Takes it if nobody has it. Never waits.
  [[nodiscard]] bool try_lock() noexcept {
    if (!take()) return false;
    taken();
    return true;
  }

  /// As lock, for at most that long; false: not had. Time that is not positive: as try_lock.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& time) noexcept {
    if (try_lock()) return true;
    if (!detail::mutex_lock_slow(word_, detail::deadline_in(time))) return false;
    taken();
    return true;
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) noexcept {
    if (try_lock()) return true;
    if (!detail::until(when, [&](std::int64_t d) { return detail::mutex_lock_slow(word_, d); })) return false;
    taken();
    return true;
  }

  /// Gives it back. Never waits, never changes the thread.
  void unlock() noexcept {
    let_go();
    std::uint32_t now = word_.load(std::memory_order_relaxed);
    do {
      if (!detail::mutex_unlock_wakes_nobody(now)) [[unlikely]] return detail::mutex_unlock_slow(word_);
    } while (!word_.compare_exchange_weak(now, now & ~detail::kMutexLocked, std::memory_order_release,
                                          std::memory_order_relaxed));
  }

 private:
  /// If nobody has it, also beside others who wait: who runs now is faster than who is on its way. (Tried with the word that a
  /// mutex has which nobody wants, without a look, it fails for as long as somebody waits: a locked instruction more each time.)
  bool take() noexcept {
    std::uint32_t now = word_.load(std::memory_order_relaxed);
    while ((now & detail::kMutexLocked) == 0) {
      if (word_.compare_exchange_weak(now, now | detail::kMutexLocked, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

#if defined(GORT_DEBUG)
  void not_mine() noexcept {
    if (owner_.load(std::memory_order_relaxed) == detail::sync_self()) {
      detail::sync_misuse("gort::mutex: locked again by the goroutine that holds it");
    }
  }
  void taken() noexcept { owner_.store(detail::sync_self(), std::memory_order_relaxed); }
  void let_go() noexcept {
    if (word_.load(std::memory_order_relaxed) == 0) return;  // mutex_unlock_slow says so
    if (owner_.exchange(0, std::memory_order_relaxed) != detail::sync_self()) {
      detail::sync_misuse("gort::mutex: unlock by another goroutine than the one that locked it");
    }
  }
  std::atomic<std::uint64_t> owner_{0};
#else
  void not_mine() noexcept {}
  void taken() noexcept {}
  void let_go() noexcept {}
#endif
  detail::word32 word_{0};
};

}  // namespace gort::inline v0
