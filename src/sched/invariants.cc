#include "sched/invariants.h"

#if defined(GORT_TESTING)

#include "base/print.h"
#include "sched/sched.h"

// The Ms' fields belong to their threads; this looks at them from outside, knowing that it may see a moment
// that never was (see the header). Not a race to be reported: GORT_NO_TSAN.

namespace gort::inline v0::rt {

namespace {

struct Places {
  std::int32_t wired = 0;
  std::int32_t handed = 0;
  std::int32_t old = 0;   // Ms whose oldp it is
  std::int64_t first = -1;  // id of the first M that claims it
};

GORT_NO_TSAN Places places_of(P* p) noexcept {
  Places at;
  for (M* m = sched.all_m.load(os::memory_order_acquire); m != nullptr; m = m->all_next) {
    const bool wired = m->p == p;
    const bool handed = m->nextp == p;
    if (wired) ++at.wired;
    if (handed) ++at.handed;
    if (m->oldp == p) ++at.old;
    if ((wired || handed) && at.first < 0) at.first = m->id;
  }
  return at;
}

GORT_NO_TSAN bool on_idle_list(const P* p) noexcept {
  for (const P* q = sched.idle_p; q != nullptr; q = q->idle_link) {
    if (q == p) return true;
  }
  return false;
}

const char* status_text(PStatus s) noexcept {
  switch (s) {
    case PStatus::idle: return "idle";
    case PStatus::running: return "running";
    case PStatus::handed: return "handed";
    case PStatus::syscall: return "in a call";
    case PStatus::stopped: return "stopped";
    case PStatus::retired: return "retired";
    case PStatus::dead: return "dead";
  }
  return "?";
}

/// Books one P. Under sched.lock.
GORT_NO_TSAN void book(P* p, PAccount& a, Printer& out) noexcept {
  const PStatus status = p->status.load(os::memory_order_acquire);
  const bool idle = on_idle_list(p);
  const Places at = places_of(p);
  if (idle + at.wired + at.handed > 1) {
    ++a.twice;
    out << "P " << p->id.load(os::memory_order_relaxed) << " is in two places: idle list " << idle
        << ", wired " << at.wired << ", handed " << at.handed << ", first M " << at.first << "; ";
  }
  if (idle && status == PStatus::idle) {
    ++a.idle;
  } else if (status == PStatus::running && at.wired == 1 && p->m.load(os::memory_order_relaxed) != nullptr) {
    ++a.running;
  } else if (status == PStatus::handed && at.handed + at.wired == 1) {
    ++a.handed;
  } else if (status == PStatus::syscall && at.old >= 1) {
    ++a.syscall;
  } else if (status == PStatus::stopped) {
    ++a.stopped;
  } else if (status == PStatus::retired || status == PStatus::dead) {
    ++a.dead;
  } else {
    ++a.in_hand;
    out << "P " << p->id.load(os::memory_order_relaxed) << " is nowhere: " << status_text(status)
        << ", idle list " << idle << ", wired " << at.wired << ", handed " << at.handed
        << ", oldp of " << at.old << "; ";
  }
}

}  // namespace

PAccount check_ps() noexcept {
  PAccount a;
  Printer out(a.text, sizeof a.text);
  LockGuard guard(sched.lock);
  a.total = sched.nprocs;
  for (std::int32_t i = 0; i < sched.nprocs; ++i) {
    P* p = p_at(i);
    book(p, a, out);
    a.queued += static_cast<std::int32_t>(p->runq.size());
  }
  a.queued += static_cast<std::int32_t>(sched.global.size());
  a.idle_m = sched.nmidle;
  a.idle_locked_m = sched.nmidle_locked;
  a.all_m = sched.mcount;
  a.orders = sched.orders;
  a.spinning = sched.nmspinning.load(os::memory_order_relaxed);
  std::int32_t list = 0;
  for (const P* p = sched.idle_p; p != nullptr && list <= kMaxProcs; p = p->idle_link) ++list;
  if (list != sched.npidle.load(os::memory_order_relaxed)) {
    out << "npidle is " << sched.npidle.load(os::memory_order_relaxed) << ", the idle list has " << list << "; ";
    ++a.twice;
  }
  if (a.idle_m + a.idle_locked_m > a.all_m || a.idle_locked_m < 0 || a.orders < 0) {
    out << "Ms: " << a.all_m << " in all, idle " << a.idle_m << ", idle and locked " << a.idle_locked_m
        << ", orders " << a.orders << "; ";
  }
  if (a.queued > 0) out << a.queued << " goroutines queued; ";
  if (a.spinning != 0) out << "nmspinning " << a.spinning << "; ";
  return a;
}

PAccount await_quiet(std::int64_t limit_ns) noexcept {
  const std::int64_t deadline = os::nanotime() + limit_ns;
  PAccount a = check_ps();
  for (std::int64_t nap = 20'000; !a.quiet() && os::nanotime() < deadline; a = check_ps()) {
    os::sleep_ns(nap);
    if (nap < 5'000'000) nap *= 2;
  }
  return a;
}

}  // namespace gort::inline v0::rt

#endif
