// gort: the usual send and receive of a channel with room: it is open, nobody waits, the lock is free, and the value is small.
// Inlined into the public operation, without a call in it: so there is next to nothing to be saved on the stack, and few
// stores for the lock's instruction to wait for. That saves about a fifth (bench: chan_uncontended).
//
// Everything else is chan_send's and chan_recv's. False: nothing has been done, whatever the reason.
#pragma once

#include <cstring>

#include "base/fault.h"
#include "base/sanitizer.h"
#include "sched/alone.h"
#include "sync/chan.h"

namespace gort::inline v0::rt {

/// Copies one value without a call. False: of another size.
[[gnu::always_inline]] inline bool copy_small(const Chan* c, void* to, const void* from) noexcept {
  // Inlined to where the value's size is known, the compiler would warn of the others.
  asm("" : "+r"(to), "+r"(from));
  switch (c->size) {
    case 0: return true;
    case 1: std::memcpy(to, from, 1); return true;
    case 4: std::memcpy(to, from, 4); return true;
    case 8: std::memcpy(to, from, 8); return true;
    case 16: std::memcpy(to, from, 16); return true;
    case 24: std::memcpy(to, from, 24); return true;
    default: return false;
  }
}

/// `change` under c's lock, or without it while alone. False: it says so; somebody else has the lock; the thread has no P.
template <class Change>
[[gnu::always_inline]] inline bool with_free_lock(Chan* c, Change change) noexcept {
  const M* m = self_m();
  if (m == nullptr || m->p == nullptr || san::watched()) return false;
  if (alone_enter(m)) {
    test_point(TestPoint::alone_inside);
    const bool done = change();
    alone_leave();
    return done;
  }
  if (!c->lock.try_lock_inside()) return false;
  const bool done = change();
  c->lock.unlock_inside();
  return done;
}

/// In the runtime (RuntimeEntry), on a goroutine; on a foreign thread: false.
[[gnu::always_inline]] inline bool chan_send_at_once(Chan* c, const void* from) noexcept {
  if (c->count.load(os::memory_order_relaxed) >= c->cap) return false;
  return with_free_lock(c, [c, from]() __attribute__((always_inline)) {
    const std::size_t count = c->count.load(os::memory_order_relaxed);
    if (count >= c->cap || c->closed.load(os::memory_order_relaxed) != 0) return false;
    if (!empty(c->recvq) && !fault(Fault::chan_at_once)) return false;
    std::size_t at = c->head + count;
    if (at >= c->cap) at -= c->cap;
    if (!copy_small(c, c->ring + at * c->size, from)) return false;
    c->count.store(count + 1, os::memory_order_release);
    return true;
  });
}

/// Likewise.
[[gnu::always_inline]] inline bool chan_recv_at_once(Chan* c, void* to) noexcept {
  if (c->count.load(os::memory_order_relaxed) == 0) return false;
  return with_free_lock(c, [c, to]() __attribute__((always_inline)) {
    const std::size_t count = c->count.load(os::memory_order_relaxed);
    if (count == 0 || c->front != nullptr) return false;
    if (!empty(c->sendq) && !fault(Fault::chan_at_once)) return false;
    if (!copy_small(c, to, c->ring + c->head * c->size)) return false;
    c->head = c->head + 1 == c->cap ? 0 : c->head + 1;
    c->count.store(count - 1, os::memory_order_release);
    return true;
  });
}

}  // namespace gort::inline v0::rt
