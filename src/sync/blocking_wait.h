// gort: one blocking operation of whoever calls, goroutine or foreign thread: how every primitive of this floor waits.
//
//   BlockingWait wait(WaitReason::chan_receive, deadline, cancel);
//   lock; look again, then queue wait.node();
//   switch (wait.park_unlock(&lock)) {
//     case WaitEnd::done:       somebody took the node off the queue and ended the wait
//     case WaitEnd::timeout:    lock; take the node off if it is still queued; unlock
//     case WaitEnd::cancelled:  likewise
//   }
//
// Whoever serves the queue, under its lock, takes nodes off and tries to end their waits (end_queued): a node that
// it cannot win belongs to somebody whose time has run out, and is dropped. Nodes never lie on stacks: others may
// look at them when the owner has gone on.
//
// Cost: a goroutine's wait without a deadline has no word to race for (a plain wait). Whoever cancels it takes the queue's
// lock, as who serves the queue does, marks the node (waiter::over) and leaves it queued: who serves the queue must ask
// end_queued, whatever node->state is. So there is no atomic operation besides the lock's, and, in a context that can be
// cancelled before the end of its run, one fence (park_plain_unlock).
#pragma once

#include <optional>

#include "base/mutex.h"
#include "sched/alone.h"
#include "sched/foreign.h"
#include "sched/g.h"
#include "sched/park.h"
#include "sched/runs.h"
#include "sync/cancel.h"

namespace gort::inline v0::rt {

inline constexpr std::int64_t kNoDeadline = INT64_MAX;  ///< os::nanotime never gets there

/// Whether goroutine g's wait may do without a word to race for, and can begin at once: whoever cancels knows it.
inline bool plain_wait(const G* g, std::int64_t deadline, const CancelSource* cancel) noexcept {
  return deadline == kNoDeadline && (cancel == nullptr || cancel->background || g->wait_state.member_of == cancel);
}

/// A plain wait of goroutine g, whose own waiter has been queued under `lock`: releases it and sleeps. done, or
/// cancelled: then the waiter may still be queued. May change the thread.
WaitEnd park_plain_unlock(G* g, Mutex* lock, Held held, const CancelSource* cancel, WaitReason reason) noexcept;

class [[nodiscard]] BlockingWait {
 public:
  /// `deadline`: os::nanotime at which the wait ends with WaitEnd::timeout. `cancel`: whose cancellation ends it;
  /// null: none. In the runtime. A foreign thread's record is taken here.
  BlockingWait(WaitReason reason, std::int64_t deadline, CancelSource* cancel) noexcept;
  BlockingWait(const BlockingWait&) = delete;
  BlockingWait& operator=(const BlockingWait&) = delete;
  /// Not parked: the node must not be queued any more.
  ~BlockingWait();

  /// To be queued in one place; waits in several places have nodes of their own, with this state.
  waiter* node() noexcept { return node_; }
  /// Null: only the queue can end the wait.
  WaitState* state() noexcept { return node_->state; }
  /// Waits in several places always race for the word. Before it is queued anywhere.
  void race() noexcept;

  /// Releases `lock`, under which the node was queued, and sleeps until the wait ends. May change the thread.
  WaitEnd park_unlock(Mutex* lock, Held held = Held::lock) noexcept;
  /// As park_unlock for who holds no lock any more (or never did: a sleep). Only with a state.
  WaitEnd park() noexcept;

 private:
  WaitEnd park_with_timer() noexcept;
  WaitEnd park_lending_timer() noexcept;
  void sleep_foreign() noexcept;

  G* g_ = nullptr;
  waiter* node_ = nullptr;
  WaitState* own_ = nullptr;
  CancelSource* cancel_ = nullptr;
  std::int64_t deadline_;
  WaitGeneration generation_ = 0;
  WaitReason reason_;
  bool slept_ = false;
  std::optional<ForeignWait> foreign_;
};

/// Ends the wait of a node that the caller has just taken off its queue, under the queue's lock. False: it is over
/// already (or its goroutine belongs to an ended run): the node is dropped. True: *wake says whether the caller,
/// when it has released the lock, must call ready() of the owner (the node, or state->wake where it has a state).
inline bool end_queued(waiter* node, bool* wake) noexcept {
  waiter* owner = node->state != nullptr ? node->state->wake : node;  // a wait in several places has nodes of its own
  if (owner->ready == ready_waiter && left_over(g_of(owner))) return false;
  if (node->state == nullptr) {
    if (node->over != 0) return false;
    node->over = 1;
    *wake = true;
    return true;
  }
  const Won won = wait_win_queued(*node->state);
  *wake = won == Won::parked;
  return won != Won::no;
}

}  // namespace gort::inline v0::rt
