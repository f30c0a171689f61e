// gort::held_locks: which mutexes the goroutine on this thread holds, and the report when it is about to leave the
// thread with one (docs/held_locks.md).
//
//   interpose.cc   stands between the program and pthread_mutex_lock and its like; books what they did
//   held.cc        the books: one table per thread
//   report.cc      the report
//
// The tables belong to threads, not to goroutines, since a goroutine that leaves its thread with a mutex held is the
// very thing to be reported. Entries carry the goroutine's number, so one that was left behind is never mistaken.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sched/g.h"

namespace gort::inline v0::rt::held_locks {

enum class Kind : std::uint8_t { mutex, shared, exclusive };  ///< the last two: of a read-write lock

inline constexpr std::size_t kPlaceFrames = 6;

/// One lock that is held.
struct Held {
  const void* lock = nullptr;
  std::uint64_t goid = 0;
  Kind kind = Kind::mutex;
  std::uint8_t frames = 0;
  std::uintptr_t place[kPlaceFrames] = {};  ///< return addresses from the lock call outwards
};

/// The calling goroutine has got `lock`. Does nothing on a foreign thread. `caller`: where the lock call returns to.
void locked(const void* lock, Kind kind, std::uintptr_t caller) noexcept;
/// It is about to release it, or has.
void unlocked(const void* lock) noexcept;

/// Takes the newest lock of goroutine `goid` out of this thread's books; false: there is none.
bool take_held(std::uint64_t goid, Held* out) noexcept;

/// sched_hooks.departs.
void report_departure(rt::G* g, rt::WaitReason why) noexcept;
/// In user code, with `lock` released: prints the names of a report about it, if one is waiting for that.
void print_names_of(const void* lock) noexcept;

}  // namespace gort::inline v0::rt::held_locks
