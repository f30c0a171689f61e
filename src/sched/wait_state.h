// gort: a wait that may end in several ways: what was waited for came, its time ran out, it was cancelled.
//
// Exactly one of the agents that could end a wait does: they race for one word. It belongs to who waits (a G, or a
// foreign thread's record), is never unmapped, and counts its waits, so that an agent that comes too late, when the
// next wait is open already, finds another generation and loses.
//
//   bits    name         meaning
//   0       open         the wait has not ended
//   1       parked       its owner sleeps, or is past the point of no return: whoever ends it calls ready()
//   2       cancellable  a cancellation of WaitState::member_of may end it
//   3       -
//   4-7     end          WaitEnd, once it is not open
//   8-63    generation   one more per wait
//
//   from            to              by
//   closed          open            its owner (wait_open)
//   open            open, parked    its owner, when its context is complete (wait_commit)
//   open            closed + end    the winner: it need do nothing more, the owner has not left. The owner itself, if
//                                   the wait does not come about: left open, it would be taken for its next one
//   open, parked    closed + end    the winner: it calls ready() on `wake`, once, under no lock
//
// A wait that only its queue can end does without: waiter::state is null, and who takes the waiter off its queue
// has won.
#pragma once

#include <cstdint>

#include "gort/waiter.h"
#include "os/os.h"

namespace gort::inline v0::rt {

struct CancelSource;
struct Timer;

enum class WaitEnd : std::uint8_t { none, done, timeout, cancelled };

struct WaitState {
  os::atomic<std::uint64_t> word{0};
  waiter* wake = nullptr;             ///< whose ready() wakes the owner; set once, when it is made
  // Cancellation (sync/cancel.h).
  CancelSource* member_of = nullptr;  ///< in whose list it is; written by its owner only
  WaitState* prev = nullptr;          ///< under member_of->lock
  WaitState* next = nullptr;          ///< likewise
  union {
    WaitState* next_ready = nullptr;  ///< the canceller's private list of waits that it has ended: of open words
    void* withdraw_from;              ///< of waits without an open word, see withdraw
  };
  Timer* timer = nullptr;             ///< for waits with a deadline; made at the first, kept; its owner's
  // How a cancellation of its goroutine's context (G::cancel) ends a wait that has no open word: takes the waiter off
  // what it waits for, true if nobody else had. Null: it does not. Its owner's, read by who holds it where it waits.
  bool (*withdraw)(waiter* w, void* from) noexcept = nullptr;
};

inline constexpr std::uint64_t kWaitOpen = 1u << 0;
inline constexpr std::uint64_t kWaitParked = 1u << 1;
inline constexpr std::uint64_t kWaitCancellable = 1u << 2;
inline constexpr unsigned kWaitEndShift = 4;
inline constexpr std::uint64_t kWaitEndMask = 0xfu << kWaitEndShift;
inline constexpr unsigned kWaitGenerationShift = 8;
static_assert(((kWaitOpen | kWaitParked | kWaitCancellable) & kWaitEndMask) == 0);
static_assert((kWaitEndMask >> kWaitGenerationShift) == 0);

/// Which wait of a WaitState: what an agent keeps that may come too late.
using WaitGeneration = std::uint64_t;

/// The owner begins a wait. seq_cst: who cancels sets the flag, then looks for open waits; the owner opens, then
/// looks at the flag (partner: cancel).
inline WaitGeneration wait_open(WaitState& s, bool cancellable) noexcept {
  const std::uint64_t generation = (s.word.load(os::memory_order_relaxed) >> kWaitGenerationShift) + 1;
  s.word.store(generation << kWaitGenerationShift | kWaitOpen | (cancellable ? kWaitCancellable : 0),
               os::memory_order_seq_cst);
  return generation;
}

/// The owner's context is complete. False: the wait has ended meanwhile, nobody will call ready().
inline bool wait_commit(WaitState& s) noexcept {
  std::uint64_t now = s.word.load(os::memory_order_relaxed);
  while ((now & kWaitOpen) != 0) {
    if (s.word.compare_exchange_weak(now, now | kWaitParked, os::memory_order_acq_rel, os::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

/// How the last wait ended; none: it has not.
inline WaitEnd wait_end(const WaitState& s) noexcept {
  return static_cast<WaitEnd>((s.word.load(os::memory_order_acquire) & kWaitEndMask) >> kWaitEndShift);
}

enum class Won : std::uint8_t {
  no,      ///< somebody else was first, or it is another wait by now
  early,   ///< the owner has not left yet, and sees it: nothing more to do
  parked,  ///< the caller calls state.wake->ready(state.wake), once, under no lock
};

/// Ends the wait with this generation, unless it has ended. Any thread.
inline Won wait_win(WaitState& s, WaitGeneration generation, WaitEnd end) noexcept {
  std::uint64_t now = s.word.load(os::memory_order_relaxed);
  while ((now & kWaitOpen) != 0 && now >> kWaitGenerationShift == generation) {
    const std::uint64_t ended = generation << kWaitGenerationShift | static_cast<std::uint64_t>(end) << kWaitEndShift;
    if (s.word.compare_exchange_weak(now, ended, os::memory_order_acq_rel, os::memory_order_relaxed)) {
      return (now & kWaitParked) != 0 ? Won::parked : Won::early;
    }
  }
  return Won::no;
}

/// Ends the wait that stands in a queue whose lock the caller holds: its owner takes itself off that queue before
/// it opens another one, so it is this wait.
inline Won wait_win_queued(WaitState& s) noexcept {
  return wait_win(s, s.word.load(os::memory_order_relaxed) >> kWaitGenerationShift, WaitEnd::done);
}

}  // namespace gort::inline v0::rt
