// gort: what a goroutine can ask and do about itself. All are callable from foreign threads, where they do
// what std::this_thread does, or nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "gort/clock.h"
#include "gort/config.h"

namespace gort::inline v0 {

namespace this_goroutine {

/// Lets other goroutines run; continues later, perhaps on another thread. O(1), tens of nanoseconds.
void yield();

/// The goroutine's number, unique for ever, as tracebacks print it; 0 on a foreign thread. For messages and
/// logs only: there is no way from a number to a goroutine.
std::uint64_t id() noexcept;

/// The name given in go_options, or empty. Valid while the goroutine lives.
std::string_view name() noexcept;

/// Waits until the clock shows `when`, never less; how much longer depends on who else runs. Not at all if that is
/// past (nor does it let others run: yield does). time_point::max() never comes. Throws gort::cancelled, at once or
/// as soon as the context is cancelled. May change the thread. A sleeping goroutine costs no thread; O(log n).
/// On a foreign thread: the thread sleeps.
void sleep_until(clock::time_point when);
/// The same, until a time of any clock.
template <class Clock, class Duration>
void sleep_until(const std::chrono::time_point<Clock, Duration>& when) {
  detail::until(when, [](std::int64_t deadline) {
    sleep_until(clock::time_point(clock::duration(deadline)));
    return false;
  });
}

/// As sleep_until, `d` from now. Fractions of a nanosecond are rounded up; what is too long is the longest sleep.
template <class Rep, class Period>
void sleep_for(const std::chrono::duration<Rep, Period>& d) {
  sleep_until(detail::deadline_after(detail::whole_ns(d)));
}

}  // namespace this_goroutine

/// A place in a long computation where the runtime may take the processor away: if this goroutine's time
/// slice has run out and others wait, they run first. May change the thread. About 1 ns otherwise.
void poll();

/// Number of Ps: how many goroutines can run at once. 0 before the runtime has started.
int num_procs() noexcept;

/// Goroutines that exist, the caller included, the runtime's own excluded. A moment's view.
std::int64_t num_goroutine() noexcept;

}  // namespace gort::inline v0
