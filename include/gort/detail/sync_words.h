// gort: the bits of the words that the synchronization primitives consist of, for their inline halves here and their
// other halves in src/sync. Not for users.
//
// Each primitive is one word (a barrier: three) without waiters: who waits is kept in the runtime's table, by the
// word's address (src/sync/wait_list.h). A bit of the word says that there is somebody.
#pragma once

#include <atomic>
#include <cstdint>

namespace gort::inline v0::detail {

using word32 = std::atomic<std::uint32_t>;
using word64 = std::atomic<std::uint64_t>;

inline constexpr std::uint32_t kMutexLocked = 1;    ///< somebody holds it, or it is on its way to somebody
inline constexpr std::uint32_t kMutexParked = 2;    ///< somebody waits in the table
inline constexpr std::uint32_t kMutexWoken = 4;     ///< one who was woken, or who spins, is about to try: unlock wakes nobody
inline constexpr std::uint32_t kMutexStarving = 8;  ///< unlock hands over to the oldest waiter

/// Held, and nobody waits, or somebody who was woken is on its way and the mutex does not starve.
constexpr bool mutex_unlock_wakes_nobody(std::uint32_t now) noexcept {
  return (now & kMutexLocked) != 0 &&
         ((now & kMutexParked) == 0 || (now & (kMutexWoken | kMutexStarving)) == kMutexWoken);
}

inline constexpr std::uint32_t kSharedWriter = 1;         ///< a writer holds it
inline constexpr std::uint32_t kSharedWriterParked = 2;   ///< a writer waits: no new reader gets in
inline constexpr std::uint32_t kSharedReaderParked = 4;   ///< a reader waits
inline constexpr std::uint32_t kSharedReader = 8;         ///< one reader that holds it; their number stands from here on
inline constexpr std::uint32_t kSharedMaxReaders = UINT32_MAX / kSharedReader;

/// Counters that are waited for: the count times kCountOne, and a bit.
inline constexpr std::uint32_t kCountParked = 1;
inline constexpr std::uint32_t kCountOne = 2;
inline constexpr std::uint32_t kCountMax = UINT32_MAX / kCountOne;

inline constexpr std::uint32_t kSemaphoreParked = 0x80000000;  ///< the rest is the number of free units
inline constexpr std::uint32_t kSemaphoreMax = 0x7fffffff;

inline constexpr std::uint32_t kOnceNever = 0, kOnceRuns = 1, kOnceRunsParked = 2, kOnceDone = 3;

/// A condition variable: who waits and has not been notified; and, in the upper half, a number that changes when
/// those shall go on who have not got to sleep yet.
inline constexpr std::uint64_t kCondWaiting = 1;
inline constexpr std::uint64_t kCondRound = std::uint64_t{1} << 32;

/// How a wait ended; as rt::WaitEnd.
enum class wait_result : std::uint8_t { done = 1, timeout = 2, cancelled = 3 };

/// `n` done at once, of a counter that `what` names in messages.
void count_down(word32& word, std::uint32_t n, const char* what) noexcept;
/// "fatal error: <what>" and the traceback.
[[noreturn, gnu::cold]] void sync_misuse(const char* what) noexcept;
/// Throws gort::cancelled if the caller's context is cancelled.
void throw_if_cancelled();

#if defined(GORT_DEBUG)
/// Who calls: a number that no other goroutine and no other foreign thread has.
std::uint64_t sync_self() noexcept;
/// For destructors: fatal if `in_use`, unless no run is in progress, when those in question are left over, or in the child
/// of a fork, where they are the parent's.
void sync_destroyed(bool in_use, const char* what) noexcept;
#endif

}  // namespace gort::inline v0::detail
