// gort: connections: byte streams to somebody else. TCP, Unix streams, ends of pipes, adopted descriptors.
//
//   what                who may use it at the same time
//   reading             one goroutine (several: each byte goes to one of them, nobody knows to whom)
//   writing             one goroutine (several: their bytes mix)
//   close, set_…, …     anybody, while others read and write
//
// A conn owns its descriptor; moving it moves that. split() makes two owners of it, for two goroutines:
//
//   state of the connection     how it comes about                        reading gives            writing gives
//   open                        dial, accept, adopt                       bytes                    done
//   peer has ended its side     it closed or half-closed                  what is left, then 0     done, or broken_pipe
//   our side ended              close_write(), end of a write_half        bytes                    broken_pipe
//   closed                      close(), end of the last owner            net::closed              net::closed
//
// Promised: close() may be called by anybody, any number of times, and everybody who waits comes back with
// net::closed. Deadlines may be changed while others wait, and count for them from then on. What one call has written is
// on its way in full, or an error is returned. EINTR is never seen.
// A call in a cancelled context does nothing, and one that waits comes back, with operation_canceled; bytes that were
// moved before that are counted as moved (write_all's *written).
// Not promised: that the peer has received what was written.
//
// All calls that read or write may change the goroutine's thread if they really wait. From foreign threads they block
// the thread. Cost of a call that need not wait: the system call and about 20 ns.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/detail/net.h"
#include "gort/net/address.h"
#include "gort/net/buffer.h"
#include "gort/net/result.h"

namespace gort::inline v0::net {

/// Deadlines: none.
inline constexpr clock::time_point no_deadline = clock::time_point::max();

/// When the kernel asks a silent peer whether it is still there.
struct keep_alive {
  std::chrono::seconds idle{15};      ///< of silence, before it asks
  std::chrono::seconds interval{15};  ///< between questions
  int count = 9;                      ///< unanswered ones until the connection is reset
};

/// What the reading side of a connection can do. Of conn and read_half.
template <class Self>
class reading {
 public:
  /// Waits until at least one byte is there, and gives as many as are, at most b.size. 0: the end, or b is empty.
  result<std::size_t> read_some(buffer b) { return detail::fd_read(fd(), b); }
  /// Fills b. Fewer than b.size: the end came before. *got: how many bytes b has, in the case of an error too (a deadline
  /// in the middle of it, and they would be lost otherwise).
  result<std::size_t> read_full(buffer b, std::size_t* got = nullptr) { return detail::fd_read_full(fd(), b, got); }
  /// As read_some, into several buffers (at most 64 are looked at).
  result<std::size_t> readv(std::span<const buffer> bs) { return detail::fd_readv(fd(), bs); }
  /// For reads, now and later; a time that has passed: at once. Any thread.
  result<void> set_read_deadline(clock::time_point t) { return detail::fd_set_deadline(fd(), detail::fd_side::read, t); }
  /// From now on. Not positive: at once.
  template <class Rep, class Period>
  result<void> set_read_timeout(std::chrono::duration<Rep, Period> d) {
    return set_read_deadline(gort::detail::deadline_after(gort::detail::whole_ns(d)));
  }
  /// Nobody waits for the peer any more: a read that finds nothing gives 0, now and later, and who waits in one is woken.
  /// What has come, or still comes, can be read, as the kernel has it (shutdown(2), SHUT_RD).
  result<void> close_read() { return detail::fd_shutdown(fd(), detail::fd_side::read); }

 private:
  detail::net_fd* fd() const noexcept { return static_cast<const Self*>(this)->fd_.get(); }
};

/// What the writing side can do. Of conn and write_half.
template <class Self>
class writing {
 public:
  /// Waits until there is room for at least one byte; how many were written.
  result<std::size_t> write_some(const_buffer b) { return detail::fd_write(fd(), b); }
  /// Writes all of it. *written: how many bytes were, in the case of an error too.
  result<void> write_all(const_buffer b, std::size_t* written = nullptr) {
    return detail::fd_write_all(fd(), b, written);
  }
  /// Writes all of all of them, in as few system calls as it takes.
  result<void> writev(std::span<const const_buffer> bs, std::size_t* written = nullptr) {
    return detail::fd_writev(fd(), bs, written);
  }
  /// Writes `count` bytes of a file from `offset` on without copying them (sendfile(2)). Fewer: the file has ended.
  /// Reading the file may block the thread: it is done as gort::blocking does. *written: as write_all's.
  result<std::uint64_t> sendfile(int file, std::uint64_t offset, std::uint64_t count, std::uint64_t* written = nullptr) {
    return detail::fd_sendfile(fd(), file, offset, count, written);
  }
  /// For writes, now and later; a time that has passed: at once. Any thread.
  result<void> set_write_deadline(clock::time_point t) { return detail::fd_set_deadline(fd(), detail::fd_side::write, t); }
  /// From now on. Not positive: at once.
  template <class Rep, class Period>
  result<void> set_write_timeout(std::chrono::duration<Rep, Period> d) {
    return set_write_deadline(gort::detail::deadline_after(gort::detail::whole_ns(d)));
  }
  /// Half close: the peer reads what was written, then the end. Reading goes on.
  result<void> close_write() { return detail::fd_shutdown(fd(), detail::fd_side::write); }

 private:
  detail::net_fd* fd() const noexcept { return static_cast<const Self*>(this)->fd_.get(); }
};

/// What is said of the connection as a whole. Of conn, listener and datagram, and of both halves.
template <class Self>
class endpoint {
 public:
  /// Closes it for all owners, and wakes everybody who waits on it with net::closed. Any thread, any number of
  /// times. Never waits. The descriptor goes back to the system at once, or, if another thread is in a system call
  /// with it at this very moment, when that returns.
  void close() noexcept { static_cast<void>(detail::fd_close(fd())); }
  bool is_open() const noexcept { return detail::fd_is_open(fd()); }
  /// Of reads and writes.
  result<void> set_deadline(clock::time_point t) { return detail::fd_set_deadline(fd(), detail::fd_side::both, t); }
  /// Empty if it is closed.
  address local_address() const { return detail::fd_address(fd(), false); }
  /// The descriptor, non-blocking; still ours to close. -1: closed or moved from. For options that are not here.
  int native_handle() const noexcept { return detail::fd_number(fd()); }

 protected:
  detail::net_fd* fd() const noexcept { return static_cast<const Self*>(this)->fd_.get(); }
};

/// The reading half of a split connection. Its end alone does nothing to the connection.
class [[nodiscard]] read_half : public reading<read_half>, public endpoint<read_half> {
 public:
  /// Moved from: everything gives net::closed.
  read_half() noexcept = default;
  address peer_address() const { return detail::fd_address(fd_.get(), true); }

 private:
  explicit read_half(detail::fd_owner adopted) noexcept : fd_(std::move(adopted)) {}
  friend class conn;
  friend class reading<read_half>;
  friend class endpoint<read_half>;
  detail::fd_owner fd_;
};

/// The writing half. Its end half-closes: the peer reads the end.
class [[nodiscard]] write_half : public writing<write_half>, public endpoint<write_half> {
 public:
  write_half() noexcept = default;
  write_half(write_half&&) noexcept = default;
  write_half& operator=(write_half&& other) noexcept {
    if (this == &other) return *this;
    end();
    fd_ = std::move(other.fd_);
    return *this;
  }
  ~write_half() { end(); }
  address peer_address() const { return detail::fd_address(fd_.get(), true); }

 private:
  explicit write_half(detail::fd_owner adopted) noexcept : fd_(std::move(adopted)) {}
  void end() noexcept {
    if (fd_.get() != nullptr) static_cast<void>(close_write());
  }
  friend class conn;
  friend class writing<write_half>;
  friend class endpoint<write_half>;
  detail::fd_owner fd_;
};

class [[nodiscard]] conn : public reading<conn>, public writing<conn>, public endpoint<conn> {
 public:
  /// Moved from: everything gives net::closed.
  conn() noexcept = default;

  /// Takes over a connected stream socket, an end of a pipe, a FIFO or a terminal, whatever epoll takes: makes it
  /// non-blocking and close-on-exec. On an error it is still the caller's (std::errc::operation_not_permitted: a regular
  /// file; see gort::os::file).
  static result<conn> adopt(int fd);
  /// Gives the descriptor back, non-blocking, to be closed by the caller; net::closed if it is closed,
  /// device_or_resource_busy if somebody is using it.
  result<int> release() && { return detail::fd_release(fd_); }

  /// Two owners, for two goroutines. The connection is closed when both are gone, or by close() of either.
  std::pair<read_half, write_half> split() &&;

  address peer_address() const { return detail::fd_address(fd_.get(), true); }

  // Options. TCP only, where they speak of it: else an error (operation_not_supported and its like).
  /// Sends small writes at once (TCP_NODELAY). On by default, as in Go.
  result<void> set_no_delay(bool on) { return detail::fd_no_delay(fd_.get(), on); }
  /// Off: null. On with the defaults of keep_alive by default.
  result<void> set_keep_alive(std::optional<keep_alive> k);
  /// What close does with bytes not sent yet: null: the kernel goes on sending (the default); 0: they are dropped and the
  /// peer sees a reset.
  result<void> set_linger(std::optional<std::chrono::seconds> s);
  result<void> set_receive_buffer(int bytes);
  result<void> set_send_buffer(int bytes);

  // Unix sockets: descriptors travel beside bytes.
  /// Sends at least one byte of b, and copies of `fds` (at most 253) with it; how many bytes. They stay the caller's.
  result<std::size_t> write_with_fds(const_buffer b, std::span<const int> fds) { return detail::fd_send_fds(fd_.get(), b, fds); }
  /// As read_some; descriptors that came with the bytes are added to *fds, close-on-exec, and are the caller's to close.
  /// message_size: there were more than the system gave (they are closed).
  result<std::size_t> read_with_fds(buffer b, std::vector<int>* fds) { return detail::fd_recv_fds(fd_.get(), b, fds); }

  /// For those who make connections: adopts a non-blocking descriptor's record.
  explicit conn(detail::fd_owner adopted) noexcept : fd_(std::move(adopted)) {}

 private:
  friend class reading<conn>;
  friend class writing<conn>;
  friend class endpoint<conn>;
  detail::fd_owner fd_;
};

/// Two connected Unix stream sockets.
result<std::pair<conn, conn>> socket_pair();

}  // namespace gort::inline v0::net
