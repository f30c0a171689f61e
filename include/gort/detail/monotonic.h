// gort: durations as deadlines of the monotonic clock. Not for direct use.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include "gort/config.h"

namespace gort::inline v0::detail {

/// Never.
inline constexpr std::int64_t no_deadline = std::numeric_limits<std::int64_t>::max();
/// Nanoseconds of the monotonic clock, `ns` from now; saturates.
std::int64_t monotonic_ns_in(std::int64_t ns) noexcept;

/// Rounded up; what does not fit is never.
template <class Rep, class Period>
std::int64_t monotonic_in(std::chrono::duration<Rep, Period> d) noexcept {
  // In floating point first: the conversion to nanoseconds may overflow.
  if (!(std::chrono::duration<double>(d).count() < 9.2e9)) return no_deadline;
  if (d <= d.zero()) return monotonic_ns_in(0);
  return monotonic_ns_in(std::chrono::ceil<std::chrono::nanoseconds>(d).count());
}

}  // namespace gort::inline v0::detail
