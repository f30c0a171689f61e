#include "gort/world.h"

#include "api/chan_wait.h"
#include "api/start.h"
#include "base/fault.h"
#include "gort/this_goroutine.h"
#include "sched/entry.h"
#include "sched/runs.h"
#include "sched/sched.h"
#include "sync/semaphore.h"
#include "world/stop_at_calls.h"
#include "world/world.h"

namespace gort::inline v0 {

namespace {

/// Users' stops, one at a time: worldsema knows no deadlines, and other stops are short.
constinit rt::SyncWord turn{1};

void give_turn() noexcept {
  if (!rt::units_try_release(&turn, 1)) rt::units_release(&turn, 1);
}

bool take_turn(std::int64_t deadline) noexcept {
  if (rt::fault(rt::Fault::stop_turns)) deadline = detail::kNoDeadline;
  return rt::units_try_acquire(&turn, 1) || rt::units_acquire(&turn, 1, deadline, nullptr) == rt::WaitEnd::done;
}

/// From here to the restart, if it is in time.
bool stop_within(const char* reason, std::int64_t ns) noexcept {
  const std::int64_t until = os::nanotime_in(ns);
  rt::right_begins();
  bool stopped = false;
  // Who has stopped the world is told so by user_stop.
  if (rt::user_stop_is_mine() || take_turn(detail::deadline_in(ns))) {
    stopped = rt::user_stop(reason, until - os::nanotime());
    if (!stopped) give_turn();
  }
  if (!stopped) rt::right_ends();
  return stopped;
}

}  // namespace

stopped_world stop_world(const char* reason, std::chrono::nanoseconds deadline) {
  detail::ensure_started();
  rt::RuntimeEntry entry;
  return stopped_world(stop_within(reason, deadline.count() > 0 ? deadline.count() : 0));
}

void stopped_world::restart() noexcept {
  if (!stopped_) return;
  stopped_ = false;
  rt::RuntimeEntry entry;
  rt::user_start();
  give_turn();
  rt::right_ends();
}

int max_procs(int n) {
  detail::ensure_started();
  rt::RuntimeEntry entry;
  return rt::gomaxprocs(n);
}

}  // namespace gort::inline v0
