// gort: the pollers: who asks the kernel what has become ready, and when.
//
//   asked by                                         when
//   an M that finds nothing to do on its own P       before it steals (find_runnable): does not wait
//   the watcher (sched/watch.h)                      sleeps in it until the next timer, or until it is broken
//   sysmon                                           when nobody has for a while: every P may be busy
//
// There are several instances, so that many processors do not stand in line for one: a descriptor belongs to the one of
// the group of Ps that opened it. A P asks its own group's, and the others if that has nothing; the watcher sleeps in a poller of
// pollers. With one instance, the usual case, in that one.
//
// The scheduler reaches this through sched_hooks.net_… (set by the first poll_open, before any goroutine can wait).
#pragma once

#include <cstdint>

#include "net/poll_desc.h"
#include "os/poll.h"
#include "sched/sched.h"

namespace gort::inline v0::rt {

inline constexpr int kMaxPollers = 16;
inline constexpr int kProcsPerPoller = 16;  ///< a guess until a machine of that size says otherwise

struct alignas(64) Poller {
  int fd = -1;
  os::atomic<std::uint64_t> polls{0};  ///< how often it was asked
};

struct Pollers {
  int n = 0;                          ///< instances; constant once started
  Poller each[kMaxPollers];
  int all = -1;                       ///< what the watcher sleeps in
  int bell = -1;                      ///< what breaks its sleep
  os::atomic<bool> rung{false};       ///< the bell has been, and nobody has cleared it
  os::atomic<bool> started{false};
};
extern Pollers pollers;

/// 0, or why there is no poller (positive errno). Any thread, under no lock. Once it has succeeded: one load.
int pollers_start() noexcept;

/// The instance for a descriptor that the caller opens.
std::uint16_t poller_here() noexcept;

/// The tag of a record in a poller: its address and its number.
inline std::uint64_t poll_tag(const PollDesc* d) noexcept {
  return (reinterpret_cast<std::uintptr_t>(d) >> 6) << 22 |
         (d->seq.load(os::memory_order_relaxed) & ((1u << 22) - 1));
}
inline PollDesc* poll_desc_of(std::uint64_t tag) noexcept { return reinterpret_cast<PollDesc*>((tag >> 22) << 6); }

inline constexpr std::uint64_t kBellTag = 0;      ///< no record has these
inline constexpr std::uint64_t kPollerTags = 64;  ///< below: the instance of that number, plus one

/// Tells a record what has happened to it. Those who are to be made ready are added to the chain.
void poll_tell(const os::PollEvent& event, waiter** chain) noexcept;

}  // namespace gort::inline v0::rt
