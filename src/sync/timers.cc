#include "sync/timers.h"

#include <utility>

#include "base/alloc.h"
#include "base/check.h"
#include "sched/stop_point.h"
#include "sched/watch.h"
#include "sync/bubble.h"
#include "sync/timer_heap.h"

namespace gort::inline v0::rt {

namespace {

constexpr int kBatch = 16;  // timers that go off per holding of the lock
constexpr int kLooks = 64;  // entries that are looked at: most have been stopped, or armed for later
constexpr std::int64_t kShort = 10'000;  // ns: a wait of less is not to become longer by its deadline's error

/// Timer::home while it is moved to another heap, with a P that goes away.
TimerHeap* moving() noexcept {
  static constinit TimerHeap none;
  return &none;
}

// ---- heaps of Ps -------------------------------------------------------------------------------

/// Its key becomes `when`, which it was armed for a moment ago. Under the lock.
void move_back(TimerHeap* h, Timer* t, std::int64_t when) noexcept {
  h->rekey(t, when);
  // Partner: arm_in_place. It changes `when` and then looks at the key; we, the other way round.
  const std::int64_t again = t->when.load(os::memory_order_seq_cst);
  if (again < when) h->rekey(t, again);
}

/// The entry on top, whose key has come up, and what there is to do about it. Under the lock. True: *shot goes off.
bool take_top(TimerHeap* h, std::int64_t now, TimerShot* shot) noexcept {
  Timer* t = h->top().timer;
  std::int64_t when = t->when.load(os::memory_order_acquire);
  if (when == kTimerOff) {
    if (t->when.compare_exchange_strong(when, kTimerOut, os::memory_order_acq_rel)) h->remove(t);
    return false;  // or it has just been armed again: look once more
  }
  if (when > now) {
    move_back(h, t, when);
    return false;
  }
  std::int64_t next = kTimerOut;
  if (const std::int64_t period = t->period.load(os::memory_order_relaxed); period > 0) {
    // On the grid that it was armed for: no drift, and what nobody could take is dropped.
    if (__builtin_add_overflow(when + (now - when) / period * period, period, &next) || next > kTimerLast) {
      next = kTimerLast;
    }
  }
  const std::int64_t armed_for = when;
  const std::uint64_t seq_before = t->seq.load(os::memory_order_relaxed);
  if (!t->when.compare_exchange_strong(when, next, os::memory_order_acq_rel)) return false;
  // Out of the heap, nobody writes seq as long as we hold the lock, so now it is the arming's that has gone off. A
  // periodic one may have been stopped and armed anew already: then this is nobody's tick any more. (Its new time is
  // later than `now`, so the exchange above has not mistaken it for the old one.)
  const std::uint64_t seq = t->seq.load(os::memory_order_acquire);
  *shot = {t->fire, t, t->arg, seq, armed_for, now};
  if (next == kTimerOut) {
    h->remove(t);
  } else {
    move_back(h, t, next);
    if (seq != seq_before) return false;
  }
  t->going_off.fetch_add(1, os::memory_order_relaxed);
  return true;
}

}  // namespace

void run_heap(TimerHeap* h, std::int64_t now) noexcept {
  TimerShot shots[kBatch];
  for (bool more = true; more;) {
    int n = 0;
    {
      LockGuard guard(h->lock);
      for (int looks = 0;; ++looks) {
        more = !h->empty() && h->top().key <= now;
        if (!more || n == kBatch || looks == kLooks) break;
        if (take_top(h, now, &shots[n])) ++n;
      }
      h->publish();
    }
    for (int i = 0; i < n; ++i) {
      shots[i].fire(shots[i]);
      shots[i].timer->going_off.fetch_sub(1, os::memory_order_release);
    }
    if (stop_requested()) return;  // the rest is still due then
  }
}

bool take_armed(TimerHeap* h, TimerShot* shot) noexcept {
  LockGuard guard(h->lock);
  bool armed = false;
  while (!armed && !h->empty()) {
    Timer* t = h->at(h->end - 1).timer;
    const std::int64_t when = t->when.exchange(kTimerOut, os::memory_order_acq_rel);
    armed = when <= kTimerLast;
    *shot = {t->fire, t, t->arg, t->seq.load(os::memory_order_relaxed), when, when};
    h->remove(t);
  }
  h->publish();
  return armed;
}

void empty_heap(TimerHeap* h) noexcept {
  LockGuard guard(h->lock);
  while (!h->empty()) {
    Timer* t = h->at(h->end - 1).timer;
    t->when.store(kTimerOut, os::memory_order_relaxed);
    h->remove(t);
  }
  h->publish();
}

namespace {

void run_timers_of_p(P* p, std::int64_t now) noexcept { run_heap(p->timers.load(os::memory_order_acquire), now); }

/// Everything goes to another P: the heap, if that one has none, or from heap to heap, some at a time: one lock at a time.
void move_timers_of_p(P* p, P* to) noexcept;

bool armed_before(const Timer* t, std::int64_t key, std::int64_t until) noexcept {
  return key < until && t->when.load(os::memory_order_relaxed) < until && timer_armed(t);
}

bool heap_has_armed(TimerHeap* h, std::int64_t until) noexcept {
  LockGuard guard(h->lock);
  for (std::uint32_t slot = TimerHeap::kRoot; slot < h->end; ++slot) {
    if (armed_before(h->at(slot).timer, h->at(slot).key, until)) return true;
  }
  for (const Timer* t = h->beside; t != nullptr; t = t->beside) {
    if (armed_before(t, t->key.load(os::memory_order_relaxed), until)) return true;
  }
  return false;
}

bool any_armed(std::int64_t until) noexcept {
  for (std::int32_t i = 0; i < sched.nprocs.load(os::memory_order_acquire); ++i) {
    TimerHeap* h = p_at(i)->timers.load(os::memory_order_acquire);
    if (h != nullptr && heap_has_armed(h, until)) return true;
  }
  return false;
}

void set_hooks() noexcept {
  static constinit Mutex once{LockRank::leaf};
  LockGuard guard(once);
  if (sched_hooks.run_timers != nullptr) return;
  sched_hooks.run_timers = run_timers_of_p;
  sched_hooks.move_timers = move_timers_of_p;
  sched_hooks.timers_pending = any_armed;
}

/// Where there is no memory for a P's: the first P's. There is always a first P, for that there is a place in any case, and
/// when another P becomes the first it gets that heap (pass_heap).
TimerHeap* heap_of(P* p) noexcept {
  TimerHeap* h = p->timers.load(os::memory_order_acquire);
  if (__builtin_expect(h != nullptr, 1)) return h;
  set_hooks();
  static constinit TimerHeap of_first;
  P* const first = p_at(0);
  if (void* const memory = persistent_try_alloc(sizeof(TimerHeap), alignof(TimerHeap)); memory != nullptr) {
    h = ::new (memory) TimerHeap;
  } else if (p != first) {
    return heap_of(first);
  } else {
    h = &of_first;
  }
  h->earliest = &p->timer_when;
  TimerHeap* expected = nullptr;
  // The loser of the race stays unused: a page or two.
  if (!p->timers.compare_exchange_strong(expected, h, os::memory_order_acq_rel)) h = expected;
  // Partner: swap_places (sched/procs.cc). A foreign thread looks again who is the first P before it puts a timer in.
  os::fence(os::memory_order_seq_cst);
  return h;
}

/// The heap for a timer that is in none: this bubble's, this P's, or some P's.
TimerHeap* heap_here() noexcept {
  if (TimedBubble* b = current_bubble(); b != nullptr) return &b->heap;
  const M* m = self_m();
  return heap_of(m != nullptr && m->p != nullptr ? m->p : p_at(0));
}

}  // namespace

void timer_settle(Timer* t) noexcept { t->home.store(heap_here(), os::memory_order_relaxed); }

namespace {

/// Locks the heap that the timer belongs to.
TimerHeap* lock_home(Timer* t) noexcept {
  for (;;) {
    TimerHeap* h = t->home.load(os::memory_order_acquire);
    if (h == nullptr) {
      TimerHeap* here = heap_here();
      if (!t->home.compare_exchange_strong(h, here, os::memory_order_acq_rel)) continue;
      h = here;
    }
    if (h == moving()) {
      os::cpu_relax(8);
      continue;
    }
    h->lock.lock();
    if (t->home.load(os::memory_order_relaxed) == h) return h;
    h->lock.unlock();
  }
}

/// A P that has no heap gets that of p as it is. False: it has one. The world is stopped; foreign threads may be at it.
bool pass_heap(P* p, TimerHeap* from, P* to) noexcept {
  TimerHeap* none = nullptr;
  const bool passes = to->timers.compare_exchange_strong(none, from, os::memory_order_acq_rel);
  if (!passes && none != from) return false;  // it may have it already, by a foreign thread that found no memory
  LockGuard guard(from->lock);
  from->earliest = &to->timer_when;
  to->timer_when.store(p->timer_when.load(os::memory_order_relaxed), os::memory_order_relaxed);
  p->timer_when.store(kNoTimer, os::memory_order_relaxed);
  p->timers.store(nullptr, os::memory_order_release);  // who finds that, and makes another one, looks again who is the first
  return true;
}

void move_timers_of_p(P* p, P* to) noexcept {
  TimerHeap* from = p->timers.load(os::memory_order_acquire);
  if (to == nullptr) {
    LockGuard guard(from->lock);
    from->closed = false;
    return;
  }
  if (pass_heap(p, from, to)) return;
  TimerHeap* h = heap_of(to);
  for (bool more = true; more;) {
    TimerHeap::Entry some[kBatch];
    int n = 0;
    {
      LockGuard guard(from->lock);
      from->closed = true;
      for (; n < kBatch && !from->empty(); ++n) {
        some[n] = from->at(from->end - 1);
        some[n].timer->home.store(moving(), os::memory_order_relaxed);
        from->remove(some[n].timer);
      }
      more = !from->empty();
      from->publish();
    }
    LockGuard guard(h->lock);
    for (int i = 0; i < n; ++i) {
      h->push(some[i].timer, some[i].key);
      some[i].timer->home.store(h, os::memory_order_release);
    }
    h->publish();
  }
}

// ---- arming ------------------------------------------------------------------------------------

enum class Armed : std::uint8_t { no, was_off, was_armed };

/// It was armed in place for a time before its key.
void move_forward(Timer* t) noexcept {
  TimerHeap* h = lock_home(t);
  const std::int64_t now = t->when.load(os::memory_order_seq_cst);
  bool earlier = false;
  if (now <= kTimerLast && now < t->key.load(os::memory_order_relaxed)) {
    h->rekey(t, now);
    earlier = h->publish();
  }
  h->lock.unlock();
  if (earlier) timer_set_earlier(now);
}

/// In the heap under a key that is early enough, stopped or armed: nothing else to do.
Armed arm_in_place(Timer* t, std::int64_t when, std::uint64_t seq) noexcept {
  std::int64_t old = t->when.load(os::memory_order_acquire);
  for (;;) {
    if (old == kTimerOut || t->key.load(os::memory_order_relaxed) > when) return Armed::no;
    if (old == kTimerOff) t->seq.store(seq, os::memory_order_relaxed);
    if (t->when.compare_exchange_weak(old, when, os::memory_order_seq_cst, os::memory_order_acquire)) break;
  }
  const Armed was = old == kTimerOff ? Armed::was_off : Armed::was_armed;
  // The heap may have moved it to its old time meanwhile. Partner: take_top.
  if (__builtin_expect(t->key.load(os::memory_order_seq_cst) > when, 0)) move_forward(t);
  return was;
}

/// A P has a timer that is due earlier than all that it had.
void tell_earlier(TimerHeap* h, std::int64_t when, bool parks) noexcept {
  if (h->bubble != nullptr) return;  // looked at when nobody in it runs
  M* m = self_m();
  if (parks && m != nullptr && m->p != nullptr && m->p->timers.load(os::memory_order_relaxed) == h) {
    m->p->unwatched = true;
    return;
  }
  timer_set_earlier(when);
}

}  // namespace

bool timer_arm(Timer* t, std::int64_t when, std::uint64_t seq, bool parks) noexcept {
  if (when > kTimerLast) when = kTimerLast;
  if (const Armed a = arm_in_place(t, when, seq); a != Armed::no) return a == Armed::was_armed;
  for (;;) {
    TimerHeap* h = lock_home(t);
    std::int64_t old = kTimerOut;
    if (t->slot != 0) {
      if (h->bubble != current_bubble()) fatal("a timer of a gort::testing::bubble is used outside of it, or the reverse");
      old = t->when.exchange(when, os::memory_order_seq_cst);
      t->seq.store(seq, os::memory_order_relaxed);
      if (when < t->key.load(os::memory_order_relaxed)) h->rekey(t, when);
    } else {
      // In no heap: it comes into this P's.
      if (TimerHeap* here = heap_here(); here != h) {
        t->home.store(here, os::memory_order_release);
        h->lock.unlock();
        continue;
      }
      if (h->closed) {  // by a foreign thread, whose choice has just gone
        h->lock.unlock();
        os::thread_yield();
        continue;
      }
      t->seq.store(seq, os::memory_order_relaxed);
      // First the key: who finds the time and arms it for an earlier one, in place, must not find the key of the past,
      // which is early enough for everything.
      t->key.store(when, os::memory_order_relaxed);
      t->when.store(when, os::memory_order_release);
      h->push(t, when);
    }
    const bool earlier = h->publish();
    h->lock.unlock();
    if (earlier) tell_earlier(h, when, parks);
    return old <= kTimerLast;
  }
}

void timer_moved(Timer* t, std::int64_t when) noexcept {
  // As arm_in_place does. Partner: take_top.
  if (__builtin_expect(t->key.load(os::memory_order_seq_cst) > when, 0)) move_forward(t);
}

Bubble* bubble_of(const Timer* t) noexcept {
  const TimerHeap* home = t->home.load(os::memory_order_acquire);
  return home != moving() ? home->bubble : nullptr;
}

std::int64_t clock_now() noexcept {
  const TimedBubble* b = current_bubble();
  return __builtin_expect(b == nullptr, 1) ? os::nanotime() : b->now.load(os::memory_order_acquire);
}

std::int64_t clock_for(std::int64_t ns) noexcept {
  if (ns < kShort || current_bubble() != nullptr) return clock_now();
  M* m = self_m();
  return m != nullptr ? m->quick_clock.soon() : os::nanotime();
}

bool timer_remove(Timer* t) noexcept {
  bool was_armed = false;
  if (t->home.load(os::memory_order_acquire) != nullptr) {
    TimerHeap* h = lock_home(t);
    if (t->slot != 0) {
      // No exchange: a shot changes it under this lock only, and a stop that comes between has nothing to stop any more.
      was_armed = t->when.load(os::memory_order_relaxed) <= kTimerLast;
      t->when.store(kTimerOut, os::memory_order_relaxed);
      h->remove(t);
      h->publish();
    }
    h->lock.unlock();
  }
  while (t->going_off.load(os::memory_order_acquire) != 0) os::thread_yield();
  return was_armed;
}

// ---- deadlines ---------------------------------------------------------------------------------

namespace {

constinit FixAlloc<Timer> deadline_timers;

void end_wait(const TimerShot& shot) noexcept {
  auto* w = static_cast<WaitState*>(shot.arg);
  waiter* wake = w->wake;
  if (wait_win(*w, shot.seq, WaitEnd::timeout) == Won::parked) wake->ready(wake);
}

}  // namespace

namespace {

/// A goroutine's record was used inside of a bubble before, or outside of this one: its timer may still be there.
void deadline_into_bubble(Timer* t) noexcept {
  const TimerHeap* home = t->home.load(os::memory_order_acquire);
  if (home != nullptr && home != moving() && home->bubble != current_bubble()) timer_remove(t);
}

}  // namespace

bool deadline_prepare(WaitState* w) noexcept {
  if (w->timer != nullptr) return true;
  void* const memory = deadline_timers.try_alloc();
  if (memory == nullptr) return false;
  deadline_lend(w, ::new (memory) Timer);
  return true;
}

void deadline_lend(WaitState* w, Timer* t) noexcept {
  t->fire = end_wait;
  t->arg = w;
  w->timer = t;
}

void deadline_take_back(WaitState* w) noexcept { timer_remove(std::exchange(w->timer, nullptr)); }

void deadline_arm(WaitState* w, WaitGeneration generation, std::int64_t when) noexcept {
  if (bubbles_exist()) deadline_into_bubble(w->timer);
  timer_arm(w->timer, when, generation, true);
}

void deadline_disarm(WaitState* w) noexcept {
  if (w->timer != nullptr) timer_stop(w->timer);
}

}  // namespace gort::inline v0::rt
