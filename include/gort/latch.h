// gort: a counter that goes down once, to 0, for which goroutines wait without holding a thread. std::latch.
//
//   gort::latch ready(3);
//   …  ready.count_down();        // each of three
//   ready.wait();
//
// Promised: what happened before a count_down() is visible after a wait() or a try_wait() that found 0. count_down and
// try_wait never block and never change the thread. It may be destroyed as soon as all waits have returned, even if the
// count_down() that ended them has not. Foreign threads may call everything.
// Cancellation: wait and arrive_and_wait in a cancelled context do nothing and throw gort::cancelled; one that is
// cancelled while it waits throws it, too, and has been counted.
// Misuse, each a fatal error: a count below 0 or above max().
#pragma once

#include <chrono>
#include <cstddef>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {
bool latch_wait(word32& word, std::int64_t deadline);
}  // namespace detail

class latch {
 public:
  static constexpr std::ptrdiff_t max() noexcept { return detail::kCountMax; }

  constexpr explicit latch(std::ptrdiff_t expected) noexcept
      : word_(static_cast<std::uint32_t>(expected) * detail::kCountOne) {
    if (expected < 0 || expected > max()) detail::sync_misuse("gort::latch: constructed with a count below 0 or above max()");
  }
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;
#if defined(GORT_DEBUG)
  ~latch() {
    detail::sync_destroyed((word_.load(std::memory_order_relaxed) & detail::kCountParked) != 0,
                           "gort::latch: destroyed while somebody waits");
  }
#else
  ~latch() = default;
#endif

  /// Lowers the count by n, 0 or more.
  void count_down(std::ptrdiff_t n = 1) noexcept {
    if (n < 0 || n > max()) detail::sync_misuse("gort::latch: count_down() by less than 0 or more than max()");
    detail::count_down(word_, static_cast<std::uint32_t>(n), "gort::latch: count below 0");
  }
  /// Whether the count is 0.
  [[nodiscard]] bool try_wait() const noexcept { return word_.load(std::memory_order_acquire) < detail::kCountOne; }
  /// Returns when the count is 0.
  void wait() { detail::latch_wait(word_, detail::kNoDeadline); }
  void arrive_and_wait(std::ptrdiff_t n = 1) {
    detail::throw_if_cancelled();
    count_down(n);
    wait();
  }
  /// As wait, for at most that long; false: the count is not 0 yet.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(const std::chrono::duration<Rep, Period>& time) {
    return detail::latch_wait(word_, detail::deadline_in(time));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(const std::chrono::time_point<Clock, Duration>& when) {
    return detail::until(when, [&](std::int64_t d) { return detail::latch_wait(word_, d); });
  }

 private:
  detail::word32 word_;
};

}  // namespace gort::inline v0
