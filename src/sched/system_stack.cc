#include "sched/system_stack.h"

#include "arch/context.h"
#include "base/check.h"
#include "base/sanitizer.h"
#include "sched/m.h"

namespace gort::inline v0::rt {

namespace {

struct Call {
  void (*fn)(void*);
  void* arg;
  M* m;
  G* g;
};

void call(void* arg) noexcept {
  const Call& c = *static_cast<Call*>(arg);
  san::finish_switch(c.m->san, false);
  c.fn(c.arg);
  GORT_CHECK(self_m() == c.m && c.m->curg == nullptr, "on_system_stack: the function has switched");
  san::start_switch(c.m->san, c.g->san, c.g->stack.lo, c.g->stack.hi, false);
}

}  // namespace

void on_system_stack(void (*fn)(void*), void* arg) noexcept {
  M* m = self_m();
  if (m == nullptr || m->curg == nullptr) {
    fn(arg);
    return;
  }
  GORT_DCHECK(os::tls().in_runtime == 1, "on_system_stack outside the runtime");
  // Below the suspended loop of the M everything is free. A call, not a switch: half the price, and a
  // traceback goes on into the goroutine.
  Call c{fn, arg, m, m->curg};
  m->curg = nullptr;
  san::start_switch(c.g->san, m->san, m->stack_lo, m->stack_hi, false);
  arch::call_on_stack(m->g0_ctx.sp, call, &c);
  san::finish_switch(c.g->san, false);
  m->curg = c.g;
}

}  // namespace gort::inline v0::rt
