// gort: parking, readying, yielding: how a goroutine gives its M away and gets one again.
//
// All of these are called inside the runtime (a RuntimeEntry is open), on a goroutine's stack unless it
// says otherwise. Only park() and the yields may change the goroutine's thread.
#pragma once

#include "base/mutex.h"
#include "sched/g.h"

namespace gort::inline v0::rt {

/// Runs once the parked goroutine's context is complete, on whatever stack comes next, so that a waker on
/// another M can never run a goroutine that has not left yet. Publishes the wait (releases the queue's
/// lock, swings a word). False: what was waited for is there already; the goroutine goes on.
/// Must not park, block or call users.
using ParkCommit = bool (*)(G* g, void* arg) noexcept;

/// Parks the current goroutine until ready(). The state that the wait depends on is published by `commit`
/// (null: it has been published before and nobody can be early).
void park(ParkCommit commit, void* arg, WaitReason reason) noexcept;

/// Parks, and releases `lock`, which the caller holds and under which it has queued its waiter.
void park_unlock(Mutex* lock, WaitReason reason) noexcept;

/// Makes a parked goroutine runnable. Any thread, M or foreign; exactly once per park (a second one is
/// fatal). `next`: it runs next on this P, in the rest of the current slice (Go's readying into runnext).
void ready(G* g, bool next = true) noexcept;

/// From `from` (waiting or captive), which its only agent ends now, to `to`; spins while the goroutine is held.
void leave_status_slow(G* g, GStatus from, GStatus to) noexcept;
[[gnu::always_inline]] inline void leave_status(G* g, GStatus from, GStatus to) noexcept {
  GStatus expected = from;
  if (__builtin_expect(!g->status.compare_exchange_strong(expected, to, os::memory_order_acq_rel,
                                                          os::memory_order_relaxed), 0)) {
    leave_status_slow(g, from, to);
  }
}

/// G::wait.ready of a goroutine.
void ready_waiter(waiter* w) noexcept;

/// Lets others of this P run; the goroutine goes to the tail of the local queue. Not to the global one, as
/// Go's Gosched does: two locked operations more, for no better fairness, since the global queue gets its
/// turn every 61st dispatch and idle Ps steal.
void yield() noexcept;

/// As yield, but steps behind everybody: to the global queue. What a used-up time slice costs.
void yield_global() noexcept;

/// Ends the current goroutine; the API has destroyed its closure and locals. Usually does not return. If the
/// next goroutine of this P has never run, it takes over this very stack without a switch: then that one is
/// returned, current already, and the caller (g_main) runs it.
G* end_goroutine() noexcept;

}  // namespace gort::inline v0::rt
