// gort: stopping all goroutines for a moment.
//
//   if (auto w = gort::stop_world("snapshot", 5ms)) flip_epoch();     // restarts at the end of w
//
// Between the stop and the restart no goroutine runs but the caller. Goroutines stop at calls into gort (and at
// gort::poll; not in the lock of a gort::mutex that is free, which is no call), never in the middle of other code:
// none of them stands inside malloc, or holds a lock of libc's. So the caller may allocate, print and throw. What it
// must not do is wait for a goroutine: take a gort::mutex that another one holds, receive from a channel. (A
// std::mutex that is held over a call into gort is such a lock, too.)
//
// Not stopped: foreign threads, and goroutines inside gort::blocking; those wait where they come back.
//
// It may fail: a goroutine that computes for long without a call into gort cannot be stopped this way, nor one that
// sleeps in a raw system call (docs/preemption.md; one inside gort::blocking does not matter). Then nothing has
// happened, and the answer is empty. Stops of all kinds queue up and are served in order.
#pragma once

#include <chrono>

#include "gort/config.h"

namespace gort::inline v0 {

/// The world is stopped as long as this lives. Ends on the goroutine that made it.
class [[nodiscard]] stopped_world {
 public:
  stopped_world(stopped_world&& other) noexcept : stopped_(other.stopped_) { other.stopped_ = false; }
  stopped_world(const stopped_world&) = delete;
  stopped_world& operator=(stopped_world&&) = delete;
  stopped_world& operator=(const stopped_world&) = delete;
  ~stopped_world() { restart(); }

  /// Whether the stop was in time.
  explicit operator bool() const noexcept { return stopped_; }
  /// Lets everybody go on now. A second call does nothing.
  void restart() noexcept;

 private:
  explicit stopped_world(bool in_time) noexcept : stopped_(in_time) {}
  bool stopped_;
  friend stopped_world stop_world(const char* reason, std::chrono::nanoseconds deadline);
};

/// Stops all other goroutines at calls into gort, within `deadline` from now, the time that others have the
/// world stopped included. `reason` is shown in reports and must live as long as the program (a literal). Blocks;
/// may change the thread. From goroutines and foreign threads. Nested (the caller has stopped the world): fatal.
stopped_world stop_world(const char* reason, std::chrono::nanoseconds deadline);

/// Sets how many goroutines can run at once (Go's GOMAXPROCS), and returns the number before. 0, negative and equal
/// values only return it. More than 1024 means 1024. Stops the world for some microseconds; waits while the
/// collector marks. May change the thread.
int max_procs(int n);

}  // namespace gort::inline v0
