// gort: counters whose 0 is waited for: wait_group and latch. The word: twice the count, plus 1 if somebody waits.
//
// Whoever lowers the count to 0 does it without a lock, and only then sees that somebody waits; the object may be gone by
// then. (A wait whose time runs out at that moment finds the count at 0, and does the waking itself.) So it touches
// the word only with a waiter of this object in sight, under the list's lock: that one proves that there is an object.
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

/// Somebody has lowered the count to 0, and there were waiters.
void counter_wake(SyncWord* word) noexcept;
/// Returns when the count is 0 (done), or otherwise. In the runtime, no locks held.
WaitEnd counter_wait(SyncWord* word, WaitReason reason, std::int64_t deadline, CancelSource* cancel) noexcept;

}  // namespace gort::inline v0::rt
