// gort: events: a word that is set or not, and a list of who waits for it (wait_list.h).
//
//   word   meaning
//   0      not set
//   1      set
//   2      not set, somebody may wait: set must look into the list
//
// Waiting is for who has seen under the list's lock that it is not set; setting changes the word and takes the waiters
// off under the same lock. So once a waiter is woken, the word is nobody's business any more.
#pragma once

#include "sync/blocking_wait.h"

namespace gort::inline v0::rt {

using EventWord = os::atomic<std::uint32_t>;

inline constexpr std::uint32_t kEventSet = 1;
inline constexpr std::uint32_t kEventAwaited = 2;

/// Blocks until it is set. done: it was set during the call. May change the thread.
WaitEnd event_wait(EventWord* word, std::int64_t deadline, CancelSource* cancel, WaitReason reason) noexcept;

/// Sets it and wakes all who wait, in their order. Any thread, in the runtime, under no lock. O(waiters).
void event_set(EventWord* word) noexcept;

/// Not set any more. Who waits already is not concerned.
void event_reset(EventWord* word) noexcept;

/// Whether anybody waits, for assertions.
bool event_awaited(EventWord* word) noexcept;

}  // namespace gort::inline v0::rt
