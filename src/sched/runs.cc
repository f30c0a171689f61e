#include "sched/runs.h"

#include <utility>

#include "base/fault.h"
#include "base/print.h"
#include "sched/entry.h"
#include "sched/park.h"
#include "sched/spawn.h"
#include "sched/watch.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::int64_t kFirstNap = 20'000;       // ns
constexpr std::int64_t kMostNap = 5'000'000;
constexpr std::int64_t longer(std::int64_t nap) noexcept { return nap * 2 < kMostNap ? nap * 2 : kMostNap; }
constexpr std::int64_t kStopWait = 500'000'000;  // for what still runs to reach a call into gort

bool lives(const G* g) noexcept {
  const GStatus s = g->status.load(os::memory_order_acquire);
  return s != GStatus::dead && s != GStatus::idle && !g->system;
}

/// Whether any goroutine can still run by itself: a P is in use, something is queued or on its way there, a call may return, a
/// thread has not noticed yet that its P is gone (proc_resize), a timer is due before `deadline`.
bool anybody_runs(std::int64_t deadline) noexcept {
  {
    LockGuard guard(sched.lock);
    if (sched.npidle.load(os::memory_order_relaxed) != sched.nprocs || !sched.global.empty() || sched.orders != 0) {
      return true;
    }
  }
  bool any = false;
  for_each_g([&](G* g) {
    const GStatus s = g->status.load(os::memory_order_acquire);
    const bool on_its_way = (s == GStatus::running || s == GStatus::captive || s == GStatus::runnable) && !g->main &&
                            !g->system && !fault(Fault::run_retired);
    if ((s == GStatus::syscall || on_its_way) && !left_over(g)) any = true;
  });
  return any || timers_pending(deadline);
}

void report(std::uint32_t epoch) noexcept {
  std::int64_t n = 0;
  Printer out(2);
  for_each_g([&](G* g) {
    // Those with `main` have given their result: at most a few last instructions are left of them.
    if (!lives(g) || g->run_epoch != epoch || g->main) return;
    if (n == 0) out << "gort: run has ended with goroutines left:";
    if (++n > 10) return;
    out << (n == 1 ? " " : ", ");
    if (g->name[0] != '\0') {
      out << g->name << " (" << g->goid << ")";
    } else {
      out << "goroutine " << g->goid;
    }
    GStatus status = g->status.load(os::memory_order_acquire);
    if (g->wait_reason == WaitReason::left_over) status = GStatus::runnable;  // what it was when it was stopped
    out << " [" << (status == GStatus::waiting ? wait_reason_text(g->wait_reason) : g_status_text(status)) << "]";
  });
  if (n > 10) out << " and " << n - 10 << " more";
  if (n > 0) out << "\n";
}

/// Whether a P is with an M that may be running user code.
bool any_p_works() noexcept {
  LockGuard guard(sched.lock);
  std::int32_t in_calls = 0;
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    if (p_at(i)->status.load(os::memory_order_seq_cst) == PStatus::syscall) ++in_calls;
  }
  return sched.npidle.load(os::memory_order_relaxed) + in_calls != sched.nprocs;
}

/// One run less. The background that is to be cancelled, if it was the last one. Not null then: it began with one.
CancelSource* one_run_less() noexcept {
  LockGuard guard(sched.lock);
  if (sched.runs.fetch_sub(1, os::memory_order_acq_rel) != 1) return nullptr;
  // Whoever is started by a foreign thread from now on is cancelled from birth; a run that begins gets another one.
  sched.background_over = true;
  return sched.background.load(os::memory_order_relaxed);
}

/// Ends the epoch; the number of the ended one, or 0 if a run has begun meanwhile. `next` is the background of whoever is
/// started before the next run begins: they belong to that one.
std::uint32_t end_epoch(CancelSource* next) noexcept {
  LockGuard guard(sched.lock);
  if (sched.runs.load(os::memory_order_relaxed) != 0) return 0;
  sched.background.store(next, os::memory_order_release);
  sched.background_over = false;
  return sched.run_epoch.fetch_add(1, os::memory_order_seq_cst);
}

/// Waits until what still runs of the ended epoch has been stopped, as far as it can be.
void await_stopped() noexcept {
  const std::int64_t deadline = os::nanotime() + kStopWait;
  for (std::int64_t nap = kFirstNap; any_p_works() && os::nanotime() < deadline; nap = longer(nap)) {
    // So that a goroutine which only yields or polls does not do that without looking at the epoch. Release: who
    // sees the request sees the new epoch. Again and again: the end of a call into gort drops it where nobody waits.
    for (M* m = sched.all_m.load(os::memory_order_acquire); m != nullptr; m = m->all_next) {
      m->pending.fetch_or(kPendingYield, os::memory_order_release);
    }
    if (sched.runs.load(os::memory_order_relaxed) != 0) break;  // the Ps work for somebody else
    os::sleep_ns(nap);
  }
}

}  // namespace

void right_begins() noexcept {
  if (fault(Fault::run_rights)) return;
  if (G* g = current_g(); g != nullptr) ++g->rights;
}

void right_ends() noexcept {
  G* g = current_g();
  if (g == nullptr || fault(Fault::run_rights)) return;
  GORT_DCHECK(g->rights > 0, "a right ends that has not begun");
  if (--g->rights == 0 && os::tls().locks == 0 && left_over(g)) yield();  // schedule() parks it for good
}

bool run_begins(const BackgroundHooks& hooks) noexcept {
  RuntimeEntry entry;
  bool alone = false;
  CancelSource* fresh = nullptr;
  for (;;) {
    {
      // Under the lock, so that no epoch ends between this and the start of the main goroutine.
      LockGuard guard(sched.lock);
      const bool missing = sched.background.load(os::memory_order_relaxed) == nullptr || sched.background_over;
      if (!missing || fresh != nullptr) {
        alone = sched.runs.fetch_add(1, os::memory_order_relaxed) == 0;
        if (!missing) break;
        sched.background.store(std::exchange(fresh, nullptr), os::memory_order_release);
        sched.background_over = false;
        break;
      }
    }
    fresh = hooks.make();
  }
  if (fresh != nullptr) hooks.unused(fresh);
  return alone;
}

void run_ends(std::int64_t grace_ns, bool quiet, const BackgroundHooks& hooks) noexcept {
  RuntimeEntry entry;
  fatal_join();  // a report that is being written is not to be cut short by the end of main
  CancelSource* const background = one_run_less();
  if (background == nullptr) return;  // others go on
  const std::int64_t deadline = os::nanotime_in(grace_ns);
  hooks.cancel(background);  // also if no goroutine is left: there are callbacks, handles, foreign threads
  for (std::int64_t nap = kFirstNap; num_goroutine() > 0; nap = longer(nap)) {
    // Who was about to park may be missed by `cancel`; if nobody ran before it, it has seen everybody.
    const bool at_rest = !anybody_runs(deadline);
    hooks.cancel(background);
    if (at_rest && !anybody_runs(deadline)) break;
    if (sched.runs.load(os::memory_order_relaxed) != 0 || os::nanotime() >= deadline) break;
    os::sleep_ns(nap);
  }
  fatal_join();
  CancelSource* const next = hooks.make();
  const std::uint32_t ended = end_epoch(next);
  if (ended == 0) hooks.unused(next);
  if (ended == 0 || num_goroutine() != 0) {
    hooks.inherited(background);
  } else {
    hooks.over(background);
  }
  if (ended == 0) return;
  if (num_goroutine() == 0) return;
  await_stopped();
  if (!quiet) report(ended);
  for_each_g([](G* g) {
    // The number first: if it ends now, and the G begins another life, that one is not what is counted here.
    const std::uint64_t goid = g->counted.load(os::memory_order_acquire);
    if (lives(g) && left_over(g)) g_count_end(g, goid);
  });
}

}  // namespace gort::inline v0::rt
