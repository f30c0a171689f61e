#include "debug/report.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "base/print.h"
#include "debug/capture.h"
#include "sched/entry.h"
#include "sched/sched.h"
#include "sched/spawn.h"
#include "world/signal.h"
#include "world/stop_at_calls.h"
#include "world/world.h"

namespace gort::inline v0::rt {

constinit TracebackLevel traceback_level = TracebackLevel::single;

namespace {

constexpr std::size_t kReportStack = std::size_t{4} << 20;

constinit const void* dying_context = nullptr;

/// What one report is about.
struct Report {
  arch::Cursor here;        // the dying thread
  TracebackLevel level = TracebackLevel::single;
  bool all = false;
  std::int64_t patience = kPatience;
};

/// What running goroutines said in stage 1, for stage 2: they might not answer again, or differently. As many
/// as are worth static memory.
struct Remembered {
  std::uint64_t goid;
  Frames frames;
};
constexpr std::size_t kMostRemembered = 64;
constinit Remembered remembered[kMostRemembered] = {};
constinit std::size_t remembered_count = 0;

void remember(const Captured& c) noexcept {
  const bool ran = std::strcmp(c.trace.status, "running") == 0 || std::strcmp(c.trace.status, "syscall") == 0;
  if (!ran || c.trace.is_thread || c.frames.n == 0 || remembered_count == kMostRemembered) return;
  remembered[remembered_count++] = {c.trace.id, c.frames};
}

const Remembered* recall(std::uint64_t goid) noexcept {
  for (std::size_t i = 0; i < remembered_count; ++i) {
    if (remembered[i].goid == goid) return &remembered[i];
  }
  return nullptr;
}

bool runs(const G* g) noexcept {
  const GStatus status = g->status.load(os::memory_order_acquire);
  return status == GStatus::running || status == GStatus::syscall;
}

/// As capture(), but takes what stage 1 got.
bool capture_or_recall(const G* g, std::int64_t* patience, Captured* out) noexcept {
  const Remembered* known = runs(g) ? recall(g->goid) : nullptr;
  if (known == nullptr) return capture(g, patience, out);
  std::int64_t none = 0;
  if (!capture(g, &none, out)) return false;
  if (out->trace.pcs.empty()) {
    out->frames = known->frames;
    out->trace.pcs = {out->frames.pcs, out->frames.n};
    out->trace.omitted = out->frames.omitted;
  }
  return true;
}

bool shown(const G* g, TracebackLevel level) noexcept { return !g->system || shows_runtime(level); }

/// The goroutine whose stack the calling thread stands on, or null.
const G* goroutine_here(const arch::Cursor& c) noexcept {
  const G* g = current_g();
  if (g == nullptr) return nullptr;
  // On its own stack or its signal stack, an M in the runtime may have curg set; a user's coroutine does not.
  const M* m = self_m();
  return c.sp() - m->stack_lo < m->stack_hi - m->stack_lo ? nullptr : g;
}

void capture_here(const arch::Cursor& c, Captured* out) noexcept {
  if (const G* g = goroutine_here(c)) return capture_current(g, c, out);
  arch::Cursor from = c;
  allow_stacks(from, nullptr, self_m());
  capture_thread(os::thread_id(), from, out);
}

/// Calls f(Captured&) for each goroutine that the report shows, the dying one first; with the runtime's
/// level, for each thread of the runtime as well.
template <class F>
void for_each_shown(const Report& r, Captured* space, F f) {
  const G* here = goroutine_here(r.here);
  if (here != nullptr || !r.all || shows_runtime(r.level)) {
    capture_here(r.here, space);
    f(*space);
  }
  if (!r.all) return;
  std::int64_t patience = r.patience;
  for_each_g([&](const G* g) {
    if (g != here && shown(g, r.level) && capture_or_recall(g, &patience, space)) f(*space);
  });
  if (!shows_runtime(r.level)) return;
  for (M* m = sched.all_m.load(os::memory_order_acquire); m != nullptr; m = m->all_next) {
    if (capture_m(m, &patience, space)) f(*space);
  }
}

constinit Captured raw_space = {};  // not on a stack: a kilobyte too much for a signal handler's

void print_all_raw(const Report& r) noexcept {
  Printer out(2);
  std::size_t n = 0;
  for_each_shown(r, &raw_space, [&](const Captured& c) {
    if (++n > kMostRaw) return;
    remember(c);
    out << '\n';
    print_raw(out, c.trace);
  });
  if (n > kMostRaw) out << "\n..." << n - kMostRaw << " more goroutines; names follow\n";
}

/// Traces one after the other in address space that was mapped beforehand: while the world is stopped nobody may
/// allocate. What does not fit (goroutines that foreign threads start meanwhile) is left out.
class Shelf {
 public:
  struct Record {
    GoroutineTrace trace;
    char name[sizeof G::name];
    std::size_t n;
    std::uintptr_t pcs[];  // NOLINT: as many as n
  };

  explicit Shelf(std::size_t goroutines)
      : bytes_((goroutines + 1024) * (sizeof(Record) + 2 * kTraceEnd * sizeof(std::uintptr_t))) {
    bytes_ = (bytes_ + os::page_size() - 1) & ~(os::page_size() - 1);
    base_ = static_cast<char*>(os::mem_map(bytes_, os::page_size()));
    if (base_ == nullptr) throw std::bad_alloc();
  }
  Shelf(const Shelf&) = delete;
  Shelf& operator=(const Shelf&) = delete;
  ~Shelf() { os::mem_unmap(base_, bytes_); }

  void add(const Captured& c) noexcept {
    const std::size_t n = c.trace.pcs.size();
    const std::size_t size = sizeof(Record) + n * sizeof(std::uintptr_t);
    if (bytes_ - used_ < size) return;
    auto* r = new (base_ + used_) Record{c.trace, {}, n};
    std::memcpy(r->name, c.name, sizeof r->name);
    if (n != 0) std::memcpy(r->pcs, c.trace.pcs.data(), n * sizeof(std::uintptr_t));
    used_ += size;
  }

  template <class F>
  void for_each(F f) const {
    for (std::size_t at = 0; at < used_;) {
      const auto* r = reinterpret_cast<const Record*>(base_ + at);
      f(*r);
      at += sizeof(Record) + r->n * sizeof(std::uintptr_t);
    }
  }

 private:
  std::size_t bytes_;
  std::size_t used_ = 0;
  char* base_ = nullptr;
};

std::size_t count_goroutines() noexcept {
  std::size_t n = 0;
  for_each_g([&](const G*) { ++n; });
  return n;
}

enum class Meanwhile : std::uint8_t { the_world_goes_on, the_world_is_stopped };

/// Everything that is to be shown, in the order of its ids behind the one that comes first.
class Collection {
 public:
  Collection(const Report& r, Meanwhile meanwhile) {
    Shelf shelf(count_goroutines());
    auto space = std::make_unique<Captured>();
    const auto collect = [&] { for_each_shown(r, space.get(), [&](const Captured& c) { shelf.add(c); }); };
    if (meanwhile == Meanwhile::the_world_is_stopped) {
      RuntimeEntry entry;
      WorldHold w = stop_the_world(StopReason::all_stacks);
      collect();
      start_the_world(std::move(w));
    } else {
      collect();
    }
    shelf.for_each([&](const Shelf::Record& record) { add(record); });
    const std::size_t fixed = goroutine_here(r.here) != nullptr ? 1 : 0;
    std::sort(kept_.begin() + static_cast<std::ptrdiff_t>(std::min(fixed, kept_.size())), kept_.end(),
                     [](const Kept& a, const Kept& b) {
                       if (a.trace.is_thread != b.trace.is_thread) return b.trace.is_thread;
                       return a.trace.id < b.trace.id;
                     });
  }

  /// Valid as long as this is.
  std::vector<GoroutineTrace> traces() const {
    std::vector<GoroutineTrace> out;
    out.reserve(kept_.size());
    for (const Kept& k : kept_) {
      GoroutineTrace t = k.trace;
      t.pcs = {pcs_.data() + k.first_pc, k.n};
      t.name = k.name.empty() ? nullptr : k.name.c_str();
      out.push_back(t);
    }
    return out;
  }

 private:
  struct Kept {
    GoroutineTrace trace;
    std::size_t first_pc;
    std::size_t n;
    std::string name;
  };

  void add(const Shelf::Record& r) {
    kept_.push_back({r.trace, pcs_.size(), r.n, r.name});
    pcs_.insert(pcs_.end(), r.pcs, r.pcs + r.n);
  }

  std::vector<Kept> kept_;
  std::vector<std::uintptr_t> pcs_;
};

void print_names(const Report& r) noexcept {
  Printer out(2);
  try {
    const Collection all(r, Meanwhile::the_world_goes_on);
    out << '\n';
    print_traces(TextSink(out), all.traces(), r.level);
  } catch (...) {
    out << "\n(no memory for names)\n";
  }
}

void print_report(void* p) noexcept {
  const auto& r = *static_cast<const Report*>(p);
  {
    Printer(2) << "\naddresses, in case names cannot be found:\n";
  }
  print_all_raw(r);
  if (!end_process_within(kNamesLimit)) {
    Printer(2) << "\n(no names: there is no timer that could end the search for them)\n";
    return;
  }
  print_names(r);
}

}  // namespace

void report_from_signal(const void* ucontext) noexcept { dying_context = ucontext; }

void report_fatal(const FatalReport& what) noexcept {
  if (traceback_level == TracebackLevel::none) return;
  Report r;
  r.level = traceback_level;
  r.all = what.all_goroutines || traceback_level >= TracebackLevel::all;
  r.patience = kLastPatience;
  r.here = dying_context != nullptr ? arch::cursor_from_signal(dying_context) : arch::cursor_here();
  // The thread never goes on: it is out of the runtime, though perhaps with runtime locks in hand. Names
  // need malloc, which nobody who waits for those locks can hold for ever, or the time limit ends it.
  os::tls().in_runtime = 0;
  void* stack = os::mem_map(kReportStack, 0);
  if (stack == nullptr) return print_report(&r);
  arch::call_on_stack(static_cast<char*>(stack) + kReportStack, print_report, &r);
}

void report_raw() noexcept {
  Report r;
  r.here = arch::cursor_here();
  r.level = traceback_level;
  r.all = true;
  print_all_raw(r);
}

std::string current_trace_text(const arch::Cursor& c) {
  std::string text;
  auto space = std::make_unique<Captured>();
  const G* g = current_g();
  if (g != nullptr) {
    capture_current(g, c, space.get());
  } else {
    arch::Cursor from = c;
    std::uintptr_t lo = 0, hi = 0;
    if (os::thread_stack(&lo, &hi)) from.allow(lo, hi);
    capture_thread(os::thread_id(), from, space.get());
  }
  print_trace(TextSink(text), space->trace, TracebackLevel::all);
  return text;
}

std::string all_traces_text(const arch::Cursor& c) {
  std::string text;
  const Report r{.here = c, .level = TracebackLevel::all, .all = true};
  // Who has stopped the world itself looks at it as it stands.
  const bool stop = sched.started.load(os::memory_order_acquire) && !user_stop_is_mine();
  const Collection all(r, stop ? Meanwhile::the_world_is_stopped : Meanwhile::the_world_goes_on);
  print_traces(TextSink(text), all.traces(), r.level);
  return text;
}

}  // namespace gort::inline v0::rt
