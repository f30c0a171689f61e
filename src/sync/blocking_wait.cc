#include "sync/blocking_wait.h"

#include "base/check.h"
#include "base/fault.h"
#include "sched/park.h"
#include "sched/sched.h"
#include "sched/watch.h"
#include "sync/test_points.h"
#include "sync/timers.h"

namespace gort::inline v0::rt {

#if defined(GORT_TESTING)
constinit os::atomic<WaitHook> wait_hooks[static_cast<int>(WaitPoint::kCount)] = {};
#endif

namespace {

bool commit_wait(G*, void* state) noexcept { return wait_commit(*static_cast<WaitState*>(state)); }

bool commit_alone(G*, void*) noexcept {
  alone_leave();
  return true;
}

/// Of a plain wait in a context that somebody may have cancelled since this goroutine looked. Its status says that it
/// waits; the queue is still locked. True: it is, and the wait has ended.
bool cancelled_meanwhile(G* g) noexcept {
  if (!is_cancelled(g->wait_state.member_of) || fault(Fault::cancel_look)) return false;
  g->wait.over = 2;
  return true;
}

bool commit_alone_heeding(G* g, void*) noexcept {
  const bool over = cancelled_meanwhile(g);  // needs no fence: who comes without a P goes through alone_ends
  alone_leave();
  return !over;
}

bool commit_unlock_heeding(G* g, void* lock) noexcept {
  os::fence(os::memory_order_seq_cst);  // partner: cancel_fire, which sets the flag and then looks at the status
  const bool over = cancelled_meanwhile(g);
  static_cast<Mutex*>(lock)->unlock();
  return !over;
}

/// WaitState::withdraw of one that waits in a queue with this lock.
bool withdraw_queued(waiter* w, void* lock) noexcept {
  const HeldGuard guard(*static_cast<Mutex*>(lock));
  if (w->over != 0) return false;
  w->over = 2;
  return true;
}

}  // namespace

WaitEnd park_plain_unlock(G* g, Mutex* lock, Held held, const CancelSource* cancel, WaitReason reason) noexcept {
  g->wait.state = nullptr;
  g->wait.over = 0;
  bool heeds = false;
  if (cancel != nullptr) {
    g->wait_state.withdraw = withdraw_queued;
    g->wait_state.withdraw_from = lock;
    heeds = !cancel->background;
    GORT_DCHECK(cancel == g->cancel && (!heeds || cancel == g->wait_state.member_of), "a cancellation would not find it");
  }
  if (held == Held::alone) {
    rt::park(heeds ? commit_alone_heeding : commit_alone, nullptr, reason);
  } else if (heeds) {
    GORT_CHECK(os::tls().locks == 1, "a wait with runtime locks held");
    rt::park(commit_unlock_heeding, lock, reason);
  } else {
    rt::park_unlock(lock, reason);
  }
  g->wait_state.withdraw = nullptr;
  san::acquire(&g->wait);
  return g->wait.over == 2 ? WaitEnd::cancelled : WaitEnd::done;
}

BlockingWait::BlockingWait(WaitReason reason, std::int64_t deadline, CancelSource* cancel) noexcept
    : cancel_(cancel), deadline_(deadline), reason_(reason) {
  M* m = self_m();
  g_ = m != nullptr ? m->curg : nullptr;
  if (g_ != nullptr) {
    node_ = &g_->wait;
    own_ = &g_->wait_state;
  } else {
    if (m != nullptr) fatal("a blocking operation on an M's own stack");
    foreign_.emplace();
    node_ = foreign_->get();
    own_ = foreign_->state();
  }
  node_->state = nullptr;
  node_->over = 0;
  if (g_ != nullptr && deadline == kNoDeadline) {
    if (cancel != nullptr && !cancel->background) cancel_join(cancel, own_);
  } else if (deadline != kNoDeadline || (cancel != nullptr && !cancel->background)) {
    race();  // of a thread in the background, only the queue ends the wait
  }
}

BlockingWait::~BlockingWait() {
  // A wait that did not come about, for what it was for was there after all. Left open, it would be taken for the next
  // one, if that is plain: a cancellation would end this, and leave that.
  if (node_->state != nullptr && !fault(Fault::wait_close)) wait_win(*own_, generation_, WaitEnd::done);
  if (!foreign_) return;
  cancel_leave(own_);  // the record goes back to the pool
  if (!slept_) foreign_->unused();
}

void BlockingWait::race() noexcept {
  if (node_->state != nullptr) return;
  if (cancel_ != nullptr && !cancel_->background) {
    cancel_join(cancel_, own_);  // W1
  } else if (cancel_ != nullptr) {
    cancel_leave(own_);  // a context that was installed before cannot end a wait in the background
  }
  generation_ = wait_open(*own_, cancel_ != nullptr);  // W2
  node_->state = own_;
}

WaitEnd BlockingWait::park_unlock(Mutex* lock, Held held) noexcept {
  if (node_->state == nullptr) {
    if (g_ != nullptr) return park_plain_unlock(g_, lock, held, cancel_, reason_);
    unlock(*lock, held);
    slept_ = true;
    foreign_->wait();
    san::acquire(node_);
    return WaitEnd::done;
  }
  unlock(*lock, held);
  return park();
}

/// A thread needs no timer: it sleeps no longer than its deadline.
void BlockingWait::sleep_foreign() noexcept {
  slept_ = true;
  if (deadline_ != kNoDeadline && !foreign_->wait_until(deadline_)) {
    if (wait_win(*own_, generation_, WaitEnd::timeout) != Won::no) {
      slept_ = false;  // we have ended it ourselves: nobody else has anything to do with the record
      return;
    }
  }
  foreign_->wait();
}

WaitEnd BlockingWait::park() noexcept {
  if (deadline_ != kNoDeadline && g_ != nullptr && !deadline_prepare(own_)) return park_lending_timer();
  return park_with_timer();
}

/// No memory for a timer: one on this stack will do. It is taken back before the stack goes on.
[[gnu::noinline]] WaitEnd BlockingWait::park_lending_timer() noexcept {
  Timer here;
  deadline_lend(own_, &here);
  const WaitEnd end = park_with_timer();
  deadline_take_back(own_);
  return end;
}

WaitEnd BlockingWait::park_with_timer() noexcept {
  GORT_CHECK(node_->state != nullptr && os::tls().locks == 0, "park: nothing can end this wait, or locks are held");
  if (is_cancelled(cancel_) && !fault(Fault::cancel_look)) wait_win(*own_, generation_, WaitEnd::cancelled);  // W3
  if (wait_end(*own_) == WaitEnd::none && deadline_ != kNoDeadline) {
    if (deadline_ <= clock_now()) {
      wait_win(*own_, generation_, WaitEnd::timeout);
    } else if (g_ != nullptr) {
      deadline_arm(own_, generation_, deadline_);
      wait_point(WaitPoint::deadline_armed, own_);
    }
  }
  if (wait_end(*own_) == WaitEnd::none) {
    if (g_ != nullptr) {
      rt::park(commit_wait, own_, reason_);
    } else if (wait_commit(*own_)) {
      sleep_foreign();
    }
  } else if (deadline_ != kNoDeadline && g_ != nullptr) {
    // Armed for a sleep that does not take place: the P has nobody to have it watched by, and later timers rely on that.
    watch_before_dispatch(self_m()->p);
  }
  san::acquire(node_);
  if (deadline_ != kNoDeadline && g_ != nullptr) deadline_disarm(own_);
  return wait_end(*own_);
}

}  // namespace gort::inline v0::rt
