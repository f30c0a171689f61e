// gort: the waiting half of gort::barrier. The word: twice the phase's number, plus 1 if somebody waits for its end.
#pragma once

#include "sync/wait_list.h"

namespace gort::inline v0::rt {

/// The next phase begins; all who waited for the end of the last one go on.
void barrier_next(SyncWord* phase) noexcept;
/// Waits while the phase has this number. In the runtime, no locks held.
WaitEnd barrier_wait(SyncWord* phase, std::uint32_t number, CancelSource* cancel) noexcept;

}  // namespace gort::inline v0::rt
