// gort: the clock of everything here that waits.
//
// Steady: it never goes back, and no one sets it. It is a clock of its own and not std::chrono::steady_clock, so that
// time inside a gort::testing::bubble can be virtual; outside of bubbles both show the same.
//
//   gort::this_goroutine::sleep_until(gort::clock::now() + 1s);
//   auto took = gort::clock::now() - began;
//
// Meets the standard's Clock requirements (and TrivialClock): std::chrono::time_point, duration arithmetic and
// formatting work. Time points beyond its range (292 years of uptime) do not exist: sums of far durations and time
// points are the caller's to watch; waits "for" a duration saturate instead.
#pragma once

#include <chrono>
#include <cstdint>

#include "gort/config.h"

namespace gort::inline v0 {

struct clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<clock>;
  static constexpr bool is_steady = true;

  /// The time now; in a bubble its virtual time. Any thread, before the runtime has started too. About 25 ns.
  static time_point now() noexcept;
};

namespace detail {

/// Nanoseconds of a duration of any type: rounded up, so that no wait is too short, and held within the range.
/// A NaN is the longest.
template <class Rep, class Period>
constexpr std::chrono::nanoseconds saturated_ns(const std::chrono::duration<Rep, Period>& d) noexcept {
  using ns = std::chrono::nanoseconds;
  using exact = std::chrono::duration<long double, std::nano>;
  if constexpr (std::is_same_v<std::chrono::duration<Rep, Period>, ns>) {
    return d;
  } else {
    const exact e(d);
    if (!(e.count() < 9.2e18L)) return ns::max();
    if (e.count() < -9.2e18L) return ns::min();
    return std::chrono::ceil<ns>(d);
  }
}

/// `now` plus d, held within the range: the deadline of a wait "for" d.
inline clock::time_point deadline_after(std::chrono::nanoseconds d) noexcept {
  const clock::time_point now = clock::now();
  std::int64_t sum = 0;
  if (__builtin_add_overflow(now.time_since_epoch().count(), d.count(), &sum)) {
    return d.count() > 0 ? clock::time_point::max() : clock::time_point::min();
  }
  return clock::time_point(clock::duration(sum));
}

}  // namespace detail

}  // namespace gort::inline v0
