// gort: a counting semaphore on which goroutines wait without holding a thread.
//
// The contract of std::counting_semaphore, and more:
//
//   * Waiters are served in the order in which they came: release() gives its units to the oldest waiters
//     directly, and nobody who comes after them can be faster.
//   * It may be destroyed as soon as nobody waits on it or will use it, even if the release() that ended the
//     last wait has not returned yet.
//
//   gort::semaphore permits(4);          // at most four at a time
//   permits.acquire();
//   ...
//   permits.release();
//
// Promised: what happened before a release() is visible to the acquire() that takes a unit of it. Any
// thread may call everything; a foreign thread that waits blocks its thread.
// Not promised: a wait limit (try_acquire_for comes with the timers).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0 {

namespace detail {
[[noreturn]] void semaphore_misuse(const char* what) noexcept;
}

class semaphore {
 public:
  static constexpr std::ptrdiff_t max() noexcept { return 0x7fffffff; }

  /// Starts with `desired` units, 0 to max(); anything else is a fatal error.
  constexpr explicit semaphore(std::ptrdiff_t desired) noexcept : count_(static_cast<std::uint32_t>(desired)) {
    if (desired < 0 || desired > max()) {
      detail::semaphore_misuse("gort::semaphore: constructed with a count below 0 or above max()");
    }
  }
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  /// Takes one unit; blocks while there is none. May change the goroutine's thread if it blocks.
  void acquire();
  /// Takes one unit if there is one. Never blocks.
  [[nodiscard]] bool try_acquire() noexcept;
  /// Adds `update` units (0 or more) and serves as many waiters. Never blocks, never changes the thread. Going
  /// beyond max() is a fatal error.
  void release(std::ptrdiff_t update = 1);

 private:
  std::atomic<std::uint32_t> count_;  // the runtime's semaphore word; its waiters live in the runtime's table
};

}  // namespace gort::inline v0
