#include "gort/net/datagram.h"

#include <netinet/in.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "api/net_socket.h"
#include "gort/cancelled.h"
#include "gort/this_goroutine.h"

namespace gort::inline v0::net {

using detail::done_or;
using detail::fails;

constexpr std::chrono::milliseconds kLongestPause(10);

namespace {

result<datagram> finish(int fd, std::string path) {
  result<detail::fd_owner> f = detail::own_fd(fd, rt::kPollSocket);
  if (!f) return std::unexpected(f.error());
  return datagram(*std::move(f), std::move(path));
}

std::unexpected<std::error_code> give_up(int fd, int e) {
  os::fd_close(fd);
  return fails(e);
}

}  // namespace

datagram& datagram::operator=(datagram&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::move(other.fd_);
  path_ = std::move(other.path_);
  return *this;
}

datagram::~datagram() { close(); }

void datagram::close() noexcept { detail::close_with_path(fd_.get(), path_); }

result<message> datagram::receive_from(buffer b) {
  sockaddr_storage from{};
  iovec v{b.data, b.size};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  const std::ptrdiff_t r = detail::attempt(fd_.get(), rt::kReadSide, 0, [&](int fd) {
    m.msg_name = &from;
    m.msg_namelen = sizeof from;
    return os::io_recvmsg(fd, &m, 0);
  });
  if (r < 0) return fails(static_cast<int>(-r));
  return message{static_cast<std::size_t>(r), address::from_raw(&from, m.msg_namelen), (m.msg_flags & MSG_TRUNC) != 0};
}

result<std::size_t> datagram::receive(buffer b) {
  const std::ptrdiff_t r =
      detail::attempt(fd_.get(), rt::kReadSide, 0, [&](int fd) { return os::io_recv(fd, b.data, b.size); });
  if (r < 0) return fails(static_cast<int>(-r));
  return static_cast<std::size_t>(r);
}

result<void> datagram::send_to(const_buffer b, const address& to) {
  iovec v{const_cast<std::byte*>(b.data), b.size};
  msghdr m{};
  m.msg_name = const_cast<void*>(to.raw());
  m.msg_namelen = to.raw_size();
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  // The room in a Unix receiver's queue is not what EPOLLOUT speaks of, if we are not connected to it: that has to be asked for
  // again and again, with pauses.
  for (std::chrono::milliseconds pause(1);; pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause)) {
    bool full = false;
    const std::ptrdiff_t r = detail::attempt(fd_.get(), rt::kWriteSide, 0, [&](int fd) -> std::ptrdiff_t {
      const std::ptrdiff_t n = os::io_sendmsg(fd, &m, 0);
      full = n == -EAGAIN && to.family() == family::local;
      return full ? 0 : n;
    });
    if (!full) return done_or(r < 0 ? static_cast<int>(-r) : 0);
    try {
      this_goroutine::sleep_for(pause);
    } catch (const cancelled&) {
      return fails(ECANCELED);
    }
  }
}

result<void> datagram::send(const_buffer b) {
  const std::ptrdiff_t r =
      detail::attempt(fd_.get(), rt::kWriteSide, 0, [&](int fd) { return os::io_send(fd, b.data, b.size); });
  return done_or(r < 0 ? static_cast<int>(-r) : 0);
}

result<datagram> datagram::adopt(int fd) {
  result<detail::fd_owner> f = detail::adopt_fd(fd, rt::kPollSocket);
  if (!f) return std::unexpected(f.error());
  return datagram(*std::move(f));
}

result<datagram> bind_datagram(const address& where, const datagram_options& o) {
  const int fd = detail::make_socket(where, SOCK_DGRAM);
  if (fd < 0) return fails(-fd);
  if (o.reuse_address) detail::option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (o.reuse_port) detail::option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (o.broadcast) detail::option(fd, SOL_SOCKET, SO_BROADCAST, 1);
  int e = detail::bind_socket(fd, where);
  if (e == EADDRINUSE && where.family() == family::local) {
    detail::remove_stale(where, SOCK_DGRAM);
    e = detail::bind_socket(fd, where);
  }
  if (e != 0) return give_up(fd, e);
  std::string path = where.path();
  if (path.starts_with('@')) path.clear();
  return finish(fd, std::move(path));
}

result<datagram> bind_datagram(std::string_view where, const datagram_options& o) {
  const result<std::vector<address>> all = detail::addresses_of(where);
  if (!all) return std::unexpected(all.error());
  return bind_datagram(all->front(), o);
}

result<datagram> dial_datagram(const address& where) {
  const int fd = detail::make_socket(where, SOCK_DGRAM);
  if (fd < 0) return fails(-fd);
  if (where.family() == family::local) {
    // The kernel chooses an abstract name when none is given.
    const sockaddr unnamed{.sa_family = AF_UNIX, .sa_data = {}};
    if (const int e = detail::bind_socket(fd, address::from_raw(&unnamed, sizeof unnamed.sa_family)); e != 0) return give_up(fd, e);
  }
  if (const int e = os::io_connect(fd, where.raw(), where.raw_size()); e != 0) return give_up(fd, -e);
  return finish(fd, {});
}

result<datagram> dial_datagram(std::string_view where) {
  const result<std::vector<address>> all = detail::addresses_of(where);
  if (!all) return std::unexpected(all.error());
  return dial_datagram(all->front());
}

}  // namespace gort::inline v0::net
