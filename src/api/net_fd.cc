#include "api/net_fd.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "api/chan_wait.h"
#include "api/start.h"
#include "gort/blocking.h"

namespace gort::inline v0::net::detail {

static_assert(alignof(rt::PollDesc) == 64);

namespace {

constexpr int kMaxPieces = 64;                       // of one readv or writev
constexpr std::size_t kSendfilePiece = 1024 * 1024;  // bytes that one system call may read from a disk
constexpr std::size_t kMaxFds = 253;                 // the kernel's SCM_MAX_FD

bool is_socket(net_fd* f) noexcept { return (desc(f)->kind & rt::kPollSocket) != 0; }

result<std::size_t> count_or(std::ptrdiff_t r) {
  if (r < 0) return fails(static_cast<int>(-r));
  return static_cast<std::size_t>(r);
}

// Not inlined: errno's address must not be kept over a call that changes the thread.
[[gnu::noinline]] int last_errno() noexcept { return errno; }

}  // namespace

void fd_share(net_fd* f) noexcept { rt::poll_share(desc(f)); }

void fd_unshare(net_fd* f) noexcept {
  if (rt::in_fork_child()) return;
  rt::RuntimeEntry entry;
  rt::poll_unshare(desc(f));
}

bool fd_close(net_fd* f) noexcept {
  if (f == nullptr || rt::in_fork_child()) return false;
  rt::RuntimeEntry entry;
  return rt::poll_close(desc(f));
}

void close_with_path(net_fd* f, const std::string& path) noexcept {
  if (path.empty()) {
    fd_close(f);
    return;
  }
  if (f == nullptr || rt::in_fork_child()) return;
  {
    rt::RuntimeEntry entry;
    if (!rt::poll_close_begin(desc(f))) return;
  }
  ::unlink(path.c_str());
  rt::RuntimeEntry entry;
  rt::poll_close_end(desc(f));
}

bool fd_is_open(net_fd* f) noexcept { return f != nullptr && !rt::poll_is_closed(desc(f)); }

int fd_number(net_fd* f) noexcept { return fd_is_open(f) ? desc(f)->fd : -1; }

result<int> fd_release(fd_owner& f) {
  if (f.get() == nullptr) return fails(EBADF);
  int fd = 0;
  {
    rt::RuntimeEntry entry;
    fd = rt::poll_release(desc(f.get()));
  }
  if (fd < 0) return fails(-fd);
  f = fd_owner();
  return fd;
}

result<fd_owner> own_fd(int fd, std::uint16_t kind, bool write) {
  gort::detail::ensure_started();
  rt::PollDesc* d = nullptr;
  int r = 0;
  {
    rt::RuntimeEntry entry;
    r = rt::poll_open(fd, kind, write, &d);
  }
  if (r < 0) {
    os::fd_close(fd);
    return fails(-r);
  }
  return fd_owner(fd_of(d));
}

result<fd_owner> adopt_fd(int fd, std::uint16_t kind) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fails(last_errno());
  gort::detail::ensure_started();
  rt::PollDesc* d = nullptr;
  int r = 0;
  {
    rt::RuntimeEntry entry;
    r = rt::poll_open(fd, kind, false, &d);
  }
  if (r < 0) return fails(-r);
  ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd_owner(fd_of(d));
}

// ---- reading -----------------------------------------------------------------------------------

result<std::size_t> fd_read(net_fd* f, buffer b) {
  if (f == nullptr) return fails(EBADF);
  if (b.size == 0) return 0;
  return count_or(is_socket(f) ? attempt(f, rt::kReadSide, b.size, [&](int fd) { return os::io_recv(fd, b.data, b.size); })
                               : attempt(f, rt::kReadSide, b.size, [&](int fd) { return os::io_read(fd, b.data, b.size); }));
}

result<std::size_t> fd_read_full(net_fd* f, buffer b, std::size_t* got) {
  std::size_t own = 0;
  std::size_t& have = got != nullptr ? *got : own;
  have = 0;
  while (have < b.size) {
    const result<std::size_t> n = fd_read(f, b.from(have));
    if (!n) return n;
    if (*n == 0) break;
    have += *n;
  }
  return have;
}

result<std::size_t> fd_readv(net_fd* f, std::span<const buffer> bs) {
  if (f == nullptr) return fails(EBADF);
  iovec v[kMaxPieces];
  int n = 0;
  std::size_t total = 0;
  for (const buffer& b : bs) {
    if (b.size == 0) continue;
    if (n == kMaxPieces) break;
    v[n++] = {b.data, b.size};
    total += b.size;
  }
  if (total == 0) return 0;
  return count_or(attempt(f, rt::kReadSide, total, [&](int fd) { return os::io_readv(fd, v, n); }));
}

// ---- writing -----------------------------------------------------------------------------------

result<std::size_t> fd_write(net_fd* f, const_buffer b) {
  if (f == nullptr) return fails(EBADF);
  return count_or(is_socket(f) ? attempt(f, rt::kWriteSide, 0, [&](int fd) { return os::io_send(fd, b.data, b.size); })
                               : attempt(f, rt::kWriteSide, 0, [&](int fd) { return os::io_write(fd, b.data, b.size); }));
}

result<void> fd_write_all(net_fd* f, const_buffer b, std::size_t* written) {
  std::size_t done = 0;
  result<void> end;
  while (done < b.size) {
    const result<std::size_t> n = fd_write(f, b.from(done));
    if (!n) {
      end = std::unexpected(n.error());
      break;
    }
    done += *n;
  }
  if (written != nullptr) *written = done;
  return end;
}

result<void> fd_writev(net_fd* f, std::span<const const_buffer> bs, std::size_t* written) {
  std::size_t done = 0;
  result<void> end;
  if (f == nullptr) end = fails(EBADF);
  std::size_t at = 0;    // the first piece that is not done
  std::size_t skip = 0;  // of it, this much is
  while (end) {
    iovec v[kMaxPieces];
    int n = 0;
    for (std::size_t i = at; i < bs.size() && n < kMaxPieces; ++i) {
      const const_buffer b = i == at ? bs[i].from(skip) : bs[i];
      if (b.size != 0) v[n++] = {const_cast<std::byte*>(b.data), b.size};
    }
    if (n == 0) {
      for (; at < bs.size() && bs[at].size == skip; skip = 0) ++at;
      if (at == bs.size()) break;
      continue;
    }
    msghdr m{};
    m.msg_iov = v;
    m.msg_iovlen = static_cast<std::size_t>(n);
    const std::ptrdiff_t r = attempt(f, rt::kWriteSide, 0, [&](int fd) {
      return is_socket(f) ? os::io_sendmsg(fd, &m, 0) : os::io_writev(fd, v, n);
    });
    if (r < 0) {
      end = fails(static_cast<int>(-r));
      break;
    }
    done += static_cast<std::size_t>(r);
    for (std::size_t left = static_cast<std::size_t>(r); left > 0 || (at < bs.size() && bs[at].size == skip);) {
      const std::size_t here = std::min(left, bs[at].size - skip);
      left -= here;
      skip += here;
      if (skip == bs[at].size) ++at, skip = 0;
    }
  }
  if (written != nullptr) *written = done;
  return end;
}

result<std::uint64_t> fd_sendfile(net_fd* f, int file, std::uint64_t offset, std::uint64_t count, std::uint64_t* written) {
  std::uint64_t own = 0;
  std::uint64_t& done = written != nullptr ? *written : own;
  done = 0;
  while (done < count) {
    std::int64_t at = static_cast<std::int64_t>(offset + done);
    const std::size_t piece = static_cast<std::size_t>(std::min<std::uint64_t>(count - done, kSendfilePiece));
    const std::ptrdiff_t r = attempt(f, rt::kWriteSide, 0, [&](int fd) {
      return gort::blocking([&] { return os::io_sendfile(fd, file, &at, piece); });
    });
    if (r < 0) return fails(static_cast<int>(-r));
    if (r == 0) break;
    done += static_cast<std::uint64_t>(r);
  }
  return done;
}

// ---- descriptors beside bytes ------------------------------------------------------------------

result<std::size_t> fd_send_fds(net_fd* f, const_buffer b, std::span<const int> fds) {
  if (f == nullptr) return fails(EBADF);
  if (fds.size() > kMaxFds || (b.size == 0 && !fds.empty())) return fails(EINVAL);
  iovec v{const_cast<std::byte*>(b.data), b.size};
  alignas(cmsghdr) char room[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  if (!fds.empty()) {
    m.msg_control = room;
    m.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  return count_or(attempt(f, rt::kWriteSide, 0, [&](int fd) { return os::io_sendmsg(fd, &m, 0); }));
}

result<std::size_t> fd_recv_fds(net_fd* f, buffer b, std::vector<int>* fds) {
  if (f == nullptr) return fails(EBADF);
  if (b.size == 0) return 0;
  fds->reserve(fds->size() + kMaxFds);  // before there is anything to lose
  iovec v{b.data, b.size};
  alignas(cmsghdr) char room[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  // A stream gives what was sent with descriptors alone: fewer bytes than were asked for do not mean that it is empty.
  const std::ptrdiff_t r = attempt(f, rt::kReadSide, 0, [&](int fd) {
    m.msg_control = room;
    m.msg_controllen = sizeof room;
    return os::io_recvmsg(fd, &m, 0);
  });
  if (r < 0) return fails(static_cast<int>(-r));
  const bool cut = (m.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      if (cut) {
        os::fd_close(fd);
      } else {
        fds->push_back(fd);
      }
    }
  }
  if (cut) return fails(EMSGSIZE);
  return static_cast<std::size_t>(r);
}

// ---- what is said of it ------------------------------------------------------------------------

result<void> fd_set_deadline(net_fd* f, fd_side side, clock::time_point t) {
  if (f == nullptr) return fails(EBADF);
  const std::int64_t when = t == clock::time_point::max() ? rt::kNoDeadline : t.time_since_epoch().count();
  int error = 0;
  {
    rt::RuntimeEntry entry;
    if (side != fd_side::write) error = rt::poll_deadline(desc(f), rt::kReadSide, when);
    if (side != fd_side::read && error == 0) error = rt::poll_deadline(desc(f), rt::kWriteSide, when);
  }
  return done_or(-error);
}

result<void> fd_shutdown(net_fd* f, fd_side side) {
  if (rt::in_fork_child()) return fails(EBADF);  // it would be the parent's that is shut
  const int how = side == fd_side::read ? SHUT_RD : side == fd_side::write ? SHUT_WR : SHUT_RDWR;
  return done_or(with_fd(f, [&](int fd) { return -os::io_shutdown(fd, how); }));
}

[[gnu::noinline]] int set_option(net_fd* f, int level, int name, const void* value, std::uint32_t size) noexcept {
  return with_fd(f, [&](int fd) { return ::setsockopt(fd, level, name, value, size) == 0 ? 0 : last_errno(); });
}

result<void> fd_no_delay(net_fd* f, bool on) { return done_or(set_option(f, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0)); }

address fd_address(net_fd* f, bool peer) {
  sockaddr_storage room{};
  socklen_t size = sizeof room;
  const int e = with_fd(f, [&](int fd) {
    auto* a = reinterpret_cast<sockaddr*>(&room);
    return (peer ? ::getpeername(fd, a, &size) : ::getsockname(fd, a, &size)) == 0 ? 0 : EBADF;
  });
  return e == 0 ? address::from_raw(&room, size) : address();
}

}  // namespace gort::inline v0::net::detail
