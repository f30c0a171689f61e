// gort simulator: strategies, the part that decides which thread makes the next step.
//
// A strategy is a pure function of the run's options and of what it has been told so far; it never
// looks at addresses or real time. A new one implements Schedule and gets a name in SimStrategy.
#pragma once

#include <cstdint>

#include "os/sim/random.h"
#include "os/sim/sim.h"

namespace gort::inline v0::os::sim {

inline constexpr int kMaxThreads = 4096;

/// One decision.
struct Choice {
  const std::uint16_t* runnable;  ///< threads that can run, in no particular but reproducible order
  int count;                      ///< at least 1
  int current;                    ///< the thread that made the last step; -1 if it cannot go on
  SimOp op;                       ///< what `current` would do next
  std::uint64_t step;             ///< number of this step, from 1
  int by_default;                 ///< who goes on if nothing else is wanted (SimStrategy::script)

  /// The current thread says that it only waits for others.
  bool yields() const noexcept {
    return op == SimOp::yield || op == SimOp::relax || op == SimOp::sleep;
  }
};

class Schedule {
 public:
  virtual void begin(const SimOptions& options) noexcept = 0;
  /// A thread has come into being; called before it can be in a Choice.
  virtual void created(int thread) noexcept = 0;
  /// One of choice.runnable.
  virtual int pick(const Choice& choice) noexcept = 0;
  /// Any other decision, of a strategy without dice.
  virtual std::uint64_t decide(SimChoice what, std::uint64_t by_default) noexcept {
    (void)what;
    return by_default;
  }
  /// The threads that the next decision, a `wake`, can choose from: a bit each.
  virtual void offer(std::uint64_t threads) noexcept { (void)threads; }

 protected:
  ~Schedule() = default;
};

/// SimStrategy::exhaustive (explore.cc).
Schedule& exhaustive_schedule() noexcept;
/// For it, also from runs of other strategies: who has to do with which words.
void note_step(int thread, bool in_handler, SimOp op, const void* where) noexcept;
/// The strategy's only object.
Schedule& schedule_of(SimStrategy s) noexcept;

}  // namespace gort::inline v0::os::sim
