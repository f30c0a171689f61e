// gort: channels as the library sees them, without their T. Not for direct use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "gort/cancelled.h"
#include "gort/config.h"
#include "gort/detail/chan_head.h"
#include "gort/detail/deadline.h"

namespace gort::inline v0::detail {

/// Bytes that lie in the channel's memory, for the library, as long as the channel does (chan_beside).
struct beside {
  std::size_t bytes = 0;
};
/// `drop` destroys one element that was never received. Throws std::bad_alloc; a negative capacity is fatal.
chan_head* chan_make(std::ptrdiff_t capacity, std::size_t element_size, void (*drop)(void* element) noexcept,
                     beside more = {});
/// Where they lie; aligned to 16.
void* chan_beside(chan_head* c) noexcept;
/// The last handle is gone.
void chan_free(chan_head* c) noexcept;

// The value's bytes are copied from or to `slot`; null channels are fine. How long: kForeverNs or less; the blocking
// ones look at the caller's context.
chan_end chan_send(chan_head* c, const void* slot);
chan_end chan_recv(chan_head* c, void* slot);
chan_end chan_send_for(chan_head* c, const void* slot, std::int64_t ns);
chan_end chan_recv_for(chan_head* c, void* slot, std::int64_t ns);
chan_end chan_try_send(chan_head* c, const void* slot);
chan_end chan_try_recv(chan_head* c, void* slot);
void chan_close(chan_head* c);
std::size_t chan_len(const chan_head* c) noexcept;
std::size_t chan_cap(const chan_head* c) noexcept;
[[noreturn]] void throw_chan_closed();

/// A counted reference. Copies are handles of the same channel.
class chan_handle {
 public:
  chan_handle() noexcept = default;
  chan_handle(const chan_handle& other) noexcept : head_(other.head_) {
    if (head_ != nullptr) head_->handles.fetch_add(1, std::memory_order_relaxed);
  }
  chan_handle(chan_handle&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  chan_handle& operator=(chan_handle other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~chan_handle() {
    if (head_ != nullptr && head_->handles.fetch_sub(1, std::memory_order_acq_rel) == 1) chan_free(head_);
  }

  /// Not null.
  explicit operator bool() const noexcept { return head_ != nullptr; }
  /// The same channel.
  friend bool operator==(const chan_handle& a, const chan_handle& b) noexcept { return a.head_ == b.head_; }
  /// Values that are in the buffer now, a moment's view. 0 for a null channel.
  std::size_t len() const noexcept { return chan_len(head_); }
  /// How many fit in. 0 for unbuffered and null channels.
  std::size_t cap() const noexcept { return chan_cap(head_); }

  chan_head* head() const noexcept { return head_; }

 protected:
  explicit chan_handle(chan_head* adopted) noexcept : head_(adopted) {}

 private:
  chan_head* head_ = nullptr;
};

}  // namespace gort::inline v0::detail
