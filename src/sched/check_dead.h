// gort: noticing that nobody can ever run again.
//
// Two steps, so that the common moment "all Ms idle" costs nothing: check_dead() under sched.lock only counts
// and, on suspicion, rings sysmon; sysmon confirms (still nobody, no thread on order, no foreign thread that
// could call in) and reports. A foreign thread that is not blocked inside gort makes the report impossible,
// not merely unlikely: it may call `go` or complete a waiter at any time.
//
//   can run = Ms - idle - idle with a locked goroutine - asleep until a timer is due
//             (Ms being created, and Ms in blocking calls, can)
//   who waits for the network may be woken by somebody outside: no report
//   a timer that is not stopped will wake somebody: sysmon looks for one before it confirms
//   orders count as threads that will come
//   a bubble whose clock can go on: it does, instead of the report (sched/bubble.h)
#pragma once

namespace gort::inline v0::rt {

/// Under sched.lock, after an M has become idle or ended.
void check_dead() noexcept;

/// From sysmon, without locks: confirms or drops the suspicion. Does not return if confirmed.
void confirm_dead() noexcept;

}  // namespace gort::inline v0::rt
