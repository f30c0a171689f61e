// gort: addresses: an IP address with a port, or the path of a Unix socket. Plain values.
//
//   auto a = gort::net::address::parse("[::1]:6379").value();
//   a.port();  a.to_string();  a == b;
//
// Text, as to_string gives and parse takes it:
//
//   127.0.0.1:80      IPv4
//   [::1]:80          IPv6; [fe80::1%2]:80 with a scope. Not without the brackets
//   :80               any address of this machine (IPv6, which takes IPv4 as well where the system allows)
//   /run/x.sock       a Unix socket: whatever has a slash
//   @name             a Unix socket in the abstract namespace
//
// Names of hosts are not addresses: resolve and dial (net/dial.h) turn one into the other.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gort/config.h"
#include "gort/net/result.h"

namespace gort::inline v0::net {

enum class family : std::uint8_t { none, ipv4, ipv6, local };

class address {
 public:
  /// None: of an unnamed Unix socket, for instance.
  address() noexcept = default;
  /// std::errc::invalid_argument: it is no address. No look-ups, no blocking.
  static result<address> parse(std::string_view text);
  /// A Unix socket; "@name": abstract. filename_too_long: more than the system's 107 bytes.
  static result<address> local(std::string_view path);
  static address ipv4(std::uint32_t host_order, std::uint16_t port) noexcept;
  static address loopback(std::uint16_t port) noexcept { return ipv4(0x7f000001, port); }
  static address any(std::uint16_t port) noexcept { return ipv4(0, port); }

  net::family family() const noexcept;
  /// 0 where there is none.
  std::uint16_t port() const noexcept;
  address with_port(std::uint16_t port) const noexcept;
  /// Of a Unix socket, "@name" if abstract; else empty.
  std::string path() const;
  /// Without the port: "127.0.0.1", "::1"; of a Unix socket its path.
  std::string host() const;
  /// "" where there is none.
  std::string to_string() const;

  // For the kernel: a sockaddr.
  const void* raw() const noexcept { return raw_; }
  std::uint32_t raw_size() const noexcept { return size_; }
  static address from_raw(const void* sockaddr, std::uint32_t size) noexcept;

  friend bool operator==(const address& a, const address& b) noexcept;

 private:
  std::uint32_t size_ = 0;
  alignas(8) unsigned char raw_[112] = {};
};

}  // namespace gort::inline v0::net
