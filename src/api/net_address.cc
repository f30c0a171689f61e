#include "gort/net/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace gort::inline v0::net {

static_assert(sizeof(sockaddr_un) <= 112 && sizeof(sockaddr_in6) <= 112);

namespace {

std::unexpected<std::error_code> invalid() { return std::unexpected(std::make_error_code(std::errc::invalid_argument)); }

const sockaddr* plain(const address& a) noexcept { return static_cast<const sockaddr*>(a.raw()); }
const sockaddr_in& v4(const address& a) noexcept { return *static_cast<const sockaddr_in*>(a.raw()); }
const sockaddr_in6& v6(const address& a) noexcept { return *static_cast<const sockaddr_in6*>(a.raw()); }
const sockaddr_un& un(const address& a) noexcept { return *static_cast<const sockaddr_un*>(a.raw()); }

bool parse_port(std::string_view text, std::uint16_t* port) noexcept {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, *port);
  return !text.empty() && error == std::errc() && at == end;
}

result<address> parse_v6(std::string_view host, std::uint16_t port) {
  sockaddr_in6 s{};
  s.sin6_family = AF_INET6;
  s.sin6_port = htons(port);
  if (const std::size_t scope = host.find('%'); scope != host.npos) {
    const std::string name(host.substr(scope + 1));
    s.sin6_scope_id = ::if_nametoindex(name.c_str());
    const char* end = name.data() + name.size();
    if (s.sin6_scope_id == 0) {
      const auto [at, error] = std::from_chars(name.data(), end, s.sin6_scope_id);
      if (at != end || error != std::errc()) return invalid();
    }
    host = host.substr(0, scope);
  }
  if (::inet_pton(AF_INET6, std::string(host).c_str(), &s.sin6_addr) != 1) return invalid();
  return address::from_raw(&s, sizeof s);
}

}  // namespace

result<address> address::parse(std::string_view text) {
  if (text.find('/') != text.npos || text.starts_with('@')) return local(text);
  if (text.find('\0') != text.npos) return invalid();  // the rest would not be looked at
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon == text.npos || !parse_port(text.substr(colon + 1), &port)) return invalid();
  std::string_view host = text.substr(0, colon);
  if (host.empty()) return parse_v6("::", port);
  if (host.starts_with('[') && host.ends_with(']')) return parse_v6(host.substr(1, host.size() - 2), port);
  in_addr a{};
  if (::inet_pton(AF_INET, std::string(host).c_str(), &a) != 1) return invalid();
  return ipv4(ntohl(a.s_addr), port);
}

result<address> address::local(std::string_view path) {
  sockaddr_un s{};
  s.sun_family = AF_UNIX;
  const bool abstract = path.starts_with('@');
  // A path's end is marked by a zero, an abstract name's by the length.
  if (path.size() + (abstract ? 0 : 1) > sizeof s.sun_path) {
    return std::unexpected(std::make_error_code(std::errc::filename_too_long));
  }
  if (path.empty() || path.find('\0') != path.npos) return invalid();
  std::memcpy(s.sun_path, path.data(), path.size());
  if (abstract) s.sun_path[0] = '\0';
  return from_raw(&s, static_cast<std::uint32_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1)));
}

address address::ipv4(std::uint32_t host_order, std::uint16_t port) noexcept {
  sockaddr_in s{};
  s.sin_family = AF_INET;
  s.sin_port = htons(port);
  s.sin_addr.s_addr = htonl(host_order);
  return from_raw(&s, sizeof s);
}

address address::from_raw(const void* sockaddr, std::uint32_t size) noexcept {
  address a;
  a.size_ = std::min<std::uint32_t>(size, sizeof a.raw_);
  std::memcpy(a.raw_, sockaddr, a.size_);
  return a;
}

net::family address::family() const noexcept {
  if (size_ < sizeof(sa_family_t)) return family::none;
  switch (plain(*this)->sa_family) {
    case AF_INET: return family::ipv4;
    case AF_INET6: return family::ipv6;
    case AF_UNIX: return size_ > offsetof(sockaddr_un, sun_path) ? family::local : family::none;
    default: return family::none;
  }
}

std::uint16_t address::port() const noexcept {
  switch (family()) {
    case family::ipv4: return ntohs(v4(*this).sin_port);
    case family::ipv6: return ntohs(v6(*this).sin6_port);
    default: return 0;
  }
}

address address::with_port(std::uint16_t port) const noexcept {
  address a = *this;
  if (family() == family::ipv4) reinterpret_cast<sockaddr_in*>(a.raw_)->sin_port = htons(port);
  if (family() == family::ipv6) reinterpret_cast<sockaddr_in6*>(a.raw_)->sin6_port = htons(port);
  return a;
}

std::string address::path() const {
  if (family() != family::local) return {};
  const std::size_t room = size_ - offsetof(sockaddr_un, sun_path);
  const char* p = un(*this).sun_path;
  if (p[0] != '\0') return std::string(p, ::strnlen(p, room));
  std::string name(p, room);
  name[0] = '@';
  return name;
}

std::string address::host() const {
  char text[INET6_ADDRSTRLEN] = {};
  switch (family()) {
    case family::ipv4: ::inet_ntop(AF_INET, &v4(*this).sin_addr, text, sizeof text); return text;
    case family::ipv6: {
      ::inet_ntop(AF_INET6, &v6(*this).sin6_addr, text, sizeof text);
      const std::uint32_t scope = v6(*this).sin6_scope_id;
      return scope == 0 ? std::string(text) : std::string(text) + '%' + std::to_string(scope);
    }
    case family::local: return path();
    default: return {};
  }
}

std::string address::to_string() const {
  switch (family()) {
    case family::ipv4: return host() + ':' + std::to_string(port());
    case family::ipv6: return '[' + host() + "]:" + std::to_string(port());
    default: return host();
  }
}

bool operator==(const address& a, const address& b) noexcept {
  if (a.family() != b.family()) return false;
  switch (a.family()) {
    case family::ipv4: return v4(a).sin_addr.s_addr == v4(b).sin_addr.s_addr && a.port() == b.port();
    case family::ipv6:
      return std::memcmp(&v6(a).sin6_addr, &v6(b).sin6_addr, sizeof(in6_addr)) == 0 && a.port() == b.port() &&
             v6(a).sin6_scope_id == v6(b).sin6_scope_id;
    case family::local: return a.path() == b.path();
    default: return true;
  }
}

}  // namespace gort::inline v0::net
