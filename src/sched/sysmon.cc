#include "sched/sysmon.h"

#include "base/fault.h"
#include "sched/alone.h"
#include "sched/captives.h"
#include "sched/check_dead.h"
#include "sched/parked_stacks.h"
#include "sched/sched.h"
#include "sched/start.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kFirstDelay = 20'000;       // ns
constexpr std::int64_t kMostDelay = 5'000'000;     // half a slice: one that has begun meanwhile is not seen too late
constexpr std::int64_t kWatchOthers = 1'000'000;   // while somebody waits for a P that runs
constexpr std::int64_t kWatchAsleep = 50'000;      // while those who run were asleep in the kernel lately
constexpr std::int64_t kAsleepLately = 20'000'000;
constexpr std::int64_t kStill = 1'000'000;         // a thread's CPU clock that stood still for so long is suspect
constexpr std::int64_t kStillBriefly = 80'000;
constexpr int kClockReads = 32;                    // per round: 200 ns each
constexpr std::int64_t kWakeDelay = 1'000'000;     // after a deep sleep, when no P is in a call
constexpr int kIdleRounds = 50;                    // rounds without work before the delay doubles
constexpr std::int64_t kLongCall = 10'000'000;     // a P without use for anybody stays in its call so long
constexpr std::int64_t kLateTimer = 200'000;       // a P that still switches would have run it
constexpr std::int64_t kLateNet = 1'000'000;       // likewise: it would have asked the poller
constexpr std::int64_t kNearTimer = 500'000;       // a timer that is due so soon has a watcher, if a P is idle
constexpr std::int64_t kDeadRecheck = 1'000'000'000;
constexpr std::int64_t kModulesEvery = 1'000'000'000;
constexpr int kProcsRounds = 3;  // of kModulesEvery: the cgroup's limit of processors is read again
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

/// What sysmon has found on one P that runs: who looks at it more closely, and how soon again.
struct Seen {
  bool others = false;  ///< somebody waits for a P that runs: come back soon
  bool asleep = false;  ///< goroutines were found asleep in the kernel lately: they cost 100 us each, not 1 ms
};

/// Sets the bit and sends a signal, unless signals are off. The M may have another P by now; a request too many is
/// harmless, so no lock.
void ask(M* m, std::uint32_t bit, bool asleep) noexcept {
  if (bit != 0) m->pending.fetch_or(bit, os::memory_order_release);
  if (debug_settings.asyncpreempt && sched_hooks.preempt != nullptr) sched_hooks.preempt(m, asleep);
}

/// Whether m's thread has stood still since the last look at this P, which was at least `least` ns ago.
bool stands_still(P* p, M* m, std::int64_t now, std::int64_t least) noexcept {
  const int tid = m->tid.load(os::memory_order_relaxed);
  const std::int64_t cpu = tid != 0 ? os::thread_cputime_of(tid) : -1;
  if (cpu < 0 || cpu != p->seen_cpu) {
    p->seen_cpu = cpu;
    p->seen_cpu_when = now;
    return false;
  }
  return now - p->seen_cpu_when >= least;
}

/// A P that others could use, with a goroutine that does not come back to the scheduler. `elsewhere`: they are queued on
/// other Ps, and have a claim only if it is asleep.
void look_at_running(P* p, bool slice_is_over, bool elsewhere, std::int64_t now, Seen* watch, int* clock_reads) noexcept {
  M* m = p->m.load(os::memory_order_acquire);
  const bool here = others_wait(p);
  if (m == nullptr || !(here || elsewhere)) return;
  watch->others = true;
  const std::uint32_t tick = p->schedtick.load(os::memory_order_relaxed);
  // The captives' turn begins at the next call; that of the others, while a captive has the P, by the end of its slice.
  const bool serves = p->serves_captives.load(os::memory_order_relaxed);
  if (serves && p->captive_tick.load(os::memory_order_relaxed) == tick) {
    const bool work = !p->runq.empty() || sched.global_size.load(os::memory_order_relaxed) != 0;
    slice_is_over |= work && turn_is_over(p, now);
  } else if (sched.ncaptive.load(os::memory_order_relaxed) != 0 && (serves || turn_is_over(p, now))) {
    m->pending.fetch_or(kPendingCaptives, os::memory_order_relaxed);
  }
  if (tick != p->seen_run_tick) {
    p->seen_run_tick = tick;
    p->seen_cpu = -1;
    return;
  }
  const bool look = ++*clock_reads <= kClockReads;
  const bool still = look && stands_still(p, m, now, watch->asleep ? kStillBriefly : kStill);
  // Somebody else may have the P by now: whose slice has just begun, and shall not end for that.
  const bool ends = here && slice_is_over && p->schedtick.load(os::memory_order_relaxed) == tick &&
                    p->m.load(os::memory_order_relaxed) == m;
  if (still) {
    // Or it only waits for a processor: then its slice is over all the same.
    ask(m, ends ? std::uint32_t{kPendingYield} : 0, true);
    p->seen_cpu = -1;
  } else if (ends) {
    ask(m, kPendingYield, false);
  }
}

/// One look at every P. Returns how many were taken.
int retake(std::int64_t now, Seen* watch) noexcept {
  int n = 0;
  int clock_reads = 0;
  const std::uint64_t found = sched.found_asleep.load(os::memory_order_relaxed);
  static std::uint64_t seen_found = 0;
  static std::int64_t seen_found_when = 0;
  if (found != seen_found) {
    seen_found = found;
    seen_found_when = now;
  }
  *watch = {false, now - seen_found_when < kAsleepLately && found != 0};
  const bool elsewhere = queued_for_nobody();
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    P* p = p_at(i);
    const PStatus status = p->status.load(os::memory_order_acquire);
    if (status != PStatus::running && status != PStatus::syscall) continue;
    const bool over = slice_over(p, now);
    if (status == PStatus::syscall) {
      n += retake_from_call(p, over, now) ? 1 : 0;
    } else {
      look_at_running(p, over, elsewhere, now, watch, &clock_reads);
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
    if (!p_at(i)->runq.empty()) return wake_p();
  }
}

/// Timers that nobody has run although they are due: with an idle P the watcher does that; without, every P may be
/// with a goroutine that calls nobody. Who they wake queues globally, and ends a slice there. How soon to look again.
std::int64_t look_at_timers(std::int64_t now) noexcept {
  std::int64_t when = earliest_timer();
  if (when == kNoTimer || sched.npidle.load(os::memory_order_relaxed) != 0) return kMostDelay;
  if (when <= now - kLateTimer) {
    alone_ends();  // what goes off touches what others do
    run_all_timers(now);
    when = earliest_timer();
  }
  const std::int64_t left = when == kNoTimer ? kMostDelay : when - now + kLateTimer;
  return left < kWatchOthers ? kWatchOthers : left < kMostDelay ? left : kMostDelay;
}

/// Somebody waits for the network and nobody has asked the poller for a while: all Ps are busy, or the one that runs does
/// not come back to the scheduler and the others sleep. How soon to look again.
std::int64_t look_at_net(std::int64_t now) noexcept {
  static std::uint64_t seen_polls = 0;
  static std::int64_t seen_when = 0;
  if (!net_to_poll()) return kMostDelay;
  const std::uint64_t polls = sched.net_polls.load(os::memory_order_relaxed);
  if (polls != seen_polls) {
    seen_polls = polls;
    seen_when = now;
  } else if (now - seen_when >= kLateNet) {
    seen_when = now;
    if (sched.npidle.load(os::memory_order_relaxed) != 0) {
      timer_set_earlier(kForever);
    } else {
      alone_ends();  // what is readied touches what others do
      net_ready(sched_hooks.net_poll(nullptr));
    }
  }
  return kLateNet;
}

bool any_p_in_call() noexcept {
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    if (p_at(i)->status.load(os::memory_order_seq_cst) == PStatus::syscall) return true;
  }
  return false;
}

/// Every P idle: nothing can become overdue until a goroutine runs.
bool all_idle() noexcept {
  return sched.npidle.load(os::memory_order_relaxed) == sched.nprocs && !any_p_in_call();
}

/// What is said in watch.h (L1, L2): how long to sleep, at most `delay`, so that no timer without a watcher is late.
std::int64_t promise_timers(std::int64_t delay) noexcept {
  const std::int64_t now = os::nanotime();
  const std::int64_t looks = now + delay + kNearTimer;
  sysmon_looks.store(looks, os::memory_order_seq_cst);  // L1
  os::fence(os::memory_order_seq_cst);
  const std::int64_t when = earliest_timer();  // L2
  if (when >= looks || sched.watch_until.load(os::memory_order_seq_cst) != kNobody) return delay;
  if (sched.npidle.load(os::memory_order_seq_cst) == 0 || fault(Fault::sysmon_watch)) return delay;
  const std::int64_t left = when - kNearTimer - now;
  if (left > 0) return left;
  timer_set_earlier(when);
  return delay;
}

/// All Ps are idle, and nobody looks at anything until one is not.
void take_promise_back() noexcept {
  sysmon_looks.store(kNoPromise, os::memory_order_seq_cst);
  os::fence(os::memory_order_seq_cst);
  if (const std::int64_t when = earliest_timer(); when != kNoTimer) timer_set_earlier(when);
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
  int modules_rounds = 0;
  std::int64_t trim_when = os::nanotime();
  bool trim_more = false;
  std::uint32_t busy = 0;  // Sched::seconds when not all Ps were idle
  int idle_rounds = 0;
  for (;;) {
    sched.sysmon_wait.store(true, os::memory_order_relaxed);
    // Partner of let_p_go and pidle_get: they change the state and read the flag, we set the flag and read
    // the state.
    os::fence(os::memory_order_seq_cst);
    if (all_idle()) {
      take_promise_back();
      trim_more = stack_cache_trimmable() || parked_stacks_trimmable(busy);
      deep_sleep(trace, trim_more, os::nanotime());
      delay = any_p_in_call() ? kFirstDelay : kWakeDelay;
      idle_rounds = 0;
    } else {
      sched.sysmon_wait.store(false, os::memory_order_relaxed);
      busy = sched.seconds.load(os::memory_order_relaxed);
      sched.sysmon_note.sleep_for(promise_timers(delay));
    }
    sched.sysmon_wait.store(false, os::memory_order_relaxed);
    sched.sysmon_note.clear();
    os::fence(os::memory_order_seq_cst);  // as the template thread's: clear before looking
    const std::int64_t now = os::nanotime();
    set_seconds(now);
    if (sched_hooks.serve_requests != nullptr) sched_hooks.serve_requests();
    if (now - modules_when > kModulesEvery && sched_hooks.refresh_modules != nullptr) {
      modules_when = now;
      if (sched_hooks.not_answered != nullptr) sched_hooks.not_answered();
      if (++modules_rounds % kProcsRounds == 0) sched.recheck_procs.store(true, os::memory_order_relaxed);
      // Not here: it takes the loader's lock, and a captive that holds that gets a P again only by slices that end.
      sched.refresh_modules.store(true, os::memory_order_relaxed);
      want_threads();
    }
    if (sched.dead_suspected.load(os::memory_order_relaxed)) confirm_dead();
    trace_if_due(trace, now);
    if (now - trim_when >= kTrimEvery) {
      trim_when = now;
      stack_cache_trim();
      parked_stacks_trim();
    }
    Seen watch;
    idle_rounds = retake(now, &watch) > 0 ? 0 : idle_rounds + 1;
    wake_for_queued();
    if (idle_rounds == 0) {
      delay = kFirstDelay;
    } else if (idle_rounds > kIdleRounds) {
      delay = delay * 2 < kMostDelay ? delay * 2 : kMostDelay;
    }
    const std::int64_t timers = look_at_timers(now);
    const std::int64_t soon = watch.asleep ? kWatchAsleep : watch.others ? kWatchOthers : kMostDelay;
    if (delay > soon) delay = soon;
    if (delay > timers) delay = timers;
    if (const std::int64_t net = look_at_net(now); delay > net) delay = net;
  }
}

}  // namespace gort::inline v0::rt
