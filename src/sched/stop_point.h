// gort: where a running goroutine does what others ask of it.
//
//   asked by                 bit of M::pending    at a poll or when it blocks   where it must keep its thread
//   a stop of the world      kPendingStop         stop_here                     stop_here
//   for_each_p               kPendingSafePoint    runs the function             runs the function
//   suspend_g                kPendingHold         schedule() drops it           hold_here
//   its time slice is over   kPendingYield        goes to the global queue      becomes a captive
//   captives want the P      kPendingCaptives     schedule() gives it to one    (when it leaves the P)
//
// There are two kinds of places. A call that may change the goroutine's thread (docs/tls.md) serves requests by
// leaving. Everywhere else the goroutine must stay on its thread and its stack as it is: at the end of any other
// call into gort, and in the middle of user code, where SIGURG's handler (world/preempt.cc) comes by. serve_here()
// is for those. The thread itself waits there, without a P if need be (captives.h).
//
// Stopping. The request is Sched::stopping. A P that has stopped says so by its status, and nothing else counts:
// no counters, no generations, so a late or a doubled answer cannot be mistaken.
//
//   running --stop_here--> stopped --start_with--> handed --await_p--> running
//                             ^                       |
//                             +------- claim ---------+   the next stop came before the thread had woken
//
// So an M that has stopped keeps its P over the stop (and Go 1.26's idea: a P returns to its M), and it may find,
// when it wakes at last, that it is stopped and counted again.
//
// Progress (L3). Who gets a P back after a stop can use it before the next stop takes it: a sleeper is claimed once
// only (P::claimed), then the next stop waits for it; and who was stopped in the middle of user code runs for kLeastRun
// of its own CPU time first (M::resumed_cpu), and then comes by again by its own timer (M::timer). Otherwise a loop of stops starves goroutines for good: measured
// without it, 17,180 stops in a row in which one of them executed no instruction.
#pragma once

#include <cstdint>

#include "sched/sched.h"

namespace gort::inline v0::rt {

/// Values of Sched::stopping.
enum Stopping : std::uint32_t {
  kNotStopping,
  kStopInPlace,   ///< anywhere, in the middle of user code too
  kStopAtCalls,   ///< at calls into gort only; captives run until they make one (gort::stop_world)
};

inline constexpr std::int64_t kLeastRun = 20'000;         ///< ns of own CPU between two stops
inline constexpr std::int64_t kClaimWait = 10'000'000;    ///< ns that a stop waits for one that was claimed asleep

inline bool stop_requested() noexcept { return sched.stopping.load(os::memory_order_seq_cst) != kNotStopping; }

/// Stops with the P until the world goes on, if a stop is requested. False: the P is gone (gomaxprocs took
/// it), the M has none now. Inside the runtime, with a P, no locks.
[[nodiscard]] bool stop_here(M* m) noexcept;

/// Holds the running goroutine still, if that is wanted of it, until it is let go (world/suspend.h). Its P stays with it.
void hold_here(M* m) noexcept;

/// Serves everything that is asked, on this very thread and stack. `ucontext`: the interrupted user code, in the
/// signal handler; null at the end of a call into gort. Inside the runtime, no locks. Returns with a P.
void serve_here(M* m, const void* ucontext) noexcept;

/// Between two steps of long work inside the runtime, so that no stop waits for the whole of it: does what is asked of the
/// thread. The goroutine may stand still here for as long as a stop or another's turn lasts, with all that it has in hand;
/// it keeps its thread. Without locks. Elsewhere than on a goroutine's stack it does nothing: nobody can be let in there.
void let_in() noexcept;
inline constexpr int kLetIn = 64;  ///< goroutines that are made ready in between

/// Makes m's own timer set this bit of M::pending in `ns`, and look. By its own thread. False: there is no timer; who has
/// asked asks again anyway.
[[nodiscard]] bool come_back(M* m, std::uint32_t bit, std::int64_t ns) noexcept;
/// The timer has rung.
void came_back(M* m) noexcept;
/// It shall not ring any more: not for a stop, and what else it was to ask is asked now.
void stay_away(M* m) noexcept;

/// An owned P while a stop is requested: it is stopped. Under sched.lock.
void stop_owned_p(OwnedP p) noexcept;
/// A P whose M has just entered a blocking call: stops it if a stop is requested and nobody was faster.
void stop_p_in_call(P* p) noexcept;
/// p has stopped: wakes the initiator if it waits for just this one.
void tell_stopped(P* p) noexcept;

/// After p's status has changed from stopped: wakes the M that may sleep on it.
void wake_p_sleeper(P* p) noexcept;

/// Waits until the P that this M is owed (status handed) can be taken, over stops, and wires it. False: it is gone.
[[nodiscard]] bool await_p(M* m, P* p) noexcept;

/// Runs the function of for_each_p if p still owes it. By whoever has the P for itself.
inline constexpr std::uint32_t kSafePointDone = 0, kSafePointRuns = 1, kSafePointAsked = 2;
void run_safe_point_slow(P* p) noexcept;
inline void run_safe_point(P* p) noexcept {
  if (__builtin_expect(p->safe_point.load(os::memory_order_relaxed) != kSafePointDone, 0)) run_safe_point_slow(p);
}

/// Runs fn(arg) on the M's own stack while the goroutine is parked as far as anybody can see (its context is
/// complete, its status `waiting` with this reason), and comes back to it without giving the P away. Go's mcall and
/// back. On a foreign thread: a plain call. fn must not park.
void parked_on_system_stack(void (*fn)(void*), void* arg, WaitReason reason) noexcept;

}  // namespace gort::inline v0::rt
