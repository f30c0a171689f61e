// gort: the words of channels and select that both the public templates and the core know. Not for direct use.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace gort::inline v0 {

namespace rt {
struct SelectNode;
}

namespace detail {

/// The public face of a channel's record (rt::Chan begins with it): how many handles there are.
struct chan_head {
  std::atomic<std::size_t> handles{1};
};

/// How an operation on a channel ended.
enum class chan_end : std::uint8_t {
  done,         ///< the value has changed hands
  closed,       ///< sending: it is closed; receiving: likewise, and nothing is left
  would_block,  ///< full or empty
  timeout,
  cancelled,
};

enum class case_kind : std::uint8_t { never, recv, send, timeout, otherwise };

/// What travels by bytes is at most so large and so aligned; the rest travels in a box of its own.
inline constexpr std::size_t chan_inline_max = 64;
inline constexpr std::size_t chan_inline_align = 16;

/// One case of a select. The core uses the first part and writes what it is said to; `target`, `ops` and the
/// storage are the templates'.
struct case_data {
  chan_head* chan = nullptr;       ///< null: never ready
  void* slot = nullptr;            ///< recv: where the value's bytes go; send: where they are
  rt::SelectNode* node = nullptr;  ///< select's own, as are the next two
  std::uint32_t poll = 0;
  std::uint32_t order = 0;
  case_kind kind = case_kind::never;
  bool delivered = false;          ///< written by select where the case fired: false: the channel is closed
  bool owns_slot = false;          ///< send: select made the slot for this case, no other one shares it
  const struct case_ops* ops = nullptr;
  void* target = nullptr;          ///< the user's object
  std::int64_t wait_ns = 0;        ///< timeout: from the call of select on
  alignas(chan_inline_align) std::byte storage[chan_inline_max];

  case_data() noexcept {}  // the storage is used inside of select only
  case_data(const case_data& o) noexcept
      : chan(o.chan), kind(o.kind), ops(o.ops), target(o.target), wait_ns(o.wait_ns) {}
  case_data& operator=(const case_data& o) noexcept {
    chan = o.chan, kind = o.kind, ops = o.ops, target = o.target, wait_ns = o.wait_ns;
    return *this;
  }
};

/// What a T has to have done; each may be null.
struct case_ops {
  void (*prepare)(case_data&);         ///< before: makes what `slot` points to; may throw
  void (*fired)(case_data&);           ///< recv: after it fired; send: after its value was delivered; may throw
  void (*lost)(case_data&);            ///< send, prepared: it was not delivered; may throw
  bool shares = false;                 ///< send: cases with the same target use one slot, since preparing empties it
};

}  // namespace detail
}  // namespace gort::inline v0
