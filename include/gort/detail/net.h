// gort: what the headers of gort/net share. Not for direct use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "gort/clock.h"
#include "gort/config.h"
#include "gort/net/address.h"
#include "gort/net/buffer.h"
#include "gort/net/result.h"

namespace gort::inline v0::net::detail {

/// A descriptor's record (rt::PollDesc). It outlives the descriptor as long as there are owners or calls in it.
struct net_fd;

enum class fd_side : std::uint8_t { read, write, both };

void fd_share(net_fd* f) noexcept;    ///< one more owner
void fd_unshare(net_fd* f) noexcept;  ///< one less; the last one closes

class fd_owner {
 public:
  fd_owner() noexcept = default;
  explicit fd_owner(net_fd* adopted) noexcept : f_(adopted) {}
  fd_owner(fd_owner&& other) noexcept : f_(std::exchange(other.f_, nullptr)) {}
  fd_owner& operator=(fd_owner&& other) noexcept {
    fd_owner taken(std::move(other));
    taken.swap(*this);
    return *this;
  }
  ~fd_owner() {
    if (f_ != nullptr) fd_unshare(f_);
  }
  void swap(fd_owner& other) noexcept { std::swap(f_, other.f_); }
  net_fd* get() const noexcept { return f_; }
  fd_owner share() const noexcept {
    if (f_ != nullptr) fd_share(f_);
    return fd_owner(f_);
  }

 private:
  net_fd* f_ = nullptr;
};

// All of them take null, which is closed.
result<std::size_t> fd_read(net_fd* f, buffer b);
result<std::size_t> fd_read_full(net_fd* f, buffer b, std::size_t* got);
result<std::size_t> fd_readv(net_fd* f, std::span<const buffer> bs);
result<std::size_t> fd_write(net_fd* f, const_buffer b);
result<void> fd_write_all(net_fd* f, const_buffer b, std::size_t* written);
result<void> fd_writev(net_fd* f, std::span<const const_buffer> bs, std::size_t* written);
result<std::uint64_t> fd_sendfile(net_fd* f, int file, std::uint64_t offset, std::uint64_t count,
                                  std::uint64_t* written);
result<std::size_t> fd_send_fds(net_fd* f, const_buffer b, std::span<const int> fds);
result<std::size_t> fd_recv_fds(net_fd* f, buffer b, std::vector<int>* fds);
result<void> fd_set_deadline(net_fd* f, fd_side side, clock::time_point t);
result<void> fd_shutdown(net_fd* f, fd_side side);
result<void> fd_no_delay(net_fd* f, bool on);
result<int> fd_release(fd_owner& f);
bool fd_close(net_fd* f) noexcept;  ///< false: it was closed already
bool fd_is_open(net_fd* f) noexcept;
int fd_number(net_fd* f) noexcept;
address fd_address(net_fd* f, bool peer);

}  // namespace gort::inline v0::net::detail
