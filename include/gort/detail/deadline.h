// gort: how long, in whole nanoseconds, of whatever <chrono> has. Not for direct use.
#pragma once

#include <chrono>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0::detail {

inline constexpr std::int64_t kForeverNs = INT64_MAX;

/// In whole nanoseconds, rounded up or down. Of less than 9.2e9 seconds either way.
template <bool kUp, class Rep, class Period>
constexpr std::int64_t to_ns(const std::chrono::duration<Rep, Period>& d) noexcept {
  using ns = std::chrono::nanoseconds;
  const auto rounded = [](const auto& x) { return kUp ? std::chrono::ceil<ns>(x) : std::chrono::floor<ns>(x); };
  if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
    return rounded(d).count();
  } else {
    // Seconds by themselves: <chrono> multiplies before it divides, and four seconds of a 3 GHz clock's ticks are too many for that.
    const auto seconds = std::chrono::floor<std::chrono::seconds>(d);
    return (ns(seconds) + rounded(d - seconds)).count();
  }
}

/// Rounded up, so that nobody wakes early; what does not fit is for ever, a NaN too; what is negative is nothing.
template <class Rep, class Period>
constexpr std::int64_t whole_ns(const std::chrono::duration<Rep, Period>& d) noexcept {
  using seconds = std::chrono::duration<long double>;
  if (d <= d.zero()) return 0;
  if (!(std::chrono::duration_cast<seconds>(d) < seconds(9.2e9L))) return kForeverNs;
  return to_ns<true>(d);
}

/// From now until `t`, by its own clock. What nanoseconds cannot say, min() and max() of any clock among it, has passed or
/// never comes.
template <class Clock, class Duration>
std::int64_t ns_until(const std::chrono::time_point<Clock, Duration>& t) {
  using seconds = std::chrono::duration<long double>;
  const auto far = std::chrono::duration_cast<seconds>(t.time_since_epoch());
  if (far < seconds(-9.2e9L)) return 0;
  if (!(far < seconds(9.2e9L))) return kForeverNs;
  // Not t - now: their ticks may have no common one that could count so far.
  const std::int64_t now = to_ns<false>(Clock::now().time_since_epoch());
  const std::int64_t then = to_ns<true>(t.time_since_epoch());
  std::int64_t left = 0;
  return then <= now ? 0 : __builtin_sub_overflow(then, now, &left) ? kForeverNs : left;
}

}  // namespace gort::inline v0::detail
