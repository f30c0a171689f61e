// The clock and sleeping.
#include "api/cancellation.h"
#include "base/sanitizer.h"
#include "gort/clock.h"
#include "gort/this_goroutine.h"
#include "sched/entry.h"
#include "sync/blocking_wait.h"
#include "sync/timers.h"

namespace gort::inline v0 {

clock::time_point clock::now() noexcept { return time_point(duration(rt::clock_now())); }

namespace {

void sleep_thread(std::int64_t until) noexcept {
  for (std::int64_t now; (now = os::nanotime()) < until;) os::sleep_ns(until - now);
}

}  // namespace

void this_goroutine::sleep_until(clock::time_point when) {
  const std::int64_t until = when.time_since_epoch().count();
  rt::CancelSource* cancel = detail::cancellation();
  if (cancel == nullptr && rt::current_g() == nullptr) return sleep_thread(until);
  rt::WaitEnd end = rt::WaitEnd::timeout;
  if (rt::is_cancelled(cancel)) {
    end = rt::WaitEnd::cancelled;
  } else if (until > rt::clock_now()) {
    rt::RuntimeEntry entry;
    rt::BlockingWait wait(rt::WaitReason::sleep, until, cancel);
    wait.race();
    end = wait.park();
    const rt::G* g = rt::current_g();
    if (g != nullptr && g->bubble != nullptr) rt::san::acquire(g->bubble);  // all others have been blocked meanwhile
  }
  if (end == rt::WaitEnd::cancelled) detail::throw_cancelled();
}

}  // namespace gort::inline v0
