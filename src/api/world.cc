#include "gort/world.h"

#include "api/start.h"
#include "gort/this_goroutine.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "world/stop_at_calls.h"
#include "world/world.h"

namespace gort::inline v0 {

stopped_world stop_world(const char* reason, std::chrono::nanoseconds deadline) {
  detail::ensure_started();
  rt::RuntimeEntry entry;
  return stopped_world(rt::user_stop(reason, deadline.count()));
}

void stopped_world::restart() noexcept {
  if (!stopped_) return;
  stopped_ = false;
  rt::RuntimeEntry entry;
  rt::user_start();
}

int max_procs(int n) {
  detail::ensure_started();
  rt::RuntimeEntry entry;
  return rt::gomaxprocs(n);
}

}  // namespace gort::inline v0
