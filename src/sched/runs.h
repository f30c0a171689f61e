// gort: the beginnings and ends of runs, and what a run leaves over.
//
// A run is one call of gort::run. While any is in progress, all goroutines belong to one *epoch*; when the
// last run ends, the epoch does, and goroutines of it that still exist are left over: they are never
// dispatched again, since static destructors may be next. What is started while no run is in progress, by a foreign
// thread, belongs to the epoch of the next one, and to its background: its end cancels them.
//
//   a left-over goroutine that is …   is stopped for good
//   on a queue, or readied later      when it is about to be dispatched (schedule)
//   in a blocking call                at the end of the call (exit_blocking)
//   running                           at its next yield or poll, or when it parks; run_ends waits for
//                                     that a moment, but code that never calls gort cannot be stopped
//   about to stop the world           when it has given the right to do that back (right_ends)
//
// Left-over goroutines are not counted by num_goroutine, and what they start is left over as well.
#pragma once

#include <cstdint>

#include "sched/sched.h"

namespace gort::inline v0::rt {

/// What the ends of runs need of the floor of contexts. Set before the first run.
struct BackgroundHooks {
  CancelSource* (*make)() noexcept = nullptr;
  void (*unused)(CancelSource*) noexcept = nullptr;
  void (*cancel)(CancelSource*) noexcept = nullptr;     ///< again and again until nobody is left or time is up
  void (*inherited)(CancelSource*) noexcept = nullptr;  ///< goroutines in it may be left, in another run
  void (*over)(CancelSource*) noexcept = nullptr;       ///< nobody is left in it, nor in those inherited
};

/// A run begins. Before its main goroutine is started. Any thread without P. Whether no other is in progress.
bool run_begins(const BackgroundHooks& hooks) noexcept;

/// A run is over. If it was the last one, cancels the other goroutines and gives them `grace_ns` to end as long as
/// any of them can still run, then ends the epoch, unless another run begins meanwhile: that one inherits them.
/// Reports them by name unless `quiet`. Blocks the thread.
void run_ends(std::int64_t grace_ns, bool quiet, const BackgroundHooks& hooks) noexcept;

/// Whether g's run has ended.
inline bool left_over(const G* g) noexcept {
  // Sequentially consistent against end_epoch: it changes the epoch and looks for running Ps, a goroutine
  // takes its P and looks at the epoch.
  return g->run_epoch != sched.run_epoch.load(os::memory_order_seq_cst) && !g->system;
}

/// Whether g must not run any more. Not yet, while it has a right that is the whole runtime's, and would take it along.
inline bool over(const G* g) noexcept { return left_over(g) && g->rights == 0; }

/// The current goroutine has, or waits for, such a right until right_ends(). Nests. On a foreign thread: nothing.
void right_begins() noexcept;
/// Does not return in the outermost pair of a left-over goroutine, unless a runtime lock is held.
void right_ends() noexcept;

}  // namespace gort::inline v0::rt
