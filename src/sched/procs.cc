#include "sched/procs.h"

#include "base/alloc.h"
#include "sched/stack_cache.h"
#include "sched/start.h"
#include "sched/stop_point.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

/// A new P, or one that died before.
void revive(std::int32_t place) noexcept {
  P* p = p_at(place);
  if (p == nullptr) {
    p = ::new (persistent_alloc(sizeof(P), alignof(P))) P(place);
    sched.all_p[place].store(p, os::memory_order_release);
  }
  if (p->timers.load(os::memory_order_acquire) != nullptr) sched_hooks.move_timers(p, nullptr);
  // An M that has not noticed yet that the P was gone keeps it. Not waited for: it may itself wait for sched.lock.
  PStatus expected = PStatus::retired;
  if (p->status.compare_exchange_strong(expected, PStatus::stopped, os::memory_order_acq_rel)) {
    if (p->m.load(os::memory_order_relaxed)->inside) --sched.ninside;
    return;
  }
  p->m.store(nullptr, os::memory_order_relaxed);
  p->status.store(PStatus::stopped, os::memory_order_relaxed);
}

void retire(P* p) noexcept {
  Queue1<G, &G::link> batch;
  if (G* g = p->runq.get_next(); g != nullptr) batch.push_back(g);
  while (G* g = p->runq.get()) batch.push_back(g);
  // Before those who queue already: they have been waiting in the queue of a P that ran.
  batch.append(sched.global);
  global_put_batch(batch);
  if (p->timers.load(os::memory_order_acquire) != nullptr) sched_hooks.move_timers(p, p_at(0));
  {
    LockGuard guard(sched.g_free_lock);
    while (G* g = p->g_free.pop()) sched.g_free.push(g);
    Stack s;
    while (p->stacks.pop(&s)) sched.stacks.push(s);
  }
  // An M in the middle of user code that has to wait for another P. (It takes itself off the count.)
  if (const M* m = p->m.load(os::memory_order_relaxed); m != nullptr && m->inside) ++sched.ninside;
  stack_unclaim_all(p);
  sched.g_started.fetch_add(p->g_started.exchange(0, os::memory_order_relaxed), os::memory_order_release);
  sched.g_ended.fetch_add(p->g_ended.exchange(0, os::memory_order_relaxed), os::memory_order_release);
  const bool waited_for = p->m.load(os::memory_order_acquire) != nullptr;
  // Else the M may get it back, and has still had nothing of it (L3).
  if (!waited_for) p->claimed.store(false, os::memory_order_relaxed);
  p->status.store(waited_for ? PStatus::retired : PStatus::dead, os::memory_order_seq_cst);
  wake_p_sleeper(p);
}

void swap_places(P* a, P* b) noexcept {
  // Who has told that its P is stopped may still look where that is (tell_stopped).
  const std::int32_t i = a->id.load(os::memory_order_relaxed);
  const std::int32_t j = b->id.load(os::memory_order_relaxed);
  a->id.store(j, os::memory_order_relaxed);
  b->id.store(i, os::memory_order_relaxed);
  sched.all_p[j].store(a, os::memory_order_relaxed);
  sched.all_p[i].store(b, os::memory_order_relaxed);
  // Partner: heap_of (sync/timers.cc). A foreign thread gives the first P a heap, then looks who is the first; we retire that
  // one after this, with its heap.
  os::fence(os::memory_order_seq_cst);
}

}  // namespace

void proc_resize(std::int32_t n, P* own) noexcept {
  GORT_CHECK(sched.lock.held() && n >= 1 && n <= kMaxProcs, "proc_resize: without the lock, or out of range");
  const std::int32_t before = sched.nprocs.load(os::memory_order_relaxed);
  // Partner: steady in spawn.cc. Who adds up the Ps' counts meanwhile would miss some, or have them twice.
  const std::uint32_t moves = sched.g_moves.load(os::memory_order_relaxed);
  sched.g_moves.store(moves + 1, os::memory_order_relaxed);
  os::fence(os::memory_order_release);
  if (own != nullptr && own->id.load(os::memory_order_relaxed) >= n) swap_places(own, p_at(0));
  for (std::int32_t i = n; i < before; ++i) retire(p_at(i));
  for (std::int32_t i = before; i < n; ++i) revive(i);
  sched.nprocs.store(n, os::memory_order_release);
  sched.g_moves.store(moves + 2, os::memory_order_release);
  sched.many_captives.store(many_captives(n), os::memory_order_relaxed);
}

}  // namespace gort::inline v0::rt
