// gort: starting the runtime with everything that this floor hooks into it.
//
// rt::start alone would run goroutines without reports; every public operation that may be the first one
// comes through here instead (api/start.h). Nothing happens before: no handler, no thread.
#pragma once

#include "sched/start.h"

namespace gort::inline v0::rt {

/// Installs hooks, handlers and settings, then starts the runtime. Does nothing if it runs. Any thread
/// without P; several at once wait for the first.
void start_with_reports(const StartOptions& options) noexcept;

}  // namespace gort::inline v0::rt
