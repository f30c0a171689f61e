// gort: how a public operation makes sure that the runtime runs.
#pragma once

#include "debug/start.h"
#include "sched/sched.h"

namespace gort::inline v0::detail {

/// Of all operations that need the runtime, whichever comes first. Never rt::start: it knows no reports.
inline void ensure_started(const rt::StartOptions& options = {}) noexcept {
  if (__builtin_expect(!rt::sched.started.load(os::memory_order_acquire), 0)) rt::start_with_reports(options);
}

}  // namespace gort::inline v0::detail
