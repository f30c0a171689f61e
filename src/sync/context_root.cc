// The background of a run and its end.
//
// Nearly every goroutine lives in it, so waits that only its end can end must cost nothing: no word to race for, no list
// to be in. They leave behind how to end them from outside (WaitState::withdraw), in plain stores, and whoever ends
// the background goes over all goroutines:
//
//   who waits                            who sweeps
//     says how to withdraw it              claims it: it waits, and cannot go on (world/suspend.h)
//     queues, parks                        withdraws it: takes the queue's lock, marks it as ended
//     status = waiting                     lets it go, and makes it ready
//
// Nothing orders the start of a wait with the flag: a sweep may miss one that is about to park. The end of a run looks
// again until nobody waits, so the next sweep finds it. (A second fence per wait would buy a single sweep.)
#include "base/alloc.h"
#include "sched/runs.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sync/blocking_wait.h"
#include "sync/context.h"
#include "world/suspend.h"

namespace gort::inline v0::rt {

namespace {

constinit FixAlloc<RootContext> roots;
constinit Mutex inherited_lock{LockRank::context};
constinit RootContext* inherited = nullptr;
constinit RootContext* spare = nullptr;  // likewise under inherited_lock, linked by next_inherited; all cancelled

/// Nobody has a handle of it. It stays a root, for those below: see context.h.
void keep(RootContext* r) noexcept {
  context_cancel(r, {kCauseRunEnded, nullptr});
  context_done_gone(r);
  LockGuard guard(inherited_lock);
  r->next_inherited = spare;
  spare = r;
}

/// One of those, to be used again. What is still below it, and nobody has looked at, belongs to the new run from now on.
RootContext* spare_one() noexcept {
  LockGuard guard(inherited_lock);
  RootContext* r = spare;
  if (r != nullptr) spare = r->next_inherited;
  return r;
}

/// Of a goroutine that is held where it waits. True: its wait has been ended, it is to be made ready.
bool end_wait(G* g, const CancelSource* root) noexcept {
  if (g->cancel != root) return false;  // under a shield, or in a context that has been cancelled by itself
  WaitState& s = g->wait_state;
  if (s.withdraw != nullptr) {
    alone_ends();  // it takes the queue's lock
    return s.withdraw(&g->wait, s.withdraw_from);
  }
  const std::uint64_t word = s.word.load(os::memory_order_seq_cst);
  if ((word & kWaitOpen) == 0 || (word & kWaitCancellable) == 0) return false;
  return wait_win(s, word >> kWaitGenerationShift, WaitEnd::cancelled) == Won::parked;
}

void sweep(const CancelSource* root) noexcept {
  for_each_g([root](G* g) {
    if (g->status.load(os::memory_order_acquire) != GStatus::waiting || left_over(g)) return;
    GStatus was;
    if (!claim_g(g, &was)) return;
    const bool wake = was == GStatus::waiting && end_wait(g, root);
    unclaim_g(g, was);
    if (wake) ready(g);
  });
}

}  // namespace

CancelSource* root_new() noexcept {
  if (RootContext* again = spare_one(); again != nullptr) {
    again->refs.store(1, os::memory_order_relaxed);
    again->source.cancelled.store(0, os::memory_order_seq_cst);
    again->claimed.store(0, os::memory_order_release);  // the cause stays: somebody may be reading it
    return &again->source;
  }
  auto* r = ::new (roots.alloc()) RootContext;
  r->kind = ContextKind::root;
  r->src = r;
  r->source.background = true;
  r->source.linked.store(true, os::memory_order_relaxed);
  return &r->source;
}

void root_unused(CancelSource* root) noexcept { keep(static_cast<RootContext*>(context_of(root))); }

void root_cancel(CancelSource* root) noexcept {
  context_cancel(context_of(root), {kCauseRunEnded, nullptr});
  sweep(root);
}

void root_inherited(CancelSource* root) noexcept {
  LockGuard guard(inherited_lock);
  auto* r = static_cast<RootContext*>(context_of(root));
  r->next_inherited = inherited;
  inherited = r;
}

void root_over(CancelSource* root) noexcept {
  root_inherited(root);
  RootContext* list = nullptr;
  {
    LockGuard guard(inherited_lock);
    list = inherited;
    inherited = nullptr;
  }
  while (list != nullptr) {
    RootContext* r = list;
    list = r->next_inherited;
    // Handles may be left: then it stays, a kilobyte.
    if (context_unref(r)) keep(r);
  }
}

}  // namespace gort::inline v0::rt
