// How an M sleeps and wakes: on the idle list, or with its locked goroutine.
#include "sched/check_dead.h"
#include "sched/invariants.h"
#include "sched/sched.h"
#include "sched/stop_point.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kIdleThreadLife = 5'000'000'000;  // ns an idle thread beyond the spares is kept

#if defined(GORT_TESTING)
constinit os::atomic<std::int64_t> idle_life{kIdleThreadLife};
std::int64_t idle_thread_life() noexcept { return idle_life.load(os::memory_order_relaxed); }
#else
constexpr std::int64_t idle_thread_life() noexcept { return kIdleThreadLife; }
#endif

/// Wires the P that this M was handed before it was woken, when no stop has it any more. False: it is gone.
[[nodiscard]] bool take_handed(M* m) noexcept {
  P* p = m->nextp;
  GORT_CHECK(p != nullptr, "an M was woken without a P");
  m->nextp = nullptr;
  return await_p(m, p);
}

/// A wake-up that is on its way often comes within microseconds, while a sleep and a wake in the kernel cost
/// tens of them: look for a moment before sleeping. True if it came.
bool spin_for(Note& note, std::int64_t ns) noexcept {
  if (sched.cpus.load(os::memory_order_relaxed) == 1) return note.signaled();  // whoever would wake us needs this very processor
  const std::int64_t deadline = os::nanotime() + ns;
  do {
    for (int i = 0; i < 16; ++i) {
      if (note.signaled()) return true;
      os::cpu_relax(8);
    }
  } while (os::nanotime() < deadline);
  return note.signaled();
}

/// Under sched.lock: an order that waits for a thread, and a P for it? Then this M has both.
bool serve_order(M* m) noexcept {
  if (sched.orders == 0) return false;
  ++sched.orders_served;
  MaybeOwnedP p = pidle_get();
  if (!p) {
    // Every P is in use, so the orders are moot. What they stood for is looked for by the next P that idles.
    sched.nmspinning.fetch_sub(sched.orders_spinning, os::memory_order_seq_cst);
    sched.orders = sched.orders_spinning = 0;
    sched.need_spinning.store(1, os::memory_order_relaxed);  // as pidle_get_spinning
    return false;
  }
  --sched.orders;
  if (sched.orders_spinning > 0) {
    --sched.orders_spinning;
    m->spinning = true;
  }
  wire(p.take());
  return true;
}

/// An M that slept too long leaves the idle list, unless it has just been taken off it.
bool give_back(M* m) noexcept {
  LockGuard guard(sched.lock);
  if (!sched.idle_m.remove(m)) return false;
  --sched.nmidle;
  return true;
}

}  // namespace

#if defined(GORT_TESTING)
void set_idle_thread_life_for_test(std::int64_t ns) noexcept { idle_life.store(ns, os::memory_order_relaxed); }
#endif

bool stop_m(M* m) noexcept {
  GORT_CHECK(os::tls().locks == 0 && os::tls().owned == 0, "stop_m: holding runtime locks or a P");
  GORT_CHECK(m->p == nullptr && !m->spinning, "stop_m: with a P, or spinning");
  for (;;) {
    const Watch watch = watch_timers(m);
    if (watch == Watch::has_p) {
      m->p->unwatched = true;
      return true;
    }
    bool timed = false;
    {
      LockGuard guard(sched.lock);
      if (serve_order(m)) {
        m->p->unwatched = true;
        return true;
      }
      if (watch == Watch::orders) continue;  // served by somebody else: there is still to be a watcher
      sched.idle_m.push(m);
      ++sched.nmidle;
      // The newest idle Ms are woken first, so it is the old ones that time out.
      timed = sched.nmidle > kSpareThreads;
      check_dead();
    }
    if (!spin_for(m->park, 5'000)) {
      if (timed && !m->park.sleep_for(idle_thread_life()) && give_back(m)) return false;
      m->park.sleep();
    }
    m->park.clear();
    if (take_handed(m)) {
      m->p->unwatched = true;
      return true;
    }
    leave_spinning(m);
  }
}

void stop_locked_m(M* m) noexcept {
  GORT_CHECK(m->locked_g != nullptr && m->locked_g->locked_m == m, "stop_locked_m: not locked to each other");
  if (m->p != nullptr) hand_off_p(release_p());
  for (;;) {
    {
      LockGuard guard(sched.lock);
      ++sched.nmidle_locked;
      check_dead();
    }
    if (!spin_for(m->park, 50'000)) m->park.sleep();
    m->park.clear();
    GORT_CHECK(m->locked_g->status.load(os::memory_order_acquire) == GStatus::runnable,
               "stop_locked_m: woken although the locked goroutine is not runnable");
    if (take_handed(m)) return;
    // gomaxprocs took the P that came with the goroutine: it queues for another one.
    {
      LockGuard guard(sched.lock);
      global_put(m->locked_g);
    }
    wake_p();
  }
}

void start_locked_m(M* m, G* g) noexcept {
  M* locked = g->locked_m;
  GORT_CHECK(locked != m && m->p != nullptr, "start_locked_m: locked to this M, or without P");
  {
    LockGuard guard(sched.lock);
    --sched.nmidle_locked;
  }
  hand_to_m(release_p(), locked);
  locked->park.wakeup();
}

}  // namespace gort::inline v0::rt
