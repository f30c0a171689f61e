#include "world/preempt.h"

#include "sched/sched.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

void serve_interrupt(M* m, const void* ucontext) noexcept {
  os::Tls& t = os::tls();
  // The runtime, or a window: it looks at what is pending when it ends.
  if ((t.in_runtime | t.window) != 0) return;
  GORT_CHECK(t.locks == 0 && t.owned == 0, "user code runs with a runtime lock or a P in hand");
  if (m->p == nullptr || m->curg == nullptr) return;
  t.in_runtime = 1;
  serve_here(m, ucontext);
  t.in_runtime = 0;
}

}  // namespace gort::inline v0::rt
