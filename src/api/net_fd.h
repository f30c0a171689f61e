// gort: how gort::net's calls attempt, wait, and attempt again.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <string>

#include "api/cancellation.h"
#include "base/fault.h"
#include "gort/net/conn.h"
#include "net/poll_desc.h"
#include "os/io.h"
#include "sched/entry.h"
#include "sched/sched.h"

namespace gort::inline v0::net::detail {

inline rt::PollDesc* desc(net_fd* f) noexcept { return reinterpret_cast<rt::PollDesc*>(f); }
inline net_fd* fd_of(rt::PollDesc* d) noexcept { return reinterpret_cast<net_fd*>(d); }

inline std::error_code error_of(int positive_errno) noexcept { return {positive_errno, std::system_category()}; }
inline std::unexpected<std::error_code> fails(int positive_errno) noexcept {
  return std::unexpected(error_of(positive_errno));
}
inline int errno_of(rt::PollEnd e) noexcept {
  switch (e) {
    case rt::PollEnd::expired: return ETIMEDOUT;
    case rt::PollEnd::closed: return EBADF;
    default: return ECANCELED;
  }
}

/// For race detectors: what was written before it was sent is seen by who has received it. They cannot see through the
/// kernel, so this is one meeting place for all, as they have it for libc's calls.
inline void sent() noexcept { rt::san::release(&rt::sched); }
inline void received() noexcept { rt::san::acquire(&rt::sched); }

/// Attempts until it is not EAGAIN: a count >= 0, or -errno. `attempt(fd)` must not wait, touch errno or throw.
/// asked: a stream that gives fewer bytes has no more for now; 0: nothing follows from a count.
template <class F>
std::ptrdiff_t attempt(net_fd* f, rt::Side side, std::size_t asked, F call) {
  rt::PollDesc* d = desc(f);
  if (!fault(rt::Fault::net_serve)) rt::serve_if_asked();  // who never has to wait would never be stopped
  if (d == nullptr) return -EBADF;
  rt::CancelSource* cancel = gort::detail::cancellation();
  if (rt::is_cancelled(cancel)) return -ECANCELED;
  rt::PollSide& s = d->side[side];
  for (;;) {
    if (!rt::poll_use(d)) return -EBADF;
    // Before the system call. Partner: poll_tell; what an edge that is counted here stands for, the call finds.
    std::uint32_t flags = s.flags.load(os::memory_order_acquire);
    if ((flags & rt::kSideExpired) != 0) {
      rt::poll_unuse(d);
      return -ETIMEDOUT;
    }
    std::ptrdiff_t r = -EAGAIN;
    if ((flags & (rt::kSideEdge - 1)) != rt::kSideDrained) {
      if (side == rt::kWriteSide) sent();
      r = call(d->fd);
      if (side == rt::kReadSide) received();
    }
    if (__builtin_expect(r != -EAGAIN, 1)) {
      if (r > 0 && static_cast<std::size_t>(r) < asked && (d->kind & rt::kPollStream) != 0) {
        // Not if an edge has come: there may be more by now, of which another reader has taken a part.
        s.flags.compare_exchange_strong(flags, flags | rt::kSideDrained, os::memory_order_relaxed);
      }
      rt::poll_unuse(d);
      return r;
    }
    if (side == rt::kWriteSide) {
      if (const int e = rt::poll_want_write(d); e < 0) r = e;
    }
    rt::poll_unuse(d);
    if (r != -EAGAIN) return r;
    rt::PollEnd end;
    {
      rt::RuntimeEntry entry;
      end = rt::poll_wait(d, side, flags, cancel);
    }
    if (end != rt::PollEnd::ready) return -errno_of(end);
  }
}

/// Closes it, and removes the path of a Unix socket, if it has one, before anybody else can listen there.
void close_with_path(net_fd* f, const std::string& path) noexcept;

/// A record for a descriptor that is non-blocking already. On an error the descriptor is closed.
result<fd_owner> own_fd(int fd, std::uint16_t kind, bool write = false);
/// Makes a stranger's descriptor ours. On an error it stays the caller's.
result<fd_owner> adopt_fd(int fd, std::uint16_t kind);
/// One system call on it, which does not wait and touches errno: errno's value or 0.
template <class F>
int with_fd(net_fd* f, F call) {
  rt::PollDesc* d = desc(f);
  rt::serve_if_asked();
  if (d == nullptr || !rt::poll_use(d)) return EBADF;
  const int e = call(d->fd);
  rt::poll_unuse(d);
  return e;
}
int set_option(net_fd* f, int level, int name, const void* value, std::uint32_t size) noexcept;
inline int set_option(net_fd* f, int level, int name, int value) noexcept {
  return set_option(f, level, name, &value, sizeof value);
}
inline result<void> done_or(int positive_errno) {
  if (positive_errno != 0) return fails(positive_errno);
  return {};
}

}  // namespace gort::inline v0::net::detail
