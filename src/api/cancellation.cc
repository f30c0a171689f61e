#include "api/cancellation.h"

#include <exception>

#include "gort/cancelled.h"
#include "sched/m.h"
#include "sched/sched.h"

namespace gort::inline v0::detail {

rt::CancelSource* cancellation() noexcept {
  const rt::M* m = rt::self_m();
  const rt::G* g = m != nullptr ? m->curg : nullptr;
  if (g == nullptr || g->cancel == nullptr || std::uncaught_exceptions() != 0) return nullptr;
  return g->cancel;
}

void throw_cancelled() { throw cancelled(); }

}  // namespace gort::inline v0::detail
