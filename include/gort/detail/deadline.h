// gort: std::chrono's durations and time points as the deadlines of waits. Not for users.
#pragma once

#include <chrono>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0::detail {

inline constexpr std::int64_t kNoDeadline = INT64_MAX;  ///< as rt::kNoDeadline

/// The runtime's time `ns` from now; never wraps around. One in the past is in the past.
std::int64_t deadline_after(std::int64_t ns) noexcept;

/// Any duration as nanoseconds, rounded up, cut at the ends of the range.
template <class Rep, class Period>
constexpr std::int64_t nanoseconds_of(const std::chrono::duration<Rep, Period>& d) noexcept {
  using wide = std::chrono::duration<long double, std::nano>;
  const long double ns = wide(d).count();
  if (!(ns < 9.2e18L)) return INT64_MAX;
  if (ns < -9.2e18L) return INT64_MIN;
  return static_cast<std::int64_t>(std::chrono::ceil<std::chrono::nanoseconds>(d).count());
}

template <class Rep, class Period>
std::int64_t deadline_in(const std::chrono::duration<Rep, Period>& d) noexcept {
  return deadline_after(nanoseconds_of(d));
}

/// `attempt(deadline)` until it succeeds or `when` has come by its own clock, which may be set meanwhile.
template <class Clock, class Duration, class F>
bool until(const std::chrono::time_point<Clock, Duration>& when, F attempt) {
  for (;;) {
    if (attempt(deadline_in(when - Clock::now()))) return true;
    if (Clock::is_steady || Clock::now() >= when) return false;
  }
}

}  // namespace gort::inline v0::detail
