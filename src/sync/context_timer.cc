#include "sync/context_timer.h"

#include <new>

#include "sync/timers.h"

namespace gort::inline v0::rt {

namespace {

// Frames of tasks lie there too; a task's context has no deadline of its own.
static_assert(sizeof(Timer) <= sizeof(Context::task) && alignof(Timer) <= alignof(std::max_align_t));
Timer* timer_of(Context* c) noexcept { return std::launder(reinterpret_cast<Timer*>(c->task)); }

void out_of_time(const TimerShot& shot) noexcept {
  context_cancel(static_cast<Context*>(shot.arg), {kCauseTimedOut, nullptr});
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

void context_timer_remove(Context* c) noexcept {
  if (c->timed.load(os::memory_order_acquire)) timer_remove(timer_of(c));
}

}  // namespace gort::inline v0::rt
