// The loop of an M on its own stack: find a goroutine, run it, look again.
//
// Why an idle M looks at everything twice (find_runnable): a producer makes work visible and then reads
// nmspinning; an M that stops spinning lowers nmspinning and then looks for work. With a full fence
// between the two steps on both sides, at least one of them sees the other, so work is never left lying
// with every M asleep. The partners: the fences in wake_p and wake_p_if_idle, and the one in idle() below.
#include "sched/captives.h"
#include "sched/force_migrate.h"
#include "sched/runs.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/steal_order.h"
#include "sched/stop_point.h"
#include "sched/switch.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

constexpr int kStealRounds = 4;

/// Takes a part of a victim's queue into p's; returns one to run, or null.
G* steal_from(P* p, P* victim, bool also_next) noexcept {
  G* got[RunQueue::kBatch];
  std::uint32_t n = victim->runq.grab(got);
  if (n == 0) {
    if (!also_next || !victim->runq.has_next()) return nullptr;
    // The victim is probably about to run it itself (a ready goroutine is put into runnext just before its
    // maker parks): give it a moment, or a communicating pair is torn over two processors all the time.
    if (victim->status.load(os::memory_order_relaxed) == PStatus::running) {
      os::cpu_relax(100);
      os::thread_yield();
    }
    return victim->runq.grab_next();
  }
  p->steals.store(p->steals.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
  // p's queue is empty (its M is stealing) and a batch fits.
  for (std::uint32_t i = 0; i + 1 < n; ++i) {
    const bool fits = p->runq.put(got[i]);
    GORT_CHECK(fits, "a thief's queue overflows");
  }
  return got[n - 1];
}

/// Runs what is due on another P, whose M may be busy for long. True: there was something.
bool run_victims_timers(P* victim) noexcept {
  const std::int64_t when = victim->timer_when.load(os::memory_order_acquire);
  if (__builtin_expect(when == kNoTimer, 1)) return false;
  const std::int64_t now = os::nanotime();
  if (when > now) return false;
  sched_hooks.run_timers(victim, now);
  return true;
}

/// What timers have made runnable.
G* own_next(P* p) noexcept {
  G* g = p->runq.get_next();
  return g != nullptr ? g : p->runq.get();
}

/// Visits every P once per round, in an order of its own.
G* steal_work(P* p) noexcept {
  const auto n = static_cast<std::uint32_t>(sched.nprocs);
  if (n == 1) return nullptr;
  for (int round = 0; round < kStealRounds; ++round) {
    const bool last = round == kStealRounds - 1;
    for (StealOrder order(n, p->random); order.more(); order.next()) {
      P* victim = p_at(order.at());
      if (victim == p) continue;
      if (last && run_victims_timers(victim)) {
        if (G* g = own_next(p); g != nullptr) return g;
      }
      if (G* g = steal_from(p, victim, last); g != nullptr) return g;
    }
  }
  return nullptr;
}

void become_spinning(M* m) noexcept {
  m->spinning = true;
  sched.nmspinning.fetch_add(1, os::memory_order_seq_cst);
  sched.need_spinning.store(0, os::memory_order_relaxed);
  // Partner of the fence in wake_p: whoever still reads need_spinning == 1 has made its work visible to the
  // search that follows.
  os::fence(os::memory_order_seq_cst);
}

/// This M has found work, so another one takes over the search.
void reset_spinning(M* m) noexcept {
  m->spinning = false;
  const std::int32_t before = sched.nmspinning.fetch_sub(1, os::memory_order_seq_cst);
  GORT_CHECK(before > 0, "nmspinning is negative");
  wake_p();
}

bool any_queue_has_work() noexcept {
  if (sched.global_size.load(os::memory_order_relaxed) != 0) return true;
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    if (!p_at(i)->runq.empty()) return true;
  }
  return false;
}

/// Work that needs no search: this P's own, and the global queue's.
G* find_local(P* p) noexcept {
  const std::uint32_t tick = p->schedtick.load(os::memory_order_relaxed);
  if (tick % kFairnessTick == 0 && sched.global_size.load(os::memory_order_relaxed) != 0) {
    LockGuard guard(sched.lock);
    if (G* g = global_get(p, 1); g != nullptr) {
      p->schedtick.store(tick + 1, os::memory_order_relaxed);
      return g;
    }
  }
  if (p->next_turns < kMaxNextTurns) {
    if (G* g = p->runq.get_next(); g != nullptr) {  // inherits the slice: no tick
      ++p->next_turns;
      return g;
    }
  }
  G* g = p->runq.get();
  if (g == nullptr) g = p->runq.get_next();
  p->next_turns = 0;
  if (g == nullptr && sched.global_size.load(os::memory_order_relaxed) != 0) {
    LockGuard guard(sched.lock);
    g = global_get(p, 0);
  }
  if (g != nullptr) p->schedtick.store(tick + 1, os::memory_order_relaxed);
  return g;
}

/// Gives the P up, unless something turns up on the way: then the M still has it.
void idle(M* m) noexcept {
  M* captive = nullptr;
  {
    LockGuard guard(sched.lock);
    if (!sched.global.empty()) return;
    if (!m->spinning && sched.need_spinning.load(os::memory_order_seq_cst) != 0) {
      become_spinning(m);
      return;
    }
    if (sched.orders > 0) {
      // Somebody wanted a thread for work, and here is one, with a P: serve the order.
      --sched.orders;
      ++sched.orders_served;
      if (sched.orders_spinning > 0) {
        --sched.orders_spinning;
        if (m->spinning) {
          sched.nmspinning.fetch_sub(1, os::memory_order_seq_cst);
        } else {
          m->spinning = true;  // the order's count of nmspinning is ours now
        }
      }
      return;
    }
    captive = settle_p(release_p());
  }
  if (captive != nullptr) captive->park.wakeup();
  const bool was_spinning = m->spinning;
  if (was_spinning) {
    m->spinning = false;
    const std::int32_t before = sched.nmspinning.fetch_sub(1, os::memory_order_seq_cst);
    GORT_CHECK(before > 0, "nmspinning is negative");
  }
  // Partner of the fences in wake_p and wake_p_if_idle: we lowered nmspinning and raised npidle before we look.
  os::fence(os::memory_order_seq_cst);
  // An M that did not spin has others to look for it, unless somebody has called for a look since.
  if ((was_spinning || sched.need_spinning.load(os::memory_order_relaxed) != 0) && any_queue_has_work()) {
    sched.lock.lock();
    MaybeOwnedP p = pidle_get_spinning();
    sched.lock.unlock();
    if (p) {
      wire(p.take());
      become_spinning(m);
    }
  }
}

}  // namespace

void global_put(G* g) noexcept {
  sched.global.push_back(g);
  sched.global_size.store(sched.global.size(), os::memory_order_relaxed);
}

void global_put_batch(Queue1<G, &G::link>& batch) noexcept {
  sched.global.append(batch);
  sched.global_size.store(sched.global.size(), os::memory_order_relaxed);
}

G* global_get(P* p, std::uint32_t max) noexcept {
  const std::uint32_t size = sched.global.size();
  if (size == 0) return nullptr;
  std::uint32_t n = size / static_cast<std::uint32_t>(sched.nprocs) + 1;
  if (max > 0 && n > max) n = max;
  if (n > size) n = size;
  if (n > RunQueue::kBatch) n = RunQueue::kBatch;
  G* first = sched.global.pop_front();
  for (std::uint32_t i = 1; i < n; ++i) {
    G* g = sched.global.pop_front();
    if (!p->runq.put(g)) {
      sched.global.push_front(g);
      break;
    }
  }
  sched.global_size.store(sched.global.size(), os::memory_order_relaxed);
  return first;
}

void runq_spill(P* p, G* g) noexcept {
  do {
    // The oldest and g move to the global queue, in order.
    G* oldest[RunQueue::kBatch];
    const std::uint32_t n = p->runq.spill(oldest);
    if (n == 0) continue;  // a thief made room
    Queue1<G, &G::link> batch;
    for (std::uint32_t i = 0; i < n; ++i) batch.push_back(oldest[i]);
    batch.push_back(g);
    LockGuard guard(sched.lock);
    global_put_batch(batch);
    return;
  } while (!p->runq.put(g));
}

G* find_runnable(M* m) noexcept {
  P* p = m->p;
  run_own_timers(p);
  if (G* g = find_local(p); g != nullptr) return g;
  if (net_to_poll() && net_ready(sched_hooks.net_poll(p))) {
    if (G* g = find_local(p); g != nullptr) return g;
  }
  // At most half of the busy Ps' number of Ms search at once: more would only fight over the same queues.
  const std::int32_t busy = sched.nprocs - sched.npidle.load(os::memory_order_relaxed);
  if (m->spinning || 2 * sched.nmspinning.load(os::memory_order_relaxed) < busy) {
    if (!m->spinning) become_spinning(m);
    if (G* g = steal_work(p); g != nullptr) {
      p->schedtick.store(p->schedtick.load(os::memory_order_relaxed) + 1, os::memory_order_relaxed);
      return g;
    }
  }
  idle(m);
  return nullptr;
}

void leave_spinning(M* m) noexcept {
  if (!m->spinning) return;
  m->spinning = false;
  // Who made work visible while this M was searching relied on it: the P that idles next looks again, and if one is
  // idle already, somebody looks now.
  sched.need_spinning.store(1, os::memory_order_relaxed);  // wake_p's fence stands before its look at npidle
  const std::int32_t before = sched.nmspinning.fetch_sub(1, os::memory_order_seq_cst);
  GORT_CHECK(before > 0, "nmspinning is negative");
  wake_p();  // every P may be idle already: then there is none that idles next
}

namespace {

/// What others ask of this M and its P, before it looks for a goroutine. False: the P is gone.
/// `stopped`: it has stood in a stop since it ran a goroutine last, and runs one before the next (L3).
bool serve_before_work(M* m, bool* stopped) noexcept {
  if (stop_requested() && !*stopped) {
    m->resumed_cpu = -1;
    if (!stop_here(m)) return false;
    *stopped = true;
  }
  run_safe_point(m->p);
  if (sched.ncaptive.load(os::memory_order_relaxed) == 0 || !captives_turn(m->p, os::nanotime())) return true;
  return !hand_to_captive(m);
}

/// The M's P is gone: so is what it had picked, and its search.
void lost_p(M* m) noexcept {
  leave_spinning(m);
  G* g = m->picked;
  m->picked = nullptr;
  if (g == nullptr) return;
  {
    LockGuard guard(sched.lock);
    global_put(g);
  }
  wake_p();
}

/// The next goroutine for this M, wherever it comes from; null: the thread shall end. On return the M has a
/// P and does not spin.
G* schedule(M* m) noexcept {
  bool stopped = false;
  for (;;) {
    GORT_CHECK(os::tls().locks == 0 && os::tls().owned == 0, "schedule: holding runtime locks or a P");
    // Acquire: the end of a run asks everybody to look at its new epoch.
    m->pending.exchange(0, os::memory_order_acquire);
    m->asleep_streak = 0;
    m->timer_asks = 0;
    if (m->ending) return nullptr;
    if (m->p == nullptr && m->locked_g == nullptr && m->picked == nullptr) {
      if (!stop_m(m)) return nullptr;
    }
    if (m->p != nullptr && !serve_before_work(m, &stopped)) {
      lost_p(m);
      continue;
    }
    G* g = m->picked;
    m->picked = nullptr;
    GORT_CHECK(g == nullptr || m->p != nullptr, "a goroutine was picked without a P");
    if (m->locked_g != nullptr) {
      GORT_CHECK(g == nullptr || g == m->locked_g, "a locked M picked somebody else's goroutine");
      if (g == nullptr) stop_locked_m(m);
      return m->locked_g;
    }
    if (g == nullptr) g = find_runnable(m);
    if (g == nullptr) continue;
    if (m->spinning) reset_spinning(m);
    watch_before_dispatch(m->p);
    if (over(g)) {
      // Its run has ended: it must never meet the static destructors. Parked for good.
      g->wait_reason = WaitReason::left_over;
      g->status.store(GStatus::waiting, os::memory_order_release);
      continue;
    }
    if (g->locked_m != nullptr && g->locked_m != m) {
      start_locked_m(m, g);
      continue;
    }
    if (migrated_away(m, g)) continue;
    if (g->ctx.sp == nullptr) g_prepare(m->p, g);
    return g;
  }
}

}  // namespace

void schedule_loop(M* m) noexcept {
  while (G* g = schedule(m)) switch_from_g0(m, g);
  if (m->p != nullptr) hand_off_p(release_p());
}

}  // namespace gort::inline v0::rt
