// gort: timers. (The contract that blocking waits need; the heaps come with the implementation.)
#pragma once

#include <cstdint>

#include "sched/wait_state.h"

namespace gort::inline v0::rt {

/// Ends the wait `generation` of `w` with WaitEnd::timeout at os::nanotime() == `when`, unless it has ended before.
/// The owner of `w`, in the runtime, under no lock.
void deadline_arm(WaitState* w, WaitGeneration generation, std::int64_t when) noexcept;
/// The wait is over; its deadline, if it is still armed, will not be looked at. Does not wait for a timer that
/// fires at this moment: the generation makes that harmless. The owner of `w`.
void deadline_disarm(WaitState* w) noexcept;

}  // namespace gort::inline v0::rt
