// gort: how the world is stopped: the initiator's side. Internal to this floor; world.h is the way in.
#pragma once

#include <cstdint>

#include "sched/stop_point.h"

namespace gort::inline v0::rt {

/// Stops every P but lets the calling goroutine go on. By the holder of worldsema, inside the runtime. `now`: nanotime.
/// `deadline`: nanotime until when everybody must stand, negative: no limit. False: it was not in time, and everybody goes on.
bool stop_everybody(Stopping how, std::int64_t now, std::int64_t deadline) noexcept;

/// Between the two.
bool everybody_stopped() noexcept;

/// Lets them go on, with `new_procs` Ps (0: as many as before).
void start_everybody(std::int32_t new_procs) noexcept;

}  // namespace gort::inline v0::rt
