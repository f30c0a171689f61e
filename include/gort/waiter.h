// gort: who waits, as a queue sees it.
//
// Whatever can be waited for (a semaphore, a task's end, a channel) keeps a queue of waiters, not of
// goroutines: a small struct with a function that is called once when the wait is over. A goroutine's
// waiter makes it runnable; a foreign thread's rings a futex; an adapter's may post to Asio, resume a
// coroutine or complete a sender.
//
//   state        who may touch it
//   idle         its owner
//   queued       whoever holds the queue's lock
//   completed    ready() has been called: the owner again, possibly on another thread at once
#pragma once

#include <cstdint>

namespace gort::inline v0 {

namespace rt {
struct WaitState;
}

struct waiter {
  /// Ends the wait. Called exactly once per wait, by whoever completed it, under no lock, from any thread;
  /// must not block and must not throw. The waiter may be reused before this returns.
  void (*ready)(waiter*) noexcept = nullptr;
  waiter* next = nullptr;      ///< link of the queue that it is in
  waiter* prev = nullptr;      ///< likewise
  const void* key = nullptr;   ///< what is waited for, where several things share a queue
  std::uint32_t ticket = 0;    ///< 1: what was waited for has been handed over directly
  std::uint8_t over = 0;       ///< without state, under the queue's lock: 1 its wait has ended, 2 by cancellation
  rt::WaitState* state = nullptr;  ///< the wait may also end otherwise (time, cancellation); null: by its queue only
};

}  // namespace gort::inline v0
