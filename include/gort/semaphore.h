// gort: a counting semaphore on which goroutines wait without holding a thread.
//
// The contract of std::counting_semaphore. Waiters are served in the order in which they came; release()
// never blocks and never changes the thread; acquire() may.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0 {

class semaphore {
 public:
  static constexpr std::ptrdiff_t max() noexcept { return 0x7fffffff; }

  constexpr explicit semaphore(std::ptrdiff_t desired) noexcept : count_(static_cast<std::uint32_t>(desired)) {}
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;

  /// Takes one unit; blocks while there is none. Any thread.
  void acquire();
  /// Takes one unit if there is one. Never blocks.
  bool try_acquire() noexcept;
  /// Adds `update` units and wakes as many waiters.
  void release(std::ptrdiff_t update = 1);

 private:
  std::atomic<std::uint32_t> count_;  // the runtime's semaphore word; its waiters live in the runtime's table
};

}  // namespace gort::inline v0
