#include "sched/watch.h"

#include "base/fault.h"
#include "sched/check_dead.h"
#include "sched/park.h"

namespace gort::inline v0::rt {

constinit os::atomic<std::int64_t> sysmon_looks{kNoPromise};

namespace {

/// The slot is this M's: from now on who sets a timer relies on us.
bool take_slot() noexcept {
  std::int64_t nobody = kNobody;
  return sched.watch_until.compare_exchange_strong(nobody, kAwake, os::memory_order_seq_cst);
}

/// Sleeps until something is due, or until there may be something else to do. The time that it slept for; kNoTimer:
/// there is nothing to wait for. *come: what has come from the network.
std::int64_t sleep_until_due(waiter** come) noexcept {
  sched.idle_note.clear();
  const std::int64_t when = watch_wanted();
  if (when == kNoTimer || when <= os::nanotime()) return when;
  sched.watch_until.store(when, os::memory_order_seq_cst);  // S1
  if (watch_wanted() >= when) {                             // S2
    bool orders = false;
    {
      LockGuard guard(sched.lock);
      orders = sched.orders != 0;
      sched.nwatching = 1;
      ++sched.watches;
      if (!orders) check_dead();
    }
    if (!orders) *come = idle_wait(when);  // S3
    LockGuard guard(sched.lock);
    sched.nwatching = 0;
  }
  sched.watch_until.store(kAwake, os::memory_order_seq_cst);
  return when;
}

/// Something is due, or somebody wants a thread: the watcher leaves its post with an idle P, if there is one.
bool leave_with_p() noexcept {
  sched.watch_until.store(kNobody, os::memory_order_seq_cst);
  sched.lock.lock();
  MaybeOwnedP p = pidle_get();
  sched.lock.unlock();
  if (!p) return false;  // all busy, or stopped: who idles one, or restarts the world, brings a watcher
  wire(p.take());
  return true;
}

bool orders_wait() noexcept {
  LockGuard guard(sched.lock);
  return sched.orders != 0;
}

}  // namespace

std::int64_t earliest_timer() noexcept {
  std::int64_t when = kNoTimer;
  const std::int32_t n = sched.nprocs.load(os::memory_order_acquire);
  for (std::int32_t i = 0; i < n; ++i) {
    const std::int64_t w = p_at(i)->timer_when.load(os::memory_order_seq_cst);
    if (w < when) when = w;
  }
  return when;
}

std::int64_t watch_wanted() noexcept {
  const std::int64_t when = earliest_timer();
  return when == kNoTimer && sched.net_waiting.load(os::memory_order_seq_cst) != 0 ? kForever : when;
}

bool net_ready(waiter* chain) noexcept {
  if (chain == nullptr) return false;
  const M* m = self_m();
  const bool has_p = m != nullptr && m->p != nullptr;
  int queued = 0;
  while (chain != nullptr) {
    waiter* w = chain;
    chain = w->next;
    if (w->ready == ready_waiter) {
      ready_quietly(g_of(w));
      ++queued;
    } else {
      w->ready(w);
    }
  }
  // Who has a P runs the first one itself, and at once: it is on its way there.
  if (queued > (has_p ? 1 : 0)) wake_p();
  return true;
}

void run_all_timers(std::int64_t now) noexcept {
  const std::int32_t n = sched.nprocs.load(os::memory_order_acquire);
  for (std::int32_t i = 0; i < n; ++i) {
    P* p = p_at(i);
    if (p->timer_when.load(os::memory_order_acquire) <= now) sched_hooks.run_timers(p, now);
  }
}

void timer_set_earlier(std::int64_t when) noexcept {
  // Partner: S1 and S2 in sleep_until_due. The timer can be seen before we look who watches.
  os::fence(os::memory_order_seq_cst);
  const std::int64_t until = sched.watch_until.load(os::memory_order_seq_cst);
  if (until == kNobody) {
    if (when != kForever && when >= sysmon_looks.load(os::memory_order_seq_cst)) return;
    if (sched.npidle.load(os::memory_order_seq_cst) != 0) wake_p();
  } else if (until > when && !fault(Fault::timer_break)) {
    break_idle_wait();
  }
}

Watch watch_timers(M* m) noexcept {
  GORT_DCHECK(m->p == nullptr && !m->spinning && os::tls().locks == 0, "watch_timers: with a P or locks");
  for (;;) {
    const std::int64_t seen = watch_wanted();
    if (seen == kNoTimer || sched.npidle.load(os::memory_order_seq_cst) == 0) return Watch::not_needed;
    if (!take_slot()) {
      // Who watches may have gone to sleep for longer.
      if (sched.watch_until.load(os::memory_order_seq_cst) == kNobody) continue;
      timer_set_earlier(seen);
      return Watch::not_needed;
    }
    waiter* come = nullptr;
    while (sleep_until_due(&come) != kNoTimer) {
      if (come != nullptr) {
        // With a P, if there is one: then they need not pass through the global queue.
        const bool has_p = leave_with_p();
        net_ready(come);
        return has_p ? Watch::has_p : Watch::not_needed;
      }
      if (orders_wait()) {
        sched.watch_until.store(kNobody, os::memory_order_seq_cst);
        return Watch::orders;
      }
      const std::int64_t now = os::nanotime();
      if (earliest_timer() > now) continue;
      if (!leave_with_p()) return Watch::not_needed;
      run_all_timers(now);
      return Watch::has_p;
    }
    sched.watch_until.store(kNobody, os::memory_order_seq_cst);
    // A timer that was set meanwhile relied on the watcher: look again.
  }
}

bool timers_pending(std::int64_t until) noexcept {
  return earliest_timer() < until && sched_hooks.timers_pending(until);
}

waiter* idle_wait(std::int64_t deadline) noexcept {
  if (sched.net_started.load(os::memory_order_seq_cst)) return sched_hooks.net_sleep(deadline);
  sched.idle_note.sleep_for(deadline - os::nanotime());
  return nullptr;
}

void break_idle_wait() noexcept {
  if (sched.net_started.load(os::memory_order_seq_cst)) return sched_hooks.net_break();
  sched.idle_note.ring();
}

}  // namespace gort::inline v0::rt
