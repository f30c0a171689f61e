#include "debug/sched_report.h"

#include "base/sanitizer.h"
#include "debug/schedtrace_text.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "sched/start.h"

namespace gort::inline v0::rt {

namespace {

// Sysmon is the only one who prints these, so they need not be on its stack.
constinit SchedTraceP ps[kMaxProcs];
constinit char text[std::size_t{128} << 10];
constinit std::int64_t first_report = 0;

std::uint32_t go_status(PStatus s) noexcept {
  switch (s) {
    case PStatus::idle:
    case PStatus::handed: return 0;  // nobody runs on it yet
    case PStatus::running: return 1;
    case PStatus::syscall: return 2;
    case PStatus::stopped: return 3;
    case PStatus::retired:
    case PStatus::dead: return 4;
  }
  return 0;
}

std::uint32_t go_status(GStatus s) noexcept {
  switch (s) {
    case GStatus::idle: return 0;
    case GStatus::runnable: return 1;
    case GStatus::running: return 2;
    case GStatus::syscall: return 3;
    case GStatus::waiting: return 4;
    case GStatus::captive: return 1;
    case GStatus::held: return 4;
    case GStatus::dead: return 6;
  }
  return 0;
}

// Plain words of Ps, Ms and Gs are read while their threads write them: the report is a moment that perhaps never was.
template <class T>
GORT_NO_TSAN std::int64_t id_of(const T* p) noexcept {
  return p != nullptr ? static_cast<std::int64_t>(p->id) : kNil;
}
GORT_NO_TSAN std::int64_t id_of(const G* g) noexcept { return g != nullptr ? static_cast<std::int64_t>(g->goid) : kNil; }

GORT_NO_TSAN SchedTraceP read_p(const P* p) noexcept {
  SchedTraceP t;
  t.id = p->id.load(os::memory_order_relaxed);
  t.status = go_status(p->status.load(os::memory_order_relaxed));
  t.schedtick = p->schedtick.load(os::memory_order_relaxed);
  t.syscalltick = p->syscalltick.load(os::memory_order_relaxed);
  t.m = id_of(p->m.load(os::memory_order_relaxed));
  t.runqsize = p->runq.size();
  t.gfreecnt = p->g_free.n;
  return t;
}

GORT_NO_TSAN SchedTraceM read_m(const M* m) noexcept {
  SchedTraceM t;
  t.id = m->id;
  t.p = id_of(m->p);
  t.curg = id_of(m->curg);
  t.spinning = m->spinning;
  t.blocked = m->p == nullptr && m->curg == nullptr && !m->park.signaled();
  t.lockedg = id_of(m->locked_g);
  return t;
}

GORT_NO_TSAN SchedTraceG read_g(const G* g) noexcept {
  SchedTraceG t;
  const GStatus status = g->status.load(os::memory_order_relaxed);
  t.id = id_of(g);
  t.status = go_status(status);
  t.waitreason = status == GStatus::waiting ? wait_reason_text(g->wait_reason) : "";
  t.m = id_of(g->m);
  t.lockedm = id_of(g->locked_m);
  return t;
}

SchedTraceTotals read_totals() noexcept {
  SchedTraceTotals t;
  LockGuard guard(sched.lock);
  t.gomaxprocs = sched.nprocs;
  t.idleprocs = sched.npidle.load(os::memory_order_relaxed);
  t.threads = sched.mcount + kSystemThreads;
  t.spinningthreads = sched.nmspinning.load(os::memory_order_relaxed);
  t.needspinning = sched.need_spinning.load(os::memory_order_relaxed);
  t.idlethreads = sched.nmidle;
  t.runqueue = sched.global.size();
  t.nmidlelocked = sched.nmidle_locked;
  t.sysmonwait = sched.sysmon_wait.load(os::memory_order_relaxed);
  for (std::int32_t i = 0; i < sched.nprocs; ++i) ps[i] = read_p(p_at(i));
  return t;
}

}  // namespace

void print_sched_report(bool detail) noexcept {
  SchedTraceTotals totals = read_totals();
  const std::int64_t now = os::nanotime();
  if (first_report == 0) first_report = now;
  totals.elapsed_ms = (now - first_report) / 1'000'000;
  const std::span<const SchedTraceP> all_ps(ps, static_cast<std::size_t>(totals.gomaxprocs));
  if (!detail) {
    Printer line(text, sizeof text);
    print_schedtrace(line, totals, all_ps);
    os::write_all(2, text, line.size() < sizeof text ? line.size() : sizeof text - 1);
    return;
  }
  Printer out(2);
  print_scheddetail(out, totals);
  for (const SchedTraceP& p : all_ps) print_scheddetail(out, p);
  for (M* m = sched.all_m.load(os::memory_order_acquire); m != nullptr; m = m->all_next) {
    if (m->tid.load(os::memory_order_relaxed) != 0) print_scheddetail(out, read_m(m));
  }
  for_each_g([&](const G* g) {
    const SchedTraceG t = read_g(g);
    if (t.id > 0) print_scheddetail(out, t);
  });
}

}  // namespace gort::inline v0::rt
