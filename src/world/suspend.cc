#include "world/suspend.h"

#include "base/fault.h"
#include "base/sanitizer.h"
#include "sched/park.h"
#include "sched/start.h"
#include "sched/stop_point.h"

namespace gort::inline v0::rt {

namespace {

constexpr int kSpinRounds = 50;               // a few microseconds
constexpr std::int64_t kAskAgain = 100'000;   // ns
constexpr std::int64_t kForeignPause = 20'000;
// At a goroutine that is runnable each time: as many looks in a row, or as long (with a loop on the same P, a look takes
// a slice).
constexpr int kQueuedLooks = 200;
constexpr std::int64_t kQueuedFor = 500'000;  // ns

/// One request to one goroutine.
struct Request {
  G* g;
  M* asked = nullptr;      // whose hold_wanted says g
  std::int64_t when = 0;   // nanotime
  int rounds = 0;
  int queued = 0;          // looks in a row that have found it runnable
  std::int64_t since = 0;  // nanotime of the first of those
  bool stopped = false;    // the world is stopped for it
};

/// Nobody is asked any more. False: too late, the goroutine is being held.
bool withdraw(Request& r) noexcept {
  if (r.asked == nullptr) return true;
  G* expected = r.g;
  if (!r.asked->hold_wanted.compare_exchange_strong(expected, nullptr, os::memory_order_acq_rel)) return false;
  r.asked = nullptr;
  return true;
}

bool taken(const Request& r) noexcept {
  return r.asked != nullptr && r.asked->hold_wanted.load(os::memory_order_acquire) != r.g;
}

/// The M that runs g, as it seems: that may change this very moment.
GORT_NO_TSAN M* m_of(const G* g) noexcept { return g->m; }

/// g runs, on m as it seems.
void ask_in_place(Request& r, M* m) noexcept {
  if (m == nullptr || (r.asked != nullptr && r.asked != m && !withdraw(r))) return;
  const std::int64_t now = os::nanotime();
  if (r.asked == nullptr) {
    G* expected = nullptr;
    if (!m->hold_wanted.compare_exchange_strong(expected, r.g, os::memory_order_acq_rel)) return;
    r.asked = m;
  } else if (now - r.when < kAskAgain) {
    return;
  }
  r.when = now;
  m->pending.fetch_or(kPendingHold, os::memory_order_seq_cst);
  if (debug_settings.asyncpreempt && sched_hooks.preempt != nullptr) sched_hooks.preempt(m, false);
}

/// The goroutine may need this very P.
void let_others_run(Request& r) noexcept {
  if (++r.rounds < kSpinRounds) return os::cpu_relax(8);
  if (self_m() == nullptr) return os::sleep_ns(kForeignPause);
  if (!fault(Fault::s1)) yield();
  os::thread_yield();
}

/// It runs and yields whenever nobody looks: with one P for the two, always. With the world stopped it stays where it
/// is. True: it is still runnable, and the world is stopped.
bool stop_for(Request& r, WorldHold* world) noexcept {
  if (world == nullptr || fault(Fault::hold_runnable)) return false;
  const std::int64_t now = os::nanotime();
  if (r.queued++ == 0) r.since = now;
  if ((r.queued < kQueuedLooks && now - r.since < kQueuedFor) || !withdraw(r)) return false;
  r.queued = 0;
  stop_with(*world);
  if (r.g->status.load(os::memory_order_acquire) == GStatus::runnable) return r.stopped = true;
  start_with(*world);
  return false;
}

/// True: it is held, and was in `was`. False: it cannot be. `world` is for stop_for; null: never.
bool hold(Request& r, GStatus* was, WorldHold* world) noexcept {
  for (;; let_others_run(r)) {
    switch (r.g->status.load(os::memory_order_acquire)) {
      case GStatus::waiting:
      case GStatus::captive:
        if (!claim_g(r.g, was)) break;
        // It does not run, so nobody takes the wish.
        GORT_CHECK(withdraw(r), "suspend_g: a goroutine was held while it did not run");
        return true;
      case GStatus::running:
        ask_in_place(r, m_of(r.g));
        break;
      case GStatus::held:
        if (!taken(r)) break;
        *was = GStatus::running;
        return true;
      case GStatus::runnable:
        if (!stop_for(r, world)) continue;
        *was = GStatus::runnable;
        return true;
      case GStatus::syscall:
      case GStatus::dead:
      case GStatus::idle:
        if (withdraw(r)) return false;
        break;
    }
    r.queued = 0;
  }
}

}  // namespace

bool claim_g(G* g, GStatus* was) noexcept {
  for (const GStatus from : {GStatus::waiting, GStatus::captive}) {
    GStatus expected = from;
    if (!g->status.compare_exchange_strong(expected, GStatus::held, os::memory_order_acq_rel,
                                           os::memory_order_relaxed)) {
      continue;
    }
    *was = from;
    return true;
  }
  return false;
}

void unclaim_g(G* g, GStatus was) noexcept {
  g->status.store(was, os::memory_order_release);
  if (was == GStatus::running) os::futex_wake(reinterpret_cast<os::atomic<std::uint32_t>*>(&g->status), 1);
}

SuspendedG suspend_g(G* g, WorldHold& world) noexcept {
  GORT_CHECK(g != current_g(), "suspend_g: a goroutine cannot hold itself still");
  Request r{g};
  GStatus was = GStatus::dead;
  SuspendedG held = hold(r, &was, &world) ? SuspendedG(g, was) : SuspendedG(nullptr, was);
  if (r.stopped) held.stopped_ = &world;
  return held;
}

SuspendedG suspend_g(G* g) noexcept {
  if (fault(Fault::s1)) {  // nothing that the requester could be stopped at
    Request r{g};
    GStatus was = GStatus::dead;
    return hold(r, &was, nullptr) ? SuspendedG(g, was) : SuspendedG(nullptr, was);
  }
  WorldHold world = world_acquire(StopReason::goroutine_profile);
  SuspendedG held = suspend_g(g, world);
  held.hold_.emplace(std::move(world));
  return held;
}

void SuspendedG::resume() noexcept {
  G* g = std::exchange(g_, nullptr);
  WorldHold* const stopped = std::exchange(stopped_, nullptr);
  if (g != nullptr && stopped == nullptr) unclaim_g(g, was_);
  if (!hold_) {
    if (stopped != nullptr) start_with(*stopped);
    return;
  }
  WorldHold world = std::move(*hold_);
  hold_.reset();
  if (stopped != nullptr) {
    start_the_world(std::move(world));
  } else {
    world_release(std::move(world));
  }
}

}  // namespace gort::inline v0::rt
