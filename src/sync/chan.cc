#include "sync/chan.h"

#include <cstring>

#include "base/check.h"
#include "base/fault.h"
#include "base/sanitizer.h"
#include "sched/alone.h"
#include "sched/sched.h"
#include "sched/stop_point.h"
#include "sync/bubble.h"

namespace gort::inline v0::rt {

namespace {

void* slot_of(waiter* w) noexcept { return const_cast<void*>(w->key); }

[[gnu::always_inline]] inline void copy(const Chan* c, void* to, const void* from) noexcept {
  switch (c->size) {  // the usual ones without a call
    case 0: return;
    case 1: std::memcpy(to, from, 1); return;
    case 4: std::memcpy(to, from, 4); return;
    case 8: std::memcpy(to, from, 8); return;
    default: std::memcpy(to, from, c->size);
  }
}

std::byte* place(const Chan* c, std::size_t index) noexcept { return c->ring + index * c->size; }

std::size_t wrapped(const Chan* c, std::size_t index) noexcept { return index >= c->cap ? index - c->cap : index; }

/// For TSan: place i of the ring synchronises who puts with who takes, both ways (a later put comes after the take).
void san_place(const Chan* c, std::size_t index) noexcept {
  if (__builtin_expect(!san::watched(), 1)) return;
  const void* at = c->size != 0 ? static_cast<const void*>(place(c, index)) : c;
  san::acquire(at);
  san::release(at);
}

/// For TSan: likewise the two who meet.
void san_meet(const waiter* w) noexcept {
  if (__builtin_expect(!san::watched(), 1)) return;
  san::acquire(w);
  san::release(w);
}

/// Takes waiters off q until one's wait can be ended; copies between its slot and `value` before that. Null: nobody.
template <bool kToWaiter>
[[gnu::always_inline]] inline waiter* serve(Chan* c, ChanQueue& q, void* value, ChanWake* wake) noexcept {
  while (waiter* w = pop(q)) {
    if constexpr (kToWaiter) {
      copy(c, slot_of(w), value);
    } else {
      copy(c, value, slot_of(w));
    }
    w->ticket = kChanDelivered;
    san_meet(w);
    bool must_wake = false;
    if (__builtin_expect(end_queued(w, &must_wake), 1)) {
      if (must_wake) wake->first = w->state != nullptr ? w->state->wake : w;
      return w;
    }
    w->ticket = kChanDropped;
    if (fault(Fault::chan_next)) break;
  }
  return nullptr;
}

/// Under the lock, so that a plain addition will do.
void add(decltype(Chan::count)& n, std::ptrdiff_t more) noexcept {
  n.store(n.load(os::memory_order_relaxed) + static_cast<std::size_t>(more), os::memory_order_release);
}

[[gnu::always_inline]] inline void put(Chan* c, const void* from) noexcept {
  const std::size_t at = wrapped(c, c->head + c->count.load(os::memory_order_relaxed));
  copy(c, place(c, at), from);
  san_place(c, at);
  add(c->count, 1);
}

/// The oldest of the ring; a sender that waits puts its value behind the others.
[[gnu::always_inline]] inline void take(Chan* c, void* to, ChanWake* wake) noexcept {
  const std::size_t at = c->head;
  copy(c, to, place(c, at));
  san_place(c, at);
  c->head = wrapped(c, at + 1);
  if (!empty(c->sendq) && serve<false>(c, c->sendq, place(c, at), wake) != nullptr) {
    san_place(c, at);
    return;
  }
  add(c->count, -1);
}

void* pop_front(Chan* c) noexcept {
  void* box = c->front;
  std::memcpy(&c->front, box, sizeof(void*));
  add(c->given_back, -1);
  return box;
}

ChanEnd end_of(std::uint32_t ticket) noexcept { return ticket == kChanDelivered ? ChanEnd::done : ChanEnd::closed; }

/// Parks a goroutine whose wait only the queue or a cancellation can end.
ChanEnd park_plain(G* g, Chan* c, Held held, ChanQueue& q, void* slot, WaitReason reason,
                   const CancelSource* cancel) noexcept {
  waiter* w = &g->wait;
  w->state = nullptr;
  w->key = slot;
  w->ticket = kChanQueued;
  san::release(w);
  push(q, w);
  if (__builtin_expect(park_plain_unlock(g, &c->lock, held, cancel, reason) == WaitEnd::done, 1)) return end_of(w->ticket);
  const HeldGuard guard(c->lock);
  if (w->ticket == kChanQueued) remove(q, w);
  return ChanEnd::cancelled;
}

/// Queues and waits. Under the lock, which is released.
ChanEnd wait_in(Chan* c, Held held, ChanQueue& q, void* slot, BlockingWait& wait) noexcept {
  waiter* w = wait.node();
  w->key = slot;
  w->ticket = kChanQueued;
  san::release(w);
  push(q, w);
  const WaitEnd end = wait.park_unlock(&c->lock, held);
  if (end == WaitEnd::done) return end_of(w->ticket);
  held = lock_or_alone(c->lock);
  if (w->ticket == kChanQueued) remove(q, w);
  unlock(c->lock, held);
  return end == WaitEnd::timeout ? ChanEnd::timeout : ChanEnd::cancelled;
}

[[gnu::always_inline]] inline ChanEnd do_send(Chan* c, void* from, ChanWake* wake) noexcept {
  if (__builtin_expect(c->closed.load(os::memory_order_relaxed) != 0, 0)) {
    san::acquire(&c->closed);
    return ChanEnd::closed;
  }
  if (!empty(c->recvq) && serve<true>(c, c->recvq, from, wake) != nullptr) {
    return ChanEnd::done;
  }
  if (c->count.load(os::memory_order_relaxed) >= c->cap) return ChanEnd::would_block;
  put(c, from);
  return ChanEnd::done;
}

[[gnu::always_inline]] inline ChanEnd do_recv(Chan* c, void* to, ChanWake* wake) noexcept {
  if (__builtin_expect(c->front != nullptr, 0)) {
    void* box = pop_front(c);
    std::memcpy(to, &box, sizeof box);
    return ChanEnd::done;
  }
  if (c->count.load(os::memory_order_relaxed) != 0) {
    take(c, to, wake);
    return ChanEnd::done;
  }
  if (!empty(c->sendq) && serve<false>(c, c->sendq, to, wake) != nullptr) return ChanEnd::done;
  if (c->closed.load(os::memory_order_relaxed) == 0) return ChanEnd::would_block;
  san::acquire(&c->closed);
  return ChanEnd::closed;
}

/// send and recv differ in what they try and where they wait.
template <ChanEnd (*kTry)(Chan*, void*, ChanWake*) noexcept>
[[gnu::always_inline]] inline ChanEnd operate(Chan* c, ChanQueue& q, void* slot, WaitReason reason,
                                              ChanWait how) noexcept {
  ChanWake wake;
  Held held = lock_or_alone(c->lock);
  ChanEnd end = kTry(c, slot, &wake);
  if (end != ChanEnd::would_block) {
    unlock(c->lock, held);
    wake.wake();  // nothing of c is touched any more: who received may have destroyed it
    return end;
  }
  G* g = current_g();
  if (g != nullptr && plain_wait(g, how.deadline, how.cancel)) {
    bubble_waits_for(c->bubble);
    end = park_plain(g, c, held, q, slot, reason, how.cancel);
    bubble_waits_no_more();
    return end;
  }
  // Joining a context takes a lock that comes before the channel's.
  unlock(c->lock, held);
  BlockingWait wait(reason, how.deadline, how.cancel);
  held = lock_or_alone(c->lock);
  end = kTry(c, slot, &wake);
  if (end == ChanEnd::would_block) {
    bubble_waits_for(c->bubble);
    end = wait_in(c, held, q, slot, wait);
    bubble_waits_no_more();
    return end;
  }
  unlock(c->lock, held);
  wake.wake();
  return end;
}

}  // namespace

ChanEnd chan_send_locked(Chan* c, const void* from, ChanWake* wake) noexcept {
  return do_send(c, const_cast<void*>(from), wake);
}

ChanEnd chan_recv_locked(Chan* c, void* to, ChanWake* wake) noexcept { return do_recv(c, to, wake); }

ChanEnd chan_send(Chan* c, const void* from, ChanWait how) noexcept {
  return operate<do_send>(c, c->sendq, const_cast<void*>(from), WaitReason::chan_send, how);
}

ChanEnd chan_recv(Chan* c, void* to, ChanWait how) noexcept {
  return operate<do_recv>(c, c->recvq, to, WaitReason::chan_receive, how);
}

ChanEnd chan_try_send(Chan* c, const void* from) noexcept {
  ChanWake wake;
  const Held held = lock_or_alone(c->lock);
  const ChanEnd end = do_send(c, const_cast<void*>(from), &wake);
  unlock(c->lock, held);
  wake.wake();
  return end;
}

ChanEnd chan_try_recv(Chan* c, void* to) noexcept {
  ChanWake wake;
  const Held held = lock_or_alone(c->lock);
  const ChanEnd end = do_recv(c, to, &wake);
  unlock(c->lock, held);
  wake.wake();
  return end;
}

ChanEnd chan_never(WaitReason reason, ChanWait how) noexcept {
  BlockingWait wait(reason, how.deadline, how.cancel);
  wait.race();
  return wait.park() == WaitEnd::timeout ? ChanEnd::timeout : ChanEnd::cancelled;
}

bool chan_close(Chan* c) noexcept {
  waiter* first = nullptr;
  waiter** end = &first;
  {
    const HeldGuard guard(c->lock);
    if (c->closed.load(os::memory_order_relaxed) != 0) return false;
    san::release(&c->closed);
    c->closed.store(1, os::memory_order_release);
    for (ChanQueue* q : {&c->recvq, &c->sendq}) {
      while (waiter* w = pop(*q)) {
        w->ticket = kChanClosed;
        san::release(w);
        bool must_wake = false;
        if (!end_queued(w, &must_wake)) {
          w->ticket = kChanDropped;
        } else if (must_wake) {
          waiter* sleeper = w->state != nullptr ? w->state->wake : w;
          *end = sleeper;
          end = &sleeper->next;
        }
      }
    }
    *end = nullptr;
  }
  for (int n = 1; first != nullptr; ++n) {
    waiter* w = first;
    first = w->next;
    // Into the queue one behind the other: as next ones they would overtake each other.
    if (w->ready == ready_waiter) {
      ready(g_of(w), false);
    } else {
      w->ready(w);
    }
    if (n % kLetIn == 0) let_in();
  }
  return true;
}

void chan_give_back(Chan* c, void* box) noexcept {
  ChanWake wake;
  const Held held = lock_or_alone(c->lock);
  if (empty(c->recvq) || serve<true>(c, c->recvq, &box, &wake) == nullptr) {
    std::memcpy(box, &c->front, sizeof(void*));
    c->front = box;
    add(c->given_back, 1);
  }
  unlock(c->lock, held);
  wake.wake();
}

void chan_quiet(Chan* c) noexcept {
  const M* m = self_m();
  if (m == nullptr || m->p == nullptr) alone_wait_outside();
  LockGuard guard(c->lock);
}

void* chan_next_left(Chan* c, void** box) noexcept {
  if (c->front != nullptr) {
    *box = pop_front(c);
    return box;
  }
  if (c->count.load(os::memory_order_relaxed) == 0) return nullptr;
  void* element = place(c, c->head);
  san_place(c, c->head);
  c->head = wrapped(c, c->head + 1);
  add(c->count, -1);
  return element;
}

}  // namespace gort::inline v0::rt
