#include "sync/context_timer.h"

#include <new>
#include <utility>

#include "base/fault.h"
#include "sched/stop_point.h"
#include "sync/timers.h"

namespace gort::inline v0::rt {

namespace {

// Frames of tasks lie there too; a task's context has no deadline of its own.
static_assert(sizeof(Timer) <= sizeof(Context::task) && alignof(Timer) <= alignof(std::max_align_t));
Timer* timer_of(Context* c) noexcept { return std::launder(reinterpret_cast<Timer*>(c->task)); }

// Steps between two looks whether the world is to be stopped: else a loop of stops would leave each of them room for one.
constexpr int kLook = 64;

/// On an M's own stack, or sysmon's, where nobody is let in. So if the world is to be stopped meanwhile, what is left is left
/// to the timer: it goes off once more when the world goes on.
void out_of_time(const TimerShot& shot) noexcept {
  auto* c = static_cast<Context*>(shot.arg);  // is there until its timer is removed, and that waits for us
  CancelRest rest = std::exchange(c->rest, nullptr);
  if (rest == nullptr) rest = context_cancel_begin(c, {kCauseTimedOut, nullptr});
  for (int n = 1; rest != nullptr; ++n) {
    rest = context_cancel_step(rest);
    if (rest == nullptr || n % kLook != 0 || !stop_requested() || fault(Fault::cancel_at_once)) continue;
    if (!c->timed.load(os::memory_order_seq_cst)) continue;  // who removes it waits for the end
    c->rest = rest;
    c->timer_again.store(true, os::memory_order_relaxed);
    timer_arm(timer_of(c), shot.when, 0);  // from here on it may be another thread's
    return;
  }
}

}  // namespace

void context_timer_make(Context* c) noexcept {
  auto* t = ::new (static_cast<void*>(c->task)) Timer;
  t->fire = out_of_time;
  t->arg = c;
}

void context_timer_start(Context* c) noexcept {
  if (c->deadline <= clock_now()) {
    context_cancel(c, {kCauseTimedOut, nullptr});
    return;
  }
  if (c->timed.exchange(true, os::memory_order_acq_rel)) return;  // another thread is at it
  timer_arm(timer_of(c), c->deadline, 0);
}

void context_timer_stop(Context* c) noexcept {
  if (c->timed.load(os::memory_order_acquire)) timer_stop(timer_of(c));
}

CancelRest context_timer_remove(Context* c) noexcept {
  if (!c->timed.load(os::memory_order_acquire)) return nullptr;
  // Before it is taken out, so that one that goes off after that does not arm it again. One that has looked before may.
  c->timed.store(false, os::memory_order_seq_cst);
  timer_remove(timer_of(c));
  if (c->timer_again.load(os::memory_order_relaxed)) timer_remove(timer_of(c));
  return std::exchange(c->rest, nullptr);
}

}  // namespace gort::inline v0::rt
