#include "api/net_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>

#include "api/raw_fd.h"
#include "gort/net/dial.h"

namespace gort::inline v0::net::detail {

namespace {

[[gnu::noinline]] int last_errno() noexcept { return errno; }

const sockaddr* raw(const address& a) noexcept { return static_cast<const sockaddr*>(a.raw()); }

bool is_tcp(const address& a) noexcept { return a.family() == family::ipv4 || a.family() == family::ipv6; }

}  // namespace

std::uint16_t stream_kind(const address& of) noexcept {
  return is_tcp(of) ? rt::kPollSocket | rt::kPollStream : rt::kPollSocket;
}

int stream_kind(int fd) noexcept {
  struct stat st;
  if (::fstat(fd, &st) != 0) return -last_errno();
  if (!S_ISSOCK(st.st_mode)) return 0;  // a pipe may keep packets apart (O_DIRECT): its reading end does not say so
  int type = 0, domain = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return -last_errno();
  size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return -last_errno();
  const bool tcp = type == SOCK_STREAM && (domain == AF_INET || domain == AF_INET6);
  return tcp ? rt::kPollSocket | rt::kPollStream : rt::kPollSocket;
}

int make_socket(const address& a, int type) noexcept {
  if (a.family() == family::none) return -EINVAL;
  const int fd = raw_socket(raw(a)->sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC);
  return fd >= 0 ? fd : -last_errno();
}

int bind_socket(int fd, const address& where) noexcept {
  return ::bind(fd, raw(where), where.raw_size()) == 0 ? 0 : last_errno();
}

int option(int fd, int level, int name, int value) noexcept {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : last_errno();
}

void usual_options(int fd, const address& of) noexcept {
  if (!is_tcp(of)) return;
  const keep_alive k;
  option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  option(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(k.idle.count()));
  option(fd, IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(k.interval.count()));
  option(fd, IPPROTO_TCP, TCP_KEEPCNT, k.count);
}

int await_connection(net_fd* f) {
  // Room to write means that it is over, one way or the other.
  const std::ptrdiff_t r = attempt(f, rt::kWriteSide, 0, [&](int fd) -> std::ptrdiff_t {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return -last_errno();
    if (error != 0) return -error;
    // A late event of a record's former life is no connection.
    sockaddr_storage peer;
    size = sizeof peer;
    return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 ? 0 : -EAGAIN;
  });
  return static_cast<int>(-r);
}

void remove_stale(const address& where, int type) noexcept {
  const std::string path = where.path();
  struct stat st;
  if (path.empty() || path[0] == '@' || ::lstat(path.c_str(), &st) != 0 || !S_ISSOCK(st.st_mode)) return;
  const int probe = make_socket(where, type);
  if (probe < 0) return;
  if (os::io_connect(probe, where.raw(), where.raw_size()) == -ECONNREFUSED) ::unlink(path.c_str());
  os::fd_close(probe);
}

bool split_host_port(std::string_view text, std::string_view* host, std::uint16_t* port) noexcept {
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return false;
  const std::string_view digits = text.substr(colon + 1);
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, *port);
  if (digits.empty() || error != std::errc() || at != end) return false;
  *host = text.substr(0, colon);
  return true;
}

result<std::vector<address>> addresses_of(std::string_view text) {
  if (auto a = address::parse(text)) return std::vector<address>{*a};
  std::string_view host;
  std::uint16_t port = 0;
  if (text.find('/') != text.npos || !split_host_port(text, &host, &port) || host.empty()) return fails(EINVAL);
  // "fe80::1:80": an address of which the end would be taken for a port.
  if (host.find(':') != host.npos) return fails(EINVAL);
  return resolve(host, port);
}

}  // namespace gort::inline v0::net::detail
