#include "sched/stop_point.h"

#include "base/fault.h"
#include "os/signal.h"
#include "sched/captives.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/start.h"
#include "sched/switch.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kSpin = 20'000;  // ns: a restart often comes sooner than a sleep and a wake would take

// The kernel compares the word as a plain 32-bit number.
template <class Status>
os::atomic<std::uint32_t>* futex_of(os::atomic<Status>* status) noexcept {
  static_assert(sizeof(*status) == sizeof(os::atomic<std::uint32_t>));
  return reinterpret_cast<os::atomic<std::uint32_t>*>(status);
}

/// Waits while p is stopped. May return early.
void sleep_while_stopped(P* p) noexcept {
  if (sched.cpus.load(os::memory_order_relaxed) > 1) {
    const std::int64_t until = os::nanotime() + kSpin;
    for (std::int64_t now = 0; now < until; now = os::nanotime()) {
      for (int i = 0; i < 8; ++i) {
        if (p->status.load(os::memory_order_acquire) != PStatus::stopped) return;
        os::cpu_relax(4);
      }
      // Whoever else wants this processor may be the initiator, or somebody for whom that waits.
      os::thread_yield();
    }
  }
  // Partner: wake_p_sleeper reads `asleep` after it has changed the status.
  p->asleep.store(1, os::memory_order_seq_cst);
  if (p->status.load(os::memory_order_seq_cst) == PStatus::stopped) {
    os::futex_wait(futex_of(&p->status), static_cast<std::uint32_t>(PStatus::stopped), -1);
  }
  p->asleep.store(0, os::memory_order_relaxed);
}

/// The M may not stop yet (L3), and a stop waits for it: it comes by again as soon as it may. Its own timer costs less
/// than a signal from another processor, comes at the right time, and needs nobody else to get the CPU. Where there is
/// no timer to be had, the initiator asks again.
void come_back_to_stop(M* m, std::int64_t ns) noexcept {
  if (sched.stopping.load(os::memory_order_relaxed) == kStopInPlace) (void)come_back(m, kPendingStop, ns);
}

/// L3: whether the goroutine that was stopped in the middle of user code has had something of the P since.
bool has_run(M* m) noexcept {
  if (m->resumed_cpu < 0 || fault(Fault::progress)) return true;
  const std::int64_t now = os::thread_cputime();
  const std::int64_t left = kLeastRun - (now - m->resumed_cpu);
  if (left > 0) {
    come_back_to_stop(m, left > kLeastRun / 2 ? left : kLeastRun / 2);
    // What is spent here is not progress: on a virtual machine to set the timer alone may take as long.
    m->resumed_cpu += os::thread_cputime() - now;
    return false;
  }
  m->resumed_cpu = -1;
  return true;
}

/// A P that was stopped too late: the stop is over (given up at its deadline), perhaps without having seen it. Under
/// the lock, or the next stop could have counted it already.
bool take_back_stopped(P* p, PStatus to) noexcept {
  if (stop_requested()) return false;
  LockGuard guard(sched.lock);
  PStatus expected = PStatus::stopped;
  return !stop_requested() && p->status.compare_exchange_strong(expected, to, os::memory_order_seq_cst);
}

}  // namespace

bool come_back(M* m, std::uint32_t bit, std::int64_t ns) noexcept {
  if (!debug_settings.asyncpreempt) return false;
  m->timer_asks |= bit;
  return os::timer_arm(&m->timer, os::kSigUrg, ns);
}

void came_back(M* m) noexcept {
  std::uint32_t bits = m->timer_asks;
  m->timer_asks = 0;
  m->timer.armed = false;
  if (!stop_requested()) bits &= ~static_cast<std::uint32_t>(kPendingStop);
  m->pending.fetch_or(bits, os::memory_order_relaxed);
}

void stay_away(M* m) noexcept {
  if (!m->timer.armed) return;
  os::timer_disarm(&m->timer);
  m->timer_asks &= ~static_cast<std::uint32_t>(kPendingStop);
  came_back(m);
}

void wake_p_sleeper(P* p) noexcept {
  if (p->asleep.load(os::memory_order_seq_cst) != 0) os::futex_wake(futex_of(&p->status), 1);
}

bool await_p(M* m, P* p) noexcept {
  bool was_stopped = false;
  for (;;) {
    switch (p->status.load(os::memory_order_acquire)) {
      case PStatus::handed: {
        PStatus expected = PStatus::handed;
        // Acquire: what the last owner wrote, or what was done to the P while the world stood.
        if (!p->status.compare_exchange_strong(expected, PStatus::running, os::memory_order_seq_cst,
                                               os::memory_order_acquire)) {
          continue;  // claimed by a stop
        }
        GORT_CHECK(p->m.load(os::memory_order_relaxed) == m, "a P was handed to somebody else");
        // for_each_p saw it handed, and may be running its function.
        while (p->safe_point.load(os::memory_order_seq_cst) != kSafePointDone) {
          run_safe_point(p);
          os::cpu_relax(16);
        }
        if (was_stopped) m->resumed_cpu = os::thread_cputime();
        m->p = p;
        // Taken in the middle of a stop, which claimed it before and waits now. Partner: the initiator sets `stopping`
        // and then looks at the status.
        if (stop_requested()) come_back_to_stop(m, kLeastRun + kLeastRun / 4);
        return true;
      }
      case PStatus::stopped:
        was_stopped = true;
        sleep_while_stopped(p);
        break;
      case PStatus::retired: {
        // gomaxprocs has taken it. Or it comes back at this moment, and is this M's as if nothing had been.
        PStatus expected = PStatus::retired;
        if (!p->status.compare_exchange_strong(expected, PStatus::dead, os::memory_order_acq_rel)) continue;
        m->p = nullptr;
        return false;
      }
      default:
        GORT_CHECK(false, "await_p: the P is neither handed, stopped nor retired");
    }
  }
}

namespace {

/// Who queues on p gets another P: where nobody else would steal, whoever is to end the hold may be among them.
void leave_queue(P* p) noexcept {
  if (p == nullptr || p->runq.empty() || fault(Fault::hold_queue)) return;
  Queue1<G, &G::link> batch;
  if (G* g = p->runq.get_next(); g != nullptr) batch.push_back(g);
  while (G* g = p->runq.get()) batch.push_back(g);
  {
    LockGuard guard(sched.lock);
    global_put_batch(batch);
  }
  wake_p_if_idle();
}

}  // namespace

void hold_here(M* m) noexcept {
  m->pending.fetch_and(~static_cast<std::uint32_t>(kPendingHold), os::memory_order_acquire);
  G* g = m->curg;
  if (m->hold_wanted.load(os::memory_order_acquire) != g) return;  // another goroutine was meant
  leave_queue(m->p);
  g->status.store(GStatus::held, os::memory_order_release);
  // In this order, so that who finds its wish taken finds the goroutine held.
  G* expected = g;
  if (!m->hold_wanted.compare_exchange_strong(expected, nullptr, os::memory_order_acq_rel)) {
    g->status.store(GStatus::running, os::memory_order_relaxed);  // withdrawn
    return;
  }
  while (g->status.load(os::memory_order_acquire) == GStatus::held) {
    os::futex_wait(futex_of(&g->status), static_cast<std::uint32_t>(GStatus::held), -1);
  }
}

bool stop_here(M* m) noexcept {
  m->pending.fetch_and(~static_cast<std::uint32_t>(kPendingStop), os::memory_order_acquire);
  stay_away(m);
  if (m->holds_world) return true;  // a request for the stop before, or our own
  // In the middle of user code for a stop in place only. That one is never given up, so it waits for this P from the
  // moment that it is seen here.
  const std::uint32_t how = sched.stopping.load(os::memory_order_seq_cst);
  if (how == kNotStopping || (m->inside && how != kStopInPlace)) return true;
  GORT_DCHECK((os::tls().locks == 0 && os::tls().owned == 0) || fault(Fault::s2),
              "stop_here: with runtime locks or a P in hand");
  P* p = m->p;
  p->claimed.store(false, os::memory_order_relaxed);
  // Sequentially consistent against the initiator: it says whom it awaits and looks at the status.
  p->status.store(PStatus::stopped, os::memory_order_seq_cst);
  tell_stopped(p);
  if (take_back_stopped(p, PStatus::running)) return true;
  if (!await_p(m, p)) return false;
  m->resumed_cpu = os::thread_cputime();  // also if the restart was faster than our sleep
  return true;
}

void serve_here(M* m, const void* ucontext) noexcept {
  std::uint32_t not_now = 0;
  m->inside = ucontext != nullptr;
  m->interrupted.store(ucontext, os::memory_order_release);
  for (;;) {
    const std::uint32_t asked = m->pending.load(os::memory_order_acquire) & kPendingHere & ~not_now;
    if (asked == 0) break;
    if ((asked & kPendingSafePoint) != 0) {
      m->pending.fetch_and(~static_cast<std::uint32_t>(kPendingSafePoint), os::memory_order_acquire);
      run_safe_point(m->p);
    }
    if ((asked & kPendingHold) != 0) hold_here(m);
    if ((asked & kPendingStop) != 0) {
      if (ucontext == nullptr) {
        m->resumed_cpu = -1;  // it came here by itself, so it has run
      } else if (sched.stopping.load(os::memory_order_relaxed) == kStopAtCalls || !has_run(m)) {
        not_now |= kPendingStop;  // stays asked for
        continue;
      }
      if (!stop_here(m)) wait_for_p_here(m, m->inside);
    }
    if ((asked & kPendingYield) != 0) {
      m->pending.fetch_and(~static_cast<std::uint32_t>(kPendingYield), os::memory_order_acquire);
      m->asleep_streak = 0;
      give_up_p(m, false, 0);
    }
  }
  m->interrupted.store(nullptr, os::memory_order_relaxed);
  m->inside = false;
}

void let_in() noexcept {
  M* m = self_m();
  if (m == nullptr || m->curg == nullptr || m->p == nullptr) return;
  GORT_DCHECK(os::tls().locks == 0, "let_in: with runtime locks");
  if ((m->pending.load(os::memory_order_relaxed) & kPendingHere) == 0 || fault(Fault::cancel_at_once)) return;
  san::stands_still();
  serve_here(m, nullptr);
  san::goes_on();
}

void stop_owned_p(OwnedP owned) noexcept {
  GORT_DCHECK(sched.lock.held(), "stop_owned_p: under sched.lock");
  P* p = std::move(owned).die();
  p->m.store(nullptr, os::memory_order_relaxed);
  p->claimed.store(false, os::memory_order_relaxed);
  p->status.store(PStatus::stopped, os::memory_order_seq_cst);
  tell_stopped(p);
}

void stop_p_in_call(P* p) noexcept {
  PStatus expected = PStatus::syscall;
  if (!p->status.compare_exchange_strong(expected, PStatus::stopped, os::memory_order_seq_cst,
                                         os::memory_order_relaxed)) {
    return;  // taken by somebody who stops it
  }
  tell_stopped(p);
  (void)take_back_stopped(p, PStatus::syscall);
}

void tell_stopped(P* p) noexcept {
  // Whoever is awaited looks in the initiator's stead for the next one that has not stopped: it is woken once.
  // If it wakes by itself meanwhile, it awaits nobody, or somebody anew, and is rung in vain at worst. Then the number of
  // Ps may change while we look, and Ps their places. Acquire: a place that is counted has a P (proc_resize). One that
  // was passed over by that is looked at by the initiator itself, when it is rung or its patience ends (a millisecond).
  for (std::int32_t i = p->id.load(os::memory_order_relaxed); sched.awaited.load(os::memory_order_seq_cst) == p;) {
    do {
      if (++i >= sched.nprocs.load(os::memory_order_acquire)) return sched.stop_note.ring();
    } while (p_at(i)->status.load(os::memory_order_seq_cst) == PStatus::stopped);
    P* expected = p;
    // Partner: as in the initiator's own: first it is said who is awaited, then looked at the status.
    if (!sched.awaited.compare_exchange_strong(expected, p_at(i), os::memory_order_seq_cst)) return;
    p = p_at(i);
    if (p->status.load(os::memory_order_seq_cst) != PStatus::stopped) return;
  }
}

void run_safe_point_slow(P* p) noexcept {
  std::uint32_t expected = kSafePointAsked;
  if (!p->safe_point.compare_exchange_strong(expected, kSafePointRuns, os::memory_order_acq_rel)) return;
  sched.safe_point_fn(p, sched.safe_point_arg);
  // Sequentially consistent, as in stop_here: the initiator says whom it awaits and looks.
  p->safe_point.store(kSafePointDone, os::memory_order_seq_cst);
  if (sched.awaited.load(os::memory_order_seq_cst) == p) sched.stop_note.ring();
}

// ---- the system stack, and back ---------------------------------------------------------------

namespace {

struct ParkedCall {
  void (*fn)(void*);
  void* arg;
};

/// On the M's own stack; the goroutine's context is complete.
void after_parked(M* m, G* left) noexcept {
  const ParkedCall call = *static_cast<ParkedCall*>(m->after_arg);
  left->m = m;  // it has not left its M: whoever looks for it finds it here
  left->status.store(GStatus::waiting, os::memory_order_release);
  call.fn(call.arg);
  GORT_CHECK(self_m() == m && m->curg == nullptr, "parked_on_system_stack: the function has switched");
  // A walker that has claimed the context lets go soon: it cannot be stopped meanwhile.
  leave_status(left, GStatus::waiting, GStatus::running);
  // Not from here: each stop would leave a frame on this stack until the loop comes round.
  m->back = left;
}

}  // namespace

void parked_on_system_stack(void (*fn)(void*), void* arg, WaitReason reason) noexcept {
  M* m = self_m();
  if (m == nullptr) return fn(arg);
  G* g = m->curg;
  GORT_CHECK(g != nullptr, "parked_on_system_stack: not on a goroutine's stack");
  ParkedCall call{fn, arg};
  g->wait_reason = reason;
  m->after_arg = &call;
  switch_from_g(m, g, nullptr, after_parked);
}

}  // namespace gort::inline v0::rt
