// gort: the slow halves of gort::mutex (include/gort/mutex.h has the word's bits and the contract).
//
//   bit        set by                                        cleared by
//   locked     who takes it                                  the holder, but not where it hands over
//   parked     who is about to wait, under the list's lock   who takes the last waiter off, under the list's lock
//   woken      an unlock that wakes one; one that spins      the same one, when it has got the lock or waits (again)
//   starving   one who was woken after more than 1 ms of     the holder that had waited for less; who takes the last
//              waiting, and came too late; list's lock       waiter off
//
// While `woken` is set, an unlock wakes nobody: one is on its way, and a second would only find the lock taken.
// While `starving` is set, `locked` stays set from one holder to the next, so nobody can come between.
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

/// Takes it; false: `deadline` (os::nanotime) has passed. In the runtime, no locks held.
bool mutex_lock_slow(SyncWord* word, std::int64_t deadline) noexcept;
/// Gives it back. Never changes the thread.
void mutex_unlock_slow(SyncWord* word) noexcept;

}  // namespace gort::inline v0::rt
