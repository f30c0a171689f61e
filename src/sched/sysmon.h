// gort: sysmon, the monitor: a thread without P that looks after those who cannot look after themselves.
//
//   * a P whose goroutine has been in a blocking call for more than a tick is taken away and handed on
//   * a goroutine that has run for a whole time slice (10 ms) is asked to yield at its next poll
//   * a suspected deadlock is confirmed or dropped
//   * timers that are late since every P is busy are run
//   * schedtrace lines, requests of signal handlers
//
// It sleeps 20 us while a P is in a blocking call and doubles that up to 10 ms when it finds nothing to do;
// when all Ps are idle it sleeps until rung, so an idle process costs nothing.
#pragma once

#include <cstdint>

namespace gort::inline v0::rt {

inline constexpr std::int64_t kTimeSlice = 10'000'000;  ///< ns

void sysmon_thread(void*) noexcept;

/// Asks sysmon to look at sched_hooks.serve_requests soon. Async-signal-safe.
void sysmon_ring() noexcept;

}  // namespace gort::inline v0::rt
