#include "sched/sysmon.h"

#include "sched/check_dead.h"
#include "sched/sched.h"
#include "sched/start.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kFirstDelay = 20'000;       // ns
constexpr std::int64_t kMostDelay = 10'000'000;
constexpr std::int64_t kWakeDelay = 1'000'000;     // after a deep sleep, when no P is in a call
constexpr int kIdleRounds = 50;                    // rounds without work before the delay doubles
constexpr std::int64_t kLongCall = 10'000'000;     // a P without use for anybody stays in its call so long
constexpr std::int64_t kDeadRecheck = 1'000'000'000;
constexpr std::int64_t kModulesEvery = 1'000'000'000;
constexpr std::int64_t kTrimEvery = 1'000'000'000;

/// Whether P has had the same goroutine for a whole time slice. Blocking calls do not begin a new one: a
/// goroutine that makes one after the other would keep its P from the others for ever.
bool slice_over(P* p, std::int64_t now) noexcept {
  const std::uint32_t tick = p->schedtick.load(os::memory_order_relaxed);
  if (tick != p->seen_schedtick) {
    p->seen_schedtick = tick;
    p->seen_sched_when = now;
    return false;
  }
  return now - p->seen_sched_when >= kTimeSlice;
}

/// A P in a blocking call: taken when the slice is over, or when it has been there for a whole tick, and
/// somebody could use it.
bool retake_from_call(P* p, bool slice_is_over, std::int64_t now) noexcept {
  const std::uint32_t tick = p->syscalltick.load(os::memory_order_relaxed);
  if (!slice_is_over && tick != p->seen_syscalltick) {
    p->seen_syscalltick = tick;
    p->seen_syscall_when = now;
    return false;
  }
  // Nobody waits and others are idle or spin: leave it for a while, the call may end and find it.
  if (p->runq.empty() &&
      sched.nmspinning.load(os::memory_order_relaxed) + sched.npidle.load(os::memory_order_relaxed) > 0 &&
      sched.global_size.load(os::memory_order_relaxed) == 0 && now - p->seen_syscall_when < kLongCall) {
    return false;
  }
  MaybeOwnedP owned = retake_p(p);
  if (!owned) return false;
  hand_off_p(owned.take());
  return true;
}

/// A goroutine that has run too long is asked to yield; a poll, a blocking call or its end heeds that.
void ask_to_yield(P* p) noexcept {
  // The M may have another P by now; a yield too many is harmless, so no lock.
  if (M* m = p->m.load(os::memory_order_relaxed); m != nullptr) {
    m->pending.fetch_or(kPendingYield, os::memory_order_relaxed);
  }
}

/// One look at every P. Returns how many were taken.
int retake(std::int64_t now) noexcept {
  int n = 0;
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    P* p = sched.all_p[i];
    const PStatus status = p->status.load(os::memory_order_acquire);
    if (status != PStatus::running && status != PStatus::syscall) continue;
    const bool over = slice_over(p, now);
    if (status == PStatus::syscall) {
      n += retake_from_call(p, over, now) ? 1 : 0;
    } else if (over) {
      ask_to_yield(p);
    }
  }
  return n;
}

/// Queued goroutines beside an idle P and nobody who searches: a yield may have missed the P that became idle
/// (wake_p_if_idle).
void wake_for_queued() noexcept {
  if (sched.npidle.load(os::memory_order_relaxed) == 0 || sched.nmspinning.load(os::memory_order_relaxed) != 0) {
    return;
  }
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    if (!sched.all_p[i]->runq.empty()) return wake_p();
  }
}

bool any_p_in_call() noexcept {
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    if (sched.all_p[i]->status.load(os::memory_order_seq_cst) == PStatus::syscall) return true;
  }
  return false;
}

/// Every P idle: nothing can become overdue until a goroutine runs.
bool all_idle() noexcept {
  return sched.npidle.load(os::memory_order_relaxed) == sched.nprocs && !any_p_in_call();
}

struct SchedTrace {
  std::int64_t every = 0;  // ns; 0: off
  std::int64_t last = 0;
};

void trace_if_due(SchedTrace& trace, std::int64_t now) noexcept {
  if (trace.every == 0 || now - trace.last < trace.every || sched_hooks.schedtrace == nullptr) return;
  trace.last = now;
  sched_hooks.schedtrace(debug_settings.scheddetail);
}

/// Sleeps until rung, or until something that needs no ring is due.
void deep_sleep(const SchedTrace& trace, bool trim_more, std::int64_t now) noexcept {
  std::int64_t limit = trim_more ? kTrimEvery : -1;
  if (sched.dead_suspected.load(os::memory_order_relaxed)) limit = kDeadRecheck;  // no longer than kTrimEvery
  if (trace.every != 0) {
    const std::int64_t left = trace.last + trace.every - now;
    if (limit < 0 || left < limit) limit = left;
  }
  if (limit < 0) {
    sched.sysmon_note.sleep();
  } else {
    sched.sysmon_note.sleep_for(limit);
  }
}

}  // namespace

void sysmon_ring() noexcept { sched.sysmon_note.ring(); }

void sysmon_thread(void*) noexcept {
  os::thread_set_name("gort-sysmon");
  if (sched_hooks.system_thread_start != nullptr) sched_hooks.system_thread_start();
  os::tls().in_runtime = 1;
  SchedTrace trace{debug_settings.schedtrace_ns, os::nanotime()};
  std::int64_t delay = kFirstDelay;
  std::int64_t modules_when = 0;
  std::int64_t trim_when = os::nanotime();
  bool trim_more = false;
  int idle_rounds = 0;
  for (;;) {
    sched.sysmon_wait.store(true, os::memory_order_seq_cst);
    // Partner of let_p_go and pidle_get: they change the state and read the flag, we set the flag and read
    // the state.
    os::fence(os::memory_order_seq_cst);
    if (all_idle()) {
      trim_more = stack_cache_trimmable();
      deep_sleep(trace, trim_more, os::nanotime());
      delay = any_p_in_call() ? kFirstDelay : kWakeDelay;
      idle_rounds = 0;
    } else {
      sched.sysmon_wait.store(false, os::memory_order_relaxed);
      sched.sysmon_note.sleep_for(delay);
    }
    sched.sysmon_wait.store(false, os::memory_order_relaxed);
    sched.sysmon_note.clear();
    os::fence(os::memory_order_seq_cst);  // as the template thread's: clear before looking
    const std::int64_t now = os::nanotime();
    if (sched_hooks.serve_requests != nullptr) sched_hooks.serve_requests();
    if (now - modules_when > kModulesEvery && sched_hooks.refresh_modules != nullptr) {
      modules_when = now;
      sched_hooks.refresh_modules();
    }
    if (sched.dead_suspected.load(os::memory_order_relaxed)) confirm_dead();
    trace_if_due(trace, now);
    if (now - trim_when >= kTrimEvery) {
      trim_when = now;
      stack_cache_trim();
    }
    idle_rounds = retake(now) > 0 ? 0 : idle_rounds + 1;
    wake_for_queued();
    if (idle_rounds == 0) {
      delay = kFirstDelay;
    } else if (idle_rounds > kIdleRounds) {
      delay = delay * 2 < kMostDelay ? delay * 2 : kMostDelay;
    }
  }
}

}  // namespace gort::inline v0::rt
