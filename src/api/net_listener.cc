#include "gort/net/listener.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "api/net_socket.h"
#include "gort/cancelled.h"
#include "gort/this_goroutine.h"
#include "gort/timer.h"

namespace gort::inline v0::net {

using detail::fails;

namespace {

constexpr std::chrono::milliseconds kLongestPause(10);

[[gnu::noinline]] int last_errno() noexcept { return errno; }

/// The connection that was to be accepted is gone, or was never to be: the next one.
bool of_one_connection(int e) noexcept {
  switch (e) {
    case ECONNABORTED: case EPROTO: case EPERM: case ENETDOWN: case ENOPROTOOPT: case EHOSTDOWN: case ENONET:
    case EHOSTUNREACH: case ENETUNREACH: return true;
    default: return false;
  }
}

bool out_of_something(const std::error_code& e) noexcept {
  return e == std::errc::too_many_files_open || e == std::errc::too_many_files_open_in_system ||
         e == std::errc::no_buffer_space || e == std::errc::not_enough_memory ||
         e == std::errc::no_space_on_device;  // the poller's: too many descriptors are watched
}

/// 0 or errno.
int prepare(int fd, const address& where, const listen_options& o) noexcept {
  const bool ip = where.family() != family::local;
  if (ip && o.reuse_address) detail::option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (ip && o.reuse_port) {
    if (const int e = detail::option(fd, SOL_SOCKET, SO_REUSEPORT, 1); e != 0) return e;
  }
  if (where.family() == family::ipv6) detail::option(fd, IPPROTO_IPV6, IPV6_V6ONLY, o.ipv6_only ? 1 : 0);
  detail::usual_options(fd, where);
  int e = detail::bind_socket(fd, where);
  if (e == EADDRINUSE && !ip && o.unlink) {
    detail::remove_stale(where, SOCK_STREAM);
    e = detail::bind_socket(fd, where);
  }
  if (e != 0) return e;
  return ::listen(fd, o.backlog) == 0 ? 0 : last_errno();
}

}  // namespace

listener& listener::operator=(listener&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::move(other.fd_);
  path_ = std::move(other.path_);
  return *this;
}

listener::~listener() { close(); }

void listener::close() noexcept { detail::close_with_path(fd_.get(), path_); }

result<conn> listener::accept() {
  for (;;) {
    const std::ptrdiff_t r =
        detail::attempt(fd_.get(), rt::kReadSide, 0, [](int fd) { return std::ptrdiff_t{os::io_accept(fd, nullptr, nullptr)}; });
    if (r < 0 && of_one_connection(static_cast<int>(-r))) continue;
    if (r < 0) return fails(static_cast<int>(-r));
    result<detail::fd_owner> f = detail::own_fd(static_cast<int>(r), detail::desc(fd_.get())->kind);
    if (!f) return std::unexpected(f.error());
    return conn(*std::move(f));
  }
}

result<conn> listener::accept_some() {
  // Not longer: close and deadlines are noticed between two attempts.
  for (std::chrono::milliseconds pause(1);; pause = std::min(pause * 2, kLongestPause)) {
    result<conn> c = accept();
    if (c || !out_of_something(c.error())) return c;
    try {
      this_goroutine::sleep_for(pause);
    } catch (const cancelled&) {
      return fails(ECANCELED);
    }
  }
}

result<listener> listener::adopt(int fd) {
  const int kind = detail::stream_kind(fd);
  if (kind < 0) return fails(-kind);
  result<detail::fd_owner> f = detail::adopt_fd(fd, static_cast<std::uint16_t>(kind | rt::kPollSocket));
  if (!f) return std::unexpected(f.error());
  return listener(*std::move(f));
}

result<listener> listen(const address& where, const listen_options& options) {
  const int fd = detail::make_socket(where, SOCK_STREAM);
  if (fd < 0) {
    // ":80" without IPv6.
    if (fd == -EAFNOSUPPORT && where.family() == family::ipv6 && where.host() == "::") return listen(address::any(where.port()), options);
    return fails(-fd);
  }
  if (const int e = prepare(fd, where, options); e != 0) {
    os::fd_close(fd);
    return fails(e);
  }
  result<detail::fd_owner> f = detail::own_fd(fd, detail::stream_kind(where));
  if (!f) return std::unexpected(f.error());
  std::string path = where.path();
  if (!options.unlink || path.starts_with('@')) path.clear();
  return listener(*std::move(f), std::move(path));
}

result<listener> listen(std::string_view where, const listen_options& options) {
  const result<std::vector<address>> all = detail::addresses_of(where);
  if (!all) return std::unexpected(all.error());
  return listen(all->front(), options);
}

}  // namespace gort::inline v0::net
