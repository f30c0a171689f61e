// gort: what a blocking operation on channels asks of the caller's context.
#pragma once

#include "api/cancellation.h"
#include "sync/chan.h"
#include "sync/timers.h"

namespace gort::inline v0::detail {

/// Sets how->cancel. False: the context is cancelled, the operation does not take place. Outside the runtime.
[[gnu::always_inline]] inline bool context_allows(rt::ChanWait* how) noexcept {
  how->cancel = cancellation();
  return !rt::is_cancelled(how->cancel);
}

/// The time in so many nanoseconds (rt::clock_for), or never.
inline std::int64_t deadline_in(std::int64_t ns) noexcept {
  if (ns >= rt::kNoDeadline) return rt::kNoDeadline;
  const std::int64_t now = rt::clock_for(ns);
  return ns < rt::kNoDeadline - now ? now + ns : rt::kNoDeadline;
}

}  // namespace gort::inline v0::detail
