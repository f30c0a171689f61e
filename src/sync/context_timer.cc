#include "sync/context_timer.h"

#include <new>

#include "base/alloc.h"
#include "sync/timers.h"

namespace gort::inline v0::rt {

namespace {

constinit FixAlloc<Timer> timers;

void out_of_time(const TimerShot& shot) noexcept {
  context_cancel(static_cast<Context*>(shot.arg), {kCauseTimedOut, nullptr});
}

}  // namespace

void context_timer_start(Context* c) noexcept {
  if (c->deadline <= clock_now()) {
    context_cancel(c, {kCauseTimedOut, nullptr});
    return;
  }
  auto* t = ::new (timers.alloc()) Timer;
  t->fire = out_of_time;
  t->arg = c;
  Timer* expected = nullptr;
  if (!c->timer.compare_exchange_strong(expected, t, os::memory_order_acq_rel, os::memory_order_relaxed)) {
    timers.free(t);  // another thread is at it
    return;
  }
  timer_arm(t, c->deadline, 0);
}

void context_timer_stop(Context* c) noexcept {
  Timer* t = c->timer.load(os::memory_order_acquire);
  if (t != nullptr) timer_stop(t);
}

void context_timer_remove(Context* c) noexcept {
  Timer* t = c->timer.load(os::memory_order_acquire);
  if (t != nullptr) timer_remove(t);
}

void context_timer_free(Context* c) noexcept {
  Timer* t = c->timer.load(os::memory_order_acquire);
  if (t != nullptr) timers.free(t);
}

}  // namespace gort::inline v0::rt
