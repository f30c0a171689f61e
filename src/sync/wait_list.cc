#include "sync/wait_list.h"

#include "sched/sched.h"

namespace gort::inline v0::rt {

namespace {
constexpr int kSpins = 4;  // Go's number: together about a microsecond
}

bool spin_pays(int round) noexcept {
  if (round >= kSpins) return false;
  const M* m = self_m();
  if (m == nullptr) return sched.cpus.load(os::memory_order_relaxed) > 1;
  const std::int32_t procs = sched.nprocs.load(os::memory_order_relaxed);
  if (procs <= 1 || m->p == nullptr || !m->p->runq.empty()) return false;
  return procs > sched.npidle.load(os::memory_order_relaxed) + sched.nmspinning.load(os::memory_order_relaxed) + 1;
}

}  // namespace gort::inline v0::rt
