// gort: channels, without the type of what goes through them.
//
//   a Chan has         meaning
//   ring               cap elements of `size` bytes; what is sent waits there
//   front              values that a receiver has given back: before the ring's
//   recvq, sendq       who waits, oldest first
//   lock               guards all of that; count, closed and the queues' heads may be looked at without it
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

/// First in, first out; any node leaves it in O(1). Under the channel's lock, empty() apart.
class ChanQueue {
 public:
  bool empty() const noexcept { return first_.load(os::memory_order_acquire) == nullptr; }
  waiter* first() const noexcept { return first_.load(os::memory_order_relaxed); }
  void push(waiter* w) noexcept {
    w->next = nullptr;
    w->prev = last_;
    if (last_ != nullptr) {
      last_->next = w;
    } else {
      first_.store(w, os::memory_order_release);
    }
    last_ = w;
  }
  void remove(waiter* w) noexcept {
    if (w->prev != nullptr) {
      w->prev->next = w->next;
    } else {
      first_.store(w->next, os::memory_order_release);
    }
    (w->next != nullptr ? w->next->prev : last_) = w->prev;
  }
  waiter* pop() noexcept {
    waiter* w = first();
    if (w != nullptr) remove(w);
    return w;
  }

 private:
  os::atomic<waiter*> first_{nullptr};
  waiter* last_ = nullptr;
};

struct alignas(64) Chan : detail::chan_head {
  constexpr Chan() noexcept = default;

  Mutex lock{LockRank::chan};
  os::atomic<std::uint32_t> closed{0};      ///< 0, then 1 for ever
  os::atomic<std::size_t> count{0};         ///< values in the ring
  os::atomic<std::size_t> given_back{0};    ///< values in front
  std::size_t cap = 0;                      ///< constant
  std::size_t head = 0;                     ///< index of the oldest in the ring
  std::byte* ring = nullptr;                ///< constant; the API's memory
  std::uint32_t size = 0;                   ///< of an element; constant
  void* front = nullptr;                    ///< boxes, linked by their first word; then size == sizeof(void*)
  ChanQueue recvq;
  ChanQueue sendq;
  std::uint64_t bubble = 0;                 ///< serial of the bubble that it was made in (sync/bubble.h); constant
  bool of_timer = false;                    ///< shows no length: what is in it may be taken back
  void (*drop)(void* element) noexcept = nullptr;  ///< the API's; the core never calls it
};

/// How a blocking operation may end otherwise.
struct ChanWait {
  std::int64_t deadline = kNoDeadline;
  CancelSource* cancel = nullptr;
};

// In the runtime. `from`, `to`: c->size bytes. Never null channels.

/// done, closed; with how: timeout, cancelled. May change the thread if it waits.
ChanEnd chan_send(Chan* c, const void* from, const ChanWait& how) noexcept;
ChanEnd chan_recv(Chan* c, void* to, const ChanWait& how) noexcept;
/// done, closed, would_block.
ChanEnd chan_try_send(Chan* c, const void* from) noexcept;
ChanEnd chan_try_recv(Chan* c, void* to) noexcept;
/// Waits for what never comes: timeout or cancelled.
ChanEnd chan_never(WaitReason reason, const ChanWait& how) noexcept;

/// False: it is closed already. O(waiters). A Chan without a ring that is closed once is an event: who receives
/// from it waits for that, alone or in a select.
bool chan_close(Chan* c) noexcept;

/// A received box goes back to the front, or to who waits by now.
void chan_give_back(Chan* c, void* box) noexcept;

/// The next element of a channel that nobody uses any more; null: none is left. To be dropped by the caller.
void* chan_next_left(Chan* c, void** place) noexcept;

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

/// A look without the lock: whether it would not block. False: at one instant during the call it would have.
bool chan_can_send(const Chan* c) noexcept;
bool chan_can_recv(const Chan* c) noexcept;

}  // namespace gort::inline v0::rt
