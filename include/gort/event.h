// gort: an event: something that has happened, or not yet; goroutines wait for it, anybody may say so.
//
//   state     wait()              becomes
//   not set   blocks              set by set()
//   set       returns at once     not set by reset()
//
// set() ends all waits that have begun, also if reset() follows at once. Callable from any thread, callbacks of other
// libraries included; a foreign thread that waits blocks. May be destroyed as soon as nobody waits any more, even if
// the set() that ended the last wait has not returned yet. Destroying one that is waited for is a fatal error in debug
// builds, undefined otherwise.
//
// Promised: what happened before set() is visible after wait(). Waiters are woken in the order in which they came.
// Four bytes; constinit. As std's manual-reset events would be, were there any (Win32, .NET).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "gort/clock.h"
#include "gort/config.h"

namespace gort::inline v0 {

namespace detail {
struct event_access;
}

class event {
 public:
  constexpr event() noexcept = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;
#if defined(GORT_DEBUG)
  ~event();
#endif

  /// It has happened. Setting it again does nothing. Never blocks, never changes the thread. O(waiters).
  void set() noexcept;
  /// It has not. Of no effect on who waits already.
  void reset() noexcept;
  bool is_set() const noexcept { return word_.load(std::memory_order_acquire) == kSet; }

  /// Blocks until it is set. Throws gort::cancelled in a cancelled context, also if it is set. May change the thread
  /// if it waits.
  void wait() { static_cast<void>(wait_until_ns(detail::kNoDeadline)); }
  /// As wait(), at most for `d`. False: it was not set in time.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> d) {
    return wait_until_ns(detail::deadline_in(d));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> at) {
    return wait_until_ns(detail::deadline_at(at));
  }

 private:
  static constexpr std::uint32_t kSet = 1;
  bool wait_until_ns(std::int64_t deadline);
  friend struct detail::event_access;

  std::atomic<std::uint32_t> word_{0};  // src/sync/event.h; who waits is in the runtime's table
};

struct detail::event_access {
  static std::atomic<std::uint32_t>* word(event& e) noexcept { return &e.word_; }
};

}  // namespace gort::inline v0
