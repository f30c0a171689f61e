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
// points are the caller's to watch; waits "for" a duration, and "until" a time of any clock, saturate instead: they
// never end, or end at once.
#pragma once

#include <chrono>
#include <cstdint>

#include "gort/config.h"
#include "gort/detail/deadline.h"

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

/// testing::bubble::inside: here, no program gets a namespace `testing` that has not asked for it.
bool in_bubble() noexcept;

/// The time in `ns` (whole_ns: not negative), held within the range: the deadline of a wait "for" it.
inline clock::time_point deadline_after(std::int64_t ns) noexcept {
  const std::int64_t now = clock::now().time_since_epoch().count();
  std::int64_t sum = 0;
  if (__builtin_add_overflow(now, ns, &sum)) return clock::time_point::max();
  return clock::time_point(clock::duration(sum));
}

inline constexpr std::int64_t kNoDeadline = INT64_MAX;  ///< as rt::kNoDeadline

/// The deadline of a wait for `d`, as the runtime has it.
template <class Rep, class Period>
std::int64_t deadline_in(const std::chrono::duration<Rep, Period>& d) noexcept {
  return deadline_after(whole_ns(d)).time_since_epoch().count();
}

/// The deadline of a wait until `when`, by its clock as it stands now.
template <class Clock, class Duration>
std::int64_t deadline_at(const std::chrono::time_point<Clock, Duration>& when) noexcept {
  return deadline_after(ns_until(when)).time_since_epoch().count();
}

/// Whether `when` has come, asked when its deadline_at has passed: its clock may have been set back meanwhile. In a bubble other
/// clocks do not go on as gort's does, and are asked when a wait begins only.
template <class Clock, class Duration>
bool has_come(const std::chrono::time_point<Clock, Duration>& when) {
  return in_bubble() || ns_until(when) == 0;
}

/// `attempt(deadline)` until it succeeds or `when` has come by its own clock.
template <class Clock, class Duration, class F>
bool until(const std::chrono::time_point<Clock, Duration>& when, F attempt) {
  for (;;) {
    if (attempt(deadline_at(when))) return true;
    if (Clock::is_steady || has_come(when)) return false;
  }
}

}  // namespace detail

}  // namespace gort::inline v0
