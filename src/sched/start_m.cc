// Waking and starting Ms. A P travels from its last owner to an M that sleeps; rule R says that nothing in
// between can be stopped, so each function here holds its P in an OwnedP from the moment it has it until
// the receiving M is written down (hand_to_m) or the P is idle.
//
// No function here creates a thread or waits for one: without an idle M the P goes to the idle list, its
// goroutines to the global queue, and an *order* stays behind. That removes by construction the
// limbo of golang/go#42237 (a P in the hand of a startm that was preempted while it created a thread) and
// of #38931 (a P riding with a thread request that nobody serves).
#include "base/fault.h"
#include "sched/captives.h"
#include "sched/old_ways.h"
#include "sched/sched.h"
#include "sched/stop_point.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

void start_m(OwnedP p, bool spinning) noexcept {
  test_point(TestPoint::start_m_has_p);
  if (fault(Fault::s2)) old_start_m_stop();
  if (old_needs_request()) return old_send_request(std::move(p), spinning);
  sched.lock.lock();
  M* m = sched.idle_m.pop();
  if (m == nullptr) {
    // The P carries no goroutines into the idle list: whoever serves the order finds them globally.
    Queue1<G, &G::link> batch;
    while (G* g = p->runq.get()) batch.push_back(g);
    if (G* g = p->runq.get_next(); g != nullptr) batch.push_front(g);
    global_put_batch(batch);
    M* const captive = settle_p(std::move(p));
    ++sched.orders;
    if (spinning) ++sched.orders_spinning;
    const bool watcher_sleeps = sched.nwatching != 0;
    sched.lock.unlock();
    if (watcher_sleeps) break_idle_wait();  // a thread that can serve it at once
    if (captive != nullptr) captive->park.wakeup();
    want_threads();
    return;
  }
  --sched.nmidle;
  sched.lock.unlock();
  GORT_CHECK(!m->spinning && m->p == nullptr, "start_m: the idle M is not idle");
  m->spinning = spinning;
  hand_to_m(std::move(p), m);
  m->park.wakeup();
}

namespace {

/// The caller has the only P: nobody else could run anything.
bool alone_with_p() noexcept {
  if (sched.nprocs != 1) return false;
  const M* m = self_m();
  return m != nullptr && m->p != nullptr;
}

/// Behind the fence of whoever has made work visible.
void wake_p_fenced() noexcept {
  if (sched.nmspinning.load(os::memory_order_relaxed) != 0) return;
  if (sched.npidle.load(os::memory_order_relaxed) == 0 &&
      sched.need_spinning.load(os::memory_order_relaxed) != 0) {
    return;  // nobody could be woken, and the next M that would go idle knows that it must look again
  }
  std::int32_t expected = 0;
  if (!sched.nmspinning.compare_exchange_strong(expected, 1, os::memory_order_seq_cst)) return;
  sched.lock.lock();
  MaybeOwnedP p = pidle_get_spinning();
  sched.lock.unlock();
  if (!p) {
    const std::int32_t before = sched.nmspinning.fetch_sub(1, os::memory_order_seq_cst);
    GORT_CHECK(before > 0, "nmspinning is negative");
    return;
  }
  // It looks at everything, for those too who found no idle P before. As become_spinning(), without its fence: the M
  // that looks gets the P, or the order, from us by a release and an acquire (litmus "wake_p, searcher").
  sched.need_spinning.store(0, os::memory_order_relaxed);
  start_m(p.take(), true);
}

}  // namespace

void wake_p() noexcept {
  if (alone_with_p()) return;
  // Partner of the fence in idle() (schedule.cc): the caller's work is visible before we read the counts.
  os::fence(os::memory_order_seq_cst);
  wake_p_fenced();
}

void wake_p_after_rmw() noexcept {
  if (alone_with_p()) return;
  os::fence_after_rmw();  // partner: as in wake_p
  wake_p_fenced();
}

namespace {

/// Under a stop, or with a captive whose turn it is, that is where the P goes, whatever work there is.
/// True: it has gone.
bool hand_off_before_work(OwnedP& p, bool captives_first) noexcept {
  sched.lock.lock();
  if (stop_requested()) {
    stop_owned_p(std::move(p));
    sched.lock.unlock();
    return true;
  }
  M* captive = nullptr;
  if (captives_first || captives_turn(p.operator->(), os::nanotime())) captive = captive_get();
  if (captive != nullptr) hand_to_captive_m(std::move(p), captive);
  sched.lock.unlock();
  if (captive == nullptr) return false;
  captive->park.wakeup();
  return true;
}

}  // namespace

void hand_off_p(OwnedP p, bool captives_first) noexcept {
  run_safe_point(p.operator->());
  if ((stop_requested() || sched.ncaptive.load(os::memory_order_relaxed) != 0) &&
      hand_off_before_work(p, captives_first)) {
    return;
  }
  // If find_runnable on this P would return a goroutine, an M must be started.
  if (!p->runq.empty() || sched.global_size.load(os::memory_order_relaxed) != 0) {
    start_m(std::move(p), false);
    return;
  }
  // Nobody spins and nobody is idle: work may just be becoming visible, and we are the last who could see it.
  std::int32_t expected = 0;
  if (sched.nmspinning.load(os::memory_order_relaxed) == 0 &&
      sched.npidle.load(os::memory_order_relaxed) == 0 &&
      sched.nmspinning.compare_exchange_strong(expected, 1, os::memory_order_seq_cst)) {
    sched.need_spinning.store(0, os::memory_order_relaxed);  // as in wake_p
    start_m(std::move(p), true);
    return;
  }
  sched.lock.lock();
  if (!sched.global.empty()) {
    sched.lock.unlock();
    start_m(std::move(p), false);
    return;
  }
  M* const captive = settle_p(std::move(p));
  sched.lock.unlock();
  if (captive != nullptr) captive->park.wakeup();
  // It went idle without an M that looks after the timers and the network. Partner: timer_set_earlier. That it is idle can be
  // seen before we look: the release of a lock is a plain store, and does not see to that.
  os::fence(os::memory_order_seq_cst);
  const std::int64_t when = watch_wanted();
  if (__builtin_expect(when != kNoTimer, 0)) timer_set_earlier(when);
}

}  // namespace gort::inline v0::rt
