// gort: asking the kernel which descriptors can be read or written, and the few calls on descriptors that the core needs.
//
// A *poller* tells edges: a descriptor is named once when something arrives or room appears, and not again before more
// does. Whoever is told must read (or write) until there is nothing left, or remember that there is.
//
// Errors are negative errno values here, since descriptors and counts share the result. Nothing touches errno.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/os.h"

namespace gort::inline v0::os {

inline constexpr std::uint32_t kPollRead = 1;   ///< something to read: bytes, a connection, an error, the end
inline constexpr std::uint32_t kPollWrite = 2;  ///< room to write, or an error that writing will tell
inline constexpr std::uint32_t kPollEnd = 4;    ///< the peer has ended its side, or an error: no further edge may come for it

struct PollEvent {
  std::uint64_t tag = 0;  ///< what poll_add was given
  std::uint32_t what = 0;
};
inline constexpr int kPollBatch = 128;  ///< events that poll_wait takes at most

/// A poller's descriptor. Close-on-exec.
int poll_create() noexcept;
/// Tells edges of fd from now on, and what is true already. `write`: of writing too. 0 or -errno (-EPERM: a regular file).
int poll_add(int poller, int fd, bool write, std::uint64_t tag) noexcept;
/// Likewise, of one that was added: what is true already is told again.
int poll_modify(int poller, int fd, bool write, std::uint64_t tag) noexcept;
/// A descriptor that is told as long as it is readable: a doorbell, another poller.
int poll_add_level(int poller, int fd, std::uint64_t tag) noexcept;
int poll_remove(int poller, int fd) noexcept;

/// Waits at most timeout_ns (0: not at all; negative: without limit) for events; how many, 0 also for a signal. `events`
/// has room for kPollBatch.
int poll_wait(int poller, PollEvent* events, std::int64_t timeout_ns) noexcept;

/// A doorbell: readable from a ring until it is cleared.
int bell_create() noexcept;
void bell_ring(int bell) noexcept;
void bell_clear(int bell) noexcept;

/// Gives a descriptor back. Once: what comes after EINTR is the kernel's.
void fd_close(int fd) noexcept;

}  // namespace gort::inline v0::os
