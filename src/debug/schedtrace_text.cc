#include "debug/schedtrace_text.h"

namespace gort::inline v0::rt {

namespace {

/// An id, or nil.
struct Id {
  std::int64_t value;
};
Printer& operator<<(Printer& out, Id id) noexcept { return id.value < 0 ? out << "nil" : out << id.value; }

const char* yes_no(bool b) noexcept { return b ? "true" : "false"; }
const char* or_empty(const char* s) noexcept { return s != nullptr ? s : ""; }

void print_totals(Printer& out, const SchedTraceTotals& t) noexcept {
  out << "SCHED " << t.elapsed_ms << "ms: gomaxprocs=" << t.gomaxprocs << " idleprocs=" << t.idleprocs
      << " threads=" << t.threads << " spinningthreads=" << t.spinningthreads << " needspinning="
      << t.needspinning << " idlethreads=" << t.idlethreads << " runqueue=" << t.runqueue;
}

}  // namespace

void print_schedtrace(Printer& out, const SchedTraceTotals& totals, std::span<const SchedTraceP> ps) noexcept {
  print_totals(out, totals);
  out << " [";
  for (const SchedTraceP& p : ps) out << ' ' << p.runqsize;
  out << " ] schedticks=[";
  for (const SchedTraceP& p : ps) out << ' ' << p.schedtick;
  out << " ]\n";
}

void print_scheddetail(Printer& out, const SchedTraceTotals& t) noexcept {
  print_totals(out, t);
  out << " gcwaiting=" << yes_no(t.gcwaiting) << " nmidlelocked=" << t.nmidlelocked << " stopwait="
      << t.stopwait << " sysmonwait=" << yes_no(t.sysmonwait) << '\n';
}

void print_scheddetail(Printer& out, const SchedTraceP& p) noexcept {
  out << "  P" << p.id << ": status=" << p.status << " schedtick=" << p.schedtick << " syscalltick="
      << p.syscalltick << " m=" << Id{p.m} << " runqsize=" << p.runqsize << " gfreecnt=" << p.gfreecnt
      << " timerslen=" << p.timerslen << '\n';
}

void print_scheddetail(Printer& out, const SchedTraceM& m) noexcept {
  out << "  M" << m.id << ": p=" << Id{m.p} << " curg=" << Id{m.curg} << " mallocing=" << m.mallocing
      << " throwing=" << m.throwing << " preemptoff=" << or_empty(m.preemptoff) << " locks=" << m.locks
      << " dying=" << m.dying << " spinning=" << yes_no(m.spinning) << " blocked=" << yes_no(m.blocked)
      << " lockedg=" << Id{m.lockedg} << '\n';
}

void print_scheddetail(Printer& out, const SchedTraceG& g) noexcept {
  out << "  G" << g.id << ": status=" << g.status << '(' << or_empty(g.waitreason) << ") m=" << Id{g.m}
      << " lockedm=" << Id{g.lockedm} << '\n';
}

}  // namespace gort::inline v0::rt
