// gort: the runtime's semaphore: any 32-bit word becomes a counting semaphore on which goroutines wait.
//
// The word holds the free units, nothing else; who waits is kept in a table of the runtime's own, by the
// word's address. So a semaphore costs four bytes, needs no construction, and may die as soon as nobody
// waits on it, even while the release that let the last waiter go is still returning. Every sleeping
// primitive above (worldsema, mutexes, wait groups) is such a word plus its own state.
//
//   sem_acquire      takes one unit, or parks the goroutine (a foreign thread: blocks the thread)
//   sem_try_acquire  takes one unit if there is one
//   sem_release      adds units and wakes as many waiters as there are units for
//
// Two ways to release:
//   plain     the units go into the word and the waiters are woken to fetch them. Whoever runs already may
//             be faster (barging): best throughput, no order.
//   handoff   the units go to the oldest waiters themselves, past the word: nobody can come between, the
//             releaser least of all. A waiter that was handed its unit has waiter::ticket == 1. If it is a
//             goroutine and the caller may yield (below), it also gets the rest of the caller's time slice.
//
// Order: first in, first out per address, or last in, first out on request. A waiter that was woken by a
// plain release and came too late goes back to the *front*: it is the oldest (Go sends it to the end).
// A goroutine left over from an ended run is passed over: it can never use a unit.
//
// Threads: any, with or without P. Acquiring is for goroutines and foreign threads only; on an M's own
// stack there is no goroutine to park, and blocking the M would block its P: fatal error (golang/go#8749).
// Releasing is allowed everywhere but under a runtime lock that ranks at or above sched.
#pragma once

#include "gort/waiter.h"
#include "os/os.h"
#include "sched/wait_reason.h"

namespace gort::inline v0::rt {

using SemWord = os::atomic<std::uint32_t>;

/// Most units that a word may hold; one more is a fatal error that says so.
inline constexpr std::uint32_t kSemMax = 0x7fffffff;

struct SemAcquire {
  bool lifo = false;                           ///< queue before those who wait already
  WaitReason reason = WaitReason::semacquire;  ///< what tracebacks show
};

struct SemRelease {
  bool handoff = false;   ///< the units go to the waiters directly
  std::uint32_t n = 1;    ///< how many units
  /// handoff gives the time slice too. False: the caller keeps it, and its thread (operations that promise
  /// never to change the thread, as every unlock does; docs/tls.md).
  /// It is kept anyway where yielding is impossible: with preemption disabled or a runtime lock held
  /// (Tls::locks), on an M's own stack, on a foreign thread.
  bool yield = true;
};

/// Takes one unit; waits until there is one. May change the goroutine's thread if it waits. Inside the
/// runtime, with no runtime lock held. Fatal on an M's own stack, whether there is a unit or not.
void sem_acquire(SemWord* addr, SemAcquire options = {}) noexcept;

/// Takes one unit if there is one. Anywhere, signal handlers included.
bool sem_try_acquire(SemWord* addr) noexcept;

/// Adds options.n units, all at one instant. Never blocks; changes the thread only if it yields the slice, see
/// above. Whoever takes one of the units may destroy the word: it is not touched after that moment, unless
/// somebody still waits on it. O(log addresses in the root + waiters woken), the latter under the root's lock.
void sem_release(SemWord* addr, SemRelease options = {}) noexcept;

// ---- for tests and reports: each a moment's view, taken root by root --------------------------

/// How many wait on this word now.
std::uint32_t sem_waiting(const SemWord* addr) noexcept;

struct SemStats {
  std::uint64_t waiters = 0;
  std::uint64_t addresses = 0;           ///< words that somebody waits on
  std::uint32_t roots_in_use = 0;
  std::uint32_t most_addresses = 0;      ///< in one root
};
SemStats sem_stats() noexcept;

/// Calls visit(addr, waiter, arg) for every waiter, per address in queue order, under its root's lock: visit
/// must not release, acquire or block.
void sem_for_each_waiter(void (*visit)(const void* addr, const waiter* w, void* arg) noexcept,
                         void* arg) noexcept;

}  // namespace gort::inline v0::rt
