// Goroutines that sleep in the kernel with a P, in a raw call or for a lock. See preempt.h.
#include "os/signal.h"
#include "sched/captives.h"
#include "sched/sched.h"
#include "sched/stop_point.h"
#include "world/preempt.h"
#include "world/signal.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kFirstBackOff = 1'000'000;  // ns
constexpr std::int64_t kMostBackOff = 50'000'000;
constexpr std::int64_t kBackOffEach = 500'000;     // more for each that sleeps: their turns cost 100 us each

/// 0, 1, 2, 4 ... 50 ms: how long a goroutine that was found asleep so often in a row waits before it queues.
std::int64_t back_off(std::uint32_t streak) noexcept {
  if (streak == 0) return 0;
  if (streak <= 6) return kFirstBackOff << (streak - 1);
  return kMostBackOff + kBackOffEach * sched.nsleepers.load(os::memory_order_relaxed);
}

bool without_p(void* arg) {
  M* m = static_cast<M*>(arg);
  {
    LockGuard guard(sched.lock);
    if (stop_requested()) return false;
    ++sched.ninside;
  }
  m->curg->status.store(GStatus::captive, os::memory_order_release);
  m->off_p_since = os::nanotime();  // it sleeps at its own cost, and comes before those who lose their P later
  hand_off_p(release_p(), true);
  return true;
}

void with_p_again(void* arg) { wait_for_p_here(static_cast<M*>(arg), true); }

}  // namespace

void serve_asleep(M* m, const void* ucontext) noexcept {
  os::Tls& t = os::tls();
  if ((t.in_runtime | t.window) != 0 || m->p == nullptr || m->curg == nullptr) return;
  if ((!others_wait(m->p) && !queued_for_nobody()) || stop_requested()) return;
  const os::InCall call = os::signal_in_call(ucontext);
  if (call == os::InCall::none) {
    m->asleep_streak = 0;
    return serve_interrupt(m, ucontext);
  }
  m->pending.fetch_and(~static_cast<std::uint32_t>(kPendingYield), os::memory_order_relaxed);  // it does, right here
  t.in_runtime = 1;
  sched.found_asleep.fetch_add(1, os::memory_order_relaxed);
  m->inside = true;
  m->interrupted.store(ucontext, os::memory_order_release);
  m->lock_word = call == os::InCall::restarts ? os::signal_waits_for_lock(ucontext) : nullptr;
  if (call != os::InCall::restarts || !os::signal_reissue(const_cast<void*>(ucontext), without_p, with_p_again, m)) {
    const std::uint32_t streak = m->asleep_streak;
    if (m->asleep_streak < 7) ++m->asleep_streak;
    give_up_p(m, true, back_off(streak));
  }
  m->lock_word = nullptr;
  m->interrupted.store(nullptr, os::memory_order_relaxed);
  m->inside = false;
  t.in_runtime = 0;
  serve_interrupt(m, ucontext);  // what came meanwhile
}

void preempt(M* m, bool asleep) noexcept { ask(m, asleep ? kAskedAsleep : kAskedPreempt); }

void preempt_start() noexcept {
  // In this order: a stop comes before the question whether it sleeps.
  signal_serve(kAskedPreempt, serve_interrupt);
  signal_serve(kAskedAsleep, serve_asleep);
  sched_hooks.preempt = preempt;
}

}  // namespace gort::inline v0::rt
