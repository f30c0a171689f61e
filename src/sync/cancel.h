// gort: what a cancelled context ends: the waits of those who live in it.
//
// A goroutine (or a foreign thread) joins the list of its context's source when it waits there for the first time,
// and stays in it until it leaves the context or ends. So a wait in a cancellable context costs one load more than
// one elsewhere; a goroutine that never waits costs nothing, and cancelling costs one look per member.
//
// No wait is missed:
//
//   who waits                                 who cancels
//     W1  is a member (under the lock)          C1  sets `cancelled`
//     W2  opens the wait                        C2  walks the members (under the lock): ends what is open
//     W3  looks at `cancelled`
//
// All seq_cst: either W3 sees C1, or C2 sees W1 and W2. C2 goes on where it has stopped (`walk`), some members at a time:
// the lock is not held for long, and a stop need not wait for a hundred thousand of them. Whoever joins meanwhile stands
// before that place, and sees C1.
//
//   the wait …                       is opened (W2) by               and ended (C2)
//   has a deadline or several        its word: wait_open             by whoever wins the word
//   places, or is a thread's
//   is plain (blocking_wait.h):      its status, `waiting`; it is    by who holds the goroutine where it waits
//   any other goroutine's            queued by then, and W3 is       (claim_g) and takes the queue's lock, as who
//                                    before the queue's unlock       serves it does: WaitState::withdraw
//
// A *background* (the source of a run's root context) has no members: a wait that only it can end costs nothing at
// all, no word, no atomic operation. Who ends it sweeps over all goroutines, again and again until none waits, and
// ends the wait from outside: context_root.cc.
#pragma once

#include "base/mutex.h"
#include "sched/wait_state.h"

namespace gort::inline v0::rt {

/// The cancellable core of a context. Its owner (the context) outlives every membership: who leaves a context for
/// good calls cancel_leave first.
struct CancelSource {
  os::atomic<std::uint32_t> cancelled{0};  ///< 0, then 1 for ever
  os::atomic<bool> linked{false};          ///< what is above it reaches it (context_link)
  bool background = false;                 ///< constant
  Mutex lock{LockRank::cancel};
  WaitState* members = nullptr;            ///< under lock
  WaitState* walk = nullptr;               ///< under lock: the member that C2 comes to next
};

inline bool is_cancelled(const CancelSource* s) noexcept {
  return s != nullptr && s->cancelled.load(os::memory_order_seq_cst) != 0;
}

/// C1: all later waits of members end at once, with WaitEnd::cancelled. Any thread, in the runtime; a second call does
/// nothing. By who calls cancel_walk then, until that says that it is done.
void cancel_fire(CancelSource* s) noexcept;
/// C2 for the next kCancelStep members: ends their cancellable waits, and wakes them under no lock. True: there are more.
[[nodiscard]] bool cancel_walk(CancelSource* s) noexcept;
inline constexpr int kCancelStep = 64;

/// W1. The owner of `w` only.
void cancel_join(CancelSource* s, WaitState* w) noexcept;
/// The owner of `w` leaves whatever source it is a member of. O(1).
void cancel_leave(WaitState* w) noexcept;

}  // namespace gort::inline v0::rt
