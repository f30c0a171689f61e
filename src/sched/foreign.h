// gort: how a foreign thread (one that gort did not make) waits inside gort: it sleeps on a note, and its
// waiter's ready() rings that.
//
// The record does not lie on the thread's stack: whoever completes the wait may still touch it when the
// thread has gone on (gort/waiter.h: the waiter may be reused before ready returns), and the collector
// scans stacks. It comes from a pool and is given back by both sides.
#pragma once

#include "base/note.h"
#include "gort/waiter.h"
#include "sched/wait_state.h"

namespace gort::inline v0::rt {

class [[nodiscard]] ForeignWait {
 public:
  ForeignWait() noexcept;
  ForeignWait(const ForeignWait&) = delete;
  ForeignWait& operator=(const ForeignWait&) = delete;
  ~ForeignWait();

  /// To be queued.
  waiter* get() noexcept;
  /// For a wait that may end in several ways.
  WaitState* state() noexcept;
  /// Blocks the thread until the waiter is completed. While it blocks, the thread counts as one that cannot
  /// help anybody (check_dead).
  void wait() noexcept;
  /// As wait(), until `deadline`; false: it has passed, and nobody has completed the waiter yet. The thread counts as
  /// one that can still act.
  [[nodiscard]] bool wait_until(std::int64_t deadline) noexcept;

  /// It was not queued after all.
  void unused() noexcept;

  struct Record;

 private:
  Record* record_ = nullptr;
};

}  // namespace gort::inline v0::rt
