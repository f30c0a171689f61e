#include "gort/net/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>

#include "api/net_socket.h"
#include "api/raw_fd.h"

namespace gort::inline v0::net {

using detail::done_or;
using detail::fails;

namespace {

[[gnu::noinline]] int last_errno() noexcept { return errno; }

constinit os::atomic<bool> sigpipe_unwanted{false};

/// Sockets are written to without SIGPIPE; others cannot be.
void ignore_sigpipe() noexcept {
  sigpipe_unwanted.store(true, os::memory_order_seq_cst);  // before the look: partner is the end of a signals object
  struct sigaction now {};
  if (::sigaction(SIGPIPE, nullptr, &now) != 0 || (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) return;
  now.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &now, nullptr);
}

}  // namespace

bool detail::sigpipe_is_unwanted() noexcept { return sigpipe_unwanted.load(os::memory_order_seq_cst); }

result<conn> conn::adopt(int fd) {
  const int kind = detail::stream_kind(fd);
  if (kind < 0) return fails(-kind);
  if ((kind & rt::kPollSocket) == 0) ignore_sigpipe();
  result<detail::fd_owner> f = detail::adopt_fd(fd, static_cast<std::uint16_t>(kind));
  if (!f) return std::unexpected(f.error());
  return conn(*std::move(f));
}

std::pair<read_half, write_half> conn::split() && {
  detail::fd_owner other = fd_.share();
  return {read_half(std::move(other)), write_half(std::move(fd_))};
}

result<void> conn::set_keep_alive(std::optional<keep_alive> k) {
  int e = detail::set_option(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, k ? 1 : 0);
  if (!k || e != 0) return done_or(e);
  const auto set = [&](int name, int value) {
    if (e == 0) e = detail::set_option(fd_.get(), IPPROTO_TCP, name, value);
  };
  set(TCP_KEEPIDLE, static_cast<int>(k->idle.count()));
  set(TCP_KEEPINTVL, static_cast<int>(k->interval.count()));
  set(TCP_KEEPCNT, k->count);
  return done_or(e);
}

result<void> conn::set_linger(std::optional<std::chrono::seconds> s) {
  const ::linger l{s ? 1 : 0, s ? static_cast<int>(s->count()) : 0};
  return done_or(detail::set_option(fd_.get(), SOL_SOCKET, SO_LINGER, &l, sizeof l));
}

result<void> conn::set_receive_buffer(int bytes) {
  return done_or(detail::set_option(fd_.get(), SOL_SOCKET, SO_RCVBUF, bytes));
}

result<void> conn::set_send_buffer(int bytes) {
  return done_or(detail::set_option(fd_.get(), SOL_SOCKET, SO_SNDBUF, bytes));
}

result<std::pair<conn, conn>> socket_pair() {
  int fds[2];
  if (raw_socket_pair(fds) != 0) return fails(last_errno());
  result<detail::fd_owner> a = detail::own_fd(fds[0], rt::kPollSocket);
  if (!a) {
    os::fd_close(fds[1]);
    return std::unexpected(a.error());
  }
  result<detail::fd_owner> b = detail::own_fd(fds[1], rt::kPollSocket);
  if (!b) return std::unexpected(b.error());
  return std::pair(conn(*std::move(a)), conn(*std::move(b)));
}

}  // namespace gort::inline v0::net
