#include "debug/stop_report.h"

#include <algorithm>
#include <cstring>

#include "arch/unwind.h"
#include "base/print.h"
#include "base/sanitizer.h"
#include "debug/capture.h"
#include "debug/kernel_state.h"
#include "debug/report.h"
#include "sched/sched.h"
#include "world/stop_at_calls.h"

namespace gort::inline v0::rt {

namespace {

constexpr std::size_t kNamesStack = std::size_t{4} << 20;

/// One P that has not stopped, and who has it. Plain fields of Ms and Gs are read while their threads may change
/// them: a moment that never was is possible, a bad pointer is not (Ms, Ps and Gs are never unmapped).
struct Stuck {
  P* p = nullptr;
  PStatus status = PStatus::running;
  bool on_idle_list = false;
  M* m = nullptr;         // who has it, or had it last
  int tid = 0;
  std::uint64_t goid = 0;  // of the goroutine on m; 0: none
  char name[sizeof G::name] = {};
  Frames frames;          // n == 0: no answer
};

// One report at a time, so none of this need be on the stack of whoever waits, which may be a small one.
enum Use : std::uint32_t { kFree, kReporting, kNamesWanted, kCopying };
constinit os::atomic<std::uint32_t> in_use{kFree};
constinit Stuck stuck[kMostStuckShown] = {};
constinit int stuck_shown = 0;
constinit Captured space = {};
constinit bool idle_listed[kMaxProcs] = {};

const char* status_text(PStatus s) noexcept {
  switch (s) {
    case PStatus::idle: return "idle";
    case PStatus::running: return "running";
    case PStatus::handed: return "handed to a thread that has not woken";
    case PStatus::syscall: return "in a blocking call";
    case PStatus::stopped: return "stopped";
    case PStatus::retired: return "retired";
    case PStatus::dead: return "dead";
  }
  return "?";
}

bool stands(const P* p) noexcept {
  const PStatus s = p->status.load(os::memory_order_acquire);
  return s == PStatus::stopped || s == PStatus::retired || s == PStatus::dead;
}

GORT_NO_TSAN void walk_idle_list() noexcept {
  // Bounded: without the lock, a list that changes may lead in circles.
  P* p = sched.idle_p;
  for (int i = 0; i < kMaxProcs && p != nullptr; ++i, p = p->idle_link) {
    idle_listed[p->id.load(os::memory_order_relaxed)] = true;
  }
}

/// Which Ps are on the idle list. With the lock if it is to be had: whoever has it may be the one that we look for.
void look_at_idle_list() noexcept {
  constexpr int kTries = 1000;
  std::memset(idle_listed, 0, sizeof idle_listed);
  for (int i = 0; i < kTries; ++i) {
    if (sched.lock.try_lock()) {
      walk_idle_list();
      sched.lock.unlock();
      return;
    }
    os::cpu_relax(10);
  }
  walk_idle_list();
}

/// The first M of which `is` holds.
template <class F>
GORT_NO_TSAN M* find_m(F is) noexcept {
  for (M* m = sched.all_m.load(os::memory_order_acquire); m != nullptr; m = m->all_next) {
    if (is(m)) return m;
  }
  return nullptr;
}

GORT_NO_TSAN bool in_call(const M* m) noexcept {
  const G* g = m->curg;
  return g != nullptr && g->status.load(os::memory_order_relaxed) == GStatus::syscall;
}

/// Who has p, by its status.
M* holder_of(P* p, PStatus status) noexcept {
  if (M* m = p->m.load(os::memory_order_acquire)) return m;
  if (status == PStatus::handed) return find_m([p] GORT_NO_TSAN (const M* m) { return m->nextp == p; });
  if (status == PStatus::syscall) {
    // Ms whose P was taken keep a stale oldp.
    return find_m([p] GORT_NO_TSAN (const M* m) { return m->oldp == p && in_call(m); });
  }
  return p->owner.load(os::memory_order_relaxed);
}

GORT_NO_TSAN void look_at(P* p, Stuck* s) noexcept {
  s->p = p;
  s->status = p->status.load(os::memory_order_acquire);
  s->on_idle_list = idle_listed[p->id.load(os::memory_order_relaxed)];
  s->m = s->on_idle_list ? nullptr : holder_of(p, s->status);
  s->tid = s->m != nullptr ? s->m->tid.load(os::memory_order_relaxed) : 0;
  s->goid = 0;
  s->name[0] = '\0';
  s->frames.n = 0;
  const G* g = s->m != nullptr ? s->m->curg : nullptr;
  if (g == nullptr) return;
  s->goid = g->goid;
  // Not memcpy, which TSan would see into.
  for (std::size_t i = 0; i + 1 < sizeof s->name; ++i) s->name[i] = g->name[i];
  s->name[sizeof s->name - 1] = '\0';
}

void print_goroutine(Printer& out, std::uint64_t goid, const char* name) noexcept {
  if (goid == 0) return;
  out << ", goroutine " << goid;
  if (name[0] == '\0') return;
  out << " \"";
  for (; *name != '\0'; ++name) out << (static_cast<unsigned char>(*name) >= 0x20 ? *name : '?');
  out << '"';
}

void print_holder(Printer& out, const Stuck& s) noexcept {
  if (s.m == nullptr) return;
  out << ", M " << s.m->id << ", thread " << s.tid;
  print_goroutine(out, s.goid, s.name);
}

/// The line about a P.
void print_place(Printer& out, const Stuck& s) noexcept {
  out << "P " << s.p->id.load(os::memory_order_relaxed) << ": " << status_text(s.status);
  if (s.status == PStatus::idle && s.on_idle_list) {
    out << ", on the idle list\n";
    return;
  }
  if (s.status == PStatus::idle) {
    out << ", on no list: in nobody's hand. It was last in that of "
        << (s.m != nullptr ? "this thread" : "a thread that is no M");
  }
  print_holder(out, s);
  out << '\n';
}

void print_frames(Printer& out, const Frames& f) noexcept {
  GoroutineTrace t;
  t.pcs = {f.pcs, f.n};
  t.omitted = f.omitted;
  print_raw_frames(out, t);
}

/// Where its thread is, by itself or else by the kernel.
void print_whereabouts(Printer& out, Stuck& s, std::int64_t* patience) noexcept {
  if (s.m == nullptr) return;
  if (s.m == self_m()) {
    out << "\tthat is the thread which waits for the stop\n";
    return;
  }
  out.flush();
  if (capture_m(s.m, patience, &space)) {
    s.frames = space.frames;
    print_frames(out, s.frames);
  } else if (stands(s.p)) {
    out << "\thas stopped meanwhile\n";
  } else {
    out << "\tdoes not answer; kernel: ";
    print(out, read_kernel_state(s.tid));
    out << '\n';
  }
}

std::int32_t procs() noexcept { return sched.nprocs.load(os::memory_order_relaxed); }

int count_stuck() noexcept {
  int n = 0;
  for (std::int32_t i = 0; i < procs(); ++i) n += stands(p_at(i)) ? 0 : 1;
  return n;
}

void print_summary(Printer& out, std::int64_t waited_ns, int n) noexcept {
  out << "gort: stopping the world";
  if (const char* reason = user_stop_reason(); reason != nullptr) out << " (" << reason << ")";
  out << " has taken " << waited_ns / 1'000'000 << " ms; " << n << " of " << procs()
      << (n == 1 ? " Ps has" : " Ps have") << " not stopped";
  const M* m = self_m();
  if (m == nullptr) {
    out << " (asked for by thread " << os::thread_id() << ")\n";
    return;
  }
  out << " (asked for by M " << m->id;
  if (const G* g = m->curg) print_goroutine(out, g->goid, g->name);
  out << ")\n";
}

// ---- names -------------------------------------------------------------------------------------

void print_trace_of(Printer& out, const Stuck& s) {
  GoroutineTrace t;
  t.is_thread = s.goid == 0;
  t.id = t.is_thread ? static_cast<std::uint64_t>(s.tid) : s.goid;
  t.status = "held up a stop of the world";
  t.name = s.name;
  t.pcs = {s.frames.pcs, s.frames.n};
  t.omitted = s.frames.omitted;
  out << '\n';
  // Runtime frames too: what holds up a stop may well be ours.
  print_trace(TextSink(out), t, TracebackLevel::system);
}

void print_names(void*) noexcept {
  // Copied: looking names up may have to wait for a malloc that the next report is about.
  Stuck all[kMostStuckShown];
  const int n = stuck_shown;
  std::copy_n(stuck, n, all);
  in_use.store(kFree);
  Printer out(2);
  try {
    for (int i = 0; i < n; ++i) {
      if (all[i].frames.n != 0) print_trace_of(out, all[i]);
    }
  } catch (...) {
    out << "\n(no memory for names)\n";
  }
}

bool any_frames() noexcept {
  for (int i = 0; i < stuck_shown; ++i) {
    if (stuck[i].frames.n != 0) return true;
  }
  return false;
}

/// Makes the static memory ours, also if the names of an earlier report are still wanted: the news comes first.
bool begin_report() noexcept {
  constexpr int kTries = 200;
  for (int i = 0; i < kTries; ++i) {
    std::uint32_t use = in_use.load();
    if (use == kReporting) return false;
    if (use != kCopying && in_use.compare_exchange_strong(use, kReporting)) return true;
    os::sleep_ns(50'000);
  }
  return false;
}

}  // namespace

void report_slow_stop(std::int64_t waited_ns) noexcept {
  if (!begin_report()) return;
  std::int64_t patience = kStopReportPatience;
  Printer out(2);
  look_at_idle_list();
  const int n = count_stuck();
  print_summary(out, waited_ns, n);
  stuck_shown = 0;
  for (std::int32_t i = 0; i < procs() && stuck_shown < kMostStuckShown; ++i) {
    if (stands(p_at(i))) continue;
    Stuck& s = stuck[stuck_shown++];
    look_at(p_at(i), &s);
    print_place(out, s);
    print_whereabouts(out, s, &patience);
  }
  if (n > stuck_shown) out << "... and " << n - stuck_shown << " more\n";
  out.flush();
  const bool names = any_frames() && traceback_level != TracebackLevel::none;
  in_use.store(names ? kNamesWanted : kFree);
  if (names) want_threads();
}

void report_slow_stop_names() noexcept {
  if (in_use.load(os::memory_order_relaxed) != kNamesWanted) return;
  // Debug information is read with more stack than the runtime's threads have.
  void* stack = os::mem_map(kNamesStack, 0);
  if (stack == nullptr) return;
  std::uint32_t use = kNamesWanted;
  if (in_use.compare_exchange_strong(use, kCopying)) {
    arch::call_on_stack(static_cast<char*>(stack) + kNamesStack, print_names, nullptr);
  }
  os::mem_unmap(stack, kNamesStack);
}

}  // namespace gort::inline v0::rt
