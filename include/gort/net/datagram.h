// gort: datagrams: UDP and Unix. Each call moves one whole message.
//
//   auto s = gort::net::bind_datagram("127.0.0.1:5353").value();
//   char room[65536];
//   while (auto m = s.receive_from(room)) s.send_to(std::string_view(room, m->size), m->from);
//
// Several goroutines may send and receive at the same time. A message longer than the buffer is cut, and `truncated`
// says so. On a connected UDP socket, an earlier message that met a closed port may make the next call give
// connection_refused.
#pragma once

#include "gort/net/conn.h"

namespace gort::inline v0::net {

struct message {
  std::size_t size = 0;    ///< bytes in the buffer
  address from;            ///< none: an unnamed Unix socket
  bool truncated = false;  ///< it was longer than the buffer
};

class [[nodiscard]] datagram : public endpoint<datagram> {
 public:
  datagram() noexcept = default;
  datagram(datagram&&) noexcept = default;
  datagram& operator=(datagram&& other) noexcept;
  ~datagram();

  /// Waits for a message. An empty one is possible: size 0 is not the end.
  result<message> receive_from(buffer b);
  /// Of a connected one, or where the sender does not matter.
  result<std::size_t> receive(buffer b);
  /// A Unix receiver whose queue is full is asked again every few milliseconds: the kernel tells only who is connected to it
  /// (dial_datagram) when there is room.
  result<void> send_to(const_buffer b, const address& to);
  /// To whom it is connected to.
  result<void> send(const_buffer b);

  result<void> set_read_deadline(clock::time_point t) { return detail::fd_set_deadline(fd_.get(), detail::fd_side::read, t); }
  result<void> set_write_deadline(clock::time_point t) { return detail::fd_set_deadline(fd_.get(), detail::fd_side::write, t); }
  /// Whom it is connected to; none: nobody.
  address peer_address() const { return detail::fd_address(fd_.get(), true); }

  /// Takes over a datagram socket.
  static result<datagram> adopt(int fd);
  explicit datagram(detail::fd_owner adopted, std::string unlink_path = {}) noexcept
      : fd_(std::move(adopted)), path_(std::move(unlink_path)) {}

  /// As endpoint::close; removes the path of a Unix socket, too.
  void close() noexcept;

 private:
  friend class endpoint<datagram>;
  detail::fd_owner fd_;
  std::string path_;  ///< to be removed by whoever closes it
};

struct datagram_options {
  bool reuse_address = false;
  bool reuse_port = false;
  bool broadcast = true;
};

/// A socket that receives there. UDP or Unix, by the form of the text.
result<datagram> bind_datagram(std::string_view where, const datagram_options& options = {});
result<datagram> bind_datagram(const address& where, const datagram_options& options = {});
/// One that sends there and receives from there only. A Unix one gets a name of its own, so that it can be answered.
result<datagram> dial_datagram(std::string_view where);
result<datagram> dial_datagram(const address& where);

}  // namespace gort::inline v0::net
