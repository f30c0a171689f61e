// gort: PollDesc, a descriptor on which goroutines wait: what is known of it, who waits, who may still use it.
//
// From a pool, never unmapped: an event that comes late finds a PollDesc, and its number (`seq`) tells that it was meant
// for the one before. The name is Go's (runtime/netpoll.go).
//
//   flag of a side   means                                        set by                     cleared by
//   drained          the last attempt left nothing: wait at once  who attempted, if no edge  poll_tell
//                                                                 has come meanwhile
//   ended            no further edge may come: always attempt     poll_tell                  a new owner
//   expired          its deadline has passed                      the timer, poll_deadline   poll_deadline
//   edges (the rest) how many have come                           poll_tell                  a new owner
//
//   an operation                                      an edge (poll_tell, under the lock)
//     attempts while poll_use holds the descriptor:     counts itself, clears `drained`
//       looks at the flags, makes the system call       takes off all who wait
//     nothing there: poll_wait, under the lock:
//       another count than before the call:
//       attempt again; else queue, park
//
// No edge is lost: one that came before the attempt is found by the system call; one that comes after it finds us
// queued, or the count changed. A count, and not a flag that whoever attempts next would clear: several may be between
// their attempt and their wait, and each must learn of it. Everybody who waits on a side is woken by its edge and attempts
// again: one edge may stand for several connections to accept.
//
// Who waits holds nothing of the descriptor (`refs` counts owners and attempts), so that close() can give it back while
// others wait: they are woken, and find it closed.
//
//   refs      bits 0-31 attempts under way; 32-62 owners; 63 closed
//
//   the descriptor is given back by   the last attempt on a closed one; closing is one (and makes an owner for the last)
//   the record is freed by            the last owner
#pragma once

#include <cstdint>

#include "base/mutex.h"
#include "gort/waiter.h"
#include "os/os.h"
#include "sync/cancel.h"

namespace gort::inline v0::rt {

struct Timer;

enum Side : std::uint8_t { kReadSide = 0, kWriteSide = 1 };

inline constexpr std::uint32_t kSideDrained = 1;
inline constexpr std::uint32_t kSideEnded = 2;
inline constexpr std::uint32_t kSideExpired = 4;
inline constexpr std::uint32_t kSideEdge = 8;  ///< one edge; the bits below are the flags
inline constexpr std::uint32_t poll_edges(std::uint32_t flags) noexcept { return flags & ~(kSideEdge - 1); }

/// How a wait on a descriptor has ended. Travels as waiter::ticket.
enum class PollEnd : std::uint32_t { ready, expired, closed, cancelled };

/// Bits of PollDesc::kind.
inline constexpr std::uint16_t kPollStream = 1;  ///< a read that gives less than was asked for has emptied it; of a listener:
                                                 ///< so it is with what it accepts
inline constexpr std::uint16_t kPollSocket = 2;

struct PollSide {
  os::atomic<std::uint32_t> flags{0};
  waiter* first = nullptr;         ///< who waits, oldest first; under PollDesc::lock
  waiter* last = nullptr;
  std::uint64_t deadline_seq = 0;  ///< of the arming that counts; under PollDesc::lock
  Timer* deadline = nullptr;       ///< made at the first, kept for ever; under PollDesc::deadline_op
};

struct alignas(64) PollDesc {
  os::atomic<std::uint64_t> refs{0};
  int fd = -1;                     ///< constant while it is open
  std::uint16_t poller = 0;        ///< in which instance; likewise
  std::uint16_t kind = 0;          ///< PollKind; likewise
  os::atomic<bool> write_edges{false};  ///< the poller tells edges of writing
  os::atomic<std::uint32_t> seq{0};     ///< one more each time it is freed; written under lock
  Mutex lock{LockRank::wait_queue};
  PollSide side[2];
  Mutex deadline_op{LockRank::timer_op};  ///< one change of a deadline at a time
  PollDesc* next_free = nullptr;
};

inline constexpr std::uint64_t kPollClosed = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kPollOwner = std::uint64_t{1} << 32;
inline constexpr std::uint64_t kPollUsers = kPollOwner - 1;

/// A record for fd, which must be non-blocking; owned once. Negative: -errno, and fd is still the caller's. Starts the
/// poller if it must. `write`: edges of writing from the start (a connect). In the runtime, under no lock.
int poll_open(int fd, std::uint16_t kind, bool write, PollDesc** out) noexcept;

/// One more owner. By an owner.
inline void poll_share(PollDesc* d) noexcept { d->refs.fetch_add(kPollOwner, os::memory_order_relaxed); }
/// One less. The last one closes. In the runtime, under no lock.
void poll_unshare(PollDesc* d) noexcept;

/// Closes it for all: those who wait are woken, later attempts are refused; the descriptor is given back now or at the
/// end of the last attempt. False: it was closed already. In the runtime, under no lock.
bool poll_close(PollDesc* d) noexcept;

/// The same in two steps, for who has something to do before the descriptor's number, name or port is free for others. The
/// first: no further attempts. True: the second must follow, which does the rest.
bool poll_close_begin(PollDesc* d) noexcept;
void poll_close_end(PollDesc* d) noexcept;

/// Takes the descriptor out, to be used otherwise; the record is closed then. -EBADF: closed; -EBUSY: somebody waits, or
/// another attempt is under way, or it has another owner.
int poll_release(PollDesc* d) noexcept;

/// An attempt begins: the descriptor stays what it is until poll_unuse. False: closed. By an owner. Anywhere.
inline bool poll_use(PollDesc* d) noexcept {
  std::uint64_t now = d->refs.load(os::memory_order_relaxed);
  do {
    if ((now & kPollClosed) != 0) return false;
  } while (!d->refs.compare_exchange_weak(now, now + 1, os::memory_order_acquire, os::memory_order_relaxed));
  return true;
}
/// The last one out of a closed record gives the descriptor back.
void poll_last_out(PollDesc* d) noexcept;
inline void poll_unuse(PollDesc* d) noexcept {
  const std::uint64_t before = d->refs.fetch_sub(1, os::memory_order_acq_rel);
  if (__builtin_expect((before & (kPollClosed | kPollUsers)) == (kPollClosed | 1), 0)) poll_last_out(d);
}
inline bool poll_is_closed(const PollDesc* d) noexcept {
  return (d->refs.load(os::memory_order_acquire) & kPollClosed) != 0;
}

/// Edges of writing shall be told. During an attempt. 0 or -errno.
int poll_want_write(PollDesc* d) noexcept;

/// An attempt has found nothing: waits until another one is worth while. Not during an attempt. `seen`: the side's flags as
/// they were before the attempt's system call. `cancel`: may end it. In the runtime, under no lock. A goroutine may change
/// its thread, a foreign thread sleeps.
PollEnd poll_wait(PollDesc* d, Side s, std::uint32_t seen, CancelSource* cancel) noexcept;

/// The time (clock_now) from which on waits and attempts of a side are refused; kNoDeadline: none. Any owner, any
/// thread, in the runtime, under no lock. 0; -EBADF: closed; -ENOMEM: then the
/// deadline is as it was, none.
int poll_deadline(PollDesc* d, Side s, std::int64_t when) noexcept;

}  // namespace gort::inline v0::rt
