// gort: the slow halves of gort::shared_mutex (include/gort/shared_mutex.h has the contract).
//
// The word: the number of readers that hold it, whether a writer does, whether writers and readers wait. Readers and
// writers wait in two lists under one lock. Ownership is always handed over: who is woken has it.
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

/// False: `deadline` has passed. In the runtime, no locks held.
bool shared_mutex_lock_slow(SyncWord* word, std::int64_t deadline) noexcept;
bool shared_mutex_lock_shared_slow(SyncWord* word, std::int64_t deadline) noexcept;
void shared_mutex_unlock_slow(SyncWord* word) noexcept;
void shared_mutex_unlock_shared_slow(SyncWord* word) noexcept;

}  // namespace gort::inline v0::rt
