// gort: a condition variable on which goroutines wait without holding a thread.
//
// The contract of std::condition_variable_any, without the forms that take a std::stop_token: with_stop_token (gort/context.h) has
// that for all waits. It works with std::unique_lock<gort::mutex> and with every other lock that has lock() and unlock(). Who waits,
// waits for a condition that the lock guards:
//
//   std::unique_lock hold(m);
//   changed.wait(hold, [&] { return !queue.empty(); });
//
// Promised: a notification reaches one (all) of those who had called wait before it, in the order in which they
// went to sleep; none is lost, also where a wait ends by time or cancellation at the same moment. notify_one and
// notify_all never block and never change the thread; one load, inline, if nobody waits. The lock need not be held
// for them. wait may change the thread. All forms of wait return, and throw, with the lock held again. Foreign threads
// may wait and notify.
// Cancellation: wait in a cancelled context throws gort::cancelled, at once and before the predicate is asked; one that
// is cancelled later throws it, after it has locked again.
// Not promised: that only a notification ends a wait. Use the predicate.
// It may be destroyed as soon as all waits have returned, even if the notification that ended them has not.
// The lock: unlock() of a lock other than gort's may do anything, also park.
#pragma once

#include <chrono>
#include <condition_variable>  // std::cv_status
#include <utility>

#include "gort/cancelled.h"
#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {
void cond_notify(word64& word, bool all) noexcept;
/// The wait that began when the word had this value, until `deadline`.
wait_result cond_sleep(word64& word, std::uint64_t begun, std::int64_t deadline) noexcept;
/// It did not get to sleep.
void cond_leave(word64& word) noexcept;
}  // namespace detail

class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;
#if defined(GORT_DEBUG)
  ~condition_variable() {
    detail::sync_destroyed(static_cast<std::uint32_t>(word_.load(std::memory_order_relaxed)) != 0,
                           "gort::condition_variable: destroyed while somebody waits");
  }
#else
  ~condition_variable() = default;
#endif

  /// Ends the wait of the one who has waited longest. O(1).
  void notify_one() noexcept {
    if (somebody()) detail::cond_notify(word_, false);
  }
  /// Ends all waits. O(waits).
  void notify_all() noexcept {
    if (somebody()) detail::cond_notify(word_, true);
  }

  /// Unlocks, waits for a notification, locks again. The caller holds `lock`.
  template <class Lock>
  void wait(Lock& lock) {
    sleep(lock, detail::kNoDeadline);
  }
  template <class Lock, class Predicate>
  void wait(Lock& lock, Predicate holds) {
    detail::throw_if_cancelled();
    while (!holds()) sleep(lock, detail::kNoDeadline);
  }

  /// As wait, for at most that long.
  template <class Lock, class Rep, class Period>
  std::cv_status wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& time) {
    return sleep(lock, detail::deadline_in(time));
  }
  template <class Lock, class Clock, class Duration>
  std::cv_status wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& when) {
    if (sleep(lock, detail::deadline_at(when)) == std::cv_status::no_timeout) {
      return std::cv_status::no_timeout;
    }
    return detail::has_come(when) ? std::cv_status::timeout : std::cv_status::no_timeout;
  }
  /// What the predicate says in the end.
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& time, Predicate holds) {
    detail::throw_if_cancelled();
    const std::int64_t deadline = detail::deadline_in(time);
    while (!holds()) {
      if (sleep(lock, deadline) == std::cv_status::timeout) return holds();
    }
    return true;
  }
  template <class Lock, class Clock, class Duration, class Predicate>
  bool wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& when, Predicate holds) {
    detail::throw_if_cancelled();
    std::int64_t deadline = detail::deadline_at(when);
    while (!holds()) {
      if (sleep(lock, deadline) == std::cv_status::timeout && detail::has_come(when)) return holds();
      if (!detail::in_bubble()) deadline = detail::deadline_at(when);
    }
    return true;
  }

 private:
  // Relaxed: a wait counts itself before it unlocks, and who has locked since then sees that.
  bool somebody() const noexcept { return static_cast<std::uint32_t>(word_.load(std::memory_order_relaxed)) != 0; }

  template <class Lock>
  std::cv_status sleep(Lock& lock, std::int64_t deadline) {
    detail::throw_if_cancelled();
    const std::uint64_t begun = word_.fetch_add(detail::kCondWaiting, std::memory_order_relaxed);
    try {
      lock.unlock();
    } catch (...) {
      detail::cond_leave(word_);
      throw;
    }
    const detail::wait_result end = detail::cond_sleep(word_, begun, deadline);
    [&]() noexcept { lock.lock(); }();  // as in std: a wait cannot go on without its lock
    if (end == detail::wait_result::cancelled) detail::throw_cancelled();
    return end == detail::wait_result::timeout ? std::cv_status::timeout : std::cv_status::no_timeout;
  }

  detail::word64 word_{0};
};

}  // namespace gort::inline v0
