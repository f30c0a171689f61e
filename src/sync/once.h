// gort: the waiting half of gort::once_flag (include/gort/detail/sync_words.h has its states).
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

/// True: the caller runs it, and calls once_end. False: it is done. In the runtime, no locks held.
bool once_begin(SyncWord* word) noexcept;
void once_end(SyncWord* word, bool completed) noexcept;

}  // namespace gort::inline v0::rt
