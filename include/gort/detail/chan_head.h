// gort: the words of channels and select that both the public templates and the core know. Not for direct use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gort/waiter.h"
#if defined(GORT_SIM)
#include GORT_SIM_ATOMIC  // the simulator's own; users never see it
#endif

namespace gort::inline v0 {

namespace rt {
struct SelectNode;
}

namespace detail {

#if defined(GORT_SIM)
template <class T>
using chan_word = os::atomic<T>;  // so that the simulator sees who looks without the lock
#else
template <class T>
using chan_word = std::atomic<T>;
#endif

/// Who waits, oldest first; any node leaves in O(1). Under the channel's lock, but for a look at `first`.
struct chan_queue {
  chan_word<waiter*> first{nullptr};
  waiter* last = nullptr;
};

/// What of a channel's record (rt::Chan begins with it) is looked at without its lock.
struct chan_head {
  chan_word<std::uint32_t> closed{0};        ///< 0, then 1 for ever
  std::uint32_t size = 0;                    ///< of an element; constant
  std::size_t cap = 0;                       ///< constant
  chan_word<std::size_t> count{0};           ///< values in the ring
  chan_word<std::size_t> given_back{0};      ///< values before those
  chan_queue recvq;
  chan_queue sendq;
  chan_word<std::size_t> handles{1};

  // Whether an operation would not wait. False: at one instant during the call it would have. Both are one instant's
  // view although they look at several words: closed never goes back to 0, and before it is set there is one word to
  // look at, the ring's count or, without a ring, the other side's queue. (Who takes values given back takes them
  // before the ring's: between those seen empty and the ring seen empty there is a moment with both.)
  bool can_send() const noexcept {
    if (closed.load(std::memory_order_acquire) != 0) return true;
    return cap == 0 ? recvq.first.load(std::memory_order_acquire) != nullptr
                    : count.load(std::memory_order_acquire) < cap;
  }
  bool can_recv() const noexcept {
    if (has_value() || sendq.first.load(std::memory_order_acquire) != nullptr) return true;
    // Empty, and open after that: it was so together. Closed: what was sent before must be seen.
    return closed.load(std::memory_order_acquire) != 0;
  }
  bool has_value() const noexcept {
    return given_back.load(std::memory_order_acquire) != 0 || count.load(std::memory_order_acquire) != 0;
  }
};

/// How an operation on a channel ended.
enum class chan_end : std::uint8_t {
  done,         ///< the value has changed hands
  closed,       ///< sending: it is closed; receiving: likewise, and nothing is left
  would_block,  ///< full or empty
  timeout,
  cancelled,
  no_memory,    ///< select: it has done nothing
};

enum class case_kind : std::uint8_t { never, recv, send, timeout, otherwise };

/// What travels by bytes is at most so large and so aligned; the rest travels in a box of its own.
inline constexpr std::size_t chan_inline_max = 64;
inline constexpr std::size_t chan_inline_align = 16;

/// One case of a select. `target`, `ops` and the storage are the templates'; the core uses the rest.
struct case_data {
  chan_head* chan = nullptr;  ///< null: never ready
  union {
    void* target = nullptr;   ///< the user's object
    std::int64_t wait_ns;     ///< timeout: from the call of select on
  };
  const struct case_ops* ops = nullptr;
  case_kind kind = case_kind::never;
  // What follows is select's own while it runs.
  bool delivered;             ///< of the case that fired; false: the channel is closed
  bool owns_slot;             ///< send: the slot was made for this case, no other one shares it
  std::uint32_t poll;
  std::uint32_t order;
  void* slot;                 ///< recv: where the value's bytes go; send: where they are
  rt::SelectNode* node;
  alignas(chan_inline_align) std::byte storage[chan_inline_max];

  case_data() noexcept {}
  case_data(const case_data& other) noexcept
      : chan(other.chan), target(other.target), ops(other.ops), kind(other.kind) {}
  case_data& operator=(const case_data& other) noexcept {
    chan = other.chan, target = other.target, ops = other.ops, kind = other.kind;
    return *this;
  }
};
static_assert(sizeof(void*) == sizeof(std::int64_t), "a copy of target is a copy of wait_ns");

/// Whether a case could fire now; false as for can_send.
inline bool looks_ready(const case_data& c) noexcept {
  if (c.chan == nullptr) return false;
  return c.kind == case_kind::recv ? c.chan->can_recv() : c.chan->can_send();
}

/// What a T has to have done; each may be null.
struct case_ops {
  void (*prepare)(case_data&);         ///< before: makes what `slot` points to; may throw
  void (*fired)(case_data&);           ///< recv: after it fired; send: after its value was delivered; may throw
  void (*lost)(case_data&);            ///< send, prepared: it was not delivered; may throw
  bool shares = false;                 ///< send: cases with the same target use one slot, since preparing empties it
  bool in_place = false;               ///< send: the slot is the target, nothing is to be prepared
};

}  // namespace detail
}  // namespace gort::inline v0
