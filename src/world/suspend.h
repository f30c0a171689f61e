// gort: holding one goroutine still, to look at it: its traceback, its place in a profile, its stack.
//
//   {
//     SuspendedG held = suspend_g(g);
//     if (held) …                        // its stack and its context are at rest. Short: no park, no yield
//   }
//
//   the goroutine …                            how it is held
//   waits, stops the world, runs for_each_p    claimed where it is: its status goes from waiting to held by a CAS, and
//                                              whoever would make it run spins meanwhile (leave_status)
//   is a captive                               likewise
//   runs                                       asked to wait in place, as for a stop (hold_here); its P stays with it,
//                                              who queues there goes to the global queue
//   is runnable                                waited for: it runs soon. If it is so each time that it is looked at (it
//                                              runs while the requester does not, as on one P), the world is stopped
//                                              for as long as it is held
//   is in gort::blocking, or dead              not at all
//
// The requester waits for an answer of another goroutine, so it must not itself be what that one waits for. Two rules:
//
//   * Requests queue for worldsema, on which the requester *parks*: meanwhile its P can be stopped, and nobody stops the
//     world while a request waits for its answer.
//   * Who stops the world or runs for_each_p is published as waiting meanwhile (parked_on_system_stack), so it can
//     be claimed by somebody who has not got worldsema: claim_g.
//
// Without them a stop and a request wait for each other for ever: the initiator for the requester's P, the requester
// for the initiator (founding bug S1).
#pragma once

#include <optional>
#include <utility>

#include "sched/g.h"
#include "world/world.h"

namespace gort::inline v0::rt {

/// Claims a goroutine that waits or is a captive. False: it does not, or somebody else has it. Never waits. Any
/// thread; whoever has claimed one is not stopped and does not park before unclaim_g. `was`: for that.
[[nodiscard]] bool claim_g(G* g, GStatus* was) noexcept;
void unclaim_g(G* g, GStatus was) noexcept;

/// A goroutine that is held still as long as this lives; or none.
class [[nodiscard]] SuspendedG {
 public:
  SuspendedG(SuspendedG&& other) noexcept
      : g_(std::exchange(other.g_, nullptr)),
        was_(other.was_),
        hold_(std::move(other.hold_)),
        stopped_(std::exchange(other.stopped_, nullptr)) {
    other.hold_.reset();
  }
  SuspendedG(const SuspendedG&) = delete;
  SuspendedG& operator=(SuspendedG&&) = delete;
  ~SuspendedG() { resume(); }

  explicit operator bool() const noexcept { return g_ != nullptr; }
  /// What it was doing: waiting, runnable, captive, or running. Its context is saved if it waits or is runnable (one
  /// that has never run has none yet); else its thread stands still (M::interrupted if that is in a signal handler).
  GStatus was() const noexcept { return was_; }
  /// Lets it go on now. A second call does nothing.
  void resume() noexcept;

 private:
  SuspendedG(G* g, GStatus was) noexcept : g_(g), was_(was) {}
  G* g_;
  GStatus was_;
  std::optional<WorldHold> hold_;  // taken by suspend_g for this request
  WorldHold* stopped_ = nullptr;   // the world is stopped for it; under hold_ if that is there
  friend SuspendedG suspend_g(G*, WorldHold&) noexcept;
  friend SuspendedG suspend_g(G*) noexcept;
};

/// By the holder of worldsema, the world not being stopped. May change the thread. Not the calling goroutine itself.
SuspendedG suspend_g(G* g, WorldHold& hold) noexcept;

/// Takes worldsema for the duration. Inside the runtime, on a goroutine's stack or a foreign thread, without locks.
SuspendedG suspend_g(G* g) noexcept;

}  // namespace gort::inline v0::rt
