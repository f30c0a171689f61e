// gort: channels, without the type of what goes through them.
//
//   a Chan has         meaning
//   ring               cap elements of `size` bytes; what is sent waits there
//   front              values that a receiver has given back: before the ring's
//   recvq, sendq       who waits, oldest first
//   lock               guards all of that; what chan_head has may be looked at without it. While there is one P,
//                      goroutines do without it (sched/alone.h)
//
//   INVARIANT  recvq and sendq are not both served: whoever comes first looks at the other queue first. (Both may hold
//              nodes of one select that both sends and receives here, and nodes of waits that have ended.)
//   INVARIANT  somebody waits in recvq, and its wait is open   =>  ring and front are empty
//   INVARIANT  somebody waits in sendq, and its wait is open   =>  the ring is full (or there is none)
//
// A value goes straight from who sends to who waits. Who comes second does the copying, in this order:
//
//   lock; take the oldest node off its queue; copy the bytes from or to its slot; end its wait; unlock; ready()
//
// If the wait has ended otherwise (its time is up, another case of its select has fired), what was copied does not
// count, and the next node is tried. The slot is on the stack of who waits, and lives: nobody leaves a wait without having
// taken its node off the queue under the lock. A node that somebody else has taken off says so in its ticket:
//
//   ticket      by whom                  the wait
//   queued      its owner                is open, or has ended and its owner has not been here yet
//   delivered   who had the other side   has ended: the value has changed hands
//   closed      close                    has ended: the channel is closed
//   dropped     either of them           had ended before
//
// Written before the wait is ended, since the owner of a wait that was ended early looks without the lock.
//
// Where nobody has to wait there is a shorter way (chan_at_once.h).
//
// The plain operations queue the waiter that a G (or a foreign thread's record) has anyway: `key` is the slot.
// select's nodes come from the Ps' caches (select.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/mutex.h"
#include "gort/detail/chan_head.h"
#include "gort/waiter.h"
#include "os/os.h"
#include "sync/blocking_wait.h"

namespace gort::inline v0::rt {

using ChanEnd = detail::chan_end;

enum ChanTicket : std::uint32_t { kChanQueued, kChanDelivered, kChanClosed, kChanDropped };

using ChanQueue = detail::chan_queue;

inline void push(ChanQueue& q, waiter* w) noexcept {
  w->next = nullptr;
  w->prev = q.last;
  if (q.last != nullptr) {
    q.last->next = w;
  } else {
    q.first.store(w, os::memory_order_release);
  }
  q.last = w;
}
inline void remove(ChanQueue& q, waiter* w) noexcept {
  if (w->prev != nullptr) {
    w->prev->next = w->next;
  } else {
    q.first.store(w->next, os::memory_order_release);
  }
  (w->next != nullptr ? w->next->prev : q.last) = w->prev;
}
/// Null: nobody waits.
inline waiter* pop(ChanQueue& q) noexcept {
  waiter* w = q.first.load(os::memory_order_relaxed);
  if (w != nullptr) remove(q, w);
  return w;
}
inline bool empty(const ChanQueue& q) noexcept { return q.first.load(os::memory_order_relaxed) == nullptr; }

struct alignas(64) Chan : detail::chan_head {
  constexpr Chan() noexcept = default;

  Mutex lock{LockRank::chan};
  std::size_t head = 0;        ///< index of the oldest in the ring
  std::byte* ring = nullptr;   ///< constant; the API's memory
  void* front = nullptr;       ///< boxes that were given back, linked by their first word; then size == sizeof(void*)
  std::uint64_t bubble = 0;    ///< serial of the bubble that it was made in (sync/bubble.h); constant
  bool of_timer = false;       ///< shows no length: what is in it may be taken back
  void (*drop)(void* element) noexcept = nullptr;  ///< the API's; the core never calls it
  void* block = nullptr;       ///< likewise: the memory that it lies in
};

/// How a blocking operation may end otherwise. Passed by value: two registers.
struct ChanWait {
  std::int64_t deadline = kNoDeadline;
  CancelSource* cancel = nullptr;
};

// In the runtime. `from`, `to`: c->size bytes. Never null channels.

/// done, closed; with how: timeout, cancelled. May change the thread if it waits.
ChanEnd chan_send(Chan* c, const void* from, ChanWait how) noexcept;
ChanEnd chan_recv(Chan* c, void* to, ChanWait how) noexcept;
/// done, closed, would_block.
ChanEnd chan_try_send(Chan* c, const void* from) noexcept;
ChanEnd chan_try_recv(Chan* c, void* to) noexcept;
/// Waits for what never comes: timeout or cancelled.
ChanEnd chan_never(WaitReason reason, ChanWait how) noexcept;

/// False: it is closed already. O(waiters). A Chan without a ring that is closed once is an event: who receives
/// from it waits for that, alone or in a select.
bool chan_close(Chan* c) noexcept;

/// A received box goes back to the front, or to who waits by now.
void chan_give_back(Chan* c, void* box) noexcept;

/// Nobody uses the channel any more, but who served its last user may be about to let go of it: waits for that.
void chan_quiet(Chan* c) noexcept;
/// Then: the next element of it; null: none is left. To be dropped by the caller. `box` is room for a pointer.
void* chan_next_left(Chan* c, void** box) noexcept;

// ---- for select: under the lock --------------------------------------------------------------

/// Who is to be made ready when all locks have been released.
struct ChanWake {
  waiter* first = nullptr;
  void wake() const noexcept {
    if (first != nullptr) first->ready(first);
  }
};

/// done, closed, would_block.
ChanEnd chan_send_locked(Chan* c, const void* from, ChanWake* wake) noexcept;
ChanEnd chan_recv_locked(Chan* c, void* to, ChanWake* wake) noexcept;

}  // namespace gort::inline v0::rt
