// gort: a counting semaphore on which goroutines wait without holding a thread.
//
// The contract of std::counting_semaphore, and more:
//
//   * Waiters are served in the order in which they came: release() gives its units to the oldest waiters
//     directly, and nobody who comes after them can be faster.
//   * Units may be taken and given back several at a time. Who wants many waits until so many are free, and all who come
//     later wait behind: small requests cannot keep a large one out.
//   * It may be destroyed as soon as nobody waits on it or will use it, even if the release() that ended the
//     last wait has not returned yet.
//
//   gort::semaphore permits(4);          // at most four at a time
//   permits.acquire();
//   ...
//   permits.release();
//
//   free units, waiters    acquire(n)           try_acquire(n)    release(n)
//   n or more, none        takes them           true              free + n
//   fewer, none            waits                false             free + n
//   any, some              waits its turn       false             free + n, serves the oldest as far as they go
//
// Promised: what happened before a release() is visible to the acquire() that takes a unit of it. Any
// thread may call everything; a foreign thread that waits blocks its thread. Only acquire and its timed forms may
// change the thread, if they wait.
// Cancellation: acquire and the timed forms in a cancelled context do nothing and throw gort::cancelled; one that is
// cancelled while it waits takes nothing and throws it, too.
// The idea of serving large requests in turn: golang.org/x/sync/semaphore.
#pragma once

#include <chrono>
#include <cstddef>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {
[[noreturn]] void semaphore_misuse(const char* what) noexcept;
/// Throws gort::cancelled; false: the deadline has passed.
bool semaphore_acquire(word32& word, std::ptrdiff_t n, std::int64_t deadline);
}  // namespace detail

class semaphore {
 public:
  static constexpr std::ptrdiff_t max() noexcept { return detail::kSemaphoreMax; }

  /// Starts with `desired` units, 0 to max(); anything else is a fatal error.
  constexpr explicit semaphore(std::ptrdiff_t desired) noexcept : word_(static_cast<std::uint32_t>(desired)) {
    if (desired < 0 || desired > max()) {
      detail::semaphore_misuse("gort::semaphore: constructed with a count below 0 or above max()");
    }
  }
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;
#if defined(GORT_DEBUG)
  ~semaphore() {
    detail::sync_destroyed((word_.load(std::memory_order_relaxed) & detail::kSemaphoreParked) != 0,
                           "gort::semaphore: destroyed while somebody waits");
  }
#else
  ~semaphore() = default;
#endif

  /// Takes n units, 0 to max(); blocks until they are there and the caller's turn has come. May change the
  /// goroutine's thread if it blocks.
  void acquire(std::ptrdiff_t n = 1) { detail::semaphore_acquire(word_, n, detail::kNoDeadline); }
  /// Takes n units if they are there and nobody waits. Never blocks. May be called in signal handlers.
  [[nodiscard]] bool try_acquire(std::ptrdiff_t n = 1) noexcept;
  /// As acquire, for at most that long; false: nothing was taken.
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(const std::chrono::duration<Rep, Period>& time, std::ptrdiff_t n = 1) {
    return detail::semaphore_acquire(word_, n, detail::deadline_in(time));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& when, std::ptrdiff_t n = 1) {
    return detail::until(when, [&](std::int64_t d) { return detail::semaphore_acquire(word_, n, d); });
  }
  /// Adds `update` units (0 or more) and serves as many waiters. Never blocks, never changes the thread. Going
  /// beyond max() is a fatal error.
  void release(std::ptrdiff_t update = 1);

 private:
  detail::word32 word_;
};

}  // namespace gort::inline v0
