// Timers, tickers, after_func. Their callbacks run in the runtime, so they touch records only; users' code is run by
// goroutines and destroyed by whoever lets go of it last, outside.
#include "gort/timer.h"

#include <new>

#include "api/start.h"
#include "api/timer.h"
#include "base/check.h"
#include "sched/alone.h"
#include "sched/entry.h"
#include "sched/runs.h"
#include "sched/spawn.h"
#include "sync/bubble.h"
#include "sync/chan.h"
#include "sync/timers.h"

extern "C" void __lsan_ignore_object(const void* object) __attribute__((weak));

namespace gort::inline v0::detail {

namespace {

std::int64_t time_in(std::int64_t ns) noexcept {
  std::int64_t when = 0;
  return __builtin_add_overflow(rt::clock_for(ns), ns, &when) || when > rt::kTimerLast ? rt::kTimerLast : when;
}

}  // namespace

// ---- channels of timers ------------------------------------------------------------------------

// live   the arming `seq` may still send. Under the channel's lock, as everything that decides what arrives:
//
//   a shot      not live, or of another seq: dropped; else it sends (a ticker's, if there is room) and ends `live`
//   stop        ends `live`, takes back what is in the channel
//   reset       likewise, then a new seq; or, while it is live, the same arming for another time
struct chan_timer {
  rt::Timer t;
  rt::Chan* c = nullptr;  // we lie in its memory; the timer or ticker that owns us has a handle
  rt::Mutex op{rt::LockRank::timer_op};  // one reset at a time
  std::uint64_t seq = 0;                 // under the channel's lock
  bool live = false;                     // likewise
  bool periodic = false;
};

namespace {

void send_time(const rt::TimerShot& shot) noexcept {
  auto* t = static_cast<chan_timer*>(shot.arg);
  rt::Chan* c = t->c;
  rt::ChanWake wake;
  const rt::Held held = rt::lock_or_alone(c->lock);
  if (t->live && t->seq == shot.seq) {
    t->live = t->periodic;
    rt::chan_send_locked(c, &shot.now, &wake);
  }
  rt::unlock(c->lock, held);
  wake.wake();
}

/// Nothing of the past arrives any more. Whether something could have. Under the channel's lock.
bool revoke(chan_timer* t) noexcept {
  const bool was_live = std::exchange(t->live, false);
  rt::timer_stop(&t->t);
  std::int64_t dropped = 0;
  rt::ChanWake nobody;  // who sends is the timer alone, and it does not wait
  const bool taken_back = rt::chan_recv_locked(t->c, &dropped, &nobody) == chan_end::done;
  return was_live || taken_back;
}

/// The usual reset: it has not gone off, and is to do so later.
bool put_off(chan_timer* t, std::int64_t when) noexcept {
  {
    const rt::HeldGuard guard(t->c->lock);
    if (!t->live || !rt::timer_move(&t->t, when)) return false;
  }
  rt::timer_moved(&t->t, when);
  return true;
}

void check_period(const chan_timer* t, std::int64_t ns) noexcept {
  if (t->periodic && ns <= 0) rt::fatal("gort::ticker: the period is not positive");
}

}  // namespace

chan_timer* chan_timer_new(const recv_chan<clock::time_point>& c, std::int64_t ns, bool periodic) {
  static_assert(sizeof(clock::time_point) == sizeof(std::int64_t));
  static_assert(sizeof(chan_timer) <= chan_timer_room.bytes && alignof(chan_timer) <= 16);
  chan_head* const head = c.chan_handle::head();
  auto* t = ::new (chan_beside(head)) chan_timer;
  t->c = static_cast<rt::Chan*>(head);
  t->c->of_timer = true;
  t->periodic = periodic;
  t->t.fire = send_time;
  t->t.arg = t;
  check_period(t, ns);
  if (periodic) t->t.period.store(ns, os::memory_order_relaxed);
  t->live = true;
  ensure_started();
  rt::RuntimeEntry entry;
  rt::timer_settle(&t->t);
  rt::timer_arm(&t->t, time_in(ns), t->seq);
  return t;
}

void chan_timer_delete(chan_timer* t) noexcept {
  if (rt::in_fork_child()) return;
  {
    rt::RuntimeEntry entry;
    rt::timer_remove(&t->t);
  }
  t->~chan_timer();
}

bool chan_timer_stop(chan_timer* t) noexcept {
  if (t == nullptr) return false;
  rt::RuntimeEntry entry;
  const rt::HeldGuard guard(t->c->lock);
  return revoke(t);
}

bool chan_timer_reset(chan_timer* t, std::int64_t ns) noexcept {
  if (t == nullptr) rt::fatal("gort::timer: reset of one that was moved from");
  check_period(t, ns);
  ensure_started();
  rt::RuntimeEntry entry;
  const std::int64_t when = time_in(ns);
  if (!t->periodic && put_off(t, when)) return true;
  rt::LockGuard one(t->op);
  bool was = false;
  std::uint64_t seq = 0;
  {
    const rt::HeldGuard guard(t->c->lock);
    was = revoke(t);
    t->live = true;
    seq = ++t->seq;
  }
  if (t->periodic) t->t.period.store(ns, os::memory_order_relaxed);
  rt::timer_arm(&t->t, when, seq);
  return was;
}

// ---- after_func --------------------------------------------------------------------------------

namespace {

// A reference is held by the handle, by each arming (it goes to the goroutine that is started), by each goroutine.
struct func_core {
  rt::Timer t;
  os::atomic<std::uint32_t> refs{1};
  std::uint32_t run_epoch = 0;
  const void* created_by = nullptr;
};
static_assert(sizeof(func_core) <= sizeof(func_timer::core) && alignof(func_core) <= 8);

func_core* core_of(func_timer* t) noexcept { return std::launder(reinterpret_cast<func_core*>(t->core)); }

void run_func(void* p) {
  auto* t = static_cast<func_timer*>(p);
  rt::san::acquire(t);
  t->run(t);
  func_timer_release(t);
  goroutine_ends();
}

void start_func(const rt::TimerShot& shot) noexcept {
  auto* t = static_cast<func_timer*>(shot.arg);
  func_core* core = core_of(t);
  // Its run has ended: users' code is over. The reference stays, for destroying the function would be such, too.
  if (core->run_epoch != rt::sched.run_epoch.load(os::memory_order_relaxed)) return;
  rt::G* g = rt::g_alloc(0);
  if (g == nullptr) {
    constexpr std::int64_t kLater = 1'000'000;  // no memory for a stack at the moment
    if (rt::timer_arm(&core->t, shot.now + kLater, 0)) core->refs.fetch_sub(1, os::memory_order_relaxed);
    return;
  }
  rt::StartArgs args;
  args.fn = run_func;
  args.arg = t;
  args.created_by_pc = reinterpret_cast<std::uintptr_t>(core->created_by);
  args.run_epoch = core->run_epoch;
  args.bubble = rt::bubble_of(shot.timer);
  rt::g_start(g, args);
}

}  // namespace

void func_timer_dropped(const rt::TimerShot& shot) noexcept {
  if (shot.fire == start_func) func_timer_release(static_cast<func_timer*>(shot.arg));
}

void func_timer_start(func_timer* t, std::int64_t ns, const void* created_by) noexcept {
  ensure_started();
  // Heaps of timers are no memory that it looks into, and what is armed when the program ends is never destroyed.
  if (&__lsan_ignore_object != nullptr) __lsan_ignore_object(t);
  auto* core = ::new (t->core) func_core;
  const rt::G* g = rt::current_g();
  core->run_epoch = g != nullptr ? g->run_epoch : rt::sched.run_epoch.load(os::memory_order_relaxed);
  core->created_by = created_by;
  core->t.fire = start_func;
  core->t.arg = t;
  core->refs.store(2, os::memory_order_relaxed);  // the handle's, and the arming's
  rt::san::release(t);                            // partner: run_func
  rt::RuntimeEntry entry;
  rt::timer_settle(&core->t);
  rt::timer_arm(&core->t, time_in(ns), 0);
}

void func_timer_release(func_timer* t) noexcept {
  if (rt::in_fork_child()) return;
  func_core* core = core_of(t);
  rt::san::release(t);
  if (core->refs.load(os::memory_order_acquire) != 1 && core->refs.fetch_sub(1, os::memory_order_acq_rel) != 1) return;
  rt::san::acquire(t);
  {
    rt::RuntimeEntry entry;
    rt::timer_remove(&core->t);
  }
  t->destroy(t);
}

bool func_timer_stop(func_timer* t) noexcept {
  func_core* core = core_of(t);
  if (!rt::timer_stop(&core->t)) return false;
  core->refs.fetch_sub(1, os::memory_order_release);  // the arming's; not the last, the caller has one
  return true;
}

bool func_timer_reset(func_timer* t, std::int64_t ns) noexcept {
  func_core* core = core_of(t);
  rt::san::release(t);  // partner: run_func
  rt::RuntimeEntry entry;
  const std::int64_t when = time_in(ns);
  if (rt::timer_move(&core->t, when)) {  // the arming, and its reference, go on
    rt::timer_moved(&core->t, when);
    return true;
  }
  core->refs.fetch_add(1, os::memory_order_relaxed);
  const bool was_armed = rt::timer_arm(&core->t, when, 0);
  if (was_armed) core->refs.fetch_sub(1, os::memory_order_relaxed);
  return was_armed;
}

}  // namespace gort::inline v0::detail
