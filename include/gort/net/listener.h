// gort: listeners: who accepts connections.
//
//   auto l = gort::net::listen(":6379");                       // any address, TCP
//   auto u = gort::net::listen("/run/kv.sock");                // a Unix socket
//   while (auto c = l->accept()) serve(*std::move(c));
//
// accept() may be called by several goroutines: each connection goes to one of them. Connections that are reset
// before they are accepted are passed over.
//
// No descriptors left (too_many_files_open) is the caller's to handle: the connection stays in the queue; waiting a little
// and accepting again is what servers do. accept_some() does just that.
#pragma once

#include "gort/net/conn.h"

namespace gort::inline v0::net {

struct listen_options {
  int backlog = 4096;          ///< connections that wait to be accepted; the system may make it fewer
  bool reuse_address = true;   ///< of connections of an ended process; TCP
  bool reuse_port = false;     ///< several listeners on one port, the kernel spreads connections (SO_REUSEPORT)
  bool ipv6_only = false;      ///< "[::]:80" and ":80" take no IPv4
  bool unlink = true;          ///< a Unix socket's path: removed before (if it is a socket that nobody listens on) and at close
};

class [[nodiscard]] listener : public endpoint<listener> {
 public:
  listener() noexcept = default;
  listener(listener&&) noexcept = default;
  listener& operator=(listener&& other) noexcept;
  ~listener();

  /// Waits for the next connection. TCP connections have no_delay and keep_alive on.
  result<conn> accept();
  /// As accept, but as long as there are no descriptors or no memory for one, asks again every few milliseconds.
  result<conn> accept_some();
  /// For accept, now and later. Any thread.
  result<void> set_accept_deadline(clock::time_point t) { return detail::fd_set_deadline(fd_.get(), detail::fd_side::read, t); }

  /// Takes over a listening socket (of an inetd, systemd's socket activation).
  static result<listener> adopt(int fd);

  explicit listener(detail::fd_owner adopted, std::string unlink_path = {}) noexcept
      : fd_(std::move(adopted)), path_(std::move(unlink_path)) {}

  /// As endpoint::close; removes the path of a Unix socket, too.
  void close() noexcept;

 private:
  friend class endpoint<listener>;
  detail::fd_owner fd_;
  std::string path_;  ///< to be removed by whoever closes it
};

/// TCP or Unix, by the form of the text (net/address.h). Host names are resolved, and their first address is taken.
result<listener> listen(std::string_view where, const listen_options& options = {});
result<listener> listen(const address& where, const listen_options& options = {});

}  // namespace gort::inline v0::net
