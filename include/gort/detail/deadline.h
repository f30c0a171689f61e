// gort: how long, in whole nanoseconds, of whatever <chrono> has. Not for direct use.
#pragma once

#include <chrono>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0::detail {

inline constexpr std::int64_t kForeverNs = INT64_MAX;

/// Rounded up, so that nobody wakes early; what does not fit is for ever, a NaN too; what is negative is nothing.
template <class Rep, class Period>
constexpr std::int64_t whole_ns(const std::chrono::duration<Rep, Period>& d) noexcept {
  using seconds = std::chrono::duration<long double>;
  if (d <= d.zero()) return 0;
  if (!(std::chrono::duration_cast<seconds>(d) < seconds(9.2e9L))) return kForeverNs;
  return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
}

/// From now until `t`, by its own clock. What nanoseconds cannot say, min() and max() of any clock among it, has passed or
/// never comes.
template <class Clock, class Duration>
std::int64_t ns_until(const std::chrono::time_point<Clock, Duration>& t) {
  using seconds = std::chrono::duration<long double>;
  const auto far = std::chrono::duration_cast<seconds>(t.time_since_epoch());
  if (far < seconds(-9.2e9L)) return 0;
  if (!(far < seconds(9.2e9L))) return kForeverNs;
  const auto now = Clock::now();
  return t <= now ? 0 : whole_ns(t - now);
}

}  // namespace gort::inline v0::detail
