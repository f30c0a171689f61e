// gort: a mutex that many readers or one writer may hold, for which goroutines wait without holding a thread.
//
// The contract of std::shared_timed_mutex. Order, in phases:
//
//   * As soon as a writer waits, no new reader gets in: readers that come in turns cannot keep it out.
//   * When a writer is done, all readers that wait then get in before the next writer: nor can writers keep readers out.
//   * Writers among themselves: first come, first served.
//
//   held by    lock()                     lock_shared()               unlock() / unlock_shared()
//   nobody     taken                      taken                       fatal error
//   readers    waits for those            taken, unless one waits     the last one hands over to the oldest writer
//   a writer   waits its turn             waits for this writer       hands over to all waiting readers, else to a writer
//
// Promised: unlock and unlock_shared never block and never change the thread; the others may change it if they wait. It
// may be held over anything that parks. What happened before an unlock is visible after the next lock or lock_shared,
// what happened before an unlock_shared after the next lock. It may be destroyed as soon as nobody holds it or wants
// it, even if the unlock that ended that has not returned yet. Foreign threads may take part and block. No context
// cancels these waits.
// Not promised: recursion; in particular, a second lock_shared in one goroutine waits for ever if a writer came between.
// Misuse: unlock of what nobody holds so is a fatal error.
//
// Size: 4 bytes. Cost: lock_shared and unlock_shared are one compare-and-swap each on the same word, inline: readers on
// many processors fight for its cache line.
#pragma once

#include <chrono>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/sync_words.h"

namespace gort::inline v0 {

namespace detail {
bool shared_mutex_lock_slow(word32& word, std::int64_t deadline) noexcept;
bool shared_mutex_lock_shared_slow(word32& word, std::int64_t deadline) noexcept;
void shared_mutex_unlock_slow(word32& word) noexcept;
void shared_mutex_unlock_shared_slow(word32& word) noexcept;
}  // namespace detail

class shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;
#if defined(GORT_DEBUG)
  ~shared_mutex() {
    detail::sync_destroyed(word_.load(std::memory_order_relaxed) != 0, "gort::shared_mutex: destroyed while in use");
  }
#else
  ~shared_mutex() = default;
#endif

  /// For writing. May change the thread if it waits.
  void lock() noexcept {
    if (!try_lock()) detail::shared_mutex_lock_slow(word_, detail::kNoDeadline);
  }
  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t free = 0;
    return word_.compare_exchange_strong(free, detail::kSharedWriter, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& time) noexcept {
    return try_lock() || detail::shared_mutex_lock_slow(word_, detail::deadline_in(time));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& when) noexcept {
    return try_lock() ||
           detail::until(when, [&](std::int64_t d) { return detail::shared_mutex_lock_slow(word_, d); });
  }
  void unlock() noexcept {
    std::uint32_t held = detail::kSharedWriter;
    if (!word_.compare_exchange_strong(held, 0, std::memory_order_release, std::memory_order_relaxed)) [[unlikely]] {
      detail::shared_mutex_unlock_slow(word_);
    }
  }

  /// For reading. May change the thread if it waits.
  void lock_shared() noexcept {
    if (!try_lock_shared()) detail::shared_mutex_lock_shared_slow(word_, detail::kNoDeadline);
  }
  /// False also where only readers hold it, but a writer waits.
  [[nodiscard]] bool try_lock_shared() noexcept {
    std::uint32_t now = word_.load(std::memory_order_relaxed);
    while ((now & (detail::kSharedWriter | detail::kSharedWriterParked)) == 0 &&
           now / detail::kSharedReader != detail::kSharedMaxReaders) {
      if (word_.compare_exchange_weak(now, now + detail::kSharedReader, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& time) noexcept {
    return try_lock_shared() || detail::shared_mutex_lock_shared_slow(word_, detail::deadline_in(time));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& when) noexcept {
    return try_lock_shared() ||
           detail::until(when, [&](std::int64_t d) { return detail::shared_mutex_lock_shared_slow(word_, d); });
  }
  void unlock_shared() noexcept {
    std::uint32_t now = word_.load(std::memory_order_relaxed);
    // Not the last one while somebody waits for that.
    while (now >= kTwo || (now & ~kCount) == 0) {
      if (now < detail::kSharedReader) break;
      if (word_.compare_exchange_weak(now, now - detail::kSharedReader, std::memory_order_release,
                                      std::memory_order_relaxed)) {
        return;
      }
    }
    detail::shared_mutex_unlock_shared_slow(word_);
  }

 private:
  static constexpr std::uint32_t kTwo = 2 * detail::kSharedReader;
  static constexpr std::uint32_t kCount = ~(detail::kSharedReader - 1);
  detail::word32 word_{0};
};

}  // namespace gort::inline v0
