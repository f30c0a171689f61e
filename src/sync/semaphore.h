// gort: the waiting half of gort::semaphore: units taken several at a time, strictly in order.
//
// While the word's `parked` bit is set, everything happens under the list's lock and nobody takes units past the list;
// free units may stand in the word then, too few for the oldest waiter. waiter::ticket is what it wants.
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

/// n units, if they are there and nobody waits. Anywhere, signal handlers included.
bool units_try_acquire(SyncWord* word, std::uint32_t n) noexcept;
/// n units, in turn. In the runtime, no locks held.
WaitEnd units_acquire(SyncWord* word, std::uint32_t n, std::int64_t deadline, CancelSource* cancel) noexcept;
/// Adds n units if nobody waits; false: somebody does. Anywhere, signal handlers included. Fatal beyond the maximum.
bool units_try_release(SyncWord* word, std::uint32_t n) noexcept;
/// Adds n units and serves who waits. In the runtime.
void units_release(SyncWord* word, std::uint32_t n) noexcept;

}  // namespace gort::inline v0::rt
