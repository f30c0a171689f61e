// gort: who looks after the timers and the network when nobody else does.
//
// Each P has a heap of timers (src/sync/timers.h); here only its earliest time is known (P::timer_when), and who runs
// what is due is reached through sched_hooks. Due timers are run
//
//   by whoever looks for a goroutine with a P         find_runnable: its own, then those of the Ps it steals from
//   by a P that is busy, every few switches           timers_due (park.cc)
//   by the watcher, when there is an idle P           watch_timers
//   by sysmon, when no P is idle and they are late    sysmon.cc: each P may run a loop that calls nobody
//
// sysmon also sees to it that there is a watcher in time for a timer that is farther away than its own next look.
//
// The *watcher* is the one M that sleeps until the earliest time of all Ps, or until somebody sets an earlier one
// (break_idle_wait). It has no P, like every idle M, but does not stand on the idle list.
//
//   Sched::watch_until   means
//   kNobody              no watcher
//   kAwake               there is one; it looks at all Ps before it sleeps
//   a time               it sleeps until then
//
// No timer is overlooked while a P is idle:
//
//   who sets an earlier timer (timer_set_earlier)      the watcher (watch_timers)
//     A1  P::timer_when = when                           S1  watch_until = D, the earliest that it has seen
//     A2  looks at watch_until: later than `when`,       S2  looks at all timer_when again
//         then break_idle_wait; nobody, then: is it      S3  idle_wait(D)
//         sysmon's? if not, wake_p
//
// All seq_cst: either S2 sees A1, or A2 sees S1. Where there is no watcher, wake_p finds that somebody searches (who
// watches, or wakes the next one, when it is done), or wakes somebody, or no P is idle: then the next one that
// becomes idle brings a watcher. A goroutine that arms a timer because it is about to park need not do A2: its P
// remembers it (P::unwatched), and either finds somebody to run, then does A2, or goes idle and brings the watcher.
//
// A watcher that the network wakes becomes an M that runs goroutines. One that takes its place would be a second thread's
// wake-up, and soon its sleep, for each few requests. So a timer of which sysmon has said that it will look before it is
// due (sysmon_looks) needs no watcher as long as some P is not idle:
//
//   who sets a timer, while nobody watches             sysmon, before it sleeps
//     A1  as above                                       L1  sysmon_looks = T, some time after its next look
//     A2  `when` >= sysmon_looks: it is sysmon's         L2  earliest timer E < T and nobody watches: sleeps until E is
//                                                            near, no longer; if it is near, wake_p
//
// Before it sleeps without end, when all Ps are idle, it takes its word back (kNoPromise) and does A2 for E itself.
//
// Where somebody waits for the network (Sched::net_waiting), the watcher's sleep is one in the poller (net/poller.h), and
// it may last for ever. Otherwise the network is asked
//
//   by whoever finds nothing to do on its own P       find_runnable, before it steals
//   by sysmon, when nobody has for a millisecond      every P may be busy; or, if one is idle, it brings a watcher
//
// A goroutine that begins to wait for the network brings nobody: its M either finds others to run, and then sysmon comes,
// or goes idle and watches. A watcher that was woken by the network brings no next one: its P looks again soon.
#pragma once

#include <cstdint>

#include "sched/sched.h"

namespace gort::inline v0::rt {

inline constexpr std::int64_t kNobody = INT64_MAX;  ///< Sched::watch_until
inline constexpr std::int64_t kAwake = INT64_MIN;   ///< likewise
inline constexpr std::int64_t kForever = INT64_MAX - 1;  ///< likewise: until something comes from the network
inline constexpr std::int64_t kNoPromise = INT64_MAX;    ///< sysmon_looks: it looks at no timers

/// Timers from this time on are seen early enough by sysmon (see above). Written by it.
extern os::atomic<std::int64_t> sysmon_looks;

/// The earliest time at which a timer may be due, over all Ps; kNoTimer: none. A moment's view. O(Ps).
std::int64_t earliest_timer() noexcept;

/// Until when somebody has to watch: the earliest timer, kForever for the network's sake alone, kNoTimer: not at all.
std::int64_t watch_wanted() noexcept;

/// Whether it is worth while to ask the poller now: somebody waits, and nobody sleeps in it.
inline bool net_to_poll() noexcept {
  // Acquire: who waits has found the hooks set.
  if (__builtin_expect(sched.net_waiting.load(os::memory_order_acquire) == 0, 1)) return false;
  const std::int64_t until = sched.watch_until.load(os::memory_order_relaxed);
  return until == kNobody || until == kAwake;
}

/// Makes ready what the poller has told, in order: on the queue of this M's P, else on the global one. Whether there was
/// anything. A single goroutine on the queue of an M that looks for one brings nobody. In the runtime, under no lock.
bool net_ready(waiter* chain) noexcept;

/// As ready(g, false), but brings nobody to run it: the caller does (wake_p), when it has readied all.
void ready_quietly(G* g) noexcept;

/// Runs what is due in all heaps. On an M with a P on its own stack, or sysmon. Under no lock.
void run_all_timers(std::int64_t now) noexcept;

/// A2: a timer of some P has become due earlier (`when`), or a P has become idle. Any thread, under no lock.
void timer_set_earlier(std::int64_t when) noexcept;

enum class Watch : std::uint8_t {
  not_needed,  ///< no timers or network, no idle P, or somebody else watches
  has_p,       ///< timers were due or the network has come, and this M has a P
  orders,      ///< somebody wants a thread; nobody watches now
};

/// An M without P and work: becomes the watcher, if one is needed, and sleeps as such.
[[nodiscard]] Watch watch_timers(M* m) noexcept;

/// Whether a timer that is not stopped can still wake somebody before `until`. O(timers): for suspicion only.
bool timers_pending(std::int64_t until) noexcept;

// ---- the seam: how the watcher sleeps ----------------------------------------------------------

/// Sleeps until `deadline`, until something comes from the network, or until broken; may return early. The watcher only.
/// What has come: to be made ready.
[[nodiscard]] waiter* idle_wait(std::int64_t deadline) noexcept;
/// Ends the watcher's sleep, or its next one. Any thread.
void break_idle_wait() noexcept;

// ---- on the way to the next goroutine ----------------------------------------------------------

/// Runs p's due timers. By who has p, on an M's own stack.
inline void run_own_timers(P* p) noexcept {
  const std::int64_t when = p->timer_when.load(os::memory_order_acquire);
  if (__builtin_expect(when == kNoTimer, 1)) return;
  const std::int64_t now = os::nanotime();
  if (when <= now) sched_hooks.run_timers(p, now);
}

/// A goroutine is about to be dispatched: somebody must watch the timers that nobody watches yet.
inline void watch_before_dispatch(P* p) noexcept {
  if (__builtin_expect(!p->unwatched, 1)) return;
  p->unwatched = false;
  const std::int64_t when = earliest_timer();
  if (when != kNoTimer) timer_set_earlier(when);
}

inline constexpr std::uint32_t kTimerLook = 8;  ///< every so many switches a busy P looks at the clock

/// A switch from goroutine to goroutine: whether the M's own loop has to look at the timers first. The clock is read
/// now and then only: it costs more than the switch. Who computes for long between its switches is sysmon's.
[[gnu::always_inline]] inline bool timers_due(P* p) noexcept {
  const std::int64_t when = p->timer_when.load(os::memory_order_relaxed);
  if (__builtin_expect(when == kNoTimer, 1)) return false;
  if (p->unwatched) return true;
  if (++p->timer_looks % kTimerLook != 0) return false;
  return when <= os::nanotime();
}

}  // namespace gort::inline v0::rt
