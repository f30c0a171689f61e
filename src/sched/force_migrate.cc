#include "sched/force_migrate.h"

#if defined(GORT_TESTING)

#include "sched/sched.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

constinit os::atomic<bool> force_migrate_on{false};

namespace {

constexpr std::int64_t kPatience = 2'000'000;  // ns for threads that are on their way to the idle list

bool an_m_is_idle() noexcept {
  LockGuard guard(sched.lock);
  return sched.nmidle > 0;
}

/// A goroutine could go round hundreds of times while the thread that it came from falls asleep.
bool await_idle_m() noexcept {
  for (const std::int64_t deadline = os::nanotime() + kPatience; !an_m_is_idle(); os::thread_yield()) {
    if (os::nanotime() > deadline || stop_requested()) return false;
  }
  return true;
}

}  // namespace

bool force_migrate_away(M* m, G* g) noexcept {
  // If the idle M has gone when start_m looks, an order stays behind, which this M may serve itself: then it comes
  // here again, and finds another idle one or none.
  const bool begins = g->ctx.sp == nullptr;
  if (begins || g->last_m != m || g->locked_m != nullptr || !await_idle_m()) {
    g->last_m = m;
    return false;
  }
  runq_put(m->p, g, true);
  start_m(release_p(), false);
  return true;
}

}  // namespace gort::inline v0::rt

#endif
