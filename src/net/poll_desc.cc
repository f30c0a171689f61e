#include "net/poll_desc.h"

#include <cerrno>

#include "base/alloc.h"
#include "base/check.h"
#include "base/fault.h"
#include "net/poller.h"
#include "sched/bubble.h"
#include "sched/watch.h"
#include "sync/blocking_wait.h"
#include "sync/timers.h"

namespace gort::inline v0::rt {

namespace {

constinit FixAlloc<Timer> deadline_timers;

// Records that nobody owns. Not a FixAlloc, which writes into what it holds: a late event takes the record's lock.
struct FreeDescs {
  Mutex lock{LockRank::fix_alloc};
  PollDesc* first = nullptr;
};
constinit FreeDescs free_descs;

/// Null: no memory.
PollDesc* desc_new() noexcept {
  {
    LockGuard guard(free_descs.lock);
    if (PollDesc* d = free_descs.first; d != nullptr) {
      free_descs.first = d->next_free;
      return d;
    }
  }
  void* const memory = persistent_try_alloc(sizeof(PollDesc), alignof(PollDesc));
  return memory != nullptr ? ::new (memory) PollDesc : nullptr;
}

void side_reset(PollSide& s) noexcept {
  s.flags.store(0, os::memory_order_relaxed);
  s.first = s.last = nullptr;
}

/// Nobody owns it and nobody uses it. Late events find another number.
void desc_free(PollDesc* d) noexcept {
  {
    LockGuard guard(d->lock);
    d->seq.store(d->seq.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  }
  if (bubbles_exist()) {  // a timer belongs to the bubble in which it was armed
    for (PollSide& s : d->side) {
      if (s.deadline != nullptr) timer_remove(s.deadline);
    }
  }
  LockGuard guard(free_descs.lock);
  d->next_free = free_descs.first;
  free_descs.first = d;
}

void push(PollSide& s, waiter* w) noexcept {
  w->next = nullptr;
  w->prev = s.last;
  (s.last != nullptr ? s.last->next : s.first) = w;
  s.last = w;
}

void remove(PollSide& s, waiter* w) noexcept {
  (w->prev != nullptr ? w->prev->next : s.first) = w->next;
  (w->next != nullptr ? w->next->prev : s.last) = w->prev;
  w->key = nullptr;
}

/// Takes everybody off; who is to be woken is put at the end of the chain, in order. Under the lock.
void take_all(PollSide& s, PollEnd end, waiter** chain) noexcept {
  while (*chain != nullptr) chain = &(*chain)->next;
  while (waiter* w = s.first) {
    remove(s, w);
    w->ticket = static_cast<std::uint32_t>(end);
    san::release(w);
    bool wake = false;
    if (!end_queued(w, &wake) || !wake) continue;
    w->next = nullptr;
    *chain = w;
    chain = &w->next;
  }
}

void wake_all(waiter* chain) noexcept {
  while (chain != nullptr) {
    waiter* w = chain;
    chain = w->next;
    w->ready(w);
  }
}

void deadline_passed(const TimerShot& shot) noexcept {
  auto* d = static_cast<PollDesc*>(shot.arg);
  waiter* chain = nullptr;
  {
    LockGuard guard(d->lock);
    for (PollSide& s : d->side) {
      if (s.deadline != shot.timer) continue;
      // Changed or taken back since it was armed, or the record is somebody else's by now.
      if (s.deadline_seq != shot.seq) return;
      s.flags.fetch_or(kSideExpired, os::memory_order_release);
      take_all(s, PollEnd::expired, &chain);
    }
  }
  wake_all(chain);
}

}  // namespace

int poll_open(int fd, std::uint16_t kind, bool write, PollDesc** out) noexcept {
  if (const int error = pollers_start(); error != 0) return -error;
  PollDesc* d = desc_new();
  if (d == nullptr) return -ENOMEM;
  {
    LockGuard guard(d->lock);
    for (PollSide& s : d->side) side_reset(s);
    d->fd = fd;
    d->kind = kind;
    d->poller = poller_here();
    d->write_edges.store(write, os::memory_order_relaxed);
    d->refs.store(kPollOwner, os::memory_order_release);
  }
  // Partner: poll_tell. The kernel orders the two as well; this is for those who read programs.
  d->seq.store(d->seq.load(os::memory_order_relaxed), os::memory_order_release);
  if (const int r = os::poll_add(pollers.each[d->poller].fd, fd, write, poll_tag(d)); r < 0) {
    d->refs.store(kPollClosed, os::memory_order_relaxed);
    desc_free(d);
    return r;
  }
  *out = d;
  return 0;
}

namespace {

/// Once, by who has found out that nobody will use it any more.
void give_back(PollDesc* d) noexcept {
  // Closing takes it out of the poller, unless another process has it too: then its events would go on coming.
  os::poll_remove(pollers.each[d->poller].fd, d->fd);
  os::fd_close(d->fd);
}

void drop_owner(PollDesc* d) noexcept {
  const std::uint64_t before = d->refs.fetch_sub(kPollOwner, os::memory_order_acq_rel);
  if (before == (kPollClosed | kPollOwner)) desc_free(d);
}

/// What a closed one is waited for is over, and no deadline counts any more.
void end_waits(PollDesc* d) noexcept {
  LockGuard op(d->deadline_op);
  waiter* chain = nullptr;
  {
    LockGuard guard(d->lock);
    for (PollSide& s : d->side) {
      ++s.deadline_seq;
      take_all(s, PollEnd::closed, &chain);
    }
  }
  for (PollSide& s : d->side) {
    if (s.deadline != nullptr) timer_stop(s.deadline);
  }
  wake_all(chain);
}

}  // namespace

void poll_last_out(PollDesc* d) noexcept {
  give_back(d);
  drop_owner(d);
}

bool poll_close_begin(PollDesc* d) noexcept {
  std::uint64_t now = d->refs.load(os::memory_order_relaxed);
  do {
    if ((now & kPollClosed) != 0) return false;
    // Closing is an attempt itself; the owner is the last attempt's.
  } while (!d->refs.compare_exchange_weak(now, (now | kPollClosed) + kPollOwner + 1, os::memory_order_acq_rel,
                                          os::memory_order_relaxed));
  return true;
}

void poll_close_end(PollDesc* d) noexcept {
  end_waits(d);
  poll_unuse(d);
}

bool poll_close(PollDesc* d) noexcept {
  if (!poll_close_begin(d)) return false;
  poll_close_end(d);
  return true;
}

void poll_unshare(PollDesc* d) noexcept {
  std::uint64_t now = d->refs.load(os::memory_order_relaxed);
  for (;;) {
    if ((now & ~kPollUsers) == kPollOwner) {  // the last one, and open: nobody makes another owner
      poll_close(d);
      return drop_owner(d);
    }
    if (!d->refs.compare_exchange_weak(now, now - kPollOwner, os::memory_order_acq_rel, os::memory_order_relaxed)) continue;
    if (now == (kPollClosed | kPollOwner)) desc_free(d);
    return;
  }
}

int poll_release(PollDesc* d) noexcept {
  LockGuard guard(d->lock);
  if (poll_is_closed(d)) return -EBADF;
  if (d->side[kReadSide].first != nullptr || d->side[kWriteSide].first != nullptr) return -EBUSY;
  std::uint64_t alone = kPollOwner;
  if (!d->refs.compare_exchange_strong(alone, kPollOwner | kPollClosed, os::memory_order_acq_rel)) return -EBUSY;
  os::poll_remove(pollers.each[d->poller].fd, d->fd);
  for (PollSide& s : d->side) ++s.deadline_seq;
  return d->fd;
}

int poll_want_write(PollDesc* d) noexcept {
  if (d->write_edges.load(os::memory_order_relaxed) || d->write_edges.exchange(true, os::memory_order_acq_rel)) return 0;
  return os::poll_modify(pollers.each[d->poller].fd, d->fd, true, poll_tag(d));
}

PollEnd poll_wait(PollDesc* d, Side which, std::uint32_t seen, CancelSource* cancel) noexcept {
  PollSide& s = d->side[which];
  BlockingWait wait(WaitReason::io_wait, kNoDeadline, cancel);
  // Before we queue: who then finds nothing to do watches the poller (watch.h).
  sched.net_waiting.fetch_add(1, os::memory_order_seq_cst);
  if (current_g() == nullptr) timer_set_earlier(kForever);  // a foreign thread: perhaps all Ms sleep
  waiter* const node = wait.node();
  PollEnd end = PollEnd::ready;
  d->lock.lock();
  const std::uint32_t flags = s.flags.load(os::memory_order_relaxed);
  if (poll_is_closed(d)) {
    d->lock.unlock();
    end = PollEnd::closed;
  } else if ((flags & kSideExpired) != 0) {
    d->lock.unlock();
    end = PollEnd::expired;
  } else if (poll_edges(flags) != poll_edges(seen) && !fault(Fault::net_ready)) {
    d->lock.unlock();
  } else {
    node->key = d;
    push(s, node);
    if (wait.park_unlock(&d->lock) == WaitEnd::done) {
      end = static_cast<PollEnd>(node->ticket);
    } else {
      LockGuard guard(d->lock);
      if (node->key == d) remove(s, node);
      end = PollEnd::cancelled;
    }
  }
  sched.net_waiting.fetch_sub(1, os::memory_order_seq_cst);
  return end;
}

int poll_deadline(PollDesc* d, Side which, std::int64_t when) noexcept {
  LockGuard op(d->deadline_op);
  if (poll_is_closed(d)) return -EBADF;
  PollSide& s = d->side[which];
  const bool passed = when != kNoDeadline && when <= clock_now();
  const bool arm = when != kNoDeadline && !passed;
  if (s.deadline != nullptr) {
    timer_stop(s.deadline);
  } else if (arm) {
    void* const memory = deadline_timers.try_alloc();
    if (memory == nullptr) return -ENOMEM;
    auto* t = ::new (memory) Timer;
    t->fire = deadline_passed;
    t->arg = d;
    LockGuard guard(d->lock);  // deadline_passed looks for it
    s.deadline = t;
  }
  waiter* chain = nullptr;
  std::uint64_t seq = 0;
  {
    LockGuard guard(d->lock);
    seq = ++s.deadline_seq;
    if (passed) {
      s.flags.fetch_or(kSideExpired, os::memory_order_release);
      take_all(s, PollEnd::expired, &chain);
    } else {
      s.flags.fetch_and(~kSideExpired, os::memory_order_relaxed);
    }
  }
  wake_all(chain);
  if (arm) timer_arm(s.deadline, when, seq);
  return 0;
}

void poll_tell(const os::PollEvent& event, waiter** chain) noexcept {
  PollDesc* d = poll_desc_of(event.tag);
  static_cast<void>(d->seq.load(os::memory_order_acquire));
  LockGuard guard(d->lock);
  if (poll_tag(d) != event.tag && !fault(Fault::net_stale)) return;  // it was for whoever had the record before
  constexpr std::uint32_t kWhat[] = {os::kPollRead, os::kPollWrite};
  for (int i = 0; i < 2; ++i) {
    if ((event.what & kWhat[i]) == 0) continue;
    PollSide& s = d->side[i];
    const std::uint32_t ended = (event.what & os::kPollEnd) != 0 ? kSideEnded : 0;
    // In one step: an attempt that sees the count must not see an older `drained`. Partner: attempt (api/net_fd.h).
    std::uint32_t now = s.flags.load(os::memory_order_relaxed);
    while (!s.flags.compare_exchange_weak(now, ((now + kSideEdge) & ~kSideDrained) | ended, os::memory_order_release,
                                          os::memory_order_relaxed)) {
    }
    take_all(s, PollEnd::ready, chain);
  }
}

}  // namespace gort::inline v0::rt
