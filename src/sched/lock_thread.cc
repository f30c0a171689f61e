#include "sched/lock_thread.h"

#include "sched/entry.h"
#include "sched/old_ways.h"

namespace gort::inline v0::rt {

void lock_os_thread() noexcept {
  RuntimeEntry entry;
  G* g = current_g();
  if (g == nullptr) return;
  M* m = self_m();
  old_first_lock(m);
  ++g->lock_count;
  g->locked_m = m;
  m->locked_g = g;
}

void unlock_os_thread() noexcept {
  RuntimeEntry entry;
  G* g = current_g();
  if (g == nullptr || g->lock_count == 0) return;
  if (--g->lock_count > 0) return;
  self_m()->locked_g = nullptr;
  g->locked_m = nullptr;
}

std::uint32_t os_thread_lock_depth() noexcept {
  RuntimeEntry entry;
  G* g = current_g();
  return g != nullptr ? g->lock_count : 0;
}

}  // namespace gort::inline v0::rt
