// gort: stopping the world: the right to do it, the stop, the restart.
//
//   WorldHold w = stop_the_world(StopReason::all_stacks);   // nobody else runs goroutines now
//   …                                                       // no malloc, no user code
//   start_the_world(std::move(w));
//
// Two rights, each a semaphore on which goroutines park (foreign threads: sleep):
//
//   worldsema   the right to stop the world, or to ask all Ps something (for_each_p). Whoever has it sees a
//               constant number of Ps.                                                      WorldHold
//   gcsema      "no mark phase is running and none may begin", or "I am the mark phase".     GcHold
//
// Hold order: gcsema, worldsema, sched.lock, the other locks by rank. A WorldHold is short; a GcHold lasts a
// whole mark phase and may pass from one goroutine to another. Only what must not meet a running mark takes both
// (stop_the_world_gc: gomaxprocs).
//
// The end of a run leaves over no goroutine that has a WorldHold or a WorldGcHold, or waits for one, before it has given
// that back (sched/runs.h): a right that is parked for good is nobody's. So the goroutine that took one gives it back. (A
// GcHold alone may pass to another one: whoever takes it belongs to no run.)
//
// A hold belongs to a phase, not to an M: its owner may park with it (and does, while it waits for the next one).
// It is movable, not copyable; losing one is a failed CHECK in every build.
//
// How a running P is stopped is in sched/stop_point.h. While the world is stopped, Ms stand in signal handlers
// in the middle of any user code, malloc's included: no libc that takes locks, no malloc, no user code. (For users
// there is gort::stop_world, which stops goroutines at calls into gort only.)
//
// Fairness. worldsema is released by direct handoff under NoPreempt: the waiter has it before the releaser can
// come again, and the releaser keeps its time slice (founding bug S0). While it waits for others to stop, the
// initiator is published as waiting, its stack can be scanned and its P counts as stopped (S1). Both semaphores
// are taken on the goroutine's stack, before the switch to the M's own (S4).
#pragma once

#include <cstdint>
#include <utility>

#include "base/check.h"
#include "sched/p.h"
#include "sema/sema.h"

namespace gort::inline v0::rt {

/// Why the world is stopped. The texts are stable: traces and metrics show them.
enum class StopReason : std::uint8_t {
  gomaxprocs,       ///< "GOMAXPROCS"
  all_stacks,       ///< "all goroutines stack trace"
  goroutine_profile,///< "goroutine profile"
  read_mem_stats,   ///< "read mem stats"
  write_heap_dump,  ///< "write heap dump"
  start_trace,      ///< "start trace"
  stop_trace,       ///< "stop trace"
  for_each_p,       ///< "for each P": worldsema held, world not stopped
  user,             ///< "user": gort::stop_world
  gc_mark_start,    ///< "GC sweep termination"
  gc_mark_end,      ///< "GC mark termination"
  test,             ///< "test"
};
inline constexpr int kStopReasons = 12;
const char* stop_reason_text(StopReason r) noexcept;
/// Whether its pauses are booked as the collector's (two histograms, docs/world.md).
constexpr bool is_gc_reason(StopReason r) noexcept {
  return r == StopReason::gc_mark_start || r == StopReason::gc_mark_end;
}

/// The right to stop the world; perhaps the world is stopped under it.
class [[nodiscard]] WorldHold {
 public:
  WorldHold(WorldHold&& other) noexcept : held_(std::exchange(other.held_, false)), reason_(other.reason_) {}
  WorldHold(const WorldHold&) = delete;
  WorldHold& operator=(WorldHold&&) = delete;
  ~WorldHold() { GORT_CHECK(!held_, "a WorldHold was dropped: nobody can stop the world any more"); }
  StopReason reason() const noexcept { return reason_; }

 private:
  explicit WorldHold(StopReason r) noexcept : held_(true), reason_(r) {}
  bool held_;
  StopReason reason_;
  friend WorldHold world_acquire(StopReason) noexcept;
  friend void world_release(WorldHold) noexcept;
  friend void hold_for_user(WorldHold) noexcept;
  friend WorldHold held_for_user() noexcept;
};

/// "No mark phase is running, and none may begin", or "I am it".
class [[nodiscard]] GcHold {
 public:
  GcHold(GcHold&& other) noexcept : held_(std::exchange(other.held_, false)) {}
  GcHold(const GcHold&) = delete;
  GcHold& operator=(GcHold&&) = delete;
  ~GcHold() { GORT_CHECK(!held_, "a GcHold was dropped: no mark phase can begin any more"); }

 private:
  GcHold() noexcept : held_(true) {}
  bool held_;
  friend GcHold gc_acquire() noexcept;
  friend void gc_release(GcHold) noexcept;
};

/// The two rights, as semaphores of one unit: for reports; taken and released by the functions below.
extern SemWord worldsema;
extern SemWord gcsema;

/// Takes worldsema; parks until it is free. Inside the runtime, on a goroutine's stack or a foreign thread; with
/// no lock and no WorldHold held. May change the thread.
WorldHold world_acquire(StopReason reason) noexcept;
/// Gives it to the oldest waiter. Never parks, never yields; but a goroutine whose run has ended meanwhile goes no farther.
void world_release(WorldHold hold) noexcept;

/// Stops every P but leaves this goroutine running. Bounded by what holds a thread up in the kernel; does not
/// yield. Inside the runtime.
void stop_with(WorldHold& hold) noexcept;
/// Lets everybody go on; worldsema stays held. Does not yield.
void start_with(WorldHold& hold) noexcept;

/// world_acquire and stop_with.
WorldHold stop_the_world(StopReason reason) noexcept;
/// start_with and world_release, with nothing in between that could stop the caller.
void start_the_world(WorldHold hold) noexcept;

/// Takes gcsema; parks until no mark phase runs. As world_acquire, and before it in the hold order.
GcHold gc_acquire() noexcept;
void gc_release(GcHold hold) noexcept;

struct [[nodiscard]] WorldGcHold {
  GcHold gc;
  WorldHold world;
};
/// Stops the world when no mark phase runs.
WorldGcHold stop_the_world_gc(StopReason reason) noexcept;
void start_the_world_gc(WorldGcHold hold) noexcept;

/// As stop_with, but goroutines stop at calls into gort only, and only until `deadline` (nanotime): false then, and
/// everybody goes on.
bool stop_at_calls(WorldHold& hold, std::int64_t deadline) noexcept;
/// Between gort::stop_world and its restart the hold is kept here.
void hold_for_user(WorldHold hold) noexcept;
WorldHold held_for_user() noexcept;

/// Whether the world is stopped now. Exact only for who stopped it.
bool world_stopped() noexcept;

/// The ragged barrier: runs fn(p, arg) once for every P at a moment when nobody uses that P, without stopping
/// all of them at once, and returns when all have. fn runs on the P's own thread (perhaps in its signal handler,
/// in the middle of user code) or here for Ps that nobody runs: no lock, no malloc, bounded. Inside the runtime.
void for_each_p(WorldHold& hold, void (*fn)(P* p, void* arg) noexcept, void* arg) noexcept;

/// Go's GOMAXPROCS: sets the number of Ps, returns the one before. 0, negative and equal values change nothing and
/// never stop the world; above kMaxProcs means kMaxProcs. Waits for the end of a mark phase. May park.
std::int32_t gomaxprocs(std::int32_t n) noexcept;
/// For sched_hooks.set_default_procs: the same, if nobody has ever called the other. In user context.
void gomaxprocs_default(std::int32_t n) noexcept;

}  // namespace gort::inline v0::rt
