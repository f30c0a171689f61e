// The initiator's side of a stop. The others' is sched/stop_point.cc.
#include "world/stop.h"

#include "base/fault.h"
#include "base/running_time.h"
#include "sched/captives.h"
#include "sched/park.h"
#include "sched/procs.h"
#include "sched/runs.h"
#include "sched/start.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kFirstRepeat = 100'000;  // ns until those who have not stopped are asked again
constexpr std::int64_t kMostRepeat = 1'000'000;
constexpr std::int64_t kSpin = 60'000;          // ns that the initiator looks before it sleeps
constexpr std::uint32_t kSpinAgain = 16;        // one stop of so many spins although the last one did so in vain

constinit os::atomic<bool> stopped{false};

/// One stop, on the initiator's stack.
struct Stop {
  Stopping how;
  std::int64_t deadline;  // nanotime; negative: none
  std::int64_t begin;
  RunningTime lasts;      // since the beginning, or the last report that it takes long
  const G* by;            // null: a foreign thread
  bool begun = false;
  bool in_time = false;
};

/// A stop that may fail, and that nobody wants any more: the run of whose goroutine it is has ended.
bool abandoned(const Stop& s) noexcept { return s.deadline >= 0 && s.by != nullptr && left_over(s.by); }

bool given_up(const Stop& s, std::int64_t now) noexcept { return (s.deadline >= 0 && now >= s.deadline) || abandoned(s); }

bool claim(P* p, PStatus from) noexcept {
  return p->status.compare_exchange_strong(from, PStatus::stopped, os::memory_order_seq_cst,
                                           os::memory_order_relaxed);
}

/// A P that nobody uses right now is stopped from here.
void try_claim(P* p, const Stop& s, std::int64_t now) noexcept {
  switch (p->status.load(os::memory_order_seq_cst)) {
    case PStatus::syscall:
      if (claim(p, PStatus::syscall)) p->syscalltick.fetch_add(1, os::memory_order_relaxed);
      break;
    case PStatus::handed:
      // The M has not woken. Taken once; who was taken so may use the P before it is taken again (L3). A captive may
      // be in the middle of user code: a stop at calls waits until it runs.
      if (s.how == kStopAtCalls || fault(Fault::handed)) break;
      if (p->claimed.load(os::memory_order_relaxed) && !fault(Fault::progress) && now - s.begin < kClaimWait) break;
      if (claim(p, PStatus::handed)) p->claimed.store(true, os::memory_order_relaxed);
      break;
    default:
      break;
  }
}

void ask(P* p) noexcept {
  if (p->status.load(os::memory_order_seq_cst) != PStatus::running) return;
  M* m = p->m.load(os::memory_order_acquire);
  if (m == nullptr || m == self_m()) return;
  m->pending.fetch_or(kPendingStop, os::memory_order_seq_cst);
  if (debug_settings.asyncpreempt && sched_hooks.preempt != nullptr) sched_hooks.preempt(m, false);
}

bool has_stopped(P* p) noexcept { return p->status.load(os::memory_order_seq_cst) == PStatus::stopped; }

void report_if_slow(Stop& s, std::int64_t now) noexcept {
  if (s.lasts.look(now) < debug_settings.slow_stop_ns || sched_hooks.stop_slow == nullptr) return;
  sched_hooks.stop_slow(now - s.begin);
  s.lasts.begin(os::nanotime());
}

/// Claims all Ps from `first` on that have not stopped, or asks their Ms. Returns how many are left.
int ask_all(const Stop& s, std::int32_t first, std::int64_t now) noexcept {
  int left = 0;
  for (std::int32_t i = first; i < sched.nprocs.load(os::memory_order_relaxed); ++i) {
    try_claim(p_at(i), s, now);
    ask(p_at(i));
    if (!has_stopped(p_at(i))) ++left;
  }
  return left;
}

/// Sleeps until everybody has stopped, as far as those who stop can see, or the time is over. p has not.
void sleep_until_stopped(P* p, std::int64_t ns) noexcept {
  // Partner: tell_stopped reads `awaited` after the P's status has changed.
  sched.awaited.store(p, os::memory_order_seq_cst);
  if (!has_stopped(p)) sched.stop_note.sleep_for(ns);
  sched.awaited.store(nullptr, os::memory_order_seq_cst);
  sched.stop_note.clear();
}

/// How long the initiator spins. Waking it costs tens of microseconds where its processor has nothing else to do. But if
/// that has something (the awaited thread, another program), the spinning is what everybody waits for: then it must
/// not, and what shows that is that it was in vain.
class Spin {
 public:
  std::int64_t ns(int awaited) noexcept {
    if (awaited >= sched.cpus.load(os::memory_order_relaxed)) return 0;
    return in_vain_ && ++since_ % kSpinAgain != 0 ? 0 : kSpin;
  }
  void ended(bool in_vain) noexcept { in_vain_ = in_vain; }

 private:
  bool in_vain_ = false;
  std::uint32_t since_ = 0;
};
constinit Spin spin;  // guarded by worldsema

/// Asks everybody to stop, and waits until they have. False: the deadline is over.
bool await_all(Stop& s) noexcept {
  const std::int32_t n = sched.nprocs.load(os::memory_order_relaxed);
  const int left = ask_all(s, 0, s.begin);
  test_point(TestPoint::world_requested);
  const std::int64_t spin_ns = spin.ns(left);
  const std::int64_t spin_until = s.begin + spin_ns;
  bool slept = false;
  std::int64_t repeat = kFirstRepeat;
  std::int64_t asked = s.begin;
  for (std::int32_t first = 0;;) {
    while (first < n && has_stopped(p_at(first))) ++first;
    if (first == n) break;
    const std::int64_t now = os::nanotime();
    if (given_up(s, now)) return false;
    if (now - asked >= repeat) {
      asked = now;
      repeat = repeat * 2 < kMostRepeat ? repeat * 2 : kMostRepeat;
      if (!fault(Fault::resend)) ask_all(s, first, now);
      if (repeat == kMostRepeat && sched_hooks.not_answered != nullptr) sched_hooks.not_answered();
      report_if_slow(s, now);
      continue;
    }
    try_claim(p_at(first), s, now);
    if (now < spin_until) {
      os::cpu_relax(16);
    } else {
      slept = true;
      sleep_until_stopped(p_at(first), repeat - (now - asked));
    }
  }
  if (spin_ns != 0) spin.ended(slept);
  return true;
}

/// Under sched.lock: from now on no P goes idle, and those that are have stopped. False: goroutines are off their Ps in
/// the middle of user code. One of them may hold malloc's lock, and who stops at calls may allocate; so they run
/// first. Once the stop has begun, nobody is taken off like that (give_up_p, serve_asleep).
bool begin(Stopping how) noexcept {
  if (how == kStopAtCalls && sched.ninside != 0) return false;
  sched.stopping.store(how, os::memory_order_seq_cst);
  while (MaybeOwnedP p = pidle_get()) stop_owned_p(p.take());
  M* m = self_m();
  if (m == nullptr || m->p == nullptr) return true;
  m->p->claimed.store(false, os::memory_order_relaxed);
  m->p->status.store(PStatus::stopped, os::memory_order_seq_cst);
  return true;
}

void check_all_stopped() noexcept {
  for (std::int32_t i = 0; i < sched.nprocs.load(os::memory_order_relaxed); ++i) {
    GORT_CHECK(has_stopped(p_at(i)), "stop_the_world: a P has not stopped");
  }
}

/// On the M's own stack: the goroutine is parked as far as anybody can see (S1).
void stop_on_system_stack(void* arg) {
  Stop& s = *static_cast<Stop*>(arg);
  {
    LockGuard guard(sched.lock);
    s.begun = begin(s.how);
  }
  if (!s.begun) return;
  s.in_time = await_all(s);
  if (s.in_time) check_all_stopped();
  stopped.store(s.in_time, os::memory_order_relaxed);
  if (M* m = self_m(); m != nullptr) m->holds_world = s.in_time;
}

/// Their turn, with this thread's P if it has one.
void let_captives_run() noexcept {
  M* m = self_m();
  if (m == nullptr || m->p == nullptr || !hand_to_captive(m)) {
    // They sleep in the kernel, or run on other Ps soon. Whoever else waits for this P shall not wait for that.
    if (m != nullptr) yield();
    os::sleep_ns(kFirstRepeat);
    return;
  }
  m->inside = false;
  wait_for_p_here(m, false);
}

// ---- the restart --------------------------------------------------------------------------------

/// A P that no M waits for, under sched.lock: to a captive (returned, to be woken) or idle. Left alone if it has work:
/// that needs start_m, which takes the lock itself.
M* place(P* p) noexcept {
  if (!p->runq.empty()) return nullptr;
  MaybeOwnedP owned = take_stopped_p(p);
  return owned ? settle_p(owned.take()) : nullptr;
}

/// Under sched.lock. Those who are to be woken afterwards are put on `wake`.
void release_ps(P* own, Stack1<M, &M::link>& wake) noexcept {
  for (std::int32_t i = 0; i < sched.nprocs.load(os::memory_order_relaxed); ++i) {
    P* p = p_at(i);
    if (p == own) {
      p->status.store(PStatus::running, os::memory_order_release);
    } else if (p->m.load(os::memory_order_acquire) != nullptr) {
      // Or it has taken the P itself: it stopped late, and saw that the stop is over.
      PStatus expected = PStatus::stopped;
      p->status.compare_exchange_strong(expected, PStatus::handed, os::memory_order_seq_cst);
    } else if (has_stopped(p)) {
      if (M* m = place(p); m != nullptr) wake.push(m);
    }
  }
}

void wake_waiting(P* own) noexcept {
  for (std::int32_t i = 0; i < sched.nprocs.load(os::memory_order_relaxed); ++i) {
    P* p = p_at(i);
    if (p == own) continue;
    wake_p_sleeper(p);
    // Still stopped: it has goroutines and no M.
    if (!has_stopped(p) || p->m.load(os::memory_order_acquire) != nullptr) continue;
    if (MaybeOwnedP owned = take_stopped_p(p); owned) start_m(owned.take(), false);
  }
}

}  // namespace

bool stop_everybody(Stopping how, std::int64_t now, std::int64_t deadline) noexcept {
  Stop s{how, deadline, now, {}, current_g()};
  s.lasts.begin(now);
  for (;;) {
    if (abandoned(s)) return false;
    if (fault(Fault::s1)) {
      stop_on_system_stack(&s);
    } else {
      parked_on_system_stack(stop_on_system_stack, &s, WaitReason::stopping_the_world);
    }
    if (s.in_time) return true;
    if (s.begun) {
      start_everybody(0);
      return false;
    }
    if (given_up(s, os::nanotime())) return false;
    let_captives_run();
  }
}

bool everybody_stopped() noexcept { return stopped.load(os::memory_order_relaxed); }

void start_everybody(std::int32_t new_procs) noexcept {
  M* self = self_m();
  P* own = self != nullptr ? self->p : nullptr;
  Stack1<M, &M::link> wake;
  {
    LockGuard guard(sched.lock);
    if (new_procs != 0) proc_resize(new_procs, own);
    stopped.store(false, os::memory_order_relaxed);
    if (self != nullptr) self->holds_world = false;
    sched.stopping.store(kNotStopping, os::memory_order_seq_cst);
    release_ps(own, wake);
  }
  wake_waiting(own);
  while (M* m = wake.pop()) m->park.wakeup();
  // A P that is idle now, though no M has looked at the timers on the way. Partner: timer_set_earlier, as in hand_off_p.
  os::fence(os::memory_order_seq_cst);
  if (const std::int64_t when = watch_wanted(); when != kNoTimer) timer_set_earlier(when);
  // What came while nobody could be woken: ready() and `go` of foreign threads, which found no idle P.
  if (sched.global_size.load(os::memory_order_seq_cst) != 0 || sched.need_spinning.load(os::memory_order_seq_cst) != 0) {
    wake_p();
  }
}

}  // namespace gort::inline v0::rt
